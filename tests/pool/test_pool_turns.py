"""Tasks that wait for a pool: whoever can go on does, whatever those before it wait for."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from pool.conftest import PORT, Stage, image

import aiodimse
from aiodimse import sop_class, testing

MR, SC = sop_class.MRImageStorage, sop_class.SecondaryCaptureImageStorage


async def use(pool: aiodimse.Pool, contexts: Sequence[str] = (), until: asyncio.Event | None = None) -> None:
    async with pool.acquire(contexts):
        if until is not None:
            await until.wait()


async def full(stage: Stage, most: int) -> None:
    """Let the peer allow so many associations."""
    await stage.kill()
    await stage.start(limits=aiodimse.Limits(max_associations=most))


async def test_an_idle_association_makes_room_at_a_peer_that_allows_one(stage: Stage) -> None:
    """It lacks the context that is wanted now."""
    await full(stage, 1)
    async with stage.pool(max_idle=None) as pool:
        await pool.c_echo()
        using = asyncio.create_task(use(pool, [MR]))
        await stage.until_done(using)
        using.result()
        assert stage.opened == 2


async def test_an_idle_association_is_used_while_others_wait_to_open_one(stage: Stage) -> None:
    done = asyncio.Event()
    await full(stage, 2)
    async with stage.pool(max_size=3, max_idle=None) as pool:
        using = [asyncio.create_task(use(pool, contexts, done)) for contexts in ([], [SC])]
        await testing.settle()
        waiting = [asyncio.create_task(use(pool, [MR])) for _ in range(2)]
        await stage.clock.elapse(1)  # both were rejected
        stage.network.silent_ports.add(PORT)
        await stage.clock.elapse(1)  # one tries again, and the other waits
        using[0].cancel()
        await testing.settle()
        assert pool.idle == 1
        echo = asyncio.create_task(pool.c_echo())
        await testing.settle()
        assert echo.result().status == 0x0000
        stage.network.silent_ports.clear()
        done.set()
        await stage.clock.elapse(60)
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_who_could_not_open_an_association_takes_one_that_is_idle_now(stage: Stage) -> None:
    """Another task waits, too, which cannot use it."""
    done = asyncio.Event()
    await full(stage, 1)
    async with stage.pool(max_size=2, max_idle=None, timeouts=aiodimse.Timeouts(connect=1.0)) as pool:
        using = asyncio.create_task(use(pool, (), done))
        await testing.settle()
        first, other = asyncio.create_task(use(pool)), asyncio.create_task(use(pool, [MR]))
        await testing.settle()  # the first was rejected
        stage.network.silent_ports.add(PORT)
        await stage.clock.elapse(0.5)  # and tries again
        done.set()
        await testing.settle()
        assert (using.done(), pool.idle, first.done()) == (True, 1, False)
        await stage.clock.elapse(1.5)
        assert first.done()
        stage.network.silent_ports.clear()
        await stage.until_done(other)
        other.result()


async def test_who_could_not_open_an_association_shares_one(stage: Stage) -> None:
    """An instance of a batch, before another task that waits."""
    await full(stage, 1)
    stage.hold = asyncio.Event()
    async with stage.pool(max_size=2, operations_window=2, acquire_timeout=None) as pool:
        results = pool.c_store_many([image()])
        storing = asyncio.create_task(anext(results))
        await stage.until(lambda: stage.held == 1)
        alone = asyncio.create_task(use(pool))
        await stage.clock.elapse(0.05)
        more = pool.c_store_many([image()])
        second = asyncio.create_task(anext(more))
        await testing.settle()
        assert (stage.held, alone.done()) == (1, False)
        alone.cancel()  # which was before it
        await stage.until(lambda: stage.held == 2)
        stage.hold.set()
        await stage.until_done(storing, second)
        assert len(stage.stored) == 2
        await results.aclose()
        await more.aclose()
