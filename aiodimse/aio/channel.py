"""The engine of one association on its transport connection, and what the parts of the association share.

A part (part.py) registers here, takes its own kinds of events, writes through `writer`, and is told when reading pauses
and when the association ends. Nothing here knows what a request means.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import cached_property
from typing import Any

from aiodimse.aio.back_pressure import ReadThrottle
from aiodimse.aio.clock import Clock, TimerHandle
from aiodimse.aio.end import End, WhileOpen
from aiodimse.aio.hooks import never_raising
from aiodimse.aio.log import AssociationLogger, next_name
from aiodimse.aio.one_loop import OneLoop
from aiodimse.aio.part import Part
from aiodimse.aio.settings import Settings
from aiodimse.aio.tasks import Tasks
from aiodimse.aio.transport import TransportConnection
from aiodimse.aio.turns import SLICE, turns_of
from aiodimse.aio.writer import MessageWriter
from aiodimse.association import (
    AbortIndication,
    CloseTransport,
    DropTransport,
    Role,
    TransportClosedIndication,
)
from aiodimse.config import Limits, Timeouts
from aiodimse.engine import Engine
from aiodimse.errors import AssociationAborted, AssociationTimeout
from aiodimse.metrics import DetailedMetrics, MeasuredAssociation
from aiodimse.pdu import AssociateRQ
from aiodimse.standard.leniency import Leniency, Tolerated

_log = logging.getLogger("aiodimse.association")

_LARGE_REQUEST = 32768
"""Bytes of an A-ASSOCIATE-RQ beyond which it waits for its share: 128 contexts of 57 transfer syntaxes take 3 ms."""
_NAMED = 8
"""How many operations an error names at most."""


class Channel:
    """The engine, the transport connection, the writer, the timers and the end of one association."""

    def __init__(self, role: Role, settings: Settings) -> None:
        self.settings = settings
        self.limits: Limits = settings.limits
        self.timeouts: Timeouts = settings.timeouts
        self.clock: Clock = settings.clock
        self._now = self.clock.time_function()
        self.one_loop: OneLoop = OneLoop("an association")
        """Whoever enters from outside asks it first."""
        self.name: str = next_name()
        """Its name in the log."""
        self.peer: str = ""
        """The peer in words, `PACS@192.0.2.8:104`, once the association is established."""
        self.role: Role = role
        """Our role in the association, "requestor" or "acceptor"."""
        self.metrics: DetailedMetrics | None = never_raising(settings.metrics, self.logger(_log))
        self.engine: Engine = Engine(role, limits=self.limits, timeouts=self.timeouts, strict=settings.strict)
        self.ending: End = End()
        self.connection: TransportConnection = TransportConnection(
            self,
            self.clock,
            write_stall=self.timeouts.write_stall,
            min_rate=self.limits.min_rate,
            quick_ack=settings.environment.quick_ack,
        )
        self.connection.tap(settings.trace, role, self.logger(_log))
        self.throttle: ReadThrottle = ReadThrottle(
            self, self.connection, self.clock, limits=self.limits, timeouts=self.timeouts
        )
        self._turns = turns_of(asyncio.get_running_loop())
        self._is_in_line = False  # for another share of the event loop, with bytes that are not read
        self.writer: MessageWriter = MessageWriter(
            self.engine, self.connection, self.throttle, self.ending, self._turns, self.logger
        )
        self.tasks: Tasks = Tasks(self.logger)
        self.on_buffered: Callable[[int], None] | None = None
        """Called after each read with the number of bytes that wait for the rest of their PDU."""
        self.last_heard: float = 0.0
        """The last time at which bytes came, or reading was resumed."""
        self.after_operation: list[Callable[[], None]] = []
        """Called by `operation_ended`, when an operation of either side has had its final response."""
        self._parts: list[Part] = []
        self._after_events: list[Callable[[], None]] = []
        self._takes: dict[type[Any], Callable[[Any], None]] = {
            AbortIndication: self._on_aborted,
            TransportClosedIndication: self._on_transport_closed,
            CloseTransport: self._on_close,
            DropTransport: self._on_drop,
            Tolerated: self._on_tolerated,
        }
        self._tolerated: tuple[Leniency, ...] = ()
        self._timer: TimerHandle | None = None
        self._timer_at = 0.0

    def register(self, part: Part, *, after_events: Callable[[], None] | None = None) -> None:
        """Register a part, which then takes its events and is told what happens. Parts are told in the order of
        registration.

        Args:
            part: The part.
            after_events: Called when everything that was received has been handed on.
        """
        self._parts.append(part)
        self._takes.update(part.events())
        if after_events is not None:
            self._after_events.append(after_events)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name} {self.role} {self.engine.machine.state.name}>"

    # --- what is known of it ------------------------------------------------------------------------------------------

    @property
    def error(self) -> BaseException | None:
        """How the association ended, once it has."""
        return self.ending.error

    @property
    def is_open(self) -> bool:
        """Whether the association is established and has not ended."""
        return self.ending.error is None and self.engine.negotiated is not None

    @property
    def is_paused(self) -> bool:
        """Whether reading is paused, so that the silence of the peer is not its fault."""
        return not self.connection.is_reading

    @property
    def parent(self) -> str | None:
        """The name of the association on whose behalf this one was opened; None for others."""
        return self.settings.parent

    @property
    def peer_address(self) -> tuple[str, int] | None:
        """The IP address and port of the peer; None if the transport has none."""
        return self.connection.peer_address

    @property
    def peer_certificate(self) -> Any:
        """The certificate of the peer, as ssl.SSLSocket.getpeercert() gives it; None without TLS."""
        transport = self.connection.transport
        return None if transport is None else transport.get_extra_info("peercert")

    @property
    def rq(self) -> AssociateRQ | None:
        """The A-ASSOCIATE-RQ, sent or received."""
        return self.engine.rq

    @cached_property
    def measured(self) -> MeasuredAssociation:
        """The association as metrics are told of it. They are told nothing before it is established or has failed, and
        then it changes no more."""
        rq = self.rq
        calling, called = ("", "") if rq is None else (rq.calling_ae_title, rq.called_ae_title)
        return MeasuredAssociation(self.role, calling, called, self.peer_address)

    def logger(self, logger: logging.Logger, message_id: int | None = None) -> AssociationLogger:
        """Return a logger whose lines are about this association.

        Args:
            logger: The logger that the lines go to.
            message_id: The Message ID of the request that they are about.
        """
        return AssociationLogger(logger, self, message_id)

    def tolerate(self, leniency: Leniency, detail: str = "") -> None:
        """Log that a leniency was used, at level WARNING, once for each row and association.

        The caller has checked that `settings.strict` is off.

        Args:
            leniency: The row.
            detail: What it was about, escaped and without patient data.
        """
        if leniency not in self._tolerated:
            self._tolerated += (leniency,)
            self.logger(_log).warning("tolerated %s: %s", leniency.key, Tolerated(leniency, detail))

    def while_open(self) -> WhileOpen:
        """Make a context manager that ends what is awaited inside it when the association ends. See End.while_open."""
        return self.ending.while_open()

    # --- the transport connection speaks ------------------------------------------------------------------------------

    def transport_connected(self) -> None:
        """Take note that the transport connection is open (Evt2 or Evt5)."""
        for part in self._parts:
            part.connected()
        self.last_heard = now = self._now()
        self.engine.transport_connected(now)
        self.pump()

    def transport_received(self, data: bytes) -> None:
        """Hand on the events of received bytes, then write at once everything that they caused."""
        self.last_heard = now = self._now()
        self.engine.receive_data(data, now)
        if self.on_buffered is not None and self.engine.buffered > _LARGE_REQUEST and not self._is_in_line:
            self._stand_in_line()
        self.pump()
        if self.on_buffered is not None:
            self.on_buffered(self.engine.buffered)

    def transport_stalled(self) -> None:
        """End the association because the peer takes too few bytes. An A-ABORT would only wait behind the others."""
        seconds, rate = self.timeouts.write_stall, self.limits.min_rate
        self.end(AssociationTimeout("write", f"for {seconds} s the peer took less than {rate} bytes a second"))
        self.connection.drop()

    def transport_closed(self) -> None:
        """Take note that the peer closed the transport connection (Evt17)."""
        self.engine.transport_closed(self._now())
        self.pump()
        self._lost()

    def transport_lost(self) -> None:
        """Take note that there is no transport any more."""
        if self._timer is not None:
            self._timer.cancel()
        self.throttle.stop_timer()
        for part in self._parts:
            part.disconnected()

    # --- one gate for all events --------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Hand on every event, start the requests that may run, write what is to be written, and set the timer.

        What takes longer than our share of the event loop's turn is read later (turns.py).
        """
        engine, takes, writer = self.engine, self._takes, self.writer
        outermost, writer.is_gathering = not writer.is_gathering, True
        engine.credit = 0 if self._is_in_line else SLICE
        try:
            while (event := engine.next_event()) is not None:
                takes[type(event)](event)
            if engine.credit <= 0 and not self._is_in_line:
                self._read_on()
            # Before the callbacks, which look at why reading is paused.
            if (held := engine.is_stopped or self._is_in_line) is not self.throttle.is_held:
                self.throttle.hold(held)
            if self.ending.error is None:
                for callback in self._after_events:
                    callback()
        finally:
            writer.is_gathering = not outermost
        writer.flush()
        if engine.deadline is not None:
            self._arm()

    def _read_on(self) -> None:
        """More has come than is read without a look at the clock: read on until our share is used up.

        What comes after the end of the association is only dropped, and gets no more than a slice of each turn.
        """
        engine, takes, now = self.engine, self._takes, self._turns.now
        end = self._turns.end_of_share()
        while self.ending.error is None and now() < end:
            engine.credit = SLICE
            while (event := engine.next_event()) is not None:
                takes[type(event)](event)
            if engine.credit > 0 or self._is_in_line:  # all is read, or must not be read yet
                return
        self._stand_in_line()

    def _stand_in_line(self) -> None:
        """Read nothing more before our next share of the event loop."""
        self._is_in_line = True
        self._turns.wait(self._next_share)

    def _next_share(self) -> None:
        self._is_in_line = False
        self.pump()
        if self.on_buffered is not None:
            self.on_buffered(self.engine.buffered)
        if self.error is not None and not self._is_in_line:
            self.connection.resume_reading()  # to hear the peer's close

    def _arm(self) -> None:
        """Set a timer for the next deadline. If a timer fires before the deadline, _tick only sets it again."""
        deadline = self.engine.deadline
        if deadline is None or (self._timer is not None and self._timer_at <= deadline):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_at = self.clock.call_at(deadline, self._tick), deadline

    def _tick(self) -> None:
        self._timer = None
        self.engine.handle_timeout(self._now())
        self.pump()

    def _on_tolerated(self, event: Tolerated) -> None:
        self.tolerate(event.leniency, event.detail)

    # --- reading pauses -----------------------------------------------------------------------------------------------

    def reading_paused(self) -> None:
        """Take note that the throttle has stopped the transport from reading."""
        self.engine.pause(self._now())
        for part in self._parts:
            part.paused()

    def reading_resumed(self) -> None:
        """Take note that the transport reads again."""
        now = self.last_heard = self._now()
        self.engine.resume(now)
        for part in self._parts:
            part.resumed()
        self._arm()

    def consumer_too_slow(self) -> None:
        """End the association because reading was paused for too long."""
        seconds = self.timeouts.consumer
        words = f"reading is paused, and for {seconds} s nobody consumed any data"
        if unread := [each for part in self._parts for each in part.unread()]:
            words += f": {', '.join(unread[:_NAMED])}"
        self.abort(AssociationTimeout("consumer", words))

    # --- the association ends -----------------------------------------------------------------------------------------

    def operation_ended(self) -> None:
        """Take note that an operation of either side has had its final response."""
        for callback in tuple(self.after_operation):
            callback()

    def abort(self, error: BaseException | None = None) -> None:
        """Abort the association (A-ABORT) without waiting for anything. Nothing happens if it has ended.

        Args:
            error: How the association ended, for all who wait. None: AssociationAborted.

        Raises:
            LocalProtocolError: The association belongs to another event loop.
        """
        self.one_loop.check()
        if self.error is None:
            can_abort = self.engine.machine.can_abort
            self.engine.abort(self._now())
            self.end(error or AssociationAborted(0, 0, by_peer=False))
            self.pump()
            if not can_abort:  # In Sta2 there is no association yet that a PDU could abort.
                self.connection.drop()

    def end(self, error: BaseException) -> None:
        """End the association, and tell everybody who waits for something of it. Only the first call does anything."""
        if self.error is not None:
            return
        self.ending.come(error)
        for part in self._parts:
            part.ended(error)
        self.writer.forget()
        self.throttle.stop_timer()
        self.connection.resume_reading()  # We go on reading to notice when the peer closes the connection.

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
            # AA-1 in Sta2: there is no association yet whose abort could be indicated.
            self.logger(_log).warning("the peer does not ask for an association: %s", self.engine.fault)
        self.writer.write_out()
        self.connection.finish()
        if self._is_in_line:  # what is here already is dropped before more is read
            self.connection.pause_reading()

    def _on_drop(self, event: DropTransport) -> None:
        self.writer.write_out()
        self.connection.drop()
