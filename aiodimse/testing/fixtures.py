"""Fixtures for pytest.

In the `conftest.py` at the top of your tests:

    pytest_plugins = ["aiodimse.testing.fixtures"]

The fixtures need no asyncio plug-in. Tests that await need one, such as `pytest-asyncio`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import pytest

from aiodimse.aio.environment import Environment
from aiodimse.testing.archive import FakeArchive
from aiodimse.testing.clock import ManualClock
from aiodimse.testing.network import MemoryNetwork


@pytest.fixture
def dicom_clock() -> ManualClock:
    """Return a clock that stands still until the test moves it: `await dicom_clock.elapse(30)`."""
    return ManualClock()


@pytest.fixture
def dicom_network() -> MemoryNetwork:
    """Return a network in memory. No socket is opened; ports are numbers."""
    return MemoryNetwork()


@pytest.fixture
def dicom_environment(dicom_clock: ManualClock, dicom_network: MemoryNetwork) -> Environment:
    """Return an Environment with this clock and this network, for `connect`, `Pool` and `Server`."""
    return Environment(dicom_clock, dicom_network)


@pytest.fixture
def fake_archive(dicom_environment: Environment) -> Callable[..., FakeArchive]:
    """Return a function that makes a FakeArchive on them: `async with fake_archive([dataset]) as archive`."""
    return partial(FakeArchive, environment=dicom_environment)
