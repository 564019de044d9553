"""What an archive stands on fails, or its process is killed: real processes, disks and clocks, as in a hospital.

Few kills here; the scoreboard asks for AIODIMSE_KILLS=20.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from archive.conftest import make_object, write_object
from durable.material import STORAGE, instance, pattern

import aiodimse
from aiodimse import sop_class
from aiodimse.archive import Archive, check, provide

HOST = "127.0.0.1"
KILLS = int(os.environ.get("AIODIMSE_KILLS", "3"))
DAY = 24 * 3600
FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
Record = Callable[[str, int], None]
pytestmark = pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="there is no SIGKILL on this system")

SCAN = """
import asyncio, sys
from aiodimse.archive import Archive, scan
from aiodimse.archive.storage import FolderStorage

scan._AT_ONCE = 0.005  # many transactions of few files
read = FolderStorage.read

def told(storage, location):
    print("read", location, flush=True)
    return read(storage, location)

def progress(report):
    print("indexed", flush=True)

async def main():
    archive = await Archive.open(sys.argv[1], progress=progress)
    print("files", archive.report.files, archive.report.indexed, flush=True)
    await archive.close()

FolderStorage.read = told
asyncio.run(main())
"""

SERVE_AT = """
import sys, time

real, ahead = time.time, float(sys.argv[1])
time.time = lambda: real() + ahead

