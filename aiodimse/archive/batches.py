"""Combines what arrives at the same time into one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")
R = TypeVar("R")


class Batches(Generic[T, R]):
    """Passes items on in batches. While one batch is processed, new items wait for the next one.

    Args:
        take: Processes a batch, and returns its result.
        most: The largest number of items in a batch.
    """

    def __init__(self, take: Callable[[Sequence[T]], Awaitable[R]], most: int = 256) -> None:
        self._take, self._most = take, most
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._task: asyncio.Task[None] | None = None

    async def add(self, thing: T) -> R:
        """Add one item, and wait until its batch has been processed.

        Returns:
            The result of the whole batch.

        Raises:
            Exception: What `take` raised.

        Cancellation: the item is processed nevertheless.
        """
        done: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((thing, done))
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="aiodimse archive batches")
        return await done

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                try:
                    result = await self._take([thing for thing, _ in batch])
                except BaseException as error:
                    for done in _waited_for(batch):
                        done.set_exception(error) if isinstance(error, Exception) else done.cancel()
                    if not isinstance(error, Exception):
                        raise
                else:
                    for done in _waited_for(batch):
                        done.set_result(result)
        finally:
            self._task = None
            for _, done in self._waiting:
                done.cancel()


def _waited_for(batch: Sequence[tuple[object, asyncio.Future[R]]]) -> Iterator[asyncio.Future[R]]:
    return (done for _, done in batch if not done.done())
