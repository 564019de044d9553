"""An honest peer, which measures its echoes on a separate association."""

from __future__ import annotations

import asyncio
import ssl
import time
from dataclasses import dataclass

import aiodimse
from aiodimse import sop_class

PATIENCE = 70.0
"""Seconds after which the peer gives an echo up."""
_BETWEEN = 0.01


@dataclass
class Beside:
    """The times that an honest peer measured, in seconds."""

    echoes: list[float]
    stall: float = 0.0
    """The longest turn of the provider's event loop."""

    @property
    def median(self) -> float:
        """The median time of an echo."""
        return sorted(self.echoes)[len(self.echoes) // 2] if self.echoes else PATIENCE

    @property
    def p99(self) -> float:
        """Of the echoes."""
        return sorted(self.echoes)[int(len(self.echoes) * 0.99)] if self.echoes else PATIENCE

    @property
    def longest(self) -> float:
        """Of the echoes."""
        return max(self.echoes, default=PATIENCE)

    def __str__(self) -> str:
        words = f"{len(self.echoes)} echoes, median {self.median * 1e3:.1f} ms, max {self.longest * 1e3:.0f} ms"
        return f"{words}, longest turn {self.stall * 1e3:.0f} ms"


async def echoing(port: int, seconds: float, context: ssl.SSLContext | None = None) -> Beside:
    """Echo on one association for a time; wait for an echo that has begun. context: for TLS."""
    beside = Beside([])
    timeouts = aiodimse.Timeouts(connect=PATIENCE, response=PATIENCE, release=1)
    try:
        async with aiodimse.connect(
            "127.0.0.1",
            port,
            called_ae_title="SCORED",
            contexts=[sop_class.Verification],
            timeouts=timeouts,
            ssl=context,
        ) as association:
            until = time.perf_counter() + seconds
            while time.perf_counter() < until:
                started = time.perf_counter()
                (await association.c_echo()).raise_for_status()
                beside.echoes.append(time.perf_counter() - started)
                await asyncio.sleep(_BETWEEN)
    except aiodimse.AssociationError as error:
        beside.echoes.append(PATIENCE)
        print(f"  the honest peer lost its association: {error}")
    return beside
