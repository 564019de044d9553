"""A-RELEASE-RQ while handlers run: what the peer has sent whole is performed and answered before A-RELEASE-RP."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydicom.dataset import Dataset, FileMetaDataset

import aiodimse
from aiodimse import Timeouts, sop_class, testing
from aiodimse.datasets import encode_dataset
from aiodimse.dimse import command
from aiodimse.dimse.messages import CFindRQ, CStoreRQ, Message, NSetRQ
from aiodimse.pdu import Abort, ReleaseRP, ReleaseRQ, encode, pdata_header

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
CT = sop_class.CTImageStorage
MPPS = sop_class.ModalityPerformedProcedureStep
EXPLICIT = "1.2.840.10008.1.2.1"
CONTEXTS = [FIND, CT, MPPS]
BOTH = [aiodimse.PresentationContext(uid, scu=True, scp=True) for uid in CONTEXTS]


IMAGE = Dataset()
IMAGE.SOPClassUID, IMAGE.SOPInstanceUID = CT, "1.2.3"
IMAGE.file_meta = FileMetaDataset()
IMAGE.file_meta.TransferSyntaxUID = EXPLICIT


def said(context_id: int, message: Message, data: bytes | None = None, *, is_last: bool = True) -> bytes:
    message.has_data_set = data is not None
    words = command.encode(message)
    pdus = pdata_header(context_id, True, True, len(words)) + words
    return pdus if data is None else pdus + pdata_header(context_id, False, is_last, len(data)) + data


def dataset(**elements: str) -> bytes:
    made = Dataset()
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return encode_dataset(made, EXPLICIT)


def store_rq(message_id: int, *, is_last: bool = True) -> bytes:
    uid = f"1.2.{message_id}"
    request = CStoreRQ(message_id=message_id, affected_sop_class_uid=CT, affected_sop_instance_uid=uid, priority=0)
    return said(3, request, dataset(SOPClassUID=CT, SOPInstanceUID=uid), is_last=is_last)


def set_rq(message_id: int) -> bytes:
    request = NSetRQ(message_id=message_id, requested_sop_class_uid=MPPS, requested_sop_instance_uid="1.2.3")
    return said(5, request, dataset(PerformedProcedureStepStatus="COMPLETED"))


def find_rq(message_id: int) -> bytes:
    request = CFindRQ(message_id=message_id, affected_sop_class_uid=FIND, priority=0)
    return said(1, request, dataset(QueryRetrieveLevel="STUDY"))


class Work:
    """Handlers that wait to be let go."""

    def __init__(self, server: aiodimse.Server) -> None:
        self.go = asyncio.Event()
        self.kept: list[int] = []
        self.cancelled: list[str] = []
        server.on_c_store(CT)(self.store)
        server.on_n_set(MPPS)(self.set)
        server.on_c_find(FIND)(self.find)

    async def _work(self, request: Any) -> int:
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled.append(request.message.service)
            raise
        self.kept.append(request.message_id)
        return 0x0000

    async def store(self, request: aiodimse.StoreRequest) -> int:
        await request.discard()
        return await self._work(request)

    async def set(self, request: aiodimse.NormalizedRequest) -> int:
        return await self._work(request)

    async def find(self, request: aiodimse.FindRequest) -> AsyncIterator[int]:
        yield await self._work(request)


@pytest.fixture(params=["provider", "user"])
async def stage(request: Any, world: Any) -> AsyncIterator[tuple[Any, testing.ScriptedPeer, Work]]:
    """A scripted peer that asks us: as service class user of our server, or where we asked for the association."""
    server = world.server(timeouts=Timeouts(server_drain=20.0))
    work = Work(server)
    if request.param == "provider":
        async with world.called(server, CONTEXTS) as peer:
            yield world, peer, work
    else:
        timeouts = Timeouts(server_drain=20.0)
        _, peer = await world.calling(contexts=BOTH, handlers=server, timeouts=timeouts, operations_window=(1, 16))
        yield world, peer, work
        peer.abort_transport()


async def answers(peer: testing.ScriptedPeer, count: int) -> list[tuple[int, int]]:
    found = []
    for _ in range(count):
        _, response, _ = await peer.read_message()
        found.append((response.message_id_being_responded_to, response.status))
    return found


@pytest.mark.parametrize("rq", [store_rq, set_rq])
async def test_a_handler_ends_and_is_answered_before_the_release(stage, rq):
    world, peer, work = stage
    peer.send(rq(1))
    await testing.settle()
    peer.send(ReleaseRQ())
    await testing.settle()
    assert not peer.has_pdu
    await world.clock.elapse(19.0)
    work.go.set()
    assert await answers(peer, 1) == [(1, 0x0000)]
    assert await peer.read_to_end() == [ReleaseRP()]
    assert work.kept == [1]


@pytest.mark.parametrize("rq", [store_rq, set_rq])
async def test_request_and_release_in_one_segment(stage, rq):
    _, peer, work = stage
    work.go.set()
    peer.send(b"".join(rq(number) for number in range(1, 4)) + encode(ReleaseRQ()))
    assert await answers(peer, 3) == [(1, 0x0000), (2, 0x0000), (3, 0x0000)]
    assert await peer.read_to_end() == [ReleaseRP()]
    assert work.kept == [1, 2, 3]


async def test_a_handler_that_does_not_end_is_cancelled(stage):
    world, peer, work = stage
    peer.send(store_rq(1) + encode(ReleaseRQ()))
    await world.clock.elapse(19.9)
    assert not peer.has_pdu
    await world.clock.elapse(0.2)
    assert await peer.read_to_end() == [ReleaseRP()]
    await testing.settle()
    assert (work.kept, work.cancelled) == ([], ["C-STORE"])


@pytest.mark.parametrize("rq", [store_rq, set_rq])
async def test_a_handler_that_ends_after_we_have_asked_for_the_release_is_no_failure(world, rq, caplog):
    """Its response can no longer be sent."""
    server = world.server()
    work = Work(server)
    association, peer = await world.calling(contexts=BOTH, handlers=server)
    peer.send(rq(1))
    await testing.settle()
    releasing = asyncio.create_task(association.release())
    assert await peer.read() == ReleaseRQ()
    work.go.set()
    await testing.settle()
    assert work.kept == [1]
    peer.send(ReleaseRP())
    await releasing
    peer.abort_transport()
    assert [record.getMessage() for record in caplog.records if record.levelname in ("WARNING", "ERROR")] == []


@pytest.mark.parametrize("operation", ["C-ECHO", "C-STORE"])
async def test_an_operation_of_ours_that_the_release_ends_aborts_nothing(world, operation):
    """It is not waited for, as one is that its user has left: a handler may take longer."""
    server = world.server()
    work = Work(server)
    association, peer = await world.calling(contexts=[*BOTH, sop_class.Verification], handlers=server)
    peer.send(set_rq(1))
    await testing.settle()
    ours = association.c_echo() if operation == "C-ECHO" else association.c_store(aiodimse.Instance.from_dataset(IMAGE))
    ended = asyncio.create_task(ours)
    await testing.settle()
    await peer.read_message()
    peer.send(ReleaseRQ())
    await testing.settle()
    with pytest.raises(aiodimse.AssociationClosed):
        await ended
    await world.clock.elapse(11.0)  # longer than Timeouts.cancel_drain
    assert association.is_open
    work.go.set()
    assert await answers(peer, 1) == [(1, 0x0000)]
    assert await peer.read_to_end() == [ReleaseRP()]
    peer.abort_transport()


async def test_a_query_is_cancelled_and_what_waits_behind_it_is_kept(stage):
    _, peer, work = stage
    peer.send(find_rq(1))
    await testing.settle()
    peer.send(store_rq(2) + encode(ReleaseRQ()))
    await testing.settle()
    assert work.cancelled == ["C-FIND"]
    work.go.set()
    assert await answers(peer, 1) == [(2, 0x0000)]
    assert await peer.read_to_end() == [ReleaseRP()]


async def test_a_data_set_that_is_not_whole_is_given_up(stage):
    _, peer, work = stage
    peer.send(store_rq(1, is_last=False) + encode(ReleaseRQ()))
    assert await peer.read_to_end() == [ReleaseRP()]
    assert work.kept == []


async def test_an_abort_after_the_release_cancels(stage):
    _, peer, work = stage
    peer.send(store_rq(1) + encode(ReleaseRQ()))
    await testing.settle()
    peer.send(Abort(0, 0))
    await testing.settle()
    assert (work.kept, work.cancelled) == ([], ["C-STORE"])


@pytest.mark.parametrize("number", [10, 30])
@pytest.mark.parametrize("rq", [store_rq, find_rq])
async def test_many_requests_without_a_window(stage, number, rq):
    """All are served, in order: beyond the window nothing is read before there is a place."""
    _, peer, work = stage
    peer.send(b"".join(rq(message_id) for message_id in range(1, number + 1)))
    await testing.settle()
    assert not peer.has_pdu
    work.go.set()
    if rq is find_rq:  # what has not been answered when the release is read would be cancelled
        await testing.settle()
    peer.send(ReleaseRQ())
    assert await answers(peer, number) == [(message_id, 0x0000) for message_id in range(1, number + 1)]
    assert await peer.read_to_end() == [ReleaseRP()]
    assert work.kept == list(range(1, number + 1))
