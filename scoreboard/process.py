"""The process of the provider that is measured."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

PATIENCE = 60.0
"""Seconds for the process to print a line. Then TimeoutError is raised, and the block around it kills the process."""
ROOM = 1 << 26
"""The largest line that a process may print, in bytes."""


class Scored:
    """A running provider process."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process, self.port = process, port

    async def held(self) -> dict[str, float]:
        """Return memory and its peak in bytes, files, tasks, processor time in seconds, and the longest stall.

        The stall is the longest time, in seconds, for which the event loop did not turn since the last call.

        Raises:
            TimeoutError: The process has not answered for PATIENCE seconds.
            EOFError: The process has ended.
        """
        assert self.process.stdin is not None
        self.process.stdin.write(b"\n")
        answer: dict[str, float] = json.loads(await line(self.process))
        return answer


async def line(process: asyncio.subprocess.Process) -> bytes:
    """Return the next line that a process prints.

    Raises:
        TimeoutError: It has printed none for PATIENCE seconds.
        EOFError: It has ended.
    """
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE):
        printed = await process.stdout.readline()
    if not printed:
        raise EOFError("the process has ended without an answer")
    return printed


@asynccontextmanager
async def provider(*options: str) -> AsyncIterator[Scored]:
    """Start `scoreboard.provider` with these options, and kill it at the end of the block."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "scoreboard.provider",
        *options,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=ROOM,
    )
    try:
        yield Scored(process, int(await line(process)))
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
