"""A world in memory: a network, a clock that stands still, a Server, and peers that do as they are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydicom.dataset import Dataset
from tls.authority import Certificates
from tls.over import OverTLS

import aiodimse
from aiodimse import sop_class, testing, tls
from aiodimse.aio.network import Network

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
GET = sop_class.StudyRootQueryRetrieveInformationModelGet
MOVE = sop_class.StudyRootQueryRetrieveInformationModelMove
CT = sop_class.CTImageStorage


class World:
    """Contexts are Verification 1, C-FIND 3, C-MOVE 5, CT Image Storage 7 unless told otherwise."""

    contexts = (sop_class.Verification, FIND, MOVE, CT)

    def __init__(self, certificates: Certificates | None = None) -> None:
        """With certificates, everything is said over TLS."""
        self.clock = testing.ManualClock()
        self.network = testing.MemoryNetwork()
        self.peers: Network = self.network
        """Where scripted peers connect and listen."""
        self._server_context = self._client_context = None
        if certificates is not None:
            self.peers = OverTLS(self.network, certificates)
            self._server_context = tls.server_context(**certificates.pair("server"), verify_client=False)
            self._client_context = tls.client_context(certificates.ca)
        self.ours: Any = None
        """The last acceptor that was called: its Connection."""

    def server(self, **options: Any) -> aiodimse.Server:
        """The clock stands still, so that without other timeouts an idle association ends when the server is left."""
        options.setdefault("timeouts", aiodimse.Timeouts(drain_idle=0))
        return aiodimse.Server(environment=aiodimse.Environment(self.clock, self.network), **options)

    def listen(self, server: aiodimse.Server) -> Any:
        return server.listen("memory", 104, ssl=self._server_context)

    @asynccontextmanager
    async def called(
        self, server: aiodimse.Server, contexts: Any = None, **options: Any
    ) -> AsyncIterator[testing.ScriptedPeer]:
        """A scripted user, associated with this server."""
        async with self.listen(server) as listening:
            peer = await self.call()
            await peer.associate(contexts or self.contexts, **options)
            self.ours = next(iter(listening._acceptor._all))
            yield peer
            peer.abort_transport()

    async def call(self) -> testing.ScriptedPeer:
        peer = await testing.ScriptedPeer.call(self.peers, 104, "localhost")
        if self.peers is self.network:
            peer.keep_open = True  # what closes the connection is on our side
        return peer

    @property
    def destination(self) -> aiodimse.Destination:
        """Our own server, as the destination of a C-MOVE."""
        return aiodimse.Destination("localhost", 104, ssl=self._client_context)

    def connect(self, port: int = 104, **options: Any) -> Any:
        options = {"contexts": self.contexts, "environment": aiodimse.Environment(self.clock, self.network), **options}
        return aiodimse.connect("localhost", port, ssl=self._client_context, **options)

    async def calling(
        self, port: int = 104, *, operations_window: tuple[int, int] = (1, 1), **options: Any
    ) -> tuple[Any, testing.ScriptedPeer]:
        """Our association with a scripted provider, and that provider."""
        peers = await self.answer(port)
        opening = asyncio.ensure_future(self.open(port, operations_window=operations_window, **options))
        peer = await peers.get()
        if self.peers is self.network:
            peer.keep_open = True
        await peer.accept(operations_window=operations_window[::-1])  # what we invoke it performs
        self.network.forget(port)
        return await opening, peer

    async def answer(self, port: int = 104) -> asyncio.Queue[testing.ScriptedPeer]:
        """Scripted providers, one for each connection."""
        return await testing.ScriptedPeer.listen(self.peers, port)

    @staticmethod
    def deafen(peer: testing.ScriptedPeer) -> None:
        """It takes no bytes any more, and with TLS no end either."""
        getattr(peer, "below", peer.transport).pause_reading()

    @staticmethod
    def undeafen(peer: testing.ScriptedPeer) -> None:
        getattr(peer, "below", peer.transport).resume_reading()

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


@asynccontextmanager
async def worlds(certificates: Certificates | None = None) -> AsyncIterator[World]:
    """At its end nothing may be left: no task, no connection, no timer."""
    world = World(certificates)
    yield world
    await world.nothing_left()


@pytest.fixture
def make_world() -> Any:
    return worlds


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with worlds() as world:
        yield world
