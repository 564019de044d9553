"""Work on files, off the event loop, in a bounded pool of the library's own.

The loop's default executor is the application's; a disk that hangs must not take it away, nor the other way round.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_WORKERS = 8
_pool: ThreadPoolExecutor | None = None


def _forget_pool() -> None:
    """In a process that was forked: it has none of the threads."""
    global _pool
    _pool = None


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_forget_pool)


async def off_loop(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a blocking function in the pool.

    A cancelled await, however often it is cancelled, waits for the function to end, so that what it was doing to a file
    is known, and then raises: a second thread must not close what the first is writing to.
    """
    _, done = _submit(partial(function, *args, **kwargs))
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        await _end(done)
        raise


async def read_off_loop(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """The same for a function that changes nothing and closes what it opens: reading, decoding, encoding.

    A cancelled await raises at once and leaves the function to the pool, where a disk that hangs keeps one thread; one
    that has not begun never will.
    """
    work, done = _submit(partial(function, *args, **kwargs))
    try:
        return await done
    except asyncio.CancelledError:
        work.cancel()
        raise


async def _end(future: asyncio.Future[Any]) -> None:
    """Wait for its end, whatever is cancelled meanwhile; what it gives is of no interest."""
    while not future.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([future])
    if not future.cancelled():
        future.exception()  # looked at: the cancellation is what is reported


def _submit(call: Callable[[], T]) -> tuple[Future[None], asyncio.Future[T]]:
    """The work in the pool, and its outcome on the event loop.

    The loop is told directly: run_in_executor has a second future in between, which is a fifth of a trip.
    """
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="aiodimse-files")
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()
    return _pool.submit(_work, loop, done, call), done


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


async def pieces_off_loop(pieces: Iterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The pieces of a blocking iterator, the next one read while the caller works on this one.

    A cancelled await raises at once; the iterator is closed, in the pool, when the read under way has come to its end.
    """
    read = partial(next, pieces, b"")
    work, ahead = _submit(read)
    try:
        while piece := await ahead:
            work, ahead = _submit(read)
            yield piece
    finally:
        if not ahead.cancel() and not ahead.cancelled():
            ahead.exception()  # looked at: nobody asks for this piece
        work.cancel()
        if (close := getattr(pieces, "close", None)) is not None:
            work.add_done_callback(lambda _: _close(close))


def _close(close: Callable[[], object]) -> None:
    if _pool is not None:
        with suppress(RuntimeError):  # the program ends: its files are closed without us
            _pool.submit(close)
