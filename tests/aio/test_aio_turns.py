"""A connection takes no more than its share of a turn of the event loop, whatever it sends, and whatever it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydicom.dataset import Dataset

from aiodimse import AssociationAborted, PresentationContext, sop_class, testing
from aiodimse.aio.turns import SHARE, SLICE, TURN, Turns, in_shares, turns_of
from aiodimse.association import propose
from aiodimse.config import Limits
from aiodimse.dimse import command
from aiodimse.dimse.messages import CEchoRQ, CEchoRSP, CFindRQ, CFindRSP, CGetRQ, CStoreRQ, CStoreRSP
from aiodimse.pdu import Abort, encode, pdata_header

CT = sop_class.CTImageStorage
GET = sop_class.StudyRootQueryRetrieveInformationModelGet
IMPLICIT = "1.2.840.10008.1.2"
IDENTIFIER = b"\x08\0\x52\0CS\6\0STUDY "
FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
ANY = Limits(overhead=1 << 30)
"""The floods of these tests would end their association."""


class Ticking:
    """A clock on which whatever is done between two looks takes a millisecond."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        self.time += 0.001
        return self.time


@pytest.fixture
async def turns(monkeypatch: pytest.MonkeyPatch) -> Turns:
    found = turns_of(asyncio.get_running_loop())
    monkeypatch.setattr(found, "now", Ticking())
    return found


def pdv(context_id: int, data: bytes, *, is_command: bool = False, is_last: bool = True) -> bytes:
    return pdata_header(context_id, is_command, is_last, len(data)) + data


def echo(message_id: int = 1) -> bytes:
    request = CEchoRQ(message_id=message_id, affected_sop_class_uid=sop_class.Verification)
    return pdv(1, command.encode(request), is_command=True)


