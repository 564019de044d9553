"""Threads of somebody's own: closing them waits, and leaves behind what does not end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

import aiodimse
from aiodimse.testing.clock import settle

SOON = 20.0


class Hung:
    """A function that does not return until it is told to."""

    def __init__(self) -> None:
        self.begun, self.go = threading.Event(), threading.Event()

    def __call__(self) -> str:
        self.begun.set()
        self.go.wait(SOON)
        return "done"


@pytest.fixture
def hung() -> Iterator[Hung]:
    made = Hung()
    yield made
    made.go.set()


async def begun(threads: aiodimse.Threads, hung: Hung, how: str) -> asyncio.Task[str]:
    task = asyncio.create_task(getattr(threads, how)(hung))
    await asyncio.to_thread(hung.begun.wait, SOON)
    return task


@pytest.mark.parametrize("how", ["run", "run_to_end"])
async def test_closing_waits_for_what_there_is(hung: Hung, how: str) -> None:
    threads, calls = aiodimse.Threads(1, "tested"), []
    task = await begun(threads, hung, how)
    waiting = asyncio.create_task(threads.run(calls.append, "behind it"))
    await settle()
    closing = asyncio.create_task(threads.close(SOON, last=lambda: calls.append("last")))
    await settle()
    assert not closing.done()
    hung.go.set()
    await closing
    assert (await task, await waiting, calls) == ("done", None, ["behind it", "last"])
    with pytest.raises(OSError, match="closed"):
        await threads.run(int)
    await threads.close()


async def test_closing_waits_for_what_nobody_waits_for(hung: Hung) -> None:
    """A query whose association has gone uses the database that is closed last."""
    threads = aiodimse.Threads(2, "tested")
    (task := await begun(threads, hung, "run")).cancel()
    await asyncio.wait([task])
    closing = asyncio.create_task(threads.close(SOON))
    await settle()
    assert not closing.done()
    hung.go.set()
    await closing


@pytest.mark.parametrize("how", ["run", "run_to_end"])
async def test_what_hangs_is_left_behind_and_named(hung: Hung, how: str, caplog: pytest.LogCaptureFixture) -> None:
    """Who waits for it is told; what waits in line never begins, not even when the disk is back."""
    threads, calls = aiodimse.Threads(1, "tested"), []
    task = await begun(threads, hung, how)
    waiting = asyncio.create_task(threads.run_to_end(calls.append, 1))
    await settle()
    await threads.close(0.01, last=lambda: calls.append(2))
    for each in (task, waiting):
        with pytest.raises(OSError, match="closed"):
            await each
    (record,) = caplog.records
    assert "tested: left behind after 0.01 s: tested-1 for 0 s in Hung" in record.getMessage()
    hung.go.set()
    for thread in [each for each in threading.enumerate() if each.name.startswith("tested")]:
        await asyncio.to_thread(thread.join, SOON)
        assert not thread.is_alive()
    assert calls == []


async def test_a_cancelled_change_waits_no_longer_than_its_threads(hung: Hung) -> None:
    threads = aiodimse.Threads(1, "tested")
    task = await begun(threads, hung, "run_to_end")
    task.cancel()
    await settle()
    assert not task.done()
    await threads.close(0.01)
    await asyncio.wait([task])
    assert task.cancelled()


async def test_a_cancelled_change_that_has_not_begun_is_not_waited_for(hung: Hung) -> None:
    threads, calls = aiodimse.Threads(1, "tested"), []
    task = await begun(threads, hung, "run")
    waiting = asyncio.create_task(threads.run_to_end(calls.append, 1))
    await settle()
    waiting.cancel()
    await asyncio.wait([waiting])
    hung.go.set()
    await threads.close(SOON)
    assert (await task, calls) == ("done", [])
