"""Requests of the peer, from their admission to their one final response."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from aiodimse.aio.inbox import Inbox
from aiodimse.aio.log import AssociationLogger
from aiodimse.dimse.messages import CStoreRQ, Response
from aiodimse.dimse.router import (
    CancelReceived,
    DatasetReceived,
    Performed,
    RequestReceived,
    RequestRefused,
    Runnable,
)
from aiodimse.engine import Buffer

if TYPE_CHECKING:
    from aiodimse.aio.endpoint import Endpoint

_log = logging.getLogger("aiodimse.association")


class PerformedOperation:
    """A request of the peer."""

    __slots__ = ("began", "data", "endpoint", "inbox", "on_cancel", "on_end", "operation", "started")

    def __init__(self, endpoint: Endpoint, operation: Performed, data: bytes | None, inbox: Inbox | None) -> None:
        self.endpoint = endpoint
        self.operation = operation
        self.data = data
        """The joined data set; None where there is none, or where it arrives in the inbox."""
        self.inbox = inbox
        self.started = False
        self.began = endpoint.clock.now() if endpoint.metrics is not None else 0.0
        self.on_cancel: Callable[[], None] | None = None
        """Called on the peer's C-CANCEL."""
        self.on_end: Callable[[BaseException], None] | None = None
        """Called when the association ends or is being released before the final response."""

    def logger(self, logger: logging.Logger) -> AssociationLogger:
        """This logger, for lines about this request."""
        return self.endpoint.logger(logger, self.operation.message_id)

    async def respond(self, response: Response, data: Buffer | None = None) -> None:
        """Send a response; nothing is sent after the final one, or when the association has ended.

        The response to a C-STORE waits for the last fragment of its data set; what nobody has read is dropped.
        """
        if self.inbox is not None:
            self.inbox.drop()
            if not self.inbox.is_complete:
                await self.inbox.wait_complete()
        await self.endpoint.performer.respond(self.operation, response, data)


class Performer:
    """The open operations of the peer, on one association."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._open: dict[int, PerformedOperation] = {}
        self._runnable: deque[PerformedOperation] = deque()
        self.closing = False
        """No request is started any more."""

    def __len__(self) -> int:
        return len(self._open)

    @property
    def is_running(self) -> bool:
        """Handlers have been started and have not given their final response."""
        return any(performed.started for performed in self._open.values())

    # --- events -------------------------------------------------------------------------------------------------------

    def on_request(self, event: RequestReceived) -> None:
        """A request is admitted."""
        operation = event.operation
        inbox = Inbox(self._endpoint.throttle.count) if type(operation.request) is CStoreRQ else None
        performed = self._open[operation.message_id] = PerformedOperation(self._endpoint, operation, event.data, inbox)
        if not operation.waiting:
            self._runnable.append(performed)

    def on_runnable(self, event: Runnable) -> None:
        """A request has its place in the window. It is not here where its data set is still coming, which on_request
        minds, or where it was cancelled while it waited, and has been answered."""
        performed = self._open.get(event.operation.message_id)
        if performed is not None and performed.operation is event.operation:
            self._runnable.append(performed)

    def on_dataset(self, event: DatasetReceived) -> None:
        """A piece of a data set; of one that nobody wants any more it is dropped."""
        performed = self._open.get(event.operation.message_id)
        if performed is not None and performed.inbox is not None and performed.operation is event.operation:
            performed.inbox.put(event.data, is_last=event.is_last)

    def on_refused(self, event: RequestRefused) -> None:
        """A request that gets its answer from the router."""
        log = self._endpoint.logger(_log, event.response.message_id_being_responded_to)
        log.info("refused: %s", event.response)
        self._endpoint.writer.answer(event.context_id, event.response, event.size)
        self._endpoint.throttle.look()

    def on_cancel(self, event: CancelReceived) -> None:
        """C-CANCEL for an open operation."""
        performed = self._open.get(event.operation.message_id)
        if performed is None:
            return
        if performed.started:
            if performed.on_cancel is not None:
                performed.on_cancel()
        elif performed not in self._runnable:
            self._runnable.append(performed)  # it waits for a place, and FE00 needs none

    def let_go(self) -> None:
        """Reading is paused: consumers take what there is."""
        for performed in self._open.values():
            if performed.inbox is not None:
                performed.inbox.let_go()

    def start(self, run: Callable[[PerformedOperation], None]) -> None:
        """Start what may run. After all events of a chunk: a C-CANCEL beside its request finds it not started."""
        while self._runnable:
            performed = self._runnable.popleft()
            if performed.operation.is_open and not self.closing and not performed.started:
                performed.started = True
                run(performed)

    # --- responses ----------------------------------------------------------------------------------------------------

    async def respond(self, operation: Performed, response: Response, data: Buffer | None = None) -> None:
        """Send a response when the pen is free; nothing where the operation or the association has ended."""
        endpoint = self._endpoint
        if endpoint.writer.is_free:
            self._send(operation, response, data)
        elif endpoint.error is None and operation.is_open:
            async with endpoint.writer:
                self._send(operation, response, data)

    def respond_now(self, operation: Performed, response: Response) -> bool:
        """Send a small response without waiting; False where that cannot be."""
        if not self._endpoint.writer.is_free:
            return False
        self._send(operation, response, None)
        return True

    def _send(self, operation: Performed, response: Response, data: Buffer | None) -> None:
        endpoint = self._endpoint
        if endpoint.error is not None or not operation.is_open or not endpoint.engine.can_send:
            return
        is_final = endpoint.engine.respond(operation, response, data)
        endpoint.flush()
        if is_final:
            performed = self._open.pop(operation.message_id)
            if endpoint.metrics is not None:
                seconds = endpoint.clock.now() - performed.began
                endpoint.metrics.operation_ended(operation.request.service, "provider", response.status, seconds)
            endpoint.operation_ended()
            if self._open:  # one that waited for this place
                asyncio.get_running_loop().call_soon(endpoint.pump)

    # --- the end ------------------------------------------------------------------------------------------------------

    def stop(self, error: BaseException) -> None:
        """Nothing more will be answered: handlers are cancelled."""
        for performed in list(self._open.values()):
            if performed.inbox is not None:
                performed.inbox.fail(error)
            if performed.on_end is not None:
                performed.on_end(error)
            if (metrics := self._endpoint.metrics) is not None:
                seconds = self._endpoint.clock.now() - performed.began
                metrics.operation_ended(performed.operation.request.service, "provider", None, seconds)
        self._open.clear()
        self._runnable.clear()