def store(size: int, context_id: int = 7) -> bytes:
    """A C-STORE whose data set comes in two-byte fragments."""
    request = CStoreRQ(message_id=1, affected_sop_class_uid=CT, affected_sop_instance_uid="1.2", priority=0)
    request.has_data_set = True
    rest = pdv(context_id, b"\0\0", is_last=False) * (size // 2 - 1) + pdv(context_id, b"\0\0")
    return pdv(context_id, command.encode(request), is_command=True) + rest


# --- the line ---------------------------------------------------------------------------------------------------------


async def test_those_in_line_are_served_in_turn(turns):
    """Each comes again twice. What they take ends a turn, in which others come between."""
    served: list[Any] = []

    def one(name: str, again: int) -> None:
        served.append(name)
        turns.now.time += SHARE
        if again:
            turns.wait(lambda: one(name, again - 1))

    for name in "abcde":
        turns.wait(lambda name=name: one(name, 2))
    for _ in range(12):
        served.append(None)
        await asyncio.sleep(0)
    names = [name for name in served if name]
    assert names == list("abcde") * 3
    longest = max(len(turn) for turn in "".join(name or " " for name in served).split())
    assert longest == 3  # three times 2 ms and a look are over the 8 ms


async def test_a_share_is_what_the_turn_has_left(turns):
    assert turns.end_of_share() == pytest.approx(turns.now.time + SHARE)
    turns.now.time += TURN - SHARE / 2
    assert turns.end_of_share() < turns.now.time + SHARE / 2
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert turns.end_of_share() == pytest.approx(turns.now.time + SHARE)


async def test_a_task_that_is_cancelled_in_line_leaves_it(turns):
    task = asyncio.ensure_future(turns.next_share())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait_for(turns.next_share(), 1)
    assert task.cancelled()


async def test_what_is_taken_in_shares_leaves_turns_to_others(turns):
    """A look at the clock stands for a millisecond, in which a slice is taken."""
    others, taking = 0, asyncio.ensure_future(in_shares(iter(range(20 * SLICE))))
    while not taking.done():
        await asyncio.sleep(0)
        others += 1
    assert taking.result() == list(range(20 * SLICE))
    assert others >= 10


async def test_a_few_items_are_taken_at_once(turns):
    taking = in_shares("a few")
    with pytest.raises(StopIteration) as ended:
        taking.send(None)
    assert ended.value.value == list("a few")


async def test_what_the_items_raise_is_raised(turns):
    with pytest.raises(ZeroDivisionError):
        await in_shares(1 // (100 - number) for number in range(200))


async def test_each_event_loop_has_a_line_of_its_own():
    here = turns_of(asyncio.get_running_loop())
    assert turns_of(asyncio.get_running_loop()) is here

    async def there() -> Turns:
        return turns_of(asyncio.get_running_loop())

    assert await asyncio.to_thread(lambda: asyncio.run(there())) is not here


# --- what is read -----------------------------------------------------------------------------------------------------


async def read_in_the_first_turn(world: Any, data: bytes) -> int:
    """How many fragments are read before anybody else has a turn."""
    engine = world.ours.engine
    read, item = 0, engine._reader.next

    def count(**options: Any) -> Any:
        nonlocal read
        read += 1
        return item(**options)

    engine._reader = type("Reader", (), {"__getattr__": lambda _, name: getattr(item.__self__, name)})()
    engine._reader.next = count
    world.ours.transport_received(data)
    return read


@pytest.mark.parametrize(
    "data",
    [
        store(8192),
        b"".join(pdv(1, b"\0", is_command=True, is_last=False) for _ in range(4000)),
        pdv(1, command.encode(CFindRQ(message_id=1, affected_sop_class_uid=FIND)), is_command=True) * 2000,
    ],
    ids=["data", "command", "refused"],
)
async def test_a_share_of_what_is_read(world, turns, data):
    server = world.server(limits=ANY)

    @server.on_c_store
    async def keep(request: Any) -> int:
        await request.discard()
        return 0

    async with world.called(server):
        read = await read_in_the_first_turn(world, data)
        assert SLICE < read <= 4 * SLICE
        assert not world.ours.connection.is_reading  # the rest waits, and what comes behind it too
        world.ours.abort()
        await testing.settle()


async def test_what_is_read_in_shares_is_read_to_its_end_and_reading_goes_on(world, turns):
    """Also what comes behind: the response, and one more request."""
    server = world.server(limits=ANY)

    @server.on_c_store
    async def keep(request: Any) -> int:
        assert sum([len(piece) async for piece in request.stream()]) == 8192
        return 0

    @server.on_c_echo
    async def echoed(request: Any) -> int:
        return 0

    async with world.called(server) as peer:
        peer.send(store(8192), echo(2))
        responses = [(await peer.read_message())[1] for _ in range(2)]
        assert [(type(response), response.status) for response in responses] == [(CStoreRSP, 0), (CEchoRSP, 0)]
        assert world.ours.connection.is_reading


async def test_others_are_answered_while_one_floods(world, turns):
    server = world.server(limits=ANY)
    stored = []

    @server.on_c_store
    async def keep(request: Any) -> int:
        assert sum([len(piece) async for piece in request.stream()]) == 8192
        stored.append(request)
        return 0

    async with world.called(server) as rude:
        polite = await world.call()
        await polite.associate(world.contexts)
        rude.send(store(8192))
        polite.send(echo())
        assert type((await polite.read_message())[1]) is CEchoRSP
        assert not stored
        assert (await rude.read_message())[1].status == 0
        assert stored
        polite.abort_transport()


async def test_as_user_too(world, turns):
    """A provider sends the responses to a C-FIND in tiny fragments; a second association is used beside it."""
    association, rude = await world.calling(limits=ANY)
    other, polite = await world.calling(port=105, limits=ANY)
    finding = asyncio.ensure_future(drained(association.c_find(world.query(), FIND)))
    await rude.read_message()
    pending = command.encode(pending_find())
    fragments = b"".join(
        pdv(3, pending[at : at + 2], is_command=True, is_last=at + 2 >= len(pending))
        for at in range(0, len(pending), 2)
    )
    identifier = pdv(3, IDENTIFIER)
    rude.send((fragments + identifier) * 100)
    echoing = asyncio.ensure_future(other.c_echo())
    await polite.read_message()
    polite.send(pdv(1, command.encode(CEchoRSP(message_id_being_responded_to=1, status=0)), is_command=True))
    assert (await echoing).status == 0
    assert not finding.done()
    final = pending_find()
    final.status, final.has_data_set = 0, False
    rude.send(pdv(3, command.encode(final), is_command=True))
    assert await finding == 100
    for ours, peer in ((association, rude), (other, polite)):
        ours.abort()
        peer.abort_transport()


def pending_find() -> Any:
    response = CFindRSP(message_id_being_responded_to=1, affected_sop_class_uid=FIND, status=0xFF00)
    response.has_data_set = True
    return response


async def drained(matches: Any) -> int:
    async with matches:
        return len([match async for match in matches])


async def test_an_abort_of_ours_does_not_wait_in_line(world, turns):
    """And what the peer still floods us with is dropped, until it closes."""
    server = world.server(limits=ANY)

    @server.on_c_store
    async def keep(request: Any) -> int:
        await request.discard()
        return 0

    async with world.called(server) as peer:
        world.ours.transport_received(store(1 << 16))
        world.ours.abort()
        assert not world.ours.connection.is_reading  # what is here already is dropped before more is read
        await peer.expect(Abort)
        peer.send(store(1 << 16))
        peer.finish()
        await testing.settle()
        assert peer.eof
    assert world.network.open == []


async def test_the_peers_abort_comes_behind_what_it_sent(world, turns):
    server, ends = world.server(limits=ANY), []

    @server.on_c_store
    async def keep(request: Any) -> int:
        await request.discard()
        return 0

    @server.on_association_end
    async def ended(association: Any, error: Any) -> None:
        ends.append(error)

    async with world.called(server) as peer:
        peer.send(store(8192)[:-14], encode(Abort(0, 0)))
        await testing.settle()
    assert [(type(error), error.by_peer) for error in ends] == [(AssociationAborted, True)]


@pytest.mark.parametrize(("syntaxes", "waits"), [(1, False), (50, True)])
async def test_a_large_a_associate_rq_waits_for_its_share(world, turns, syntaxes, waits):
    contexts = [PresentationContext(CT, [f"1.2.840.10008.1.2.{n}" for n in range(syntaxes)]) for _ in range(60)]
    rq = encode(propose(contexts, ae_title="A", called_ae_title="B", limits=Limits(), operations_window=(1, 1)))
    async with world.listen(world.server(accept_called=True)) as listening:
        peer = await world.call()
        await testing.settle()
        (ours,) = listening._acceptor._all
        ours.transport_received(rq)
        assert (ours.rq is None) is waits
        await testing.settle()
        assert ours.is_open
        peer.abort_transport()


# --- what is written --------------------------------------------------------------------------------------------------


async def most_in_a_turn(connection: Any, working: asyncio.Future[Any]) -> int:
    """The most bytes that are written between two turns of the event loop."""
    most, before = 0, connection._written
    while not working.done():
        await asyncio.sleep(0)
        most, before = max(most, connection._written - before), connection._written
    return most


PIECE = bytes(1 << 18)


@pytest.mark.parametrize("data", ["bytes", "pieces"])
async def test_a_share_of_what_is_written_in_small_fragments(world, data):
    """As user; nothing makes it wait, for the peer takes what comes."""
    association, peer = await world.calling(limits=Limits(max_send_pdu_length=128))
    association._endpoint.connection.transport.set_write_buffer_limits(high=1 << 30)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(4):
            yield PIECE

    storing = asyncio.ensure_future(send(association, PIECE * 4 if data == "bytes" else pieces()))
    most = await most_in_a_turn(association._endpoint.connection, storing)
    assert len(PIECE) // 4 < most < len(PIECE)
    association.abort()
    peer.abort_transport()


async def send(association: Any, data: Any) -> None:
    request = CStoreRQ(message_id=0, affected_sop_class_uid=CT, affected_sop_instance_uid="1.2")
    await association._endpoint.invoker.invoke(7, request, data, timeout=None)


async def test_as_provider_too(world):
    """C-GET by a peer that takes fragments of 122 bytes: another's echo does not wait for its end."""
    server = world.server(limits=Limits(max_send_pdu_length=128))
    instance = Dataset()
    instance.SOPClassUID, instance.SOPInstanceUID = CT, "1.2.3"
    instance.PixelData = PIECE * 4
    instance.BitsAllocated = 16

    @server.on_c_get
    async def get(request: Any) -> AsyncIterator[Any]:
        yield 1
        yield instance

    contexts = [sop_class.Verification, GET, PresentationContext(CT, [IMPLICIT], scu=False, scp=True)]
    async with world.called(server, contexts) as peer:
        connection = world.ours.connection
        connection.transport.set_write_buffer_limits(high=1 << 30)
        request = CGetRQ(message_id=1, affected_sop_class_uid=GET, priority=0)
        peer.send_message(3, request, IDENTIFIER)
        arrived = asyncio.ensure_future(peer.read_message())
        most = await most_in_a_turn(connection, arrived)
        assert (await arrived)[2] is not None
        assert len(PIECE) // 4 < most < len(PIECE)
        world.ours.abort()
        await testing.settle()
