"""TLS on the connections of another network, for scripted peers."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any

from tls.authority import Certificates

from aiodimse import tls
from aiodimse.aio.network import Listener, Network, ProtocolFactory


class Open(asyncio.Protocol):
    """An open connection that asyncio's TLS is about to take over; nothing is read before."""

    def __init__(self, opened: Callable[[Open], None] | None = None) -> None:
        self._opened = opened
        self.transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.pause_reading()
        if self._opened is not None:
            self._opened(self)


class OverTLS(Network):
    """Another network with TLS on its connections, for scripted peers, which know nothing of it."""

    def __init__(self, below: Network, certificates: Certificates) -> None:
        self._below = below
        self._server = tls.server_context(**certificates.pair("server"), verify_client=False)
        self._client = tls.client_context(certificates.ca)
        self._tasks: set[asyncio.Task[None]] = set()

    async def connect(self, factory: ProtocolFactory, host: str, port: int) -> None:
        connection = Open()
        await self._below.connect(lambda: connection, host, port)
        await self._start(connection, factory(), self._client, server_hostname="localhost")

    async def listen(self, factory: ProtocolFactory, host: str | None, port: int, **options: Any) -> Listener:
        def opened(connection: Open) -> None:
            task = asyncio.create_task(self._start(connection, factory(), self._server, server_side=True))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        return await self._below.listen(lambda: Open(opened), host, port, **options)

    async def _start(self, connection: Open, peer: Any, context: ssl.SSLContext, **options: Any) -> None:
        loop = asyncio.get_running_loop()
        secured = await loop.start_tls(connection.transport, peer, context, ssl_handshake_timeout=1000, **options)
        assert secured is not None
        peer.keep_open, peer.below = False, connection.transport  # with TLS, who is told of the end closes
        peer.connection_made(secured)
