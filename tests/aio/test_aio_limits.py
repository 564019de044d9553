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
from aiodimse.dimse.messages import CEchoRQ
from aiodimse.pdu import Abort, AssociateAC, AssociateRJ, ReleaseRP, ReleaseRQ, encode
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
        assert len(listening.associations) == 2
        await release(one)
        three, third = await ask(world)
        assert type(third) is AssociateAC
        assert (await ask(world))[1] == LOCAL_LIMIT_EXCEEDED
        for peer in (two, three):  # vanishing makes room as well
            peer.abort_transport()
        await testing.settle()
        assert len(listening.associations) == 0
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


# --- over all listenings of a server ----------------------------------------------------------------------------------


async def at(world: Any, port: int) -> testing.ScriptedPeer:
    peer = await testing.ScriptedPeer.call(world.network, port)
    peer.keep_open = True
    return peer


@pytest.mark.parametrize("limits", [Limits(max_associations=2), Limits(max_associations_per_peer=2)])
async def test_associations_count_over_all_listenings(world, limits):
    """As on a plain and a TLS port of one server; of each port one sees its own."""
    server, answers = world.server(accept_called=True, limits=limits), []
    async with server.listen("memory", 104) as plain, server.listen("memory", 2762) as other:
        peers = [await at(world, port) for port in (104, 2762, 104, 2762)]
        for peer in peers:
            peer.send(RQ)
            answers.append(await peer.read())
        assert [type(answer) for answer in answers] == [AssociateAC, AssociateAC, AssociateRJ, AssociateRJ]
        assert (len(plain.associations), len(other.associations)) == (1, 1)
        await release(peers[1])
        late = await at(world, 104)
        late.send(RQ)
        await late.expect(AssociateAC)
        assert (len(plain.associations), len(other.associations)) == (2, 0)
        for peer in (*peers, late):
            peer.abort_transport()


async def test_connections_without_an_association_count_over_all_listenings(world):
    server = world.server(accept_called=True, limits=Limits(max_pending_connections=2))
    async with server.listen("memory", 104), server.listen("memory", 2762):
        silent = [await at(world, port) for port in (104, 2762, 2762)]
        await testing.settle()
        assert [peer.eof or peer.lost for peer in silent] == [True, False, False]
        for peer in silent:
            peer.abort_transport()


async def test_leaving_one_listening_leaves_the_others_alone(world):
    server = world.server(accept_called=True, limits=Limits(max_associations=2))
    async with server.listen("memory", 104) as plain:
        staying, waiting = await at(world, 104), await at(world, 104)
        staying.send(RQ)
        await staying.expect(AssociateAC)
        async with server.listen("memory", 2762):
            going, silent = await at(world, 2762), await at(world, 2762)
            going.keep_open = silent.keep_open = False
            going.send(RQ)
            await going.expect(AssociateAC)
            await testing.settle()
        assert [peer.lost or peer.eof for peer in (staying, waiting, going, silent)] == [False, False, True, True]
        assert len(plain.associations) == 1
        waiting.send(RQ)  # into the place that is free now
        await waiting.expect(AssociateAC)
        for peer in (staying, waiting, going, silent):
            peer.abort_transport()


def test_a_server_counts_anew_in_another_event_loop() -> None:
    """What a loop that was thrown away has left open takes no place."""
    server = aiodimse.Server(accept_called=True, limits=Limits(max_associations=1))

    async def associate() -> None:
        network = testing.MemoryNetwork()
        listening = await server.listen(network=network).__aenter__()
        peer = await testing.ScriptedPeer.call(network, listening.port)
        peer.send(RQ)
        await peer.expect(AssociateAC)

    for _ in range(2):
        loop = asyncio.new_event_loop()
        loop.run_until_complete(associate())
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.close()


# --- bytes of requests that are not whole -----------------------------------------------------------------------------

LARGE = (
    encode(RQ)[:2] + Limits().associate_pdu_length.to_bytes(4, "big") + encode(RQ)[6:]
)  # as large as may be, as it says; only its beginning is ever sent
SMALL = encode(testing.EnginePair([sop_class.Verification]).rq)


async def test_who_holds_the_most_makes_place(world, caplog):
    """Three of four that send a request without end are closed in the course of it; the honest one has its answer."""
    failed: list[str] = []
    metrics = SimpleNamespace(
        association_opened=lambda *_: None,
        association_failed=lambda _, how: failed.append(how),
        association_ended=lambda *_: None,
    )
    server = world.server(accept_called=True, limits=Limits(pending_bytes=200_000), metrics=cast(Any, metrics))
    async with server.listen("memory", 104):
        greedy, honest = [await at(world, 104) for _ in range(4)], await at(world, 104)
        honest.send(SMALL[:-1])
        for peer in greedy:
            peer.send(LARGE)
        await testing.settle()
        with caplog.at_level(logging.WARNING):
            for size in (40_000, 20_000, 60_000, 50_000):
                for peer in greedy:
                    if not peer.lost:
                        peer.send(bytes(size))
                        await testing.settle()
                assert next(iter(server._admission.values()))._held_in_total <= 200_000
        assert [peer.lost for peer in greedy].count(True) == 3
        assert not honest.lost
        honest.send(SMALL[-1:])
        await honest.expect(AssociateAC)
        lines = [record for record in caplog.records if "closing the one with the most" in record.getMessage()]
        assert len(lines) == len(failed) == 3
        assert all(line.association for line in lines)  # type: ignore[attr-defined]
        for peer in (*greedy, honest):
            peer.abort_transport()
        await testing.settle()
        places = next(iter(server._admission.values()))
        assert (places._held, places._held_in_total, places.pending, places._lingering) == ({}, 0, {}, {})


