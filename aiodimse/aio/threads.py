"""Runs blocking work in a bounded number of threads, so that it does not block the event loop."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, ParamSpec, TypeVar
from weakref import WeakSet

from aiodimse.aio.outcome import Outcome
from aiodimse.aio.thread_pool import ThreadPool, ThreadsClosed, all_under_way, in_words

P = ParamSpec("P")
T = TypeVar("T")

_left: WeakSet[asyncio.Task[Any]] = WeakSet()
"""Tasks that no longer wait for the end of their work in a thread."""


_log = logging.getLogger("aiodimse.threads")


class Threads:
    """A few threads for work that blocks, such as that of a disk or a database; any number of event loops may use them.

    They are started when they are needed. Unlike those of `asyncio.to_thread` they do not keep the program from ending
    while a disk hangs, and 1,024 pieces of work at most wait for one.

    Examples:
        >>> threads = aiodimse.Threads(4, "worklist")
        >>> rows = await threads.run(read_rows, patient_id)
    """

    def __init__(self, workers: int, name: str) -> None:
        """Prepare the pool. No thread is started yet.

        Args:
            workers: The largest number of threads. Further work waits.
            name: The beginning of the names of the threads.
        """
        self._workers, self._name = workers, name
        self._pool = ThreadPool(workers, name)
        self._is_closed = False
        self._awaited: set[Outcome[Any]] = set()
        _all.add(self)

    def forget(self) -> None:
        """Forget the pool in a process that was forked, because the threads exist only in its parent."""
        self._pool, self._awaited = ThreadPool(self._workers, self._name), set()

    async def run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a blocking function in a thread; one that changes nothing, or may come to its end unseen.

        Args:
            function: What is called.
            args: Its arguments.
            kwargs: Its keyword arguments.

        Returns:
            What the function returns.

        Raises:
            OSError: Too much work waits already, or `close` has been called.
            Exception: What the function raises.

        Cancellation: raises at once and leaves the function to its thread. A function that has not begun is never run.
        """
        work, outcome = self._submit(partial(function, *args, **kwargs), may_be_refused=True)
        try:
            return await outcome.get()
        except asyncio.CancelledError:
            work.cancel()
            outcome.drop()
            raise

    async def run_to_end(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call a blocking function in a thread; one that changes something.

        Args:
            function: What is called.
            args: Its arguments.
            kwargs: Its keyword arguments.

        Returns:
            What the function returns.

        Raises:
            OSError: Too much work waits already, or `close` has been called.
            Exception: What the function raises.

        Cancellation: waits for the function to end, however often it comes, so that what it was doing is known: a
        second thread must not close the file that the first is writing to. One that has not begun never will.
        """
        work, outcome = self._submit(partial(function, *args, **kwargs), may_be_refused=True)
        try:
            return await outcome.get()
        except asyncio.CancelledError:
            if work.cancel():
                outcome.drop()
            else:
                await wait_for_end(outcome)
            raise

    def submit(self, function: Callable[[], T], *, may_be_refused: bool = False) -> Future[T]:
        """Have a thread call a blocking function, on behalf of another thread.

        Args:
            function: What is called.
            may_be_refused: Whether it is refused if too much work waits already.

        Returns:
            What comes of it.

        Raises:
            OSError: `close` has been called, or too much work waits already.
        """
        if self._is_closed:
            raise ThreadsClosed
        return self._pool.submit(function, what=function, may_be_refused=may_be_refused)

    def awaited(self) -> Outcome[Any]:
        """Make an outcome of something that these threads do. `close` waits for it.

        Raises:
            OSError: `close` has been called.
        """
        if self._is_closed:
            raise ThreadsClosed
        return Outcome(self._awaited)

    async def close(self, timeout: float = 5.0, last: Callable[[], object] | None = None) -> None:
        """Take no more work, and wait for what there is. What has not ended in time is left behind, with a warning.

        Args:
            timeout: Seconds to wait.
            last: Called in a thread when the rest has ended; it counts too.

        Cancellation: what there is is left behind at once.
        """
        if self._is_closed:
            return
        self._is_closed = True
        try:
            async with asyncio.timeout(timeout):
                loop = asyncio.get_running_loop()
                for outcome in self._awaited.copy():
                    if outcome.loop is loop:
                        await outcome.wait()
                if begun := self._pool.under_way():  # and nobody waits for
                    await asyncio.wait([asyncio.wrap_future(work) for work in begun])
                if last is not None:
                    await self._submitted(last, may_be_refused=False)[1].get()
        except TimeoutError:
            _log.warning("%s: left behind after %g s: %s", self._name, timeout, in_words())
        finally:
            self._pool.close()
            for outcome in self._awaited.copy():
                outcome.settle_from_thread(None, ThreadsClosed())

    async def clean_up(self, function: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Call what takes back what was begun: it is never refused for the work that waits.

        A task that was left behind cleans nothing up: another thread may still be at it.

        Args:
            function: What is called.
            args: Its arguments.
            kwargs: Its keyword arguments.

        Raises:
            OSError: `close` has been called.
            Exception: What the function raises.

        Cancellation: waits for the function to end.
        """
        if asyncio.current_task() in _left:
            return
        _, outcome = self._submit(partial(function, *args, **kwargs), may_be_refused=False)
        try:
            await outcome.get()
        except asyncio.CancelledError:
            await wait_for_end(outcome)
            raise

    async def pieces(self, pieces: Iterator[T]) -> AsyncGenerator[T, None]:
        """Yield what a blocking iterator gives, up to its first false value. Each piece is made ahead of its use.

        The first piece is made alone: work on the second begins when the caller asks for it. A caller that waits for
        its turn to write therefore has one piece in memory. From then on the next piece is made while the caller uses
        the one before.

        Args:
            pieces: The iterator; one that can be closed is closed at the end.

        Yields:
            Each piece.

        Raises:
            OSError: Too much work waits already, before the first piece alone; or `close` has been called.
            Exception: What the iterator raises.

        Cancellation: raises at once. The iterator is closed in a thread after the piece that is being made.
        """
        read: Callable[[], T | None] = partial(next, pieces, None)
        work, ahead = self._submit(read, may_be_refused=True)
        try:
            if piece := await ahead.get():
                yield piece
                work, ahead = self._submit(read, may_be_refused=False)
                while piece := await ahead.get():
                    work, ahead = self._submit(read, may_be_refused=False)
                    yield piece
        finally:
            work.cancel()
            ahead.drop()
            if (close := getattr(pieces, "close", None)) is not None:
                work.add_done_callback(lambda _: self._close(close))

    def _close(self, close: Callable[[], object]) -> None:
        with suppress(ThreadsClosed):  # then its last reference closes it
            self._pool.submit(close, what=close, may_be_refused=False)

    def _submit(self, call: Callable[[], T], *, may_be_refused: bool) -> tuple[Future[None], Outcome[T]]:
        """Submit work to the pool. Return the work, and what comes of it for a task of the event loop.

        run_in_executor has a second future in between, which costs a fifth of the time of a call.
        """
        if self._is_closed:
            raise ThreadsClosed
        return self._submitted(call, may_be_refused=may_be_refused)

    def _submitted(self, call: Callable[[], T], *, may_be_refused: bool) -> tuple[Future[None], Outcome[T]]:
        outcome = Outcome[T](self._awaited)
        try:
            return self._pool.submit(partial(_work, outcome, call), what=call, may_be_refused=may_be_refused), outcome
        except BaseException:
            outcome.drop()
            raise


_all: WeakSet[Threads] = WeakSet()


def _forget_all() -> None:
    for threads in list(_all):
        threads.forget()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget_all)


