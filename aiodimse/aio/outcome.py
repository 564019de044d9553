"""What comes of work that a thread does for a task of an event loop."""

from __future__ import annotations

import asyncio
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class Outcome(Generic[T]):
    """What comes of work that a thread does.

    A cancelled wait leaves it as it is, unlike a future of asyncio: to shield that takes two more callbacks. Whoever
    waits must be in the event loop that it was made in.

    Args:
        unknown: It is in this set until it is known, dropped or forgotten.
    """

    __slots__ = ("_error", "_result", "_unknown", "_waiters", "is_known", "loop")

    def __init__(self, unknown: set[Outcome[Any]]) -> None:
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.is_known: bool = False
        self._result: T | None = None
        self._error: BaseException | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self._unknown = unknown
        unknown.add(self)

    async def wait(self) -> None:
        """Wait until it is known.

        Cancellation: Nothing changes.
        """
        while not self.is_known:
            waiter: asyncio.Future[None] = self.loop.create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                self._waiters.remove(waiter)

    async def get(self) -> T:
        """Wait for what the work returned. It is given once, because an error that is kept would keep itself.

        Raises:
            Exception: What the work raised.

        Cancellation: Nothing changes.
        """
        await self.wait()
        result, error = self._result, self._error
        self._result = self._error = None
        if error is not None:
            try:
                raise error
            finally:
                del error
        return result  # type: ignore[return-value]

    def drop(self) -> None:
        """End all waits, since the work was never begun, or nobody asks what comes of it."""
        self.settle(None)

    def forget(self) -> None:
        """Let it never become known, since its event loop was closed. Any thread may call this."""
        self._unknown.discard(self)

    def settle(self, result: T | None, error: BaseException | None = None) -> None:
        """Set what came of the work, in the event loop; only the first time counts.

        Args:
            result: What it returned.
            error: What it raised; None: nothing.
        """
        if not self.is_known:
            self.is_known, self._result, self._error = True, result, error
            self._unknown.discard(self)
            for waiter in self._waiters:
                if not waiter.done():
                    waiter.set_result(None)

    def settle_from_thread(self, result: T | None, error: BaseException | None = None) -> None:
        """Do the same from any thread."""
        try:
            self.loop.call_soon_threadsafe(self.settle, result, error)
        except RuntimeError:  # the loop was closed, so nobody waits
            self.forget()
