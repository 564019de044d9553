"""What renews a deadline and what does not; test_aio_deadline_table.py has each of them, and when it fires."""

from __future__ import annotations

import asyncio

import pytest

import aiodimse
from aiodimse import sop_class, testing
from aiodimse.config import Timeouts
from aiodimse.datasets import encode_dataset
from aiodimse.dimse import command
from aiodimse.dimse.messages import CCancelRQ, CEchoRQ, CFindRQ, CFindRSP, CStoreRQ
from aiodimse.errors import AssociationAborted, AssociationClosed, AssociationTimeout
from aiodimse.pdu import Abort, AssociateAC, AssociateRJ, ReleaseRP, ReleaseRQ, encode, pdata_header

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
GET = sop_class.StudyRootQueryRetrieveInformationModelGet
MOVE = sop_class.StudyRootQueryRetrieveInformationModelMove
CT = sop_class.CTImageStorage
EXPLICIT = "1.2.840.10008.1.2.1"
DEFAULT = Timeouts()
ECHO_COMMAND = command.encode(CEchoRQ(message_id=1, affected_sop_class_uid=sop_class.Verification))
ECHO = pdata_header(1, True, True, len(ECHO_COMMAND)) + ECHO_COMMAND
STORE_COMMAND = command.encode(
    CStoreRQ(message_id=1, affected_sop_class_uid=CT, affected_sop_instance_uid="1.2", priority=0, has_data_set=True)
)
STORE_RQ = pdata_header(7, True, True, len(STORE_COMMAND)) + STORE_COMMAND


async def trickle(world, peer, data: bytes, seconds: float) -> None:
    """A byte a second."""
    for at in range(int(seconds)):
        peer.send(data[at : at + 1])
        await world.clock.elapse(1)


# --- making an association --------------------------------------------------------------------------------------------


async def test_connect__is_not_renewed_by_a_trickle_of_the_answer(world):
    peers = await testing.ScriptedPeer.listen(world.network, 104)
    opening = asyncio.create_task(world.open(104, timeouts=Timeouts(pdu=None)))
    peer = await peers.get()
    await trickle(world, peer, b"\2\0\0\0\1\0" + bytes(100), 31)
    with pytest.raises(AssociationTimeout):
        await opening
    peer.abort_transport()


async def test_artim__is_not_renewed_by_a_trickle(world):
    async with world.server().listen("memory", 104):
        peer = await world.call()
        await trickle(world, peer, b"\1\0\0\0\1\0" + bytes(100), 30)
        await testing.settle()
        assert peer.eof or peer.lost
        peer.abort_transport()


# --- talking ----------------------------------------------------------------------------------------------------------


async def test_pdu__as_provider(world):
    async with world.called(world.server()) as peer:
        await trickle(world, peer, ECHO, 29)
        assert not peer.has_pdu
        await world.clock.elapse(1)
        assert await peer.expect(Abort) == Abort(2, 0)
        assert peer.eof


async def test_pdu__in_the_middle_of_a_message_as_provider(world):
    """Found by the hostile suite: a C-STORE whose data set never came held its association for ever; one byte of it in
    every P-DATA-TF did the same again."""
    server = world.server()
    closed = []

    @server.on_c_store
    async def store(request):
        try:
            await request.dataset()
        finally:
            closed.append(True)
        return 0x0000

    async with world.called(server) as peer:
        peer.send(STORE_RQ)
        for _ in range(29):
            await world.clock.elapse(1)
            peer.send(pdata_header(7, False, False, 1) + b"\0")
        await world.clock.elapse(0.9)
        assert not peer.has_pdu
        assert not closed
        await world.clock.elapse(0.2)
        assert await peer.expect(Abort) == Abort(2, 0)
        assert peer.eof
        assert closed


async def test_idle__as_provider(world):
    async with world.called(world.server()) as peer:
        await world.clock.elapse(59.9)
        peer.send(ECHO)
        await peer.read_message()
        await world.clock.elapse(59.9)
        assert not peer.has_pdu
        await world.clock.elapse(0.2)
        assert await peer.expect(Abort) == Abort(0, 0)


async def test_idle__does_not_count_while_a_handler_runs(world):
    server = world.server()
    go = asyncio.Event()

    @server.on_c_echo
    async def slow(request):
        await go.wait()

    async with world.called(server) as peer:
        peer.send(ECHO)
        await world.clock.elapse(600)
        assert not peer.has_pdu
        go.set()
        _, response, _ = await peer.read_message()
        assert response.status == 0


