"""Combines what arrives at the same time into one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Generic, TypeAlias, TypeVar

from .index import ANSWER

T = TypeVar("T")
R = TypeVar("R")
Kinds: TypeAlias = type[Exception] | tuple[type[Exception], ...]
"""Kinds of exceptions, as `except` takes them."""


async def in_pieces(
    take: Callable[[Sequence[T]], Awaitable[R]], things: Sequence[T], refusal: Kinds
) -> AsyncGenerator[tuple[Sequence[T], R | Exception], None]:
    """Process things together. Where they are refused, process each half alone, so that one of them costs only itself.

    Args:
        take: Processes all that it is given, or nothing of it.
        things: The things.
        refusal: What `take` raises if it would not take the same things another time either. Any other exception ends
            this, since the next piece would meet it too.

    Yields:
        The pieces in order, each with its result. A thing that is refused is a piece of its own, with the exception.
    """
    waiting = [things]
    while waiting:
        piece = waiting.pop()
        result: R | Exception
        try:
            result = await take(piece)
        except refusal as error:
            if len(piece) > 1:
                middle = len(piece) // 2
                waiting += [piece[middle:], piece[:middle]]
                continue
            result = error
        yield piece, result


class Batches(Generic[T, R]):
    """Passes items on in batches. While one batch is processed, new items wait for the next one.

    Args:
        take: Processes a batch, or nothing of it, and returns its result.
        refusal: What `take` raises because of an item of the batch, which then fails alone; by default nothing.
        most: The largest number of items in a batch.
        seconds: The time in seconds for an item to be processed, with the batch that it waits for.
    """

    def __init__(
        self,
        take: Callable[[Sequence[T]], Awaitable[R]],
        refusal: Kinds = (),
        most: int = 256,
        seconds: float = ANSWER,
    ) -> None:
        self._seconds = seconds
        self._take, self._refusal, self._most = take, refusal, most
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._task: asyncio.Task[None] | None = None

    async def add(self, thing: T) -> R:
        """Add one item, and wait until its batch has been processed.

        Returns:
            The result of the whole batch, or of the part of it that was processed together with this item.

        Raises:
            Exception: What `take` raised.
            TimeoutError: It was not processed in time. It may be so later.

        Cancellation: the item is processed nevertheless.
        """
        done: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((thing, done))
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="aiodimse archive batches")
        async with asyncio.timeout(self._seconds):
            return await done

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                await self._process(batch)
        finally:
            self._task = None
            for _, done in self._waiting:
                done.cancel()

    async def _process(self, batch: Sequence[tuple[T, asyncio.Future[R]]]) -> None:
        things, waiting = [thing for thing, _ in batch], [done for _, done in batch]
        try:
            async with aclosing(in_pieces(self._take, things, self._refusal)) as pieces:
                async for piece, result in pieces:
                    own, waiting = waiting[: len(piece)], waiting[len(piece) :]
                    _tell(own, result)
        except Exception as error:
            _tell(waiting, error)
        except BaseException:
            for done in waiting:
                done.cancel()
            raise


def _tell(waiting: Sequence[asyncio.Future[R]], result: R | Exception) -> None:
    for done in waiting:
        if not done.done():
            done.set_exception(result) if isinstance(result, Exception) else done.set_result(result)
