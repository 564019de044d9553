"""What serve has done: counted by a Metrics hook, and reported once a minute and at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiodimse.aio.clock import Clock, TimerHandle
from aiodimse.cli.output import Output
from aiodimse.dimse.status import Status
from aiodimse.metrics import MeasuredAssociation
from aiodimse.standard.status import Category

EVERY = 60.0
"""Seconds between two lines."""


class Tally:
    """Metrics (aiodimse.metrics) of a Server, as numbers: since the start, and since the last line."""

    def __init__(self) -> None:
        self.open: int = 0
        """Associations of callers at this moment."""
        self.total: Counts = Counts()
        self.since: Counts = Counts()

    def take(self) -> Counts:
        """Return what has happened since the last call."""
        since, self.since = self.since, Counts()
        return since

    # --- Metrics ------------------------------------------------------------------------------------------------------

    def association_opened(self, association: MeasuredAssociation) -> None:
        """Only callers are counted; what a C-MOVE opens shows in what it sends."""
        if association.role == "acceptor":
            self.open += 1
            for counts in (self.total, self.since):
                counts.associations += 1

    def association_ended(self, association: MeasuredAssociation, how: str, seconds: float) -> None:
        """Count one association less."""
        if association.role == "acceptor":
            self.open -= 1
            self._count_end("association", how)

    def association_failed(self, association: MeasuredAssociation, how: str) -> None:
        """Count a connection that did not become an association."""
        self._count_end("connection" if association.role == "acceptor" else "destination", how)

    def _count_end(self, what: str, how: str) -> None:
        for counts in (self.total, self.since):
            counts.ends[f"{what} {how.replace('_', ' ')}"] += 1

    def operation_ended(
        self, association: MeasuredAssociation, service: str, side: str, status: int | None, seconds: float
    ) -> None:
        """Count an operation. Those that we invoked for a C-MOVE are counted apart."""
        name = service if side == "provider" else f"{service} sent"
        failed = status is None or Status(status).category is Category.FAILURE
        for counts in (self.total, self.since):
            counts.operations[name] += 1
            if failed:
                counts.failures[name] += 1


_AS_IT_SHOULD = ("association released",)
_OF_NO_NOTE = ("association released", "connection lost")
"""Ends that are not reported: a port scan, or a load balancer that checks whether we are there."""


class Counts:
    """What happened in a span of time."""

    def __init__(self) -> None:
        self.associations = 0
        """Associations that callers began."""
        self.operations: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        """Operations that ended with a Failure, or without an answer; counted among the operations too."""
        self.ends: Counter[str] = Counter()
        """Associations by how they ended, and connections that came to none."""

    @property
    def is_quiet(self) -> bool:
        """Whether nothing happened."""
        return not (self.associations or self.operations or self.ends.keys() - set(_OF_NO_NOTE))

    def __str__(self) -> str:
        """`2 C-ECHO, 3 C-STORE; failed: 1 C-STORE; 1 association aborted by peer`."""
        operations = _words(self.operations) or "no request"
        failures = f"; failed: {_words(self.failures)}" if self.failures else ""
        ends = _words(Counter({how: n for how, n in self.ends.items() if how not in _AS_IT_SHOULD}))
        return operations + failures + (f"; {ends}" if ends else "")

    def document(self) -> dict[str, Any]:
        """Return the same for programs."""
        each = {"operations": self.operations, "failures": self.failures, "ends": self.ends}
        return {name: dict(sorted(counter.items())) for name, counter in each.items()}


def _words(counter: Counter[str]) -> str:
    return ", ".join(f"{number} {name}" for name, number in sorted(counter.items()))


@contextmanager
def told(tally: Tally, output: Output, clock: Clock) -> Iterator[None]:
    """Print a line each minute while the body runs, except for minutes in which nothing happened."""
    timer: TimerHandle | None = None

    def tell() -> None:
        nonlocal timer
        counts = tally.take()
        if not counts.is_quiet:
            output.line(
                f"last minute; associations: {tally.open} now, {counts.associations} new,"
                f" {tally.total.associations} in all; {counts}"
            )
            associations = {"now": tally.open, "new": counts.associations, "total": tally.total.associations}
            output.event({"event": "minute", "associations": associations, **counts.document()})
        timer = clock.call_at(clock.now() + EVERY, tell)

    timer = clock.call_at(clock.now() + EVERY, tell)
    try:
        yield
    finally:
        timer.cancel()


def tell_all(tally: Tally, output: Output) -> None:
    """Print the line at the end."""
    total = tally.total
    output.line(f"ended; associations: {total.associations}; {total}")
    output.event({"event": "ended", "associations": total.associations, **total.operations, **total.document()})
