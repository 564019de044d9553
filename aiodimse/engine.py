"""Joins the floors without I/O to the event loop: bytes in, events out; messages in, bytes out.

Nothing here waits, opens a connection or knows the time: the caller passes `now` (seconds, monotonic) and asks for the
next deadline. Receiving never raises: a fault in the peer's bytes is an event that the state table answers.
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
from aiodimse.dimse.fragments import Buffer, Fragmenter, Joiner, fragment_length
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

EngineEvent = MachineEvent | RouterEvent

_JOIN_BELOW = 65536
"""Buffers are joined into one write up to this many bytes. Beyond it copying costs more than another system call."""

_HALF_SENT = "another message is half sent"


class Engine:
    """One association, from the bytes of the transport to DIMSE messages and back."""

    def __init__(self, role: Role, *, limits: Limits, timeouts: Timeouts, strict: bool = False) -> None:
        """strict: whether to use none of the leniencies of `standard/leniency.py`."""
        self.machine: Machine = Machine(role, timeouts=timeouts)
        self.negotiated: Negotiated | None = None
        self.fault: RemoteProtocolError | AssociationTimeout | None = None
        """The fault of the peer, once there is one."""
        self._limits, self._timeouts, self._strict = limits, timeouts, strict
        self._overhead = Overhead(limits)
        self._reader = PDUReader(limits, strict=strict, overhead=self._overhead)
        self._router: Router | None = None
        self._events: deque[EngineEvent] = deque()
        self._joiner = Joiner(limits, None if strict else self._events)
        self._out: list[Buffer] = []
        self._encode = Encoder().encode
        self._sending: Fragmenter | None = None
        self._fragmenters: dict[int, Fragmenter] = {}  # The key is the ID of the presentation context.
        self._rq: AssociateRQ | None = None
        # A span of time in which the peer must complete its PDU or message, or send fast enough (Timeouts.pdu): when
        # the span ends, how many bytes must have come by then, and how many messages had ended when it began.
        self._span_end: float | None = None
        self._span_least = 0.0
        self._span_of = 0
        self._paused_at: float | None = None
        self.deadline: float | None = None
        """The earliest time at which handle_timeout should be called; None: it need not be called."""
        self.is_stopped: bool = False
        """Whether a request has come for which the operations window has no place. Nothing is read until it has one,
        and the caller should stop reading from the transport. next_event checks it again."""
        self.credit: float = math.inf
        """How many PDUs and fragments next_event may still decode. The caller sets it anew for each share of its time.
        Events that have been found already are returned in any case."""
        self._now = 0.0  # The time at which the bytes came that are being read.

    # --- bytes up -----------------------------------------------------------------------------------------------------

    def transport_connected(self, now: float) -> None:
        """Take note that the transport connection is open (Evt2 or Evt5)."""
        self.machine.transport_connected(now)
        self._collect()

    def receive_data(self, data: bytes, now: float) -> None:
        """Take bytes that were received. next_event decodes them.

        Args:
            data: The bytes. They must not change any more, since pieces of them are handed on as views.
            now: The time, in seconds of a monotonic clock.
        """
        self._now = now
        self._overhead.bytes_received += len(data)
        self._overhead.now = now
        self._reader.feed(data)

    def next_event(self) -> EngineEvent | None:
        """Decode what was received until an event comes of it, and return the event.

        A PDU is decoded only after all events of the previous one have been returned. So the caller can answer a
        request before the PDUs behind it are looked at. A fault in the peer's bytes is an event too; nothing is raised.

        Returns:
            The next event, in order; None when all that was received has been decoded, or `credit` is used up. Only in
            the first case does `deadline` take account of all that was received.
        """
        events, machine = self._events, self.machine
        while not events:
            if (router := self._router) is not None and router.parked is not None and machine.data_allowed_in:
                self.is_stopped = not router.unpark()
                if self.is_stopped:
                    return None
                continue
            if self.credit <= 0:
                return None
            self.credit -= 1
            takes_data = machine.data_allowed_in
            item = self._reader.next(whole=takes_data)
            if item is None:
                self._look_at_span()
                return None
            if takes_data and type(item) is DataPiece:
                self._receive_piece(item)
            else:
                self._receive_item(item)
        return events.popleft()

    def _receive_item(self, item: Received) -> None:
        machine, kind = self.machine, type(item)
        if kind is DataPiece:  # In this state data are ignored.
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
        """The number of bytes held until their PDU is complete."""
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
        """Take note that the peer closed the transport connection, or that it was lost (Evt17).

        The bytes of an incomplete PDU are forgotten: an engine that waits for the garbage collector must not keep a
        mebibyte.
        """
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
        """Request an association. The A-ASSOCIATE-RQ is sent when the transport is connected."""
        self._rq = rq
        self.machine.associate(rq, now)
        self._collect()

    def accept(self, ac: AssociateAC, now: float) -> None:
        """Accept the association (A-ASSOCIATE response)."""
        assert self._rq is not None
        self.machine.accept(ac, now)
        self._settle(self._rq, ac)
        self._collect()

    def reject(self, rj: AssociateRJ, now: float) -> None:
        """Reject the association (A-ASSOCIATE response). Of the request only the titles are kept, for the log, since
        the peer may take long to close the connection."""
        self.machine.reject(rj, now)
        assert self._rq is not None
        self._rq = replace(self._rq, contexts=(), user_information=UserInformation(), unknown_items=())
        self._collect()

    def release(self, now: float) -> None:
        """Request the release (A-RELEASE request)."""
        self._no_message_half_sent()
        self.machine.release(now)
        self._collect()

    def respond_release(self, now: float) -> None:
        """Answer the peer's request for release (A-RELEASE response)."""
        self._no_message_half_sent()
        self.machine.respond_release(now)
        self._collect()

    def abort(self, now: float, source: int = 0, reason: int = 0) -> None:
        """Abort the association (A-ABORT request). Do nothing if there is none any more."""
        if self.machine.can_abort:
            self._sending = None
            self.machine.abort(now, source, reason)
            self._collect()

    # --- messages down ------------------------------------------------------------------------------------------------

    @property
    def router(self) -> Router:
        """The open operations.

        Raises:
            LocalProtocolError: The association is not established yet.
        """
        if self._router is None:
            raise LocalProtocolError("the association is not established")
        return self._router

    @property
    def can_send(self) -> bool:
        """Whether P-DATA may be sent (Sta6, or Sta8 by AR-7)."""
        return self.machine.can_send_data

    @property
    def is_ready(self) -> bool:
        """Whether the association is established, and neither side has asked for its release (Sta6)."""
        return self.machine.is_ready

    @property
    def fragment_length(self) -> int:
        """The most data that one P-DATA-TF of ours carries, in bytes; always even."""
        return fragment_length(self._send_pdu_length)

    @property
    def _send_pdu_length(self) -> int:
        assert self.negotiated is not None
        most = self._limits.max_send_pdu_length
        return min(self.negotiated.peer_max_length or most, most)

    def send(self, context_id: int, message: Message, data: Buffer | None = None) -> None:
        """Send one whole message. `data` is its data set."""
        self.start_message(context_id, message, has_data_set=data is not None)
        if data is not None:
            self.send_piece(data)
            self.finish_message()

    def start_message(self, context_id: int, message: Message, *, has_data_set: bool) -> None:
        """Send the command set of a message. If it has a data set, send_piece and then finish_message follow."""
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
        """Send the last fragment, with what was held back for it."""
        if self._sending is None:
            raise LocalProtocolError("no message with a data set is being sent")
        self._out += self._sending.finish()
        self._sending = None

    def forget_message(self) -> None:
        """Forget what was held back of a message that is half sent, since the association has ended."""
        self._sending = None
        self._fragmenters.clear()

    @property
    def is_mid_message(self) -> bool:
        """Whether a message is half sent. Only the rest of it, or A-ABORT, may follow."""
        return self._sending is not None

    def invoke(self, context_id: int, request: Request) -> Invoked:
        """Open an operation. The caller sends its request next."""
        return self.router.invoke(context_id, request)

    def respond(self, operation: Performed, response: Response, data: Buffer | None = None) -> bool:
        """Send a response, and return whether it was the final one, which closes the operation.

        It raises after the final response. It also raises if the response cannot be encoded; then the operation stays
        open.
        """
        if operation.is_open:
            self.send(operation.context.context_id, response, data)
        assert self._router is not None
        return self._router.respond(operation, response)

    def _no_message_half_sent(self) -> None:
        if self._sending is not None:
            raise LocalProtocolError(_HALF_SENT)

    def data_to_send(self) -> Sequence[Buffer]:
        """Return everything that is to be written, in order, with small buffers joined."""
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
        """After all has been decoded: set or clear the deadline for a PDU or message that is not complete."""
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
        """Take note that we have stopped reading: deadlines of the peer stand still meanwhile (docs/topics/flow.md)."""
        if self._paused_at is None:
            self._paused_at = now
            self._note_deadline()

    def resume(self, now: float) -> None:
        """Take note that we read again."""
        self._now = now
        if self._paused_at is not None and self._span_end is not None:
            self._span_end += now - self._paused_at
        self._paused_at = None
        self._note_deadline()

    def _note_deadline(self) -> None:
        """Compute `deadline` again, after the machine or the span has changed."""
        deadline = self.machine.next_deadline()
        span_end = self._span_end if self._paused_at is None else None
        if span_end is not None and (deadline is None or span_end < deadline):
            deadline = span_end
        self.deadline = deadline

    def handle_timeout(self, now: float) -> None:
        """Act on the deadlines that have passed. A call that comes too early does nothing."""
        self._now = now
        # ARTIM is handled first: both may have passed, and it began before the PDU did.
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
            "read", f"{round(came)} bytes came within {seconds} s in the middle of {where}, less than {rate} a second"
        )
