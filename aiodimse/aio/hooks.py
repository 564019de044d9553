"""Functions of the application that are told of something: a trace, and metrics.

What they raise is logged and goes no further, since it would stop the association in the middle of something.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from types import TracebackType
from typing import Any, cast

from aiodimse.aio.clock import Clock
from aiodimse.aio.log import Adapter
from aiodimse.aio.words import frames
from aiodimse.errors import AssociationAborted, AssociationClosed, AssociationRejected, AssociationTimeout, TLSError
from aiodimse.metrics import DetailedMetrics, MeasuredAssociation, Metrics


class HookCall:
    """A context manager around a call of the application. What the call raises is logged."""

    __slots__ = ("_log", "_what")

    def __init__(self, log: Adapter, what: str) -> None:
        """Remember who is told, for the log.

        Args:
            log: Where a failure is logged.
            what: The subject of the log line, which ends in "raised".
        """
        self._log, self._what = log, what

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        if not isinstance(error, Exception):
            return False
        self._log.error("%s raised\n%s", self._what, frames(error))
        return True


class _MetricsThatNeverRaise:
    def __init__(self, metrics: Metrics, log: Adapter) -> None:
        self._metrics, self._log = metrics, log

    def __getattr__(self, name: str) -> Callable[..., None]:
        method = getattr(self._metrics, name, None)

        def tell(*args: Any) -> None:
            if method is not None:
                with HookCall(self._log, f"the metrics' {name}"):
                    method(*args)

        return tell

    def span(self, name: str, attributes: Mapping[str, str]) -> AbstractContextManager[object]:
        """That of the application; one that does nothing where it has none."""
        method = getattr(self._metrics, "span", None)
        return nullcontext() if method is None else _SpanThatNeverRaises(self._log, partial(method, name, attributes))


class _SpanThatNeverRaises:
    def __init__(self, log: Adapter, make: Callable[[], AbstractContextManager[object]]) -> None:
        self._log, self._make = log, make
        self._span: AbstractContextManager[object] | None = None

    def __enter__(self) -> None:
        with HookCall(self._log, "the metrics' span"):
            span = self._make()
            span.__enter__()
            self._span = span

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._span is not None:
            with HookCall(self._log, "the metrics' span"):
                self._span.__exit__(kind, error, traceback)


def never_raising(metrics: Metrics | None, log: Adapter) -> DetailedMetrics | None:
    """Wrap metrics so that no method raises, and none is missing."""
    return None if metrics is None else cast(DetailedMetrics, _MetricsThatNeverRaise(metrics, log))


def spanning(
    metrics: DetailedMetrics | None, name: str, attributes: Mapping[str, str]
) -> AbstractContextManager[object]:
    """A span of these metrics; one that does nothing where there are none."""
    return nullcontext() if metrics is None else metrics.span(name, attributes)


class AssociationMetrics:
    """Tells the metrics of the application, if there are any, how one association began and ended."""

    def __init__(self, metrics: Metrics | None, clock: Clock, measured: Callable[[], MeasuredAssociation]) -> None:
        """measured: says whose association it is."""
        self._metrics, self._clock, self._measured = metrics, clock, measured
        self._began = clock.now()
        self._is_open = False

    def opened(self) -> None:
        """Report that the association is established."""
        self._is_open = True
        if self._metrics is not None:
            self._metrics.association_opened(self._measured())

    def ended(self, error: BaseException) -> None:
        """Report that the association is over, or was never established."""
        if self._metrics is None:
            return
        if self._is_open:
            self._metrics.association_ended(self._measured(), how(error), self._clock.now() - self._began)
        else:
            ended = "rejected" if isinstance(error, AssociationClosed) else how(error)  # It was aborted by us.
            self._metrics.association_failed(self._measured(), ended)


def how(error: BaseException) -> str:
    """Return the word by which metrics are told how an association, or the attempt at one, ended."""
    match error:
        case AssociationRejected():
            return "rejected"
        case AssociationClosed():
            return "released"
        case AssociationTimeout():
            return "timeout"
        case TLSError():
            return "lost" if isinstance(error.__cause__, ConnectionError) else "tls"
        case AssociationAborted(source=None):
            return "lost"
        case AssociationAborted():
            return "aborted_by_peer" if error.by_peer else "aborted_by_us"
        case _:
            return type(error).__name__
