"""A handler is asked for no more once its association has ended."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from aiodimse.services.provider.handler_run import Cancelled, Ended, HandlerRun


class Counted:
    """Yields for ever, and counts how often it was asked."""

    asked = 0

    def __aiter__(self) -> Counted:
        return self

    def __anext__(self) -> asyncio.Future[int]:
        self.asked += 1
        step: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        step.set_result(self.asked)
        return step


async def test_no_step_is_made_that_nobody_takes() -> None:
    """Of one that is made and not awaited Python 3.13 warns."""
    performed, request = SimpleNamespace(on_cancel=None, on_end=None), SimpleNamespace(is_cancelled=False)
    handler = Counted()
    async with HandlerRun(cast(Any, performed), cast(Any, request), None) as run:
        await run.begin(lambda _: handler)
        assert await run.step() == 1
        cast(Any, performed.on_end)()
        with pytest.raises(Ended):
            await run.step()
        assert handler.asked == 1


class Waiting:
    """A run of a handler that waits in its first step, and then in its `finally`."""

    def __init__(self) -> None:
        self.performed = SimpleNamespace(
            on_cancel=None,
            on_end=self._end_all,
            channel=SimpleNamespace(
                clock=SimpleNamespace(now=lambda: 0.0, call_at=lambda when, callback: SimpleNamespace(cancel=list)),
                timeouts=SimpleNamespace(handler_close=1.0),
            ),
        )
        self.request = SimpleNamespace(is_cancelled=False)
        self.ends = 0
        self.may_return = asyncio.Event()
        self.task = asyncio.create_task(self._run())

    def _end_all(self) -> None:
        self.ends += 1
        self.task.cancel()

    def cancel(self) -> None:
        """C-CANCEL comes."""
        self.request.is_cancelled = True
        cast(Any, self.performed.on_cancel)()

    async def _handler(self, request: object) -> Any:
        try:
            await asyncio.Event().wait()
        finally:
            await self.may_return.wait()
        yield 0

    async def _give_up(self) -> None:
        raise AssertionError("nobody is too late")

    async def _run(self) -> Any:
        async with HandlerRun(cast(Any, self.performed), cast(Any, self.request), self._give_up) as run:
            with run.interrupt:
                await run.begin(self._handler)
                return await run.step()


async def _later() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_a_cancelled_task_is_cancelled_though_c_cancel_came_before() -> None:
    """Who closes the loop waits for the task, and must not wait for what the service does after a C-CANCEL."""
    waiting = Waiting()
    await _later()
    waiting.cancel()
    await _later()
    waiting.task.cancel()
    waiting.may_return.set()
    with pytest.raises(asyncio.CancelledError):
        await waiting.task


async def test_the_end_of_the_association_counts_more_than_a_c_cancel_before() -> None:
    """What was cancelled would be finished and answered; what has ended is given up."""
    waiting = Waiting()
    await _later()
    waiting.cancel()
    await _later()
    cast(Any, waiting.performed.on_end)()
    assert waiting.ends == 0, "its `finally` was interrupted"
    waiting.may_return.set()
    with pytest.raises(Ended):
        await waiting.task
    assert waiting.performed.on_end == waiting._end_all


async def test_c_cancel_alone_is_cancelled() -> None:
    waiting = Waiting()
    await _later()
    waiting.cancel()
    waiting.may_return.set()
    with pytest.raises(Cancelled):
        await waiting.task
    assert waiting.task.cancelling() == 0
