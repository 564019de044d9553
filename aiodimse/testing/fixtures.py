"""Fixtures for pytest.

In the `conftest.py` at the top of your tests:

    pytest_plugins = ["aiodimse.testing.fixtures"]

They need no plug-in for asyncio; a test that awaits does, such as `pytest-asyncio`.
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
    """Time that stands still until the test moves it: `await dicom_clock.elapse(30)`."""
    return ManualClock()


@pytest.fixture
def dicom_network() -> MemoryNetwork:
    """A network in memory: no socket is opened, and ports are numbers."""
    return MemoryNetwork()


@pytest.fixture
def dicom_environment(dicom_clock: ManualClock, dicom_network: MemoryNetwork) -> Environment:
    """That clock and that network, for `connect`, `Pool` and `Server`."""
    return Environment(dicom_clock, dicom_network)


@pytest.fixture
def fake_archive(dicom_environment: Environment) -> Callable[..., FakeArchive]:
    """Make a FakeArchive on that clock and that network: `async with fake_archive([dataset]) as archive`."""
    return partial(FakeArchive, environment=dicom_environment)
