"""A pool of threads with a bounded queue.

They are daemons, so that a disk that hangs does not make the end of the process wait. What they do for somebody is
awaited in the event loop (threads.py); where nobody awaits it any more, it may as well not come to its end.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

T = TypeVar("T")

MOST_WAITING: Final = 1024
"""Pieces of work that wait for a thread; one more is refused."""


class ThreadsBusy(OSError):
    """So much work waits already that no more is taken: a disk is too slow, or hangs."""

    def __init__(self) -> None:
        super().__init__(errno.EAGAIN, "too much work waits already")


class _Work(Future[T]):
    """What is to be called, and what comes of it. Cancelled, it keeps nothing, though it may wait in the queue yet."""

    def __init__(self, call: Callable[[], T]) -> None:
        super().__init__()
        self.call: Callable[[], T] | None = call

    def cancel(self) -> bool:
        """Do not call it, if it has not begun."""
        is_cancelled = super().cancel()
        if is_cancelled:
            self.call = None
        return is_cancelled


class ThreadPool:
    """A few threads, started as they are needed, and a bounded queue of work for them."""

    def __init__(self, workers: int, name: str) -> None:
        """Start nothing.

        Args:
            workers: How many threads there are at most.
            name: The beginning of their names.
        """
        self._workers, self._name = workers, name
        self._waiting: SimpleQueue[_Work[Any]] = SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._threads = 0

    def submit(self, call: Callable[[], T], *, may_be_refused: bool) -> Future[T]:
        """Have a thread call this.

        Args:
            call: What is called.
            may_be_refused: False for what goes on with work that has begun, or cleans up after it.

        Raises:
            ThreadsBusy: It may be refused, and MOST_WAITING wait already.
        """
        if may_be_refused and self._waiting.qsize() >= MOST_WAITING:
            raise ThreadsBusy
        work = _Work(call)
        self._waiting.put(work)
        if not self._idle.acquire(blocking=False) and self._threads < self._workers:
            self._threads += 1
            threading.Thread(target=self._run, name=f"{self._name}-{self._threads}", daemon=True).start()
        return work

    def _run(self) -> None:
        while True:
            try:
                work = self._waiting.get_nowait()
            except Empty:
                self._idle.release()
                work = self._waiting.get()
            if work.set_running_or_notify_cancel():
                call, work.call = work.call, None
                assert call is not None
                try:
                    work.set_result(call())
                except BaseException as error:
                    work.set_exception(error)
            call = None
            del work  # an idle thread keeps nothing
