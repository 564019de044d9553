"""Leaving a server: associations go on, also with new requests, until they end or idle, or the time is over."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import aiodimse
from aiodimse import Timeouts, sop_class, testing
from aiodimse.dimse.messages import CEchoRQ
from aiodimse.pdu import Abort, ReleaseRP, ReleaseRQ

ECHO = sop_class.Verification


def echo(message_id: int) -> CEchoRQ:
    return CEchoRQ(message_id=message_id, affected_sop_class_uid=ECHO)


async def draining(world: Any, **options: Any) -> tuple[Any, testing.ScriptedPeer, asyncio.Task[None]]:
    """A listening that is being closed, and a user that is associated with it."""
    listening = world.listen(world.server(**{"timeouts": Timeouts(server_drain=20.0), **options}))
    await listening.__aenter__()
    peer = await world.call()
    await peer.associate([ECHO])
    assert not listening.is_draining
    closing = asyncio.create_task(listening.close())
    await testing.settle()
    assert listening.is_draining
    return listening, peer, closing


async def test_an_association_between_two_operations_goes_on(world):
    """14 of 40 images reached a service that was updated: each pause of the sender ended its association."""
    listening, peer, closing = await draining(world)
    with pytest.raises(ConnectionRefusedError):
        await world.call()
    for message_id in range(1, 6):
        await world.clock.elapse(1.9)
        peer.send_message(1, echo(message_id))
        _, response, _ = await peer.read_message()
        assert response.status == 0x0000
    (association,) = listening.associations
    assert association.is_open
    peer.send(ReleaseRQ())
    assert await peer.read_to_end() == [ReleaseRP()]
    peer.abort_transport()
    await closing
    await listening.wait_empty()
    assert listening.associations == ()


@pytest.mark.parametrize("end_idle", ["abort", "release"])
async def test_an_idle_association_is_ended(world, end_idle):
    _, peer, closing = await draining(world, end_idle=end_idle)
    await world.clock.elapse(1.9)
    assert not peer.has_pdu
    await world.clock.elapse(0.2)
    if end_idle == "release":
        await peer.expect(ReleaseRQ)
        peer.send(ReleaseRP())
        assert await peer.read_to_end() == []
    else:
        assert await peer.read_to_end() == [Abort(0, 0)]
    peer.abort_transport()
    await closing


@pytest.mark.parametrize("end_idle", ["abort", "release"])
async def test_the_idle_timeout_of_a_server_that_stays(world, end_idle):
    server = world.server(timeouts=Timeouts(idle=30.0), end_idle=end_idle)
    async with world.called(server, [ECHO]) as peer:
        await world.clock.elapse(30.1)
        assert await peer.read() == (ReleaseRQ() if end_idle == "release" else Abort(0, 0))


async def test_the_time_is_over(world):
    _, peer, closing = await draining(world)
    for message_id in range(1, 13):
        await world.clock.elapse(1.6)
        peer.send_message(1, echo(message_id))
        await peer.read_message()
    assert not closing.done()
    await world.clock.elapse(1.0)
    assert await peer.read_to_end() == [Abort(0, 0)]
    peer.abort_transport()
    await closing


async def test_a_close_that_is_cancelled_aborts(world):
    listening, peer, closing = await draining(world)
    closing.cancel()
    assert await peer.read_to_end() == [Abort(0, 0)]
    peer.abort_transport()
    await asyncio.wait([closing])
    await listening.wait_empty()


def test_end_idle_is_one_of_two():
    with pytest.raises(ValueError, match="end_idle"):
        aiodimse.Server(end_idle="sleep")  # type: ignore[arg-type]
