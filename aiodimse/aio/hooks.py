"""Calls traces and metrics of the application.

What they raise is logged and goes no further, because it could stop an association in the middle of a step.
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
        """Remember what is called, for the log.

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
        method, call = getattr(self._metrics, name, None), HookCall(self._log, f"the metrics' {name}")

        def tell(*args: Any) -> None:
            if method is not None:
                with call:
                    method(*args)

        setattr(self, name, tell)  # so that it is found without this method from now on
        return tell

    def span(self, name: str, attributes: Mapping[str, str]) -> AbstractContextManager[object]:
        """Return the span of the application; if it makes none, one that does nothing."""
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
    """Wrap metrics so that no method raises and no method is missing."""
    return None if metrics is None else cast(DetailedMetrics, _MetricsThatNeverRaise(metrics, log))


def spanning(
    metrics: DetailedMetrics | None, name: str, attributes: Mapping[str, str]
) -> AbstractContextManager[object]:
    """Return a span of the metrics; if there are none, one that does nothing."""
    return nullcontext() if metrics is None else metrics.span(name, attributes)


class AssociationMetrics:
    """Tells the metrics of the application, if there are any, how one association began and ended."""

    def __init__(self, metrics: Metrics | None, clock: Clock, measured: Callable[[], MeasuredAssociation]) -> None:
        """Begin to measure.

        Args:
            metrics: The metrics of the application, if there are any.
            clock: The clock.
            measured: Returns the association as metrics are told of it.
        """
        self._metrics, self._clock, self._measured = metrics, clock, measured
        self._began = clock.now()
        self._is_open = False

    def opened(self) -> None:
        """Report that the association is established."""
        self._is_open = True
        if self._metrics is not None:
            self._metrics.association_opened(self._measured())

    def ended(self, error: BaseException) -> None:
        """Report that the association has ended, or was not established."""
        if self._metrics is None:
            return
        if self._is_open:
            self._metrics.association_ended(self._measured(), how(error), self._clock.now() - self._began)
        else:
            # AssociationClosed: we have rejected it.
            ended = "rejected" if isinstance(error, AssociationClosed) else how(error)
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
