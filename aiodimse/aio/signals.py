"""Waiting until something may have changed."""

from __future__ import annotations

import asyncio
from typing import Any


class Signal:
    """Wakes every task that waits.

    Nothing is remembered of a wake that nobody waited for. Therefore a caller looks at its own condition first, and
    again after each wait: `while not ready: await signal.wait()`.
    """

    __slots__ = ("_waiters",)

    def __init__(self) -> None:
        self._waiters: list[asyncio.Future[None]] = []

    def wake(self) -> None:
        """Let everybody who waits look at their condition again."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self) -> None:
        """Wait for the next wake.

        Cancellation: changes nothing.
        """
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            self._waiters.remove(waiter)


def fail(future: asyncio.Future[Any], error: BaseException) -> None:
    """Give a future this exception, unless it is done; nobody has to await it."""
    if not future.done():
        future.set_exception(error)
        future.exception()  # Retrieved: asyncio logs an exception that nobody has looked at.
