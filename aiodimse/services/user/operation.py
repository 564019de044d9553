"""Operations with many responses, as their user sees them: `async with`, `async for`, `await`, cancel()."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncIterator, Generator
from types import TracebackType
from typing import Generic, Self, TypeVar

from aiodimse.aio.endpoint import Endpoint
from aiodimse.aio.invoked import InvokedOperation
from aiodimse.dimse import messages
from aiodimse.dimse.status import Status
from aiodimse.errors import DatasetEncodeError, LocalProtocolError
from aiodimse.pdu import AcceptedContext
from aiodimse.services.contexts import only_sop_class
from aiodimse.services.invocation import invoke_with_dataset, negotiated_on
from aiodimse.services.response import Identifier, Response, status_of
from aiodimse.standard import answers

T = TypeVar("T")


class WarnsIfUnused:
    """Warns when it is dropped without ever having been used, as a coroutine that was never awaited does."""

    _is_unused = False
    """Set by each when it has been made."""
    _service: str

    def __del__(self) -> None:
        """Warn where Python's tracemalloc, if it runs, says where it was made."""
        if self._is_unused:
            warnings.warn(
                f"a {self._service} was never awaited, iterated or entered, so its request was not sent",
                RuntimeWarning,
                stacklevel=2,
                source=self,
            )


class Operation(WarnsIfUnused, Generic[T]):
    """The common part of our C-FIND, C-GET and C-MOVE operations.

    The request is sent when the operation is first entered, iterated or awaited; an operation that never is warns with
    a RuntimeWarning when it is dropped. Iterating it raises DIMSEFailure if
    the final status is a Failure. Awaiting it returns the final Response, whatever its status.

    An exception while it is awaited leaves the operation, and so do a cancelled await and the end of its block:
    C-CANCEL is sent, and the association waits for the final response in the background. An operation that was left
    yields nothing more, like a generator that has raised. For example, it is over after a timeout of
    `asyncio.wait_for(anext(matches), 1)`. To wait for the next item and continue after a timeout, keep the task:
    `asyncio.wait({task}, timeout=1)` cancels nothing.
    """

    def __init__(self, endpoint: Endpoint, identifier: Identifier, sop_class_uid: str | None, priority: int) -> None:
        """Prepare the operation.

        sop_class_uid may be None if only one accepted context has the service; its SOP class is then used.
        """
        if isinstance(identifier, str):
            raise TypeError("the Identifier comes first, then the SOP class")
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
        self._is_unused = True

    # --- what each service does ---------------------------------------------------------------------------------------

    def _make(self) -> messages.Request:
        """Make the request."""
        raise NotImplementedError

    def _note(self, response: messages.Response) -> None:
        """Record what a response of any status says about the whole operation."""
        self.last_status = status_of(response.status, self._uid, self._service)

    async def _take(self, response: messages.Response, data: bytes | None) -> T | None:
        """Return what a Pending response means to the caller; None if nothing."""
        raise NotImplementedError

    async def _final(self, response: messages.Response, data: bytes | None) -> Response:
        """Make the public form of the final response."""
        raise NotImplementedError

    # --- sending, iterating and leaving -------------------------------------------------------------------------------

    async def start(self) -> None:
        """Send the request, if it has not been sent yet."""
        self._is_unused = False
        if self._invoked is None:
            async with self._starting:
                if self._invoked is None:
                    self._invoked = await self._send()

    async def _send(self) -> InvokedOperation:
        if self._asked_uid is None:
            self._uid = only_sop_class(negotiated_on(self._endpoint), self._service)
        if self._identifier is None:  # a request without one could only be refused
            raise DatasetEncodeError("an identifier is a Dataset or EncodedDataset, not NoneType")
        self._context, invoked = await invoke_with_dataset(self._endpoint, self._make(), self._identifier)
        return invoked

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave the operation. If it has not ended, C-CANCEL is sent, and the rest is received in the background."""
        self._endpoint.one_loop.check()
        self._leave()

    def _leave(self) -> None:
        if self._invoked is not None:
            self._invoked.leave()

    def __aiter__(self) -> AsyncIterator[T]:
        self._is_unused = False
        return self

    async def __anext__(self) -> T:
        """Return the next item. An exception, or a cancelled await, leaves the operation.

        Raises:
            StopAsyncIteration: The final response was received.
            DIMSEFailure: The final response was received, and its status is a Failure.
            DatasetDecodeError: A data set cannot be decoded.
            LocalProtocolError: The operation was left.
            AssociationError: As for every operation of Association.
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
        """Raise what the iteration raises after its last item."""
        response.raise_for_status()

    async def _begun(self) -> InvokedOperation:
        """Return the operation, after its request has been sent. Raise LocalProtocolError if it was left."""
        await self.start()
        assert self._invoked is not None
        if self._invoked.is_left:
            raise LocalProtocolError("this operation has been left: by its block, or by an await that raised")
        return self._invoked

    async def _step(self) -> T | None:
        """Wait for one response, and return what it means to the caller."""
        message, data = await (await self._begun()).next()
        final = message.status not in answers.STILL_PENDING
        if final:
            self._response = await self._final(message, data)
            self.last_status = self._response.status
            return None
        return await self._take(message, data)

    async def cancel(self) -> None:
        """Send C-CANCEL (PS3.7 9.3.2.3), and continue: the iteration yields what still arrives.

        It ends with the final response, usually FE00. This does not wait, except to send a request that has not been
        sent.

        Raises:
            LocalProtocolError: The association belongs to another event loop.
            AssociationError: As for every operation of Association, if the request has not been sent.
        """
        self._endpoint.one_loop.check()
        await self.start()
        assert self._invoked is not None
        self._invoked.cancel()

    def __await__(self) -> Generator[object, None, Response]:
        self._is_unused = False
        return self._run().__await__()

    async def _run(self) -> Response:
        """Wait for the final response, and return it, whatever its status. Earlier responses are dropped."""
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
        self._endpoint.one_loop.check()
        if self._is_awaited:  # one of the two tasks would wait forever
            raise LocalProtocolError("another task awaits this operation")
        self._is_awaited = True

    @property
    def response(self) -> Response | None:
        """The final response; None until it was received."""
        return self._response

    @property
    def status(self) -> Status | None:
        """The final status; None until it was received."""
        return self._response.status if self._response is not None else None
