"""Has a thread do together what comes at the same time.

Threads of one process take turns at the interpreter, and a thread gives up its turn with every call of the system. Four
threads that save a file each therefore wait for each other some forty times a file; one thread that saves four files
does not. Flushes of the disk fall together, too.
"""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from time import monotonic
from typing import Final, Generic, NamedTuple, TypeVar

from aiodimse.aio.outcome import Outcome
from aiodimse.aio.thread_pool import MOST_WAITING, ThreadsBusy
from aiodimse.aio.threads import Threads, wait_for_end

T = TypeVar("T")

_MOST: Final = 16
"""The most pieces of work in a round."""
_SIDE_BY_SIDE: Final = 2
"""Rounds at the same time where the disk is slow: one uses the processor while the other waits for the disk. Where the
disk is fast, there is one. A second one then waits for the interpreter instead, which costs 7 to 17 % more processor
time and is no faster (four senders to `serve`)."""
_SLOW: Final = 0.3
"""The part of the time of rounds, one at a time, that is spent waiting for a slow disk. It was 0.22 on a virtual disk,
and 0.38 on the same disk beside two programs that flushed files."""
_FAST: Final = 0.45
"""The part below which the disk is fast after all, for two rounds side by side, which also wait for each other. It was
0.35 and 0.58."""
_WEIGHT: Final = 1 / 8
"""The weight of the last round among all rounds."""
_PATIENCE: Final = 0.005
"""The seconds that work waits while so many rounds are under way. A round takes 1 to 4 ms on a local disk; if the
storage is slower than that, for example over a network, more rounds overlap."""
_AT_ONCE: Final = 4
"""The most rounds at the same time, half of the threads for files."""


class _Waiting(NamedTuple, Generic[T]):
    work: T
    outcome: Outcome[None]
    since: float


class Rounds(Generic[T]):
    """Work of one kind, in rounds. While a round is under way, what comes waits for the next one.

    Args:
        threads: The threads that do it.
        take: Does several pieces of work, and blocks. It keeps the outcome in each of them, and raises nothing. It
            returns for how many seconds it waited for the disk.
        patience: The seconds after which work no longer waits for a round that is under way.
    """

    def __init__(self, threads: Threads, take: Callable[[Sequence[T]], float], patience: float = _PATIENCE) -> None:
        self._threads, self._take, self._patience = threads, take, patience
        self._lock = threading.Lock()
        self._waiting: list[_Waiting[T]] = []
        self._under_way = 0
        self._side_by_side = 1
        self._waited = 0.0
        """The part of the time of the last rounds that was spent waiting for the disk. After a change it begins at the
        far end, because the rounds before were measured differently."""

    async def run_to_end(self, work: T) -> None:
        """Have a thread do this, together with what others bring.

        Args:
            work: What is to be done.

        Raises:
            OSError: Too much work waits already, or the threads have been closed.

        Cancellation: waits for the end of its round, however often it comes. Work that has not begun is never done.
        """
        outcome: Outcome[None] = self._threads.awaited()
        waiting = _Waiting(work, outcome, monotonic())
        timer = None
        if not self._add(waiting):
            timer = outcome.loop.call_later(self._patience, self._wait_no_longer)
        del work
        try:
            await outcome.get()
        except asyncio.CancelledError:
            if self._withdraw(waiting):
                outcome.drop()
            else:
                await wait_for_end(outcome)
            raise
        finally:
            if timer is not None:
                timer.cancel()

    def _add(self, waiting: _Waiting[T]) -> bool:
        """Let it wait. Return whether the round that begins now is its own.

        The lock is held until the threads have taken the round: otherwise work that is refused may be in the next round
        of another thread by then, and what another event loop has added meanwhile would wait for no round at all.
        """
        with self._lock:
            if len(self._waiting) >= MOST_WAITING:
                waiting.outcome.drop()
                raise ThreadsBusy
            self._waiting.append(waiting)
            if not self._may_begin():
                return False
            try:
                self._begin()
            except BaseException:
                self._waiting.pop()
                waiting.outcome.drop()
                raise
            return len(self._waiting) <= _MOST

    def _begin(self) -> None:
        """Have a thread begin a round. The caller holds the lock."""
        self._threads.submit(self._run, may_be_refused=True)
        self._under_way += 1

    def _may_begin(self) -> bool:
        """Return whether a round begins now with what waits."""
        if not self._waiting:
            return False
        is_urgent = len(self._waiting) > _MOST or monotonic() - self._waiting[0].since > self._patience
        return self._under_way < (_AT_ONCE if is_urgent else self._side_by_side)

    def _wait_no_longer(self) -> None:
        """Begin another round beside those that are under way, which take long."""
        with self._lock:
            if self._waiting and self._under_way < _AT_ONCE:
                with suppress(OSError):  # They are busy, and it waits on; or they have been closed, and it is told.
                    self._begin()

    def _withdraw(self, waiting: _Waiting[T]) -> bool:
        """Return whether it had not begun, and now never will."""
        with self._lock:
            for number, each in enumerate(self._waiting):
                if each is waiting:
                    del self._waiting[number]
                    return True
        return False

    # --- in the thread ------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        """Do rounds until nothing waits, or what waits is left to another thread."""
        batch = self._first()
        while batch:
            error: BaseException | None = None
            began = monotonic()
            try:
                waited = self._take([waiting.work for waiting in batch])
                self._measure(waited, monotonic() - began)
            except BaseException as caught:
                error = caught
            _settle(batch, error)
            del batch, error  # An idle thread keeps nothing.
            batch = self._next()

    def _first(self) -> list[_Waiting[T]]:
        with self._lock:
            if not self._waiting:
                self._under_way -= 1
            return self._cut()

    def _next(self) -> list[_Waiting[T]]:
        with self._lock:
            self._under_way -= 1
            if not self._may_begin():
                return []
            self._under_way += 1
            return self._cut()

    def _cut(self) -> list[_Waiting[T]]:
        batch, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
        return batch

    def _measure(self, waited: float, took: float) -> None:
        """Decide how many rounds are side by side from now on."""
        with self._lock:
            self._waited += _WEIGHT * (waited / max(took, waited, 1e-6) - self._waited)
            is_alone = self._side_by_side == 1
            if is_alone and self._waited > _SLOW:
                self._side_by_side, self._waited = _SIDE_BY_SIDE, 1.0
            elif not is_alone and self._waited < _FAST:
                self._side_by_side, self._waited = 1, 0.0


def _settle(batch: Sequence[_Waiting[T]], error: BaseException | None) -> None:
    """Wake those who wait: each event loop once."""
    by_loop: defaultdict[asyncio.AbstractEventLoop, list[Outcome[None]]] = defaultdict(list)
    for waiting in batch:
        by_loop[waiting.outcome.loop].append(waiting.outcome)
    for loop, outcomes in by_loop.items():
        try:
            loop.call_soon_threadsafe(_settle_in_loop, outcomes, error)
        except RuntimeError:  # the loop was closed, so nobody waits
            for outcome in outcomes:
                outcome.forget()


def _settle_in_loop(outcomes: Sequence[Outcome[None]], error: BaseException | None) -> None:
    for outcome in outcomes:
        outcome.settle(None, error)
