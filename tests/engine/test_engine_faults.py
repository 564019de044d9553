"""What is wrong with the peer's bytes is answered as PS3.8 Table 9-10 says, in every state; nothing raises."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aiodimse import sop_class
from aiodimse.association import (
    AbortIndication,
    CloseTransport,
    DropTransport,
    ReleaseIndication,
    RequestedIndication,
    answer_request,
)
from aiodimse.config import Limits, Timeouts
from aiodimse.dimse import command
from aiodimse.dimse.messages import CEchoRQ, CStoreRQ
from aiodimse.dimse.operations import DatasetReceived, RequestReceived
from aiodimse.engine import Engine, EngineEvent
from aiodimse.pdu import Abort, ReleaseRP, ReleaseRQ, decode, encode, pdata_header
from aiodimse.testing import EnginePair, read_capture, replay

CAPTURES = [read_capture(path) for path in sorted((Path(__file__).parents[1] / "data").glob("*/*.dul"))]
CONTEXTS = [sop_class.Verification, sop_class.CTImageStorage, sop_class.StudyRootQueryRetrieveInformationModelFind]


def hear(engine: Engine, data: bytes) -> list[EngineEvent]:
    """Have the engine read all of it, as who serves it does; what it told."""
    engine.receive_data(data, 0.0)
    return list(iter(engine.next_event, None))


def established() -> EnginePair:
    pair = EnginePair(CONTEXTS)
    pair.connect()
    return pair


def asked(side: str) -> Engine:
    """Sta3 (acceptor, asked for an association) or Sta5 (requestor, waiting for the answer)."""
    pair = EnginePair(CONTEXTS)
    if side == "requestor":
        pair.requestor.associate(pair.rq, 0.0)
        pair.requestor.transport_connected(0.0)
        return pair.requestor
    pair.acceptor.transport_connected(0.0)
    hear(pair.acceptor, encode(pair.rq))
    return pair.acceptor


def released(side: str, *what: str) -> Engine:
    pair = established()
    engine = getattr(pair, side)
    for step in what:
        if step == "we ask":
            engine.release(0.0)
        elif step == "they ask":
            hear(engine, encode(ReleaseRQ()))
        elif step == "we answer":
            engine.respond_release(0.0)
        else:
            hear(engine, encode(ReleaseRP()))
    return engine


def fresh_acceptor() -> Engine:
    engine = Engine("acceptor", limits=Limits(), timeouts=Timeouts())
    engine.transport_connected(0.0)
    return engine


def aborted() -> Engine:
    engine = established().acceptor
    engine.abort(0.0)
    return engine


STATES: dict[str, Callable[[], Engine]] = {
    "Sta2": fresh_acceptor,
    "Sta3": lambda: asked("acceptor"),
    "Sta5": lambda: asked("requestor"),
    "Sta6 requestor": lambda: established().requestor,
    "Sta6 acceptor": lambda: established().acceptor,
    "Sta7": lambda: released("requestor", "we ask"),
    "Sta8": lambda: released("acceptor", "they ask"),
    "Sta9": lambda: released("requestor", "we ask", "they ask"),
    "Sta10": lambda: released("acceptor", "we ask", "they ask"),
    "Sta11": lambda: released("requestor", "we ask", "they ask", "we answer"),
    "Sta12": lambda: released("acceptor", "we ask", "they ask", "they answer"),
    "Sta13": aborted,
}
FAULTS = {
    "no PDU type": (b"GET / HTTP/1.1\r\n\r\n", 1),
    "PDU type 0": (bytes(10), 1),
    "A-RELEASE-RQ of 5 bytes": (bytes.fromhex("05000000000500000000 00"), 6),
    "A-ABORT of 3 bytes": (bytes.fromhex("070000000003 000000"), 6),
    "A-ASSOCIATE-RQ of 2 MiB": (bytes.fromhex("010000200000"), 6),
    "P-DATA-TF over our maximum": (bytes.fromhex("040000040001"), 6),
    "P-DATA-TF without a PDV": (bytes.fromhex("040000000000"), 6),
    "A-ASSOCIATE-AC of 10 bytes": (bytes.fromhex("02000000000a") + bytes(10), 6),
}


def outcome(engine: Engine) -> tuple[list[object], list[object]]:
    events = list(iter(engine.next_event, None))
    data, sent = b"".join(engine.data_to_send()), []
    while data:
        end = 6 + int.from_bytes(data[2:6], "big")
        sent.append(decode(data[:end]))
        data = data[end:]
    return sent, events


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("state", STATES)
def test_a_malformed_pdu_in_every_state(state, fault):
    engine = STATES[state]()
    outcome(engine)
    assert engine.machine.state.name.title() == state.split()[0]
    data, reason = FAULTS[fault]
    engine.receive_data(data, 0.0)
    sent, events = outcome(engine)
    if state == "Sta13":
        assert (sent, events) == ([], [])
    elif state == "Sta2":  # AA-1: there is no association whose provider could abort it
        assert sent == [Abort(0, 0)]
        assert [type(event) for event in events] == [CloseTransport]
    else:
        assert sent == [Abort(2, reason)]
        assert [type(event) for event in events] == [AbortIndication, CloseTransport]
        assert (events[0].source, events[0].reason, events[0].by_peer) == (2, reason, False)
        assert engine.fault is not None
    assert engine.machine.state == 13
    engine.receive_data(encode(ReleaseRQ()) + data, 0.0)  # framing is lost: nothing more is read
    assert outcome(engine) == ([], [])


ECHO = CEchoRQ(message_id=1, affected_sop_class_uid=sop_class.Verification)
STORE = CStoreRQ(
    message_id=1,
    affected_sop_class_uid=sop_class.CTImageStorage,
    affected_sop_instance_uid="1.2.3",
    priority=0,
    has_data_set=True,
)


def pdv(context_id: int, data: bytes, *, is_command: bool = True, is_last: bool = True) -> bytes:
    return pdata_header(context_id, is_command, is_last, len(data)) + data


ABOVE = {
    "context that was not accepted": (pdv(9, command.encode(ECHO)), 6),
    "even context": (pdv(2, command.encode(ECHO)), 6),
    "data with no command open": (pdv(1, b"data", is_command=False), 6),
    "command where data is due": (pdv(3, command.encode(STORE)) * 2, 6),
    "another context within a message": (pdv(3, command.encode(STORE)) + pdv(1, b"", is_command=False), 6),
    "empty fragment in a context that was not accepted": (pdv(9, b"", is_last=False), 6),
    "empty fragment in context 0": (pdv(0, b"", is_last=False), 6),
    "empty fragment in another context": (
        pdv(3, command.encode(STORE)) + pdv(1, b"", is_command=False, is_last=False),
        6,
    ),
    "empty data fragment with no command open": (pdv(1, b"", is_command=False, is_last=False), 6),
    "empty command fragment where data is due": (pdv(3, command.encode(STORE)) + pdv(3, b"", is_last=False), 6),
    "endless empty command fragments": (pdv(1, b"", is_last=False) * 65, 6),
    "endless empty data fragments": (
        pdv(3, command.encode(STORE))
        + pdv(3, b"ab", is_command=False, is_last=False)
        + pdv(3, b"", is_command=False, is_last=False) * 65,
        6,
    ),
    "command set of garbage": (pdv(1, b"\xff" * 30), 6),
    "empty command set": (pdv(1, b""), 6),
    "endless command set": (pdv(1, bytes(60_000), is_last=False) * 2, 6),
    "response to nothing": (pdv(1, command.encode(ECHO.response(0))), 2),
    "PDV length 1": (bytes.fromhex("040000000006 00000001 0103"), 6),
    "PDV past its PDU": (bytes.fromhex("040000000006 00000003 0103"), 6),
}

BEFORE = (RequestReceived, DatasetReceived)
"""What a message tells before it goes wrong."""


@pytest.mark.parametrize("fault", ABOVE)
@pytest.mark.parametrize("split", [None, 1])
def test_what_cannot_be_answered_is_aborted(fault, split):
    engine = established().acceptor
    data, reason = ABOVE[fault]
    for at in range(0, len(data), split or len(data)):
        engine.receive_data(data[at : at + (split or len(data))], 0.0)
    sent, events = outcome(engine)
    assert sent == [Abort(2, reason)]
    assert [type(event) for event in events if type(event) not in BEFORE] == [AbortIndication, CloseTransport]


# --- nothing raises ---------------------------------------------------------------------------------------------------


@given(
    capture=st.sampled_from(CAPTURES),
    side=st.sampled_from("><"),
    changes=st.lists(st.tuples(st.integers(0, 1 << 30), st.integers(0, 255)), min_size=1, max_size=5),
)
def test_changed_captures(capture, side, changes):
    """Some bytes of what the other side said are others."""
    heard = [at for at, (which, _) in enumerate(capture) if which != side]
    changed = [(which, bytearray(data)) for which, data in capture]
    for where, value in changes:
        line = changed[heard[where % len(heard)]][1]
        line[(where // len(heard)) % min(len(line), 400)] = value
    replay([(which, bytes(data)) for which, data in changed], side)


@given(
    capture=st.sampled_from(CAPTURES),
    side=st.sampled_from("><"),
    order=st.lists(st.tuples(st.sampled_from(["drop", "double", "swap"]), st.integers(0, 400)), max_size=4),
)
def test_lines_lost_doubled_and_swapped(capture, side, order):
    first, rest = capture[:1], list(capture[1:])
    for what, where in order:
        if len(rest) < 2:
            break
        at = where % (len(rest) - 1)
        if what == "drop":
            del rest[at]
        elif what == "double":
            rest.insert(at, rest[at])
        else:
            rest[at], rest[at + 1] = rest[at + 1], rest[at]
    ours = [line for line in rest if line[0] == side]  # what we do must make sense to us: only theirs is disturbed
    if ours == [line for line in capture[1:] if line[0] == side]:
        replay([*first, *rest], side)


@given(state=st.sampled_from(sorted(STATES)), data=st.binary(max_size=300), later=st.floats(0, 200))
@example(state="Sta6 acceptor", data=b"\4", later=31.0)
def test_random_bytes_in_every_state(state, data, later):
    engine = STATES[state]()
    hear(engine, data)
    engine.handle_timeout(later)
    engine.data_to_send()
    engine.transport_closed(later)
    while engine.next_event() is not None:
        pass
    assert engine.machine.state == 1


@given(
    kinds=st.lists(st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8]), min_size=1, max_size=6),
    bodies=st.lists(st.binary(max_size=120), min_size=6, max_size=6),
    state=st.sampled_from(sorted(STATES)),
)
def test_random_bodies_in_sound_headers(kinds, bodies, state):
    engine = STATES[state]()
    for kind, body in zip(kinds, bodies, strict=False):
        if kind in (5, 6, 7):
            body = body[:4].ljust(4, b"\0")
        hear(engine, bytes((kind, 0)) + len(body).to_bytes(4, "big") + body)


@given(elements=st.lists(st.tuples(st.integers(0, 0x1040), st.binary(max_size=40)), max_size=12))
def test_random_command_sets(elements):
    engine = established().acceptor
    data = b"".join(
        tag.to_bytes(4, "little")[2:] + tag.to_bytes(2, "little") + len(value).to_bytes(4, "little") + value
        for tag, value in elements
    )
    hear(engine, pdv(1, data))


# --- time -------------------------------------------------------------------------------------------------------------


def test_a_release_that_is_not_answered():
    engine = released("requestor", "we ask")
    outcome(engine)
    assert engine.deadline == 10.0
    engine.handle_timeout(10.0)
    _, events = outcome(engine)
    assert [type(event).__name__ for event in events] == ["ReleaseTimedOut"]
    assert engine.deadline is None


def test_what_comes_with_a_request_for_an_answer_waits_for_it():
    """Found by the hostile suite: the answer to an A-ASSOCIATE-RQ or A-RELEASE-RQ was given in a state past it."""
    pair = EnginePair(CONTEXTS)
    engine = pair.acceptor
    engine.transport_connected(0.0)
    engine.receive_data(encode(pair.rq) + pdv(1, command.encode(ECHO)) + encode(ReleaseRQ()) + encode(Abort(0, 0)), 0.0)
    assert type(engine.next_event()) is RequestedIndication
    assert engine.machine.state == 3
    engine.accept(answer_request(pair.rq, pair._offer, limits=Limits()), 0.0)
    assert type(engine.next_event()) is RequestReceived
    assert type(engine.next_event()) is ReleaseIndication
    assert engine.machine.state == 8
    engine.respond_release(0.0)
    assert engine.machine.state == 13
    assert [type(event) for event in outcome(engine)[1]] == [CloseTransport, DropTransport]
    assert engine.machine.state == 1
