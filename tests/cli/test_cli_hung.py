"""A disk or a database that hangs does not keep serve from ending: it is left behind, and named."""

from __future__ import annotations

import asyncio
import shutil
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from cli.conftest import CT, HOST, MR
from cli.test_cli_processes import Process, aiodimse_command, serving, start

import aiodimse
from aiodimse import sop_class

HUNG = Path(__file__).parents[1] / "hung"
SOON = 45.0
"""Seconds that ending may take: the drain, and a little."""


@pytest.fixture
def when(tmp_path: Path) -> Path:
    return tmp_path / "hung"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "served"
    found.mkdir()
    shutil.copy(CT, found)
    return found


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch, when: Path, kind: str) -> None:
    """The processes that are started hang in this when the file is there."""
    for name, value in (("PYTHONPATH", HUNG), ("HUNG", kind), ("HUNG_WHEN", when)):
        monkeypatch.setenv(name, str(value))


async def hangs(when: Path) -> None:
    """Return when a thread of some process has begun to hang."""
    while not await asyncio.to_thread(lambda: list(when.parent.glob(f"{when.name}.*"))):  # noqa: ASYNC110
        await asyncio.sleep(0)


async def ask(port: int, kind: str) -> None:
    """Ask for what hangs, and go."""
    contexts = [sop_class.MRImageStorage, FIND]
    async with aiodimse.connect(HOST, port, called_ae_title="AIODIMSE", contexts=contexts) as association:
        if kind == "find":
            query = aiodimse.identifier("STUDY", StudyInstanceUID="")
            async with association.c_find(query) as matches:
                await anext(aiter(matches))
        else:
            await association.c_store(MR)


@asynccontextmanager
async def asking(port: int, what: str, when: Path) -> AsyncIterator[None]:
    """A peer whose request hangs; it aborts."""
    task = asyncio.create_task(ask(port, what))
    await asyncio.wait_for(hangs(when), SOON)
    task.cancel()
    await asyncio.wait([task])
    yield


async def ended(process: Process, code: int) -> str:
    """What it says on standard error, once it has ended in time."""
    _, err = await asyncio.wait_for(process.communicate(), SOON)
    assert process.returncode == code, err
    return err.decode()


FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
CASES = [
    (1, "fsync", "store", "aiodimse-files"),
    (1, "index", "store", "aiodimse-"),
    (1, "index", "find", "aiodimse-index"),
    (2, "fsync", "store", "aiodimse-files"),
    (2, "index", "store", "aiodimse-"),
]


@pytest.mark.parametrize(("workers", "kind", "what", "name"), CASES)
async def test_serve_ends(hanging: None, folder: Path, when: Path, workers: int, what: str, name: str) -> None:
    async with serving(folder, "--workers", workers) as (process, port):
        when.touch()
        async with asking(port, what, when):
            process.send_signal(signal.SIGTERM)
            said = await ended(process, 1)
    lines = [line for line in said.splitlines() if "does not answer" in line]
    assert 1 <= len(lines) <= workers  # each worker asks its index now and then, unasked
    assert all(name in line for line in lines)
    assert str(folder) not in said


@pytest.mark.parametrize("kind", ["open"])
async def test_serve_ends_while_it_scans(hanging: None, folder: Path, when: Path) -> None:
    """The scan beside the service: all has been read once."""
    async with serving(folder) as (process, _):
        process.terminate()
        assert await process.wait() == 0
    shutil.copy(MR, folder)
    (folder / "MR_small.dcm").rename(folder / "new.dcm")
    when.touch()
    async with serving(folder) as (process, _):
        await asyncio.wait_for(hangs(when), SOON)
        process.send_signal(signal.SIGTERM)
        said = await ended(process, 1)
    assert "aiodimse-archive" in said


@pytest.mark.parametrize("kind", ["open", "list", "index"])
async def test_serve_ends_before_it_serves(hanging: None, folder: Path, when: Path) -> None:
    when.touch()
    process = await start(*aiodimse_command("serve", folder, "--port", "0"))
    await asyncio.wait_for(hangs(when), SOON)
    process.send_signal(signal.SIGTERM)
    assert "terminated" in await ended(process, 143)


ENDING = """
import threading
from aiodimse.cli.ending import Ending

ending = Ending("aiodimse serve")
ending.within({first}, 6)
{then}
threading.Thread(target=threading.Event().wait, name="of somebody else").start()
"""


@pytest.mark.parametrize(("first", "then"), [(0.01, ""), (3600.0, "ending.within(0.01, 6)")])
async def test_a_process_that_was_told_to_end_and_does_not_is_ended(first: float, then: str) -> None:
    """Python waits for the threads of others. The last call counts."""
    process = await start(sys.executable, "-c", ENDING.format(first=first, then=then))
    said = await ended(process, 6)
    assert said.startswith("aiodimse serve: ended by force")


async def test_a_process_that_goes_on_is_not_ended() -> None:
    process = await start(
        sys.executable,
        "-c",
        ENDING.format(first=0.1, then="ending.disarm(); threading.Event().wait(0.5); raise SystemExit(0)"),
    )
    assert await ended(process, 0) == ""
