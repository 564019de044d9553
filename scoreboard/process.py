"""The process of the provider that is measured."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

ROOM = 1 << 26
"""The largest line that a process may print, in bytes."""


class Scored:
    """A running provider process."""

    def __init__(self, process: asyncio.subprocess.Process, port: int) -> None:
        self.process, self.port = process, port

    async def held(self) -> dict[str, float]:
        """Return memory and its peak in bytes, files, tasks, processor time in seconds, and the longest stall.

        The stall is the longest time, in seconds, for which the event loop did not turn since the last call.
        """
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(b"\n")
        answer: dict[str, float] = json.loads(await self.process.stdout.readline())
        return answer


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
        assert process.stdout is not None
        yield Scored(process, int(await process.stdout.readline()))
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()
