"""The landing between the sans-IO floors and the event loop: bytes in, events out; messages in, bytes out.

Nothing here waits, opens or knows the time: the caller says `now` (seconds, monotonic) and asks for the next deadline.
Receiving never raises: what is wrong with the peer's bytes is an event that the state table answers.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import replace

from aiodimse.association import (
    AcceptedConfirmation,
    Machine,
    MachineEvent,
    Negotiated,
    RequestedIndication,
    Role,
    settle,
)
from aiodimse.config import Limits, Timeouts
from aiodimse.dimse.command_set_cache import Encoder
from aiodimse.dimse.fragments import Fragmenter, Joiner, fragment_length
from aiodimse.dimse.messages import Message, Request, Response
from aiodimse.dimse.operations import Invoked, Performed, RouterEvent
from aiodimse.dimse.router import Router
from aiodimse.errors import AssociationTimeout, LocalProtocolError, RemoteProtocolError
from aiodimse.pdu import (
    AssociateAC,
    AssociateRJ,
    AssociateRQ,
    DataHeader,
    DataPiece,
    PDUReader,
    Received,
    UserInformation,
)
from aiodimse.pdu.overhead import Overhead

Buffer = bytes | memoryview
EngineEvent = MachineEvent | RouterEvent

_JOIN_BELOW = 65536
"""Buffers are joined into one write up to this many bytes; beyond it a copy costs more than a system call."""

_HALF_SENT = "another message is half sent"


class Engine:
    """One association, from the transport's bytes to DIMSE messages and back."""

    def __init__(self, role: Role, *, limits: Limits, timeouts: Timeouts, strict: bool = False) -> None:
        """strict: no row of `standard/leniency.py` holds."""
        self.machine: Machine = Machine(role, timeouts=timeouts)
        self.negotiated: Negotiated | None = None
        self.fault: RemoteProtocolError | AssociationTimeout | None = None
        """What the peer did wrong, once it has."""
        self._limits, self._timeouts, self._strict = limits, timeouts, strict
        self._overhead = Overhead(limits)
        self._reader = PDUReader(limits, strict=strict, overhead=self._overhead)
        self._router: Router | None = None
        self._events: deque[EngineEvent] = deque()
        self._joiner = Joiner(limits, None if strict else self._events)
        self._out: list[Buffer] = []
        self._encode = Encoder().encode
        self._sending: Fragmenter | None = None
        self._fragmenters: dict[int, Fragmenter] = {}  # by presentation context
        self._rq: AssociateRQ | None = None
        # A span in which the peer must come to an end, or be fast enough (Timeouts.pdu): when it is over, how many
        # bytes must have been heard by then, and how many messages had ended when it began.
        self._span_end: float | None = None
        self._span_least = 0.0
        self._span_of = 0
        self._paused_at: float | None = None
        self.deadline: float | None = None
        """When handle_timeout wants to be called, at the earliest; None: not at all."""
        self.is_stopped: bool = False
        """A request is here for which the operations window has no place: nothing is read before there is one, and the
        caller should stop reading from the transport. next_event looks again."""
        self.credit: float = math.inf
        """How many PDUs and fragments next_event may read on; the caller sets it anew for each share of its time. What
        has happened already is returned in any case."""
        self._now = 0.0  # when what is being read was received

    # --- bytes up -----------------------------------------------------------------------------------------------------

    def transport_connected(self, now: float) -> None:
        """The transport connection is open (Evt2 or Evt5)."""
        self.machine.transport_connected(now)
        self._collect()

    def receive_data(self, data: bytes, now: float) -> None:
        """Take what the transport read; next_event reads it.

        Args:
            data: Bytes that will not change: pieces of them are handed on as views.
            now: The time, in seconds of a monotonic clock.
        """
        self._now = now
        self._overhead.bytes_received += len(data)
        self._overhead.now = now
        self._reader.feed(data)

    def next_event(self) -> EngineEvent | None:
        """Read on until something has happened, and return it.

        Each PDU is read after its predecessor's events have been returned, so that the caller can answer a request
        before what came behind it is looked at. What is wrong with the peer's bytes is an event too; nothing raises.

        Returns:
            The next event, in order; None when all that was received has been read, or `credit` is used up. In the
            first case only does `deadline` know of all that was received.
        """
        events, reader, machine = self._events, self._reader, self.machine
        while not events:
            if (router := self._router) is not None and router.parked is not None and machine.data_allowed_in:
                self.is_stopped = not router.unpark()
                if self.is_stopped:
                    return None
                continue
            if self.credit <= 0:
                return None
            self.credit -= 1
            item = reader.next(whole=machine.data_allowed_in)
            if type(item) is DataPiece and machine.data_allowed_in:
                self._receive_piece(item)
            elif item is not None:
                self._receive_item(item)
            else:
                self._look_at_span()
                return None
        return events.popleft()

    def _receive_item(self, item: Received) -> None:
        machine, kind = self.machine, type(item)
        if kind is DataPiece:  # nobody wants it in this state
            return
        if isinstance(item, RemoteProtocolError):
            self.fault = item
        machine.receive(item, self._now)  # type: ignore[arg-type]
        if kind is not DataHeader:
            self._span_end = None
            self._collect()
            if kind is AssociateRQ or kind is AssociateAC:
                self._events += item.tolerated  # type: ignore[union-attr]
        elif not machine.data_allowed_in:
            self._collect()

    @property
    def buffered(self) -> int:
        """Bytes held until the PDU that they belong to is whole."""
        return self._reader.buffered

    def _receive_piece(self, piece: DataPiece) -> None:
        router = self._router
        assert router is not None
        try:
            if piece.context_id not in router.contexts:
                raise RemoteProtocolError(f"presentation context {piece.context_id} was not accepted", reason=6)
            if (arrived := self._joiner.accept(piece)) is not None:
                router.receive(arrived)
        except RemoteProtocolError as error:
            self.fault = error
            self.machine.provider_abort(error.reason, self._now)
            self._collect()

    def transport_closed(self, now: float) -> None:
        """The peer closed the transport connection, or it broke (Evt17). What has come of a PDU is let go: a cycle that
        waits for the garbage collector must not keep a mebibyte alive."""
        self._reader.discard()
        self.machine.transport_closed(now)
        self._collect()

    def _collect(self) -> None:
        machine = self.machine
        self._out += machine.take_output()
        while (event := machine.next_event()) is not None:
            if isinstance(event, RequestedIndication):
                self._rq = event.rq
            elif isinstance(event, AcceptedConfirmation):
                assert self._rq is not None
                self._settle(self._rq, event.ac)
            self._events.append(event)
        self._note_deadline()

    @property
    def rq(self) -> AssociateRQ | None:
        """The A-ASSOCIATE-RQ of this association, sent or received."""
        return self._rq

    def _settle(self, rq: AssociateRQ, ac: AssociateAC) -> None:
        negotiated = self.negotiated = settle(rq, ac, self.machine.role, strict=self._strict)
        self._router = Router(
            negotiated.contexts,
            invoked_window=negotiated.invoked_window,
            performed_window=negotiated.performed_window,
            limits=self._limits,
            events=self._events,
            strict=self._strict,
            overhead=self._overhead,
        )

    # --- association primitives ---------------------------------------------------------------------------------------

    def associate(self, rq: AssociateRQ, now: float) -> None:
        """A-ASSOCIATE request: sent when the transport is connected."""
        self._rq = rq
        self.machine.associate(rq, now)
        self._collect()

    def accept(self, ac: AssociateAC, now: float) -> None:
        """A-ASSOCIATE response, accepted."""
        assert self._rq is not None
        self.machine.accept(ac, now)
        self._settle(self._rq, ac)
        self._collect()

    def reject(self, rj: AssociateRJ, now: float) -> None:
        """A-ASSOCIATE response, rejected. Of the request the titles are kept, for the log: the peer may linger."""
        self.machine.reject(rj, now)
        assert self._rq is not None
        self._rq = replace(self._rq, contexts=(), user_information=UserInformation(), unknown_items=())
        self._collect()

    def release(self, now: float) -> None:
        """A-RELEASE request."""
        self._no_message_half_sent()
        self.machine.release(now)
        self._collect()

    def respond_release(self, now: float) -> None:
        """A-RELEASE response."""
        self._no_message_half_sent()
        self.machine.respond_release(now)
        self._collect()

    def abort(self, now: float, source: int = 0, reason: int = 0) -> None:
        """A-ABORT request, or nothing where there is nothing to abort any more."""
        if self.machine.can_abort:
            self._sending = None
            self.machine.abort(now, source, reason)
            self._collect()

    # --- messages down ------------------------------------------------------------------------------------------------

    @property
    def router(self) -> Router:
        """The open operations; LocalProtocolError before the association is established."""
        if self._router is None:
            raise LocalProtocolError("the association is not established")
        return self._router

    @property
    def can_send(self) -> bool:
        """Whether P-DATA may be sent (Sta6, or Sta8 by AR-7)."""
        return self.machine.can_send_data

    @property
    def is_ready(self) -> bool:
        """The association is established, and neither side has asked for its release (Sta6)."""
        return self.machine.is_ready

    @property
    def fragment_length(self) -> int:
        """The most data that one P-DATA-TF of ours carries; always even."""
        return fragment_length(self._send_pdu_length)

    @property
    def _send_pdu_length(self) -> int:
        assert self.negotiated is not None
        most = self._limits.max_send_pdu_length
        return min(self.negotiated.peer_max_length or most, most)

    def send(self, context_id: int, message: Message, data: Buffer | None = None) -> None:
        """Send one whole message; data is its data set."""
        self.start_message(context_id, message, has_data_set=data is not None)
        if data is not None:
            self.send_piece(data)
            self.finish_message()

    def start_message(self, context_id: int, message: Message, *, has_data_set: bool) -> None:
        """Send the command set; with a data set, its pieces follow and then finish_message."""
        if self._sending is not None:
            raise LocalProtocolError(_HALF_SENT)
        if not self.machine.can_send_data:
            raise LocalProtocolError(f"no data can be sent in {self.machine.state.name}")
        message.has_data_set = has_data_set
        fragmenter = self._fragmenters.get(context_id)
        if fragmenter is None:
            fragmenter = self._fragmenters[context_id] = Fragmenter(self._send_pdu_length, context_id)
        self._out += fragmenter.command(self._encode(message))
        if has_data_set:
            self._sending = fragmenter

    def send_piece(self, piece: Buffer) -> None:
        """Send a piece of the data set, of any length."""
        if self._sending is None:
            raise LocalProtocolError("no message with a data set is being sent")
        self._out += self._sending.feed(piece)

    def finish_message(self) -> None:
        """Send what is held back, flagged as the last fragment."""
        if self._sending is None:
            raise LocalProtocolError("no message with a data set is being sent")
        self._out += self._sending.finish()
        self._sending = None

    def forget_message(self) -> None:
        """The association has ended: what is held back of a message that was half sent is not sent any more."""
        self._sending = None
        self._fragmenters.clear()

    @property
    def is_mid_message(self) -> bool:
        """A message is half sent: only the rest of it, or A-ABORT, may follow."""
        return self._sending is not None

    def invoke(self, context_id: int, request: Request) -> Invoked:
        """Open an operation; the request is to be sent next."""
        return self.router.invoke(context_id, request)

    def respond(self, operation: Performed, response: Response, data: Buffer | None = None) -> bool:
        """Send a response; True if it was the final one, which closes the operation. Raises after that one, and where
        it cannot be encoded: then the operation is open still."""
        if operation.is_open:
            self.send(operation.context.context_id, response, data)
        assert self._router is not None
        return self._router.respond(operation, response)

    def _no_message_half_sent(self) -> None:
        if self._sending is not None:
            raise LocalProtocolError(_HALF_SENT)

    def data_to_send(self) -> Sequence[Buffer]:
        """Everything to be written, in order, small buffers joined."""
        out = self._out
        if not out:
            return out
        self._out = []
        if sum(map(len, out)) <= _JOIN_BELOW:
            return (b"".join(out),)
        joined: list[Buffer] = []
        small: list[Buffer] = []
        size = 0
        for buffer in out:
            if size + len(buffer) > _JOIN_BELOW:
                if small:
                    joined.append(b"".join(small))
                small, size = [], 0
            if len(buffer) > _JOIN_BELOW:
                joined.append(buffer)
            else:
                small.append(buffer)
                size += len(buffer)
        if small:
            joined.append(b"".join(small))
        return joined

    # --- time ---------------------------------------------------------------------------------------------------------

    def _look_at_span(self) -> None:
        """All has been read: the peer is in the middle of a PDU or a message, or it is not."""
        joiner = self._joiner
        if self._reader.in_pdu or (joiner.context_id is not None and self.machine.data_allowed_in):
            if self._span_end is None or self._span_of != joiner.ended:
                self._begin_span(self._now)
        elif self._span_end is not None:
            self._span_end = None
            self._note_deadline()

    def _begin_span(self, now: float) -> None:
        if (seconds := self._timeouts.pdu) is not None:
            self._span_end, self._span_of = now + seconds, self._joiner.ended
            self._span_least = self._overhead.bytes_received + seconds * self._limits.min_rate
            self._note_deadline()

    def pause(self, now: float) -> None:
        """We stopped reading: deadlines on the peer stand still (docs/topics/flow.md)."""
        if self._paused_at is None:
            self._paused_at = now
            self._note_deadline()

    def resume(self, now: float) -> None:
        """We read again."""
        self._now = now
        if self._paused_at is not None and self._span_end is not None:
            self._span_end += now - self._paused_at
        self._paused_at = None
        self._note_deadline()

    def _note_deadline(self) -> None:
        """The machine or the span has changed."""
        deadline = self.machine.next_deadline()
        span_end = self._span_end if self._paused_at is None else None
        if span_end is not None and (deadline is None or span_end < deadline):
            deadline = span_end
        self.deadline = deadline

    def handle_timeout(self, now: float) -> None:
        """Act on the deadlines that have passed; a stale call does nothing."""
        self._now = now
        # ARTIM first: both may have passed by now, and it began before the PDU did.
        self.machine.handle_timeout(now)
        span_end = self._span_end
        if span_end is not None and self._paused_at is None and now >= span_end:
            if self._overhead.bytes_received >= self._span_least:
                self._begin_span(now)
            else:
                self._span_end = None
                self.fault = self._too_slow()
                self.machine.provider_abort(0, now)
        self._collect()

    def _too_slow(self) -> AssociationTimeout:
        seconds, rate = self._timeouts.pdu, self._limits.min_rate
        assert seconds is not None
        came = self._overhead.bytes_received - self._span_least + seconds * rate
        where = "a PDU" if self._reader.in_pdu else "a message"
        return AssociationTimeout(
            "read", f"{came:.0f} bytes came within {seconds} s in the middle of {where}, less than {rate} a second"
        )
