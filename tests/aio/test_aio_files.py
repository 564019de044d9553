"""The pool for files: what a fork, and a cancellation, leave of it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from aiodimse.aio.files import pieces_off_loop

FORKED = """
import asyncio, os, signal, sys, time
from aiodimse.aio.files import off_loop

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
            begun.set()
            go.wait()
            yield b"second"
        finally:
            closed.set()

    pieces = pieces_off_loop(read())
    try:
        assert await anext(pieces) == b"first"
        await asyncio.to_thread(begun.wait)  # the second is being read
        await pieces.aclose()
        assert not closed.is_set()
    finally:
        go.set()  # the process waits for the thread
    await asyncio.to_thread(closed.wait)