def leave_behind(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks that wait for work in a thread that does not end. The tasks end, and the work goes on."""
    for task in tasks:
        _left.add(task)
        task.cancel()


async def not_ended(seconds: float) -> str:
    """Wait for all work in threads that has begun, and describe what has not ended by then.

    Args:
        seconds: To wait.
    """
    if begun := all_under_way():
        await asyncio.wait([asyncio.wrap_future(work) for work in begun], timeout=seconds)
    return in_words()


async def wait_for_end(outcome: Outcome[Any]) -> None:
    """Wait for the end of work in a thread, even if the task is cancelled meanwhile. Its outcome is dropped."""
    task = asyncio.current_task()
    while not outcome.is_known and task not in _left:
        with suppress(asyncio.CancelledError):
            await outcome.wait()


def _work(outcome: Outcome[T], call: Callable[[], T]) -> None:
    """Run a call in a thread of the pool, and settle its outcome."""
    try:
        result = call()
    except StopIteration as error:  # which a coroutine cannot raise
        outcome.settle_from_thread(None, _no_iteration(error))
    except BaseException as error:
        outcome.settle_from_thread(None, error)
    else:
        outcome.settle_from_thread(result)


def _no_iteration(error: StopIteration) -> RuntimeError:
    """Return what stands for StopIteration, as in a generator that raises it (PEP 479)."""
    instead = RuntimeError("the function raised StopIteration")
    instead.__cause__ = error
    return instead
