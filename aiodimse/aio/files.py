"""Work on files, off the event loop, in a bounded pool of the library's own.

The loop's default executor is the application's; a disk that hangs must not take it away, nor the other way round.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_WORKERS = 8
_pool: ThreadPoolExecutor | None = None


async def off_loop(function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Run a blocking function in the pool.

    A cancelled await waits for the function to end, so that what it was doing to a file is known, and then raises.
    """
    global _pool
    if _pool is None:
        _pool = ThreadPoolExecutor(_WORKERS, thread_name_prefix="aiodimse-files")
    future = asyncio.get_running_loop().run_in_executor(_pool, lambda: function(*args, **kwargs))
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        if not future.done():
            await asyncio.wait([future])
        if not future.cancelled():
            future.exception()  # looked at: the cancellation is what is reported
        raise


async def pieces_off_loop(pieces: Iterator[bytes]) -> AsyncGenerator[bytes, None]:
    """The pieces of a blocking iterator, the next one read while the caller works on this one."""
    ahead = asyncio.ensure_future(off_loop(next, pieces, b""))
    try:
        while piece := await ahead:
            ahead = asyncio.ensure_future(off_loop(next, pieces, b""))
            yield piece
    finally:
        if not ahead.done():
            ahead.cancel()
            await asyncio.wait([ahead])
        if not ahead.cancelled():
            ahead.exception()
        if (close := getattr(pieces, "close", None)) is not None:
            await off_loop(close)
