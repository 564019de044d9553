"""Which TLS handshakes of a server go on: a number at a time, in the order in which the peers began."""

from __future__ import annotations

import logging
from contextlib import suppress

from aiodimse.aio.clock import Clock
from aiodimse.aio.log import AssociationLogger
from aiodimse.aio.signals import Signal
from aiodimse.aio.tls_handshake import PendingHandshake

_log = AssociationLogger(logging.getLogger("aiodimse.acceptor"), None)

PATIENCE = 1.0
"""Seconds that a handshake goes on undisturbed while others wait; an honest one takes milliseconds and two trips."""


class Handshakes:
    """The handshakes of all listenings of a server.

    Args:
        most: How many go on at a time (`Limits.tls_handshakes`).
        clock: Says how long each has gone on.
    """

    def __init__(self, most: int, clock: Clock) -> None:
        self._most, self._clock = most, clock
        self._going: dict[PendingHandshake, float] = {}
        """Each that goes on, the oldest first, and when it began."""
        self._room = Signal()

    async def enter(self, handshake: PendingHandshake) -> None:
        """Wait for a place. The oldest handshake makes place once it has had `PATIENCE`."""
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
        """The handshake is over, or given up."""
        if self._going.pop(handshake, None) is not None:
            self._room.wake()
