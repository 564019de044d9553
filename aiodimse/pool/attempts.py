"""The attempts of a pool to open associations: one after the other, with pauses, while the peer cannot be reached."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from aiodimse.aio.clock import Clock, TimerHandle
from aiodimse.aio.interrupt import Interrupt
from aiodimse.aio.signals import Signal
from aiodimse.errors import AssociationAborted, AssociationRejected, AssociationTimeout, TLSError

R = TypeVar("R")

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
"""Seconds between two attempts to open an association while the peer cannot be reached. The pause doubles after each
attempt, and is multiplied by a random number from 0.5 to 1.5, so that many pools do not try at the same moment."""
_REJECTED_TRANSIENT = 2


class Attempts:
    """Counts the attempts that go on, and says when the next one may begin.

    Args:
        clock: What bounds the pauses.
        again: Called when a pause is over.
        changed: Woken when an attempt has ended.
    """

    def __init__(self, clock: Clock, again: Callable[[], None], changed: Signal) -> None:
        self._clock, self._again, self._changed = clock, again, changed
        self._claimed = 0
        self._running: set[Interrupt] = set()
        self._pause = 0.0
        self._timer: TimerHandle | None = None
        self._is_closed = False
        self.last_failure: Exception | None = None
        """Why the peer could not be reached; None once an association was opened."""
        self.down_since: float | None = None
        """When the first attempt began that failed since an association was opened; None if none has failed."""

    def __len__(self) -> int:
        return self._claimed

    @property
    def may_begin(self) -> bool:
        """Whether one more may begin now. A peer that is down gets one attempt after another, not many at once."""
        return self._timer is None and not (self._claimed and self.last_failure is not None)

    def claim(self) -> None:
        """Count one that a task is about to begin."""
        self._claimed += 1

    def end(self) -> None:
        """Count one less."""
        self._claimed -= 1
        self._changed.wake()

    async def run(self, opening: Awaitable[R]) -> R:
        """Await an attempt, which `close` can end by its error."""
        attempt = Interrupt()
        self._running.add(attempt)
        try:
            with attempt:
                return await opening
        finally:
            self._running.discard(attempt)

    def succeeded(self) -> None:
        """Forget the failures before."""
        self._pause, self.last_failure, self.down_since = 0.0, None, None

    def failed(self, error: Exception, began: float) -> None:
        """Pause before the next attempt.

        Args:
            error: Why the attempt failed.
            began: When it began.
        """
        self.last_failure = error
        self.down_since = began if self.down_since is None else min(self.down_since, began)
        self._pause = min(max(2 * self._pause, _FIRST_PAUSE), _LONGEST_PAUSE)
        if self._timer is None and not self._is_closed:
            seconds = self._pause * random.uniform(0.5, 1.5)
            self._timer = self._clock.call_at(self._clock.now() + seconds, self._pause_is_over)

    def _pause_is_over(self) -> None:
        self._timer = None
        self._again()

    def close(self, error: Exception) -> None:
        """End all attempts by an error, and the pause before the next one. There is no further pause."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        for attempt in tuple(self._running):
            attempt.fire(error)


def may_pass(error: Exception) -> bool:
    """Return whether another attempt may succeed: the peer is down, or rejects us as transient (PS3.8 9.3.4)."""
    if isinstance(error, AssociationRejected):
        return error.result == _REJECTED_TRANSIENT
    if isinstance(error, TLSError):
        return False
    return isinstance(error, (OSError, AssociationTimeout, AssociationAborted))
