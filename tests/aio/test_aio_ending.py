"""How an association ends: who may wait for it, what is said of it, and what is no failure of anybody."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

import aiodimse
from aiodimse import sop_class, testing
from aiodimse.datasets import encode_dataset
from aiodimse.dimse import command
from aiodimse.dimse.fragments import Fragmenter
from aiodimse.dimse.messages import CEchoRQ, CFindRQ, CStoreRQ
from aiodimse.errors import AssociationAborted
from aiodimse.pdu import Abort, ReleaseRP, ReleaseRQ

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
CT = sop_class.CTImageStorage
EXPLICIT = "1.2.840.10008.1.2.1"


# --- who waits for the end --------------------------------------------------------------------------------------------


async def test_a_cancelled_watcher_changes_nothing(world):
    async with testing.joined(world.server(), contexts=[sop_class.Verification]) as association:
        watcher = asyncio.create_task(association.wait_closed())
        await testing.settle()
        watcher.cancel()
        await testing.settle()
        assert watcher.cancelled()
        assert (await association.c_echo()).status == 0


async def test_a_release_that_is_cancelled_while_the_peer_does_not_close_drops_the_transport(world):
    association, peer = await world.calling()
    releasing = asyncio.create_task(association.release())
    await peer.expect(ReleaseRQ)
    peer.send(ReleaseRP())
    await testing.settle()
    assert not association.is_open
    releasing.cancel()
    await testing.settle()
    assert world.network.open == [peer.transport]
    peer.abort_transport()


# --- what is said -----------------------------------------------------------------------------------------------------


async def test_a_reset_connection_is_called_so(world):
    association, peer = await world.calling()
    peer.transport.reset()
    with pytest.raises(AssociationAborted, match=r"lost \(Connection reset by peer\)") as caught:
        await association.c_echo()
    assert isinstance(caught.value.__cause__, ConnectionResetError)
    assert caught.value.source is None


class Endless(aiodimse.Instance):
    async def _stream(self) -> AsyncIterator[bytes]:
        while True:
            yield bytes(100_000)

    def stream(self) -> AsyncIterator[bytes]:
        return self._stream()


async def test_what_waits_for_the_pen_when_the_association_ends_has_not_failed(world, caplog):
    """A refusal, in a task of its own, and a C-CANCEL."""
    verification = aiodimse.PresentationContext(sop_class.Verification, scu=True, scp=True)
    association, peer = await world.calling(contexts=[verification, FIND, CT], operations_window=(2, 1))
    matches = await association.c_find(world.query(), FIND).__aenter__()
    peer.stop_reading()
    storing = asyncio.create_task(association.c_store(Endless(CT, "1.2.3", EXPLICIT)))
    await testing.settle()
    peer.send_message(1, CEchoRQ(message_id=1, affected_sop_class_uid=sop_class.Verification))
    await matches.cancel()
    await testing.settle()
    assert len(association._endpoint.tasks) == 1
    association.abort()
    peer.abort_transport()
    await asyncio.wait([storing])
    assert isinstance(storing.exception(), AssociationAborted)
    await testing.settle()
    assert len(association._endpoint.tasks) == 0
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


async def test_the_end_of_an_association_is_no_failure_of_its_handlers(world, caplog):
    """Nor of the library: the handler is cancelled, and nobody reads of an error."""
    server, began, was_cancelled = world.server(), asyncio.Event(), asyncio.Event()

    @server.on_c_find
    async def find(request):
        try:
            began.set()
            await asyncio.Event().wait()
            yield 0x0000
        except asyncio.CancelledError:
            was_cancelled.set()  # and swallowed

    async with world.called(server) as peer:
        request = CFindRQ(message_id=1, affected_sop_class_uid=FIND)
        peer.send_message(3, request, encode_dataset(world.query(), EXPLICIT))
        await testing.settle()
        assert began.is_set()
        peer.send(Abort(0, 0))
        await testing.settle()
        assert was_cancelled.is_set()
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


# --- a server is left -------------------------------------------------------------------------------------------------


async def nothing(request):
    return None


async def test_an_association_is_not_idle_while_we_wait_for_the_peer(world):
    """What we have asked for is an operation like what we are asked for."""
    server = world.server()
    server.on_c_get(nothing)
    listening = world.listen(server)
    await listening.__aenter__()
    peer = await world.call()
    await peer.associate([aiodimse.PresentationContext(CT, scu=False, scp=True)])
    (ours,) = listening._acceptor._all
    request = CStoreRQ(message_id=0, affected_sop_class_uid=CT, affected_sop_instance_uid="1.2", priority=0)
    invoked = await ours.invoker.invoke(1, request, bytes(8), timeout=None)
    leaving = asyncio.create_task(listening.__aexit__(None, None, None))
    _, request, _ = await peer.read_message()
    await testing.settle()
    assert not peer.has_pdu
    peer.send_message(1, request.response(0x0000))
    assert (await invoked.next())[0].status == 0
    assert await peer.read_to_end() == [Abort(0, 0)]
    peer.abort_transport()
    await leaving


# --- a C-STORE is answered --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("reads", [False, True], ids=["unread", "begun"])
async def test_the_response_to_a_c_store_waits_for_its_last_fragment(world, reads):
    """However early the handler returns: a response in the middle of a request confuses peers."""
    server, returned = world.server(), asyncio.Event()

    @server.on_c_store
    async def store(request):
        if reads:
            await anext(aiter(request.stream()))
        returned.set()
        return 0xA700

    request = CStoreRQ(message_id=1, affected_sop_class_uid=CT, affected_sop_instance_uid="1.2")
    request.has_data_set = True
    async with world.called(server) as peer:
        fragmenter = Fragmenter(16384, 7)
        peer.send(b"".join([*fragmenter.command(command.encode(request)), *fragmenter.feed(bytes(50_000))]))
        await testing.settle()
        assert returned.is_set()
        assert not peer.has_pdu
        peer.send(b"".join(fragmenter.finish()))
        _, response, _ = await peer.read_message()
        assert response.status == 0xA700
