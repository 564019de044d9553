"""Operations that we ask the peer for: a place in the window, the request, and an Exchange for what comes back."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from aiodimse.aio.invoked import InvokedOperation
from aiodimse.aio.payload import Payload, ReadAhead
from aiodimse.aio.signals import Signal, fail
from aiodimse.dimse.messages import Message, Request
from aiodimse.dimse.router import Invoked, ResponseReceived
from aiodimse.errors import AssociationClosed, AssociationTimeout, LocalProtocolError

if TYPE_CHECKING:
    from aiodimse.aio.endpoint import Endpoint


class Invoker:
    """Our open operations, on one association."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._open: dict[int, InvokedOperation] = {}
        self._waiting: deque[asyncio.Future[None]] = deque()  # for a place, in order
        self._reserved = 0  # places given and not used yet
        self._ended = Signal()  # an operation has
        self._releasing = False

    def __len__(self) -> int:
        return len(self._open)

    @property
    def has_open_operations(self) -> bool:
        """Operations are open that nobody has left."""
        return any(not invoked.is_left for invoked in self._open.values())

    async def invoke(
        self, context_id: int, request: Request, data: Payload, *, timeout: float | None
    ) -> InvokedOperation:
        """Send a request when the window has a place for it and the pen is free.

        Raises LocalProtocolError where the calling task itself holds the operations that fill the window,
        AssociationTimeout where no place comes free in time, and what ended the association, at once, whatever the data
        are waiting for. A cancelled await leaves nothing behind; cancelled in the middle of the message, it aborts the
        association.
        """
        endpoint = self._endpoint
        await self._place(timeout)
        invoked: InvokedOperation | None = None
        pieces: ReadAhead | None = None
        try:
            if not (data is None or isinstance(data, (bytes, memoryview))):
                data = pieces = ReadAhead(data, endpoint.while_open)
                await pieces.begin()
            async with endpoint.writer:
                if self._releasing or not endpoint.engine.is_ready:
                    raise _being_released()
                operation = endpoint.engine.invoke(context_id, request)
                self._reserved -= 1
                invoked = self._open[operation.message_id] = InvokedOperation(endpoint, operation, timeout)
                await endpoint.writer.write(context_id, request, data, endpoint.abort)
        except BaseException as error:
            if invoked is None:
                self._give_back()
            elif isinstance(error, LocalProtocolError) and endpoint.error is None:
                self._take_back(invoked)  # it cannot be encoded: nothing was written
            else:
                invoked.leave()
            raise
        finally:
            if pieces is not None:
                await pieces.aclose()
        invoked.renew()
        endpoint.throttle.look()
        return invoked

    # --- places -------------------------------------------------------------------------------------------------------

    def _has_place(self) -> bool:
        router = self._endpoint.engine.router
        return len(router.invoked) + self._reserved < router.invoked_window

    async def _place(self, timeout: float | None) -> None:
        """Reserve a place, in turn."""
        if self._endpoint.error is not None:
            raise self._endpoint.error
        if self._releasing:
            raise _being_released()
        if not self._waiting and self._has_place():
            self._reserved += 1
            return
        window = self._endpoint.engine.router.invoked_window
        task = asyncio.current_task()
        # A place that is given and not used yet is another task's, which will come to its end without us.
        if self._open and not self._reserved and all(e.owner is task and not e.is_left for e in self._open.values()):
            raise LocalProtocolError(
                f"this task has {len(self._open)} open operation(s) and the operations window is {window}:"
                " finish or leave them first, or connect with a larger operations_window"
            )
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(place)
        clock = self._endpoint.clock
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
        self._endpoint.engine.router.take_back(invoked.operation)
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

    def on_response(self, event: ResponseReceived) -> None:
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
            self._endpoint.operation_ended()

    def _measure(self, invoked: InvokedOperation, status: int | None) -> None:
        endpoint = self._endpoint
        if endpoint.metrics is not None:
            seconds = endpoint.clock.now() - invoked.began
            endpoint.metrics.operation_ended(invoked.operation.request.service, "user", status, seconds)

    def renew(self) -> None:
        """We did not listen for a while: the peer has its time anew."""
        for invoked in self._open.values():
            invoked.renew()
            invoked.wake()

    # --- cancelling and leaving ---------------------------------------------------------------------------------------

    def send_cancel(self, operation: Invoked) -> None:
        """C-CANCEL-RQ, now or when the pen is free; nothing where the operation has ended or was told already."""
        endpoint = self._endpoint
        if endpoint.error is not None or not operation.is_open or not endpoint.engine.can_send:
            return
        cancel = endpoint.engine.router.cancel(operation)
        if cancel is None:
            return
        if endpoint.writer.is_held:
            endpoint.tasks.spawn(self._send_cancel_later(operation, cancel), "aiodimse C-CANCEL")
        else:
            endpoint.engine.send(operation.context_id, cancel)
            endpoint.flush()

    async def _send_cancel_later(self, operation: Invoked, cancel: Message) -> None:
        endpoint = self._endpoint
        if endpoint.error is not None:
            return
        async with endpoint.writer:
            if operation.is_open and endpoint.engine.can_send:
                endpoint.engine.send(operation.context_id, cancel)
                endpoint.flush()

    def drain(self, invoked: InvokedOperation) -> None:
        """An operation that was left must end by itself within Timeouts.cancel_drain; past it we abort."""
        endpoint = self._endpoint
        seconds = endpoint.timeouts.cancel_drain
        if seconds is None or endpoint.error is not None:
            return

        def too_late() -> None:
            if invoked.is_open and endpoint.error is None:
                name = invoked.operation.request.name
                endpoint.abort(AssociationTimeout("response", f"no final response to a {name} within {seconds} s"))

        invoked.drain_timer = endpoint.clock.call_at(endpoint.clock.now() + seconds, too_late)

    async def settled(self) -> None:
        """Before a release: take no new operation, leave what is open, and wait for the final responses.

        Another task that awaits an operation, or a place for one, gets AssociationClosed.
        """
        self._releasing = True
        self._fail_waiting(_being_released())
        for invoked in list(self._open.values()):
            if not invoked.is_left:
                invoked.leave()
                invoked.fail(_being_released())
        while self._open and self._endpoint.error is None:
            await self._ended.wait()

    # --- the end ------------------------------------------------------------------------------------------------------

    def stop(self, error: BaseException) -> None:
        """No response will come any more: everybody who waits is told."""
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
