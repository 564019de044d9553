"""One transaction for what arrives together."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

T = TypeVar("T")


class Batches(Generic[T]):
    """Hands things over one batch after the other: while one is under way, what comes waits for the next one.

    Args:
        take: Takes a batch.
        most: So many in one batch.
    """

    def __init__(self, take: Callable[[Sequence[T]], Awaitable[object]], most: int = 256) -> None:
        self._take, self._most = take, most
        self._waiting: list[tuple[T, asyncio.Future[None]]] = []
        self._task: asyncio.Task[None] | None = None

    async def add(self, thing: T) -> None:
        """Hand one over; returns when its batch has been taken, and raises what taking it raised.

        Cancellation: it is taken all the same.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((thing, done))
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="aiodimse archive batches")
        await done

    async def _run(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                try:
                    await self._take([thing for thing, _ in batch])
                except BaseException as error:
                    _settle(batch, error)
                    if not isinstance(error, Exception):
                        raise
                else:
                    _settle(batch, None)
        finally:
            self._task = None
            for _, done in self._waiting:
                done.cancel()


def _settle(batch: Sequence[tuple[object, asyncio.Future[None]]], error: BaseException | None) -> None:
    for _, done in batch:
        if done.done():  # nobody waits any more
            continue
        if error is None:
            done.set_result(None)
        elif isinstance(error, Exception):
            done.set_exception(error)
        else:
            done.cancel()
