"""Sends many instances by C-STORE side by side, each with a result of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Generator, Iterable
from typing import Self

from aiodimse.aio.interrupt import is_own_cancellation
from aiodimse.record import record
from aiodimse.services.instance import InstanceSource
from aiodimse.services.response import Response

Store = Callable[[InstanceSource], Awaitable[Response]]


@record(frozen=True)
class StoreResult:
    """The result of one instance of `Pool.c_store_many`."""

    source: InstanceSource
    """The instance as the caller gave it."""
    response: Response | None
    """The response of the peer, whatever its status; None if there is none."""
    error: Exception | None
    """Why there is no response."""

    def raise_for_status(self) -> None:
        """Raise the error, or DIMSEFailure if the status is a Failure."""
        if self.error is not None:
            raise self.error
        assert self.response is not None
        self.response.raise_for_status()


class StoreMany:
    """An async iterator over the results. It sends only while it is iterated."""

    def __init__(
        self,
        store: Store,
        sources: Iterable[InstanceSource] | AsyncIterable[InstanceSource],
        side_by_side: int,
    ) -> None:
        """Prepare the work. It begins with the iteration.

        Args:
            store: Sends one instance.
            sources: The instances.
            side_by_side: How many are sent at a time. Sending pauses while as many results have not been taken.
        """
        self._store, self._side_by_side = store, side_by_side
        self._sources = _each(sources)
        self._reading = asyncio.Lock()
        self._results: asyncio.Queue[StoreResult | None] = asyncio.Queue(side_by_side)
        self._workers: list[asyncio.Task[None]] = []
        self._running = 0
        self._is_over = False
        self._close_error: Exception | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> StoreResult:
        """Return the result of the next instance that is done.

        Raises:
            StopAsyncIteration: All instances are done.
            Exception: What the iterable of sources raised; it follows the results of the instances before.

        Cancellation: stops the sending.
        """
        if self._is_over:
            raise StopAsyncIteration
        self._start()
        try:
            result = await self._results.get()
        except BaseException:
            await self.aclose()
            raise
        if result is not None:
            return result
        failed = [error for worker in self._workers if (error := _error_of(worker)) is not None]
        await self.aclose()
        if failed:
            raise failed[0]
        raise StopAsyncIteration

    def _start(self) -> None:
        if not self._workers:
            self._running = self._side_by_side
            self._workers = [
                asyncio.create_task(self._work(), name="aiodimse c_store_many") for _ in range(self._side_by_side)
            ]

    async def _work(self) -> None:
        try:
            while True:
                async with self._reading:
                    try:
                        source = await anext(self._sources)
                    except StopAsyncIteration:
                        break
                    except asyncio.CancelledError as error:
                        if is_own_cancellation(error):
                            raise
                        raise RuntimeError("the sources raised a CancelledError that nobody asked for") from error
                await self._results.put(await self._one(source))
        finally:
            self._running -= 1
            if not self._running:
                await self._close_sources()
                if not self._is_over:
                    await self._results.put(None)

    async def _close_sources(self) -> None:
        try:
            await self._sources.aclose()
        except Exception as error:
            self._close_error = error

    async def _one(self, source: InstanceSource) -> StoreResult:
        try:
            return StoreResult(source, await self._store(source), None)
        except Exception as error:  # also what the source of an instance raises
            return StoreResult(source, None, error)
        except asyncio.CancelledError as error:
            if is_own_cancellation(error):
                raise
            raised = RuntimeError("the instance raised a CancelledError that nobody asked for")
            raised.__cause__ = error
            return StoreResult(source, None, raised)

    async def aclose(self) -> None:
        """Stop the sending, and close the sources if they are a generator. What was sent remains sent.

        Nothing runs any more when this returns.

        Raises:
            Exception: What the generator of the sources raised when it was closed.

        Cancellation: the sending stops all the same, but not before this raises.
        """
        self._is_over = True
        workers, self._workers = self._workers, []
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        if self._results.empty():  # Another task may wait for a result.
            self._results.put_nowait(None)
        if (error := self._close_error) is not None:
            self._close_error = None
            raise error


async def _each(
    sources: Iterable[InstanceSource] | AsyncIterable[InstanceSource],
) -> AsyncGenerator[InstanceSource, None]:
    """Yield the sources. A generator is closed at the end, since nobody else may know that it is no longer read.

    Other iterators are left as they are: a list iterator has nothing to close, and a file belongs to the caller.
    """
    if isinstance(sources, AsyncIterable):
        each = aiter(sources)
        try:
            async for source in each:
                yield source
        finally:
            if isinstance(each, AsyncGenerator):
                await each.aclose()
    else:
        plain = iter(sources)
        try:
            for source in plain:
                yield source
        finally:
            if isinstance(plain, Generator):
                plain.close()


def _error_of(worker: asyncio.Task[None]) -> BaseException | None:
    return worker.exception() if worker.done() and not worker.cancelled() else None
