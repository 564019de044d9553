"""Every case of the contract runs twice: over TCP, and in memory, where no socket and no kernel has a part in it.

`make quick` runs those in memory only. There the same scripted peer speaks through MemoryNetwork's transports, and what
listens and connects by default goes there too.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from scripted.peer import DEADLINE, ScriptedListener, ScriptedPeer

from aiodimse import testing
from aiodimse.aio.network import Network


class _Stream(asyncio.StreamReaderProtocol):
    """Keeps its transport, which MemoryNetwork.connect does not return."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.WriteTransport, transport)
        super().connection_made(transport)


class MemoryPeer(ScriptedPeer):
    def reset(self) -> None:
        cast(testing.MemoryTransport, self.writer.transport).reset()


class MemoryScriptedListener(ScriptedListener):
    """Its connections are those of a MemoryNetwork."""

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = MemoryPeer(reader, writer, self.timeout)
        self.peers.append(peer)
        self._arrived.put_nowait(peer)


@pytest.fixture(autouse=True, params=[pytest.param("wire", marks=pytest.mark.slow), "memory"])
def network(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Network | None:
    """The network in memory that takes the place of TCP, or None."""
    if request.param == "wire":
        return None
    memory = testing.MemoryNetwork()

    async def connect(host: str, port: int, timeout: float = DEADLINE) -> ScriptedPeer:
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(loop=loop)
        stream = _Stream(reader, loop=loop)
        await memory.connect(lambda: stream, host, port)
        return MemoryPeer(reader, asyncio.StreamWriter(stream.transport, stream, reader, loop), timeout)

    async def open_listener(timeout: float = DEADLINE) -> ScriptedListener:
        listener, loop = MemoryScriptedListener(timeout), asyncio.get_running_loop()

        def stream() -> asyncio.Protocol:
            return asyncio.StreamReaderProtocol(asyncio.StreamReader(loop=loop), listener._connected, loop=loop)

        door: Any = await memory.listen(stream, None, 0, sock=None, reuse_port=False)
        listener._server, listener.port = door, door.port
        return listener

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a socket, where all should happen in memory")

    monkeypatch.setattr(asyncio.BaseEventLoop, "create_connection", refuse)
    monkeypatch.setattr(asyncio.BaseEventLoop, "create_server", refuse)
    monkeypatch.setattr(ScriptedPeer, "connect", connect)
    monkeypatch.setattr(ScriptedListener, "open", open_listener)
    monkeypatch.setattr(Network, "connect", memory.connect)
    monkeypatch.setattr(Network, "listen", memory.listen)
    return memory
