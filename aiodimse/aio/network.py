"""Where transport connections come from: the event loop's TCP and TLS, which tests replace by one in memory."""

from __future__ import annotations

import asyncio
import socket
import ssl as ssl_module
from collections.abc import Callable, Sequence
from typing import Any, Protocol

ProtocolFactory = Callable[[], asyncio.Protocol]

_BACKLOG = 1024


class Listener(Protocol):
    """What listen returns: an asyncio.Server, or what stands for one."""

    @property
    def sockets(self) -> Sequence[Any]: ...

    def close(self) -> None: ...


class Network:
    """Opens and accepts transport connections on the running event loop."""

    async def connect(
        self,
        factory: ProtocolFactory,
        host: str,
        port: int,
        *,
        ssl: ssl_module.SSLContext | None,
        handshake_timeout: float | None,
    ) -> None:
        """Open one; the protocol that factory makes hears of it. Raises OSError. A cancelled call leaves no socket."""
        loop = asyncio.get_running_loop()
        if ssl is None:
            await loop.create_connection(factory, host, port)
        else:
            await loop.create_connection(
                factory, host, port, ssl=ssl, server_hostname=host, ssl_handshake_timeout=handshake_timeout
            )

    async def listen(
        self,
        factory: ProtocolFactory,
        host: str | None,
        port: int,
        *,
        ssl: ssl_module.SSLContext | None,
        sock: socket.socket | None,
        reuse_port: bool,
        handshake_timeout: float | None,
    ) -> Listener:
        """Accept connections, a protocol made by factory for each. Raises OSError."""
        loop = asyncio.get_running_loop()
        handshake = handshake_timeout if ssl is not None else None
        if sock is not None:
            return await loop.create_server(
                factory, sock=sock, ssl=ssl, ssl_handshake_timeout=handshake, backlog=_BACKLOG
            )
        return await loop.create_server(
            factory,
            host,
            port,
            ssl=ssl,
            ssl_handshake_timeout=handshake,
            backlog=_BACKLOG,
            reuse_port=reuse_port or None,
        )


TCP = Network()
"""The one that is used where none is given; it holds nothing."""
