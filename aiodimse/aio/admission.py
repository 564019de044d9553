"""Who is in: connections and associations of one server, over all its listenings, and what its limits allow."""

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
"""Bytes of OpenSSL, which a handshake counts for; measured at 20 to 60 KiB, by the length of the certificates."""


class Admission:
    """Counted by every Acceptor of the server."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._limits = limits
        self._handshakes = Handshakes(limits.tls_handshakes, clock)
        self.pending: dict[Newcomer, Callable[[], None]] = {}
        """What has not associated yet, the oldest first, and how to close it."""
        self._lingering: dict[Endpoint, None] = {}
        """What has been told the end and has not closed, the oldest first."""
        self._held: dict[Newcomer, int] = {}
        """Bytes of PDUs that are not whole, of both, and of TLS handshakes."""
        self._held_in_total = 0
        self._associated: dict[Endpoint, str] = {}
        self._per_peer: Counter[str] = Counter()
        self._said_at = -_SELDOM  # by the time of the event loop: that there are no file descriptors

    def wait_for_request(self, newcomer: Newcomer, drop: Callable[[], None]) -> None:
        """A connection is open; over Limits.max_pending_connections the oldest makes place."""
        self.pending[newcomer] = drop
        if isinstance(newcomer, Endpoint):
            newcomer.on_buffered = partial(self._hold, newcomer)
        self._make_place()

    def _make_place(self) -> None:
        if len(self.pending) + len(self._lingering) <= self._limits.max_pending_connections:
            return
        if self._lingering:  # it has heard all that we have to say
            self._drop(next(iter(self._lingering)))
            return
        oldest = next(iter(self.pending))
        _log_of(oldest).warning("%d connections without an association: closing the oldest", len(self.pending))
        self._drop(oldest)

    def make_room(self, error: OSError) -> bool:
        """Close the oldest connection that has no association: there is no file descriptor for one that waits.

        Args:
            error: What the system says, such as EMFILE.

        Returns:
            Whether there was such a connection.
        """
        oldest = next(iter(self._lingering or self.pending), None)
        now = asyncio.get_running_loop().time()
        if now - self._said_at >= _SELDOM:
            self._said_at = now
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
        """Wait for a place among `Limits.tls_handshakes`, and hold it while the block runs."""
        self._hold(handshake, len(handshake.first))
        await self._handshakes.enter(handshake)
        try:
            self._hold(handshake, _HANDSHAKE)
            yield
        finally:
            self._handshakes.leave(handshake)

    def _hold(self, newcomer: Newcomer, size: int) -> None:
        """So many bytes wait for the rest of a PDU, or in a handshake; over Limits.pending_bytes who has the most goes.

        That is nobody who has no more than an equal share: while 1,000 connections hold what they can, an honest
        request, which is under 32 KiB, is not in danger.
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
        """Count an association in; False where a limit does not allow it."""
        most, most_per_peer = self._limits.max_associations, self._limits.max_associations_per_peer
        self.forget(endpoint)
        if len(self._associated) >= most or (most_per_peer is not None and self._per_peer[peer] >= most_per_peer):
            return False
        self._associated[endpoint] = peer
        self._per_peer[peer] += 1
        return True

    def leave(self, endpoint: Endpoint) -> None:
        """The association has ended, or there will be none; the connection may linger.

        Its place is free when its tasks have ended: what a handler still holds or waits for counts.
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
        """It waits no more, or has gone."""
        self.pending.pop(newcomer, None)
        self._held_in_total -= self._held.pop(newcomer, 0)
        if isinstance(newcomer, Endpoint):
            self._lingering.pop(newcomer, None)
            newcomer.on_buffered = None

    def _free(self, endpoint: Endpoint) -> None:
        """The place of an association is another one's."""
        endpoint.tasks.on_empty = None
        if (peer := self._associated.pop(endpoint, None)) is not None:
            self._per_peer[peer] -= 1
            if not self._per_peer[peer]:
                del self._per_peer[peer]


def _log_of(newcomer: Newcomer) -> Adapter:
    return newcomer.logger(_logger) if isinstance(newcomer, Endpoint) else _log
