"""Limits the TLS handshakes of a server that go on at a time."""

from __future__ import annotations

import logging
from contextlib import suppress

from aiodimse.aio.clock import Clock
from aiodimse.aio.log import AssociationLogger
from aiodimse.aio.signals import Signal
from aiodimse.aio.tls_handshake import PendingHandshake

_log = AssociationLogger(logging.getLogger("aiodimse.acceptor"), None)

PATIENCE = 1.0
"""Seconds before a handshake is closed in favor of one that waits. An honest handshake takes two round trips."""


class Handshakes:
    """The handshakes of all listenings of a server.

    Args:
        most: The largest number at a time (`Limits.tls_handshakes`).
        clock: Tells how long each has gone on.
    """

    def __init__(self, most: int, clock: Clock) -> None:
        self._most, self._clock = most, clock
        self._going: dict[PendingHandshake, float] = {}
        """The handshakes that go on, the oldest first, and when they began."""
        self._room = Signal()

    async def enter(self, handshake: PendingHandshake) -> None:
        """Wait until the handshake may go on. The oldest one is closed for it after `PATIENCE`.

        The caller sets the deadline, and calls `leave` afterward.

        Args:
            handshake: The handshake.

        Cancellation: The handshake does not count.
        """
        while len(self._going) >= self._most:
            oldest, began = next(iter(self._going.items()))
            if self._clock.now() >= began + PATIENCE:
                _log.warning("%d TLS handshakes at a time: closing the oldest", len(self._going))
                self.leave(oldest)
                oldest.drop()
                break
            with suppress(TimeoutError):
                async with self._clock.deadline(began + PATIENCE, TimeoutError):
                    await self._room.wait()
        self._going[handshake] = self._clock.now()

    def leave(self, handshake: PendingHandshake) -> None:
        """Count a handshake no more, because it has ended or was given up.

        Args:
            handshake: The handshake.
        """
        if self._going.pop(handshake, None) is not None:
            self._room.wake()
