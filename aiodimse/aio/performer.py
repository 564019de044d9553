"""Requests of the peer, from their admission to their one final response."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from aiodimse.aio.channel import Channel
from aiodimse.aio.inbox import Inbox
from aiodimse.aio.invoker import Invoker
from aiodimse.aio.log import AssociationLogger
from aiodimse.aio.part import Part
from aiodimse.dimse.fragments import Buffer
from aiodimse.dimse.messages import CStoreRQ, Response
from aiodimse.dimse.operations import (
    CancelReceived,
    DatasetReceived,
    Performed,
    RequestReceived,
    RequestRefused,
    Runnable,
)
from aiodimse.dimse.router import COMPOSITE, no_place

_log = logging.getLogger("aiodimse.association")

_REFUSAL_SIZE = 512
"""About how many bytes of memory a refusal takes while it waits, without the elements that it repeats of its
request."""


class PerformedOperation:
    """A request of the peer."""

    __slots__ = (
        "_performer",
        "began",
        "channel",
        "data",
        "has_ended",
        "inbox",
        "invoker",
        "on_cancel",
        "on_end",
        "operation",
        "started",
    )

    def __init__(self, performer: Performer, operation: Performed, data: bytes | None, inbox: Inbox | None) -> None:
        self._performer = performer
        self.channel: Channel = performer.channel
        self.invoker: Invoker = performer.invoker
        """Invokes operations in the other direction on the same association: the sub-operations of a C-GET."""
        self.operation: Performed = operation
        self.data: bytes | None = data
        """The whole data set; None if there is none, or if it arrives in the inbox."""
        self.inbox: Inbox | None = inbox
        self.started: bool = False
        self.has_ended: bool = False
        """Whether the association has ended, or is being released, before the final response."""
        self.began: float = self.channel.last_heard
        self.on_cancel: Callable[[], None] | None = None
        """Called when the peer sends C-CANCEL."""
        self.on_end: Callable[[], None] | None = None
        """Called when `has_ended` is set."""

    def logger(self, logger: logging.Logger) -> AssociationLogger:
        """Return a logger whose lines are about this request."""
        return self.channel.logger(logger, self.operation.message_id)

    async def respond(self, response: Response, data: Buffer | None = None) -> None:
        """Send a response. Nothing is sent after the final one, or if the association has ended.

        The response to a C-STORE waits for the last fragment of its data set. What nobody has read of it is dropped.

        Args:
            response: The response.
            data: Its data set, encoded.

        Raises:
            LocalProtocolError: The response cannot be encoded. The operation stays open.
            AssociationError: What ended the association while this waited.

        Cancellation: Nothing is sent.
        """
        if self.inbox is not None:
            self.inbox.drop()
            if not self.inbox.is_complete:
                await self.inbox.wait_complete()
        if self.operation.is_open and self.channel.error is None:
            await self.channel.writer.when_free(partial(self._performer.send, self, response, data))

    def respond_soon(self, response: Response) -> None:
        """Send a small response without waiting: now, or as soon as no other message is being written."""
        self.channel.writer.soon(partial(self._performer.send, self, response, None))

    def respond_later(self, response: Response) -> None:
        """Send a response without waiting for it, as soon as `respond` would send it."""
        self.channel.tasks.spawn(self.respond(response), "aiodimse response")


class Performer(Part):
    """The operations of the peer that are open on one association."""

    run: Callable[[PerformedOperation], None]
    """Starts the handler of a request. It is set when the association is established."""

    def __init__(self, channel: Channel, invoker: Invoker) -> None:
        self.channel: Channel = channel
        self.invoker: Invoker = invoker
        self._open: dict[int, PerformedOperation] = {}
        self._runnable: deque[PerformedOperation] = deque()
        channel.register(self, after_events=self._start)

    def __len__(self) -> int:
        return len(self._open)

    # --- events -------------------------------------------------------------------------------------------------------

    def events(self) -> Mapping[type[Any], Callable[[Any], None]]:
        """Requests, their data sets, and C-CANCEL."""
        return {
            RequestReceived: self._on_request,
            Runnable: self._on_runnable,
            DatasetReceived: self._on_dataset,
            RequestRefused: self._on_refused,
            CancelReceived: self._on_cancel,
        }

    def _on_request(self, event: RequestReceived) -> None:
        """Take a request that was admitted."""
        operation = event.operation
        inbox = Inbox(self.channel.throttle.count) if type(operation.request) is CStoreRQ else None
        performed = self._open[operation.message_id] = PerformedOperation(self, operation, event.data, inbox)
        if not operation.waiting:
            self._runnable.append(performed)

    def _on_runnable(self, event: Runnable) -> None:
        """Take note that a request has its place in the window.

        It is not found here if its data set is still coming, which _on_request handles, or if it was cancelled while it
        waited and has been answered.
        """
        performed = self._open.get(event.operation.message_id)
        if performed is not None and performed.operation is event.operation:
            self._runnable.append(performed)

    def _on_dataset(self, event: DatasetReceived) -> None:
        """Take a piece of a data set, or drop it if nobody wants the data set any more."""
        performed = self._open.get(event.operation.message_id)
        if performed is not None and performed.inbox is not None and performed.operation is event.operation:
            performed.inbox.put(event.data, is_last=event.is_last)

    def _on_refused(self, event: RequestRefused) -> None:
        """Send the response of a request that the router has refused."""
        channel, response = self.channel, event.response
        channel.logger(_log, response.message_id_being_responded_to).info("refused: %s", response)

        def send() -> None:
            if channel.engine.machine.can_send_data:
                channel.engine.send(event.context_id, response)

        channel.writer.soon(send, _REFUSAL_SIZE + event.size)

    def _on_cancel(self, event: CancelReceived) -> None:
        """Take a C-CANCEL for an open operation."""
        performed = self._open.get(event.operation.message_id)
        if performed is None:
            return
        if performed.started:
            if performed.on_cancel is not None:
                performed.on_cancel()
        elif performed not in self._runnable:
            self._runnable.append(performed)  # The operation waits for a place, and a response of FE00 needs none.

    def paused(self) -> None:
        """Reading has paused: consumers have to take what there is."""
        for performed in self._open.values():
            if performed.inbox is not None:
                performed.inbox.let_go()

    def unread(self) -> list[str]:
        """Data sets of C-STORE requests whose handlers do not read them."""
        unread = [each.operation for each in self._open.values() if each.inbox is not None and each.inbox.has_unread]
        return [f"nobody reads the data set of the peer's {each.request.name} {each.message_id}" for each in unread]

    def _start(self) -> None:
        """Start the requests that may be performed.

        This happens after all events of what was received, so that a request is not started if its C-CANCEL came with
        it.
        """
        while self._runnable:
            performed = self._runnable.popleft()
            if performed.operation.is_open and not performed.started:
                performed.started = True
                self.run(performed)
        if self._open and not self.channel.connection.is_reading:
            self._make_way()

    def _make_way(self) -> None:
        """Refuse requests beyond the window whose data sets have stopped our reading, while a C-GET awaits responses to
        its sub-operations.

        The responses come behind the data sets, which nobody reads before the C-GET has ended.
        """
        channel, requests = self.channel, list(self._open.values())
        if not channel.engine.router.invoked or all(each.inbox is not None for each in requests if each.started):
            return
        for performed in reversed(requests):
            if channel.throttle.is_held or not channel.throttle.waits_for_consumer:
                break
            if performed.operation.waiting and performed.inbox is not None and not performed.started:
                performed.started = True
                performed.inbox.drop()
                performed.respond_later(no_place(performed.operation.request))

    # --- responses ----------------------------------------------------------------------------------------------------

    def send(self, performed: PerformedOperation, response: Response, data: Buffer | None) -> None:
        """Give the engine a response, unless the operation or the association has ended."""
        channel, operation = self.channel, performed.operation
        if channel.ending.error is not None or not operation.is_open or not channel.engine.machine.can_send_data:
            return
        if not channel.engine.respond(operation, response, data):
            return
        del self._open[operation.message_id]
        if channel.metrics is not None:
            self._measure(performed, response.status)
        if channel.after_operation:
            channel.operation_ended()
        if self._open or channel.engine.is_stopped:  # These are requests that waited for the place.
            asyncio.get_running_loop().call_soon(channel.pump)

    def _measure(self, performed: PerformedOperation, status: int | None) -> None:
        if (metrics := self.channel.metrics) is not None:
            seconds = self.channel.clock.now() - performed.began
            service = performed.operation.request.service
            metrics.operation_ended(self.channel.measured, service, "provider", status, seconds)

    # --- the end ------------------------------------------------------------------------------------------------------

    def ended(self, error: BaseException) -> None:
        """Cancel all handlers: no more responses can be sent."""
        for performed in list(self._open.values()):
            self._end(performed, error)
        self._runnable.clear()

    def _end(self, performed: PerformedOperation, error: BaseException) -> None:
        del self._open[performed.operation.message_id]
        performed.has_ended = True
        if performed.inbox is not None:
            performed.inbox.fail(error)
        if performed.on_end is not None:
            performed.on_end()
        self._measure(performed, None)

    def end_what_a_release_ends(self, error: BaseException) -> None:
        """Cancel what the peer's request for release ends: all except C-STORE and DIMSE-N requests that have come
        completely.

        The peer has sent all that these need, and expects them to be performed.
        """
        for performed in list(self._open.values()):
            if performed.inbox is not None and performed.inbox.is_complete:
                continue
            if performed.operation.request.service in COMPOSITE:
                self._end(performed, error)
                self.channel.engine.router.abandon(performed.operation)