async def test_response__to_a_find(world):
    association, peer = await world.calling()
    finding = asyncio.create_task(association.c_find(world.query(), FIND).collect())
    _, request, _ = await peer.read_message()
    for _ in range(3):  # a Pending response renews it
        await world.clock.elapse(59)
        peer.send_message(3, request.response(0xFF00), encode_dataset(world.query(), EXPLICIT))
    await world.clock.elapse(59.9)
    assert not finding.done()
    await world.clock.elapse(0.2)
    with pytest.raises(AssociationTimeout) as caught:
        await finding
    assert caught.value.phase == "response"
    _, cancel, _ = await peer.read_message()
    assert isinstance(cancel, CCancelRQ)
    peer.send_message(3, request.response(0xFE00))
    association.abort()
    await peer.closed()
    peer.abort_transport()


async def test_response__is_not_renewed_by_a_trickle(world):
    association, peer = await world.calling(timeouts=Timeouts(pdu=None))
    echo = asyncio.create_task(association.c_echo())
    await peer.read_message()
    await trickle(world, peer, ECHO, 60)
    await testing.settle()
    with pytest.raises(AssociationTimeout):
        await echo
    association.abort()
    peer.abort_transport()


async def test_response__holds_while_one_waits_for_a_place(world):
    association, peer = await world.calling()
    first, second = (asyncio.create_task(association.c_echo()) for _ in range(2))
    await world.clock.elapse(60)
    for task in (first, second):
        with pytest.raises(AssociationTimeout):
            await task
    association.abort()
    peer.abort_transport()


@pytest.mark.parametrize("seconds", [None, 100.0])
async def test_move_response__is_none_unless_asked_for(world, seconds):
    association, peer = await world.calling(timeouts=Timeouts(move_response=seconds))
    moving = asyncio.create_task(association.c_move(world.query(), MOVE, destination="X")._run())
    await peer.read_message()
    await world.clock.elapse(99.9)
    assert not moving.done()
    await world.clock.elapse(10_000)
    assert moving.done() == (seconds is not None)
    association.abort()
    with pytest.raises(AssociationTimeout if seconds else AssociationAborted):
        await moving
    peer.abort_transport()


async def test_cancel_drain__then_the_association_is_aborted(world):
    association, peer = await world.calling()
    async with association.c_find(world.query(), FIND):
        await peer.read_message()
    await peer.read_message()  # C-CANCEL-RQ
    await world.clock.elapse(5)
    peer.send_message(3, CFindRSP(message_id_being_responded_to=1, status=0xFF00, affected_sop_class_uid=FIND), b"")
    await world.clock.elapse(4.9)
    assert association.is_open
    await world.clock.elapse(0.2)
    assert not association.is_open
    assert await peer.expect(Abort) == Abort(0, 0)
    peer.abort_transport()


# --- not reading, not being read --------------------------------------------------------------------------------------


async def take(peer: testing.ScriptedPeer, size: int) -> None:
    """So many bytes, and no more; fewer where the end comes before."""
    enough = len(peer.raw) + size
    peer.go_on_reading()
    while len(peer.raw) < enough and not (peer.eof or peer.lost):  # noqa: ASYNC110 - to the byte
        await asyncio.sleep(0)
    peer.stop_reading()


@pytest.mark.parametrize(("size", "lives"), [(7680, True), (7000, False)])
async def test_write_stall__is_renewed_by_enough_bytes_and_by_no_trickle(world, size, lives):
    """256 bytes a second."""
    world.network.in_flight, world.network.split = 1000, lambda there: 10
    association, peer = await world.calling()
    peer.stop_reading()
    storing = asyncio.create_task(association.c_store(big_instance()))
    for _ in range(4):
        await world.clock.elapse(29)
        await take(peer, size)
        await world.clock.elapse(1)
    assert association.is_open == lives
    association.abort()
    await world.clock.elapse(2)
    with pytest.raises(AssociationAborted if lives else AssociationTimeout):
        await storing
    peer.abort_transport()


