"""Counts the connections and associations of one server, over all its listenings, and enforces its limits."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeAlias

from aiodimse.aio import tls_handshake
from aiodimse.aio.clock import Clock
from aiodimse.aio.endpoint import Endpoint
from aiodimse.aio.handshakes import Handshakes
from aiodimse.aio.log import Adapter, AssociationLogger
from aiodimse.config import Limits

_logger = logging.getLogger("aiodimse.acceptor")
_log = AssociationLogger(_logger, None)

_SELDOM = 60.0
"""Seconds between two lines in the log about the same state."""

Newcomer: TypeAlias = "Endpoint | tls_handshake.PendingHandshake"

_HANDSHAKE = 48 << 10
"""The bytes of memory that one handshake counts for. OpenSSL takes 20 to 60 KiB, by the length of the certificates."""


class Admission:
    """The connections and associations of every Acceptor of a server."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._limits = limits
        self._handshakes = Handshakes(limits.tls_handshakes, clock)
        self.pending: dict[Newcomer, Callable[[], None]] = {}
        """Connections that have no association yet, the oldest first, and what closes them."""
        self._lingering: dict[Endpoint, None] = {}
        """Connections whose association has ended and whose peer has not closed them yet, the oldest first."""
        self._held: dict[Newcomer, int] = {}
        """The bytes that both hold: of PDUs that are not complete, and of TLS handshakes."""
        self._held_in_total = 0
        self._associated: dict[Endpoint, str] = {}
        self._per_peer: Counter[str] = Counter()
        self._logged_at = -_SELDOM  # the time of the last line about file descriptors, by the event loop

    def wait_for_request(self, newcomer: Newcomer, drop: Callable[[], None]) -> None:
        """Count a connection that was opened. Above Limits.max_pending_connections the oldest one is closed.

        Args:
            newcomer: The connection, or its TLS handshake.
            drop: Closes it.
        """
        self.pending[newcomer] = drop
        if isinstance(newcomer, Endpoint):
            newcomer.on_buffered = partial(self._hold, newcomer)
        self._make_place()

    def _make_place(self) -> None:
        if len(self.pending) + len(self._lingering) <= self._limits.max_pending_connections:
            return
        if self._lingering:  # We have nothing more to send to its peer.
            self._drop(next(iter(self._lingering)))
            return
        oldest = next(iter(self.pending))
        _log_of(oldest).warning("%d connections without an association: closing the oldest", len(self.pending))
        self._drop(oldest)

    def make_room(self, error: OSError) -> bool:
        """Close the oldest connection without an association, because there is no file descriptor for a new one.

        Args:
            error: The error of the system, such as EMFILE.

        Returns:
            Whether there was such a connection.
        """
        oldest = next(iter(self._lingering or self.pending), None)
        now = asyncio.get_running_loop().time()
        if now - self._logged_at >= _SELDOM:
            self._logged_at = now
            _log.warning(
                "a connection waits, and there is no file descriptor for it (%s): closing %s; %d associations are open",
                errno.errorcode.get(error.errno or 0, "error"),
                "that one" if oldest is None else "the oldest that has no association",
                len(self._associated),
            )
        if oldest is None:
            return False
        self._drop(oldest)
        return True

    @asynccontextmanager
    async def handshake(self, handshake: tls_handshake.PendingHandshake) -> AsyncIterator[None]:
        """Wait for a place among `Limits.tls_handshakes`, and hold it while the block runs.

        The caller sets the deadline.

        Cancellation: The place is given up.
        """
        self._hold(handshake, len(handshake.first))
        await self._handshakes.enter(handshake)
        try:
            self._hold(handshake, _HANDSHAKE)
            yield
        finally:
            self._handshakes.leave(handshake)

    def _hold(self, newcomer: Newcomer, size: int) -> None:
        """Note how many bytes a connection holds. Above Limits.pending_bytes the one that holds the most is closed.

        A connection that holds no more than an equal share is never the one: an honest request has less than 32 KiB,
        and is safe even if 1,000 other connections hold as much as they can.
        """
        self._held_in_total += size - self._held.pop(newcomer, 0)
        if size:
            self._held[newcomer] = size
        while self._held_in_total > self._limits.pending_bytes:
            largest = max(self._held, key=self._held.__getitem__)
            held, total = self._held[largest], self._held_in_total
            _log_of(largest).warning(
                "connections without an association hold %d bytes: closing the one with the most, %d", total, held
            )
            self._drop(largest)

    def _drop(self, newcomer: Newcomer) -> None:
        drop = self.pending.get(newcomer)
        self.forget(newcomer)
        if drop is not None:
            drop()
        elif isinstance(newcomer, Endpoint):
            newcomer.connection.drop()

    def admit(self, endpoint: Endpoint, peer: str) -> bool:
        """Count an association. Return False if a limit does not allow it."""
        most, most_per_peer = self._limits.max_associations, self._limits.max_associations_per_peer
        self.forget(endpoint)
        if len(self._associated) >= most or (most_per_peer is not None and self._per_peer[peer] >= most_per_peer):
            return False
        self._associated[endpoint] = peer
        self._per_peer[peer] += 1
        return True

    def leave(self, endpoint: Endpoint) -> None:
        """Take note that the association has ended or was refused. Its connection may still be open.

        Its place is free when its tasks have ended, because its handlers may still hold something.
        """
        self.forget(endpoint)
        if len(endpoint.tasks):
            endpoint.tasks.on_empty = partial(self._free, endpoint)
        else:
            self._free(endpoint)
        self._lingering[endpoint] = None
        endpoint.on_buffered = partial(self._hold, endpoint)
        self._make_place()

    def forget(self, newcomer: Newcomer) -> None:
        """Stop counting a connection: it has an association now, or is closed."""
        self.pending.pop(newcomer, None)
        self._held_in_total -= self._held.pop(newcomer, 0)
        if isinstance(newcomer, Endpoint):
            self._lingering.pop(newcomer, None)
            newcomer.on_buffered = None

    def _free(self, endpoint: Endpoint) -> None:
        """Give the place of an association free."""
        endpoint.tasks.on_empty = None
        if (peer := self._associated.pop(endpoint, None)) is not None:
            self._per_peer[peer] -= 1
            if not self._per_peer[peer]:
                del self._per_peer[peer]


def _log_of(newcomer: Newcomer) -> Adapter:
    return newcomer.logger(_logger) if isinstance(newcomer, Endpoint) else _log
