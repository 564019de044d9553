"""A slow consumer slows its peer down and nobody else; what cannot be written makes us stop reading."""

from __future__ import annotations

import asyncio

from aiodimse import Instance, sop_class, testing
from aiodimse.config import Limits
from aiodimse.datasets import encode_dataset
from aiodimse.dimse import command
from aiodimse.dimse.messages import CCancelRQ, CEchoRQ, CFindRQ, CStoreRQ
from aiodimse.pdu import Abort, pdata_header

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
CT, COMMITMENT = sop_class.CTImageStorage, sop_class.StorageCommitmentPushModel
EXPLICIT = "1.2.840.10008.1.2.1"
SMALL = Limits(max_pdu_length=16384)


def store_of(size: int) -> tuple[CStoreRQ, bytes]:
    return CStoreRQ(message_id=1, affected_sop_class_uid=CT, affected_sop_instance_uid="1.2", priority=0), bytes(size)


async def test_a_slow_consumer_pauses_reading_and_resumes_it(world):
    server = world.server(limits=SMALL)
    world.network.in_flight = 16384
    step, read = asyncio.Semaphore(0), [0]

    @server.on_c_store
    async def slow(request):
        async for piece in request.stream():
            read[0] += len(piece)
            await step.acquire()
        return 0x0000

    async with world.called(server) as peer:
        endpoint = next(iter(server_connections(world)))
        peer.send_message(7, *store_of(1_000_000))
        await testing.settle()
        assert endpoint.is_paused
        # Held back at the peer: all but the high mark (twice the PDU maximum), a read, and what is in flight.
        assert peer.transport.get_write_buffer_size() > 1_000_000 - 2 * 16384 - 16384 - (1 << 18)
        await world.clock.elapse(200)
        assert not peer.has_pdu
        while not peer.has_pdu:
            step.release()
            await testing.settle()
        _, response, _ = await peer.read_message()
        assert (response.status, read[0]) == (0, 1_000_000)
        assert not endpoint.is_paused


async def test_a_pause_freezes_the_deadline_of_a_pdu(world):
    """The PDU is not complete because we do not read: that is not the peer's fault."""
    server = world.server(limits=SMALL)
    world.network.in_flight = 1000
    world.network.split = lambda there: min(there, 12_000)
    go = asyncio.Event()

    @server.on_c_store
    async def slow(request):
        await go.wait()
        await request.discard()
        return 0x0000

    async with world.called(server) as peer:
        endpoint = next(iter(server_connections(world)))
        peer.send_message(7, *store_of(200_000))
        await testing.settle()
        assert endpoint.is_paused
        assert endpoint.engine._reader.in_pdu
        await world.clock.elapse(100)  # three times Timeouts.pdu
        assert endpoint.error is None
        go.set()
        _, response, _ = await peer.read_message()
        assert response.status == 0


async def test_a_slow_association_does_not_slow_another(world):
    server = world.server(limits=SMALL)

    go = asyncio.Event()

    @server.on_c_store
    async def hang(request):
        await go.wait()
        return 0x0000

    async with world.called(server) as slow:
        slow.send_message(7, *store_of(1_000_000))
        await testing.settle()
        other = await world.call()
        await other.associate(world.contexts)
        other.send_message(1, CEchoRQ(message_id=1, affected_sop_class_uid=sop_class.Verification))
        _, response, _ = await other.read_message()
        assert response.status == 0
        other.abort_transport()
        go.set()  # paused, the server would not hear that the slow one goes, either
        await slow.read_message()


async def test_a_peer_that_does_not_read_stops_the_handlers_cursor(world):
    world.network.in_flight = 1000
    server = world.server()
    yielded = [0]

    @server.on_c_find
    async def endless(request):
        while True:
            yielded[0] += 1
            yield world.query()

    async with world.called(server) as peer:
        peer.stop_reading()
        find = CFindRQ(message_id=1, affected_sop_class_uid=FIND, priority=0)
        peer.send_message(3, find, encode_dataset(world.query(), EXPLICIT))
        await testing.settle()
        stopped_at = yielded[0]
        assert 10 < stopped_at < 3000  # the transport's high mark is 64 KiB
        await world.clock.elapse(20)
        assert yielded[0] == stopped_at
        peer.send_message(3, CCancelRQ(message_id_being_responded_to=1))  # heard: we read on
        await testing.settle()
        peer.go_on_reading()
        statuses = []
        while not statuses or statuses[-1] == 0xFF00:
            _, response, _ = await peer.read_message()
            statuses.append(response.status)
        assert statuses[-1] == 0xFE00
        assert len(statuses) <= stopped_at + 1


async def test_many_refusals_that_are_not_read_stop_our_reading(world):
    """Answers wait to be written: above Limits.write_backlog nothing more is read."""
    world.network.in_flight = 1000
    server = world.server(limits=Limits(write_backlog=50_000, overhead=1 << 30))
    async with world.called(server) as peer:
        endpoint = next(iter(server_connections(world)))
        peer.stop_reading()
        wrong = command.encode(CEchoRQ(message_id=1, affected_sop_class_uid=CT))
        pdu = pdata_header(1, True, True, len(wrong)) + wrong
        for _ in range(300):
            peer.send(pdu * 10)
            await testing.settle()
        assert endpoint.is_paused
        assert endpoint.throttle.backlog < 200_000
        peer.go_on_reading()
        for _ in range(3000):
            _, response, _ = await peer.read_message()
            assert response.status == 0x0122
        assert not endpoint.is_paused


