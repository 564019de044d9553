"""A C-MOVE to ourselves, cancelled at its k-th await, for every k: no open move, no association and no task is left."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from kth_await import at_each, cancelled_at, ended
from services.test_services_received_move import Stage

import aiodimse
from aiodimse import testing


async def iterate(move: aiodimse.ReceivedMove, folder: Path) -> None:
    async with move:
        assert len([instance.sop_instance_uid async for instance in move if await instance.dataset()]) == 5
    assert move.status == 0x0000


async def save(move: aiodimse.ReceivedMove, folder: Path) -> None:
    async with move:
        async for instance in move:
            await instance.save(folder, durable=False)
    assert move.status == 0x0000


async def awaited(move: aiodimse.ReceivedMove, folder: Path) -> None:
    assert (await move).status == 0xA702  # what comes is not taken by anybody


async def left(move: aiodimse.ReceivedMove, folder: Path) -> None:
    async with move:
        await (await anext(move)).discard()


async def cancelled(move: aiodimse.ReceivedMove, folder: Path) -> None:
    async with move:
        await (await anext(move)).discard()
        await move.cancel()
        async for instance in move:
            await instance.discard()


Scenario = Callable[[aiodimse.ReceivedMove, Path], Awaitable[None]]
SCENARIOS: list[Scenario] = [iterate, save, awaited, left, cancelled]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
async def test_cancelled_at_each_await(scenario: Scenario, tmp_path: Path, record_property: Any) -> None:
    async with Stage().playing() as stage:
        stage.environment.network.in_flight = 200
        clock = stage.environment.clock
        assert isinstance(clock, testing.ManualClock)

        async def whole() -> None:
            async with stage.connect() as association:
                await scenario(stage.move(association), tmp_path)

        async def once(k: int) -> bool:
            task = asyncio.create_task(cancelled_at(k, whole()))
            while not task.done():
                await clock.elapse(0.002)
                await asyncio.to_thread(int)  # files are read and written in threads
            done = await ended(task)
            while stage.environment.network.open:
                await clock.elapse(0.1)
                await asyncio.to_thread(int)
            assert not stage.receiver.open_moves, f"at await {k}"
            assert not list(tmp_path.glob(".*")), f"a temporary file, at await {k}"
            return done

        cancelled = await at_each(once)
        assert cancelled > 4
        async with stage.connect() as association:
            assert await stage.uids(association, "2") == stage.expected("2")
    record_property("awaits cancelled", cancelled)
