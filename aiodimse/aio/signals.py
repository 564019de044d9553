"""Waiting until something may have changed."""

from __future__ import annotations

import asyncio
from typing import Any


class Signal:
    """Wakes every task that waits.

    A wake for which nobody waited is not remembered. Therefore a caller checks its own condition before and after each
    wait: `while not ready: await signal.wait()`.
    """

    __slots__ = ("_waiters",)

    def __init__(self) -> None:
        self._waiters: list[asyncio.Future[None]] = []

    def wake(self) -> None:
        """Let every task that waits check its condition again."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self) -> None:
        """Wait for the next wake.

        Cancellation: Nothing changes.
        """
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            self._waiters.remove(waiter)


def fail(future: asyncio.Future[Any], error: BaseException) -> None:
    """Set the exception of a future, unless it is done. The future need not be awaited."""
    if not future.done():
        future.set_exception(error)
        future.exception()  # The exception is retrieved, because asyncio logs one that nobody has looked at.
