"""The pool for files: what a fork, and a cancellation, leave of it."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator

import pytest

from aiodimse.aio import thread_pool
from aiodimse.aio.files import WORKERS, clean_up_off_loop, off_loop, pieces_off_loop, read_off_loop
from aiodimse.aio.tasks import Tasks
from aiodimse.testing.clock import settle

SOON = 20.0

FORKED = """
import asyncio, os, signal, sys, time
from aiodimse.aio.files import WORKERS, off_loop

assert asyncio.run(off_loop(int, "1")) == 1
time.sleep(0.3)  # its thread waits for work
if (child := os.fork()) == 0:
    signal.alarm(20)  # for a child that waits for ever
    asyncio.run(off_loop(int, "2"))
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_makes_a_pool_of_its_own():
    """It has the parent's without its threads: what was handed to that would wait for ever."""
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKED]
    assert subprocess.run(command, check=False).returncode == 0


async def test_pieces_are_closed_at_once_and_their_iterator_when_it_has_been_read():
    begun, go, closed = threading.Event(), threading.Event(), threading.Event()

    def read() -> Iterator[bytes]:
        try:
            yield b"first"
            yield b"second"
            begun.set()
            go.wait()
            yield b"third"
        finally:
            closed.set()

    pieces = pieces_off_loop(read())
    try:
        assert await anext(pieces) == b"first"
        assert await anext(pieces) == b"second"
        await asyncio.to_thread(begun.wait)  # the third is being read
        await pieces.aclose()
        assert not closed.is_set()
    finally:
        go.set()  # the process waits for the thread
    await asyncio.to_thread(closed.wait)


async def test_no_more_than_the_first_piece_is_read_before_the_second_is_asked_for():
    """Whoever waits for the turn to write holds one piece."""
    read = []

    def pieces() -> Iterator[bytes]:
        for number in range(3):
            read.append(number)
            yield bytes([number])

    found = pieces_off_loop(pieces())
    await anext(found)
    for _ in range(WORKERS):
        await off_loop(int)  # a read would have been in the queue before these
    assert read == [0]
    assert [piece async for piece in found] == [b"\1", b"\2"]
    assert read == [0, 1, 2]


class Hanging:
    """All threads of the pool hang until it is left, and so many pieces of work wait."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, waiting: int) -> None:
        self._monkeypatch, self._waiting = monkeypatch, waiting
        self.go = threading.Event()
        self.begun = threading.Semaphore(0)

    def _hang(self) -> None:
        self.begun.release()
        self.go.wait(SOON)

    async def __aenter__(self) -> Hanging:
        self.tasks = [asyncio.create_task(off_loop(self._hang)) for _ in range(WORKERS)]
        for _ in self.tasks:
            await asyncio.to_thread(self.begun.acquire)
        self._monkeypatch.setattr(thread_pool, "MOST_WAITING", self._waiting)
        self.tasks += [asyncio.create_task(off_loop(int)) for _ in range(self._waiting)]
        await settle()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.go.set()
        await asyncio.wait(self.tasks)


@pytest.mark.parametrize("function", [off_loop, read_off_loop], ids=["off_loop", "read_off_loop"])
async def test_work_is_refused_when_too_much_waits(function, monkeypatch):
    """Cleaning up is not: what has been begun comes to its end."""
    begun = []
    async with Hanging(monkeypatch, 2) as hanging:
        with pytest.raises(OSError, match="waits already"):
            await function(begun.append, 1)
        cleaning = asyncio.create_task(clean_up_off_loop(begun.append, 2))
        await settle()
        hanging.go.set()
        await cleaning
        await function(begun.append, 3)
    assert begun == [2, 3]


async def test_a_cancelled_write_that_has_not_begun_never_does(monkeypatch):
    """It is known what it did to the file: nothing. Its end is not waited for."""
    begun = []
    async with Hanging(monkeypatch, 2):
        writing = asyncio.create_task(off_loop(begun.append, 1))
        writing.cancel()
        await asyncio.wait([writing])
        cleaning = asyncio.create_task(clean_up_off_loop(begun.append, 2))
        await settle()
        cleaning.cancel()
        await settle()
        assert not cleaning.done()
    await asyncio.wait([cleaning])
    assert (writing.cancelled(), cleaning.cancelled(), begun) == (True, True, [2])


@pytest.mark.parametrize("function", [off_loop, read_off_loop], ids=["off_loop", "read_off_loop"])
async def test_cancelled_work_keeps_nothing_while_it_waits_behind_a_disk_that_hangs(function, monkeypatch):
    class Held:
        def call(self) -> None: ...

    held = Held()
    gone = weakref.ref(held)
    async with Hanging(monkeypatch, 2):
        waiting = asyncio.create_task(function(held.call))
        monkeypatch.setattr(thread_pool, "MOST_WAITING", 3)
        await settle()
        waiting.cancel()
        await asyncio.wait([waiting])
        del held, waiting
        gc.collect()
        assert gone() is None


async def test_tasks_that_are_left_behind_do_not_wait_for_a_disk_that_hangs(monkeypatch):
    """Nor do they clean up: the thread that hangs may still be at the file."""
    begun = []

    async def write() -> None:
        try:
            await off_loop(hanging._hang)
        finally:
            await clean_up_off_loop(begun.append, 1)

    async with Hanging(monkeypatch, 2) as hanging:
        hanging.go.set()
        await asyncio.wait(hanging.tasks)
        hanging.go.clear()
        tasks = Tasks()
        task = tasks.spawn(write(), "writing")
        await asyncio.to_thread(hanging.begun.acquire)
        task.cancel()
        await settle()
        assert not task.done()
        assert tasks.leave_behind() == 1
        await asyncio.wait([task])
        assert task.cancelled()
    assert begun == []


ENDING = """
import asyncio, threading
from aiodimse.aio.files import read_off_loop

async def main():
    reading = asyncio.create_task(read_off_loop(threading.Event().wait))
    await asyncio.sleep(0)
    reading.cancel()

asyncio.run(main())
"""


def test_a_thread_that_hangs_does_not_keep_the_process():
    assert subprocess.run([sys.executable, "-c", ENDING], check=False, timeout=SOON).returncode == 0
