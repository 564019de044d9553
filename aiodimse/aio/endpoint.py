"""One association on the event loop: an engine, its transport connection, and the operations of both sides.

Nothing here decides what a request means; that is the floor above, which listens as an Observer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from aiodimse.aio.back_pressure import ReadThrottle
from aiodimse.aio.clock import TimerHandle
from aiodimse.aio.end import End, WhileOpen
from aiodimse.aio.hooks import AssociationMetrics, never_raising
from aiodimse.aio.invoker import Invoker
from aiodimse.aio.log import AssociationLogger, next_name
from aiodimse.aio.observer import Observer
from aiodimse.aio.performer import Performer
from aiodimse.aio.release import Release
from aiodimse.aio.settings import Settings
from aiodimse.aio.signals import fail
from aiodimse.aio.tasks import Tasks
from aiodimse.aio.transport import TransportConnection
from aiodimse.aio.writer import MessageWriter
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
    Role,
    TransportClosedIndication,
)
from aiodimse.dimse.router import (
    CancelReceived,
    DatasetReceived,
    RequestReceived,
    RequestRefused,
    ResponseReceived,
    Runnable,
)
from aiodimse.engine import Engine
from aiodimse.errors import AssociationAborted, AssociationClosed, AssociationRejected, AssociationTimeout
from aiodimse.pdu import AssociateAC, AssociateRJ, AssociateRQ
from aiodimse.standard.leniency import Leniency, Tolerated

_log = logging.getLogger("aiodimse.association")


class Endpoint:
    """One association and its transport connection."""

    def __init__(self, role: Role, observer: Observer, settings: Settings) -> None:
        self.settings = settings
        self.name = next_name()
        """For the log."""
        limits, timeouts, clock = settings.limits, settings.timeouts, settings.clock
        self.limits, self.timeouts, self.clock = limits, timeouts, clock
        self.metrics = never_raising(settings.metrics, self.logger(_log))
        self.engine = Engine(role, limits=limits, timeouts=timeouts, strict=settings.strict)
        self.ending = End()
        self.connection = TransportConnection(
            self, clock, write_stall=timeouts.write_stall, min_rate=limits.min_rate, quick_ack=settings.quick_ack
        )
        self.connection.tap(settings.trace, role, self.logger(_log))
        self.writer = MessageWriter(self.engine, self.connection, end=self.ending, logger=self.logger)
        self.throttle = ReadThrottle(
            self.connection,
            self.writer,
            clock,
            limits=limits,
            timeouts=timeouts,
            on_pause=self._paused,
            on_resume=self._resumed,
            too_slow=self._consumer_too_slow,
        )
        self.invoker = Invoker(self)
        self.performer = Performer(self)
        self._release = Release(self)
        self.tasks = Tasks(self.logger)
        self.on_buffered: Callable[[int], None] | None = None
        """Called after each read with how many bytes wait for the rest of a PDU."""
        loop = asyncio.get_running_loop()
        self.established: asyncio.Future[Negotiated] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        """Done when the transport connection is gone."""
        self._observer = observer
        self._tolerated: tuple[Leniency, ...] = ()
        self._pumping = False
        self._association_metrics = AssociationMetrics(self.metrics, role, clock)
        self._timer: TimerHandle | None = None
        self._timer_at = 0.0
        self._idle_timer: TimerHandle | None = None
        self._last_heard = 0.0

    def __repr__(self) -> str:
        return f"<Endpoint {self.name} {self.engine.machine.role} {self.engine.machine.state.name}>"

    @property
    def role(self) -> Role:
        """Requestor or acceptor of the association."""
        return self.engine.machine.role

    @property
    def parent(self) -> str | None:
        """The name of the association on whose behalf this one was opened; None for others."""
        return self.settings.parent

    @property
    def peer_address(self) -> tuple[str, int] | None:
        """IP address and port of the peer; None where the transport has none."""
        return self.connection.peer_address

    @property
    def peer_certificate(self) -> Any:
        """The certificate that the peer has shown, as ssl.SSLSocket.getpeercert() gives it; None without TLS."""
        transport = self.connection.transport
        return None if transport is None else transport.get_extra_info("peercert")

    @property
    def rq(self) -> AssociateRQ | None:
        """The A-ASSOCIATE-RQ, sent or received."""
        return self.engine.rq

    def logger(self, logger: logging.Logger, message_id: int | None = None) -> AssociationLogger:
        """This logger, for lines about this association; message_id: of the request that they are about."""
        return AssociationLogger(logger, self, message_id)

    def tolerate(self, leniency: Leniency, detail: str = "") -> None:
        """Log that a leniency was used, as a WARNING, once for each row and association.

        Whoever decides asks `settings.strict` before.

        Args:
            leniency: The row.
            detail: What it was about: escaped, and without patient data.
        """
        if leniency not in self._tolerated:
            self._tolerated += (leniency,)
            self.logger(_log).warning("tolerated %s: %s", leniency.key, Tolerated(leniency, detail))

    # --- the wire speaks ----------------------------------------------------------------------------------------------

    def transport_connected(self) -> None:
        """Evt2 or Evt5."""
        self._observer.connection_made()
        self._last_heard = now = self.clock.now()
        self.engine.transport_connected(now)
        self.pump()

    def transport_received(self, data: bytes) -> None:
        """Bytes climb, then everything that they caused is written in one go."""
        self._last_heard = now = self.clock.now()
        self.engine.receive_data(data, now)
        self.pump()
        if self.on_buffered is not None:
            self.on_buffered(self.engine.buffered)

    def transport_stalled(self) -> None:
        """The peer takes too few bytes: an A-ABORT would wait behind them."""
        seconds, rate = self.timeouts.write_stall, self.limits.min_rate
        self.end(AssociationTimeout("write", f"for {seconds} s the peer took less than {rate} bytes a second"))
        self.connection.drop()

    def transport_closed(self) -> None:
        """Evt17."""
        self.engine.transport_closed(self.clock.now())
        self.pump()
        self._lost()

    def transport_lost(self) -> None:
        """No transport any more."""
        for timer in (self._timer, self._idle_timer):
            if timer is not None:
                timer.cancel()
        self.throttle.stop_timer()
        if not self.closed.done():
            self.closed.set_result(None)
        self._observer.connection_lost()

    # --- one gate for all events --------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Hand on every event, start the requests that may run, write what is to be written, and set the timer."""
        next_event = self.engine.next_event
        outermost, self._pumping = not self._pumping, True
        try:
            while (event := next_event()) is not None:
                _EVENTS[type(event)](self, event)
            if self.error is None:
                self.writer.write_answers()
                self.performer.start(self._observer.request_received)
        finally:
            self._pumping = not outermost
        self.flush()
        if self.engine.next_deadline() is not None:
            self._arm()

    def flush(self) -> None:
        """Write what the engine has to send; while events are handed on, all that they cause goes in one write."""
        if self._pumping:
            return
        self.writer.flush()
        if not (self.connection.can_write and self.connection.is_reading):
            self.throttle.look()

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
        self.pump()

    # --- the association begins ---------------------------------------------------------------------------------------

    def _on_requested(self, event: RequestedIndication) -> None:
        self._observer.association_requested(event.rq)

    def _on_accepted(self, event: AcceptedConfirmation) -> None:
        self._establish()

    def _establish(self) -> None:
        negotiated = self.engine.negotiated
        assert negotiated is not None
        self._observer.association_established(negotiated)
        self._association_metrics.opened(negotiated)
        if not self.established.done():
            self.established.set_result(negotiated)
        if self.engine.machine.role == "acceptor" and self.timeouts.idle is not None:
            self._idle_timer = self.clock.call_at(self.clock.now() + self.timeouts.idle, self._check_idle)

    def _check_idle(self) -> None:
        idle, now = self.timeouts.idle, self.clock.now()
        if self.error is not None or idle is None:
            return
        if self.is_paused or self.performer or self.invoker:  # in the middle of a message, Timeouts.pdu counts
            again = now + idle
        elif now < self._last_heard + idle:
            again = self._last_heard + idle
        else:
            self.abort(AssociationTimeout("idle", f"nothing came for {idle} s, and no operation was open"))
            return
        self._idle_timer = self.clock.call_at(again, self._check_idle)

    def _on_rejected(self, event: RejectedConfirmation) -> None:
        rj = event.rj
        self.end(AssociationRejected(rj.result, rj.source, rj.reason, event.meaning))

    # --- flow ---------------------------------------------------------------------------------------------------------

    @property
    def is_paused(self) -> bool:
        """Reading is paused: the peer cannot be blamed for its silence."""
        return not self.connection.is_reading

    def _paused(self) -> None:
        self.engine.pause(self.clock.now())
        self.performer.let_go()

    def _resumed(self) -> None:
        now = self._last_heard = self.clock.now()
        self.engine.resume(now)
        self.invoker.renew()
        self._arm()

    def _consumer_too_slow(self) -> None:
        seconds = self.timeouts.consumer
        self.abort(AssociationTimeout("consumer", f"reading is paused, and for {seconds} s nobody consumed any data"))

    # --- the association ends -----------------------------------------------------------------------------------------

    def _on_aborted(self, event: AbortIndication) -> None:
        error: BaseException
        error = AssociationAborted(event.source, event.reason, by_peer=event.by_peer, meaning=event.meaning)
        if (fault := self.engine.fault) is not None and not event.by_peer:
            self.logger(_log).warning("aborted the association %s/%s: %s", event.source, event.reason, fault)
            if isinstance(fault, AssociationTimeout):
                error = fault
            else:
                error.__cause__ = fault
        self.end(error)

    def _on_transport_closed(self, event: TransportClosedIndication) -> None:
        self._lost()

    def _lost(self) -> None:
        cause = self.connection.error
        lost = AssociationAborted(None, None, meaning=str(cause or ""))
        lost.__cause__ = cause
        self.end(lost)

    def _on_close(self, event: CloseTransport) -> None:
        if self.error is None and self.engine.fault is not None and self.engine.negotiated is None:
            # AA-1 in Sta2: there is no association yet whose abort could be indicated
            self.logger(_log).warning("the peer does not ask for an association: %s", self.engine.fault)
        self.writer.flush()
        self.connection.finish()

    def _on_drop(self, event: DropTransport) -> None:
        self.writer.flush()
        self.connection.drop()

    @property
    def error(self) -> BaseException | None:
        """How the association ended, once it has."""
        return self.ending.error

    def while_open(self) -> WhileOpen:
        """`with endpoint.while_open():` ends what is awaited inside where the association ends; see End.while_open."""
        return self.ending.while_open()

    @property
    def is_open(self) -> bool:
        """The association is established and has not ended."""
        return self.error is None and self.engine.negotiated is not None

    def accept(self, ac: AssociateAC) -> None:
        """Answer A-ASSOCIATE-AC."""
        self.engine.accept(ac, self.clock.now())
        self._establish()
        self.pump()

    def reject(self, rj: AssociateRJ) -> None:
        """Answer A-ASSOCIATE-RJ; the transport connection closes after it."""
        self.engine.reject(rj, self.clock.now())
        self.end(AssociationClosed(f"we rejected the association: {rj.result}/{rj.source}/{rj.reason}"))
        self.pump()

    async def release(self) -> None:
        """A-RELEASE: waits for a message that is being written, and for the peer's answer.

        Raises AssociationTimeout where the answer does not come (the association is aborted), and what else ended the
        association. A cancelled release aborts. Nothing happens where the association has ended.
        """
        await self._release.ask()

    def abort(self, error: BaseException | None = None) -> None:
        """A-ABORT at once: no lock is taken, nothing is awaited. Nothing happens where the association has ended."""
        if self.error is None:
            can_abort = self.engine.machine.can_abort
            self.engine.abort(self.clock.now())
            self.end(error or AssociationAborted(0, 0, by_peer=False))
            self.pump()
            if not can_abort:  # Sta2: there is no association yet that a PDU could abort
                self.connection.drop()

    async def wait_closed(self) -> None:
        """Wait until the transport connection is gone; a cancelled wait changes nothing."""
        await asyncio.shield(self.closed)

    async def close(self) -> None:
        """The same behind the end of the association, where ARTIM bounds it; a cancelled wait drops the transport."""
        try:
            await self.wait_closed()
        except asyncio.CancelledError:
            self.connection.drop()
            raise

    def close_when_idle(self) -> None:
        """Start no new request; abort when the last one that runs has ended."""
        self.performer.closing = True
        self.operation_ended()

    def operation_ended(self) -> None:
        """An operation has had its final response."""
        if self.performer.closing and not (self.performer.is_running or self.invoker.has_open_operations):
            self.abort()

    def end(self, error: BaseException) -> None:
        """The association is over: everybody who waits is told once."""
        if self.error is not None:
            return
        self.ending.come(error)
        if not self.established.done():
            fail(self.established, error)
        self.invoker.stop(error)
        self.performer.stop(error)
        self._association_metrics.ended(error)
        self.writer.forget()
        self.throttle.stop_timer()
        self.connection.resume_reading()  # to hear the peer's close
        self._release.ended(error)
        self._observer.association_ended(error)


