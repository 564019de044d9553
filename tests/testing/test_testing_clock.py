"""ManualClock: nothing happens until the test moves it, and then in order."""

from __future__ import annotations

import asyncio

import pytest

from aiodimse.testing import ManualClock, settle


async def test_callbacks_run_in_the_order_of_their_time():
    clock, called = ManualClock(100.0), []
    for when in (103.0, 101.0, 102.0, 101.0):
        clock.call_at(when, lambda when=when: called.append((when, clock.now())))
    clock.advance(2.5)
    assert called == [(101.0, 101.0), (101.0, 101.0), (102.0, 102.0)]
    assert (clock.now(), clock.next_time, clock.timers) == (102.5, 103.0, 1)


async def test_a_callback_may_set_the_next_timer():
    clock, called = ManualClock(), []

    def again() -> None:
        called.append(clock.now())
        clock.call_at(clock.now() + 10, again)

    clock.call_at(10, again)
    clock.advance(35)
    assert called == [10, 20, 30]


async def test_a_time_that_has_come_is_soon():
    clock, called = ManualClock(5.0), []
    clock.call_at(4.0, lambda: called.append("past"))
    clock.call_at(5.0, lambda: called.append("now")).cancel()
    assert not called
    await settle()
    assert called == ["past"]


async def test_cancelled_timers_are_forgotten():
    clock = ManualClock()
    kept = clock.call_at(1e9, lambda: None)
    for n in range(10_000):
        clock.call_at(1.0 + n, lambda: pytest.fail("cancelled")).cancel()
    assert clock.timers == 1
    assert len(clock._heap) < 200
    clock.advance(20_000)
    kept.cancel()
    assert clock.next_time is None


async def test_a_timer_may_be_cancelled_at_its_own_time():
    """By another that is due then: the count of those that are left was one too many ever after."""
    clock = ManualClock()
    clock.call_at(1.0, lambda: second.cancel())
    second = clock.call_at(1.0, lambda: pytest.fail("cancelled"))
    clock.advance(1.0)
    assert clock.timers == 0
    clock.call_at(2.0, lambda: None).cancel()
    assert (clock.next_time, clock.timers) == (None, 0)


async def test_a_deadline_cancels_what_is_awaited_inside():
    clock = ManualClock()

    async def wait(seconds: float) -> str:
        async with clock.deadline(clock.after(seconds), lambda: TimeoutError("late")):
            await asyncio.get_running_loop().create_future()
        return "never"

    waiting = asyncio.create_task(wait(5))
    await clock.elapse(4.9)
    assert not waiting.done()
    await clock.elapse(0.2)
    with pytest.raises(TimeoutError, match="late"):
        waiting.result()
    assert clock.timers == 0


async def test_elapse_lets_run_what_a_callback_sets_going():
    clock, seen = ManualClock(), []

    async def chain() -> None:
        for _ in range(3):
            woken = asyncio.get_running_loop().create_future()
            clock.call_at(clock.now() + 1, lambda woken=woken: woken.set_result(None))
            await woken
            seen.append(clock.now())

    task = asyncio.create_task(chain())
    await clock.elapse(10)
    assert seen == [1, 2, 3]
    assert task.done()


async def test_settle_says_when_there_is_no_rest():
    async def spin() -> None:
        while True:  # noqa: ASYNC110
            await asyncio.sleep(0)

    task = asyncio.create_task(spin())
    with pytest.raises(AssertionError, match="rest"):
        await settle()
    task.cancel()
