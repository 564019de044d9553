"""Runs blocking work in a bounded number of threads, so that it does not block the event loop."""

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
"""Tasks that no longer wait for the end of their work in a thread."""


class Threads:
    """Threads that are started when they are needed and shared by any number of event loops."""

    def __init__(self, workers: int, name: str) -> None:
        """Prepare the pool. No thread is started yet.

        Args:
            workers: The largest number of threads. Further work waits.
            name: The beginning of the names of the threads.
        """
        self._workers, self._name = workers, name
        self._pool: ThreadPool | None = None
        if hasattr(os, "register_at_fork"):  # not on Windows
            os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        """Forget the pool in a process that was forked, because the threads exist only in its parent."""
        self._pool = None

    async def change(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a blocking function.

        Raises:
            ThreadsBusy: Too much work waits already.
            Exception: What the function raises.

        Cancellation: the call waits for the end of the function, even if it is cancelled again, so that no second
        thread closes a file that the first is still writing. A function that has not begun is never run.
        """
        work, done = self._submit(partial(function, *args, **kwargs), may_be_refused=True)
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            if not work.cancel():
                await _end(done)
            raise

    async def clean_up(self, function: Callable[P, object], *args: P.args, **kwargs: P.kwargs) -> None:
        """Run a function that undoes what was begun. It is never refused, and a cancellation waits for its end.

        A task that was left behind (`leave_behind`) runs nothing: the thread that it left may still use the same file.
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
        """Run a blocking function that changes nothing and closes what it opens, such as reading, decoding or encoding.

        Raises:
            ThreadsBusy: Too much work waits already.
            Exception: What the function raises.

        Cancellation: raises at once and leaves the function to its thread. A function that has not begun is never run.
        """
        work, done = self._submit(partial(function, *args, **kwargs), may_be_refused=True)
        try:
            return await done
        except asyncio.CancelledError:
            work.cancel()
            raise

    async def pieces(self, pieces: Iterator[T]) -> AsyncGenerator[T, None]:
        """Yield what a blocking iterator gives, up to its first false value. Each piece is made ahead of its use.

        The first piece is made alone: work on the second begins when the caller asks for it. A caller that waits for
        its turn to write therefore has one piece in memory. From then on the next piece is made while the caller uses
        the one before.

        Raises:
            ThreadsBusy: Too much work waits already. It is raised before the first piece only.
            Exception: What the iterator raises.

        Cancellation: raises at once. The iterator is closed in a thread after the piece that is being made.
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
                ahead.exception()  # retrieved, so that asyncio does not log it: nobody asks for this piece
            work.cancel()
            if (close := getattr(pieces, "close", None)) is not None:
                work.add_done_callback(lambda _: self._close(close))

    def _close(self, close: Callable[[], object]) -> None:
        if self._pool is not None:
            self._pool.submit(close, may_be_refused=False)

    def _submit(self, call: Callable[[], T], *, may_be_refused: bool) -> tuple[Future[None], asyncio.Future[T]]:
        """Submit work to the pool. Return the work, and a future of the event loop for its outcome.

        The thread sets that future itself. run_in_executor has a second future in between, which costs a fifth of the
        time of a call.
        """
        if self._pool is None:
            self._pool = ThreadPool(self._workers, self._name)
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        return self._pool.submit(partial(_work, loop, done, call), may_be_refused=may_be_refused), done


def leave_behind(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks that wait for work in a thread that does not end. The tasks end, and the work goes on."""
    for task in tasks:
        _left.add(task)
        task.cancel()


async def _end(future: asyncio.Future[Any]) -> None:
    """Wait for the end of a future, even if the task is cancelled meanwhile. Its outcome is dropped."""
    task = asyncio.current_task()
    while not future.done() and task not in _left:
        with suppress(asyncio.CancelledError):
            await asyncio.wait([future])
    if future.done() and not future.cancelled():
        future.exception()  # retrieved, so that asyncio does not log it: the caller raises its cancellation


def _work(loop: asyncio.AbstractEventLoop, done: asyncio.Future[T], call: Callable[[], T]) -> None:
    """Run a call in a thread of the pool, and set the future of the event loop to its outcome."""
    try:
        result = call()
    except BaseException as error:
        _settle_in_loop(loop, done, done.set_exception, error)
    else:
        _settle_in_loop(loop, done, done.set_result, result)


def _settle_in_loop(
    loop: asyncio.AbstractEventLoop, done: asyncio.Future[Any], settle: Callable[[Any], None], outcome: object
) -> None:
    def settle_if_awaited() -> None:
        if not done.done():  # otherwise it was cancelled
            settle(outcome)

    with suppress(RuntimeError):  # the loop was closed, so nobody waits
        loop.call_soon_threadsafe(settle_if_awaited)
