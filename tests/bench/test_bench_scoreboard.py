"""The scoreboard waits for the process that it measures for a bounded time, and leaves no process behind."""

from __future__ import annotations

import asyncio
import sys

import pytest

from scoreboard import process


async def saying_nothing() -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", "import sys; sys.stdin.read()",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def test_a_process_that_says_nothing_is_waited_for_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "PATIENCE", 0.05)
    silent = await saying_nothing()
    try:
        with pytest.raises(TimeoutError):
            await process.line(silent)
        with pytest.raises(TimeoutError):
            await process.Scored(silent, 0).held()
    finally:
        silent.kill()
        await silent.communicate()


async def test_a_process_that_has_ended_is_told() -> None:
    ended = await saying_nothing()
    assert ended.stdin is not None
    ended.stdin.close()
    with pytest.raises(EOFError, match="ended"):
        await process.line(ended)
    await ended.communicate()


async def test_a_provider_that_never_listens_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "PATIENCE", 0.05)
    started = []
    start = asyncio.create_subprocess_exec

    async def starting(*arguments: str, **options: object) -> asyncio.subprocess.Process:
        started.append(await start(sys.executable, "-c", "import sys; sys.stdin.read()", **options))  # type: ignore[arg-type]
        return started[0]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", starting)
    with pytest.raises(TimeoutError):
        async with process.provider():
            pass
    assert started[0].returncode is not None
