"""serve --workers: one port, several processes, and what becomes of them."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import signal
import socket
import sys
from argparse import Namespace
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from cli.conftest import HOST, MR
from cli.test_cli_processes import aiodimse_command, folder, serving, start  # noqa: F401
from pydicom import dcmread

import aiodimse
from aiodimse import sop_class
from aiodimse.cli import workers
from aiodimse.cli.ending import Ending
from aiodimse.cli.output import Output
from aiodimse.cli.sharing import Inherited
from aiodimse.cli.workers import _Parent as Parent

MR_STORAGE = sop_class.MRImageStorage


def children(pid: int) -> list[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def connect(port: int) -> aiodimse.Connect:
    return aiodimse.connect(HOST, port, called_ae_title="AIODIMSE", contexts=[sop_class.Verification, MR_STORAGE])


async def echoes(port: int, number: int) -> None:
    async def one() -> None:
        async with connect(port) as association:
            assert (await association.c_echo()).status == 0x0000

    await asyncio.gather(*(one() for _ in range(number)))


async def test_what_all_workers_did_is_added_up(folder: Path) -> None:  # noqa: F811
    async with serving(folder, "--workers", "2") as (process, port):
        await echoes(port, 12)
        process.terminate()
        said, _ = await asyncio.wait_for(process.communicate(), 30)
    ended = json.loads(said.splitlines()[-1])
    assert (ended["event"], ended["associations"]) == ("ended", 12)
    assert ended["operations"]["C-ECHO"] == 12
    assert process.returncode == 0


async def test_a_worker_that_dies_is_started_again(folder: Path) -> None:  # noqa: F811
    async with serving(folder, "--workers", "2") as (process, port):
        before = children(process.pid)
        assert len(before) == 2
        os.kill(before[0], signal.SIGKILL)
        assert process.stderr is not None
        async with asyncio.timeout(30):
            async for line in process.stderr:  # the debug mode of asyncio may say something too
                if b"died; it is started again" in line:
                    break
            else:
                pytest.fail("nobody said that a worker died")
        await echoes(port, 4)


async def test_connections_are_dealt_evenly_and_wait_for_a_worker(folder: Path) -> None:  # noqa: F811
    async with serving(folder, "--workers", "2") as (process, port):
        associations = [await connect(port) for _ in range(6)]
        first, second = children(process.pid)
        os.kill(first, signal.SIGKILL)
        statuses = await asyncio.gather(*(each.c_echo() for each in associations), return_exceptions=True)
        lost = sum(isinstance(each, aiodimse.AssociationError) for each in statuses)
        assert 2 <= lost <= 4  # three, unless the machine keeps one of them from running
        os.kill(second, signal.SIGKILL)
        await asyncio.gather(*(each.wait_closed() for each in associations), return_exceptions=True)
        await echoes(port, 2)  # which are taken once a worker is there again; nobody refuses them


async def test_a_port_that_is_taken(folder: Path) -> None:  # noqa: F811
    async with serving(folder, "--workers", "2") as (_, port):
        process = await start(*aiodimse_command("serve", folder, "--port", port, "--workers", "2"))
        said, errors = await process.communicate()
    assert process.returncode == 1
    assert f"cannot listen on {HOST}:{port}: address already in use".encode() in errors + said


async def test_a_worker_that_cannot_begin_ends_the_command_in_one_line(folder: Path) -> None:  # noqa: F811
    words = ("serve", folder, "--port", "0", "--workers", "2", "--audit", folder / "no" / "audit.log")
    process = await start(*aiodimse_command(*words))
    _, errors = await process.communicate()
    assert process.returncode == 1
    assert b"audit.log: no such file or directory" in errors
    assert b"aiodimse serve: a worker ended before it served" in errors
    assert b"Traceback" not in errors


async def test_workers_end_with_their_parent(folder: Path) -> None:  # noqa: F811
    async with serving(folder, "--workers", "2") as (process, port):
        await echoes(port, 2)
        process.kill()
        await asyncio.wait_for(process.wait(), 30)  # which waits for who has its standard error


async def test_two_workers_and_one_uid(folder: Path) -> None:  # noqa: F811
    """However they share the connections: one instance wins, and the others are refused."""
    async with serving(folder, "--workers", "2") as (_, port):

        async def send(patient: str) -> int:
            dataset = dcmread(MR)
            dataset.PatientID, dataset.SOPInstanceUID = patient, "1.2.3.4"
            dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
            async with connect(port) as association:
                return (await association.c_store(dataset)).status

        statuses = await asyncio.gather(*(send(f"P{number}") for number in range(8)))
    assert sorted(statuses) == [0x0000] + [0xA900] * 7
    assert len(list(folder.glob("*/*/1.2.3.4.dcm"))) == 1


@pytest.mark.parametrize("words", [("--index", "memory:")])
async def test_what_workers_cannot_share(folder: Path, words: tuple[str, ...]) -> None:  # noqa: F811
    process = await start(*aiodimse_command("serve", folder, "--port", "0", "--workers", "2", *words))
    _, said = await process.communicate()
    assert process.returncode == 2
    assert b"an index that processes share" in said


# --- the parent alone, with workers that do not serve -----------------------------------------------------------------

READY = 'import signal, sys; print(\'{"event": "ready"}\', flush=True); signal.pause()'
SPAWN = asyncio.create_subprocess_exec
Spawned = Callable[[], Awaitable[asyncio.subprocess.Process]]


def parent_of(spawned: Callable[[Spawned], Awaitable[asyncio.subprocess.Process]], patch: pytest.MonkeyPatch) -> Parent:
    """Return a parent of two workers. A function is called instead of starting one, and is given what starts it."""

    async def spawn(*_: object, **options: Any) -> asyncio.subprocess.Process:
        return await spawned(lambda: SPAWN(sys.executable, "-c", READY, **options))

    patch.setattr(asyncio, "create_subprocess_exec", spawn)
    patch.setattr(workers, "_FIRST_WAIT", 0.01)
    options = Namespace(
        argv=["serve"], workers=2, prog="aiodimse", host=HOST, ae_title="A", directory="D", timeout=None,
        ending=Ending("aiodimse"),
    )  # fmt: skip
    inherited = Inherited([socket.create_server((HOST, 0))], 2)
    return Parent(options, inherited, Output())


@pytest.mark.parametrize("last", [1, 2])
async def test_a_worker_that_starts_while_the_others_are_told_to_end_is_told_too(
    monkeypatch: pytest.MonkeyPatch, last: int
) -> None:
    number = 0

    async def spawned(spawn: Spawned) -> asyncio.subprocess.Process:
        nonlocal number
        number += 1
        process = await spawn()
        if number == last:
            parent.stop(signal.SIGTERM)
        return process

    parent = parent_of(spawned, monkeypatch)
    await asyncio.wait_for(parent.run(), 20)
    parent._options.ending.disarm()
    assert (number, parent.has_failed) == (last, False)


async def test_a_worker_that_cannot_be_started_again_costs_no_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The system has no memory or no process to spare for a moment."""
    number = 0

    async def spawned(spawn: Spawned) -> asyncio.subprocess.Process:
        nonlocal number
        number += 1
        if number in (3, 4):
            raise BlockingIOError(errno.EAGAIN, "no process to spare")
        process = await spawn()
        if number == 2:
            assert process.stdout is not None
            asyncio.get_running_loop().call_later(0.2, process.kill)
        if number == 5:
            asyncio.get_running_loop().call_later(0.2, parent.stop, signal.SIGTERM)
        return process

    parent = parent_of(spawned, monkeypatch)
    await asyncio.wait_for(parent.run(), 20)
    parent._options.ending.disarm()
    assert (number, parent.has_failed) == (5, False)
    assert "worker 1 cannot be started: resource temporarily unavailable" in capsys.readouterr().err
