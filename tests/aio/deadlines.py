"""The rows of test_aio_deadline_table: what each deadline of Timeouts waits for, in each role that has it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import pytest

import aiodimse
from aiodimse import sop_class, testing
from aiodimse.association import PresentationContext
from aiodimse.config import Limits, Timeouts
from aiodimse.datasets import encode_dataset
from aiodimse.dimse import command
from aiodimse.dimse.messages import CCancelRQ, CEchoRQ, CFindRQ, CGetRQ, CGetRSP, CStoreRQ, Message
from aiodimse.errors import AssociationAborted, AssociationTimeout
from aiodimse.pdu import PDU, Abort, AssociateRJ, AssociateRQ, PDataTF, ReleaseRP, ReleaseRQ, encode, pdata_header

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
GET = sop_class.StudyRootQueryRetrieveInformationModelGet
MOVE = sop_class.StudyRootQueryRetrieveInformationModelMove
CT = sop_class.CTImageStorage
EXPLICIT = "1.2.840.10008.1.2.1"
DEFAULT = Timeouts()

Quiet = Callable[[], bool]
"""Nothing has happened yet."""
Script = Callable[[Any], AsyncGenerator[Quiet, None]]
"""Comes to where the deadline begins, yields, and looks at what it did."""


@dataclass(frozen=True)
class Row:
    deadline: str
    role: str
    script: Script
    seconds: float
    over: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.deadline}-{self.role}-{self.script.__name__}"


ROWS: list[Row] = []


def row(
    deadline: str, role: str, *, seconds: float | None = None, over: tuple[str, ...] = ("TCP", "TLS")
) -> Callable[[Script], Script]:
    def add(script: Script) -> Script:
        ROWS.append(Row(deadline, role, script, seconds or getattr(DEFAULT, deadline), over))
        return script

    return add


def said(context_id: int, message: Message, *, data_set: bool = False) -> bytes:
    """A command set alone."""
    message.has_data_set = data_set
    data = command.encode(message)
    return pdata_header(context_id, True, True, len(data)) + data


ECHO = said(1, CEchoRQ(message_id=1, affected_sop_class_uid=sop_class.Verification))
STORE = CStoreRQ(message_id=1, affected_sop_class_uid=CT, affected_sop_instance_uid="1.2", priority=0)
STORE_RQ = said(7, STORE, data_set=True)
LITTLE = pdata_header(7, False, False, 2) + bytes(2)


async def phase_of(awaitable: Any) -> str:
    with pytest.raises(AssociationTimeout) as caught:
        await awaitable
    return caught.value.phase


def ended(world: Any) -> str:
    """The phase of the deadline that ended the association of our provider."""
    error = world.ours.error
    assert isinstance(error, AssociationTimeout), error
    return error.phase


async def to_the_end(peer: testing.ScriptedPeer) -> list[PDU]:
    """What the peer gets from here to the end of the connection."""
    return await peer.read_to_end()


async def never() -> None:
    await asyncio.get_running_loop().create_future()


class Large(aiodimse.Instance):
    """10 MB."""

    async def stream(self) -> AsyncIterator[bytes]:
        for _ in range(100):
            yield bytes(100_000)


LARGE = Large(CT, "1.2.3", EXPLICIT)


def query(world: Any) -> bytes:
    return encode_dataset(world.query(), EXPLICIT)


def find(message_id: int = 9) -> CFindRQ:
    return CFindRQ(message_id=message_id, affected_sop_class_uid=FIND, priority=0)


# --- making an association --------------------------------------------------------------------------------------------


@row("connect", "requestor")
async def nobody_takes_the_connection(world):
    world.network.silent_ports.add(104)
    opening = asyncio.create_task(world.open(104))
    yield lambda: not opening.done()
    assert await phase_of(opening) == "connect"


@row("connect", "requestor")
async def nobody_answers_the_request(world):
    peers = await world.answer()
    opening = asyncio.create_task(world.open(104))
    peer = await peers.get()
    await peer.expect(AssociateRQ)
    yield lambda: not opening.done() and not peer.has_pdu
    assert await phase_of(opening) == "negotiation"
    assert await to_the_end(peer) == [Abort(0, 0)]


@row("tls_handshake", "acceptor", over=("TLS",))
async def a_client_that_says_nothing(world):
    async with world.listen(world.server()):
        peer = await testing.ScriptedPeer.call(world.network, 104)
        yield lambda: not (peer.eof or peer.lost)
        await peer.closed()
        assert peer.raw == b""


@row("tls_handshake", "requestor", over=("TLS",))
async def a_server_that_says_nothing(world):
    peers = await testing.ScriptedPeer.listen(world.network, 104)
    opening = asyncio.create_task(world.open(104))
    peer = await peers.get()
    yield lambda: not opening.done()
    assert await phase_of(opening) == "connect"
    await peer.closed()
    assert peer.raw.startswith(b"\x16\x03")  # a handshake record, and no DICOM


@row("artim", "acceptor")
async def no_request_comes(world):
    async with world.listen(world.server()):
        peer = await world.call()
        yield lambda: not (peer.eof or peer.lost)
        await peer.closed()
        assert peer.raw == b""  # AA-2 sends nothing
        peer.abort_transport()


@row("artim", "acceptor")
async def half_a_request_comes(world):
    async with world.listen(world.server()):
        peer = await world.call()
        peer.send(encode(testing.EnginePair([sop_class.Verification]).rq)[:50])
        yield lambda: not (peer.eof or peer.lost)
        await peer.closed()
        assert peer.raw == b""
        peer.abort_transport()


@row("authenticate", "acceptor")
async def a_hook_that_hangs(world):
    server = world.server(accept_called=True)
    closed = []

    @server.on_associate
    async def hang(request):
        try:
            await never()
        finally:
            closed.append(True)

    async with world.listen(server):
        peer = await world.call()
        peer.send(testing.EnginePair([sop_class.Verification]).rq)
        await testing.settle()
        yield lambda: not (peer.has_pdu or closed)
        assert closed
        assert await to_the_end(peer) == [AssociateRJ(2, 1, 1)]
        peer.abort_transport()


# --- listening --------------------------------------------------------------------------------------------------------


@row("pdu", "acceptor")
async def half_a_pdu(world):
    async with world.called(world.server()) as peer:
        peer.send(ECHO[:20])
        await testing.settle()
        yield lambda: not peer.has_pdu
        assert ended(world) == "read"
        assert await to_the_end(peer) == [Abort(2, 0)]


@row("pdu", "acceptor")
async def half_an_instance(world):
    server = world.server()
    closed = []

    @server.on_c_store
    async def store(request):
        try:
            await request.dataset()
        finally:
            closed.append(True)

    async with world.called(server) as peer:
        peer.send(STORE_RQ + LITTLE)
        await testing.settle()
        yield lambda: not (peer.has_pdu or closed)
        assert closed
        assert ended(world) == "read"
        assert await to_the_end(peer) == [Abort(2, 0)]


@row("pdu", "requestor")
async def half_a_pdu_of_a_response(world):
    association, peer = await world.calling()
    echo = asyncio.create_task(association.c_echo())
    await peer.read_message()
    peer.send(ECHO[:20])
    await testing.settle()
    yield lambda: not (peer.has_pdu or echo.done())
    assert await phase_of(echo) == "read"
    assert await to_the_end(peer) == [Abort(2, 0)]
    peer.abort_transport()


@row("pdu", "requestor")
async def half_a_match(world):
    association, peer = await world.calling()
    finding = asyncio.create_task(association.c_find(world.query(), FIND).collect())
    _, request, _ = await peer.read_message()
    peer.send(said(3, request.response(0xFF00), data_set=True))
    await testing.settle()
    yield lambda: not (peer.has_pdu or finding.done())
    assert await phase_of(finding) == "read"
    assert await to_the_end(peer) == [Abort(2, 0)]
    peer.abort_transport()


@row("pdu", "requestor")
async def half_an_instance_that_we_get(world):
    association, peer = await world.calling(contexts=[*world.contexts, GET])

    async def get():
        async for instance in association.c_get(world.query(), GET):
            await instance.dataset()

    getting = asyncio.create_task(get())
    await peer.read_message()
    peer.send(STORE_RQ + LITTLE)
    await testing.settle()
    yield lambda: not (peer.has_pdu or getting.done())
    assert await phase_of(getting) == "read"
    assert await to_the_end(peer) == [Abort(2, 0)]
    peer.abort_transport()


@row("idle", "acceptor")
async def nothing_comes(world):
    async with world.called(world.server()) as peer:
        yield lambda: not peer.has_pdu
        assert ended(world) == "idle"
        assert await to_the_end(peer) == [Abort(0, 0)]


@row("response", "requestor")
async def no_response(world):
    association, peer = await world.calling()
    echo = asyncio.create_task(association.c_echo())
    await peer.read_message()
    yield lambda: not echo.done()
    assert await phase_of(echo) == "response"
    assert association.is_open
    assert not peer.has_pdu  # a C-ECHO has no cancel
    association.abort()
    assert await to_the_end(peer) == [Abort(0, 0)]
    peer.abort_transport()


@row("move_response", "requestor", seconds=100)
async def no_response_to_a_move(world):
    association, peer = await world.calling(timeouts=Timeouts(move_response=100))
    move = association.c_move(world.query(), MOVE, destination="X")
    moving = asyncio.create_task(move._run())
    await peer.read_message()
    yield lambda: not moving.done()
    assert await phase_of(moving) == "response"
    assert isinstance((await peer.read_message())[1], CCancelRQ)
    association.abort()
    assert await to_the_end(peer) == [Abort(0, 0)]
    peer.abort_transport()


def retrieving(world: Any) -> aiodimse.Server:
    server = world.server()

    @server.on_c_get
    async def get(request):
        yield 1
        yield LARGE

    return server


RETRIEVE = (GET, PresentationContext(CT, scu=True, scp=True))


async def ask_for_one(world: Any, peer: testing.ScriptedPeer) -> None:
    """C-GET, and the sub-operation that is not answered."""
    request = CGetRQ(message_id=9, affected_sop_class_uid=GET, priority=0)
    peer.send_message(1, request, query(world))
    assert isinstance((await peer.read_message())[1], CStoreRQ)


@row("response", "acceptor")
async def no_response_to_a_sub_operation(world):
    async with world.called(retrieving(world), RETRIEVE) as peer:
        await ask_for_one(world, peer)
        yield lambda: not peer.has_pdu
        _, final, _ = await peer.read_message()
        assert isinstance(final, CGetRSP)
        assert (final.status, final.number_of_failed_suboperations) == (0xA702, 1)
        assert world.ours.error is None
        world.ours.abort()
        assert await to_the_end(peer) == [Abort(0, 0)]


@row("cancel_drain", "acceptor")
async def no_response_to_a_sub_operation_that_was_given_up(world):
    async with world.called(retrieving(world), RETRIEVE) as peer:
        await ask_for_one(world, peer)
        await world.clock.elapse(60)
        await peer.read_message()
        yield lambda: not (peer.has_pdu or world.ours.error)
        assert ended(world) == "response"
        assert await to_the_end(peer) == [Abort(0, 0)]


@row("cancel_drain", "requestor")
async def no_final_response_after_a_cancel(world):
    association, peer = await world.calling()
    async with association.c_find(world.query(), FIND):
        await peer.read_message()
    assert isinstance((await peer.read_message())[1], CCancelRQ)
    yield lambda: association.is_open
    assert not association.is_open
    assert await to_the_end(peer) == [Abort(0, 0)]
    assert await phase_of(association.c_echo()) == "response"
    peer.abort_transport()


# --- handlers ---------------------------------------------------------------------------------------------------------


def stubborn(server: aiodimse.Server, let_go: asyncio.Event) -> aiodimse.Server:
    """A C-FIND handler that does not end when it is cancelled."""

    @server.on_c_find
    async def find(request):
        try:
            await never()
        except asyncio.CancelledError:
            await let_go.wait()
        yield

    return server


@row("handler_close", "acceptor")
async def a_handler_that_does_not_end(world):
    let_go = asyncio.Event()
    async with world.called(stubborn(world.server(), let_go)) as peer:
        peer.send_message(3, find(), query(world))
        await testing.settle()
        peer.send_message(3, CCancelRQ(message_id_being_responded_to=9))
        await testing.settle()
        yield lambda: not peer.has_pdu
        assert (await peer.read_message())[1].status == 0xFE00
        let_go.set()
        await testing.settle()
        assert not peer.has_pdu
        assert world.ours.error is None


@row("handler_close", "requestor")
async def a_handler_of_a_user_that_does_not_end(world):
    let_go = asyncio.Event()
    association, peer = await world.calling(
        contexts=[PresentationContext(FIND, scu=False, scp=True)], handlers=stubborn(world.server(), let_go)
    )
    peer.send_message(1, find(), query(world))
    await testing.settle()
    peer.send_message(1, CCancelRQ(message_id_being_responded_to=9))
    await testing.settle()
    yield lambda: not peer.has_pdu
    assert (await peer.read_message())[1].status == 0xFE00
    let_go.set()
    await testing.settle()
    assert not peer.has_pdu
    association.abort()
    assert await to_the_end(peer) == [Abort(0, 0)]
    peer.abort_transport()


@row("consumer", "acceptor")
async def a_handler_that_does_not_read(world):
    server = world.server(limits=Limits(max_pdu_length=16384))

    async def stuck(request: Any) -> int:
        await never()
        return 0

    server.on_c_store(stuck)
    async with world.called(server) as peer:
        peer.send_message(7, STORE, bytes(100_000))
        await testing.settle()
        assert world.ours.is_paused
        yield lambda: not peer.has_pdu
        assert ended(world) == "consumer"
        assert await to_the_end(peer) == [Abort(0, 0)]


@row("consumer", "requestor")
async def a_user_that_does_not_read(world):
    association, peer = await world.calling(limits=Limits(max_pdu_length=16384))
    matches = await association.c_find(world.query(), FIND).__aenter__()
    _, request, _ = await peer.read_message()
    for _ in range(1000):
        peer.send_message(3, request.response(0xFF00), query(world))
    await testing.settle()
    assert association._endpoint.is_paused
    yield lambda: association.is_open and not peer.has_pdu
    assert await phase_of(matches) == "consumer"
    assert await to_the_end(peer) == [Abort(0, 0)]
    peer.abort_transport()


# --- speaking, and the end --------------------------------------------------------------------------------------------


@row("write_stall", "acceptor")
async def a_user_that_takes_nothing(world):
    world.network.in_flight = 1000
    server = world.server()

    @server.on_c_find
    async def endless(request):
        while True:
            yield world.query()

    async with world.called(server) as peer:
        world.deafen(peer)
        peer.send_message(3, find(), query(world))
        await testing.settle()
        yield lambda: len(world.network.open) == 2
        assert ended(world) == "write"
        assert len(world.network.open) == 1
        world.undeafen(peer)  # no A-ABORT: it would have waited behind the rest
        assert {type(pdu) for pdu in await to_the_end(peer)} <= {PDataTF}


@row("write_stall", "requestor")
async def a_provider_that_takes_nothing(world):
    world.network.in_flight = 1000
    association, peer = await world.calling()
    world.deafen(peer)
    storing = asyncio.create_task(association.c_store(LARGE))
    await testing.settle()
    yield lambda: association.is_open and len(world.network.open) == 2
    assert await phase_of(storing) == "write"
    await testing.settle()
    assert len(world.network.open) == 1
    world.undeafen(peer)
    assert {type(pdu) for pdu in await to_the_end(peer)} <= {PDataTF}
    peer.abort_transport()


@row("release", "requestor")
async def no_answer_to_a_release(world):
    association, peer = await world.calling()
    releasing = asyncio.create_task(association.release())
    await peer.expect(ReleaseRQ)
    yield lambda: not (peer.has_pdu or releasing.done())
    assert await to_the_end(peer) == [Abort(0, 0)]
    peer.abort_transport()
    assert await phase_of(releasing) == "release"


@row("close", "acceptor")
async def a_user_that_was_rejected_and_stays(world):
    async with world.listen(world.server()):
        peer = await world.call()
        world.deafen(peer)
        peer.send(testing.EnginePair([sop_class.Verification]).rq)
        await testing.settle()
        yield lambda: len(world.network.open) == 2
        assert len(world.network.open) == 1
        world.undeafen(peer)
        assert await to_the_end(peer) == [AssociateRJ(1, 1, 7)]
        peer.abort_transport()


@row("close", "acceptor")
async def a_user_that_was_released_and_stays(world):
    async with world.called(world.server()) as peer:
        world.deafen(peer)
        peer.send(ReleaseRQ())
        await testing.settle()
        yield lambda: len(world.network.open) == 2
        assert len(world.network.open) == 1
        world.undeafen(peer)
        assert await to_the_end(peer) == [ReleaseRP()]


@row("close", "requestor")
async def a_provider_that_released_and_stays(world):
    association, peer = await world.calling()
    world.deafen(peer)
    peer.send(ReleaseRQ())
    await testing.settle()
    assert not association.is_open
    yield lambda: len(world.network.open) == 2
    assert len(world.network.open) == 1
    world.undeafen(peer)
    assert await to_the_end(peer) == [ReleaseRP()]
    peer.abort_transport()


@row("close_after_abort", "acceptor")
async def a_user_that_was_aborted_and_stays(world):
    async with world.called(world.server()) as peer:
        world.deafen(peer)
        peer.send(b"\x99" * 10)
        await testing.settle()
        yield lambda: len(world.network.open) == 2
        assert len(world.network.open) == 1
        world.undeafen(peer)
        assert await to_the_end(peer) == [Abort(2, 1)]


@row("close_after_abort", "requestor")
async def a_provider_that_was_aborted_and_stays(world):
    association, peer = await world.calling()
    world.deafen(peer)
    association.abort()
    await testing.settle()
    yield lambda: len(world.network.open) == 2
    assert len(world.network.open) == 1
    world.undeafen(peer)
    assert await to_the_end(peer) == [Abort(0, 0)]
    with pytest.raises(AssociationAborted):
        await association.c_echo()
    peer.abort_transport()


@row("server_drain", "acceptor")
async def a_handler_that_outlives_its_server(world):
    server = world.server()
    closed = []

    @server.on_c_echo
    async def hang(request):
        try:
            await never()
        finally:
            closed.append(True)

    listening = world.listen(server)
    await listening.__aenter__()
    peer = await world.call()
    await peer.associate(world.contexts)
    peer.send(ECHO)
    await testing.settle()
    leaving = asyncio.create_task(listening.__aexit__(None, None, None))
    await testing.settle()
    yield lambda: not (peer.has_pdu or closed or leaving.done())
    await leaving
    assert closed
    assert await to_the_end(peer) == [Abort(0, 0)]
    peer.abort_transport()


@row("drain_idle", "acceptor")
async def a_user_that_stays_idle_while_the_server_is_left(world):
    listening = world.listen(world.server(timeouts=aiodimse.Timeouts()))
    await listening.__aenter__()
    peer = await world.call()
    await peer.associate(world.contexts)
    leaving = asyncio.create_task(listening.__aexit__(None, None, None))
    await testing.settle()
    yield lambda: not (peer.has_pdu or leaving.done())
    assert await to_the_end(peer) == [Abort(0, 0)]
    peer.abort_transport()
    await leaving