async def test_an_honest_request_is_safe_among_a_thousand(world):
    """As many as may be, each with its share; the one that sends a large request last, in pieces, is served."""
    most, share = 40, Limits().pending_bytes // Limits().max_pending_connections
    limits = Limits(max_pending_connections=most, pending_bytes=most * share)
    server = world.server(accept_called=True, limits=limits)
    contexts = [
        aiodimse.PresentationContext(uid, [f"{uid}.{number}" for number in range(5)])
        for uid in list(sop_class.STORAGE)[:128]
    ]
    request = encode(testing.EnginePair(contexts).rq)
    assert 20_000 < len(request) < share
    async with server.listen("memory", 104):
        greedy = [await at(world, 104) for _ in range(most - 1)]
        for peer in greedy:
            peer.send(LARGE + bytes(share - len(LARGE)))
        await testing.settle()
        honest = await at(world, 104)
        for start in range(0, len(request), 5000):
            honest.send(request[start : start + 5000])
            await testing.settle()
            greedy[start % 7].send(bytes(9000))
            await testing.settle()
        await honest.expect(AssociateAC)
        for peer in (*greedy, honest):
            peer.abort_transport()


@pytest.mark.parametrize("how", ["rejected", "released"])
async def test_who_lingers_counts_as_well(world, how):
    """Told the end, it does not close: the oldest such is dropped before any that has not said what it wants."""
    limits = Limits(max_associations=1, max_pending_connections=3, pending_bytes=100_000)
    server = world.server(accept_called=True, limits=limits)
    async with server.listen("memory", 104) as listening:
        first, waiting, lingering, seen = await at(world, 104), await at(world, 104), [], []
        if how == "released":
            first.abort_transport()
        else:
            first.send(RQ)
            await first.expect(AssociateAC)
        await testing.settle()
        before = set(listening._acceptor._all)
        for _ in range(5):
            peer = await at(world, 104)
            lingering.append(peer)
            peer.send(RQ)
            await testing.settle()
            seen += set(listening._acceptor._all) - before - set(seen)
            if how == "rejected":
                assert await peer.read() == LOCAL_LIMIT_EXCEEDED
            else:
                await peer.expect(AssociateAC)
                peer.send(ReleaseRQ())
                await peer.expect(ReleaseRP)
            await testing.settle()
        kept = set(listening._acceptor._all) - before
        assert len(kept) == 2
        assert kept == set(seen[-2:])
        for peer in lingering[3:]:
            peer.send(LARGE + bytes(60_000))
            await testing.settle()
        assert len(set(listening._acceptor._all) - before) == 1
        assert not waiting.lost
        for peer in (first, waiting, *lingering):
            peer.abort_transport()


async def test_who_is_rejected_leaves_no_request_behind(world):
    server = world.server()  # under another title than the one that is called
    async with server.listen("memory", 104) as listening:
        peer = await at(world, 104)
        peer.send(RQ)
        assert await peer.read() == AssociateRJ(1, 1, 7)
        (ours,) = listening._acceptor._all
        assert (ours.engine.rq.calling_ae_title, ours.engine.rq.contexts) == (RQ.calling_ae_title, ())
        peer.abort_transport()


@pytest.mark.parametrize("limits", [Limits(max_associations=1), Limits(max_associations_per_peer=1)])
@pytest.mark.parametrize("how", ["aborts", "vanishes", "releases"])
async def test_a_place_is_taken_until_the_last_task_has_ended(world, how, limits):
    """What a handler that was cancelled still holds counts: peers that come and go cannot pile it up."""
    server = world.server(accept_called=True, limits=limits)
    begun, go = asyncio.Event(), asyncio.Event()

    @server.on_c_echo
    async def stay(request):
        try:
            begun.set()
            await asyncio.get_running_loop().create_future()
        finally:
            await go.wait()

    async with server.listen("memory", 104):
        peer, _ = await ask(world)
        peer.send_message(1, CEchoRQ(message_id=1, affected_sop_class_uid=str(sop_class.Verification)))
        await begun.wait()
        if how == "vanishes":
            peer.abort_transport()
        else:
            peer.send(Abort(0, 0) if how == "aborts" else ReleaseRQ())
        await testing.settle()
        assert (await ask(world))[1] == LOCAL_LIMIT_EXCEEDED
        go.set()
        await testing.settle()
        other, answer = await ask(world)
        assert type(answer) is AssociateAC
        await release(other)
        peer.abort_transport()


async def test_the_end_hook_is_a_task_of_the_association(world):
    server, go = world.server(accept_called=True, limits=Limits(max_associations=1)), asyncio.Event()

    @server.on_association_end
    async def ended(association, error):
        await go.wait()

    async with server.listen("memory", 104):
        peer, _ = await ask(world)
        await release(peer)
        assert (await ask(world))[1] == LOCAL_LIMIT_EXCEEDED
        go.set()
        await testing.settle()
        other, answer = await ask(world)
        assert type(answer) is AssociateAC
        await release(other)
