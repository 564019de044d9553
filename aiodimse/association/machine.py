"""Executes PS3.8 Table 9-10, without a socket and without a clock.

PDUs, local primitives and times go in; bytes and indications come out. The caller passes the time (`now`, in seconds of
a monotonic clock), and calls `handle_timeout` at `next_deadline`. Nothing that a peer sends raises an exception. A
local primitive that the state does not allow raises LocalProtocolError and changes nothing.
"""

from __future__ import annotations

from collections import deque
from typing import Literal, TypeAlias

from aiodimse.association.answering import invalid_context_ids, refusal, too_small
from aiodimse.association.events import (
    AbortIndication,
    AcceptedConfirmation,
    CloseTransport,
    DropTransport,
    MachineEvent,
    RejectedConfirmation,
    ReleaseConfirmation,
    ReleaseIndication,
    ReleaseTimedOut,
    RequestedIndication,
    TransportClosedIndication,
)
from aiodimse.association.state_table import (
    ACTIONS,
    CAN_ABORT,
    LOCAL_EVENTS,
    SENDS_DATA,
    TABLE,
    TAKES_DATA,
    Action,
    Artim,
    Event,
    Send,
    State,
    Tell,
    Transport,
)
from aiodimse.config import Timeouts
from aiodimse.errors import LocalProtocolError, PDUDecodeError
from aiodimse.pdu import (
    PDU,
    Abort,
    AssociateAC,
    AssociateRJ,
    AssociateRQ,
    DataHeader,
    PDataTF,
    ReleaseRP,
    ReleaseRQ,
    pdus,
)
from aiodimse.standard.reason import abort_meaning

Role: TypeAlias = Literal["requestor", "acceptor"]
Received: TypeAlias = PDU | DataHeader | PDUDecodeError

_UNEXPECTED_PDU, _INVALID_PARAMETER = 2, 6

_EVENT_OF: dict[type, Event] = {
    AssociateAC: Event.EVT3,
    AssociateRJ: Event.EVT4,
    AssociateRQ: Event.EVT6,
    PDataTF: Event.EVT10,
    DataHeader: Event.EVT10,
    ReleaseRQ: Event.EVT12,
    ReleaseRP: Event.EVT13,
    Abort: Event.EVT16,
}

_AWAITING_RELEASE_RP = (State.STA7, State.STA9, State.STA10, State.STA11)


