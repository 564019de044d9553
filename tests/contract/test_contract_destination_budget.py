"""C-MOVEs share the associations to one destination, and propose no more to it than they need
(docs/topics/limits-and-leniencies.md)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from typing import Any

import pytest
from contract.stage import (
    DESTINATION,
    HOST,
    Destination,
    Script,
    Stage,
    image,
    images,
    make_server,
    open_destination,
    open_stage,
    register,
)
from scripted import wire
from scripted.peer import Aborted, Message, ScriptedListener, ScriptedPeer

import aiodimse
from aiodimse import sop_class
from aiodimse.testing.clock import ManualClock, settle


class Crowded(Destination):
    """Serves all that come side by side, answers when it is told to, and counts."""

    def __init__(self) -> None:
        super().__init__(proceed=asyncio.Event())
        self.at_once = self.most = 0
        self.full = asyncio.Event()
        """Set when there are as many as there may be."""
        self.bound = 0

    async def serve(self, listener: ScriptedListener) -> None:
        async with asyncio.TaskGroup() as group:
            while True:
                group.create_task(self._counted(await listener.accept(timeout=60)))

    async def _counted(self, peer: ScriptedPeer) -> None:
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        if self.at_once == self.bound:
            self.full.set()
        try:
            self.ended.append(await self._association(peer, iter(())))
        finally:
            self.at_once -= 1


class Crowd:
    """Peers, each with a C-MOVE of one instance to the same destination."""

    def __init__(self, server: aiodimse.Server, destination: Crowded, bound: int) -> None:
        self.server, self.destination = server, destination
        destination.bound = bound
        self.stages: list[Stage] = []
        self.asked: list[int] = []
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Crowd:
        handler = Script(DESTINATION, 1, image(1))
        handler.port = await self._stack.enter_async_context(open_destination(self.destination))
        register(self.server, "C-MOVE", handler)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def ask(self) -> Stage:
        stage = await self._stack.enter_async_context(open_stage(self.server, window=(2, 1)))
        self.stages.append(stage)
        self.asked.append(await stage.ask("C-MOVE"))
        return stage

    async def finals(self, first: int = 0) -> list[int | None]:
        pairs = list(zip(self.stages, self.asked, strict=True))[first:]
        return [(await stage.peer.responses(asked))[-1].status for stage, asked in pairs]


@pytest.mark.parametrize("bound", [1, 4])
async def test_more_moves_than_associations_to_a_destination(bound: int) -> None:
    server = make_server(limits=aiodimse.Limits(associations_per_destination=bound))
    destination = Crowded()
    async with Crowd(server, destination, bound) as crowd:
        for _ in range(3 * bound):
            await crowd.ask()
        await destination.full.wait()
        for stage in crowd.stages:
            await stage.nothing_more()  # all of them have been heard
        assert destination.most == bound
        assert destination.proceed is not None
        destination.proceed.set()
        assert await crowd.finals() == [0x0000] * 3 * bound
    assert (destination.most, len(destination.asked)) == (bound, 3 * bound)


async def test_another_destination_does_not_wait() -> None:
    """The bound is one of each destination."""
    server = make_server(limits=aiodimse.Limits(associations_per_destination=1))
    slow, free = Crowded(), Destination()
    ports: dict[int, int] = {}

    async def handler(request: aiodimse.MoveRequest) -> AsyncIterator[Any]:
        yield HOST, ports[request.message_id]
        yield 1
        yield image(1)

    register(server, "C-MOVE", handler)
    async with open_destination(slow) as one, open_destination(free) as another, open_stage(server) as stage:
        async with open_stage(server) as second:
            ports[7] = one
            await stage.ask("C-MOVE")
            await slow.arrived.wait()
            ports[7] = another
            assert (await second.peer.responses(await second.ask("C-MOVE")))[-1].status == 0x0000
        assert slow.proceed is not None
        slow.proceed.set()
        assert (await stage.peer.responses(7))[-1].status == 0x0000


@pytest.mark.parametrize("how", ["C-CANCEL", "A-ABORT"])
async def test_a_move_that_waits_and_is_not_wanted_any_more(how: str) -> None:
    """It leaves the line: who waits behind it is the next."""
    server = make_server(limits=aiodimse.Limits(associations_per_destination=1))
    destination = Crowded()
    async with Crowd(server, destination, 1) as crowd:
        await crowd.ask()
        await destination.full.wait()
        waiting = await crowd.ask()
        await waiting.nothing_more()
        if how == "C-CANCEL":
            await waiting.peer.send(wire.message(7, wire.cancel_rq(7)))
            (final,) = await waiting.peer.responses(7)
            assert final.status == 0xFE00
        else:
            await waiting.peer.send(wire.abort())
            await waiting.peer.expect_close()
        await crowd.ask()
        assert destination.proceed is not None
        destination.proceed.set()
        assert await crowd.finals(2) == [0x0000]
        assert len(destination.asked) == 2


async def test_a_move_that_waits_for_too_long(caplog: pytest.LogCaptureFixture) -> None:
    """Timeouts.destination_place, by a clock that the test moves: A702, and the place of another stays its own."""
    clock, destination = ManualClock(), Crowded()
    timeouts = aiodimse.Timeouts(destination_place=5, response=None, idle=None)
    server = make_server(
        limits=aiodimse.Limits(associations_per_destination=1),
        timeouts=timeouts,
        environment=aiodimse.Environment(clock),
    )
    async with Crowd(server, destination, 1) as crowd:
        await crowd.ask()
        await destination.full.wait()
        late = await crowd.ask()
        await late.nothing_more()
        clock.advance(4.9)
        await settle()
        await late.nothing_more()
        clock.advance(0.2)
        (final,) = await late.peer.responses(7)
        assert (final.status, final.counters) == (0xA702, (None, 0, 1, 0))
        assert destination.proceed is not None
        destination.proceed.set()
        assert (await crowd.stages[0].peer.responses(7))[-1].status == 0x0000
    assert any("did not end within 5" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize("end", [Aborted, "rejected", "refused"])
async def test_an_association_that_fails_gives_its_place_back(end: Any) -> None:
    server = make_server(limits=aiodimse.Limits(associations_per_destination=1))
    destination = Destination([end, end] if end is Aborted else [], reject=(1, 1, 7) if end == "rejected" else None)
    handler = Script(DESTINATION, 1, image(1))
    register(server, "C-MOVE", handler)
    async with open_destination(destination) as port, open_stage(server) as stage:
        handler.port = 1 if end == "refused" else port
        assert (await stage.peer.responses(await stage.ask("C-MOVE")))[-1].status == 0xA702
        destination.reject, handler.port = None, port
        again: list[Message] = await stage.peer.responses(await stage.ask("C-MOVE"))
        assert again[-1].status == (0xA702 if end is Aborted else 0x0000)
        assert (await stage.peer.responses(await stage.ask("C-MOVE")))[-1].status == 0x0000


async def test_few_contexts_are_proposed_at_first_and_many_where_they_did_not_do() -> None:
    """The second association is opened for a SOP class that no list has."""
    destination, own = Destination(), "1.2.826.0.1.3680043.10.999.5"
    server, handler = make_server(), Script(DESTINATION, 3, *images(2), image(3, own))
    register(server, "C-MOVE", handler)
    async with open_destination(destination) as handler.port, open_stage(server) as stage:
        assert (await stage.peer.responses(await stage.ask("C-MOVE")))[-1].status == 0x0000
    first, second = ([uid for uid, _ in rq.proposed.values()] for rq in destination.asked)
    assert len(first) <= 18
    assert {str(sop_class.CTImageStorage), str(sop_class.MRImageStorage)} <= set(first)
    assert len(second) > 100
    assert own in second
