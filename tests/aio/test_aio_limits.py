"""Limits on connections: associations in total, of one peer, and connections that have none yet."""

from __future__ import annotations

import asyncio
import logging
import sys
from types import SimpleNamespace
from typing import Any, cast

import pytest

import aiodimse
from aiodimse import sop_class, testing
from aiodimse.config import Limits
from aiodimse.pdu import AssociateAC, AssociateRJ, ReleaseRP, ReleaseRQ
from aiodimse.testing.hostile import wire as w

LOCAL_LIMIT_EXCEEDED = AssociateRJ(2, 3, 2)  # PS3.8 9.3.4: for now, by the presentation related function
RQ = testing.EnginePair([sop_class.Verification]).rq


async def ask(world: Any) -> tuple[testing.ScriptedPeer, Any]:
    """A new peer, and what its A-ASSOCIATE-RQ is answered with."""
    peer = await world.call()
    peer.send(RQ)
    answer = await peer.read()
    if isinstance(answer, AssociateRJ):
        await testing.settle()
        assert peer.eof
        peer.abort_transport()
    return peer, answer


async def release(peer: testing.ScriptedPeer) -> None:
    peer.send(ReleaseRQ())
    await peer.expect(ReleaseRP)
    peer.abort_transport()
    await testing.settle()


async def test_associations_in_total(world):
    server = world.server(accept_called=True, limits=Limits(max_associations=2))
    async with server.listen("memory", 104) as listening:
        (one, first), (two, second) = await ask(world), await ask(world)
        assert (type(first), type(second)) == (AssociateAC, AssociateAC)
        for _ in range(3):  # who is rejected takes no place
            assert (await ask(world))[1] == LOCAL_LIMIT_EXCEEDED
        assert listening.associations == 2
        await release(one)
        three, third = await ask(world)
        assert type(third) is AssociateAC
        assert (await ask(world))[1] == LOCAL_LIMIT_EXCEEDED
        for peer in (two, three):  # vanishing makes room as well
            peer.abort_transport()
        await testing.settle()
        assert listening.associations == 0
        four, fourth = await ask(world)
        assert type(fourth) is AssociateAC
        await release(four)


async def test_who_a_hook_rejects_takes_no_place(world):
    server = world.server(accept_called=True, limits=Limits(max_associations=1))

    @server.on_associate
    async def reject(request):
        raise aiodimse.AssociationRejected(1, 1, 1)

    async with server.listen("memory", 104):
        for _ in range(3):
            assert (await ask(world))[1] == AssociateRJ(1, 1, 1)
            await testing.settle()


async def test_who_a_hook_is_asked_about_takes_a_place(world):
    server, decided = world.server(accept_called=True, limits=Limits(max_associations=1)), asyncio.Event()

    @server.on_associate
    async def think(request):
        await decided.wait()

    async with server.listen("memory", 104):
        first = await world.call()
        first.send(RQ)
        await testing.settle()
        assert (await ask(world))[1] == LOCAL_LIMIT_EXCEEDED
        decided.set()
        await first.expect(AssociateAC)
        await release(first)


@pytest.mark.skipif(sys.platform != "linux", reason="127.0.0.2 is an address of its own on Linux")
async def test_associations_of_one_peer() -> None:
    limits, ended, writers = Limits(max_associations=3, max_associations_per_peer=1), asyncio.Event(), []
    metrics = SimpleNamespace(
        association_opened=lambda *_: None,
        association_failed=lambda *_: None,
        association_ended=lambda *_: ended.set(),
    )

    async def answer(host: str) -> bytes:
        """What comes first, from this address."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(host, 0))
        writers.append(writer)
        writer.write(w.associate_rq())
        head = await reader.readexactly(6)
        return head[:1] + await reader.readexactly(int.from_bytes(head[2:], "big"))

    server = aiodimse.Server(accept_called=True, limits=limits, metrics=cast(Any, metrics))
    async with server.listen("127.0.0.1") as listening:
        port = listening.port
        assert (await answer("127.0.0.1"))[0] == 2
        assert await answer("127.0.0.1") == bytes((3, 0, 2, 3, 2))
        assert (await answer("127.0.0.2"))[0] == 2
        assert await answer("127.0.0.2") == bytes((3, 0, 2, 3, 2))
        assert (await answer("127.0.0.3"))[0] == 2
        assert await answer("127.0.0.4") == bytes((3, 0, 2, 3, 2)), "the total counts too"
        writers[0].transport.abort()
        await ended.wait()
        assert (await answer("127.0.0.1"))[0] == 2
        for writer in writers:
            writer.transport.abort()


async def test_connections_without_an_association(world, caplog):
    """The oldest goes, the newcomer is kept; who has an association is not among them."""
    server = world.server(accept_called=True, limits=Limits(max_pending_connections=2))
    async with server.listen("memory", 104):
        associated, _ = await ask(world)
        silent = []
        with caplog.at_level(logging.WARNING):
            for number in range(5):
                silent.append(await world.call())
                await testing.settle()
                assert [peer.eof or peer.lost for peer in silent] == [True] * (number - 1) + [False] * min(
                    number + 1, 2
                )
        lines = [record for record in caplog.records if "closing the oldest" in record.getMessage()]
        assert len(lines) == 3
        assert len({line.association for line in lines}) == 3  # type: ignore[attr-defined]
        silent[3].send(RQ)  # who associates makes room
        await silent[3].expect(AssociateAC)
        silent.append(await world.call())
        await testing.settle()
        assert not silent[4].eof
        for peer in (associated, *silent):
            assert peer.raw == b"" or not peer.eof
            peer.abort_transport()