from aiodimse.cli.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[2:]))
"""
"""`aiodimse` on a machine whose clock is so many seconds ahead."""


@asynccontextmanager
async def serving(folder: Path, *words: str, ahead: float = 0.0) -> AsyncIterator[tuple[Any, int]]:
    """`aiodimse serve` as a process, and its port; it is told to end, and has to."""
    command = ("serve", str(folder), "--port", "0", "--json", *words)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SERVE_AT, str(ahead), *command, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert process.stdout is not None
        event: dict[str, Any] = {}
        while event.get("event") != "ready":
            line = await process.stdout.readline()
            assert line, (await process.communicate())[1].decode()
            event = json.loads(line)
        yield process, event["port"]
        process.terminate()
        await asyncio.wait_for(process.communicate(), 30)
        assert process.returncode == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def peer(port: int) -> Any:
    contexts = [STORAGE, FIND]
    return aiodimse.connect(HOST, port, called_ae_title="AIODIMSE", contexts=contexts)


async def found(association: aiodimse.Association) -> set[str]:
    """Every study that C-FIND knows."""
    identifier = aiodimse.identifier("STUDY", StudyInstanceUID=None)
    return {match.StudyInstanceUID async for match in association.c_find(identifier, FIND)}


def sent(number: int, size: int = 1000) -> Any:
    dataset = instance(f"1.2.3.{number}", size)
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = f"1.2.{number}", f"1.2.{number}.1"
    return dataset


# --- kill -9 of a scan ------------------------------------------------------------------------------------------------


async def _scan_killed(folder: Path, lines: int) -> tuple[set[str], set[str], bool]:
    """Scan until the first transaction and so many lines more, and kill it.

    Returns:
        What it has read, what of it is in the index by its own word, and whether it ended before the kill.
    """
    words = (sys.executable, "-c", SCAN, str(folder))
    process = await asyncio.create_subprocess_exec(*words, stdout=subprocess.PIPE)
    assert process.stdout is not None
    read, indexed = set[str](), set[str]()
    async for line in process.stdout:
        what, *more = line.decode().rstrip("\n").split(" ", 1)
        if what == "read":
            assert more[0] not in read
            read.add(more[0])
        elif what == "indexed":
            indexed = set(read)
        if indexed and (lines := lines - 1) == 0:
            process.kill()
    return read, indexed, await process.wait() == 0


async def test_a_scan_that_is_killed_goes_on_where_it_was(tmp_path: Path, record_property: Record) -> None:
    """What was in the index once is never read again, and in the end everything is in it."""
    folder, dice, files = tmp_path / "files", random.Random(1), 100 + 100 * KILLS
    for number in range(files):
        path = folder / str(number % 5) / f"{number}.dcm"
        write_object(path, make_object(study=str(number % 20), image=str(number)))
    known, reads = set[str](), 0
    for _ in range(KILLS):
        read, indexed, has_ended = await _scan_killed(folder, dice.randint(1, 30))
        assert not has_ended
        assert not read & known
        known, reads = known | indexed, reads + len(read)
    assert len(known) < files  # else the last kills were none
    read, indexed, has_ended = await _scan_killed(folder, -1)
    assert has_ended
    assert not read & known
    record_property("kills of a scan", KILLS)
    record_property("files read again", reads + len(read) - files)
    archive = await Archive.open(folder, scan=False)
    report = await check(archive, read=True)
    assert (report.objects, report.missing, report.other, report.changed) == (files, [], [], [])
    await archive.close()


# --- a wrong clock ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("years", [10, -40], ids=["ahead", "in 1986"])
async def test_a_clock_that_is_wrong_at_the_start_removes_nothing(
    tmp_path: Path, years: int, record_property: Record
) -> None:
    """What arrives under it is kept as well. With the right clock, what is too old goes, and nothing else."""
    folder = tmp_path / "files"
    for number, days in ((1, 1), (2, 20), (3, 25)):
        path = write_object(folder / f"{number}.dcm", make_object(study=str(number)))
        os.utime(path, (time.time() - days * DAY,) * 2)
    all_of_them = {"1.2.1", "1.2.2", "1.2.3"}
    async with serving(folder) as (_, port), peer(port) as association:
        assert await found(association) == all_of_them
    wrong = serving(folder, "--keep-days", "30", ahead=years * 365 * DAY)
    async with wrong as (_, port), peer(port) as association:
        assert (await association.c_store(sent(4))).status == 0x0000
        assert await found(association) == all_of_them | {"1.2.4"}
    async with serving(folder, "--keep-days", "22") as (process, port), peer(port) as association:
        async with asyncio.timeout(30):
            async for line in process.stderr:
                if b"studies removed: 1, with 1 objects" in line:
                    break
        assert await found(association) == {"1.2.1", "1.2.2", "1.2.4"}
    record_property("wrong clocks", 1)


# --- a disk that goes away --------------------------------------------------------------------------------------------


async def test_a_disk_that_goes_away_and_comes_back(tmp_path: Path, record_property: Record) -> None:
    """Nothing is forgotten, nothing is left where it was mounted, and a start without it is refused."""
    folder, disk = tmp_path / "files", tmp_path / "disk"
    folder.mkdir()
    words = ("--index", f"sqlite:///{tmp_path / 'index.db'}")
    async with serving(folder, *words) as (_, port), peer(port) as association:
        for number in (1, 2):
            assert (await association.c_store(sent(number))).status == 0x0000
        folder.rename(disk)
        folder.mkdir()  # where it was mounted
        for number in (2, 3):
            assert (await association.c_store(sent(number))).status == 0xA700
        assert await found(association) == {"1.2.1", "1.2.2"}
        assert list(folder.iterdir()) == []
        folder.rmdir()
        disk.rename(folder)
        assert (await association.c_store(sent(3))).status == 0x0000
        folder.rename(disk)
        folder.mkdir()
    with pytest.raises(AssertionError, match="no object of the index is there: is its disk mounted"):
        async with serving(folder, *words):
            pass
    (lock,) = folder.iterdir()  # who would have served it held this
    assert lock.name == ".aiodimse-lock"
    shutil.rmtree(folder)
    disk.rename(folder)
    async with serving(folder, *words) as (_, port), peer(port) as association:
        assert await found(association) == {"1.2.1", "1.2.2", "1.2.3"}
    record_property("disks that went away", 2)


# --- a disk that is full ----------------------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    mounted = tmp_path / "disk"
    mounted.mkdir()
    if (
        sys.platform != "linux"
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=4m", "none", str(mounted)], capture_output=True, check=False
        ).returncode
    ):
        pytest.skip("only root can mount a small file system here")
    yield mounted
    subprocess.run(["umount", str(mounted)], check=True)


async def test_a_disk_that_becomes_read_only(small_disk: Path, tmp_path: Path, record_property: Record) -> None:
    """As Linux remounts one with errors. Nothing on it may be open for writing here, neither an index nor a lock."""
    archive = await Archive.open(small_disk, index=f"sqlite:///{tmp_path / 'index.db'}")
    server = aiodimse.Server()
    provide(server, archive)
    async with server.listen(HOST, 0) as listening, peer(listening.port) as association:
        assert (await association.c_store(sent(1))).status == 0x0000
        _remount(small_disk, "ro")
        for number in (2, 1):
            assert (await association.c_store(sent(number))).status == 0xA700
        assert await found(association) == {"1.2.1"}
        _remount(small_disk, "rw")
        for number in (2, 1):
            assert (await association.c_store(sent(number))).status == 0x0000
        assert await found(association) == {"1.2.1", "1.2.2"}
    await archive.close()
    record_property("disks that became read-only", 1)


def _remount(disk: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(disk)], check=True)


@pytest.mark.parametrize("size", [1000, 60_000, 700_000])
async def test_a_disk_that_becomes_full(small_disk: Path, size: int, record_property: Record) -> None:
    """Files and index are on it. What was acknowledged is kept, the association goes on, and stores when it has room.

    Without --min-free each write meets the error of the system: of a file, of a folder, or of the index.
    """
    folder, reserve = small_disk / "files", small_disk / "reserve"
    folder.mkdir()
    reserve.write_bytes(bytes(1 << 20))
    acknowledged, refused, comments, number = list[int](), 0, set[str | None](), 0
    async with serving(folder, "--min-free", "0") as (_, port), peer(port) as association:
        while refused < 5:
            number += 1
            response = await association.c_store(sent(number, size))
            if response.status == 0x0000:
                acknowledged.append(number)
                continue
            assert response.status == 0xA700
            comments.add(response.error_comment)
            refused += 1
        assert {"disk full"} <= comments <= {"disk full", "the index does not answer"}
        reserve.unlink()
        assert (await association.c_store(sent(number, size))).status == 0x0000
        acknowledged.append(number)
        assert await found(association) == {f"1.2.{number}" for number in acknowledged}
    archive = await Archive.open(folder, scan=False)
    report = await check(archive, read=True)
    assert (report.objects, report.missing, report.other, report.changed) == (len(acknowledged), [], [], [])
    known = await archive.index.lookup([f"1.2.3.{number}" for number in acknowledged])
    for uid, entry in known.items():
        dataset = await (await aiodimse.Instance.open(archive.storage.payload(entry).path)).dataset()  # type: ignore[union-attr]
        assert dataset.PixelData == pattern(uid, size)
    assert len(known) == len(acknowledged) > 1
    await archive.close()
    record_property("stores refused by a full disk", refused)
    record_property("instances acknowledged", len(acknowledged))
