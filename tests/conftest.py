"""Makes the helpers of the tests importable: ``from scripted.peer import ...``, ``from interop.dcmtk import ...``.

tests/ holds no packages (no __init__.py); scripted/ and interop/ are found as namespace packages from here.

Hypothesis has three profiles: `default`, which `make test` runs, `quick` for `make quick`, and `deep` for hours:
HYPOTHESIS_PROFILE=deep.

What a test leaves behind is its failure: warnings are errors, those that Python only prints from a finalizer too
(pytest collects them), and so is what asyncio logs: "Task was destroyed but it is pending!", "Task exception was never
retrieved", "Fatal error on transport". So is a patient whom our own logs name.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from asyncio.base_subprocess import BaseSubprocessTransport
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings

if TYPE_CHECKING:
    from tls.authority import Certificates

sys.path.insert(0, str(Path(__file__).parent))

_TESTS = Path(__file__).parent
# What make quick leaves out: processes, other implementations, memory that is measured, long random walks.
_SLOW_FOLDERS = {"bench", "cli", "docs", "durable", "examples", "fuzz", "hostile", "interop", "privacy", "tls"}
_SLOW_FILES = {
    "test_aio_memory.py",
    "test_aio_nothing_left.py",
    "test_aio_state_machine.py",
    "test_architecture_strict.py",
    "test_architecture_types.py",
    "test_pdu_captures.py",
    "test_recompression_pixels.py",
}

_ALLOWED = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
settings.register_profile("default", deadline=None, suppress_health_check=_ALLOWED)
settings.register_profile("deep", settings.get_profile("default"), max_examples=3000, stateful_step_count=50)
settings.register_profile("quick", settings.get_profile("default"), max_examples=20, stateful_step_count=20)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))


def _send_signal(transport: BaseSubprocessTransport, number: int) -> None:
    """Signal a child without checking first whether it still runs.

    Popen's look may reap a child that is just ending; asyncio then reports a return code of 255, and warns.
    """
    transport._check_proc()
    with suppress(ProcessLookupError):
        os.kill(transport.get_pid(), number)


BaseSubprocessTransport.send_signal = _send_signal
BaseSubprocessTransport.terminate = lambda transport: _send_signal(transport, signal.SIGTERM)
BaseSubprocessTransport.kill = lambda transport: _send_signal(transport, signal.SIGKILL)


class _Asyncio(logging.Handler):
    """Collect the complaints of asyncio."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())

    def take(self) -> list[str]:
        said, self.said = self.said, []
        return said

    def check(self) -> None:
        if said := self.take():
            pytest.fail("asyncio said:\n" + "\n".join(said), pytrace=False)


class _Patients(logging.Handler):
    """Check that the library logs no patient of the test data, at any level. tests/privacy checks more."""

    names = ("CompressedSamples", "Zeisig", "Doe^", "Lestrade^", "Yamada^", "Müller^", "Buc^")

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self._names = [name.casefold() for name in self.names]
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        words = self.format(record)
        if any(name in words.casefold() for name in self._names):
            self.said.append(words)

    def check(self) -> None:
        said, self.said = self.said, []
        if said:
            pytest.fail("a patient is named in a log:\n" + "\n".join(said), pytrace=False)


_ASYNCIO, _PATIENTS = _Asyncio(), _Patients()


def _is_about_the_program(record: logging.LogRecord) -> bool:
    """Not what its debug mode says of a slow callback (slowness.py): no test is to see, or to count, that."""
    return not str(record.msg).startswith("Executing ")


def pytest_configure() -> None:
    logger = logging.getLogger("asyncio")
    logger.addFilter(_is_about_the_program)
    logger.addHandler(_ASYNCIO)
    ours = logging.getLogger("aiodimse")
    ours.setLevel(logging.DEBUG)
    ours.addHandler(_PATIENTS)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not _SLOW_FOLDERS.isdisjoint(item.path.parts[len(_TESTS.parts) :]) or item.path.name in _SLOW_FILES:
            item.add_marker(pytest.mark.slow)


def pytest_collection_finish() -> None:
    """Freeze the objects of imports and collection, so that the collector does not walk them after each module."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    result = yield
    _ASYNCIO.check()
    _PATIENTS.check()
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Iterator[None]:
    result = yield
    _ASYNCIO.check()
    _PATIENTS.check()
    return result


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Certificates of one hospital, and what another one and time make of them."""
    from tls.authority import make

    return make(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def asyncio_said() -> Callable[[], list[str]]:
    """Return the complaints of asyncio since the last call. They do not fail a test that asks for them."""
    return _ASYNCIO.take


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    """A command that runs in the main thread leaves SIGTERM ignored, for its process is about to end. This one is not,
    and the programs that later tests start and terminate would inherit that."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, each in before.items():
        if signal.getsignal(number) is not each:
            signal.signal(number, each)


@pytest.fixture(scope="module", autouse=True)
def _collected() -> Iterator[None]:
    """What only the garbage collector finds is found before other modules are blamed for it.

    What is left is not garbage, and stays to the end, as the reports of the tests: no later collection need walk it.
    """
    yield
    gc.collect()
    gc.freeze()
