"""Tasks that nobody awaits: when they are forgotten, and who is told of it."""

from __future__ import annotations

import asyncio
from typing import Any

from aiodimse.aio.tasks import Tasks


class Ends:
    """The ends that `spawn` was asked to tell of."""

    def __init__(self) -> None:
        self.tasks: list[asyncio.Task[Any]] = []

    def __call__(self, task: asyncio.Task[Any]) -> None:
        self.tasks.append(task)


async def test_a_task_that_leaves_is_forgotten_in_its_last_step():
    tasks, ends, empty = Tasks(), Ends(), []
    tasks.on_empty = lambda: empty.append(len(tasks))
    gate = asyncio.Event()

    async def work() -> None:
        await gate.wait()
        tasks.leave()
        assert len(tasks) == 0

    task = tasks.spawn(work(), "work", ends)
    await asyncio.sleep(0)
    assert len(tasks) == 1
    gate.set()
    await task
    assert ends.tasks == [task]
    await asyncio.sleep(0)
    assert ends.tasks == [task], "told twice"
    assert empty == [0]


async def test_a_task_that_is_cancelled_in_its_last_step_ends_as_others_do():
    tasks, ends = Tasks(), Ends()
    gate = asyncio.Event()

    async def work() -> None:
        await gate.wait()
        task.cancel()
        tasks.leave()
        assert len(tasks) == 1

    task = tasks.spawn(work(), "work", ends)
    gate.set()
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert [each.cancelled() for each in ends.tasks] == [True]
    assert len(tasks) == 0


async def test_only_tasks_that_were_spawned_leave():
    tasks, ends = Tasks(), Ends()
    tasks.leave()
    gate = asyncio.Event()
    task = tasks.spawn(gate.wait(), "work", ends)
    tasks.leave()
    assert len(tasks) == 1
    gate.set()
    await task
    await asyncio.sleep(0)
    assert ends.tasks == [task]


async def test_a_task_that_never_suspends_leaves_too():
    tasks, ends = Tasks(), Ends()

    async def work() -> None:
        tasks.leave()

    task = tasks.spawn(work(), "work", ends)
    await task
    await asyncio.sleep(0)
    assert ends.tasks == [task]
    assert len(tasks) == 0


async def test_who_asked_is_told_of_a_task_that_was_cancelled_before_its_first_step():
    tasks, ends = Tasks(), Ends()
    task = tasks.spawn(asyncio.Event().wait(), "work", ends)
    task.cancel()
    await asyncio.wait([task])
    await asyncio.sleep(0)
    assert [each.cancelled() for each in ends.tasks] == [True]
