"""What keeps the rules and brings nothing: a flood of it ends the association, and honest peers never meet a limit."""

from __future__ import annotations

from collections.abc import Callable

from aiodimse.association import AbortIndication
from aiodimse.config import Limits
from aiodimse.dimse import command
from aiodimse.dimse.messages import CCancelRQ, CEchoRQ, CFindRQ, CStoreRQ, Message
from aiodimse.dimse.operations import DatasetReceived, RequestReceived
from aiodimse.pdu import PDV, PDataTF, encode
from aiodimse.pdu.overhead import SMALL_FRAGMENT, Overhead
from aiodimse.standard import sop_class
from aiodimse.testing.engines import EnginePair

ECHO, CT = str(sop_class.Verification), str(sop_class.CTImageStorage)
FIND = str(sop_class.StudyRootQueryRetrieveInformationModelFind)
ALLOWED = Limits().overhead


def in_fragments(context_id: int, message: Message, data: bytes | None, of: int, per_pdu: int = 1) -> bytes:
    """A message in fragments of so many bytes, so many in each P-DATA-TF."""
    pdvs = []
    for is_command, whole in ((True, command.encode(message)), (False, data)):
        for at in range(0, len(whole or b""), of):
            part = (whole or b"")[at : at + of]
            pdvs.append(PDV(context_id, is_command, at + of >= len(whole or b""), part))
    return b"".join(encode(PDataTF(tuple(pdvs[at : at + per_pdu]))) for at in range(0, len(pdvs), per_pdu))


def pair(**limits: int) -> EnginePair:
    made = EnginePair([ECHO, FIND, CT], limits=Limits(**limits))
    made.connect()
    return made


def feed(made: EnginePair, data: bytes) -> int | None:
    """Give the acceptor these bytes, and answer what it is asked; the reason of its A-ABORT, if it sent one."""
    engine = made.acceptor
    engine.receive_data(data, made.now)
    while (event := engine.next_event()) is not None:
        if isinstance(event, AbortIndication):
            assert not event.by_peer
            return event.reason
        if isinstance(event, RequestReceived) and type(event.operation.request) is not CStoreRQ:
            engine.respond(event.operation, event.operation.request.response(0))
        if isinstance(event, DatasetReceived) and event.is_last:
            engine.respond(event.operation, event.operation.request.response(0))
    return None


def echo(message_id: int) -> CEchoRQ:
    return CEchoRQ(message_id=message_id, affected_sop_class_uid=ECHO)


def store(message_id: int = 1) -> CStoreRQ:
    return CStoreRQ(
        message_id=message_id, affected_sop_class_uid=CT, affected_sop_instance_uid="1.2.3", has_data_set=True
    )


def until_aborted(made: EnginePair, message: Callable[[int], bytes], most: int) -> int:
    for number in range(1, most + 1):
        if (reason := feed(made, message(number))) is not None:
            assert reason == 0
            return number
    raise AssertionError(f"{most} were taken")


def test_a_data_set_in_fragments_of_one_byte_ends_the_association() -> None:
    for per_pdu in (1, 100):
        made = pair()
        assert feed(made, in_fragments(5, store(), bytes(100_000), 1, per_pdu)) == 0
        assert "tiny fragments" in str(made.acceptor.fault)


def test_command_sets_in_fragments_of_one_byte_end_the_association() -> None:
    assert until_aborted(pair(), lambda number: in_fragments(1, echo(number), None, 1), 150) > 30


def test_refused_requests_end_the_association() -> None:
    def refused(number: int) -> bytes:
        return in_fragments(1, CEchoRQ(message_id=number, affected_sop_class_uid="1.2.3"), None, 1000)

    assert until_aborted(pair(), refused, 4000) > ALLOWED // 4


def test_cancels_for_nothing_end_the_association() -> None:
    made = pair()
    cancel = in_fragments(3, CCancelRQ(message_id_being_responded_to=7), None, 1000)
    assert until_aborted(made, lambda number: cancel, 4000) > ALLOWED // 4
    assert "C-CANCEL" in str(made.acceptor.fault)


def test_echoes_and_queries_that_are_answered_never_do_cancels_that_come_too_late_included() -> None:
    made = pair()
    for number in range(1, 3 * ALLOWED):
        query = CFindRQ(message_id=number, affected_sop_class_uid=FIND, has_data_set=True)
        late = CCancelRQ(message_id_being_responded_to=number)
        data = in_fragments(1, echo(number), None, 1000) + in_fragments(3, query, b"key", 1000)
        assert feed(made, data + in_fragments(3, late, None, 1000)) is None


def test_the_smallest_maximum_length_is_no_overhead() -> None:
    made = pair(overhead=1)
    assert feed(made, in_fragments(5, store(), bytes(100_000), 122)) is None
    assert feed(made, in_fragments(5, store(2), bytes(100_000), SMALL_FRAGMENT)) is None


def test_last_fragments_and_pieces_of_the_transport_are_no_overhead() -> None:
    """How TCP cuts the stream, and that a message ends in a few bytes, is nobody's fault."""
    made = pair(overhead=1)
    data = in_fragments(5, store(), bytes(10_001), 10_000)
    for at in range(len(data)):
        assert feed(made, data[at : at + 1]) is None
    for number in range(2, 100):
        assert feed(made, in_fragments(5, store(number), b"12", 1000)) is None


def test_payload_and_requests_earn() -> None:
    account = Overhead(Limits(overhead=10))
    assert account.is_within(10)
    assert not account.is_within(1)
    account.bytes_received = 1024
    assert account.is_within(0)
    account.requests_performed = 1
    assert account.is_within(8)
    assert not account.is_within(1)


def test_time_forgives_but_saves_nothing_up() -> None:
    account = Overhead(Limits(overhead=10))
    account.now = 1000.0
    assert account.is_within(10)
    assert not account.is_within(1)
    account.now = 1001.0
    assert account.is_within(10)
    assert not account.is_within(1)
