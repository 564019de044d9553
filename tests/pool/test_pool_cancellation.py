"""Cancelled at its k-th await, for every k: what uses a pool leaves no association, no place and no task behind."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from kth_await import at_each, cancelled_at, ended
from pool.conftest import CT as CT_IMAGE
from pool.conftest import FIND, GET, Stage, identifier, image
from pydicom.data import get_testdata_file

import aiodimse
from aiodimse.services.instance import InstanceSource

CT = Path(str(get_testdata_file("CT_small.dcm")))


async def echo(pool: aiodimse.Pool) -> None:
    assert (await pool.c_echo()).status == 0x0000


async def acquire(pool: aiodimse.Pool) -> None:
    async with pool.acquire() as association:
        assert (await association.c_echo()).status == 0x0000


async def two_at_once(pool: aiodimse.Pool) -> None:
    async with pool.acquire() as one, pool.acquire() as other:
        assert (await one.c_echo()).status == (await other.c_echo()).status == 0x0000


async def store(pool: aiodimse.Pool) -> None:
    assert (await pool.c_store(CT)).status == 0x0000


async def find(pool: aiodimse.Pool) -> None:
    async with pool.c_find(identifier(), FIND) as matches:
        assert len([match async for match in matches]) == 3


async def find_awaited(pool: aiodimse.Pool) -> None:
    assert (await pool.c_find(identifier(), FIND)).status == 0x0000


async def find_left(pool: aiodimse.Pool) -> None:
    async with pool.c_find(identifier(), FIND) as matches:
        await anext(matches)


async def store_many(pool: aiodimse.Pool) -> None:
    sources = [image() for _ in range(5)]
    assert [result.error async for result in pool.c_store_many(sources)] == [None] * 5


async def store_some_of_many(pool: aiodimse.Pool) -> None:
    results = pool.c_store_many([image() for _ in range(5)])
    assert (await anext(results)).error is None
    await results.aclose()  # type: ignore[attr-defined]


async def store_many_with_a_bad_one(pool: aiodimse.Pool) -> None:
    results = [result async for result in pool.c_store_many([image(), Path("/nowhere"), image()], attempts=2)]
    assert sorted(type(result.error) for result in results if result.error is not None) == [FileNotFoundError]


Scenario = Callable[[aiodimse.Pool], Awaitable[None]]
SCENARIOS: list[Scenario] = [
    echo,
    acquire,
    two_at_once,
    store,
    find,
    find_awaited,
    find_left,
    store_many,
    store_some_of_many,
    store_many_with_a_bad_one,
]


async def nothing_left(stage: Stage) -> None:
    await stage.until(lambda: not stage.network.open)
    await stage.until(lambda: len(asyncio.all_tasks()) <= 1)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_a_whole_pool(stage: Stage, scenario: Scenario, record_property: Any) -> None:
    """Cancelled anywhere from the first association to the end of close()."""

    stage.network.in_flight = 200  # so that everything has to wait for room

    async def whole() -> None:
        async with stage.pool(max_size=2, acquire_timeout=None) as pool:
            await scenario(pool)

    async def once(k: int) -> bool:
        task = asyncio.create_task(cancelled_at(k, whole()))
        await stage.until_done(task)
        done = await ended(task)
        await stage.clock.elapse(1.1)  # Timeouts.close_after_abort
        await nothing_left(stage)
        return done

    cancelled = await at_each(once)
    assert cancelled > 2
    record_property("awaits cancelled", cancelled)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_a_use_of_a_pool_that_lives(stage: Stage, scenario: Scenario, record_property: Any) -> None:
    """The pool is of use to others afterwards: no place of it is lost."""
    stage.network.in_flight = 200

    async def once(k: int) -> bool:
        async with stage.pool(max_size=2, acquire_timeout=None) as pool:
            task = asyncio.create_task(cancelled_at(k, scenario(pool)))
            await stage.until_done(task)
            done = await ended(task)
            others = asyncio.create_task(two_at_once(pool))
            await stage.until_done(others)
            others.result()
            assert pool.size <= 2, f"at await {k}"
        await nothing_left(stage)
        return done

    record_property("awaits cancelled", await at_each(once))


async def get(pool: aiodimse.Pool) -> None:
    found: list[str] = []
    async for instance in pool.c_get(identifier(), GET):
        await instance.discard()
        found.append(instance.sop_instance_uid)
    assert found == ["1.2.3.0", "1.2.3.1", "1.2.3.2"]


async def get_read(pool: aiodimse.Pool) -> None:
    async with pool.c_get(identifier(), GET) as retrieval:
        async for instance in retrieval:
            assert (await instance.dataset()).SOPInstanceUID == instance.sop_instance_uid


async def get_left(pool: aiodimse.Pool) -> None:
    async with pool.c_get(identifier(), GET) as retrieval:
        await anext(retrieval)


@pytest.mark.parametrize("scenario", [get, get_read, get_left], ids=lambda scenario: scenario.__name__)
async def test_retrievals(stage: Stage, scenario: Scenario, record_property: Any) -> None:
    """The next one gets all its instances, whatever was under way when this one was cancelled."""
    stage.network.in_flight = 200

    async def once(k: int) -> bool:
        async with stage.pool(max_size=1, acquire_timeout=None, contexts=[GET], storage=[CT_IMAGE]) as pool:
            task = asyncio.create_task(cancelled_at(k, scenario(pool)))
            await stage.until_done(task)
            done = await ended(task)
            another = asyncio.create_task(get(pool))
            await stage.until_done(another)
            another.result()
        await nothing_left(stage)
        return done

    cancelled = await at_each(once)
    assert cancelled > 2
    record_property("awaits cancelled", cancelled)


async def test_sources_are_closed(stage: Stage, record_property: Any) -> None:
    """A generator of sources, wherever c_store_many is cancelled."""
    stage.network.in_flight = 200
    opened: list[str] = []

    async def sources() -> AsyncIterator[InstanceSource]:
        opened.append("open")
        try:
            for _ in range(4):
                await asyncio.sleep(0)
                yield image()
        finally:
            try:
                await asyncio.sleep(0)
            finally:  # it may be cancelled in its last step
                opened.remove("open")

    async def store(pool: aiodimse.Pool) -> None:
        async with aclosing(pool.c_store_many(sources())) as results:
            assert [result.error async for result in results] == [None] * 4

    async def once(k: int) -> bool:
        async with stage.pool(max_size=2, acquire_timeout=None) as pool:
            task = asyncio.create_task(cancelled_at(k, store(pool)))
            await stage.until_done(task)
            done = await ended(task)
            assert opened == [], f"at await {k}"
        await nothing_left(stage)
        return done

    record_property("awaits cancelled", await at_each(once))


async def _cancelled_after(turns: int, stage: Stage, task: asyncio.Task[Any]) -> None:
    """Cancel a task after so many turns of the event loop, in whichever task or callback its work is by then."""
    for turn in range(turns):
        if task.done():
            return
        await asyncio.sleep(0)
        if turn % 16 == 15:
            await stage.clock.elapse(0.01)
            await asyncio.to_thread(int)
    task.cancel()


@pytest.mark.parametrize("scenario", [*SCENARIOS, get, get_read, get_left], ids=lambda scenario: scenario.__name__)
async def test_at_any_turn_of_the_loop(stage: Stage, scenario: Scenario, record_property: Any) -> None:
    """The work of a pool is spread over tasks, so its awaits are more than those of the caller."""
    stage.network.in_flight = 200
    options: dict[str, Any] = {"max_size": 2, "acquire_timeout": None}
    if scenario in (get, get_read, get_left):
        options |= {"contexts": [GET], "storage": [CT_IMAGE]}

    async def once(turns: int) -> bool:
        async with stage.pool(**options) as pool:
            task = asyncio.create_task(scenario(pool))  # type: ignore[arg-type]
            await _cancelled_after(turns, stage, task)
            await stage.until_done(task)
            done = await ended(task)
            others = asyncio.create_task(get(pool) if "storage" in options else two_at_once(pool))
            await stage.until_done(others)
            others.result()
            assert pool.size <= 2, f"at turn {turns}"
        await nothing_left(stage)
        return done

    record_property("turns", await at_each(once, first=0))
