"""What is asked of sockets and transports: their options, how often they are written to, and both event loops."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from loops import on_each_loop
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from scripted.peer import ScriptedListener
from tls.authority import Certificates

import aiodimse
from aiodimse import sop_class, testing, tls
from aiodimse.aio.transport import TransportConnection
from aiodimse.datasets import encode_dataset
from aiodimse.dimse.messages import CEchoRQ, CFindRQ
from aiodimse.standard.transfer_syntax import ExplicitVRLittleEndian

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
GET = sop_class.StudyRootQueryRetrieveInformationModelGet
CT = sop_class.CTImageStorage
HOST = "127.0.0.1"
Run = Callable[[Coroutine[Any, Any, None]], None]

carriers = pytest.mark.parametrize("secure", [False, True], ids=["TCP", "TLS"])


@asynccontextmanager
async def over_sockets(
    server: aiodimse.Server, certificates: Certificates | None, **options: Any
) -> AsyncIterator[tuple[Any, Any]]:
    """Our user's association with our server, and the Connection of the server."""
    theirs = ours = None
    if certificates is not None:
        theirs = tls.server_context(**certificates.pair("server"), verify_client=False)
        ours = tls.client_context(certificates.ca)
    async with (
        server.listen(HOST, 0, ssl=theirs) as listening,
        aiodimse.connect(HOST, listening.port, called_ae_title=server.ae_title, ssl=ours, **options) as association,
    ):
        yield association, next(iter(listening._acceptor._all))


# --- options ----------------------------------------------------------------------------------------------------------


@on_each_loop
@carriers
def test_the_options_of_both_ends(certificates: Certificates, run: Run, secure: bool) -> None:
    async def main() -> None:
        options = {"contexts": [sop_class.Verification]}
        async with over_sockets(aiodimse.Server(), certificates if secure else None, **options) as (user, provider):
            assert (await user.c_echo()).status == 0x0000
            for wire in (user._endpoint.connection, provider.connection):
                sock = wire.transport.get_extra_info("socket")
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
                for name, value in (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 6)):
                    if hasattr(socket, name):
                        assert sock.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) == value

    run(main())


class FakeSocket:
    family = socket.AF_INET

    def __init__(self) -> None:
        self.set: list[tuple[int, int]] = []
        self.broken = False

    def setsockopt(self, level: int, option: int, value: int) -> None:
        if self.broken:
            raise OSError
        self.set.append((level, option))


class FakeTransport(asyncio.Transport):
    def write(self, data: Any) -> None: ...

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return False


class Owner:
    """Answers what asks for it."""

    wire: TransportConnection

    def transport_connected(self) -> None: ...

    def transport_received(self, data: bytes) -> None:
        if data == b"ask":
            self.connection.write([b"answer"])

    def transport_stalled(self) -> None: ...

    def transport_closed(self) -> None: ...

    def transport_lost(self) -> None: ...


@pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="Linux has it")
@pytest.mark.parametrize("quick_ack", [True, False])
async def test_quick_acknowledgments(quick_ack: bool) -> None:
    """Armed again by each read that no write follows, for such a write acknowledges; and not at all where not asked."""
    owner, sock = Owner(), FakeSocket()
    wire = owner.connection = TransportConnection(
        owner, testing.ManualClock(), write_stall=None, min_rate=0, quick_ack=quick_ack
    )
    wire.connection_made(FakeTransport({"socket": sock}))

    def armed() -> int:
        return sock.set.count((socket.IPPROTO_TCP, socket.TCP_QUICKACK))

    counts = [armed()]
    for data in (b"half", b"ask", b"half", b"half", b"ask"):
        wire.data_received(data)
        counts.append(armed())
    assert counts == ([1, 2, 2, 3, 4, 4] if quick_ack else [0] * 6)
    sock.broken = True  # the connection is gone, and the loop has not told us yet
    wire.data_received(b"half")
    sock.broken = False
    wire.data_received(b"half")
    assert armed() == counts[-1]
    wire.connection_lost(None)


async def test_a_socket_that_takes_no_options_any_more() -> None:
    """macOS refuses options of a connection that the peer has reset; the loop has not told us yet."""

    class Told(Owner):
        is_connected = False

        def transport_connected(self) -> None:
            self.is_connected = True

    owner, sock = Told(), FakeSocket()
    sock.broken = True
    wire = owner.connection = TransportConnection(owner, testing.ManualClock(), write_stall=None, min_rate=0)
    wire.connection_made(FakeTransport({"socket": sock}))
    assert owner.is_connected
    wire.data_received(b"half")
    wire.connection_lost(ConnectionResetError())


async def _open(port: int) -> aiodimse.Association:
    return await aiodimse.connect(HOST, port, contexts=[CT])


async def test_nothing_is_written_to_a_connection_that_broke() -> None:
    """asyncio would log a warning for each write, which fails a test."""
    async with await ScriptedListener.open() as listener:
        opening = asyncio.create_task(_open(listener.port))
        peer = await listener.accept()
        await peer.accept()
        association = await opening

        class Breaks(aiodimse.Instance):
            async def stream(self) -> AsyncIterator[bytes]:
                yield bytes(10)
                peer.writer.get_extra_info("socket").shutdown(socket.SHUT_RDWR)  # what comes now is answered by RST
                yield bytes(1 << 20)

        with pytest.raises(aiodimse.AssociationAborted):
            await association.c_store(Breaks(CT, "1.2.3", ExplicitVRLittleEndian))
        await association.wait_closed()