async def test_a_consumer_that_takes_some_goes_on(world):
    """However slowly: Timeouts.consumer is for one that takes nothing."""
    server = world.server(limits=SMALL)
    step = asyncio.Semaphore(0)

    @server.on_c_store
    async def slow(request):
        async for _ in request.stream():
            await step.acquire()
        return 0x0000

    async with world.called(server) as peer:
        peer.send_message(7, *store_of(1_000_000))
        await testing.settle()
        for _ in range(4):
            await world.clock.elapse(299)
            assert world.ours.is_paused
            step.release()
            await testing.settle()
        await world.clock.elapse(299)
        assert world.ours.error is None
        await world.clock.elapse(2)
        assert world.ours.error.phase == "consumer"


async def test_a_peer_that_takes_some_of_our_answers_goes_on(world):
    """Nobody here has anything to consume: how fast it must be is Limits.min_rate, over each Timeouts.write_stall."""
    world.network.in_flight = 1000
    world.network.split = lambda there: min(there, 10_000)
    server = world.server(limits=Limits(write_backlog=200_000, overhead=1 << 30))
    async with world.called(server) as peer:
        take = peer.data_received

        def take_one(data: bytes) -> None:
            take(data)
            peer.stop_reading()

        peer.data_received = take_one
        peer.stop_reading()
        wrong = command.encode(CEchoRQ(message_id=1, affected_sop_class_uid=CT))
        pdu = pdata_header(1, True, True, len(wrong)) + wrong
        while not world.ours.is_paused:
            peer.send(pdu * 10)
            await testing.settle()
        for _ in range(20):  # 20 * 10,000 bytes in 500 s
            await world.clock.elapse(25)
            while len(peer.raw) < 10_000:
                peer.go_on_reading()
                await testing.settle()
            peer.raw.clear()
            assert world.ours.error is None
            if not world.ours.is_paused:
                break
        else:
            raise AssertionError("it never went on")
        assert world.clock.now() > 301
        await world.clock.elapse(61)
        assert world.ours.error.phase == "write"


async def test_an_abort_takes_no_lock(world):
    """While a message is half written and the peer reads nothing, an abort ends it within a second."""
    world.network.in_flight = 1000
    association, peer = await world.calling()
    peer.stop_reading()

    storing = asyncio.create_task(association.c_store(endless_instance()))
    await testing.settle()
    assert association._endpoint.writer.is_held
    association.abort()
    await world.clock.elapse(1.1)
    assert storing.done()
    assert isinstance(storing.exception(), Exception)
    assert world.network.open == [peer.transport]
    peer.abort_transport()


async def test_an_abort_of_the_peer_ends_what_runs(world):
    server = world.server()
    closed = asyncio.Event()

    @server.on_c_find
    async def hang(request):
        try:
            await asyncio.get_running_loop().create_future()
            yield
        finally:
            closed.set()

    async with world.called(server) as peer:
        find = CFindRQ(message_id=1, affected_sop_class_uid=FIND, priority=0)
        peer.send_message(3, find, encode_dataset(world.query(), EXPLICIT))
        await testing.settle()
        peer.send(Abort(0, 0))
        await testing.settle()
        assert closed.is_set()
        assert not peer.has_pdu
        assert peer.eof or peer.lost


def server_connections(world):
    """The acceptors' Connection of every open transport."""
    return [
        transport.get_protocol()._owner
        for transport in world.network.open
        if not isinstance(transport.get_protocol(), testing.ScriptedPeer)
    ]


def endless_instance():
    class Endless(Instance):
        async def _stream(self):
            while True:
                yield bytes(100_000)

        def stream(self):
            return self._stream()

    return Endless(CT, "1.2.3", EXPLICIT)


async def test_a_handler_that_asks_before_it_reads_is_told_so(world):
    """The response comes behind the data set that the handler does not read. The error says what waits for what."""
    server = world.server(limits=SMALL)

    @server.on_c_store
    async def asks(request):
        await request.association.n_event_report(COMMITMENT, "1.2.840.10008.1.20.1.1", 1)
        await request.discard()
        return 0x0000

    server.on_n_action(COMMITMENT)(asks)
    async with world.called(server, [CT, COMMITMENT]) as peer:
        peer.send_message(1, *store_of(1_000_000))
        assert (await peer.read_message())[1].name == "N-EVENT-REPORT-RQ"
        await world.clock.elapse(301)
        assert world.ours.error.phase == "consumer"
        assert "nobody reads the data set of the peer's C-STORE-RQ 1" in str(world.ours.error)
        assert "our N-EVENT-REPORT-RQ 1 waits for a response that comes later" in str(world.ours.error)


async def test_responses_that_nobody_reads_are_named(world):
    association, peer = await world.calling(limits=SMALL)
    matches = await association.c_find(world.query(), FIND).__aenter__()
    _, request, _ = await peer.read_message()
    for _ in range(1000):
        peer.send_message(3, request.response(0xFF00), encode_dataset(world.query(), EXPLICIT))
    await world.clock.elapse(301)
    assert "nobody reads the responses to our C-FIND-RQ 1" in str(association._endpoint.error)
    await matches.__aexit__(None, None, None)
    peer.abort_transport()
