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
    from aiodimse.aio.connection import Connection

_log = logging.getLogger("aiodimse.association")


class Incoming:
    """A request of the peer."""

    __slots__ = ("began", "connection", "data", "inbox", "on_cancel", "on_end", "operation", "started")

    def __init__(self, connection: Connection, operation: Performed, data: bytes | None, inbox: Inbox | None) -> None:
        self.connection = connection
        self.operation = operation
        self.data = data
        """The joined data set; None where there is none, or where it arrives in the inbox."""
        self.inbox = inbox
        self.started = False
        self.began = connection.clock.now() if connection.metrics is not None else 0.0
        self.on_cancel: Callable[[], None] | None = None
        """Called on the peer's C-CANCEL."""
        self.on_end: Callable[[BaseException], None] | None = None
        """Called when the association ends or is being released before the final response."""

    def logger(self, logger: logging.Logger) -> AssociationLogger:
        """This logger, for lines about this request."""
        return self.connection.logger(logger, self.operation.message_id)

    async def respond(self, response: Response, data: Buffer | None = None) -> None:
        """Send a response; nothing is sent after the final one, or when the association has ended.

        The response to a C-STORE waits for the last fragment of its data set; what nobody has read is dropped.
        """
        if self.inbox is not None:
            self.inbox.drop()
            if not self.inbox.is_complete:
                await self.inbox.wait_complete()
        await self.connection.performer.respond(self.operation, response, data)


class Performer:
    """The open operations of the peer, on one association."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._open: dict[int, Incoming] = {}
        self._runnable: deque[Incoming] = deque()
        self.closing = False
        """No request is started any more."""

    def __len__(self) -> int:
        return len(self._open)

    @property
    def is_running(self) -> bool:
        """Handlers have been started and have not given their final response."""
        return any(incoming.started for incoming in self._open.values())

    # --- events -------------------------------------------------------------------------------------------------------

    def on_request(self, event: RequestReceived) -> None:
        """A request is admitted."""
        operation = event.operation
        inbox = Inbox(self._connection.flow.count) if type(operation.request) is CStoreRQ else None
        incoming = self._open[operation.message_id] = Incoming(self._connection, operation, event.data, inbox)
        if not operation.waiting:
            self._runnable.append(incoming)

    def on_runnable(self, event: Runnable) -> None:
        """A request has its place in the window. It is not here where its data set is still coming, which on_request
        minds, or where it was cancelled while it waited, and has been answered."""
        incoming = self._open.get(event.operation.message_id)
        if incoming is not None and incoming.operation is event.operation:
            self._runnable.append(incoming)

    def on_dataset(self, event: DatasetReceived) -> None:
        """A piece of a data set; of one that nobody wants any more it is dropped."""
        incoming = self._open.get(event.operation.message_id)
        if incoming is not None and incoming.inbox is not None and incoming.operation is event.operation:
            incoming.inbox.put(event.data, is_last=event.is_last)

    def on_refused(self, event: RequestRefused) -> None:
        """A request that gets its answer from the router."""
        log = self._connection.logger(_log, event.response.message_id_being_responded_to)
        log.info("refused: %s", event.response)
        self._connection.pen.answer(event.context_id, event.response, event.size)
        self._connection.flow.look()

    def on_cancel(self, event: CancelReceived) -> None:
        """C-CANCEL for an open operation."""
        incoming = self._open.get(event.operation.message_id)
        if incoming is None:
            return
        if incoming.started:
            if incoming.on_cancel is not None:
                incoming.on_cancel()
        elif incoming not in self._runnable:
            self._runnable.append(incoming)  # it waits for a place, and FE00 needs none

    def let_go(self) -> None:
        """Reading is paused: consumers take what there is."""
        for incoming in self._open.values():
            if incoming.inbox is not None:
                incoming.inbox.let_go()

    def start(self, run: Callable[[Incoming], None]) -> None:
        """Start what may run. After all events of a chunk: a C-CANCEL beside its request finds it not started."""
        while self._runnable:
            incoming = self._runnable.popleft()
            if incoming.operation.is_open and not self.closing and not incoming.started:
                incoming.started = True
                run(incoming)

    # --- responses ----------------------------------------------------------------------------------------------------

    async def respond(self, operation: Performed, response: Response, data: Buffer | None = None) -> None:
        """Send a response when the pen is free; nothing where the operation or the association has ended."""
        connection = self._connection
        if connection.pen.is_free:
            self._send(operation, response, data)
        elif connection.error is None and operation.is_open:
            async with connection.pen:
                self._send(operation, response, data)

    def respond_now(self, operation: Performed, response: Response) -> bool:
        """Send a small response without waiting; False where that cannot be."""
        if not self._connection.pen.is_free:
            return False
        self._send(operation, response, None)
        return True

    def _send(self, operation: Performed, response: Response, data: Buffer | None) -> None:
        connection = self._connection
        if connection.error is not None or not operation.is_open or not connection.engine.can_send:
            return
        is_final = connection.engine.respond(operation, response, data)
        connection.flush()
        if is_final:
            incoming = self._open.pop(operation.message_id)
            if connection.metrics is not None:
                seconds = connection.clock.now() - incoming.began
                connection.metrics.operation_ended(operation.request.service, "provider", response.status, seconds)
            connection.operation_ended()
            if self._open:  # one that waited for this place
                asyncio.get_running_loop().call_soon(connection.pump)

    # --- the end ------------------------------------------------------------------------------------------------------

    def stop(self, error: BaseException) -> None:
        """Nothing more will be answered: handlers are cancelled."""
        for incoming in list(self._open.values()):
            if incoming.inbox is not None:
                incoming.inbox.fail(error)
            if incoming.on_end is not None:
                incoming.on_end(error)
            if (metrics := self._connection.metrics) is not None:
                seconds = self._connection.clock.now() - incoming.began
                metrics.operation_ended(incoming.operation.request.service, "provider", None, seconds)
        self._open.clear()
        self._runnable.clear()
