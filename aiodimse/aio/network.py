"""Where transport connections come from: the TCP of the event loop, which tests replace by connections in memory.

TLS is started on a connection that is open (tls_handshake.py), so that its deadline and its errors are ours.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from aiodimse.aio.listener import BACKLOG, TCPListener, bound_copies
from aiodimse.errors import LocalProtocolError

ProtocolFactory = Callable[[], asyncio.Protocol]


class Listener(Protocol):
    """What `Network.listen` returns: an asyncio.Server, or what stands for one."""

    @property
    def sockets(self) -> Sequence[Any]:
        """The sockets that listen."""

    def close(self) -> None:
        """Accept no more connections."""


class Network:
    """Opens and accepts transport connections on the running event loop."""

    async def connect(
        self,
        factory: ProtocolFactory,
        host: str,
        port: int,
    ) -> None:
        """Open a transport connection.

        Args:
            factory: Makes the protocol of the connection.
            host: A host name or an address.
            port: The TCP port, 0 to 65535.

        Raises:
            LocalProtocolError: The port is none.
            OSError: The connection cannot be opened.

        Cancellation: No socket is left.
        """
        with _address(host, port):
            await asyncio.get_running_loop().create_connection(factory, host, port)

    async def listen(
        self,
        factory: ProtocolFactory,
        host: str | None,
        port: int,
        *,
        sock: socket.socket | None,
        reuse_port: bool,
    ) -> Listener:
        """Accept transport connections.

        Args:
            factory: Makes the protocol of each connection.
            host: A host name or an address of this machine; None: every address.
            port: The TCP port, 0 to 65535; 0: one that is free.
            sock: A bound socket, instead of host and port.
            reuse_port: Whether several processes may listen on the port (SO_REUSEPORT).

        Raises:
            LocalProtocolError: The port is none.
            OSError: It cannot be listened on.
        """
        loop = asyncio.get_running_loop()
        if sock is not None:
            if sock.type != socket.SOCK_STREAM:
                raise ValueError(f"a listening socket is of type SOCK_STREAM, unlike {sock!r}")
            return TCPListener([sock], factory)
        with _address(host, port):
            if sys.platform == "win32":  # Its event loop calls nobody when a socket can be read.
                return await loop.create_server(factory, host, port, backlog=BACKLOG)
            bound = await loop.create_server(factory, host, port, reuse_port=reuse_port or None, start_serving=False)
        return TCPListener(bound_copies(bound), factory)


@contextmanager
def _address(host: str | None, port: int) -> Iterator[None]:
    """Raise one kind of error for an address that cannot be.

    asyncio raises OverflowError for a port that is none, UnicodeError for a host with a label that is empty or longer
    than 63 characters, and ValueError for a host with a null character.
    """
    if not isinstance(port, int) or isinstance(port, bool) or not 0 <= port <= 0xFFFF:
        raise LocalProtocolError(f"not a port (0 to 65535): {port!r}")
    try:
        yield
    except socket.gaierror as error:  # asyncio's has no name in it
        raise socket.gaierror(error.errno, f"{host!a}: {error.strerror}") from error
    except ValueError as error:
        raise socket.gaierror(socket.EAI_NONAME, f"not a host name: {host!a}") from error


TCP = Network()
"""The network of `Environment()`. It has no state, so all associations share it."""
