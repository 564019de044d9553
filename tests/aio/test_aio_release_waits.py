"""A-RELEASE while a message is half sent: that comes to its end first, whoever asks and whoever writes (AR-7)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest

import aiodimse
from aiodimse import sop_class, testing
from aiodimse.datasets import encode_dataset
from aiodimse.dimse.messages import CEchoRQ, CGetRQ, CStoreRQ, NSetRQ
from aiodimse.errors import AssociationClosed, AssociationTimeout
from aiodimse.pdu import Abort, ReleaseRP, ReleaseRQ

GET = sop_class.StudyRootQueryRetrieveInformationModelGet
CT = sop_class.CTImageStorage
MPPS = sop_class.ModalityPerformedProcedureStep
EXPLICIT = "1.2.840.10008.1.2.1"
SIZE = 10 * 100_000


class Big(aiodimse.Instance):
    """More than is in flight."""

    async def _stream(self) -> AsyncIterator[bytes]:
        for _ in range(10):
            yield bytes(SIZE // 10)

    def stream(self) -> AsyncIterator[bytes]:
        return self._stream()


BIG = Big(CT, "1.2.3", EXPLICIT)


async def whole_then_answer(peer: testing.ScriptedPeer) -> None:
    """What comes when the peer, which has asked for release, reads again."""
    peer.go_on_reading()
    _, request, data = await peer.read_message()
    assert isinstance(request, CStoreRQ)
    assert data is not None
    assert len(data) == SIZE
    assert await peer.read_to_end() == [ReleaseRP()]
    peer.abort_transport()


@pytest.mark.parametrize("handler_runs", [False, True], ids=["alone", "beside a handler"])
async def test_while_our_user_stores(world, handler_runs):
    world.network.in_flight = 65536
    ended = asyncio.Event()
    handlers = world.server()

    @handlers.on_c_echo
    async def hang(request: Any) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.set()

    verification = aiodimse.PresentationContext(sop_class.Verification, scu=True, scp=True)
    association, peer = await world.calling(contexts=[verification, CT], handlers=handlers)
    if handler_runs:
        peer.send_message(1, CEchoRQ(message_id=1, affected_sop_class_uid=sop_class.Verification))
        await testing.settle()
    peer.stop_reading()
    storing = asyncio.create_task(association.c_store(BIG))
    await testing.settle()
    peer.send(ReleaseRQ())
    await testing.settle()
    await whole_then_answer(peer)
    with pytest.raises(AssociationClosed, match="the peer released"):
        await storing
    assert ended.is_set() == handler_runs


async def test_while_our_provider_stores(world, caplog):
    """The handler's own task writes: cancelled in the middle of the message it could only abort."""
    world.network.in_flight = 65536
    server, closed = world.server(), asyncio.Event()

    @server.on_c_get(GET)
    async def get(request: Any) -> AsyncIterator[Any]:
        try:
            yield 2
            yield BIG
            yield BIG
        finally:
            closed.set()

    contexts = [GET, aiodimse.PresentationContext(CT, scu=False, scp=True)]
    async with world.called(server, contexts) as peer:
        peer.stop_reading()
        identifier = encode_dataset(world.query(), EXPLICIT)
        peer.send_message(1, CGetRQ(message_id=1, affected_sop_class_uid=GET, priority=0), identifier)
        await testing.settle()
        peer.send(ReleaseRQ())
        await testing.settle()
        await whole_then_answer(peer)
        assert closed.is_set()
    assert [record.getMessage() for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []


@pytest.mark.parametrize("role", ["provider", "user"])
async def test_what_waits_behind_a_request_that_is_ended_is_performed(world, role):
    """The release is acted on when our message has been written, and not when something comes."""
    world.network.in_flight = 65536
    server = world.server()

    @server.on_c_get(GET)
    async def get(request: Any) -> AsyncIterator[Any]:
        yield 1
        yield BIG

    @server.on_c_echo
    async def hang(request: Any) -> None:
        await asyncio.get_running_loop().create_future()

    @server.on_n_set(MPPS)
    async def change(request: Any) -> int:
        return 0x0000

    contexts = [
        aiodimse.PresentationContext(uid, scu=True, scp=True) for uid in (sop_class.Verification, GET, CT, MPPS)
    ]
    async with AsyncExitStack() as stack, asyncio.timeout(10):
        if role == "provider":
            peer = await stack.enter_async_context(world.called(server, contexts))
            peer.stop_reading()
            request = CGetRQ(message_id=1, affected_sop_class_uid=GET, priority=0)
            peer.send_message(3, request, encode_dataset(world.query(), EXPLICIT))
        else:
            association, peer = await world.calling(contexts=contexts, handlers=server)
            peer.stop_reading()
            storing = asyncio.create_task(association.c_store(BIG))
            peer.send_message(1, CEchoRQ(message_id=1, affected_sop_class_uid=sop_class.Verification))
        await testing.settle()
        request = NSetRQ(message_id=2, requested_sop_class_uid=MPPS, requested_sop_instance_uid="1.2")
        peer.send_message(7, request, encode_dataset(world.query(), EXPLICIT))
        peer.send(ReleaseRQ())
        await testing.settle()
        peer.go_on_reading()
        assert isinstance((await peer.read_message())[1], CStoreRQ)
        _, response, _ = await peer.read_message()
        assert (response.message_id_being_responded_to, response.status) == (2, 0x0000)
        assert await peer.read_to_end() == [ReleaseRP()]
        peer.abort_transport()
        if role == "user":
            with pytest.raises(AssociationClosed, match="the peer released"):
                await storing


async def storing(world: Any) -> tuple[Any, testing.ScriptedPeer, asyncio.Task[Any]]:
    world.network.in_flight = 65536
    association, peer = await world.calling(contexts=[sop_class.Verification, CT], operations_window=(2, 1))
    peer.stop_reading()
    task = asyncio.create_task(association.c_store(BIG))
    await testing.settle()
    return association, peer, task


async def test_a_message_that_does_not_end(world):
    """Its source gives no more: half a message can only end in A-ABORT, and Timeouts.write_stall says when."""

    class Hangs(Big):
        async def _stream(self) -> AsyncIterator[bytes]:
            yield bytes(SIZE)
            await asyncio.get_running_loop().create_future()

    association, peer = await world.calling(contexts=[sop_class.Verification, CT])
    storing = asyncio.create_task(association.c_store(Hangs(CT, "1.2.3", EXPLICIT)))
    await testing.settle()
    peer.send(ReleaseRQ())
    await world.clock.elapse(29.9)
    assert association.is_open
    await world.clock.elapse(0.2)
    with pytest.raises(AssociationTimeout, match="A-RELEASE-RQ") as caught:
        await storing
    assert caught.value.phase == "write"
    assert (await peer.read_to_end())[-1] == Abort(0, 0)
    peer.abort_transport()


async def test_both_ask_while_our_user_stores(world):
    """Ours waits for the pen, theirs comes: there is nothing left for us to ask."""
    association, peer, task = await storing(world)
    releasing = asyncio.create_task(association._endpoint.release())
    await testing.settle()
    peer.send(ReleaseRQ())
    await testing.settle()
    await whole_then_answer(peer)
    await releasing
    with pytest.raises(AssociationClosed):
        await task


async def test_two_tasks_ask_while_our_user_stores(world):
    association, peer, task = await storing(world)
    releasing = [asyncio.create_task(association._endpoint.release()) for _ in range(2)]
    await testing.settle()
    peer.go_on_reading()
    await peer.read_message()
    await peer.expect(ReleaseRQ)
    peer.send(ReleaseRP())
    await asyncio.gather(*releasing)
    with pytest.raises(AssociationClosed):
        await task
    peer.abort_transport()


async def test_no_request_follows_the_release_of_the_peer(world):
    """It waits for the pen before the answer does, but the peer would not answer it."""
    association, peer, task = await storing(world)
    echo = asyncio.create_task(association.c_echo())
    await testing.settle()
    peer.send(ReleaseRQ())
    await testing.settle()
    await whole_then_answer(peer)
    for asked in (echo, task):
        with pytest.raises(AssociationClosed):
            await asked
