"""Blocking work off the event loop, in a bounded number of threads."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from functools import partial
from typing import Any, ParamSpec, TypeVar
from weakref import WeakSet

from aiodimse.aio.thread_pool import ThreadPool

P = ParamSpec("P")
T = TypeVar("T")

_left: WeakSet[asyncio.Task[Any]] = WeakSet()
"""Tasks that do not wait for their work in a thread to end any more."""


class Threads:
    """Threads that are started when they are needed, for any number of event loops."""

    def __init__(self, workers: int, name: str) -> None:
        """Start nothing.

        Args:
            workers: How many threads there are at most; more work waits.
            name: The beginning of their names.
        """
        self._workers, self._name = workers, name
        self._pool: ThreadPool | None = None
        if hasattr(os, "register_at_fork"):  # not on Windows
            os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        """In a process that was forked: it has none of the threads."""
        self._pool = None

    async def change(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking function.

        Raises:
            ThreadsBusy: Too much work waits already.
            Exception: What the function raises.

        Cancellation: waits for the function to end, however often it comes, so that what it was doing to a file is
        known: a second thread must not close what the first is writing to. One that has not begun never will.
        """
        work, done = self._submit(partial(function, *args, **kwargs), may_be_refused=True)
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            if not work.cancel():
                await _end(done)
            raise

    async def clean_up(self, function: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """The same for what takes back what was begun: it is never refused, and a cancellation waits for its end.

        A task that was left (`leave_behind`) cleans nothing up: another thread may still be at it.
        """
        if asyncio.current_task() in _left:
            return
        _, done = self._submit(partial(function, *args, **kwargs), may_be_refused=False)
        try:
            await asyncio.shield(done)
        except asyncio.CancelledError:
            await _end(done)
            raise

    async def read(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for a function that changes nothing and closes what it opens: reading, decoding, encoding.

        Raises:
            ThreadsBusy: Too much work waits already.
            Exception: What the function raises.

        Cancellation: raises at once and leaves the function to its thread; one that has not begun never will.
        """
        work, done = self._submit(partial(function, *args, **kwargs), may_be_refused=True)
        try:
            return await done
        except asyncio.CancelledError:
            work.cancel()
            raise

    async def pieces(self, pieces: Iterator[T]) -> AsyncGenerator[T, None]:
        """What a blocking iterator gives, as far as the first that is false; each is made while the caller works on the
        one before.

        The second is made when it is asked for: whoever waits for the turn to write has the first one, and no more.

        Raises:
            ThreadsBusy: Too much work waits already; before the first piece alone.
            Exception: What the iterator raises.

        Cancellation: raises at once; the iterator is closed, in a thread, when what is under way has come to its end.
        """
        read: Callable[[], T | None] = partial(next, pieces, None)
        work, ahead = self._submit(read, may_be_refused=True)
        try:
            if piece := await ahead:
                yield piece
                work, ahead = self._submit(read, may_be_refused=False)
                while piece := await ahead:
                    work, ahead = self._submit(read, may_be_refused=False)
                    yield piece
        finally:
            if not ahead.cancel() and not ahead.cancelled():
                ahead.exception()  # looked at: nobody asks for this piece
            work.cancel()
            if (close := getattr(pieces, "close", None)) is not None:
                work.add_done_callback(lambda _: self._close(close))

    def _close(self, close: Callable[[], object]) -> None:
        if self._pool is not None:
            self._pool.submit(close, may_be_refused=False)

    def _submit(self, call: Callable[[], T], *, may_be_refused: bool) -> tuple[Future[None], asyncio.Future[T]]:
        """The work in the pool, and its outcome on the event loop.

        The loop is told directly: run_in_executor has a second future in between, which is a fifth of a trip.
        """
        if self._pool is None:
            self._pool = ThreadPool(self._workers, self._name)
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        return self._pool.submit(partial(_work, loop, done, call), may_be_refused=may_be_refused), done


def leave_behind(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Let tasks end that wait for work in a thread which does not end: they are cancelled, and the work is left."""
    for task in tasks:
        _left.add(task)
        task.cancel()


async def _end(future: asyncio.Future[Any]) -> None:
    """Wait for its end, whatever is cancelled meanwhile; what it gives is of no interest."""
    task = asyncio.current_task()
    while not future.done() and task not in _left:
        with suppress(asyncio.CancelledError):
            await asyncio.wait([future])
    if future.done() and not future.cancelled():
        future.exception()  # looked at: the cancellation is what is reported


def _work(loop: asyncio.AbstractEventLoop, done: asyncio.Future[T], call: Callable[[], T]) -> None:
    """In the pool."""
    try:
        result = call()
    except BaseException as error:
        _tell(loop, done, done.set_exception, error)
    else:
        _tell(loop, done, done.set_result, result)


def _tell(
    loop: asyncio.AbstractEventLoop, done: asyncio.Future[Any], settle: Callable[[Any], None], outcome: object
) -> None:
    def told() -> None:
        if not done.done():  # else nobody waits any more
            settle(outcome)

    with suppress(RuntimeError):  # the loop has been closed: nobody waits any more
        loop.call_soon_threadsafe(told)
