"""Work on files, off the event loop, in a bounded pool of the library's own.

The loop's default executor is the application's; a disk that hangs must not take it away, nor the other way round.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_WORKERS = 8
_pool: ThreadPoolExecutor | None = None


async def off_loop(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a blocking function in the pool.

    A cancelled await, however often it is cancelled, waits for the function to end, so that what it was doing to a file
    is known, and then raises: a second thread must not close what the first is writing to.
    """
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="aiodimse-files")
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()
    _pool.submit(_work, loop, done, partial(function, *args, **kwargs))
    try:
        return await asyncio.shield(done)
    except asyncio.CancelledError:
        await _end(done)
        raise


async def _end(future: asyncio.Future[Any]) -> None:
    """Wait for its end, whatever is cancelled meanwhile; what it gives is of no interest."""
    while not future.done():
        with suppress(asyncio.CancelledError):
            await asyncio.wait([future])
    if not future.cancelled():
        future.exception()  # looked at: the cancellation is what is reported


def _work(loop: asyncio.AbstractEventLoop, done: asyncio.Future[T], call: Callable[[], T]) -> None:
    """In the pool. The loop is told directly: run_in_executor has a second future in between, which is a fifth of a
    trip."""
    try:
        result = call()
    except BaseException as error:
        _tell(loop, done.set_exception, error)
    else:
        _tell(loop, done.set_result, result)


def _tell(loop: asyncio.AbstractEventLoop, callback: Callable[[Any], None], outcome: object) -> None:
    with suppress(RuntimeError):  # the loop has been closed: nobody waits any more
        loop.call_soon_threadsafe(callback, outcome)


async def pieces_off_loop(pieces: Iterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The pieces of a blocking iterator, the next one read while the caller works on this one."""
    ahead = asyncio.ensure_future(off_loop(next, pieces, b""))
    try:
        while piece := await ahead:
            ahead = asyncio.ensure_future(off_loop(next, pieces, b""))
            yield piece
    finally:
        ahead.cancel()
        await _end(ahead)
        if (close := getattr(pieces, "close", None)) is not None:
            await off_loop(close)
