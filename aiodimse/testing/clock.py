"""A clock that a test moves."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable

from aiodimse.aio.clock import Clock, TimerHandle

_ROUNDS = 200_000


class ManualClock(Clock):
    """A Clock that stands still until the test moves it, for Environment(clock=...).

    Args:
        start: The time that it shows at first, in seconds.

    Examples:
        >>> clock = ManualClock()
        >>> called = []
        >>> timer = clock.call_at(10.0, lambda: called.append(clock.now()))
        >>> clock.advance(30)
        >>> called, clock.now()
        ([10.0], 30.0)
    """

    def __init__(self, start: float = 0.0) -> None:
        self._now = start
        self._heap: list[tuple[float, int, _Timer]] = []
        self._order = itertools.count()
        self._cancelled = 0

    def now(self) -> float:
        """Return the time in seconds."""
        return self._now

    def time_function(self) -> Callable[[], float]:
        """Return `now` itself."""
        return self.now

    def call_at(self, when: float, callback: Callable[[], object]) -> TimerHandle:
        """Call something when the clock is moved to a time or past it.

        Args:
            when: The time, in seconds of this clock. If it has passed already, the call is made soon.
            callback: The function to call.

        Returns:
            The timer, which can be cancelled.
        """
        timer = _Timer(self, when, callback)
        if when <= self._now:
            asyncio.get_running_loop().call_soon(timer.run)
        else:
            timer.queued = True
            heapq.heappush(self._heap, (when, next(self._order), timer))
        return timer

    @property
    def next_time(self) -> float | None:
        """The time of the next callback; None if there is none."""
        self._drop_cancelled()
        return self._heap[0][0] if self._heap else None

    @property
    def timers(self) -> int:
        """The number of callbacks that are still to come."""
        return len(self._heap) - self._cancelled

    def advance(self, seconds: float) -> None:
        """Move the clock, and call what falls due in the order of its time. Nothing else runs in between.

        Args:
            seconds: How far to move it.
        """
        until = self._now + seconds
        while self._step(until):
            pass
        self._now = until

    async def elapse(self, seconds: float) -> None:
        """Move the clock. After each callback let everything run that it started (see `settle`).

        Args:
            seconds: How far to move it. No real time passes.

        Raises:
            AssertionError: The event loop does not come to rest.
        """
        until = self._now + seconds
        await settle()
        while self._step(until):
            await settle()
        self._now = until
        await settle()

    def _step(self, until: float) -> bool:
        when = self.next_time
        if when is None or when > until:
            return False
        timer = heapq.heappop(self._heap)[2]
        timer.queued = False
        self._now = max(self._now, when)
        timer.run()
        return True

    def _drop_cancelled(self) -> None:
        while self._heap and self._heap[0][2].done:
            heapq.heappop(self._heap)
            self._cancelled -= 1

    def _note_cancelled(self) -> None:
        self._cancelled += 1
        if self._cancelled > 64 and self._cancelled * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if not entry[2].done]
            heapq.heapify(self._heap)
            self._cancelled = 0


class _Timer:
    __slots__ = ("_callback", "_clock", "_when", "done", "queued")

    def __init__(self, clock: ManualClock, when: float, callback: Callable[[], object]) -> None:
        self._clock, self._when, self._callback = clock, when, callback
        self.done = self.queued = False

    def __repr__(self) -> str:
        return f"<timer at {self._when}: {self._callback!r}>"

    def run(self) -> None:
        if not self.done:
            self.done = True
            self._callback()

    def cancel(self) -> None:
        if not self.done:
            self.done = True
            if self.queued:
                self._clock._note_cancelled()


async def settle() -> None:
    """Let the event loop run until nothing is ready to run.

    Whatever remains waits for time, for a file or for the network.

    Raises:
        AssertionError: The event loop does not come to rest.
    """
    loop = asyncio.get_running_loop()
    ready, timers = getattr(loop, "_ready", None), getattr(loop, "_scheduled", ())
    if ready is None:  # not asyncio's own loop, which could be asked
        for _ in range(100):
            await asyncio.sleep(0)
        return
    for _ in range(_ROUNDS):
        await asyncio.sleep(0)
        if not ready and not (timers and timers[0].when() <= loop.time()):
            return
    raise AssertionError("the event loop does not come to rest")
