"""Operations that we invoke: a place in the operations window, the request, and the responses."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

from aiodimse.aio.channel import Channel
from aiodimse.aio.invoked import InvokedOperation
from aiodimse.aio.part import Part
from aiodimse.aio.payload import Payload, ReadAhead
from aiodimse.aio.signals import Signal, fail
from aiodimse.dimse.messages import Request
from aiodimse.dimse.operations import ResponseReceived
from aiodimse.errors import AssociationClosed, AssociationError, AssociationTimeout, LocalProtocolError


class Invoker(Part):
    """The operations of ours that are open on one association."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        channel.register(self)
        self._open: dict[int, InvokedOperation] = {}
        self._waiting: deque[asyncio.Future[None]] = deque()  # The tasks that wait for a place, in order.
        self._reserved = 0  # The places that tasks were given and have not used yet.
        self._ended = Signal()  # an operation has
        self._releasing = False

    def __len__(self) -> int:
        return len(self._open)

    @property
    def has_open_operations(self) -> bool:
        """Whether an operation is open that somebody still awaits, or that the peer was not asked to end.

        Only C-FIND, C-GET and C-MOVE can be cancelled (PS3.7 9.3.2.3).
        """
        return any(not (invoked.is_left and invoked.operation.cancel_sent) for invoked in self._open.values())

    async def invoke(
        self, context_id: int, request: Request, data: Payload, *, timeout: float | None
    ) -> InvokedOperation:
        """Send a request when the window has a place for it and no other message is being written.

        Args:
            context_id: The presentation context.
            request: The request; it gets its message ID here.
            data: Its data set.
            timeout: Seconds to wait for a place in the window, and then for each response; None waits for ever.

        Returns:
            The operation, of which the responses are awaited.

        Raises:
            LocalProtocolError: The calling task itself holds the operations that fill the window, or the association
                belongs to another event loop.
            AssociationTimeout: No place came free in time.
            AssociationError: What ended the association, at once, whatever the data are waiting for. It says that the
                request was not sent.

        Cancellation: leaves nothing behind; in the middle of the message, it aborts the association.
        """
        self.channel.one_loop.check()
        try:
            return await self._invoke(context_id, request, data, timeout)
        except AssociationError as error:
            # The association keeps what ended it, and with a traceback what the frames of this call hold: the data set.
            error.__traceback__ = None
            operation = f"{request.name} {request.message_id}".removesuffix(" 0")  # 0: it got none yet
            raise error.unsent().during(operation, self.channel.peer) from error.__cause__
        finally:
            del data

    async def _invoke(
        self, context_id: int, request: Request, data: Payload, timeout: float | None
    ) -> InvokedOperation:
        channel = self.channel
        await self._place(timeout)
        invoked: InvokedOperation | None = None
        pieces: ReadAhead | None = None
        try:
            if not (data is None or isinstance(data, (bytes, memoryview))):
                data = pieces = ReadAhead(data, channel.while_open)
                await pieces.begin()
            async with channel.writer:
                if self._releasing or not channel.engine.is_ready:
                    raise _being_released()
                operation = channel.engine.invoke(context_id, request)
                self._reserved -= 1
                invoked = self._open[operation.message_id] = InvokedOperation(channel, operation, timeout)
                await channel.writer.write(context_id, request, data, channel.abort)
        except BaseException as error:
            if invoked is None:
                self._give_back()
            elif isinstance(error, LocalProtocolError) and channel.error is None:
                self._take_back(invoked)  # The request cannot be encoded, and nothing was written.
            else:
                invoked.leave()
            raise
        finally:
            if pieces is not None:
                try:
                    await pieces.aclose()
                except BaseException:
                    if invoked is not None:  # its request may have gone out whole
                        invoked.leave()
                    raise
        invoked.renew()
        if not channel.connection.is_reading:
            # Its responses come behind requests that wait, and may have to be refused.
            asyncio.get_running_loop().call_soon(channel.pump)
        return invoked

    # --- places -------------------------------------------------------------------------------------------------------

    def _has_place(self) -> bool:
        router = self.channel.engine.router
        return len(router.invoked) + self._reserved < router.invoked_window

    async def _place(self, timeout: float | None) -> None:
        """Reserve a place in the operations window. Tasks get their places in the order in which they asked."""
        if self.channel.error is not None:
            raise self.channel.error
        if self._releasing:
            raise _being_released()
        if not self._waiting and self._has_place():
            self._reserved += 1
            return
        window = self.channel.engine.router.invoked_window
        task = asyncio.current_task()
        # A place that was given and is not used yet belongs to another task, which needs nothing of this one to go on.
        if self._open and not self._reserved and all(e.owner is task and not e.is_left for e in self._open.values()):
            raise LocalProtocolError(
                f"this task has {len(self._open)} open operation(s) and the operations window is {window}:"
                " finish or leave them first, or connect with a larger operations_window"
            )
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        clock = self.channel.clock
        late = f"no place in the operations window of {window} within {timeout} s"
        try:
            async with clock.deadline(clock.after(timeout), lambda: AssociationTimeout("response", late)):
                await place
        except BaseException:
            if place in self._waiting:
                self._waiting.remove(place)
            elif not place.cancelled() and place.exception() is None:
                self._give_back()
            raise

    def _take_back(self, invoked: InvokedOperation) -> None:
        invoked.is_left = True
        self.channel.engine.router.take_back(invoked.operation)
        del self._open[invoked.operation.message_id]
        self._serve_waiting()
        self._ended.wake()

    def _give_back(self) -> None:
        self._reserved -= 1
        self._serve_waiting()

    def _serve_waiting(self) -> None:
        while self._waiting and self._has_place():
            place = self._waiting.popleft()
            if not place.done():
                self._reserved += 1
                place.set_result(None)

    # --- events -------------------------------------------------------------------------------------------------------

    def events(self) -> Mapping[type[Any], Callable[[Any], None]]:
        """Responses."""
        return {ResponseReceived: self._on_response}

    def _on_response(self, event: ResponseReceived) -> None:
        """A response to one of our operations."""
        message_id = event.operation.message_id
        invoked = self._open.get(message_id)
        if invoked is not None:
            invoked.put(event.response, event.data, event.size)
            if event.is_final:
                self._measure(invoked, event.response.status)
        if event.is_final:
            self._open.pop(message_id, None)
            self._serve_waiting()
            self._ended.wake()
            self.channel.operation_ended()

    def _measure(self, invoked: InvokedOperation, status: int | None) -> None:
        channel = self.channel
        if channel.metrics is not None:
            seconds = channel.clock.now() - invoked.began
            service = invoked.operation.request.service
            channel.metrics.operation_ended(channel.measured, service, "user", status, seconds)

    def unread(self) -> list[str]:
        """Responses that nobody reads, and operations whose responses may come behind what nobody reads."""
        return [
            f"nobody reads the responses to our {each.operation.request.name} {each.operation.message_id}"
            if each.has_unread
            else f"our {each.operation.request.name} {each.operation.message_id} waits for a response that comes later"
            for each in self._open.values()
        ]

    def resumed(self) -> None:
        """Start the deadlines anew, since the peer could not be heard for a while."""
        for invoked in self._open.values():
            invoked.renew()
            invoked.wake()

    # --- before a release ---------------------------------------------------------------------------------------------

    async def settled(self) -> None:
        """Before a release: take no new operation, leave the open ones, and wait for their final responses.

        A task that awaits an operation, or a place for one, gets AssociationClosed. Nothing happens if the association
        has ended.

        Raises:
            AssociationTimeout: They did not come within Timeouts.release, or Timeouts.cancel_drain after the leaving.
            AssociationAborted: The association was aborted or lost meanwhile.
        """
        channel = self.channel
        if channel.error is not None:
            return
        self._releasing = True
        self._fail_waiting(_being_released())
        for invoked in list(self._open.values()):
            if not invoked.is_left:
                invoked.leave()
                invoked.fail(_being_released())
        clock, seconds = channel.clock, channel.timeouts.release
        late = f"no final response to {len(self._open)} operation(s) within {seconds} s before the release"
        async with clock.deadline(clock.after(seconds), lambda: AssociationTimeout("release", late)):
            while self._open:  # the end of the association ends them all
                await self._ended.wait()
        if (error := channel.ending.error) is not None and not isinstance(error, AssociationClosed):
            raise error

    # --- the end ------------------------------------------------------------------------------------------------------

    def ended(self, error: BaseException) -> None:
        """End all operations: no more responses will come."""
        self._releasing = True
        for invoked in list(self._open.values()):
            invoked.fail(error)
            self._measure(invoked, None)
            if invoked.drain_timer is not None:
                invoked.drain_timer.cancel()
        self._open.clear()
        self._fail_waiting(error)
        self._ended.wake()

    def _fail_waiting(self, error: BaseException) -> None:
        while self._waiting:
            place = self._waiting.popleft()
            fail(place, error)


def _being_released() -> AssociationClosed:
    return AssociationClosed("the association is being released")
