"""A provider that runs out of file descriptors: its log lines, its processor time, and its open associations."""

from __future__ import annotations

import asyncio
import resource
import sys

from scripted import wire
from scripted.peer import ScriptedPeer, ScriptedPeerError

import scoreboard.budgets  # noqa: F401  # makes scripted importable
from scoreboard.process import line
from scoreboard.row import Row

FILES = 256
_BETWEEN_ECHOES = 5.0


def _limit() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, FILES))


async def out_of_descriptors(seconds: float) -> Row:
    """Hold more idle connections than there are descriptors."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "scoreboard.provider", "--log"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        preexec_fn=_limit,
    )
    assert process.stderr is not None
    lines = 0

    async def count(stream: asyncio.StreamReader) -> None:
        nonlocal lines
        while await stream.readline():
            lines += 1

    counting = asyncio.create_task(count(process.stderr))
    idle: list[asyncio.StreamWriter] = []
    try:
        port = int(await line(process))
        async with await ScriptedPeer.connect("127.0.0.1", port) as good:
            await good.associate([(1, wire.VERIFICATION, [wire.IMPLICIT_LE])], called="SCORED")
            for _ in range(FILES + 100):
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                idle.append(writer)
            before, lines = _processor(process.pid), 0
            lives = await _lives(good, seconds)
            spent, said = _processor(process.pid) - before, lines
    finally:
        for writer in idle:
            writer.transport.abort()
        process.kill()
        await process.wait()
        await counting
    measured = f"{said} lines, {spent:.2f} s of processor, the open association {'lives' if lives else 'is lost'}"
    return Row(
        f"out of descriptors for {seconds:g} s",
        "under 20 lines, under 1 s of processor, open associations live",
        measured,
        said < 20 and spent < 1 and lives,
    )


async def _lives(good: ScriptedPeer, seconds: float) -> bool:
    """Return whether an association answers each echo for so long; the echoes keep it from being ended as idle."""
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    try:
        while (left := until - loop.time()) > 0:
            await asyncio.sleep(min(left, _BETWEEN_ECHOES))
            await good.request(1, wire.echo_rq(7))
            if (await good.responses(7, timeout=5))[-1].status != 0:
                return False
    except ScriptedPeerError:
        return False
    return True


def _processor(pid: int) -> float:
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:  # noqa: PTH123
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


async def rows(long: bool) -> list[Row]:
    """Return the one row."""
    return [await out_of_descriptors(60 if long else 5)]
