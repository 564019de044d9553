"""Operations with many responses, as their user sees them: async with, async for, await, cancel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator
from types import TracebackType
from typing import Generic, Self, TypeVar

from aiodimse.aio.connection import Connection
from aiodimse.aio.exchange import Exchange
from aiodimse.dimse import messages
from aiodimse.dimse.status import Status
from aiodimse.errors import LocalProtocolError
from aiodimse.services.response import Response
from aiodimse.standard import answers

T = TypeVar("T")


class Operation(Generic[T]):
    """A C-FIND, C-GET or C-MOVE of ours. The request goes out when it is first entered, iterated or awaited."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._exchange: Exchange | None = None
        self._response: Response | None = None
        self._starting = asyncio.Lock()
        self._is_awaited = False
        self.last_status: Status | None = None
        """The status of the last response."""

    # --- what each service does ---------------------------------------------------------------------------------------

    async def _request(self) -> Exchange:
        raise NotImplementedError

    async def _take(self, response: messages.Response, data: bytes | None) -> T | None:
        """What a Pending response gives to the caller; None: nothing."""
        raise NotImplementedError

    async def _final(self, response: messages.Response, data: bytes | None) -> Response:
        raise NotImplementedError

    # --- manners ------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Send the request, if that has not happened yet."""
        if self._exchange is None:
            async with self._starting:
                if self._exchange is None:
                    self._exchange = await self._request()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leaving early sends C-CANCEL and returns; the association drains the rest by itself."""
        self._leave()

    def _leave(self) -> None:
        if self._exchange is not None:
            self._exchange.leave()

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        self._begin_await()
        try:
            while self._response is None:
                taken = await self._step()
                if taken is not None:
                    return taken
        except BaseException:
            self._leave()
            raise
        finally:
            self._is_awaited = False
        self._response.raise_for_status()
        raise StopAsyncIteration

    async def _step(self) -> T | None:
        """One response further."""
        await self.start()
        assert self._exchange is not None
        if self._exchange.is_left:
            raise LocalProtocolError("this operation has been left")
        message, data = await self._exchange.next()
        final = message.status not in answers.STILL_PENDING
        if final:
            self._response = await self._final(message, data)
            self.last_status = self._response.status
            return None
        return await self._take(message, data)

    async def cancel(self) -> None:
        """Send C-CANCEL now and go on: iterating gives what still comes, up to the final response (usually FE00)."""
        await self.start()
        assert self._exchange is not None
        self._exchange.cancel()

    def __await__(self) -> Generator[object, None, Response]:
        return self._run().__await__()

    async def _run(self) -> Response:
        """Run to the final response, whatever its status, and return it. What comes before is dropped."""
        self._begin_await()
        try:
            while self._response is None:
                await self._step()
        except BaseException:
            self._leave()
            raise
        finally:
            self._is_awaited = False
        return self._response

    def _begin_await(self) -> None:
        if self._is_awaited:  # one of the two would wait for ever
            raise LocalProtocolError("another task awaits this operation")
        self._is_awaited = True

    @property
    def response(self) -> Response | None:
        """The final response, once it has come."""
        return self._response

    @property
    def status(self) -> Status | None:
        """The final status, once it has come."""
        return self._response.status if self._response is not None else None


async def single(exchange: Exchange) -> tuple[messages.Response, bytes | None]:
    """The one response of an operation that has one; leaving early leaves the rest to the association."""
    try:
        return await exchange.next()
    except BaseException:
        exchange.leave()
        raise