# --- writes -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def writes(monkeypatch: pytest.MonkeyPatch) -> Counter[Any]:
    """How often each transport in memory was written to."""
    counted: Counter[Any] = Counter()
    write = testing.transport.MemoryTransport.write

    def count(self: Any, data: Any) -> None:
        counted[self] += 1
        write(self, data)

    monkeypatch.setattr(testing.transport.MemoryTransport, "write", count)
    return counted


async def test_an_echo_is_one_write_each_way(world: Any, writes: Counter[Any]) -> None:
    async with world.called(world.server()) as peer:
        before = writes[world.ours.connection.transport]
        peer.send_message(1, CEchoRQ(message_id=1, affected_sop_class_uid=sop_class.Verification))
        assert (await peer.read_message())[1].status == 0x0000
        assert writes[world.ours.connection.transport] - before == 1
    association, peer = await world.calling()
    before = writes[association._endpoint.connection.transport]
    echo = asyncio.create_task(association.c_echo())
    context, request, _ = await peer.read_message()
    assert writes[association._endpoint.connection.transport] - before == 1
    peer.send_message(context, request.response(0x0000))
    assert (await echo).status == 0x0000
    association.abort()
    peer.abort_transport()


async def test_a_store_of_39_kb_is_one_write(world: Any, writes: Counter[Any]) -> None:
    """P-DATA-TF headers, command set and data set. CT_small.dcm is what the benchmarks send."""
    association, peer = await world.calling()
    before = writes[association._endpoint.connection.transport]
    path = str(get_testdata_file("CT_small.dcm", download=False))
    store = asyncio.create_task(association.c_store(path))
    context, request, data = await peer.read_message()
    assert data is not None
    assert 38_000 < len(data) < 40_000
    assert writes[association._endpoint.connection.transport] - before == 1
    peer.send_message(context, request.response(0x0000))
    assert (await store).status == 0x0000
    association.abort()
    peer.abort_transport()


async def test_a_match_is_one_write(world: Any, writes: Counter[Any]) -> None:
    server, go_on = world.server(), asyncio.Event()

    @server.on_c_find
    async def find(request: Any) -> AsyncIterator[Dataset]:
        yield world.query()
        await go_on.wait()

    async with world.called(server) as peer:
        ours = world.ours.connection.transport
        before = writes[ours]
        identifier = encode_dataset(world.query(), ExplicitVRLittleEndian)
        peer.send_message(3, CFindRQ(message_id=1, affected_sop_class_uid=FIND, priority=0), identifier)
        _, response, data = await peer.read_message()
        assert (response.status, data, writes[ours] - before) == (0xFF00, identifier, 1)
        go_on.set()
        _, response, data = await peer.read_message()
        assert (response.status, data, writes[ours] - before) == (0x0000, None, 2)


# --- tasks ------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.version_info < (3, 12), reason="tasks start eagerly from 3.12 on")
async def test_handlers_begin_in_the_read_that_brings_their_request(
    world: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a task of their own all the same: what a handler awaits holds nobody up."""
    server, go_on = world.server(), asyncio.Event()
    begun: list[asyncio.Task[Any] | None] = []
    after_read: list[int] = []

    @server.on_c_echo
    async def echo(request: Any) -> int:
        begun.append(asyncio.current_task())
        await go_on.wait()
        return 0x0000

    received = TransportConnection.data_received

    def note(self: TransportConnection, data: bytes) -> None:
        received(self, data)
        after_read.append(len(begun))

    async with world.called(server, operations_window=(0, 0)) as peer:
        monkeypatch.setattr(TransportConnection, "data_received", note)
        for number in (1, 2):
            peer.send_message(1, CEchoRQ(message_id=number, affected_sop_class_uid=sop_class.Verification))
            await testing.settle()
        assert after_read == [1, 2]
        assert len({*begun, None, asyncio.current_task()}) == 4
        go_on.set()
        for _ in (1, 2):
            assert (await peer.read_message())[1].status == 0x0000


# --- both event loops -------------------------------------------------------------------------------------------------


@on_each_loop
@carriers
def test_echo_store_and_get(certificates: Certificates, tmp_path: Path, run: Run, secure: bool) -> None:
    """uvloop has transports, TLS and sockets of its own."""
    server, saved, got = aiodimse.Server(), tmp_path / "saved", tmp_path / "got"
    large = dcmread(str(get_testdata_file("CT_small.dcm", download=False)))
    large.PixelData = bytes(range(256)) * (4 << 12)  # 4 MiB: more than sockets and transports hold
    saved.mkdir()
    got.mkdir()

    @server.on_c_store
    async def store(request: Any) -> int:
        await request.save(saved, durable=False)
        return 0x0000

    @server.on_c_get
    async def get(request: Any) -> AsyncIterator[Any]:
        yield 1
        yield saved / f"{large.SOPInstanceUID}.dcm"

    async def main() -> None:
        carrier = certificates if secure else None
        async with over_sockets(server, carrier, contexts=[sop_class.Verification, CT]) as (user, _):
            assert (await user.c_echo()).status == 0x0000
            assert (await user.c_store(large)).status == 0x0000
        query = Dataset()
        query.QueryRetrieveLevel, query.StudyInstanceUID = "STUDY", large.StudyInstanceUID
        async with over_sockets(server, carrier, contexts=[GET], storage=[CT]) as (user, _):
            async with user.c_get(query, GET) as retrieval:
                async for instance in retrieval:
                    await instance.save(got, durable=False)
            assert retrieval.status == 0x0000

    run(main())
    (path,) = got.iterdir()
    assert dcmread(path).PixelData == large.PixelData