class Machine:
    """The state of one association (PS3.8 9.2).

    Args:
        role: Our side.
        timeouts: Timeouts.artim, .close, .close_after_abort and .release.
    """

    # fmt: off
    def __init__(self, role: Role, *, timeouts: Timeouts) -> None:
        self.role: Role = role
        self.state: State = State.STA1
        self.can_send_data: bool = False
        """Whether we may send P-DATA now (Evt9): in Sta6, and by AR-7 in Sta8."""
        self.is_ready: bool = False
        """Whether the association is established, and neither side has asked for its release (Evt11): in Sta6."""
        self.data_allowed_in: bool = False
        """Whether P-DATA of the peer is passed on: in Sta6 by DT-2, in Sta7 by AR-6."""
        self._timeouts = timeouts
        self._artim_running = False
        self._artim_deadline: float | None = None     # None while ARTIM runs: no limit
        self._release_deadline: float | None = None
        self._rq = b""
        self._out: list[bytes] = []
        self._events: deque[MachineEvent] = deque()
    # fmt: on

    # --- from the peer and the transport ------------------------------------------------------------------------------

    def receive(self, item: Received, now: float) -> None:
        """Take a PDU, the header of a P-DATA-TF, or the error of what does not decode. This raises nothing."""
        # Every P-DATA-TF comes here. DT-2 and AR-6 change nothing: the data do not pass through the machine.
        if type(item) is DataHeader and self.data_allowed_in:
            return
        if isinstance(item, PDUDecodeError):
            self._step(Event.EVT19, now, reason=item.reason)
        elif (reason := _invalid(item)) is not None:
            self._step(Event.EVT19, now, reason=reason)
        else:
            pdu = None if isinstance(item, DataHeader) else item
            self._step(_EVENT_OF[type(item)], now, pdu, reason=_UNEXPECTED_PDU)

    def provider_abort(self, reason: int, now: float) -> None:
        """Abort, because the peer broke a rule that the PDU floor does not check. This raises nothing.

        A command set that does not decode, or a PDU that is not complete in time, is treated as Evt19: we send an
        A-ABORT with source 2.

        Args:
            reason: The reason in the A-ABORT (PS3.8 Table 9-26).
            now: The time.
        """
        self._step(Event.EVT19, now, reason=reason)

    def transport_connected(self, now: float) -> None:
        """Take note that the transport connection is open.

        A requestor sends its A-ASSOCIATE-RQ (Evt2), an acceptor starts ARTIM (Evt5).
        """
        self._step(Event.EVT2 if self.role == "requestor" else Event.EVT5, now)

    def transport_closed(self, now: float) -> None:
        """Take note that the transport connection is closed, lost, or was never opened (Evt17). This raises nothing."""
        self._step(Event.EVT17, now)

    # --- local primitives ---------------------------------------------------------------------------------------------

    def associate(self, rq: AssociateRQ, now: float) -> None:
        """Request the association (Evt1). The caller opens the transport connection and calls `transport_connected`."""
        if self.role != "requestor":
            raise LocalProtocolError("an association acceptor does not request the association")
        self._check(Event.EVT1)
        self._rq = pdus.encode(rq)
        self._step(Event.EVT1, now)

    def accept(self, ac: AssociateAC, now: float) -> None:
        """Accept the association (Evt7)."""
        self._step(Event.EVT7, now, ac)

    def reject(self, rj: AssociateRJ, now: float) -> None:
        """Reject the association (Evt8)."""
        self._step(Event.EVT8, now, rj)

    def release(self, now: float) -> None:
        """Request the release (Evt11). ReleaseTimedOut is reported if the peer does not answer."""
        self._step(Event.EVT11, now)

    def respond_release(self, now: float) -> None:
        """Answer the peer's request for the release (Evt14)."""
        self._step(Event.EVT14, now)

    def abort(self, now: float, source: int = 0, reason: int = 0) -> None:
        """Abort the association (Evt15)."""
        self._step(Event.EVT15, now, Abort(source, reason))

    @property
    def can_abort(self) -> bool:
        """Whether `abort` is allowed: there is an association, or one is being established."""
        return self.state in CAN_ABORT

    # --- what comes out -----------------------------------------------------------------------------------------------

    def take_output(self) -> list[bytes]:
        """Return the PDUs that are to be sent, in order, and forget them."""
        out, self._out = self._out, []
        return out

    def next_event(self) -> MachineEvent | None:
        """Return the next indication, in order; None if there is none."""
        return self._events.popleft() if self._events else None

    # --- time ---------------------------------------------------------------------------------------------------------

    @property
    def artim_running(self) -> bool:
        """Whether ARTIM runs, with or without a deadline. It runs only in Sta2 and Sta13."""
        return self._artim_running

    def next_deadline(self) -> float | None:
        """Return the time at which to call `handle_timeout`; None: never. ARTIM and the release never wait together."""
        return self._release_deadline if self._artim_deadline is None else self._artim_deadline

    def handle_timeout(self, now: float) -> None:
        """Act on a deadline that has passed. A call before it does nothing."""
        if self._artim_deadline is not None and now >= self._artim_deadline:
            self._step(Event.EVT18, now)
        if self._release_deadline is not None and now >= self._release_deadline:
            self._release_deadline = None
            self._events.append(ReleaseTimedOut())

    # --- the table ----------------------------------------------------------------------------------------------------

    def _check(self, event: Event) -> Action | None:
        """Return the action of Table 9-10 for an event in the present state; None if the cell is empty.

        Raises:
            LocalProtocolError: The cell is empty, and the event is a local primitive.
        """
        action = TABLE[event][self.state]
        if action is None and event in LOCAL_EVENTS:
            raise LocalProtocolError(f"PS3.8 Table 9-10 has no {event.name.title()} in {self.state.name.title()}")
        return action

    def _step(self, event: Event, now: float, pdu: PDU | None = None, *, reason: int = 0) -> None:
        """Perform the action for an event.

        Args:
            event: The event.
            now: The time.
            pdu: The PDU that was received, or is to be sent.
            reason: The reason in the A-ABORT, if the action sends one.
        """
        action = self._check(event)
        if action is None:
            return
        if action.otherwise and isinstance(pdu, AssociateRQ) and (rj := refusal(pdu)) is not None:
            action, pdu = ACTIONS[action.otherwise], rj
        sent = None
        if action.send is not None:
            sent = self._to_send(action.send, pdu, reason)
            self._out.append(sent if isinstance(sent, bytes) else pdus.encode(sent))
        if action.tell is not None:
            self._tell(action.tell, pdu if sent is None else sent, by_peer=sent is None)
        self._enter(action.acceptor_state if action.acceptor_state and self.role == "acceptor" else action.next_state)
        self._set_deadlines(action, sent, now)
        if action.transport is Transport.FINISH:
            self._events.append(CloseTransport(self._artim_deadline))
        elif action.transport is Transport.DROP:
            self._events.append(DropTransport())

    def _enter(self, state: State) -> None:
        self.state = state
        self.can_send_data = state in SENDS_DATA
        self.is_ready = state is State.STA6
        self.data_allowed_in = state in TAKES_DATA

    def _to_send(self, send: Send, pdu: PDU | None, reason: int) -> bytes | PDU:
        match send:
            case Send.A_ASSOCIATE_RQ:
                return self._rq
            case Send.A_RELEASE_RQ:
                return ReleaseRQ()
            case Send.A_RELEASE_RP:
                return ReleaseRP()
            case Send.A_ABORT_USER:
                # AA-1 also answers what a peer sends instead of an A-ASSOCIATE-RQ. By the table the source is the user.
                return pdu if type(pdu) is Abort else Abort(0, 0)
            case Send.A_ABORT_PROVIDER:
                return Abort(2, reason)
            case _:  # the PDU of the primitive
                assert pdu is not None
                return pdu

    def _tell(self, tell: Tell, pdu: bytes | PDU | None, *, by_peer: bool) -> None:
        """Report an indication or a confirmation.

        Args:
            tell: Which one.
            pdu: The PDU that was received, or our A-ABORT if we abort because of the peer.
            by_peer: Whether the peer has sent the PDU.
        """
        match tell, pdu:
            case Tell.A_ASSOCIATE_INDICATION, AssociateRQ():
                self._events.append(RequestedIndication(pdu))
            case Tell.A_ASSOCIATE_ACCEPTED, AssociateAC():
                self._events.append(AcceptedConfirmation(pdu))
            case Tell.A_ASSOCIATE_REJECTED, AssociateRJ():
                self._events.append(RejectedConfirmation(pdu))
            case Tell.A_RELEASE_INDICATION, _:
                self._events.append(ReleaseIndication(collision=self.state is State.STA7))
            case Tell.A_RELEASE_CONFIRMATION, _:
                self._events.append(ReleaseConfirmation(response_due=self.state is State.STA10))
            case Tell.A_ABORT_INDICATION, Abort():
                self._events.append(
                    AbortIndication(pdu.source, pdu.reason, by_peer, abort_meaning(pdu.source, pdu.reason))
                )
            case Tell.TRANSPORT_CLOSED, _:
                self._events.append(TransportClosedIndication())
            case _:  # P_DATA_INDICATION: the data do not pass through the machine
                pass

    def _set_deadlines(self, action: Action, sent: bytes | PDU | None, now: float) -> None:
        if action.artim is not None:
            self._artim_running = action.artim is Artim.START
            self._artim_deadline = None
        if action.artim is Artim.START:
            # ARTIM limits two waits: for the A-ASSOCIATE-RQ (PS3.8 9.1.5), and for the peer to close.
            times = self._timeouts
            wait = times.artim if action.transport is None else times.close
            if isinstance(sent, Abort):
                wait = times.close_after_abort
            self._artim_deadline = None if wait is None else now + wait
        if action.send is Send.A_RELEASE_RQ:
            self._release_deadline = None if self._timeouts.release is None else now + self._timeouts.release
        elif self.state not in _AWAITING_RELEASE_RP:
            self._release_deadline = None


def _invalid(item: Received) -> int | None:
    """Return the reason in the A-ABORT for a PDU that decodes and yet is invalid (Evt19); None if it is valid."""
    match item:
        case AssociateRQ() if invalid_context_ids(item):
            return _INVALID_PARAMETER
        case AssociateAC() if too_small(item.user_information.maximum_length):
            return _INVALID_PARAMETER
    return None
