"""What the open requests of an association may take in memory (Limits.requests_in_memory), and what pieces cost."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest

from aiodimse.config import Limits
from aiodimse.dimse.fragments import Command, append_piece
from aiodimse.dimse.messages import CEchoRQ, CFindRQ, CFindRSP, CGetRQ, CMoveRQ, CStoreRQ, NSetRQ, Request
from aiodimse.dimse.operations import RequestReceived, RequestRefused, ResponseReceived
from aiodimse.dimse.router import Router
from aiodimse.errors import RemoteProtocolError
from aiodimse.pdu import AcceptedContext, DataPiece
from aiodimse.standard import sop_class

VERIFICATION, CT = sop_class.Verification, sop_class.CTImageStorage
FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
GET = sop_class.StudyRootQueryRetrieveInformationModelGet
MOVE = sop_class.StudyRootQueryRetrieveInformationModelMove
UPS = sop_class.UnifiedProcedureStepPull
UIDS = (VERIFICATION, FIND, GET, MOVE, CT, UPS)
CONTEXTS = {
    number: AcceptedContext(number, uid, "1.2.840.10008.1.2.1", scu=True, scp=True) for number, uid in enumerate(UIDS)
}
NAMED: dict[str, Any] = {"affected_sop_instance_uid": "1.2"}


def find(message_id: int) -> CFindRQ:
    return CFindRQ(message_id=message_id, affected_sop_class_uid=FIND, has_data_set=True)


class Peer:
    """Asks a router that lets 64 run at once."""

    def __init__(self, **limits: int) -> None:
        self.events: deque[Any] = deque()
        self.router = Router(
            CONTEXTS, invoked_window=0, performed_window=0, limits=Limits(**limits), events=self.events
        )

    def ask(self, request: Request, size: int = 0, *, command_size: int = 100) -> Any:
        """The event that becomes of a request with a data set of so many bytes."""
        context_id = UIDS.index(request.sop_class_uid)
        self.router.receive(Command(context_id, request, command_size))
        if request.has_data_set:
            self.router.receive(DataPiece(context_id, False, False, bytes(size // 2)))
            self.router.receive(DataPiece(context_id, False, True, bytes(size - size // 2)))
        return self.events.pop()


@pytest.mark.parametrize(
    ("request_", "no_place", "too_large"),
    [
        (find(9), 0xA700, 0xA700),
        (CGetRQ(message_id=9, affected_sop_class_uid=GET, has_data_set=True), 0xA702, 0xA701),
        (CMoveRQ(message_id=9, affected_sop_class_uid=MOVE, move_destination="X", has_data_set=True), 0xA702, 0xA701),
        (
            NSetRQ(message_id=9, requested_sop_class_uid=UPS, requested_sop_instance_uid="1.2", has_data_set=True),
            0x0213,
            0x0213,
        ),
    ],
    ids=["C-FIND", "C-GET", "C-MOVE", "N-SET"],
)
def test_a_data_set_that_is_too_much_is_refused(request_: Request, no_place: int, too_large: int) -> None:
    peer = Peer(identifier=1000, normalized_dataset=1000, requests_in_memory=3000)
    open_ones = [peer.ask(find(number), 900).operation for number in (1, 2)]  # 1000 bytes each
    refused = peer.ask(request_, 901)
    assert isinstance(refused, RequestRefused)
    assert (refused.response.status, refused.size) == (no_place, 100)
    assert "too large ones" in refused.response.error_comment
    assert refused.response.message_id_being_responded_to == 9
    assert peer.ask(request_, 1000).response.status == no_place
    refused = peer.ask(request_, 1001)
    assert refused.response.status == too_large
    assert "over 1000 bytes" in refused.response.error_comment
    assert list(peer.router.performed) == [1, 2]
    assert isinstance(peer.ask(request_, 900), RequestReceived)  # to the byte
    for number, operation in enumerate(open_ones):  # which live, and whose end makes room
        assert peer.ask(find(50 + number), 900).response.status == 0xA700
        assert peer.router.respond(operation, operation.request.response(0))
        assert isinstance(peer.ask(find(60 + number), 900), RequestReceived)


def test_command_sets_count() -> None:
    peer = Peer(requests_in_memory=200_000)
    for number in range(1, 4):
        event = peer.ask(CEchoRQ(message_id=number, affected_sop_class_uid=VERIFICATION), command_size=60_000)
        assert isinstance(event, RequestReceived)
    refused = peer.ask(CEchoRQ(message_id=4, affected_sop_class_uid=VERIFICATION), command_size=60_000)
    assert (refused.response.status, refused.size) == (0x0213, 60_000)
    store = CStoreRQ(message_id=5, affected_sop_class_uid=CT, has_data_set=True, **NAMED)
    peer.router.receive(Command(UIDS.index(CT), store, 20_001))
    assert not peer.events, "nobody is told while its data set comes"
    peer.router.receive(DataPiece(UIDS.index(CT), False, True, bytes(10)))
    assert peer.events.pop().response.status == 0xA700
    last = CEchoRQ(message_id=6, affected_sop_class_uid=VERIFICATION)
    assert isinstance(peer.ask(last, command_size=20_000), RequestReceived)


def test_what_a_c_store_brings_does_not_count() -> None:
    """It is in the inbox of its request, which stops our reading."""
    peer = Peer(requests_in_memory=3000)
    for number in range(1, 6):
        store = CStoreRQ(message_id=number, affected_sop_class_uid=CT, has_data_set=True, **NAMED)
        peer.router.receive(Command(UIDS.index(CT), store, 100))
        for _ in range(10):
            peer.router.receive(DataPiece(UIDS.index(CT), False, False, bytes(10_000)))
        peer.router.receive(DataPiece(UIDS.index(CT), False, True, b""))
        assert peer.router.performed[number].is_open
    assert isinstance(peer.ask(find(6), 2400), RequestReceived)


def test_a_response_says_how_large_it_is() -> None:
    peer = Peer()
    for data in (None, b"12345"):
        operation = peer.router.invoke(1, find(0))
        response = CFindRSP(message_id_being_responded_to=operation.message_id, status=0, has_data_set=data is not None)
        peer.router.receive(Command(1, response, 80))
        if data is not None:
            peer.router.receive(DataPiece(1, False, True, data))
        event = peer.events.pop()
        assert isinstance(event, ResponseReceived)
        assert event.size == 80 + len(data or b"")


def test_a_response_whose_data_set_is_too_large_ends_the_association() -> None:
    peer = Peer(identifier=1000)
    for size in (1000, 1001):
        operation = peer.router.invoke(1, find(0))
        response = CFindRSP(message_id_being_responded_to=operation.message_id, status=0xFF00, has_data_set=True)
        peer.router.receive(Command(1, response, 80))
        peer.router.receive(DataPiece(1, False, False, bytes(600)))
        if size == 1000:
            peer.router.receive(DataPiece(1, False, True, bytes(400)))
            assert len(peer.events.pop().data) == 1000
            continue
        with pytest.raises(RemoteProtocolError, match="a data set over 1000 bytes in a response") as caught:
            peer.router.receive(DataPiece(1, False, True, bytes(401)))
        assert caught.value.reason == 6


@pytest.mark.parametrize("size", [1, 2, 300, 1023])
def test_an_identifier_in_tiny_fragments_costs_its_bytes(size: int) -> None:
    """A bytes object of two bytes takes 40."""
    peer = Peer()
    peer.router.receive(Command(1, find(1), 100))
    count = 100_000 // size
    for _ in range(count):
        peer.router.receive(DataPiece(1, False, False, bytes(size)))
    assert len(peer.router._pieces) <= 100_000 // 1024 + 1
    peer.router.receive(DataPiece(1, False, True, b""))
    assert len(peer.events.pop().data) == count * size


@pytest.mark.parametrize("make", [bytes, bytearray, lambda data: memoryview(bytes(data))])
def test_pieces_that_wait_are_joined_where_they_are_small(make: Any) -> None:
    pieces: list[bytes | memoryview] = []
    sizes = [1, 1022, 1, 1, 1024, 1023, 5, 4000, 3, 3]
    for number, size in enumerate(sizes):
        append_piece(pieces, make(bytes([number]) * size))
    assert list(map(len, pieces)) == [1024, 1, 1024, 1028, 4000, 6]
    assert b"".join(pieces) == b"".join(bytes([number]) * size for number, size in enumerate(sizes))


def test_one_normalized_data_set_may_be_larger_than_all_that_requests_may_have() -> None:
    """A print image (PS3.4 H) is no Identifier."""
    peer = Peer(identifier=1000, normalized_dataset=10_000, requests_in_memory=3000)
    film = NSetRQ(message_id=9, requested_sop_class_uid=UPS, requested_sop_instance_uid="1.2", has_data_set=True)
    first = peer.ask(film, 9_000)
    assert isinstance(first, RequestReceived)
    assert peer.ask(find(1), 10).response.status == 0xA700  # nothing more meanwhile
    peer.router.respond(first.operation, film.response(0))
    assert peer.ask(film, 10_001).response.status == 0x0213
