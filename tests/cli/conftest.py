"""Commands run in process, against an archive over real files in the loop of the test."""

from __future__ import annotations

import asyncio
import io
import shutil
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydicom
import pytest
from pydicom import Dataset

import aiodimse
from aiodimse.archive import Archive, provide
from aiodimse.cli.main import main

HOST = "127.0.0.1"
NO_DEBUG = {"PYTHONASYNCIODEBUG": "", "PYTHONDEVMODE": ""}
"""Environment of a process whose standard error is compared: in debug mode asyncio tells there that it was slow."""
TEST_FILES = Path(pydicom.__file__).parent / "data" / "test_files"
CT, MR, JPEG_2000 = (TEST_FILES / name for name in ("CT_small.dcm", "MR_small.dcm", "JPEG2000.dcm"))


def of_patient(patient: str, size: int = 0) -> Dataset:
    """An instance with the same UID for each patient; its pixels have `size` bytes if that is more than it has."""
    dataset = pydicom.dcmread(MR)
    dataset.PatientID, dataset.SOPInstanceUID, dataset.StudyInstanceUID = patient, "1.2.3.4", "1.2.3"
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    dataset.PixelData = dataset.PixelData.ljust(size, b"\0")
    return dataset


async def store_while_another_stores(
    first: aiodimse.Association, second: aiodimse.Association, has_begun: Callable[[], Awaitable[bool]]
) -> tuple[int, int]:
    """Store the same UID for two patients, over associations to two processes, and return both statuses.

    The second begins when the first has sent a part, and is not answered before the first has sent the rest.
    """
    go_on, file = asyncio.Event(), io.BytesIO()
    of_patient("P1", 4 << 20).save_as(file, enforce_file_format=True)
    data = file.getvalue()

    async def halting() -> AsyncIterator[bytes]:
        yield data[: 2 << 20]
        await go_on.wait()
        yield data[2 << 20 :]

    storing = asyncio.ensure_future(first.c_store(await aiodimse.Instance.from_part10(halting())))
    async with asyncio.timeout(30):
        while not await has_begun():
            pass
    waiting = asyncio.ensure_future(second.c_store(of_patient("P2")))
    for _ in range(50):  # time enough to answer it
        assert await has_begun()
    assert not waiting.done()
    go_on.set()
    return (await storing).status, (await waiting).status


@dataclass(frozen=True)
class Ended:
    """What a command left behind."""

    code: int
    out: str
    err: str

    def failed(self, code: int, *words: str) -> None:
        """One line on stderr with these words, nothing on stdout."""
        assert (self.code, self.out) == (code, ""), self
        (line,) = self.err.splitlines()
        assert all(word in line for word in words), line


Command = Callable[..., Awaitable[Ended]]


@dataclass
class Peer:
    """A provider that runs: an archive of three files, which knows VIEWER, and AWAY, where nothing listens."""

    port: int
    folder: Path
    viewer: list[str] = field(default_factory=list)
    """SOP Instance UIDs that arrived there."""

    @property
    def where(self) -> tuple[str, ...]:
        return HOST, str(self.port), "--called", "ARCHIVE"


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """`await command("echo", HOST, port)`: aiodimse.cli.main.main in a thread, so that the test's loop goes on."""

    def run(words: list[str]) -> int:
        try:
            return main(words)
        except SystemExit as error:  # argparse
            return int(error.code or 0)

    async def call(*words: object) -> Ended:
        code = await asyncio.to_thread(run, [str(word) for word in words])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Ended(code, captured.out, captured.err)

    return call


@pytest.fixture
async def peer(tmp_path: Path) -> AsyncIterator[Peer]:
    folder = tmp_path / "archive"
    folder.mkdir()
    for path in (CT, MR, JPEG_2000):
        shutil.copy(path, folder)
    archive = await Archive.open(folder, index="memory:")
    server, viewer = aiodimse.Server(ae_title="ARCHIVE"), aiodimse.Server(ae_title="VIEWER")
    arrived: list[str] = []

    @viewer.on_c_store
    async def store(request: Any) -> int:
        await request.discard()
        arrived.append(request.sop_instance_uid)
        return 0x0000

    async with viewer.listen(HOST, 0) as there:
        provide(server, archive, destinations={"VIEWER": (HOST, there.port), "AWAY": (HOST, 1)})
        async with server.listen(HOST, 0) as listening:
            yield Peer(listening.port, folder, arrived)


@pytest.fixture
def dead_port() -> Iterator[int]:
    """A port that is taken and on which nobody listens: a connection to it is refused."""
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        yield taken.getsockname()[1]


@pytest.fixture
async def mute() -> AsyncIterator[int]:
    """The port of somebody who takes connections and says nothing."""

    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, HOST, 0) as server:
        yield server.sockets[0].getsockname()[1]
