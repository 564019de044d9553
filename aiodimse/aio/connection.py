"""One association on the event loop: an Engine, a Wire, a pen, and the operations of both sides.

Nothing here decides what a request means; that is the floor above, which listens as an Observer.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterable, Callable
from typing import Any, Protocol

from aiodimse.aio.clock import Clock, TimerHandle
from aiodimse.aio.exchange import Exchange
from aiodimse.aio.inbox import Inbox
from aiodimse.aio.tasks import Tasks
from aiodimse.aio.wire import Wire
from aiodimse.association import (
    AbortIndication,
    AcceptedConfirmation,
    CloseTransport,
    DropTransport,
    Negotiated,
    RejectedConfirmation,
    ReleaseConfirmation,
    ReleaseIndication,
    ReleaseTimedOut,
    RequestedIndication,
    TransportClosedIndication,
)
from aiodimse.config import Limits, Timeouts
from aiodimse.dimse import messages
from aiodimse.dimse.messages import Message, Request, Response
from aiodimse.dimse.router import (
    CancelReceived,
    DatasetReceived,
    Invoked,
    Performed,
    RequestReceived,
    RequestRefused,
    ResponseDropped,
    ResponseReceived,
    Runnable,
)
from aiodimse.engine import Buffer, Engine
from aiodimse.errors import (
    AssociationAborted,
    AssociationClosed,
    AssociationRejected,
    AssociationTimeout,
    LocalProtocolError,
)
from aiodimse.pdu import AssociateAC, AssociateRJ, AssociateRQ

_log = logging.getLogger("aiodimse.association")

Payload = Buffer | AsyncIterable[Buffer] | None
_WRITE_WHOLE = 65536
"""Data sets up to this many bytes are written in one go, without asking for room in between."""


class Incoming:
    """A request of the peer, from its admission to its final response."""

    __slots__ = ("connection", "data", "inbox", "on_cancel", "on_end", "operation", "started")

    def __init__(self, connection: Connection, operation: Performed, data: bytes | None, inbox: Inbox | None) -> None:
        self.connection = connection
        self.operation = operation
        self.data = data
        """The joined data set; None where there is none, or where it arrives in the inbox."""
        self.inbox = inbox
        self.started = False
        self.on_cancel: Callable[[], None] | None = None
        """Called on the peer's C-CANCEL."""
        self.on_end: Callable[[BaseException], None] | None = None
        """Called when the association ends or is being released before the final response."""

    async def respond(self, response: Response, data: Buffer | None = None) -> None:
        """Send a response; nothing is sent after the final one, or when the association has ended."""
        if self.inbox is not None and not self.inbox.is_complete:
            self.inbox.drop()
            await self.inbox.wait_complete()
        await self.connection.respond(self.operation, response, data)


class Observer(Protocol):
    """The floor above."""

    def association_requested(self, rq: AssociateRQ) -> None:
        """The peer wants an association: accept or reject it, soon."""

    def association_established(self, negotiated: Negotiated) -> None:
        """The association is open."""

    def request_received(self, incoming: Incoming) -> None:
        """A request may run now."""

    def association_ended(self, error: BaseException) -> None:
        """The association is over; error says how."""

    def connection_lost(self) -> None:
        """The transport connection is gone; nothing follows."""


