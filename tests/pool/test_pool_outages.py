"""Many instances for a peer that is down: one outage is waited for once, and each instance has its result."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any

import pytest
from pool.conftest import PORT, Stage, image

import aiodimse
from aiodimse.services.instance import InstanceSource


async def _all(results: AsyncIterator[aiodimse.StoreResult]) -> list[aiodimse.StoreResult]:
    return [result async for result in results]


@pytest.mark.parametrize("attempts", [1, 3])
@pytest.mark.parametrize(("max_size", "window"), [(1, 1), (4, 1), (2, 16)])
@pytest.mark.parametrize("is_silent", [False, True])
async def test_many_instances_wait_for_a_peer_that_is_down_once(
    stage: Stage, is_silent: bool, max_size: int, window: int, attempts: int
) -> None:
    """Each has its own result. Whoever sends them again waits again, so that a loop that does so does not spin."""
    await stage.kill()
    if is_silent:
        stage.network.silent_ports.add(PORT)
    images = [image() for _ in range(200)]
    async with stage.pool(max_size=max_size, operations_window=window, acquire_timeout=10.0) as pool:
        for _ in range(2):
            began = stage.clock.now()
            storing = asyncio.create_task(_all(pool.c_store_many(images, attempts=attempts)))
            await stage.clock.elapse(9.9)
            assert not storing.done()
            await stage.until_done(storing)
            assert stage.clock.now() - began < 10.2
            results = storing.result()
            assert {id(result.source) for result in results} == {id(one) for one in images}
            assert len(results) == len(images)
            for result in results:
                assert isinstance(result.error, aiodimse.AssociationTimeout)
                assert result.error.phase == "acquire"
                assert ("did not answer in time" if is_silent else "nobody listens") in str(result.error)


async def test_a_peer_that_comes_back_gets_the_instances_that_are_left(stage: Stage) -> None:
    await stage.kill()
    goes_on = asyncio.Event()

    async def sources() -> AsyncIterator[InstanceSource]:
        for number in range(8):
            if number == 4:
                await goes_on.wait()
            yield image()

    async with stage.pool(max_size=1, acquire_timeout=10.0) as pool:
        storing = asyncio.create_task(_all(pool.c_store_many(sources())))
        await stage.clock.elapse(20)
        await stage.start()
        await stage.clock.elapse(3.1)
        goes_on.set()
        await stage.until_done(storing)
    assert [type(result.error) for result in storing.result()] == [aiodimse.AssociationTimeout] * 4 + [type(None)] * 4
    assert len(stage.stored) == 4


async def test_each_outage_is_waited_for(stage: Stage) -> None:
    """The patience for one outage is not used up by the one before."""
    await stage.kill()
    goes_on = asyncio.Semaphore(0)

    async def sources() -> AsyncIterator[InstanceSource]:
        while await goes_on.acquire():
            yield image()

    async with stage.pool(max_size=1, acquire_timeout=10.0) as pool, aclosing(pool.c_store_many(sources())) as results:

        async def one() -> Exception | None:
            goes_on.release()
            return (await anext(results)).error

        for _ in range(2):
            began = stage.clock.now()
            is_down = asyncio.create_task(one())
            await stage.until_done(is_down)
            assert isinstance(is_down.result(), aiodimse.AssociationTimeout)
            assert stage.clock.now() - began >= 10
            await stage.start()
            await stage.clock.elapse(3.1)
            is_back = asyncio.create_task(one())
            await stage.until_done(is_back)
            assert is_back.result() is None
            await stage.kill()


async def test_a_peer_that_is_full_is_not_down(stage: Stage) -> None:
    """It rejects all associations but one; instances wait for that one, for longer in all than one would wait."""
    await stage.kill()
    await stage.start(limits=aiodimse.Limits(max_associations=1))
    stage.hold = asyncio.Event()
    async with stage.pool(max_size=3, acquire_timeout=10.0) as pool:
        sources = (image() for _ in range(12))
        storing = asyncio.create_task(_all(pool.c_store_many(sources)))
        for number in range(12):
            await stage.until(lambda: stage.held == 1)
            await stage.clock.elapse(2)
            stage.hold.set()
            stage.hold.clear()
            await stage.until(lambda: len(stage.stored) > number)  # noqa: B023
        await stage.until_done(storing)
    assert [result.error for result in storing.result()] == [None] * 12


async def test_an_instance_waits_for_the_attempt_that_goes_on(stage: Stage) -> None:
    """After a long outage, one instance tries to open an association. The others are not told before it is known."""
    await stage.kill()
    goes_on, is_tried = asyncio.Event(), asyncio.Event()
    connect = stage.network.connect

    async def sources() -> AsyncIterator[InstanceSource]:
        for number in range(6):
            if number == 2:
                await goes_on.wait()
            yield image()

    async def slow(*arguments: Any) -> Any:
        if goes_on.is_set():
            await is_tried.wait()
        return await connect(*arguments)

    stage.network.connect = slow  # type: ignore[method-assign]
    async with stage.pool(max_size=2, acquire_timeout=10.0) as pool:
        storing = asyncio.create_task(_all(pool.c_store_many(sources())))
        await stage.clock.elapse(20)
        await stage.start()
        goes_on.set()
        await stage.clock.elapse(3.1)
        is_tried.set()
        await stage.until_done(storing)
    assert [type(result.error) for result in storing.result()] == [aiodimse.AssociationTimeout] * 2 + [type(None)] * 4


async def test_a_peer_that_is_silent_is_told_as_such(stage: Stage) -> None:
    """Also to a task that has no attempt of its own. By default it waits for less time than a connection may take."""
    await stage.kill()
    stage.network.silent_ports.add(PORT)
    async with stage.pool(max_size=1) as pool:
        callers = [asyncio.create_task(pool.c_echo()) for _ in range(3)]
        await stage.until_done(*callers)
        for caller in callers:
            with pytest.raises(aiodimse.AssociationTimeout, match="not answer") as caught:
                caller.result()
            assert caught.value.phase == "acquire"


@pytest.mark.parametrize("turns", range(4))
async def test_a_task_that_is_rejected_keeps_its_turn(stage: Stage, turns: int) -> None:
    """The peer rejects all associations but one. Tasks that ask later do not get that one earlier."""
    await stage.kill()
    await stage.start(limits=aiodimse.Limits(max_associations=1))
    order: list[int] = []
    async with stage.pool(max_size=3, acquire_timeout=None) as pool:

        async def use(number: int) -> None:
            async with pool.acquire():
                order.append(number)
                await asyncio.sleep(0)

        async with pool.acquire():
            tasks = [asyncio.create_task(use(number)) for number in range(5)]
            await stage.clock.elapse(turns)
        await stage.until_done(*tasks)
    assert order == [0, 1, 2, 3, 4]
