"""What all associations of one connect() or Server have in common."""

from __future__ import annotations

from dataclasses import field
from typing import Literal, TypeAlias

from aiodimse.aio.clock import Clock
from aiodimse.aio.environment import Environment
from aiodimse.aio.network import Network
from aiodimse.aio.transport import Trace
from aiodimse.config import Limits, Timeouts
from aiodimse.metrics import Metrics
from aiodimse.record import record

EndIdle: TypeAlias = Literal["abort", "release"]


@record
class Settings:
    """Limits, timeouts and surroundings of associations."""

    limits: Limits = field(default_factory=Limits)
    timeouts: Timeouts = field(default_factory=Timeouts)
    environment: Environment = field(default_factory=Environment)
    trace: Trace | None = None
    """Is given the bytes of each connection."""
    metrics: Metrics | None = None
    """Is told when associations and operations end."""
    end_idle: EndIdle = "abort"
    """How an acceptor ends an association that has been idle for too long."""
    parent: str | None = None
    """The name of the association on whose behalf these are opened, for the log."""
    strict: bool = False
    """Whether to use none of the leniencies of `standard/leniency.py`."""
    transcode: bool = True
    """Whether an instance is sent in another transfer syntax, if the peer does not accept its own and nothing is
    lost."""

    def __post_init__(self) -> None:
        """Raise TypeError for limits or timeouts of a wrong type, as a bare number of seconds."""
        if self.end_idle not in ("abort", "release"):
            raise ValueError(f'end_idle is "abort" or "release", not {self.end_idle!r}')
        for name, value, kind in (("limits", self.limits, Limits), ("timeouts", self.timeouts, Timeouts)):
            if not isinstance(value, kind):
                raise TypeError(f"{name} wants an aiodimse.{kind.__name__}, not {value!r}")

    @property
    def clock(self) -> Clock:
        """The clock of the environment."""
        return self.environment.clock

    @property
    def network(self) -> Network:
        """The network of the environment."""
        return self.environment.network
