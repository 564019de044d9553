"""Threads of somebody's own: closing them waits, and leaves behind what does not end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from queue import SimpleQueue

import pytest

import aiodimse
from aiodimse.aio.thread_pool import ThreadPool
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


@pytest.mark.parametrize("how", ["run", "run_to_end"])
async def test_closing_does_not_wait_for_work_that_is_cancelled_meanwhile(
    hung: Hung, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    threads = aiodimse.Threads(1, "tested")
    task = await begun(threads, hung, "run")
    waiting = asyncio.create_task(getattr(threads, how)(int))
    await settle()
    closing = asyncio.create_task(threads.close(SOON / 10))
    await settle()
    waiting.cancel()
    await settle()
    hung.go.set()
    await closing
    assert await task == "done"
    assert caplog.records == []  # otherwise: left behind


async def test_closing_tells_the_tasks_of_other_event_loops(hung: Hung) -> None:
    """Their work is dropped, or left behind like that of the loop that closes; nobody waits for it forever."""
    threads, told = aiodimse.Threads(1, "tested"), []

    async def waits(function: Callable[[], object]) -> None:
        with pytest.raises(OSError, match="closed"):
            await threads.run(function)
        told.append(function)

    async def others() -> None:
        tasks = [asyncio.create_task(waits(function)) for function in (hung, int)]
        await settle()
        submitted.set()
        await asyncio.gather(*tasks)

    submitted = threading.Event()
    other = threading.Thread(target=asyncio.run, args=(others(),), daemon=True)
    other.start()
    await asyncio.to_thread(submitted.wait, SOON)
    await threads.close(0.01)
    await asyncio.to_thread(other.join, SOON)
    assert set(told) == {hung, int}


async def test_an_iterator_that_is_given_up_after_closing_is_let_go_quietly(
    hung: Hung, caplog: pytest.LogCaptureFixture
) -> None:
    def pieces() -> Iterator[bytes]:
        yield b"one"
        hung()
        yield b"two"

    threads = aiodimse.Threads(1, "tested")
    given = threads.pieces(pieces())
    assert await anext(given) == b"one"
    ahead = asyncio.create_task(anext(given))
    await asyncio.to_thread(hung.begun.wait, SOON)
    await threads.close(0.01)
    with pytest.raises(OSError, match="closed"):
        await ahead
    hung.go.set()
    for thread in [each for each in threading.enumerate() if each.name.startswith("tested")]:
        await asyncio.to_thread(thread.join, SOON)
    assert [record.name for record in caplog.records] == ["aiodimse.threads"]  # no traceback of concurrent.futures


def test_work_is_settled_however_it_meets_the_closing() -> None:
    """A thread hands work over at any moment, also between the last look at the queue and the end of the threads."""

    class Late(SimpleQueue):  # type: ignore[type-arg]
        """Lets the pool be closed just before something is put into it."""

        def put(self, item: object, block: bool = True, timeout: float | None = None) -> None:
            if item is not None and closing.ident is None:
                closing.start()
                closing.join(0.2)
            super().put(item)

    pool = ThreadPool(1, "tested")
    pool.submit(int, what=int, may_be_refused=False).result(SOON)
    closing = threading.Thread(target=pool.close)
    pool._waiting = Late()
    work = pool.submit(int, what=int, may_be_refused=False)
    closing.join(SOON)
    with suppress(CancelledError):
        work.result(SOON)
    assert work.done()


async def test_what_no_future_takes_is_raised_as_something_else() -> None:
    """`next` at the end of an iterator is the most likely function to raise it."""
    threads = aiodimse.Threads(1, "tested")
    for how in (threads.run, threads.run_to_end):
        with pytest.raises(RuntimeError, match="raised StopIteration"):
            await asyncio.wait_for(how(next, iter(())), SOON)
    await threads.close()


async def test_a_system_without_threads_refuses_work_and_gets_over_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    threads = aiodimse.Threads(2, "tested")
    with monkeypatch.context() as without:
        without.setattr(threading.Thread, "start", start)
        with pytest.raises(OSError, match="no more threads"):
            await threads.run(int)
    assert await asyncio.wait_for(threads.run(int), SOON) == 0
    await threads.close()


async def test_as_many_threads_work_as_there_is_work_for() -> None:
    """Two pieces of work wait for each other, after one thread has become idle, or is just about to."""
    for _ in range(50):
        threads = aiodimse.Threads(2, "tested")
        await threads.run(int)
        both = threading.Barrier(2, timeout=SOON)
        await asyncio.gather(threads.run(both.wait), threads.run(both.wait))
        await threads.close()
