"""The machine by the way it is used: establishment, release with its collision, faults, deadlines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import ps38
import pytest

from aiodimse.association import (
    AbortIndication,
    AcceptedConfirmation,
    CloseTransport,
    DropTransport,
    Machine,
    RejectedConfirmation,
    ReleaseConfirmation,
    ReleaseIndication,
    ReleaseTimedOut,
    RequestedIndication,
    State,
    TransportClosedIndication,
)
from aiodimse.config import Timeouts
from aiodimse.errors import LocalProtocolError
from aiodimse.pdu import Abort, AssociateRJ, DataHeader, MaximumLength, ProposedContext, ReleaseRP, ReleaseRQ, pdus
from aiodimse.pdu import UserInformation as Info


@pytest.fixture
def established() -> Callable[..., Machine]:
    def make(role: str, **timeouts: float | None) -> Machine:
        machine = Machine(role, timeouts=replace(ps38.TIMEOUTS, **timeouts))  # type: ignore[arg-type]
        if role == "requestor":
            machine.associate(ps38.RQ, 0)
            machine.transport_connected(0)
            machine.receive(ps38.AC, 0)
        else:
            machine.transport_connected(0)
            machine.receive(ps38.RQ, 0)
            machine.accept(ps38.AC, 0)
        assert machine.state is State.STA6
        ps38.seen(machine)
        return machine

    return make


def test_requestor_is_accepted() -> None:
    machine = Machine("requestor", timeouts=ps38.TIMEOUTS)
    machine.associate(ps38.RQ, 0)
    assert machine.state is State.STA4  # before the transport connection
    assert machine.take_output() == []
    machine.transport_connected(1)
    assert machine.state is State.STA5
    assert machine.take_output() == [pdus.encode(ps38.RQ)]
    assert machine.next_deadline() is None  # ARTIM is the acceptor's; Timeouts.connect is timed above
    machine.receive(ps38.AC, 2)
    assert ps38.seen(machine).told == [AcceptedConfirmation(ps38.AC)]


def test_requestor_is_rejected() -> None:
    machine = Machine("requestor", timeouts=ps38.TIMEOUTS)
    machine.associate(ps38.RQ, 0)
    machine.transport_connected(1)
    machine.receive(ps38.RJ, 2)
    told = ps38.seen(machine).told
    assert told == [RejectedConfirmation(ps38.RJ), DropTransport()]
    assert "called AE title" in told[0].meaning


def test_connection_never_comes_about() -> None:
    machine = Machine("requestor", timeouts=ps38.TIMEOUTS)
    machine.associate(ps38.RQ, 0)
    machine.transport_closed(1)
    assert ps38.seen(machine).told == [TransportClosedIndication(), DropTransport()]
    assert machine.state is State.STA1


def test_acceptor_and_its_artim() -> None:
    machine = Machine("acceptor", timeouts=ps38.TIMEOUTS)
    machine.transport_connected(5)
    assert machine.next_deadline() == 35
    machine.handle_timeout(34.9)
    assert machine.state is State.STA2
    machine.receive(ps38.RQ, 34.9)
    assert machine.next_deadline() is None
    assert ps38.seen(machine).told == [RequestedIndication(ps38.RQ)]
    machine.accept(ps38.AC, 36)
    assert machine.take_output() == [pdus.encode(ps38.AC)]


def test_silence_after_connecting() -> None:
    machine = Machine("acceptor", timeouts=ps38.TIMEOUTS)
    machine.transport_connected(5)
    machine.handle_timeout(35)
    assert (machine.state, ps38.seen(machine).told) == (State.STA1, [DropTransport()])
    machine.handle_timeout(99)  # stale
    machine.transport_closed(99)
    assert ps38.seen(machine).told == []


def test_no_deadline_waits_for_ever() -> None:
    machine = Machine("acceptor", timeouts=Timeouts(artim=None, close=None))
    machine.transport_connected(5)
    assert machine.artim_running
    assert machine.next_deadline() is None
    machine.receive(ps38.RQ, 6)
    machine.reject(ps38.RJ, 7)
    assert ps38.seen(machine).told[-1] == CloseTransport(None)


@pytest.mark.parametrize(
    ("change", "rj"),
    [
        ({"protocol_version": 2}, AssociateRJ(1, 2, 2)),
        ({"protocol_version": 0}, AssociateRJ(1, 2, 2)),
        ({"protocol_version": 3}, None),  # bit 0 alone is tested
        ({"application_context": "1.2.3"}, AssociateRJ(1, 1, 2)),
        ({"user_information": Info((MaximumLength(127),))}, AssociateRJ(1, 1, 1)),
        ({"user_information": Info((MaximumLength(128),))}, None),
        ({"user_information": Info((MaximumLength(0),))}, None),
        ({"user_information": Info()}, None),
    ],
    ids=str,
)
def test_not_acceptable_to_the_provider(change: dict[str, object], rj: AssociateRJ) -> None:
    """AE-6: no indication, A-ASSOCIATE-RJ, ARTIM, Sta13."""
    machine = Machine("acceptor", timeouts=ps38.TIMEOUTS)
    machine.transport_connected(0)
    machine.receive(replace(ps38.RQ, **change), 1)
    did = ps38.seen(machine)
    if rj is None:
        assert machine.state is State.STA3
    else:
        assert (did.pdus, did.told) == ([rj], [CloseTransport(11)])
        assert machine.state is State.STA13


@pytest.mark.parametrize("ids", [(), (2,), (1, 2), (1, 1), (1, 3, 1), (0,)], ids=str)
def test_context_ids_that_cannot_be(ids: tuple[int, ...]) -> None:
    """Evt19: A-ABORT 0/0 in Sta2, 2/6 elsewhere (docs/topics/state-machine.md)."""
    rq = replace(ps38.RQ, contexts=tuple(ProposedContext(i, ps38.VERIFICATION, (ps38.IMPLICIT,)) for i in ids))
    machine = Machine("acceptor", timeouts=ps38.TIMEOUTS)
    machine.transport_connected(0)
    machine.receive(rq, 1)
    assert ps38.seen(machine).pdus == [Abort(0, 0)]
    machine = ps38.machine_in(State.STA6, "acceptor")
    machine.receive(rq, 1)
    assert ps38.seen(machine).pdus == [Abort(2, 6)]


def test_requestor_aborts_a_tiny_maximum() -> None:
    machine = Machine("requestor", timeouts=ps38.TIMEOUTS)
    machine.associate(ps38.RQ, 0)
    machine.transport_connected(0)
    ps38.seen(machine)
    machine.receive(replace(ps38.AC, user_information=Info((MaximumLength(64),))), 1)
    did = ps38.seen(machine)
    assert did.pdus == [Abort(2, 6)]
    assert did.indications == ["AbortIndication"]
    assert machine.state is State.STA13


@pytest.mark.parametrize("role", ["requestor", "acceptor"])
def test_release(established: Callable[..., Machine], role: str) -> None:
    machine = established(role)
    machine.release(1)
    assert (machine.state, machine.next_deadline()) == (State.STA7, 21)
    assert machine.data_allowed_in  # AR-6
    assert not machine.can_send_data
    machine.receive(DataHeader(6), 2)
    machine.receive(ReleaseRP(), 3)
    did = ps38.seen(machine)
    assert (did.sent, did.told) == (["A-RELEASE-RQ"], [ReleaseConfirmation(), DropTransport()])
    assert machine.next_deadline() is None


@pytest.mark.parametrize("role", ["requestor", "acceptor"])
def test_peer_releases(established: Callable[..., Machine], role: str) -> None:
    machine = established(role)
    machine.receive(ReleaseRQ(), 1)
    assert machine.can_send_data  # AR-7: responses may still go out
    assert not machine.data_allowed_in
    machine.respond_release(2)
    did = ps38.seen(machine)
    assert (did.sent, did.told) == (["A-RELEASE-RP"], [ReleaseIndication(), CloseTransport(12)])
    machine.transport_closed(3)
    assert (machine.state, ps38.seen(machine).told) == (State.STA1, [DropTransport()])


def test_release_collision(established: Callable[..., Machine]) -> None:
    """PS3.8 9.2.3: both have asked; the requestor responds first, then the acceptor."""
    requestor, acceptor = established("requestor"), established("acceptor")
    requestor.release(0)
    acceptor.release(0)
    requestor.receive(ReleaseRQ(), 1)
    acceptor.receive(ReleaseRQ(), 1)
    assert (requestor.state, acceptor.state) == (State.STA9, State.STA10)
    assert ReleaseIndication(collision=True) in ps38.seen(requestor).told
    assert ReleaseIndication(collision=True) in ps38.seen(acceptor).told
    with pytest.raises(LocalProtocolError):
        acceptor.respond_release(2)
    requestor.respond_release(2)
    assert ps38.seen(requestor).sent == ["A-RELEASE-RP"]
    acceptor.receive(ReleaseRP(), 3)
    assert ps38.seen(acceptor).told == [ReleaseConfirmation(response_due=True)]
    assert (requestor.state, acceptor.state) == (State.STA11, State.STA12)
    acceptor.respond_release(4)
    assert ps38.seen(acceptor).told == [CloseTransport(14)]
    requestor.receive(ReleaseRP(), 5)
    assert ps38.seen(requestor).told == [ReleaseConfirmation(), DropTransport()]
    acceptor.transport_closed(6)
    assert (requestor.state, acceptor.state) == (State.STA1, State.STA1)


@pytest.mark.parametrize("collision", [False, True])
@pytest.mark.parametrize("role", ["requestor", "acceptor"])
def test_no_answer_to_the_release(established: Callable[..., Machine], role: str, collision: bool) -> None:
    machine = established(role)
    machine.release(1)
    if collision:
        machine.receive(ReleaseRQ(), 2)
    state = machine.state
    ps38.seen(machine)
    machine.handle_timeout(20.9)
    assert ps38.seen(machine).told == []
    machine.handle_timeout(21)
    assert (machine.state, ps38.seen(machine).told) == (state, [ReleaseTimedOut()])
    assert machine.next_deadline() is None  # said once
    machine.abort(22)
    assert ps38.seen(machine).told == [CloseTransport(23)]
    machine.handle_timeout(23)
    assert (machine.state, ps38.seen(machine).told) == (State.STA1, [DropTransport()])


def test_release_without_a_deadline(established: Callable[..., Machine]) -> None:
    machine = established("requestor", release=None)
    machine.release(1)
    assert machine.next_deadline() is None


def test_abort_indications(established: Callable[..., Machine]) -> None:
    machine = established("requestor")
    machine.receive(Abort(0, 0), 1)
    assert ps38.seen(machine).told == [AbortIndication(0, 0, True, "service user"), DropTransport()]
    machine = established("acceptor")
    machine.receive(ps38.BAD, 1)
    told = ps38.seen(machine).told
    assert told == [AbortIndication(2, 1, False, "service provider: unrecognized PDU"), CloseTransport(2)]
    assert str(told[0]) == "aborted by us 2/1: service provider: unrecognized PDU"


def test_garbage_after_our_abort_is_not_answered(established: Callable[..., Machine]) -> None:
    """AA-7's named deviation; and ARTIM is not renewed by a trickle."""
    machine = established("acceptor")
    machine.abort(1)
    ps38.seen(machine)
    for item in (ps38.BAD, ps38.RQ, ps38.AC, DataHeader(6), ReleaseRQ(), ReleaseRP(), ps38.RJ):
        machine.receive(item, 1.5)
        machine.provider_abort(6, 1.5)
        assert (machine.state, machine.next_deadline()) == (State.STA13, 2)
    did = ps38.seen(machine)
    assert (did.sent, did.told) == ([], [])
    machine.receive(Abort(0, 0), 1.7)  # AA-2
    assert (machine.state, ps38.seen(machine).told) == (State.STA1, [DropTransport()])