class Connection:
    """One association and its transport connection."""

    def __init__(
        self,
        role: str,
        observer: Observer,
        *,
        limits: Limits,
        timeouts: Timeouts,
        clock: Clock,
        quick_ack: bool = True,
    ) -> None:
        self.engine = Engine(role, limits=limits, timeouts=timeouts)
        self.wire = Wire(self, clock, write_stall=timeouts.write_stall, quick_ack=quick_ack)
        self.clock, self.limits, self.timeouts = clock, limits, timeouts
        self.tasks = Tasks()
        self.error: BaseException | None = None
        """How the association ended, once it has."""
        self.established = asyncio.get_running_loop().create_future()
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the transport connection is gone."""
        self.closing = False
        """No new request is started: the association is aborted when its last operation ends."""
        self._observer = observer
        self._pen = asyncio.Lock()
        self._incoming: dict[int, Incoming] = {}
        self._exchanges: dict[int, Exchange] = {}
        self._runnable: deque[Incoming] = deque()
        self._places: deque[asyncio.Future[None]] = deque()
        self._reserved = 0
        self._answers: deque[tuple[int, Response]] = deque()
        self._unread = 0
        self._paused_until: TimerHandle | None = None
        self._timer: TimerHandle | None = None
        self._timer_at = 0.0
        self._last_heard = 0.0
        self._released: asyncio.Future[None] | None = None
        self._all_ended: asyncio.Future[None] | None = None

    def __repr__(self) -> str:
        return f"<Connection {self.engine.machine.role} {self.engine.machine.state.name}>"

    # --- the wire speaks ----------------------------------------------------------------------------------------------

    def wire_connected(self) -> None:
        """Evt2 or Evt5."""
        self._last_heard = now = self.clock.now()
        self.engine.transport_connected(now)
        self._pump()

    def wire_received(self, data: bytes) -> None:
        """Bytes climb, then everything that they caused is written in one go."""
        self._last_heard = now = self.clock.now()
        self.engine.receive_data(data, now)
        self._pump()

    def wire_stalled(self) -> None:
        """The peer takes no bytes: an A-ABORT would wait behind them."""
        self._end(AssociationTimeout("write", f"the peer took no bytes for {self.timeouts.write_stall} s"))
        self.wire.drop()

    def wire_closed(self, error: Exception | None) -> None:
        """Evt17."""
        self.engine.transport_closed(self.clock.now())
        self._pump()
        self._end(AssociationAborted(None, None, meaning=str(error) if error else ""))

    def wire_lost(self) -> None:
        """No transport any more."""
        for timer in (self._timer, self._paused_until):
            if timer is not None:
                timer.cancel()
        self._timer = self._paused_until = None
        if not self.closed.done():
            self.closed.set_result(None)
        self._observer.connection_lost()

    # --- one gate for all events --------------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Hand on every event, write what is to be written, set the timer, and only then start new requests.

        In this order a C-CANCEL in the same segment as its request finds the request not started.
        """
        next_event = self.engine.next_event
        while (event := next_event()) is not None:
            _EVENTS[type(event)](self, event)
        while self._runnable:
            incoming = self._runnable.popleft()
            if incoming.operation.is_open and self.error is None and not self.closing:
                incoming.started = True
                self._observer.request_received(incoming)
        if self._answers and not self._pen.locked():
            self._write_answers()
        self._flush()
        self._arm()

    def _flush(self) -> None:
        if buffers := self.engine.data_to_send():
            self.wire.write(buffers)
            if self.wire.backlog > self.limits.write_backlog:
                self._flow()

    def _arm(self) -> None:
        """Have _tick called at the next deadline. A timer that is early is left: it looks again."""
        deadline = self.engine.next_deadline()
        if deadline is None or (self._timer is not None and self._timer_at <= deadline):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_at = self.clock.call_at(deadline, self._tick), deadline

    def _tick(self) -> None:
        self._timer = None
        self.engine.handle_timeout(self.clock.now())
        self._pump()

    # --- events -------------------------------------------------------------------------------------------------------

    def _on_requested(self, event: RequestedIndication) -> None:
        self._observer.association_requested(event.rq)

    def _on_accepted(self, event: AcceptedConfirmation) -> None:
        self._establish()

    def _establish(self) -> None:
        negotiated = self.engine.negotiated
        assert negotiated is not None
        self._observer.association_established(negotiated)
        if not self.established.done():
            self.established.set_result(negotiated)
        if self.engine.machine.role == "acceptor" and self.timeouts.idle is not None:
            self.clock.call_at(self.clock.now() + self.timeouts.idle, self._check_idle)

    def _check_idle(self) -> None:
        idle, now = self.timeouts.idle, self.clock.now()
        if self.error is not None or idle is None:
            return
        if self._incoming or self._exchanges or self.is_paused:
            self.clock.call_at(now + idle, self._check_idle)
        elif now < self._last_heard + idle:
            self.clock.call_at(self._last_heard + idle, self._check_idle)
        else:
            _log.info("idle for %s s: aborting", idle)
            self.abort()

    def _on_rejected(self, event: RejectedConfirmation) -> None:
        rj = event.rj
        self._end(AssociationRejected(rj.result, rj.source, rj.reason, event.meaning))

    def _on_release(self, event: ReleaseIndication) -> None:
        """A-RELEASE-RQ: what runs is cancelled, and answered by A-RELEASE-RP after a message that is half sent."""
        if event.collision:  # AR-8: nothing is open any more; the acceptor answers when our own release is answered
            if self.engine.machine.role == "requestor":
                self._respond_release()
            return
        self._stop_operations(AssociationClosed("the peer released the association"))
        if self._pen.locked():
            self.tasks.spawn(self._release_after_pen(), "aiodimse release")
        else:
            self._respond_release()

    async def _release_after_pen(self) -> None:
        async with self._pen:
            self._respond_release()
            self._pump()

    def _respond_release(self) -> None:
        if self.error is None:
            self.engine.respond_release(self.clock.now())
            if self._released is None:
                self._end(AssociationClosed("the peer released the association"))

    def _on_released(self, event: ReleaseConfirmation) -> None:
        if event.response_due:
            self.engine.respond_release(self.clock.now())
        self._end(AssociationClosed("the association was released"))

    def _on_release_timed_out(self, event: ReleaseTimedOut) -> None:
        self.abort(error=AssociationTimeout("release", f"no A-RELEASE-RP within {self.timeouts.release} s"))

    def _on_aborted(self, event: AbortIndication) -> None:
        error = AssociationAborted(event.source, event.reason, by_peer=event.by_peer, meaning=event.meaning)
        if (fault := self.engine.fault) is not None and not event.by_peer:
            error.__cause__ = fault
            _log.warning("aborted the association: %s", fault)
        self._end(error)

    def _on_transport_closed(self, event: TransportClosedIndication) -> None:
        self._end(AssociationAborted(None, None))

    def _on_close(self, event: CloseTransport) -> None:
        self._flush()
        self.wire.finish()

    def _on_drop(self, event: DropTransport) -> None:
        self._flush()
        self.wire.drop()

    def _on_request(self, event: RequestReceived) -> None:
        operation = event.operation
        inbox = Inbox(self.count_unread) if type(operation.request) is messages.CStoreRQ else None
        incoming = self._incoming[operation.message_id] = Incoming(self, operation, event.data, inbox)
        if not operation.waiting:
            self._runnable.append(incoming)

    def _on_runnable(self, event: Runnable) -> None:
        self._runnable.append(self._incoming[event.operation.message_id])

    def _on_dataset(self, event: DatasetReceived) -> None:
        incoming = self._incoming.get(event.operation.message_id)
        if incoming is not None and incoming.inbox is not None and incoming.operation is event.operation:
            incoming.inbox.put(event.data, is_last=event.is_last)

    def _on_refused(self, event: RequestRefused) -> None:
        _log.info("refused: %s", event.response)
        self._answers.append((event.context_id, event.response))
        self._flow()

    def _on_cancel(self, event: CancelReceived) -> None:
        incoming = self._incoming.get(event.operation.message_id)
        if incoming is None:
            return
        if not incoming.started and incoming not in self._runnable:
            self._runnable.append(incoming)  # waiting for a place, which a refusal needs none of
        elif incoming.on_cancel is not None:
            incoming.on_cancel()

    def _on_response(self, event: ResponseReceived) -> None:
        exchange = self._exchanges.get(event.operation.message_id)
        if exchange is not None:
            exchange.put(event.response, event.data)
        if event.is_final:
            self._exchanges.pop(event.operation.message_id, None)
            self._place_free()
            self._operation_ended()

    def _on_response_dropped(self, event: ResponseDropped) -> None:
        _log.info("dropped a response that nobody awaits: %s", event.response)

    # --- flow ---------------------------------------------------------------------------------------------------------

    @property
    def is_paused(self) -> bool:
        """Reading is paused: the peer cannot be blamed for its silence."""
        return not self.wire.is_reading

    def count_unread(self, change: int) -> None:
        """Bytes of data sets have arrived (+) or have been consumed (-)."""
        self._unread += change
        self._flow()

    def _flow(self) -> None:
        """Pause and resume reading (design: section 5, back-pressure)."""
        high = 2 * self.limits.max_pdu_length
        wire = self.wire
        if wire.is_reading:
            backlog = wire.backlog + 256 * len(self._answers)
            if (self._unread > high or backlog > self.limits.write_backlog) and self.error is None:
                wire.pause_reading()
                self.engine.pause(self.clock.now())
                if self.timeouts.consumer is not None:
                    until = self.clock.now() + self.timeouts.consumer
                    self._paused_until = self.clock.call_at(until, self._consumer_too_slow)
                if backlog > self.limits.write_backlog:
                    self.tasks.spawn(self._resume_when_written(), "aiodimse backlog")
        elif self._unread <= high // 2 and wire.backlog + 256 * len(self._answers) <= self.limits.write_backlog // 2:
            wire.resume_reading()
            now = self._last_heard = self.clock.now()
            self.engine.resume(now)
            for exchange in self._exchanges.values():
                exchange.renew()
            if self._paused_until is not None:
                self._paused_until.cancel()
                self._paused_until = None
            self._arm()

    async def _resume_when_written(self) -> None:
        while self.is_paused and self.error is None:
            await self.wire.room()
            self._flow()
            if self.is_paused and self.wire.can_write:
                return

    def _consumer_too_slow(self) -> None:
        self._paused_until = None
        seconds = self.timeouts.consumer
        self.abort(error=AssociationTimeout("consumer", f"a data set was not consumed for {seconds} s"))

    # --- writing ------------------------------------------------------------------------------------------------------

    def _write_answers(self) -> None:
        while self._answers and self.engine.can_send:
            context_id, response = self._answers.popleft()
            self.engine.send(context_id, response)

    async def _hold_pen(self) -> None:
        """Take the pen and wait for room; raises what ended the association. To be released by _drop_pen."""
        await self._pen.acquire()
        try:
            if not self.wire.can_write:
                await self.wire.room()
            if self.error is not None:
                raise self.error
        except BaseException:
            self._drop_pen()
            raise

    def _drop_pen(self) -> None:
        """Put the pen down; what waited for it and is no task is written now."""
        if self._answers and self.error is None:
            self._write_answers()
            self._flush()
            self._flow()
        self._pen.release()

    async def _write(self, context_id: int, message: Message, data: Payload) -> None:
        """Write one message, holding the pen. Leaving with it half sent aborts the association."""
        engine = self.engine
        if data is None or (isinstance(data, (bytes, memoryview)) and len(data) <= _WRITE_WHOLE):
            engine.send(context_id, message, data)
            self._flush()
            return
        engine.start_message(context_id, message, has_data_set=True)
        try:
            step = engine.fragment_length * 2
            if isinstance(data, (bytes, memoryview)):
                view = memoryview(data)
                for start in range(0, len(view), step):
                    await self._write_piece(view[start : start + step])
            else:
                async for piece in data:
                    await self._write_piece(piece)
            engine.finish_message()
            self._flush()
        except BaseException as error:
            if engine.is_mid_message and self.error is None:
                _log.warning("a message could not be sent to its end (%s): aborting", type(error).__name__)
                self.abort()
            raise

    async def _write_piece(self, piece: Buffer) -> None:
        self.engine.send_piece(piece)
        self._flush()
        if not self.wire.can_write:
            await self.wire.room()
        if self.error is not None:
            raise self.error

    # --- as performer -------------------------------------------------------------------------------------------------

    async def respond(self, operation: Performed, response: Response, data: Buffer | None = None) -> None:
        """Send a response of an operation that the peer asked for; nothing where it has ended."""
        if self._pen.locked() or not self.wire.can_write:
            if self.error is not None or not operation.is_open:
                return
            await self._hold_pen()
            try:
                self._respond(operation, response, data)
            finally:
                self._drop_pen()
        else:
            self._respond(operation, response, data)

    def respond_now(self, operation: Performed, response: Response) -> bool:
        """Send a small response without waiting, if that is possible now."""
        if self._pen.locked() or not self.wire.can_write:
            return False
        self._respond(operation, response, None)
        return True

    def _respond(self, operation: Performed, response: Response, data: Buffer | None) -> None:
        if self.error is not None or not operation.is_open or not self.engine.can_send:
            return
        self.engine.respond(operation, response, data)
        self._flush()
        if not operation.is_open:
            del self._incoming[operation.message_id]
            asyncio.get_running_loop().call_soon(self._pump)  # a request that waited for this place
            self._operation_ended()

    # --- as invoker ---------------------------------------------------------------------------------------------------

    async def invoke(self, context_id: int, request: Request, data: Payload, *, timeout: float | None) -> Exchange:
        """Send a request when the window has a place for it and the pen is free.

        Raises LocalProtocolError where the calling task itself holds the operations that fill the window,
        AssociationTimeout where no place comes free in time, and what ended the association. A cancelled await leaves
        nothing behind; cancelled in the middle of the message, it aborts the association.
        """
        await self._place(timeout)
        try:
            await self._hold_pen()
        except BaseException:
            self._reserved -= 1
            self._place_free()
            raise
        try:
            self._reserved -= 1
            if not self.engine.can_send:
                raise AssociationClosed("the association is being released")
            operation = self.engine.invoke(context_id, request)
            exchange = self._exchanges[operation.message_id] = Exchange(self, operation, timeout)
            try:
                await self._write(context_id, request, data)
            except BaseException:
                exchange.leave()
                raise
            exchange.renew()
        finally:
            self._drop_pen()
        return exchange

    async def _place(self, timeout: float | None) -> None:
        if self.error is not None:
            raise self.error
        router = self.engine.router
        if not self._places and len(router.invoked) + self._reserved < router.invoked_window:
            self._reserved += 1
            return
        task = asyncio.current_task()
        if self._exchanges and all(e.owner is task and not e.is_left for e in self._exchanges.values()):
            raise LocalProtocolError(
                f"this task has {len(self._exchanges)} open operation(s) and the operations window is"
                f" {router.invoked_window}: finish or leave them first, or connect with a larger operations_window"
            )
        place: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._places.append(place)
        when = self.clock.after(timeout)
        late = f"no place in the operations window of {router.invoked_window} within {timeout} s"
        try:
            async with self.clock.deadline(when, lambda: AssociationTimeout("response", late)):
                await place
        except BaseException:
            if place.done() and not place.cancelled() and place.exception() is None:
                self._reserved -= 1
                self._place_free()
            elif place in self._places:
                self._places.remove(place)
            raise

    def _place_free(self) -> None:
        router = self.engine.router
        while self._places and len(router.invoked) + self._reserved < router.invoked_window:
            place = self._places.popleft()
            if not place.done():
                self._reserved += 1
                place.set_result(None)

    def send_cancel(self, operation: Invoked) -> None:
        """C-CANCEL-RQ, now or when the pen is free; nothing where the operation has ended or was told already."""
        if self.error is not None or not operation.is_open:
            return
        cancel = self.engine.router.cancel(operation)
        if cancel is None:
            return
        if self._pen.locked():
            self.tasks.spawn(self._send_cancel_later(operation, cancel), "aiodimse cancel")
        else:
            self.engine.send(operation.context_id, cancel)
            self._flush()

    async def _send_cancel_later(self, operation: Invoked, cancel: Message) -> None:
        async with self._pen:
            if operation.is_open and self.error is None and self.engine.can_send:
                self.engine.send(operation.context_id, cancel)
                self._flush()

    def drain(self, exchange: Exchange) -> None:
        """An operation that was left must end by itself within Timeouts.cancel_drain."""
        if self.timeouts.cancel_drain is None or self.error is not None:
            return
        seconds = self.timeouts.cancel_drain

        def too_late() -> None:
            if exchange.is_open and self.error is None:
                name = exchange.operation.request.name
                self.abort(error=AssociationTimeout("response", f"no final response to a {name} within {seconds} s"))

        self.clock.call_at(self.clock.now() + seconds, too_late)

    # --- ends ---------------------------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """The association is established and has not ended."""
        return self.error is None and self.engine.negotiated is not None

    @property
    def operations(self) -> int:
        """Open operations of both sides."""
        return len(self._incoming) + len(self._exchanges)

    @property
    def has_open_operations(self) -> bool:
        """Operations of ours are open that nobody has left."""
        return any(not exchange.is_left for exchange in self._exchanges.values())

    async def settled(self) -> None:
        """Leave the open operations of ours and wait for their final responses."""
        for exchange in list(self._exchanges.values()):
            exchange.leave()
        while self._exchanges and self.error is None:
            self._all_ended = self._all_ended or asyncio.get_running_loop().create_future()
            await asyncio.shield(self._all_ended)

    async def wait_closed(self) -> None:
        """Wait until the transport connection is gone; a cancelled wait drops it."""
        try:
            await asyncio.shield(self.closed)
        except asyncio.CancelledError:
            self.wire.drop()
            raise

    def accept(self, ac: AssociateAC) -> None:
        """Answer A-ASSOCIATE-AC."""
        self.engine.accept(ac, self.clock.now())
        self._establish()
        self._pump()

    def reject(self, rj: AssociateRJ) -> None:
        """Answer A-ASSOCIATE-RJ; the transport connection closes after it."""
        self.engine.reject(rj, self.clock.now())
        self._end(AssociationClosed(f"we rejected the association: {rj.result}/{rj.source}/{rj.reason}"))
        self._pump()

    async def release(self) -> None:
        """A-RELEASE: waits for a message that is being written, and for the peer's answer.

        Raises AssociationTimeout where the answer does not come (the association is aborted), and what else ended the
        association. A cancelled release aborts.
        """
        if self.error is not None:
            return
        try:
            async with self._pen:
                if self.error is not None:
                    return
                self._released = asyncio.get_running_loop().create_future()
                self.engine.release(self.clock.now())
                self._pump()
            await self._released
        except asyncio.CancelledError:
            self.abort()
            raise

    def abort(self, *, error: BaseException | None = None) -> None:
        """A-ABORT at once: no lock is taken, nothing is awaited. Nothing happens where the association has ended."""
        if self.error is None:
            can_abort = self.engine.machine.can_abort
            self.engine.abort(self.clock.now())
            self._end(error or AssociationAborted(0, 0, by_peer=False))
            self._pump()
            if not can_abort:  # Sta2: there is no association yet that a PDU could abort
                self.wire.drop()

    def close_when_idle(self) -> None:
        """Start no new request; abort when the last operation has ended."""
        self.closing = True
        self._operation_ended()

    def _operation_ended(self) -> None:
        if self._all_ended is not None and not self._exchanges:
            if not self._all_ended.done():
                self._all_ended.set_result(None)
            self._all_ended = None
        if self.closing and not any(incoming.started for incoming in self._incoming.values()):
            self.abort()

    def _stop_operations(self, error: BaseException) -> None:
        for exchange in list(self._exchanges.values()):
            exchange.fail(error)
        for incoming in list(self._incoming.values()):
            if incoming.inbox is not None:
                incoming.inbox.fail(error)
            if incoming.on_end is not None:
                incoming.on_end(error)

    def _end(self, error: BaseException) -> None:
        """The association is over: everybody who waits is told once."""
        if self.error is not None:
            return
        self.error = error
        for waiter in (self.established, *self._places):
            if not waiter.done():
                waiter.set_exception(error)
                waiter.exception()  # looked at: nobody has to await it
        self._places.clear()
        self._stop_operations(error)
        self._exchanges.clear()
        self._incoming.clear()
        self._answers.clear()
        self._operation_ended()
        self.wire.resume_reading()  # to hear the peer's close
        if self._released is not None and not self._released.done():
            if isinstance(error, AssociationClosed):
                self._released.set_result(None)
            else:
                self._released.set_exception(error)
                self._released.exception()
        self._observer.association_ended(error)


_EVENTS: dict[type[Any], Callable[[Connection, Any], None]] = {
    RequestedIndication: Connection._on_requested,
    AcceptedConfirmation: Connection._on_accepted,
    RejectedConfirmation: Connection._on_rejected,
    ReleaseIndication: Connection._on_release,
    ReleaseConfirmation: Connection._on_released,
    ReleaseTimedOut: Connection._on_release_timed_out,
    AbortIndication: Connection._on_aborted,
    TransportClosedIndication: Connection._on_transport_closed,
    CloseTransport: Connection._on_close,
    DropTransport: Connection._on_drop,
    RequestReceived: Connection._on_request,
    Runnable: Connection._on_runnable,
    DatasetReceived: Connection._on_dataset,
    RequestRefused: Connection._on_refused,
    CancelReceived: Connection._on_cancel,
    ResponseReceived: Connection._on_response,
    ResponseDropped: Connection._on_response_dropped,
}
