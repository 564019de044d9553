"""The clock of an association. Tests replace it by one that they move."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Protocol

from aiodimse.aio.interrupt import Interrupt


class TimerHandle(Protocol):
    """What `Clock.call_at` returns."""

    def cancel(self) -> None:
        """Do not call the callback."""


class Clock:
    """Monotonic time in seconds, and calls at a time, from the running event loop."""

    def now(self) -> float:
        """Return the time in seconds, from a point that does not matter."""
        return asyncio.get_running_loop().time()

    def time_function(self) -> Callable[[], float]:
        """Return a function that does what `now` does, without the search for the running event loop."""
        return asyncio.get_running_loop().time

    def call_at(self, when: float, callback: Callable[[], object]) -> TimerHandle:
        """Call a function once, at a time or soon after it.

        Args:
            when: The time, in seconds as `now` counts them.
            callback: The function.
        """
        return asyncio.get_running_loop().call_at(when, callback)

    def after(self, delay: float | None) -> float | None:
        """Return the time that is a number of seconds from now.

        Args:
            delay: The seconds; None: there is no deadline, and None is returned.
        """
        return None if delay is None else self.now() + delay

    def deadline(self, when: float | None, error: Callable[[], BaseException]) -> Deadline:
        """Make an async context manager that bounds what is awaited inside it.

        Args:
            when: The time at which the await is cancelled, in seconds as `now` counts them; None: never.
            error: Makes the exception that is raised then.
        """
        return Deadline(self, when, error)


class Deadline:
    """What asyncio.timeout_at does, but on a Clock and with an error that the caller chooses."""

    __slots__ = ("_clock", "_error", "_handle", "_interrupt", "_when")

    def __init__(self, clock: Clock, when: float | None, error: Callable[[], BaseException]) -> None:
        self._clock, self._when, self._error = clock, when, error
        self._interrupt = Interrupt()
        self._handle: TimerHandle | None = None

    async def __aenter__(self) -> Deadline:
        self._interrupt.__enter__()
        if self._when is not None:
            self._handle = self._clock.call_at(self._when, self._expire)
        return self

    def _expire(self) -> None:
        self._interrupt.fire(self._error())

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._interrupt.__exit__(kind, error, traceback)
