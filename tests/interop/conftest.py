"""The strangers as fixtures. A provider's output is shown with the test that failed while it was running."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from interop import samples
from interop.dcmtk import DcmQRSCP, StoreSCP
from interop.orthanc import Orthanc
from interop.programs import RUNNING, Keeper, need, run
from interop.pynetdicom_peers import NetdicomSCP
from ports import free_port

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            # What happens in a stranger's thread is no fault of the test that runs: having rejected, pynetdicom 3.0.4
            # may still abort when the socket closes, and its thread raises for Evt15 in Sta13.
            item.add_marker(pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning"))
            item.add_marker(pytest.mark.interop)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Any:
    report = yield
    if report.failed:
        report.sections += [(f"output of {p.command[0]}", p.describe()) for p in RUNNING]
    return report


@pytest.fixture
def keeper(tmp_path: Path) -> Iterator[Keeper]:
    keeper = Keeper(tmp_path)
    yield keeper
    keeper.stop()


@pytest.fixture(scope="session")
def session_keeper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keeper]:
    keeper = Keeper(tmp_path_factory.mktemp("providers"))
    yield keeper
    keeper.stop()


@pytest.fixture
def storescp(keeper: Keeper) -> Callable[..., StoreSCP]:
    """storescp("+xa", title="DEST") starts one."""
    return lambda *words, **more: keeper.start(StoreSCP, *words, **more)


@pytest.fixture
def dcmqrscp(keeper: Keeper) -> Callable[..., DcmQRSCP]:
    """dcmqrscp(destinations={"DEST": port}) starts one, empty."""
    return lambda **more: keeper.start(DcmQRSCP, **more)


@pytest.fixture(scope="session")
def move_target_port() -> int:
    """The port of the destination DEST that the session's providers know; a test listens there when it needs it."""
    return free_port()


@pytest.fixture(scope="session")
def orthanc(session_keeper: Keeper, move_target_port: int) -> Orthanc:
    """One Orthanc for the whole run, filled with the samples of JOURNEY; it knows DEST."""
    provider: Orthanc = session_keeper.start(Orthanc, destinations={"DEST": move_target_port})
    _fill(provider.port, provider.title, samples.JOURNEY)
    return provider


@pytest.fixture(scope="session")
def filled_dcmqrscp(session_keeper: Keeper, move_target_port: int) -> DcmQRSCP:
    """One dcmqrscp for the whole run, filled with the samples of PLAIN; it knows DEST."""
    provider: DcmQRSCP = session_keeper.start(DcmQRSCP, destinations={"DEST": move_target_port})
    _fill(provider.port, provider.title, samples.PLAIN)
    return provider


def _fill(port: int, title: str, contents: Sequence[samples.Sample]) -> None:
    import asyncio

    async def fill() -> None:
        program = need("storescu")
        for sample in contents:
            done = await run(program, "-R", sample.dcmtk, "-aec", title, "127.0.0.1", str(port), sample.path)
            done.check()

    asyncio.run(fill())


@pytest.fixture
def netdicom() -> Iterator[Callable[..., NetdicomSCP]]:
    """netdicom(paths, destinations, query, retrieve, handlers) starts a pynetdicom provider."""
    started: list[NetdicomSCP] = []

    def start(*args: Any, **more: Any) -> NetdicomSCP:
        started.append(NetdicomSCP(*args, **more))
        return started[-1]

    yield start
    for provider in started:
        provider.stop()


@pytest.fixture
def rows() -> Callable[[str], list[Mapping[str, str]]]:
    """The rows of a table of tests/data/standard."""
    import csv

    def read(name: str) -> list[Mapping[str, str]]:
        with (HERE.parent / "data" / "standard" / name).open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    return read
