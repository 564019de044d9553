"""After an aborted association nothing large stays, though the cyclic collector is off.

What ended an association is kept by it, and raised wherever somebody waits; its traceback knows the frames that it has
passed, and they know the data set.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import weakref
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from scripted import wire

import aiodimse
from aiodimse import sop_class, testing
from aiodimse.dimse.messages import CGetRQ
from aiodimse.pdu import PDataTF

CT = sop_class.CTImageStorage
GET = sop_class.StudyRootQueryRetrieveInformationModelGet
EXPLICIT = "1.2.840.10008.1.2.1"
MIB = 1 << 20


class Large(bytearray):
    """Bytes that can be watched."""


class Watched:
    """Large buffers that were made, as long as they live."""

    def __init__(self) -> None:
        self._made: list[weakref.ref[Large]] = []

    def make(self, size: int) -> memoryview:
        large = Large(size)
        self._made.append(weakref.ref(large))
        return memoryview(large)

    async def all_gone(self) -> bool:
        """Whether they go within some turns of the loop, without the collector."""
        assert self._made, "nothing was made"
        with suppress(TimeoutError):
            async with asyncio.timeout(5):
                while any(ref() is not None for ref in self._made):  # noqa: ASYNC110 - nothing tells of it
                    await asyncio.sleep(0)
        return all(ref() is None for ref in self._made)


@pytest.fixture
def watched() -> Iterator[Watched]:
    gc.collect()
    gc.disable()
    try:
        yield Watched()
    finally:
        gc.enable()


class Whole(aiodimse.Instance):
    """Encoded in one piece, as what has been re-encoded."""

    def __init__(self, watched: Watched, uid: str = "1.2.3") -> None:
        super().__init__(CT, uid, EXPLICIT)
        self.watched = watched

    async def encoded(self, transfer_syntax: str) -> Any:
        return self.watched.make(16 * MIB)

    async def _stream(self) -> AsyncIterator[memoryview]:
        for _ in range(16):
            yield self.watched.make(MIB)

    def stream(self) -> AsyncIterator[memoryview]:
        return self._stream()


class InPieces(Whole):
    async def encoded(self, transfer_syntax: str) -> Any:
        return self.stream()


@pytest.mark.parametrize("kind", [Whole, InPieces])
async def test_a_user_whose_peer_aborts(kind: type[Whole], watched: Watched) -> None:
    server = aiodimse.Server()

    @server.on_c_store
    async def store(request: Any) -> int:
        async for _ in request.stream():
            request.association.abort()
        return 0x0000

    async with testing.joined(server, contexts=[CT]) as association:
        with pytest.raises(aiodimse.AssociationAborted):
            await association.c_store(kind(watched))
        assert await watched.all_gone()


@pytest.mark.parametrize("kind", [Whole, InPieces])
async def test_a_provider_whose_peer_goes_in_a_c_get(kind: type[Whole], watched: Watched) -> None:
    network = testing.MemoryNetwork(in_flight=2000)
    server = aiodimse.Server(environment=aiodimse.Environment(network=network))

    @server.on_c_get
    async def get(request: Any) -> AsyncIterator[Any]:
        yield 2
        yield kind(watched, "1.2.3")
        yield kind(watched, "1.2.4")

    async with server.listen("memory", 104):
        user = await testing.ScriptedPeer.call(network, 104)
        await user.associate([GET, aiodimse.PresentationContext(CT, scu=False, scp=True)])
        identifier = b"\x08\x00\x52\x00CS\x06\x00STUDY "
        user.send_message(1, CGetRQ(message_id=7, affected_sop_class_uid=GET), identifier)
        for _ in range(3):
            await user.expect(PDataTF)
        user.abort_transport()
        assert await watched.all_gone()


async def test_a_provider_whose_write_fails(watched: Watched, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error of the socket has passed the frames that were writing."""
    server, send = aiodimse.Server(), socket.socket.send

    @server.on_c_get
    async def get(request: Any) -> AsyncIterator[Any]:
        yield 1
        yield Whole(watched, "1.2.3")

    def failing(self: socket.socket, data: bytes, *flags: int) -> int:
        if watched._made:
            raise BrokenPipeError(32, "Broken pipe")
        return send(self, data, *flags)

    monkeypatch.setattr(socket.socket, "send", failing)
    async with server.listen("127.0.0.1", 0) as listening:
        _, writer = await asyncio.open_connection("127.0.0.1", listening.port)
        contexts = [(1, GET, [EXPLICIT]), (3, CT, [EXPLICIT])]
        writer.write(wire.associate_rq(contexts, called="AIODIMSE", roles={CT: (0, 1)}))
        writer.write(wire.message(1, wire.get_rq(), wire.identifier("STUDY")))
        while not watched._made:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0)
        assert await watched.all_gone()
        writer.close()


@pytest.mark.parametrize("use", ["a list of its own", "dataset", "save"])
async def test_a_provider_whose_peer_goes_in_a_c_store(use: str, watched: Watched, tmp_path: Path) -> None:
    """What a handler holds in its frames goes with it. What the library joins is counted by its traced memory."""
    import tracemalloc

    server = aiodimse.Server()

    @server.on_c_store
    async def store(request: Any) -> int:
        if use == "dataset":
            await request.dataset()
        elif use == "save":
            await request.save(tmp_path)
        else:
            own = [watched.make(MIB)]
            own += [watched.make(len(piece)) async for piece in request.stream()]
        return 0x0000

    class Stopping(InPieces):
        async def _stream(self) -> AsyncIterator[Any]:
            yield b"\x08\0\x08\0CS\2\0A "
            for _ in range(16):
                yield bytes(MIB)
            association.abort()

    watched.make(1)
    async with testing.joined(server, contexts=[CT]) as association:
        tracemalloc.start()
        try:
            with pytest.raises(aiodimse.AssociationAborted):
                await association.c_store(Stopping(watched))
            assert await watched.all_gone()
            async with asyncio.timeout(10):
                while tracemalloc.get_traced_memory()[0] >= 2 * MIB:  # noqa: ASYNC110 - a thread lets go of the file
                    await asyncio.sleep(0)
        finally:
            tracemalloc.stop()
