"""A block whose await is ended from outside, whoever else cancels the task."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Awaitable, Callable

import pytest

from aiodimse.aio.end import End
from aiodimse.aio.interrupt import Interrupt


class Stopped(Exception):
    pass


class Block:
    """A task inside a block, which awaits an event, and does with the cancellation what `on_cancelled` does."""

    def __init__(self, on_cancelled: Callable[[], Awaitable[object]] | None = None) -> None:
        self.interrupt = Interrupt()
        self.event = asyncio.Event()
        self._on_cancelled = on_cancelled
        self.task = asyncio.create_task(self._run())

    async def _run(self) -> object:
        with self.interrupt:
            try:
                return await self.event.wait()
            except asyncio.CancelledError:
                if self._on_cancelled is None:
                    raise
                return await self._on_cancelled()


async def test_the_await_ends_with_the_error() -> None:
    block = Block()
    await asyncio.sleep(0)
    block.interrupt.fire(Stopped())
    with pytest.raises(Stopped):
        await block.task
    assert block.task.cancelling() == 0


async def test_a_result_stays() -> None:
    async def swallow() -> str:
        return "all the same"

    block = Block(swallow)
    await asyncio.sleep(0)
    block.interrupt.fire(Stopped())
    assert await block.task == "all the same"
    assert block.task.cancelling() == 0


async def test_another_exception_stays() -> None:
    async def fail() -> None:
        raise ValueError("mine")

    block = Block(fail)
    await asyncio.sleep(0)
    block.interrupt.fire(Stopped())
    with pytest.raises(ValueError, match="mine"):
        await block.task


@pytest.mark.parametrize("first", ["fire", "cancel"])
async def test_the_cancellation_of_others_stays(first: str) -> None:
    block = Block()
    await asyncio.sleep(0)
    if first == "cancel":
        block.task.cancel()
    block.interrupt.fire(Stopped())
    if first == "fire":
        block.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await block.task


async def test_who_cleans_up_after_a_cancellation_can_be_interrupted() -> None:
    inner = Interrupt()

    async def clean_up() -> str:
        try:
            with inner:
                await asyncio.Event().wait()
        except Stopped:
            return "stopped"
        return "never"

    block = Block(clean_up)
    await asyncio.sleep(0)
    block.task.cancel()
    await asyncio.sleep(0)
    inner.fire(Stopped())
    assert await block.task == "stopped"
    assert block.task.cancelling() == 1


async def test_only_the_first_call_counts() -> None:
    finished = asyncio.Event()

    async def wait() -> str:
        await finished.wait()
        return "not interrupted"

    block = Block(wait)
    await asyncio.sleep(0)
    block.interrupt.fire(Stopped())
    await asyncio.sleep(0)
    assert block.interrupt.has_fired
    block.interrupt.fire(Stopped())
    await asyncio.sleep(0)
    finished.set()
    assert await block.task == "not interrupted"
    assert not block.interrupt.has_fired


async def test_nothing_happens_outside_the_block() -> None:
    interrupt = Interrupt()
    interrupt.fire(Stopped())
    with interrupt:
        await asyncio.sleep(0)
    interrupt.fire(Stopped())
    await asyncio.sleep(0)


async def test_the_task_itself_is_not_interrupted() -> None:
    interrupt = Interrupt()
    with interrupt:
        interrupt.fire(Stopped())
        await asyncio.sleep(0)
    assert not interrupt.has_fired


async def test_a_block_may_be_entered_again() -> None:
    interrupt, rounds = Interrupt(), 0

    async def twice() -> None:
        nonlocal rounds
        for _ in range(2):
            with pytest.raises(Stopped), interrupt:
                await asyncio.Event().wait()
            rounds += 1

    task = asyncio.create_task(twice())
    for _ in range(2):
        await asyncio.sleep(0)
        interrupt.fire(Stopped())
    await task
    assert (rounds, task.cancelling()) == (2, 0)


async def test_an_interrupt_keeps_nothing_of_the_block() -> None:
    class Large:
        pass

    interrupt, large = Interrupt(), []

    async def wait() -> None:
        mine = Large()
        large.append(weakref.ref(mine))
        await asyncio.Event().wait()

    async def run() -> None:
        try:
            with interrupt:
                await wait()
        except Stopped:
            pass

    task = asyncio.create_task(run())
    await asyncio.sleep(0)
    interrupt.fire(Stopped())
    gc.disable()
    try:
        await task
        assert large[0]() is None
    finally:
        gc.enable()


async def test_a_block_that_was_not_ended_leaves_the_cancellations_of_others_alone() -> None:
    """Otherwise asyncio.timeout takes them for its own, and a handler takes them for a failure."""
    end = End()

    async def wait() -> None:
        with end.while_open():
            await asyncio.Event().wait()

    async def clean_up_after_it() -> int:
        task = asyncio.current_task()
        assert task is not None
        try:
            await wait()
        except asyncio.CancelledError:
            with end.while_open():
                await asyncio.sleep(0)
        return task.cancelling()

    task = asyncio.create_task(clean_up_after_it())
    await asyncio.sleep(0)
    task.cancel()
    assert await task == 1


async def test_a_timeout_at_the_same_time_as_a_cancellation_is_no_timeout() -> None:
    end = End()

    async def wait() -> None:
        async with asyncio.timeout(None) as timeout:
            is_waiting.set_result(timeout)
            with end.while_open():
                await asyncio.Event().wait()

    is_waiting: asyncio.Future[asyncio.Timeout] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(wait())
    (await is_waiting).reschedule(0)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
