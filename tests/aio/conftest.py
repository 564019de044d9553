"""A world in memory: a network, a clock that stands still, a Server, and peers that do as they are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydicom.dataset import Dataset

import aiodimse
from aiodimse import sop_class, testing

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
GET = sop_class.StudyRootQueryRetrieveInformationModelGet
MOVE = sop_class.StudyRootQueryRetrieveInformationModelMove
CT = sop_class.CTImageStorage


class World:
    """Contexts are Verification 1, C-FIND 3, C-MOVE 5, CT Image Storage 7 unless told otherwise."""

    contexts = (sop_class.Verification, FIND, MOVE, CT)

    def __init__(self) -> None:
        self.clock = testing.ManualClock()
        self.network = testing.MemoryNetwork()

    def server(self, **options: Any) -> aiodimse.Server:
        return aiodimse.Server(clock=self.clock, network=self.network, **options)

    @asynccontextmanager
    async def called(self, server: aiodimse.Server, **options: Any) -> AsyncIterator[testing.ScriptedPeer]:
        """A scripted user, associated with this server."""
        async with server.listen("memory", 104):
            peer = await self.call()
            await peer.associate(self.contexts, **options)
            yield peer
            peer.abort_transport()

    async def call(self) -> testing.ScriptedPeer:
        peer = await testing.ScriptedPeer.call(self.network, 104)
        peer.keep_open = True  # what closes the connection is on our side
        return peer

    def connect(self, port: int = 104, **options: Any) -> Any:
        options = {"contexts": self.contexts, "clock": self.clock, "network": self.network, **options}
        return aiodimse.connect("memory", port, **options)

    async def calling(
        self, port: int = 104, *, operations_window: tuple[int, int] = (1, 1), **options: Any
    ) -> tuple[Any, testing.ScriptedPeer]:
        """Our association with a scripted provider, and that provider."""
        peers = await testing.ScriptedPeer.answer(self.network, port)
        opening = asyncio.ensure_future(self.open(port, operations_window=operations_window, **options))
        peer = await peers.get()
        peer.keep_open = True
        await peer.accept(operations_window=operations_window[::-1])  # what we invoke it performs
        self.network.forget(port)
        return await opening, peer

    async def open(self, port: int, **options: Any) -> Any:
        return await self.connect(port, **options)

    async def nothing_left(self) -> None:
        await testing.settle()
        tasks = [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        assert (tasks, self.network.open, self.clock.timers) == ([], [], 0)

    @staticmethod
    def query(level: str = "STUDY") -> Dataset:
        found = Dataset()
        found.QueryRetrieveLevel = level
        return found


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """At its end nothing may be left: no task, no connection, no timer."""
    world = World()
    yield world
    await world.nothing_left()
