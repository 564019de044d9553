"""Taking connections in: one doorkeeper for all listening sockets of a server, with its limits (design: section 5)."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl as ssl_module
from collections import Counter
from collections.abc import Callable

from aiodimse.aio.clock import Clock
from aiodimse.aio.connection import Connection, Observer
from aiodimse.aio.network import TCP, Network
from aiodimse.aio.wire import Trace, Wire
from aiodimse.config import Limits, Timeouts
from aiodimse.pdu import AssociateRJ

_log = logging.getLogger("aiodimse.acceptor")

LOCAL_LIMIT_EXCEEDED = AssociateRJ(2, 3, 2)
"""Rejected-transient, presentation-related service-provider: local-limit-exceeded (PS3.8 9.3.4)."""


class Guest(Observer):
    """An Observer that the floor above makes for each connection."""

    connection: Connection


class Doorkeeper:
    """Every connection of one server, from accept to the end."""

    def __init__(
        self,
        make_guest: Callable[[Doorkeeper], Guest],
        *,
        limits: Limits,
        timeouts: Timeouts,
        clock: Clock,
        trace: Trace | None = None,
        network: Network = TCP,
    ) -> None:
        self.limits, self.timeouts, self.clock, self.network = limits, timeouts, clock, network
        self.closing = False
        self._trace = trace
        self._make_guest = make_guest
        self._pending: dict[Connection, None] = {}
        self._associated: dict[Connection, str] = {}
        self._per_peer: Counter[str] = Counter()
        self._all: set[Connection] = set()
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._all)

    @property
    def associations(self) -> int:
        """Associations that count against Limits.max_associations."""
        return len(self._associated)

    def new_wire(self) -> Wire:
        """The protocol for one accepted socket."""
        guest = self._make_guest(self)
        connection = guest.connection = Connection(
            "acceptor", guest, limits=self.limits, timeouts=self.timeouts, clock=self.clock, network=self.network
        )
        return connection.wire

    def enter(self, connection: Connection) -> None:
        """A connection is open; one whose TLS handshake failed never comes here."""
        connection.wire.tap(self._trace, "acceptor")
        self._all.add(connection)
        self._pending[connection] = None
        self._empty.clear()
        if len(self._pending) > self.limits.max_pending_connections:
            oldest = next(iter(self._pending))
            del self._pending[oldest]
            _log.warning("%d connections without an association: closing the oldest", len(self._pending))
            oldest.wire.drop()
        if self.closing:
            connection.wire.drop()

    def admit(self, connection: Connection, peer: str) -> AssociateRJ | None:
        """Count an association in; the rejection where a limit does not allow it."""
        most, most_per_peer = self.limits.max_associations, self.limits.max_associations_per_peer
        self._pending.pop(connection, None)
        if (
            self.closing
            or len(self._associated) >= most
            or (most_per_peer is not None and self._per_peer[peer] >= most_per_peer)
        ):
            return LOCAL_LIMIT_EXCEEDED
        self._associated[connection] = peer
        self._per_peer[peer] += 1
        return None

    def leave(self, connection: Connection) -> None:
        """The association has ended; its connection may linger."""
        self._pending.pop(connection, None)
        peer = self._associated.pop(connection, None)
        if peer is not None:
            self._per_peer[peer] -= 1
            if not self._per_peer[peer]:
                del self._per_peer[peer]

    def gone(self, connection: Connection) -> None:
        """The transport connection is gone."""
        self.leave(connection)
        self._all.discard(connection)
        if not self._all:
            self._empty.set()

    async def listen(
        self,
        host: str | None,
        port: int,
        *,
        ssl: ssl_module.SSLContext | None,
        sock: socket.socket | None,
        reuse_port: bool,
    ) -> asyncio.Server:
        """Open a listening socket."""
        return await self.network.listen(
            self.new_wire,
            host,
            port,
            ssl=ssl,
            sock=sock,
            reuse_port=reuse_port,
            handshake_timeout=self.timeouts.tls_handshake,
        )

    async def drain(self) -> None:
        """Wait for running operations to end; the deadline or a cancellation aborts what is left."""
        self.closing = True
        for connection in list(self._all):
            connection.close_when_idle()
            if connection in self._pending:
                connection.wire.drop()
        try:
            async with self.clock.deadline(self.clock.after(self.timeouts.server_drain), TimeoutError):
                await self._empty.wait()
        except TimeoutError:
            _log.warning("%d associations did not end within %s s", len(self._all), self.timeouts.server_drain)
        finally:
            self.abort()
        await self.wait_empty()

    async def wait_empty(self) -> None:
        """Wait until every connection and every task of theirs is gone."""
        await self._empty.wait()

    def abort(self) -> None:
        """End every association now."""
        self.closing = True
        for connection in list(self._all):
            connection.abort()
            connection.wire.drop()