async def test_write_stall__is_no_stall_where_all_that_waited_was_taken(world):
    world.network.in_flight, world.network.split = 1000, lambda there: 100
    go_on = asyncio.Event()

    @(server := world.server()).on_c_find
    async def find(request):
        for _ in range(30):
            yield world.query()
        await go_on.wait()
        for _ in range(100):
            yield world.query()

    async with world.called(server) as peer:
        peer.send_message(3, CFindRQ(message_id=9, affected_sop_class_uid=FIND, priority=0), b"")
        peer.stop_reading()
        await world.clock.elapse(29)
        (ours,) = [transport for transport in world.network.open if transport is not peer.transport]
        waited = ours.get_write_buffer_size()
        assert 1000 < waited < 7680
        await take(peer, waited + 1000)
        go_on.set()
        await world.clock.elapse(1)
        assert ours.get_write_buffer_size() > 1000
        assert not ours.is_closing()
        await world.clock.elapse(30)
        assert ours.is_closing()


# --- ending -----------------------------------------------------------------------------------------------------------


async def test_release__that_is_not_answered(world):
    association, peer = await world.calling()
    releasing = asyncio.create_task(association.release())
    await peer.expect(ReleaseRQ)
    await trickle(world, peer, ECHO, 9)
    assert not releasing.done()
    await world.clock.elapse(1)
    with pytest.raises(AssociationTimeout) as caught:
        await releasing
    assert caught.value.phase == "release"
    await peer.expect(Abort)
    peer.abort_transport()


@pytest.mark.parametrize("how", ["rejected", "released"])
async def test_close__that_the_peer_does_not_do(world, how):
    server = world.server(accept_called=how == "released")
    async with server.listen("memory", 104):
        peer = await world.call()
        peer.send(testing.EnginePair([sop_class.Verification]).rq)
        if how == "released":
            await peer.expect(AssociateAC)
            peer.send(ReleaseRQ())
            await peer.expect(ReleaseRP)
        else:
            await peer.expect(AssociateRJ)
        await peer.closed()
        assert peer.eof
        for _ in range(9):  # Sta13: what still comes is read and discarded
            peer.send(bytes(50_000))
            await world.clock.elapse(1)
        assert not peer.lost
        assert len(world.network.open) == 2
        await world.clock.elapse(1.1)
        assert world.network.open == [peer.transport]
        peer.abort_transport()


async def test_close_after_abort__fin_at_once_then_read_and_discard(world):
    async with world.called(world.server()) as peer:
        peer.send(b"\x99" * 10)
        await testing.settle()
        assert await peer.expect(Abort) == Abort(2, 1)
        assert peer.eof
        for _ in range(9):
            peer.send(encode(ReleaseRQ()) + bytes(100_000))
            await world.clock.elapse(0.1)
        assert len(world.network.open) == 2
        await world.clock.elapse(0.2)
        assert world.network.open == [peer.transport]
        assert not peer.has_pdu


async def test_server_drain__then_abort(world):
    server = world.server()
    closed = []

    @server.on_c_echo
    async def hang(request):
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            closed.append(True)

    listening = server.listen("memory", 104)
    await listening.__aenter__()
    busy, idle, unassociated = [await world.call() for _ in range(3)]
    for peer in (busy, idle):
        await peer.associate(world.contexts)
    busy.send(ECHO)
    await testing.settle()
    leaving = asyncio.create_task(listening.__aexit__(None, None, None))
    await testing.settle()
    assert await idle.expect(Abort) == Abort(0, 0)
    assert unassociated.eof or unassociated.lost
    assert not busy.has_pdu
    with pytest.raises(ConnectionRefusedError):
        await world.call()
    await world.clock.elapse(29.9)
    assert not leaving.done()
    assert not busy.has_pdu
    await world.clock.elapse(2)
    await leaving
    assert closed
    assert await busy.expect(Abort) == Abort(0, 0)
    for peer in (busy, idle, unassociated):
        peer.abort_transport()


def big_instance() -> aiodimse.Instance:
    class Big(aiodimse.Instance):
        async def _stream(self):
            for _ in range(100):
                yield bytes(100_000)

        def stream(self):
            return self._stream()

    return Big(CT, "1.2.3", EXPLICIT)


async def test_a_release_of_the_peer_ends_what_we_await(world):
    association, peer = await world.calling()
    echo = asyncio.create_task(association.c_echo())
    await peer.read_message()
    peer.send(ReleaseRQ())
    with pytest.raises(AssociationClosed):
        await echo
    await peer.expect(ReleaseRP)
    peer.abort_transport()
