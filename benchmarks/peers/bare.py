"""The lower bound: asyncio and nothing else.

A server that answers C-ECHO with the same bytes as a provider and knows nothing else of DICOM, and the two ends of a
socket that move as many bytes as a large object has.
"""

from __future__ import annotations

import asyncio
import socket
import time
from typing import Any, cast

from aiodimse import pdu
from benchmarks.peers import wire
from benchmarks.peers.commands import go, options, run_commands

OPTIONS = options()
CHUNK = bytes(1 << 18)


class Echoes(asyncio.Protocol):
    """Answers C-ECHO with as many bytes as a provider sends, with the Message ID of the request."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are not subclasses of asyncio.Transport.
        self.transport = transport = cast(asyncio.Transport, transport)
        self.kept = b""
        self.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        if self.kept:
            data = self.kept + data
        while len(data) >= 6 and len(data) >= (size := 6 + int.from_bytes(data[2:6], "big")):
            kind = data[0]
            if kind == 4:
                start, end = wire.MESSAGE_ID_IN_REQUEST
                self.transport.write(wire.ECHO_BEFORE + data[start:end] + wire.ECHO_AFTER)
            elif kind == 1:
                self.transport.write(wire.accept_all(data[:size]))
            elif kind == 5:
                self.transport.write(pdu.encode(pdu.ReleaseRP()))
            data = data[size:]
        self.kept = data

    def eof_received(self) -> bool:
        return False


class Sink(asyncio.Protocol):
    """Counts received bytes, and answers one byte when all have arrived."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport, self.missing = cast(asyncio.Transport, transport), 0

    def data_received(self, data: bytes) -> None:
        if not self.missing:
            self.missing = 8 + int.from_bytes(data[:8], "big")
        self.missing -= len(data)
        if not self.missing:
            self.transport.write(b"!")


class Source(asyncio.Protocol):
    """Writes as long as the transport has room."""

    def __init__(self, size: int) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.size = self.left = size

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport, self.writing = cast(asyncio.Transport, transport), True
        self.transport.write(self.size.to_bytes(8, "big"))
        self.resume_writing()

    def pause_writing(self) -> None:
        self.writing = False

    def resume_writing(self) -> None:
        self.writing = True
        while self.writing and self.left:
            chunk = CHUNK if self.left >= len(CHUNK) else CHUNK[: self.left]
            self.left -= len(chunk)
            self.transport.write(chunk)

    def data_received(self, data: bytes) -> None:
        self.done.set_result(None)


async def send(port: int, size: int) -> dict[str, Any]:
    """Send that many bytes to the sink of another such worker."""
    started = time.perf_counter()
    transport, source = await asyncio.get_running_loop().create_connection(lambda: Source(size), "127.0.0.1", port)
    await source.done
    transport.close()
    return {"seconds": time.perf_counter() - started, "done": 1}


async def main() -> None:
    loop = asyncio.get_running_loop()
    kind = Sink if OPTIONS.get("what") == "sink" else Echoes
    server = await loop.create_server(kind, "127.0.0.1", 0, backlog=1024)
    await run_commands({"send": send}, port=server.sockets[0].getsockname()[1])


if __name__ == "__main__":
    go(main, OPTIONS.get("loop", "asyncio"))
