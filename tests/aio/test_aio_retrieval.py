"""A C-GET of ours with a scripted provider: the order of what arrives, and the deadline of its responses."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aiodimse import AssociationTimeout, Timeouts, sop_class, testing
from aiodimse.datasets import encode_dataset
from aiodimse.dimse.messages import CGetRSP, CStoreRQ

GET = sop_class.StudyRootQueryRetrieveInformationModelGet
CT = sop_class.CTImageStorage
STORE, RETRIEVE = 7, 9
"""Context IDs: those of the world, and one more for C-GET."""


def store(peer: testing.ScriptedPeer, message_id: int, data: bytes) -> None:
    request = CStoreRQ(message_id=message_id, affected_sop_class_uid=CT, affected_sop_instance_uid=f"1.2.{message_id}")
    peer.send_message(STORE, request, data)


def pending(peer: testing.ScriptedPeer, completed: int) -> None:
    response = CGetRSP(message_id_being_responded_to=1, status=0xFF00, affected_sop_class_uid=GET)
    response.number_of_completed_suboperations = completed
    peer.send_message(RETRIEVE, response)


@pytest.fixture
async def retrieval(world: Any) -> Any:
    """An association with a C-GET whose request the peer has read, and the peer."""
    association, peer = await world.calling(contexts=[*world.contexts, GET], timeouts=Timeouts(response=10))
    operation = association.c_get(world.query(), GET)
    await operation.start()
    await peer.read_message()
    yield operation, peer, encode_dataset(world.query(), "1.2.840.10008.1.2")
    association.abort()
    peer.abort_transport()


async def test_pending_responses_are_read_before_instances(retrieval: Any) -> None:
    """Read last, they would pile up behind the instances, and pause our reading in the end."""
    operation, peer, data = retrieval
    for number in (1, 2, 3):
        store(peer, number, data)
        pending(peer, number)
    await testing.settle()
    instance = await anext(operation)
    assert operation.progress.completed == 3
    await instance.discard()


async def test_each_instance_renews_the_deadline_of_the_response(world: Any, retrieval: Any) -> None:
    operation, peer, data = retrieval
    for number in (1, 2, 3):
        asking = asyncio.ensure_future(anext(operation))
        await testing.settle()
        world.clock.advance(9)
        store(peer, number, data)
        await (await asking).discard()
    asking = asyncio.ensure_future(anext(operation))
    await testing.settle()
    world.clock.advance(10)
    with pytest.raises(AssociationTimeout):
        await asking
