"""The migration guide: the code of its two halves runs, against itself and against the other half."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pynetdicom import evt

import aiodimse
from aiodimse import sop_class

HOST = "127.0.0.1"
CT, MR = (Path(str(get_testdata_file(name))) for name in ("CT_small.dcm", "MR_small.dcm"))
LIBRARIES = ("pynetdicom", "aiodimse")


@dataclass
class Half:
    """One half of the page, and its provider running."""

    names: dict[str, Any]
    port: int

    async def call(self, name: str, *arguments: object) -> Any:
        """A user of this half: pynetdicom's block, and so run in a thread."""
        function = self.names[name]
        if asyncio.iscoroutinefunction(function):
            return await function(HOST, *arguments)
        return await asyncio.to_thread(function, HOST, *arguments)

    @property
    def arrived(self) -> set[str]:
        return {str(dcmread(path).SOPInstanceUID) for path in self.names["incoming"].iterdir()}


def _half(guide: list[Any], library: str) -> Half:
    names: dict[str, Any] = {"__name__": f"guide_{library}"}
    for block in guide:
        if block.title in (library, "both"):
            block.run(names)
    return Half(names, 0)


@pytest.fixture(scope="module")
def netdicom_half(guide: list[Any]) -> Iterator[Half]:
    """One for all tests: it takes half a second to stop."""
    half = _half(guide, "pynetdicom")
    half.port = half.names["start"](0).socket.getsockname()[1]
    yield half
    half.names["ae"].shutdown()


@pytest.fixture
async def halves(guide: list[Any], netdicom_half: Half, tmp_path: Path) -> AsyncIterator[dict[str, Half]]:
    found = {"pynetdicom": netdicom_half, "aiodimse": _half(guide, "aiodimse")}
    for library, half in found.items():
        for name in ("folder", "incoming"):
            half.names[name] = tmp_path / library / name
            half.names[name].mkdir(parents=True)
        for path in (CT, MR):
            shutil.copy(path, half.names["folder"])
    async with found["aiodimse"].names["server"].listen(HOST, 0) as listening:
        found["aiodimse"].port = listening.port
        for half in found.values():
            half.names["destinations"]["ARCHIVE"] = (HOST, listening.port)
        yield found


@pytest.fixture(params=LIBRARIES)
def user(halves: dict[str, Half], request: pytest.FixtureRequest) -> Half:
    return halves[request.param]


@pytest.fixture(params=LIBRARIES)
def provider(halves: dict[str, Half], request: pytest.FixtureRequest) -> Half:
    return halves[request.param]


async def test_verification(user: Half, provider: Half) -> None:
    assert await user.call("echo", provider.port) == 0x0000


async def test_storage(user: Half, provider: Half) -> None:
    assert await user.call("send", provider.port, [CT, MR]) == [0x0000, 0x0000]
    assert provider.arrived == {str(dcmread(path).SOPInstanceUID) for path in (CT, MR)}


async def test_find(user: Half, provider: Half) -> None:
    expected = sorted(str(dcmread(path).StudyInstanceUID) for path in (CT, MR))
    assert sorted(await user.call("find_studies", provider.port)) == expected


async def test_get(user: Half, provider: Half) -> None:
    wanted = dcmread(MR)
    assert await user.call("fetch", provider.port, str(wanted.PatientID)) == 0x0000
    assert user.arrived == {str(wanted.SOPInstanceUID)}


async def test_move(user: Half, provider: Half, halves: dict[str, Half]) -> None:
    wanted = dcmread(CT)
    assert await user.call("move_patient", provider.port, str(wanted.PatientID), "ARCHIVE") == 0x0000
    assert halves["aiodimse"].arrived == {str(wanted.SOPInstanceUID)}
    assert await user.call("move_patient", provider.port, "", "UNHEARD-OF") == 0xA801


async def test_move_to_pynetdicom(halves: dict[str, Half]) -> None:
    ours, theirs = halves["aiodimse"], halves["pynetdicom"]
    ours.names["destinations"]["ARCHIVE"] = (HOST, theirs.port)
    assert await ours.call("move_patient", ours.port, "", "ARCHIVE") == 0x0000
    assert theirs.arrived == {str(dcmread(path).SOPInstanceUID) for path in (CT, MR)}


@pytest.mark.parametrize("way", ["released", "aborted"])
async def test_association_events(provider: Half, way: str) -> None:
    title = f"EVENTS {way}"
    contexts = [sop_class.Verification]
    async with aiodimse.connect(
        HOST, provider.port, ae_title=title, called_ae_title="ARCHIVE", contexts=contexts
    ) as association:
        if way == "aborted":
            association.abort()
    told: list[str] = []
    while len(told) < 2:  # those of earlier tests may be among them
        event = await asyncio.to_thread(provider.names["seen"].get, True, 20)
        told += [event.removeprefix(f"{title} ")] if event.startswith(title) else []
    assert told == ["asks", way]


async def test_main_serves_until_cancelled(halves: dict[str, Half], unused_tcp_port_factory: Callable[[], int]) -> None:
    serving = asyncio.create_task(halves["aiodimse"].names["main"](unused_tcp_port_factory()))
    await asyncio.sleep(0)
    serving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await serving


def test_every_event_of_pynetdicom_is_in_the_guide() -> None:
    page = (Path(__file__).parents[2] / "docs" / "migrating-from-pynetdicom.md").read_text(encoding="utf-8")
    events = [name for name in dir(evt) if name.startswith("EVT_")]
    assert len(events) > 30
    assert [name for name in events if f"`{name}`" not in page] == []
