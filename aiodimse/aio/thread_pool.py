"""A pool of threads with a bounded queue.

They are daemons, so that a disk that hangs does not make the end of the process wait. What they do for somebody is
awaited in the event loop (threads.py); where nobody awaits it any more, it may as well not come to its end.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, Final, TypeVar
from weakref import WeakSet

T = TypeVar("T")

MOST_WAITING: Final = 1024
"""Pieces of work that wait for a thread; one more is refused."""

_NO_THREAD: Final = "no more threads: a limit of the system on processes or memory"
"""RLIMIT_NPROC of the user, pids.max of the container, or the memory for the stack of the thread."""


class ThreadsBusy(OSError):
    """No more work is taken: so much waits already, because a disk is too slow or hangs; or there is no thread for it.

    Args:
        why: The reason, in at most the 64 characters of an Error Comment.
    """

    def __init__(self, why: str = "too much work waits already") -> None:
        super().__init__(errno.EAGAIN, why)


class ThreadsClosed(OSError):
    """The threads take no more work, and what they have begun is not waited for."""

    def __init__(self) -> None:
        super().__init__(errno.ESHUTDOWN, "the threads have been closed")


class _Work(Future[T]):
    """What is to be called, and what comes of it. Cancelled, it keeps nothing, though it may wait in the queue yet."""

    def __init__(self, call: Callable[[], T], what: object) -> None:
        super().__init__()
        self.call: Callable[[], T] | None = call
        self.what = what

    def cancel(self) -> bool:
        """Do not call it, if it has not begun."""
        is_cancelled = super().cancel()
        if is_cancelled:
            self.call = self.what = None
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
        self._lock = threading.Lock()
        """Held while work is handed over, so that none comes in behind `close`."""
        self._waiting: SimpleQueue[_Work[Any] | None] = SimpleQueue()
        """Work that no thread has begun; None ends a thread."""
        self._idle = 0
        """The number of threads that wait for work, without those that are about to get some."""
        self._threads = 0
        self._is_closed = False
        self._at_work: dict[threading.Thread, tuple[_Work[Any], float]] = {}
        """What each thread has begun, and when."""
        _pools.add(self)

    def submit(self, call: Callable[[], T], *, what: object, may_be_refused: bool) -> Future[T]:
        """Have a thread call this.

        Args:
            call: What is called.
            what: A function, after which the work is called in words.
            may_be_refused: False for what goes on with work that has begun, or cleans up after it.

        Raises:
            ThreadsBusy: It may be refused, and MOST_WAITING wait already; or the system has no thread for it.
            ThreadsClosed: `close` has been called.
        """
        work = _Work(call, what)
        with self._lock:
            if self._is_closed:
                raise ThreadsClosed
            if may_be_refused and self._waiting.qsize() >= MOST_WAITING:
                raise ThreadsBusy
            self._waiting.put(work)
            if self._idle:
                self._idle -= 1
            elif self._threads < self._workers:
                self._start_thread(work)
        return work

    def _start_thread(self, work: _Work[Any]) -> None:
        name = f"{self._name}-{self._threads + 1}"
        try:
            threading.Thread(target=self._run, name=name, daemon=True).start()
        except RuntimeError:  # the system has no more threads
            if not self._threads:
                work.cancel()
                raise ThreadsBusy(_NO_THREAD) from None
        else:
            self._threads += 1

    def close(self) -> None:
        """Take no more work, drop what has not begun, and let the threads end."""
        dropped = list[_Work[Any]]()
        with self._lock:
            self._is_closed = True
            with suppress(Empty):
                while True:
                    if (work := self._waiting.get_nowait()) is not None:
                        dropped.append(work)
            for _ in range(self._threads):
                self._waiting.put(None)
        for work in dropped:
            work.cancel()  # without the lock, because this calls what waits for the work

    def under_way(self) -> list[Future[Any]]:
        """Return the work that has begun and not ended."""
        return [work for work, _ in self._at_work.copy().values()]

    def in_words(self) -> list[str]:
        """Describe the work that has begun and not ended: the thread, since when, and the function."""
        now = monotonic()
        return [
            f"{thread.name} for {now - began:.0f} s in {_name(work.what)}"
            for thread, (work, began) in self._at_work.copy().items()
            if not work.done()
        ]

    def _run(self) -> None:
        thread = threading.current_thread()
        while (work := self._next()) is not None:
            if work.set_running_or_notify_cancel():
                call, work.call = work.call, None
                assert call is not None
                self._at_work[thread] = work, monotonic()
                try:
                    work.set_result(call())
                except BaseException as error:
                    work.set_exception(error)
                del self._at_work[thread]
                work.what = None
            call = None
            del work  # an idle thread keeps nothing

    def _next(self) -> _Work[Any] | None:
        """Wait for work; None: the thread ends."""
        with self._lock:
            try:
                return self._waiting.get_nowait()
            except Empty:
                self._idle += 1
        return self._waiting.get()


_pools: WeakSet[ThreadPool] = WeakSet()


def all_under_way() -> list[Future[Any]]:
    """Return the work of all pools that has begun and not ended."""
    return [work for pool in list(_pools) for work in pool.under_way()]


def in_words() -> str:
    """Describe the work of all pools that has begun and not ended."""
    return ", ".join(words for pool in list(_pools) for words in pool.in_words())


def _name(function: object) -> str:
    while isinstance(function, partial):
        function = function.func
    return getattr(function, "__qualname__", type(function).__name__)
