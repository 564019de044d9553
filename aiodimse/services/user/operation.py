"""Operations with many responses, as their user sees them: async with, async for, await, cancel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Generator
from types import TracebackType
from typing import Generic, Self, TypeVar

from pydicom.dataset import Dataset

from aiodimse.aio.endpoint import Endpoint
from aiodimse.aio.invoked import InvokedOperation
from aiodimse.dimse import messages
from aiodimse.dimse.status import Status
from aiodimse.errors import LocalProtocolError
from aiodimse.pdu import AcceptedContext
from aiodimse.services.contexts import only_sop_class
from aiodimse.services.invocation import invoke_with_dataset, negotiated_on
from aiodimse.services.response import EncodedDataset, Response, status_of
from aiodimse.standard import answers

T = TypeVar("T")


class Operation(Generic[T]):
    """What a C-FIND, C-GET and C-MOVE of ours have in common. The request goes out when it is first entered, iterated
    or awaited.

    Iterating raises DIMSEFailure where the final status is a Failure; awaiting gives the final Response whatever its
    status. What is raised there, a cancelled await included, leaves the operation, as the end of its block does:
    C-CANCEL is sent, and the association waits for the final response by itself. An operation that was left gives no
    more, as a generator that has raised: after `asyncio.wait_for(anext(matches), 1)` timed out it is over. To look
    whether something has come and go on, keep the task: `asyncio.wait({task}, timeout=1)` cancels nothing.
    """

    def __init__(
        self, endpoint: Endpoint, identifier: Dataset | EncodedDataset, sop_class_uid: str | None, priority: int
    ) -> None:
        """sop_class_uid: None where one accepted context alone has the service: its SOP class."""
        self._endpoint = endpoint
        self._identifier, self._asked_uid, self._priority = identifier, sop_class_uid, priority
        self._uid = sop_class_uid or ""
        self._context: AcceptedContext | None = None
        self._invoked: InvokedOperation | None = None
        self._response: Response | None = None
        self._starting = asyncio.Lock()
        self._is_awaited = False
        self.last_status: Status | None = None
        """The status of the last response."""

    # --- what each service does ---------------------------------------------------------------------------------------

    _service: str

    def _make(self) -> messages.Request:
        """The request."""
        raise NotImplementedError

    def _note(self, response: messages.Response) -> None:
        """Keep what a response of any status says of the whole operation."""
        self.last_status = status_of(response.status, self._uid, self._service)

    async def _take(self, response: messages.Response, data: bytes | None) -> T | None:
        """What a Pending response gives to the caller; None: nothing."""
        raise NotImplementedError

    async def _final(self, response: messages.Response, data: bytes | None) -> Response:
        """The public form of the final response."""
        raise NotImplementedError

    # --- manners ------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Send the request, if that has not happened yet."""
        if self._invoked is None:
            async with self._starting:
                if self._invoked is None:
                    self._invoked = await self._send()

    async def _send(self) -> InvokedOperation:
        if self._asked_uid is None:
            self._uid = only_sop_class(negotiated_on(self._endpoint), self._service)
        self._context, invoked = await invoke_with_dataset(self._endpoint, self._make(), self._identifier)
        return invoked

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leaving early sends C-CANCEL and returns; the association drains the rest by itself."""
        self._leave()

    def _leave(self) -> None:
        if self._invoked is not None:
            self._invoked.leave()

    def __aiter__(self) -> AsyncIterator[T]:
        return self

    async def __anext__(self) -> T:
        """The next of what it gives; StopAsyncIteration after the final response.

        Raises DIMSEFailure where that is a Failure, DatasetDecodeError, LocalProtocolError where the operation has been
        left, and what every operation raises (Association). Raised or cancelled, it leaves the operation.
        """
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
        self._check(self._response)
        raise StopAsyncIteration

    def _check(self, response: Response) -> None:
        """Raise what iterating raises behind the last that it gives."""
        response.raise_for_status()

    async def _begun(self) -> InvokedOperation:
        """The request is out, and nobody has left."""
        await self.start()
        assert self._invoked is not None
        if self._invoked.is_left:
            raise LocalProtocolError("this operation has been left: by its block, or by an await that raised")
        return self._invoked

    async def _step(self) -> T | None:
        """One response further."""
        message, data = await (await self._begun()).next()
        final = message.status not in answers.STILL_PENDING
        if final:
            self._response = await self._final(message, data)
            self.last_status = self._response.status
            return None
        return await self._take(message, data)

    async def cancel(self) -> None:
        """Send C-CANCEL (PS3.7 9.3.2.3) and go on: iterating gives what still comes, up to the final response, usually
        FE00. Waits for nothing, but to send the request where that has not been sent."""
        await self.start()
        assert self._invoked is not None
        self._invoked.cancel()

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
