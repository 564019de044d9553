"""A peer in the middle of a PDU or of a message must be fast enough: Limits.min_rate over each Timeouts.pdu."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from aiodimse import sop_class
from aiodimse.association import AbortIndication, CloseTransport, PresentationContext
from aiodimse.config import Limits, Timeouts
from aiodimse.dimse import command
from aiodimse.dimse.messages import CEchoRQ, CFindRQ, CGetRQ, CStoreRQ, Message
from aiodimse.engine import Engine, EngineEvent
from aiodimse.errors import AssociationTimeout
from aiodimse.pdu import Abort, encode, pdata_header
from aiodimse.testing import EnginePair

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
GET = sop_class.StudyRootQueryRetrieveInformationModelGet
CT = sop_class.CTImageStorage
CONTEXTS = [sop_class.Verification, FIND, GET, PresentationContext(CT, scu=True, scp=True)]
LEAST = 256 * 30


def pdv(context_id: int, data: bytes, *, is_command: bool = False, is_last: bool = False) -> bytes:
    return pdata_header(context_id, is_command, is_last, len(data)) + data


def said(context_id: int, message: Message, *, data_set: bool = False) -> bytes:
    message.has_data_set = data_set
    return pdv(context_id, command.encode(message), is_command=True, is_last=True)


ECHO = said(1, CEchoRQ(message_id=9, affected_sop_class_uid=sop_class.Verification))


def store_rq(message_id: int = 1) -> bytes:
    return said(
        7,
        CStoreRQ(message_id=message_id, affected_sop_class_uid=CT, affected_sop_instance_uid="1.2", priority=0),
        data_set=True,
    )


def established(**options: Any) -> EnginePair:
    pair = EnginePair(CONTEXTS, **options)
    pair.connect()
    return pair


def storing(**options: Any) -> tuple[Engine, int]:
    """A provider in the middle of a C-STORE."""
    engine = established(**options).acceptor
    hear(engine, store_rq(), 0.0)
    return engine, 7


def half_a_command(**options: Any) -> tuple[Engine, int]:
    """A provider in the middle of a command set."""
    engine = established(**options).acceptor
    hear(engine, pdv(1, b"\0\0", is_command=True), 0.0)
    return engine, 1


def finding(**options: Any) -> tuple[Engine, int]:
    """A user in the middle of a C-FIND response."""
    engine = established(**options).requestor
    request = CFindRQ(message_id=0, affected_sop_class_uid=FIND, priority=0)
    engine.invoke(3, request)
    engine.send(3, request, b"")
    hear(engine, said(3, request.response(0xFF00), data_set=True), 0.0)
    return engine, 3


def getting(**options: Any) -> tuple[Engine, int]:
    """A user in the middle of a sub-operation of its C-GET."""
    engine = established(**options).requestor
    request = CGetRQ(message_id=0, affected_sop_class_uid=GET, priority=0)
    engine.invoke(5, request)
    engine.send(5, request, b"")
    hear(engine, store_rq(), 0.0)
    return engine, 7


UNDER_WAY: list[Callable[..., tuple[Engine, int]]] = [storing, half_a_command, finding, getting]
under_way = pytest.mark.parametrize("under_way", UNDER_WAY)


def outcome(engine: Engine) -> tuple[bytes, list[type]]:
    events = [type(event) for event in iter(engine.next_event, None)]
    return b"".join(engine.data_to_send()), events


def hear(engine: Engine, data: bytes, now: float) -> list[EngineEvent]:
    """Have the engine read all of it, as who serves it does; what it told."""
    engine.receive_data(data, now)
    return list(iter(engine.next_event, None))


def elapse(engine: Engine, until: float) -> None:
    """Let time pass, deadline by deadline."""
    while (deadline := engine.deadline) is not None and deadline <= until:
        engine.handle_timeout(deadline)


def assert_alive(engine: Engine) -> None:
    assert engine.machine.state == 6
    assert encode(Abort(2, 0)) not in outcome(engine)[0]


def assert_too_slow(engine: Engine, came: int, where: str = "a message") -> None:
    sent, events = outcome(engine)
    assert sent.endswith(encode(Abort(2, 0)))
    assert events[-2:] == [AbortIndication, CloseTransport]
    assert isinstance(engine.fault, AssociationTimeout)
    assert engine.fault.phase == "read"
    assert str(engine.fault) == f"{came} bytes came within 30.0 s in the middle of {where}, less than 256 a second"


@under_way
def test_tiny_pdus_in_the_middle_of_a_message_hold_nothing(under_way):
    """One byte of data a second, each in a P-DATA-TF of its own, which takes no time at all."""
    engine, context_id = under_way()
    is_command = under_way is half_a_command
    outcome(engine)
    for second in range(1, 30):
        hear(engine, pdv(context_id, b"\0", is_command=is_command), float(second))
        engine.handle_timeout(float(second))
        assert engine.deadline == 30.0
        assert_alive(engine)
    engine.handle_timeout(30.0)
    assert_too_slow(engine, 29 * 13)


@under_way
def test_silence_in_the_middle_of_a_message(under_way):
    engine, _ = under_way()
    engine.handle_timeout(29.9)
    assert_alive(engine)
    engine.handle_timeout(30.0)
    assert_too_slow(engine, 0)
    assert engine.deadline == 31.0  # ARTIM; no other is left behind


@pytest.mark.parametrize("size", [1, 1000, 262_000])
def test_a_slow_link_is_served(size):
    """300 bytes a second, for six hours, in PDUs that are done at once or take a quarter of an hour each."""
    engine, context_id = storing()
    stream = pdv(context_id, bytes(size)) * (300 * 6 * 3600 // (size + 12))
    for second in range(1, len(stream) // 300):
        hear(engine, stream[second * 300 - 300 : second * 300], float(second))
        elapse(engine, float(second))
        outcome(engine)
    assert second > 20_000
    assert_alive(engine)


@pytest.mark.parametrize("missing", [0, 1])
def test_the_least_that_must_come(missing):
    engine, context_id = storing()
    hear(engine, pdv(context_id, bytes(LEAST - 12 - missing)), 15.0)
    engine.handle_timeout(30.0)
    if missing:
        assert_too_slow(engine, LEAST - 1)
    else:
        assert_alive(engine)
        assert engine.deadline == 60.0


def test_what_came_in_a_hurry_does_not_excuse_what_does_not_come():
    engine, context_id = storing()
    hear(engine, pdv(context_id, bytes(200_000)), 1.0)
    engine.handle_timeout(30.0)
    assert_alive(engine)
    engine.handle_timeout(60.0)
    assert_too_slow(engine, 0)


def test_each_message_has_a_span_of_its_own():
    engine, context_id = storing()
    hear(engine, pdv(context_id, b"", is_last=True) + store_rq(2), 29.0)  # in one chunk: never between messages
    assert engine.deadline == 59.0
    hear(engine, pdv(context_id, b"", is_last=True) + ECHO[:3], 58.0)
    assert engine.deadline == 88.0
    hear(engine, ECHO[3:], 87.0)
    assert engine.deadline is None


def test_a_pdu_between_messages():
    engine = established().acceptor
    hear(engine, ECHO[:-1], 5.0)
    engine.handle_timeout(35.0)
    assert_too_slow(engine, 0, "a PDU")


def test_other_pdus_end_a_span_too():
    """The A-ASSOCIATE-AC came slowly, and the first byte of a message in one chunk with its end."""
    pair = EnginePair(CONTEXTS)
    pair.connect()
    ac = pair.sent["acceptor"][0]
    engine = Engine("requestor", limits=Limits(), timeouts=Timeouts())
    engine.associate(pair.rq, 0.0)
    engine.transport_connected(0.0)
    hear(engine, ac[:10], 0.0)
    assert engine.deadline == 30.0
    hear(engine, ac[10:] + ECHO[:1], 20.0)
    assert engine.deadline == 50.0


@under_way
def test_while_we_do_not_read_time_stands_still(under_way):
    engine, context_id = under_way()
    engine.pause(10.0)
    assert engine.deadline is None
    engine.handle_timeout(1000.0)
    assert_alive(engine)
    engine.resume(1010.0)
    assert engine.deadline == 1030.0
    hear(engine, pdv(context_id, b"\0", is_command=under_way is half_a_command), 1020.0)
    engine.handle_timeout(1030.0)
    assert_too_slow(engine, 13)


@under_way
@pytest.mark.parametrize(
    "options", [{"timeouts": Timeouts(pdu=None)}, {"limits": Limits(min_rate=0)}], ids=["pdu=None", "min_rate=0"]
)
def test_who_wants_to_waits_for_ever(under_way, options):
    engine, _ = under_way(**options)
    elapse(engine, 100_000.0)
    assert_alive(engine)


def test_an_association_that_has_ended_in_the_middle_of_a_message_waits_for_artim_alone():
    engine, context_id = storing()
    engine.abort(1.0)
    assert engine.deadline == 2.0
    hear(engine, pdv(context_id, bytes(10)), 1.5)
    assert engine.deadline == 2.0
    engine.handle_timeout(2.0)
    assert (engine.machine.state, engine.deadline) == (1, None)
