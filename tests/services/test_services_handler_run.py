"""A handler is asked for no more once its association has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
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
        run.begin(lambda _: handler)
        assert await run.step() == 1
        cast(Any, performed.on_end)()
        with pytest.raises(Ended):
            await run.step()
        assert handler.asked == 1


class Waiting:
    """A run of a handler that waits in its first step, or yields once, and that waits in its `finally`."""

    def __init__(self, *, yields: bool = False) -> None:
        self.performed = SimpleNamespace(
            on_cancel=None,
            on_end=self._end_all,
            channel=SimpleNamespace(
                clock=SimpleNamespace(now=lambda: 0.0, call_at=self._call_at),
                timeouts=SimpleNamespace(handler_close=1.0),
            ),
            logger=lambda logger: logger,
        )
        self.request = SimpleNamespace(is_cancelled=False, message="C-FIND-RQ")
        self.ends = 0
        self.timers: list[float] = []
        self.yields = yields
        self.may_return = asyncio.Event()
        self.has_returned = False
        self.task = asyncio.create_task(self._run())

    def _end_all(self) -> None:
        self.ends += 1
        self.task.cancel()

    def _call_at(self, when: float, callback: Callable[[], object]) -> SimpleNamespace:
        self.timers.append(when)
        return SimpleNamespace(cancel=lambda: None)

    def cancel(self) -> None:
        """C-CANCEL comes."""
        self.request.is_cancelled = True
        cast(Any, self.performed.on_cancel)()

    async def _handler(self, request: object) -> Any:
        try:
            if self.yields:
                yield 0
            await asyncio.Event().wait()
        finally:
            await self.may_return.wait()
            self.has_returned = True

    async def _give_up(self) -> None:
        raise AssertionError("nobody is too late")

    async def _run(self) -> Any:
        async with HandlerRun(cast(Any, self.performed), cast(Any, self.request), self._give_up) as run:
            with run.interrupt:
                run.begin(self._handler)
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


async def test_the_end_of_the_association_does_not_interrupt_a_handler_that_is_closed() -> None:
    waiting = Waiting(yields=True)
    await _later()
    cast(Any, waiting.performed.on_end)()
    await _later()
    assert (waiting.ends, waiting.has_returned) == (0, False)
    waiting.may_return.set()
    assert await waiting.task == 0
    assert waiting.has_returned


async def test_a_handler_that_is_closed_has_its_time_from_c_cancel_on() -> None:
    waiting = Waiting(yields=True)
    await _later()
    assert waiting.timers == []
    waiting.cancel()
    assert waiting.timers == [1.0]
    waiting.may_return.set()
    await waiting.task


async def test_a_task_that_is_cancelled_stays_cancelled_while_its_handler_is_closed() -> None:
    waiting = Waiting(yields=True)
    await _later()
    waiting.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting.task


async def test_what_a_closed_handler_raises_is_logged_though_the_task_was_cancelled_before(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A CancelledError of its own is its failure, as any other exception."""
    waiting = Waiting(yields=True)
    waiting.may_return.set()

    async def handler(request: object) -> Any:
        try:
            yield 0
        finally:
            raise asyncio.CancelledError

    async def run() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            async with HandlerRun(cast(Any, waiting.performed), cast(Any, waiting.request), waiting._give_up) as run:
                run.begin(handler)
                await run.step()

    task = asyncio.create_task(run())
    await _later()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "closing the handler of C-FIND-RQ: CancelledError" in caplog.text
    await waiting.task


async def test_c_cancel_alone_is_cancelled() -> None:
    waiting = Waiting()
    await _later()
    waiting.cancel()
    waiting.may_return.set()
    with pytest.raises(Cancelled):
        await waiting.task
    assert waiting.task.cancelling() == 0


async def test_a_handler_is_not_called_if_c_cancel_came_before() -> None:
    performed, request = SimpleNamespace(on_cancel=None, on_end=None), SimpleNamespace(is_cancelled=True)
    calls: list[object] = []
    async with HandlerRun(cast(Any, performed), cast(Any, request), None) as run:
        with pytest.raises(Cancelled):
            run.begin(calls.append)
    assert calls == []