def test_misuse_changes_nothing() -> None:
    acceptor = Machine("acceptor", timeouts=ps38.TIMEOUTS)
    for wrong in (
        lambda: acceptor.associate(ps38.RQ, 0),
        lambda: acceptor.release(0),
        lambda: acceptor.abort(0),
        lambda: Machine("requestor", timeouts=ps38.TIMEOUTS).transport_connected(0),
    ):
        with pytest.raises(LocalProtocolError):
            wrong()
    requestor = Machine("requestor", timeouts=ps38.TIMEOUTS)
    with pytest.raises(LocalProtocolError):
        requestor.associate(replace(ps38.RQ, called_ae_title="MORE THAN SIXTEEN CHARACTERS"), 0)
    assert requestor.state is State.STA1
    requestor.associate(ps38.RQ, 0)
    with pytest.raises(LocalProtocolError):
        requestor.associate(ps38.RQ, 0)
    assert requestor.state is State.STA4
    requestor.abort(1)
    assert (requestor.state, ps38.seen(requestor).told) == (State.STA1, [DropTransport()])


def test_an_answer_that_cannot_be_encoded_changes_nothing() -> None:
    machine = Machine("acceptor", timeouts=ps38.TIMEOUTS)
    machine.transport_connected(0)
    machine.receive(ps38.RQ, 0)
    ps38.seen(machine)
    with pytest.raises(LocalProtocolError):
        machine.reject(AssociateRJ(1, 300, 1), 0)
    assert (machine.state, machine.take_output(), machine.next_event()) == (State.STA3, [], None)


def test_every_event_has_a_line_for_the_log() -> None:
    for event in (
        RequestedIndication(ps38.RQ),
        AcceptedConfirmation(ps38.AC),
        RejectedConfirmation(ps38.RJ),
        ReleaseIndication(True),
        ReleaseConfirmation(),
        ReleaseTimedOut(),
        AbortIndication(0, 0, True, "x"),
        TransportClosedIndication(),
        CloseTransport(1.0),
        DropTransport(),
    ):
        assert str(event)
        assert "\n" not in str(event)
        assert type(event).__name__ not in str(event)
