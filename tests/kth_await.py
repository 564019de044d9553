"""Cancel a coroutine at its k-th await, for every k."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Awaitable, Callable
from typing import Any


async def cancelled_at(k: int, coroutine: Any) -> Any:
    """Run the coroutine in this task, and cancel the task while it is suspended for the k-th time."""
    return await _driven(k, coroutine)


@types.coroutine
def _driven(k: int, coroutine: Any) -> Any:
    steps, send, value = coroutine.__await__(), "send", None
    count = 0
    while True:
        try:
            waits_for = getattr(steps, send)(value)
        except StopIteration as end:
            return end.value
        count += 1
        if count == k:
            task = asyncio.current_task()
            assert task is not None
            asyncio.get_running_loop().call_soon(task.cancel)
        try:
            send, value = "send", (yield waits_for)
        except BaseException as error:
            send, value = "throw", error


async def ended(task: asyncio.Task[Any]) -> bool:
    """Wait for the task, in real time for files. Return False if it was cancelled."""
    done, _ = await asyncio.wait({task}, timeout=60)
    assert done, "the task does not end"
    if task.cancelled():
        return False
    task.result()
    return True


async def at_each(once: Callable[[int], Awaitable[bool]], first: int = 1) -> int:
    """Call with each number from the first on, until it returns that nothing was cancelled. Return how often it was."""
    for number in range(first, 2000):
        if await once(number):
            return number - first
    raise AssertionError("it is always cancelled")
