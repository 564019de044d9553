"""An error that ends an operation names the operation and the peer, in its text and in its fields."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydicom.dataset import Dataset

import aiodimse
from aiodimse import sop_class, testing
from aiodimse.dimse import messages
from aiodimse.pdu import Abort, ReleaseRQ

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
GET = sop_class.StudyRootQueryRetrieveInformationModelGet
STEP = sop_class.ModalityPerformedProcedureStep
PEER = "PACS@127.0.0.1:104"

Opened = tuple[aiodimse.Association, testing.ScriptedPeer, testing.ManualClock]
Operation = Callable[[aiodimse.Association], Awaitable[Any]]
OPERATIONS: dict[str, Operation] = {
    "C-ECHO-RQ 1": lambda association: association.c_echo(),
    "C-FIND-RQ 1": lambda association: association.c_find(Dataset(), FIND).collect(),
    "C-GET-RQ 1": lambda association: association.c_get(Dataset(), GET),
    "N-CREATE-RQ 1": lambda association: association.n_create(STEP),
}


@asynccontextmanager
async def opened() -> AsyncIterator[Opened]:
    """Our association with a scripted PACS."""
    clock, network = testing.ManualClock(), testing.MemoryNetwork()
    environment = aiodimse.Environment(clock, network)
    peers = await testing.ScriptedPeer.listen(network, 104)
    connecting = aiodimse.connect(
        "localhost",
        104,
        called_ae_title="PACS",
        contexts=[sop_class.Verification, FIND, GET, STEP],
        storage=[sop_class.CTImageStorage],
        environment=environment,
    )
    entering = asyncio.ensure_future(connecting.__aenter__())
    peer = await peers.get()
    await peer.accept()
    association = await entering
    try:
        yield association, peer, clock
    finally:
        association.abort()
        peer.abort_transport()
        await clock.elapse(5)


async def abort(peer: testing.ScriptedPeer, clock: testing.ManualClock) -> None:
    peer.send(Abort(2, 1))


async def disconnect(peer: testing.ScriptedPeer, clock: testing.ManualClock) -> None:
    peer.abort_transport()


async def release(peer: testing.ScriptedPeer, clock: testing.ManualClock) -> None:
    peer.send(ReleaseRQ())


async def say_nothing(peer: testing.ScriptedPeer, clock: testing.ManualClock) -> None:
    await clock.elapse(61)


@pytest.mark.parametrize("how", [abort, disconnect, release, say_nothing])
@pytest.mark.parametrize("operation", OPERATIONS)
async def test_what_ends_an_association(operation: str, how: Callable[..., Awaitable[None]]) -> None:
    async with opened() as (association, peer, clock):
        task = asyncio.ensure_future(OPERATIONS[operation](association))
        await peer.read_message()
        await how(peer, clock)
        with pytest.raises(aiodimse.AssociationError) as caught:
            await task
    error = caught.value
    assert (error.operation, error.peer, error.sent) == (operation, PEER, True)
    assert str(error).endswith(f" ({operation} to {PEER})")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


async def test_a_request_that_was_not_sent() -> None:
    async with opened() as (association, peer, _):
        peer.send(Abort(0, 0))
        await testing.settle()
        with pytest.raises(aiodimse.AssociationAborted) as caught:
            await association.c_echo()
    assert (caught.value.operation, caught.value.peer, caught.value.sent) == ("C-ECHO-RQ", PEER, False)


async def test_two_operations_have_an_error_each() -> None:
    """The association has one, which names no operation."""
    network = testing.MemoryNetwork()
    server = aiodimse.Server(ae_title="PACS", environment=aiodimse.Environment(network=network))
    ends: list[BaseException | None] = []
    waiting = asyncio.Event()

    @server.on_c_find(FIND)
    async def find(request: aiodimse.FindRequest) -> AsyncIterator[Any]:
        if request.message_id == 2:
            waiting.set()
        await asyncio.Event().wait()
        yield None

    @server.on_association_end
    async def ended(association: Any, error: BaseException | None) -> None:
        ends.append(error)

    async with testing.joined(server, contexts=[FIND], operations_window=(2, 1), called_ae_title="PACS") as association:
        tasks = [asyncio.ensure_future(association.c_find(Dataset(), FIND).collect()) for _ in range(2)]
        await waiting.wait()
        association.abort()
        first, second = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(first, aiodimse.AssociationAborted)
    assert isinstance(second, aiodimse.AssociationAborted)
    assert (first.operation, second.operation) == ("C-FIND-RQ 1", "C-FIND-RQ 2")
    (end,) = ends
    assert isinstance(end, aiodimse.AssociationAborted)
    assert end.operation is None


@pytest.mark.parametrize("operation", OPERATIONS)
async def test_a_failure(operation: str) -> None:
    async with opened() as (association, peer, _):
        task = asyncio.ensure_future(OPERATIONS[operation](association))
        context_id, request, _ = await peer.read_message()
        assert isinstance(request, messages.Request)
        peer.send_message(context_id, request.response(0x0110))
        with pytest.raises(aiodimse.DIMSEFailure) as caught:
            (await task).raise_for_status()
    assert (caught.value.operation, caught.value.peer) == (operation, PEER)
    assert str(caught.value).endswith(f" ({operation} to {PEER})")


async def test_an_incomplete_retrieval() -> None:
    async with opened() as (association, peer, _):

        async def retrieve() -> None:
            async with association.c_get(Dataset(), GET) as retrieval:
                async for _ in retrieval:
                    pass

        task = asyncio.ensure_future(retrieve())
        context_id, request, _ = await peer.read_message()
        assert isinstance(request, messages.CGetRQ)
        response = request.response(0xB000)
        assert isinstance(response, messages.CGetRSP)
        response.number_of_failed_suboperations = 2
        peer.send_message(context_id, response)
        with pytest.raises(aiodimse.IncompleteRetrieval) as caught:
            await task
    assert (caught.value.operation, caught.value.peer) == ("C-GET-RQ 1", PEER)


async def test_a_notification_of_the_provider() -> None:
    """The peer of a provider is who called it."""
    server = aiodimse.Server(ae_title="PACS", accept_called=True)
    caught: list[aiodimse.DIMSEFailure] = []

    @server.on_n_create(STEP)
    async def create(request: aiodimse.NormalizedRequest) -> int:
        try:
            (await request.association.n_event_report(STEP, "1.2.3", 1)).raise_for_status()
        except aiodimse.DIMSEFailure as error:
            caught.append(error)
        return 0x0000

    async with testing.joined(server, contexts=[STEP], ae_title="MODALITY") as association:
        await association.n_create(STEP)
    assert [error.operation for error in caught] == ["N-EVENT-REPORT-RQ 1"]
    assert str(caught[0].peer).startswith("MODALITY@127.0.0.1:")


def test_an_error_of_no_operation_names_none() -> None:
    error = aiodimse.DIMSEFailure(0xA700, "later")
    assert (str(error), error.operation, error.peer) == ("status 0xA700: later", None, None)
