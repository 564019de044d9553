"""What one association can make us hold, measured: a peer sends 6 MiB of what costs most, and nobody takes it away."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

import aiodimse
from aiodimse import sop_class, testing
from aiodimse.config import Limits
from aiodimse.datasets import PartTenWriter
from aiodimse.dimse import command
from aiodimse.dimse.messages import CEchoRQ, CFindRQ, CStoreRQ, Message
from aiodimse.pdu import Abort, pdata_header

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
GET = sop_class.StudyRootQueryRetrieveInformationModelGet
CT = sop_class.CTImageStorage
MEBIBYTE = 1 << 20
FLOOD = 6 * MEBIBYTE


def pdv(context_id: int, data: bytes, *, is_command: bool = False, is_last: bool = True) -> bytes:
    return pdata_header(context_id, is_command, is_last, len(data)) + data


def said(context_id: int, message: Message, data: bytes | None = None) -> bytes:
    message.has_data_set = data is not None
    sent = pdv(context_id, command.encode(message), is_command=True)
    return sent if data is None else sent + pdv(context_id, data)


ANY = 1 << 30
"""Limits.overhead for tests of what a flood of it may hold: it would end the association otherwise."""


def flood(one: bytes | Callable[[int], bytes]) -> bytes:
    """6 MiB of the same, or of what is made for each number."""
    if isinstance(one, bytes):
        return one * (FLOOD // len(one))
    parts = [one(0)]
    parts += map(one, range(1, FLOOD // len(parts[0])))
    return b"".join(parts)


@pytest.fixture(autouse=True)
def _no_log(caplog: pytest.LogCaptureFixture) -> None:
    """pytest would hold that too."""
    caplog.set_level(logging.WARNING, logger="aiodimse")


class Held:
    """Bytes that were allocated since the start and live. What was sent is no part of it: it was there before."""

    def __enter__(self) -> Held:
        gc.collect()
        tracemalloc.start()
        self._before = tracemalloc.get_traced_memory()[0]
        return self

    def __exit__(self, *_: object) -> None:
        tracemalloc.stop()

    @property
    def mebibytes(self) -> float:
        gc.collect()
        return (tracemalloc.get_traced_memory()[0] - self._before) / MEBIBYTE


async def pour(world: Any, peer: testing.ScriptedPeer, data: bytes) -> None:
    peer.send(data)
    await testing.settle()


@asynccontextmanager
async def called(world: Any, server: aiodimse.Server, **options: Any) -> AsyncIterator[testing.ScriptedPeer]:
    """At the end the provider is not asked to wait for what never ends."""
    async with world.called(server, **options) as peer:
        yield peer
        for transport in list(world.network.open):
            transport.abort()
        await testing.settle()


# --- as provider ------------------------------------------------------------------------------------------------------

STORE = CStoreRQ(message_id=1, affected_sop_class_uid=CT, affected_sop_instance_uid="1.2", priority=0)
STORE.has_data_set = True
STORE_RQ = pdv(7, command.encode(STORE), is_command=True)


@pytest.mark.parametrize(("size", "most"), [(2, 0.7), (1000, 0.7), (1025, 0.7), (16_000, 0.7), (65_530, 1.0)])
async def test_a_data_set_that_nobody_reads(world, size, most):
    """Twice the largest PDU may be unread, here 128 KiB. It keeps views, of no less than a quarter of a chunk each."""
    server = world.server(limits=Limits(max_pdu_length=1 << 16, overhead=ANY))

    @server.on_c_store
    async def hang(request: Any) -> int:
        await asyncio.get_running_loop().create_future()
        return 0

    data = STORE_RQ + flood(pdv(7, bytes(size), is_last=False))
    async with called(world, server) as peer:
        with Held() as held:
            await pour(world, peer, data)
            assert 0.1 < held.mebibytes < most


async def test_an_a_associate_rq_that_is_coming(world):
    """As large as may be, all items, but for the last eight bytes."""
    async with world.listen(world.server()):
        peer = await world.call()
        size = Limits().associate_pdu_length
        data = b"\1\0" + (size - 6).to_bytes(4, "big") + b"\0\1" + bytes(66)
        data += (b"\x99\0\0\4" + bytes(4)) * ((size - len(data)) // 8 - 1)
        with Held() as held:
            await pour(world, peer, data)
            assert 0.4 < held.mebibytes < 0.8
        peer.abort_transport()


@pytest.mark.parametrize("size", [1000, 16_000])
async def test_a_command_set_that_is_coming(world, size):
    async with called(world, world.server()) as peer:
        data = flood(pdv(1, bytes(size), is_command=True, is_last=False))
        with Held() as held:
            await pour(world, peer, data)
            assert held.mebibytes < 0.7
        assert await peer.expect(Abort) == Abort(2, 6)


@pytest.mark.parametrize("size", [20, 1000, 16_000])
async def test_an_identifier_that_is_coming(world, size):
    server = world.server(limits=Limits(overhead=ANY))

    @server.on_c_find
    async def never(request: Any) -> AsyncIterator[Any]:
        raise AssertionError("it is too large")
        yield

    request = CFindRQ(message_id=1, affected_sop_class_uid=FIND, priority=0)
    request.has_data_set = True
    begun = pdv(3, command.encode(request), is_command=True)
    half = pdv(3, bytes(size), is_last=False) * (MEBIBYTE // size - 1)
    rest = flood(pdv(3, bytes(size), is_last=False)) + pdv(3, b"")
    async with called(world, server) as peer:
        with Held() as held:
            await pour(world, peer, begun + half)
            assert 0.9 < held.mebibytes < 1.7
            await pour(world, peer, rest)
            assert held.mebibytes < 1
        _, response, _ = await peer.read_message()
        assert response.status == 0xA700


async def test_a_data_set_that_is_decoded(world):
    """`dataset()` gathers no more than it may."""
    server = world.server(limits=Limits(dataset_in_memory=2 * MEBIBYTE))

    @server.on_c_store
    async def decode(request: Any) -> int:
        await request.dataset()
        return 0

    piece = pdv(7, bytes(16_000), is_last=False)
    async with called(world, server) as peer:
        with Held() as held:
            await pour(world, peer, STORE_RQ + piece * 120)
            assert 1.5 < held.mebibytes < 2.8
            await pour(world, peer, flood(piece) + pdv(7, b""))
            assert held.mebibytes < 1  # what says why it was refused keeps none of it
        _, response, _ = await peer.read_message()
        assert response.status == 0xC210


async def test_refusals_that_the_peer_does_not_take(world):
    """Each repeats the names in its request, which may be as long as a command set."""
    world.network.in_flight = 1000
    long = "1" * 60_000
    server = world.server()
    data = flood(said(1, CEchoRQ(message_id=1, affected_sop_class_uid=long)))
    async with called(world, server) as peer:
        peer.stop_reading()
        with Held() as held:
            await pour(world, peer, data)
            assert 0.5 < held.mebibytes < 3


class Endless(aiodimse.Instance):
    """The rest of it never comes."""

    async def stream(self) -> AsyncIterator[bytes]:
        yield bytes(100_000)
        await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("size", [20, 60_000])
async def test_refusals_that_wait_for_the_pen(world, size):
    """Half a message of ours is sent, and nothing else can be before its end."""
    association, peer = await world.calling(limits=Limits(overhead=ANY))
    storing = asyncio.create_task(association.c_store(Endless(CT, "1.2", "1.2.840.10008.1.2.1")))
    await testing.settle()
    data = flood(said(1, CEchoRQ(message_id=1, affected_sop_class_uid="1" * size)))
    with Held() as held:
        await pour(world, peer, data)
        assert 0.9 < held.mebibytes < 3
    assert association._endpoint.is_paused
    storing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await storing
    peer.abort_transport()


def find(number: int, size: int) -> bytes:
    """A C-FIND-RQ with an Identifier of two elements."""
    identifier = bytes.fromhex("0800 5200 4353 0600") + b"STUDY " + bytes.fromhex("1000 0040 5554 0000")
    identifier += size.to_bytes(4, "little") + bytes(size)
    request = CFindRQ(message_id=number, affected_sop_class_uid=FIND, priority=0)
    request.has_data_set = True
    parts = [pdv(3, command.encode(request), is_command=True)]
    parts += [
        pdv(3, identifier[at : at + 60_000], is_last=at + 60_000 >= len(identifier))
        for at in range(0, len(identifier), 60_000)
    ]
    return b"".join(parts)


async def test_requests_that_run(world):
    """64 at once with an Identifier of 1 MiB each would be 64 MiB; four are let in, others get 0xA700 at once."""
    server = world.server(operations_window=0)

    @server.on_c_find
    async def hang(request: Any) -> AsyncIterator[Any]:
        await asyncio.get_running_loop().create_future()
        yield

    data = b"".join(find(number, 1_000_000) for number in range(1, 17))
    async with called(world, server, operations_window=(0, 0)) as peer:
        with Held() as held:
            await pour(world, peer, data)
            assert held.mebibytes < 2 * 4.5  # as bytes, and decoded
        refused = [(await peer.read_message())[1] for _ in range(12)]
        assert [(r.message_id_being_responded_to, r.status) for r in refused] == [
            (number, 0xA700) for number in range(5, 17)
        ]
        assert not peer.has_pdu


async def test_requests_that_wait(world):
    server = world.server(limits=Limits(waiting_requests=1000))

    @server.on_c_find
    async def hang(request: Any) -> AsyncIterator[Any]:
        await asyncio.get_running_loop().create_future()
        yield

    data = b"".join(find(number, 1_000_000) for number in range(1, 17))
    async with called(world, server) as peer:
        with Held() as held:
            await pour(world, peer, data)
            assert 4 < held.mebibytes < 6
        assert len([(await peer.read_message())[1] for _ in range(12)]) == 12


async def test_what_still_comes_after_an_abort(world):
    """Sta13: read and discarded, but for the PDU that is under way."""
    async with called(world, world.server()) as peer:
        peer.send(pdv(1, b"", is_command=True))  # no command set
        assert await peer.expect(Abort) == Abort(2, 6)
        size = Limits().associate_pdu_length
        data = pdv(7, bytes(1000)) * 4000 + b"\1\0" + size.to_bytes(4, "big") + bytes(size - 1)
        with Held() as held:
            await pour(world, peer, data)
            assert 0.4 < held.mebibytes < 1.1


# --- as user ----------------------------------------------------------------------------------------------------------

RESPONSES: dict[str, tuple[Callable[[Any], bytes | Callable[[int], bytes]], float]] = {
    "Pending without an Identifier": (lambda rq: said(3, rq.response(0xFF00)), 2.5),
    "Pending with an empty one": (lambda rq: said(3, rq.response(0xFF00), b""), 2.5),
    "Pending with an Identifier": (lambda rq: said(3, rq.response(0xFF00), bytes(300)), 2.5),
    "Pending with long comments": (lambda rq: lambda number: commented(rq, number), 2.5),
}


def commented(request: Any, number: int) -> bytes:
    """Each comment another, so that none is known again."""
    comment = str(number).encode().rjust(60_000, b"x")
    element = bytes.fromhex("0000 0209") + len(comment).to_bytes(4, "little") + comment
    return pdv(3, command.encode(request.response(0xFF00)) + element, is_command=True)


@pytest.mark.parametrize("kind", RESPONSES)
async def test_responses_that_nobody_takes(world, kind):
    association, peer = await world.calling()
    matches = await association.c_find(world.query(), FIND).__aenter__()
    _, request, _ = await peer.read_message()
    make, most = RESPONSES[kind]
    data = flood(make(request))
    with Held() as held:
        await pour(world, peer, data)
        assert 0.5 < held.mebibytes < most
    assert association._endpoint.is_paused
    assert matches.status is None
    association.abort()
    peer.abort_transport()


async def test_pending_responses_of_a_retrieve_do_not_add_up(world):
    """Instances wait always, so that the Pending responses between them were never looked at: in the end they stopped
    our reading in the middle of an instance, which was then awaited for ever."""
    association, peer = await world.calling(
        contexts=[*world.contexts, GET], operations_window=(1, 4), limits=Limits(max_pdu_length=1024)
    )
    number, got = 100, 0
    go_on = asyncio.Semaphore(0)

    def store(which: int) -> tuple[bytes, bytes]:
        request = CStoreRQ(
            message_id=which, affected_sop_class_uid=CT, affected_sop_instance_uid=f"1.{which}", priority=0
        )
        request.has_data_set = True
        begun = pdv(7, command.encode(request), is_command=True) + pdv(7, bytes(10), is_last=False)
        return begun, pdv(7, bytes(10))

    async def get() -> Any:
        nonlocal got
        async with association.c_get(world.query(), GET) as retrieval:
            async for instance in retrieval:
                await go_on.acquire()
                assert len(b"".join([bytes(piece) async for piece in instance.stream()])) == 20
                got += 1
        return retrieval.status

    getting = asyncio.create_task(get())
    _, request, _ = await peer.read_message()
    for which in (1, 2):
        peer.send(b"".join(store(which)))
    for which in range(3, number + 3):
        go_on.release()
        _, response, _ = await peer.read_message()
        assert (response.message_id_being_responded_to, response.status) == (which - 2, 0)
        begun, rest = store(which) if which <= number else (b"", b"")
        peer.send(said(9, request.response(0xFF00)) + begun)
        await testing.settle()
        peer.send(rest)
    peer.send(said(9, request.response(0x0000)))
    assert await getting == 0
    assert got == number
    association.abort()
    peer.abort_transport()


async def test_what_tls_reads_ahead(make_world, certificates):
    """Below us asyncio holds what it has read and decrypted nothing of, up to a mark of its own."""
    async with make_world(certificates) as world:
        world.network.in_flight = 1000
        server = world.server(limits=Limits(max_pdu_length=1 << 14))

        @server.on_c_store
        async def hang(request: Any) -> int:
            await asyncio.get_running_loop().create_future()
            return 0

        data = STORE_RQ + flood(pdv(7, bytes(16_000), is_last=False))
        async with called(world, server) as peer:
            await pour(world, peer, data)
            assert world.ours.is_paused
            back = peer.transport.get_write_buffer_size() + peer.below.get_write_buffer_size()
            assert len(data) - back < 0.8 * MEBIBYTE


# --- files ------------------------------------------------------------------------------------------------------------


async def test_a_save_whose_disk_hangs(world, tmp_path, monkeypatch):
    """Two batches are out of the inbox, one that the disk has and one that waits for it, and the inbox fills up."""
    loop, written, disk = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
    real = PartTenWriter.write

    def write(self, *pieces):
        loop.call_soon_threadsafe(written.set)
        assert disk.wait(60)
        return real(self, *pieces)

    monkeypatch.setattr(PartTenWriter, "write", write)
    server = world.server()

    @server.on_c_store
    async def save(request: Any) -> int:
        await request.save(tmp_path, durable=False)
        return 0

    piece = b"\x08" * 16_000
    data = STORE_RQ + flood(pdv(7, piece, is_last=False)) + pdv(7, b"")
    async with called(world, server) as peer:
        with Held() as held:
            peer.send(data)
            async with asyncio.timeout(60):
                await written.wait()
            await testing.settle()
            assert 0.5 < held.mebibytes < 2.5
            assert world.ours.is_paused
            disk.set()
        _, response, _ = await peer.read_message()
        assert response.status == 0
    (path,) = tmp_path.iterdir()
    assert path.read_bytes().endswith(piece * (FLOOD // len(pdv(7, piece))))


async def test_a_large_file_to_a_peer_that_does_not_read(world, tmp_path):
    """A piece of 1 MiB of it is being sent, and the next one read."""
    with PartTenWriter(tmp_path, CT, "1.2", "1.2.840.10008.1.2.1", durable=False) as writer:
        path = writer.finish(b"\x08" * (4 * FLOOD))
    association, peer = await world.calling()
    peer.stop_reading()
    with Held() as held:
        storing = asyncio.create_task(association.c_store(path))
        async with asyncio.timeout(60):
            while association._endpoint.connection.can_write:  # noqa: ASYNC110 - a thread reads
                await asyncio.sleep(0)
        await testing.settle()
        assert 0.5 < held.mebibytes < 3
    peer.go_on_reading()
    context, request, data = await peer.read_message()
    assert data == b"\x08" * (4 * FLOOD)
    peer.send_message(context, request.response(0x0000))
    assert (await storing).status == 0x0000
    association.abort()
    peer.abort_transport()
