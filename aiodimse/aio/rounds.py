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
from time import monotonic
from typing import Final, Generic, NamedTuple, TypeVar

from aiodimse.aio.outcome import Outcome
from aiodimse.aio.thread_pool import MOST_WAITING, ThreadsBusy
from aiodimse.aio.threads import Threads, wait_for_end

T = TypeVar("T")

_MOST: Final = 16
"""The most pieces of work in a round."""
_SIDE_BY_SIDE: Final = 2
"""Rounds at the same time, one of which writes while the other waits for the disk."""
_PATIENCE: Final = 0.005
"""The seconds that work waits while so many rounds are under way. A round takes 1 to 4 ms on a local disk; if the
storage is slower than that, for example over a network, more rounds overlap."""
_AT_ONCE: Final = 4
"""The most rounds at the same time, half of the threads for files."""


class _Waiting(NamedTuple, Generic[T]):
    work: T
    outcome: Outcome[None]


class Rounds(Generic[T]):
    """Work of one kind, in rounds. While two rounds are under way, what comes waits for the next one.

    Args:
        threads: The threads that do it.
        take: Does several pieces of work, and blocks. It keeps the outcome in each of them, and raises nothing.
        patience: The seconds after which work no longer waits for a round that is under way.
    """

    def __init__(self, threads: Threads, take: Callable[[Sequence[T]], None], patience: float = _PATIENCE) -> None:
        self._threads, self._take, self._patience = threads, take, patience
        self._lock = threading.Lock()
        self._waiting: list[_Waiting[T]] = []
        self._under_way = 0
        self._began = 0.0
        """When the last round began."""

    async def run_to_end(self, work: T) -> None:
        """Have a thread do this, together with what others bring.

        Args:
            work: What is to be done.

        Raises:
            OSError: Too much work waits already, or the threads have been closed.

        Cancellation: waits for the end of its round, however often it comes. Work that has not begun is never done.
        """
        outcome: Outcome[None] = self._threads.awaited()
        waiting = _Waiting(work, outcome)
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
        """Let it wait. Return whether a round begins with it."""
        with self._lock:
            if len(self._waiting) >= MOST_WAITING:
                waiting.outcome.drop()
                raise ThreadsBusy
            self._waiting.append(waiting)
            is_urgent = len(self._waiting) > _MOST or monotonic() - self._began > self._patience
            if self._under_way >= (_AT_ONCE if is_urgent else _SIDE_BY_SIDE):
                return False
            self._count_one()
        try:
            self._threads.submit(self._run, may_be_refused=True)
        except BaseException:
            with self._lock:
                self._under_way -= 1
            self._withdraw(waiting)
            waiting.outcome.drop()
            raise
        return True

    def _count_one(self) -> None:
        self._under_way += 1
        self._began = monotonic()

    def _wait_no_longer(self) -> None:
        """Begin another round beside those that are under way, which take long."""
        with self._lock:
            if not self._waiting or self._under_way >= _AT_ONCE:
                return
            self._count_one()
        try:
            self._threads.submit(self._run, may_be_refused=True)
        except OSError:  # They are busy, and it waits on; or they have been closed, and it is told.
            with self._lock:
                self._under_way -= 1

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
        """Do rounds until nothing waits."""
        while batch := self._next():
            error: BaseException | None = None
            try:
                self._take([waiting.work for waiting in batch])
            except BaseException as caught:
                error = caught
            _settle(batch, error)
            del batch, error  # An idle thread keeps nothing.

    def _next(self) -> list[_Waiting[T]]:
        with self._lock:
            batch, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
            if batch:
                self._began = monotonic()
            else:
                self._under_way -= 1
            return batch


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
