"""One association as a Metrics hook is told of it."""

from __future__ import annotations

from aiodimse.aio.clock import Clock
from aiodimse.association import Negotiated, Role
from aiodimse.errors import AssociationAborted, AssociationClosed, AssociationRejected, AssociationTimeout
from aiodimse.metrics import Metrics


class Gauge:
    """Tells the hook, if there is one, how an association began and ended."""

    def __init__(self, metrics: Metrics | None, role: Role, clock: Clock) -> None:
        self._metrics, self._role, self._clock = metrics, role, clock
        self._began = clock.now()
        self._is_open = False

    def opened(self, negotiated: Negotiated) -> None:
        """The association is established."""
        self._is_open = True
        if self._metrics is not None:
            self._metrics.association_opened(self._role, negotiated.calling_ae_title, negotiated.called_ae_title)

    def ended(self, error: BaseException) -> None:
        """The association is over, or has not come about."""
        if self._metrics is None:
            return
        if self._is_open:
            self._metrics.association_ended(self._role, how(error), self._clock.now() - self._began)
        else:
            ended = "rejected" if isinstance(error, AssociationClosed) else how(error)  # by us
            self._metrics.association_failed(self._role, ended)


def how(error: BaseException) -> str:
    """How an association ended, in one word."""
    match error:
        case AssociationRejected():
            return "rejected"
        case AssociationClosed():
            return "released"
        case AssociationTimeout():
            return "timeout"
        case AssociationAborted(source=None):
            return "lost"
        case AssociationAborted():
            return "aborted_by_peer" if error.by_peer else "aborted_by_us"
        case _:
            return type(error).__name__
