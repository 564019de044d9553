"""A network in memory, and a function that joins a user and a Server with it."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiodimse.aio.clock import Clock
from aiodimse.aio.environment import Environment
from aiodimse.aio.network import Network, ProtocolFactory
from aiodimse.association import PresentationContext
from aiodimse.client import Association
from aiodimse.requestor import connect
from aiodimse.server import Server
from aiodimse.testing.transport import IN_FLIGHT, MemoryTransport, Split, memory_connection


class MemoryNetwork(Network):
    """Transport connections without sockets: for `Environment(network=...)`.

    A port is identified by its number alone; the host name does not matter.

    Args:
        in_flight: The number of bytes that a direction takes before its writer has to wait.
        split: Returns how many of the available bytes are delivered at a time; by default all of them.
    """

    def __init__(self, *, in_flight: int = IN_FLIGHT, split: Split | None = None) -> None:
        self.in_flight: int = in_flight
        self.split: Split | None = split
        self.silent_ports: set[int] = set()
        """Ports on which a connection is neither accepted nor refused."""
        self._ports: dict[int, MemoryListener] = {}
        self._numbers = itertools.count(40000)
        self._transports: list[MemoryTransport] = []

    @property
    def open(self) -> list[MemoryTransport]:
        """The ends of connections that are not closed. It is empty if nothing was left open."""
        self._transports = [transport for transport in self._transports if not transport.is_gone]
        return self._transports

    async def connect(
        self,
        factory: ProtocolFactory,
        host: str,
        port: int,
    ) -> None:
        """Connect with the listener of a port.

        Args:
            factory: Makes the protocol of the connection.
            host: Any name.
            port: The port.

        Raises:
            ConnectionRefusedError: Nothing listens on the port.
        """
        loop = asyncio.get_running_loop()
        if port in self.silent_ports:
            await loop.create_future()
        await asyncio.sleep(0)
        listener = self._ports.get(port)
        if listener is None:
            raise ConnectionRefusedError(f"nobody listens on port {port} of this memory")
        names = (("127.0.0.1", next(self._numbers)), ("127.0.0.1", port))
        ours, theirs = memory_connection(loop, names=names, in_flight=self.in_flight, split=self.split)
        self._transports = [*self.open, ours, theirs]
        loop.call_soon(theirs.start, listener.factory())
        ours.start(factory())

    async def listen(
        self,
        factory: ProtocolFactory,
        host: str | None,
        port: int,
        *,
        sock: socket.socket | None,
        reuse_port: bool,
    ) -> MemoryListener:
        """Listen on a port.

        Args:
            factory: Makes a protocol for each connection.
            host: Any name.
            port: The port; 0: any free one.
            sock: Ignored.
            reuse_port: Ignored.

        Returns:
            The listener, with its `port`.

        Raises:
            OSError: The port is taken.
        """
        port = port or next(number for number in self._numbers if number not in self._ports)
        if port in self._ports:
            raise OSError(f"port {port} of this memory is taken")
        listener = self._ports[port] = MemoryListener(self, factory, port)
        return listener

    def forget(self, port: int) -> None:
        """Stop listening on a port.

        Args:
            port: The port.
        """
        self._ports.pop(port, None)


class MemoryListener:
    """A listener on a port, with the parts of asyncio.Server that are used."""

    def __init__(self, network: MemoryNetwork, factory: ProtocolFactory, port: int) -> None:
        self.network: MemoryNetwork = network
        self.factory: ProtocolFactory = factory
        self.port: int = port

    @property
    def sockets(self) -> tuple[MemoryListener, ...]:
        """Itself, as the one socket."""
        return (self,)

    def getsockname(self) -> tuple[str, int]:
        """Return its address."""
        return ("127.0.0.1", self.port)

    def close(self) -> None:
        """Accept no more connections."""
        self.network.forget(self.port)


@asynccontextmanager
async def joined(
    server: Server,
    *,
    contexts: Sequence[str | PresentationContext],
    network: MemoryNetwork | None = None,
    clock: Clock | None = None,
    **options: Any,
) -> AsyncIterator[Association]:
    """Join a user and a Server in this event loop, without a socket.

    Everything but the transport is the work of connect() and Server.listen. Leaving releases the association and ends
    the server.

    Args:
        server: The server.
        contexts: The presentation contexts that the user proposes.
        network: The network between them; by default a new one.
        clock: The clock of the user; by default that of the server.
        **options: Options of connect(). By default the called AE title is that of the server.

    Yields:
        The association, as the user sees it.

    Examples:
        >>> server = aiodimse.Server(ae_title="PACS")
        >>> async with testing.joined(server, contexts=[sop_class.Verification]) as association:
        ...     assert (await association.c_echo()).status == 0x0000
    """
    network = network or MemoryNetwork()
    environment = Environment(clock or server.environment.clock, network)
    options = {"called_ae_title": server.ae_title, "environment": environment, **options}
    async with (
        server.listen(network=network) as listening,
        connect("memory", listening.port, contexts=contexts, **options) as association,
    ):
        yield association
