"""One gate for functions of the application that are only told of something, a trace and metrics: what they raise is
logged and goes no further, for an association would be left half way."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, cast

from aiodimse.aio.log import Adapter, frames
from aiodimse.metrics import Metrics


class Guard:
    """A context manager: in it the application is told of something."""

    __slots__ = ("_log", "_what")

    def __init__(self, log: Adapter, what: str) -> None:
        """what: who is told, for the log."""
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


class _GuardedMetrics:
    def __init__(self, metrics: Metrics, log: Adapter) -> None:
        self._metrics, self._log = metrics, log

    def __getattr__(self, name: str) -> Callable[..., None]:
        def tell(*args: Any) -> None:
            with Guard(self._log, f"the metrics' {name}"):
                getattr(self._metrics, name)(*args)

        return tell


def guarded(metrics: Metrics | None, log: Adapter) -> Metrics | None:
    """The same metrics, of which none raises."""
    return None if metrics is None else cast(Metrics, _GuardedMetrics(metrics, log))