_EVENTS: dict[type[Any], Callable[[Endpoint, Any], None]] = {
    RequestedIndication: Endpoint._on_requested,
    AcceptedConfirmation: Endpoint._on_accepted,
    RejectedConfirmation: Endpoint._on_rejected,
    ReleaseIndication: lambda endpoint, event: endpoint._release.on_asked(event),
    ReleaseConfirmation: lambda endpoint, event: endpoint._release.on_answered(event),
    ReleaseTimedOut: lambda endpoint, event: endpoint._release.on_timed_out(event),
    AbortIndication: Endpoint._on_aborted,
    TransportClosedIndication: Endpoint._on_transport_closed,
    CloseTransport: Endpoint._on_close,
    DropTransport: Endpoint._on_drop,
    RequestReceived: lambda endpoint, event: endpoint.performer.on_request(event),
    Runnable: lambda endpoint, event: endpoint.performer.on_runnable(event),
    DatasetReceived: lambda endpoint, event: endpoint.performer.on_dataset(event),
    RequestRefused: lambda endpoint, event: endpoint.performer.on_refused(event),
    CancelReceived: lambda endpoint, event: endpoint.performer.on_cancel(event),
    ResponseReceived: lambda endpoint, event: endpoint.invoker.on_response(event),
    Tolerated: lambda endpoint, event: endpoint.tolerate(event.leniency, event.detail),
}
