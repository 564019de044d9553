"""What serve has done: counted by a Metrics hook, reported once a minute and at the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from aiodimse.aio.clock import Clock, TimerHandle
from aiodimse.cli.output import Output
from aiodimse.dimse.status import Status
from aiodimse.metrics import MeasuredAssociation
from aiodimse.standard.status import Category

EVERY = 60.0
"""Seconds between two reports."""


class Tally:
    """Metrics (aiodimse.metrics) of a Server as numbers: since the start, and since the last report."""

    def __init__(self) -> None:
        self.open: int = 0
        """The number of accepted associations that are open."""
        self.total: Counts = Counts()
        self.since: Counts = Counts()
        """What happened since the last report."""

    def take(self) -> Counts:
        """Return what happened since the last call."""
        since, self.since = self.since, Counts()
        return since

    def add(self, minute: Mapping[str, Any], open_now: int) -> None:
        """Add what another process reported of a minute.

        Args:
            minute: The event that `reported_each_minute` printed there.
            open_now: The number of associations of all processes that are open.
        """
        self.open = open_now
        for counts in (self.total, self.since):
            counts.add(minute["associations"]["new"], minute)

    # --- Metrics ------------------------------------------------------------------------------------------------------

    def association_opened(self, association: MeasuredAssociation) -> None:
        """Count an accepted association. One that a C-MOVE opens is not counted: its C-STOREs are."""
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
        """Count an operation. Operations that we invoked for a C-MOVE are counted under names of their own."""
        name = service if side == "provider" else f"{service} sent"
        failed = status is None or Status(status).category is Category.FAILURE
        for counts in (self.total, self.since):
            counts.operations[name] += 1
            if failed:
                counts.failures[name] += 1


_REJECTED = "connection rejected"
_HANDSHAKES = {"connection tls": "", "destination tls": " with a destination"}
"""Connections that ended before there was TLS, and with whom."""
_EXPECTED = ("association released",)
_NOT_REPORTED = ("association released", "connection lost")
"""Ends that alone are no reason for a report. A port scan or a load balancer's check loses its connection."""


class Counts:
    """What happened in a period of time."""

    def __init__(self) -> None:
        self.associations = 0
        """Associations that were accepted."""
        self.operations: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        """Operations that ended with a Failure or without a response. `operations` counts them too."""
        self.ends: Counter[str] = Counter()
        """Associations by how they ended, and connections that did not become one."""

    def add(self, associations: int, document: Mapping[str, Any]) -> None:
        """Add associations, and what `document` of other counts returned."""
        self.associations += associations
        for name, counter in (("operations", self.operations), ("failures", self.failures), ("ends", self.ends)):
            counter.update(document.get(name, {}))

    @property
    def is_quiet(self) -> bool:
        """Whether nothing happened."""
        return not (self.associations or self.operations or self.ends.keys() - set(_NOT_REPORTED))

    def __str__(self) -> str:
        """Return text such as `2 C-ECHO, 3 C-STORE; failed: 1 C-STORE; 1 association aborted by peer`."""
        operations = _words(self.operations) or "no request"
        failures = f"; failed: {_words(self.failures)}" if self.failures else ""
        ends = ", ".join(_end_words(how, n) for how, n in sorted(self.ends.items()) if how not in _EXPECTED)
        return operations + failures + (f"; {ends}" if ends else "")

    def document(self) -> dict[str, Any]:
        """Return the same as a mapping, for a document."""
        each = {"operations": self.operations, "failures": self.failures, "ends": self.ends}
        return {name: dict(sorted(counter.items())) for name, counter in each.items()}


def _end_words(how: str, number: int) -> str:
    if how in _HANDSHAKES:
        return f"{number} TLS handshake{'' if number == 1 else 's'}{_HANDSHAKES[how]} failed"
    what, _, rest = how.partition(" ")
    hint = " (-v says who and why)" if how == _REJECTED else ""
    return f"{number} {what}{'' if number == 1 else 's'} {rest}{hint}"


def _words(counter: Counter[str]) -> str:
    return ", ".join(f"{number} {name}" for name, number in sorted(counter.items()))


@contextmanager
def reported_each_minute(tally: Tally, output: Output, clock: Clock) -> Iterator[None]:
    """Print one line a minute while the body runs, except for minutes in which nothing happened."""
    timer: TimerHandle | None = None

    def report() -> None:
        nonlocal timer
        counts = tally.take()
        if not counts.is_quiet:
            output.line(
                f"last minute; associations: {tally.open} now, {counts.associations} new,"
                f" {tally.total.associations} in all; {counts}"
            )
            associations = {"now": tally.open, "new": counts.associations, "total": tally.total.associations}
            output.event({"event": "minute", "associations": associations, **counts.document()})
        timer = clock.call_at(clock.now() + EVERY, report)

    timer = clock.call_at(clock.now() + EVERY, report)
    try:
        yield
    finally:
        timer.cancel()


def report_totals(total: Counts, output: Output) -> None:
    """Print what happened since the start."""
    output.line(f"ended; associations: {total.associations}; {total}")
    output.event({"event": "ended", "associations": total.associations, **total.operations, **total.document()})
