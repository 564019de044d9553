"""What every association of one connect() or Server has in common."""

from __future__ import annotations

from dataclasses import dataclass, field

from aiodimse.aio.clock import Clock
from aiodimse.aio.network import TCP, Network
from aiodimse.aio.transport import Trace
from aiodimse.config import Limits, Timeouts
from aiodimse.metrics import Metrics
from aiodimse.record import Record


@dataclass(slots=True, eq=False, repr=False)
class Settings(Record):
    """Bounds and surroundings of associations."""

    limits: Limits = field(default_factory=Limits)
    timeouts: Timeouts = field(default_factory=Timeouts)
    clock: Clock = field(default_factory=Clock)
    network: Network = TCP
    trace: Trace | None = None
    """Sees the bytes."""
    metrics: Metrics | None = None
    """Is told of associations and operations as they end."""
    quick_ack: bool = True
    """Acknowledge what is read at once (TCP_QUICKACK, Linux): peers with Nagle's algorithm on wait for it."""
    parent: str | None = None
    """For the log: the association on whose behalf these are opened."""
    strict: bool = False
    """No row of `aiodimse/standard/leniency.py` holds."""

    def __post_init__(self) -> None:
        """Raises TypeError for limits or timeouts that are none: a bare number of seconds, for instance."""
        for name, value, kind in (("limits", self.limits, Limits), ("timeouts", self.timeouts, Timeouts)):
            if not isinstance(value, kind):
                raise TypeError(f"{name} wants an aiodimse.{kind.__name__}, not {value!r}")
