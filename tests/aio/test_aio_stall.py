"""A peer that takes no bytes, on real sockets: noticed whatever layer they wait in, and not seen where it is only slow.

A plain socket is the peer, so that nothing reads on its own. Our clock is moved by hand; the kernel keeps its own.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from pydicom.dataset import Dataset
from tls.authority import Certificates

import aiodimse
from aiodimse import sop_class, testing, tls
from aiodimse.dimse import command
from aiodimse.dimse.messages import CFindRQ
from aiodimse.pdu import encode, pdata_header
from aiodimse.testing import EnginePair

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
HOST = "127.0.0.1"


class Peer:
    """A blocking socket in a thread's stead: each call does what it can at once."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock

    async def _retried(self, call: Any, *args: Any) -> Any:
        async with asyncio.timeout(60):
            while True:
                try:
                    return call(*args)
                except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                    await asyncio.sleep(0)

    async def start_tls(self, context: ssl.SSLContext) -> None:
        self.sock = context.wrap_socket(self.sock, server_hostname="localhost", do_handshake_on_connect=False)
        await self._retried(self.sock.do_handshake)  # type: ignore[attr-defined]

    async def send(self, data: bytes) -> None:
        assert await self._retried(self.sock.send, data) == len(data)

    async def take(self, size: int) -> int:
        """So many bytes, or what there is up to the end."""
        taken = 0
        try:
            while taken < size:
                data = await self._retried(self.sock.recv, min(size - taken, 65536))
                if not data:
                    break
                taken += len(data)
        except (ConnectionError, ssl.SSLError):
            pass
        return taken


class Stage:
    """A provider whose C-FIND handler yields as much as it is told, and a peer that has asked it."""

    def __init__(self) -> None:
        self.clock = testing.ManualClock()
        self.server = aiodimse.Server(environment=aiodimse.Environment(self.clock), accept_called=True)
        self.told: asyncio.Queue[int] = asyncio.Queue()
        self.server.on_c_find(self.find)
        self.peer: Peer
        self.ours: Any = None

    async def find(self, request: Any) -> AsyncIterator[Dataset]:
        match = Dataset()
        match.PatientComments = "x" * 1000
        while True:
            for _ in range(await self.told.get()):
                yield match

    async def write_until_it_waits(self) -> None:
        """Until bytes wait in this process, the kernel having no room for more; settled, so that no more goes down."""
        while not self.ours.connection.backlog:
            self.told.put_nowait(10)
            await testing.settle()

    async def until_dropped(self) -> None:
        async with asyncio.timeout(60):
            await self.ours.wait_closed()


@asynccontextmanager
async def standing(certificates: Certificates | None) -> AsyncIterator[Stage]:
    stage = Stage()
    context = None if certificates is None else tls.server_context(**certificates.pair("server"), verify_client=False)
    async with stage.server.listen(HOST, 0, ssl=context) as listening:
        sock = socket.socket()
        with sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 16)  # most is to wait on our side
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, (HOST, listening.port))
            stage.peer = Peer(sock)
            if certificates is not None:
                await stage.peer.start_tls(tls.client_context(certificates.ca))
            await stage.peer.send(encode(EnginePair([FIND]).rq))
            async with asyncio.timeout(60):
                while not listening.associations:  # noqa: ASYNC110 - no event tells of it
                    await asyncio.sleep(0)
            (stage.ours,) = listening._acceptor._all
            find = command.encode(CFindRQ(message_id=1, affected_sop_class_uid=FIND, priority=0, has_data_set=True))
            await stage.peer.send(pdata_header(1, True, True, len(find)) + find + pdata_header(1, False, True, 0))
            try:
                yield stage
            finally:
                stage.peer.sock.close()


on_tcp_and_tls = pytest.mark.parametrize("encrypted", [False, True], ids=["TCP", "TLS"])


@on_tcp_and_tls
async def test_a_peer_that_takes_nothing(certificates, encrypted):
    async with standing(certificates if encrypted else None) as stage:
        await stage.write_until_it_waits()
        assert 0 < stage.ours.connection.transport.get_write_buffer_size() <= 1 << 16
        await stage.clock.elapse(29.9)
        assert stage.ours.error is None
        await stage.clock.elapse(0.2)
        await stage.until_dropped()
        assert isinstance(stage.ours.error, aiodimse.AssociationTimeout)
        assert stage.ours.error.phase == "write"


@pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="Linux says what the peer has acknowledged")
@on_tcp_and_tls
async def test_a_slow_peer_is_served_while_the_kernel_asks_for_nothing(certificates, encrypted):
    """Bytes leave the kernel's buffer, of some MiB, and it wants no more before a third of it is free."""
    async with standing(certificates if encrypted else None) as stage:
        await stage.write_until_it_waits()
        waiting = stage.ours.connection.backlog
        for _ in range(3):
            await stage.clock.elapse(29)
            assert await stage.peer.take(200_000) == 200_000
            await testing.settle()
            await stage.clock.elapse(1)
            assert stage.ours.error is None
        assert stage.ours.connection.backlog == waiting, "the kernel has taken some: this shows nothing"
        await stage.clock.elapse(30)
        await stage.until_dropped()
        assert isinstance(stage.ours.error, aiodimse.AssociationTimeout)
