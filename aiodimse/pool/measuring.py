"""Reports the numbers of a pool to the metrics of an application."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager

from aiodimse.aio.clock import Clock
from aiodimse.aio.hooks import never_raising, spanning
from aiodimse.metrics import MeasuredPool, Metrics

_log = logging.getLogger("aiodimse.pool")


class PoolMeter:
    """Reports one pool to the metrics, if there are any."""

    def __init__(self, metrics: Metrics | None, clock: Clock, pool: MeasuredPool) -> None:
        """Prepare the reports.

        Args:
            metrics: The metrics of the application.
            clock: Measures how long tasks wait.
            pool: The pool.
        """
        self._metrics = never_raising(metrics, logging.LoggerAdapter(_log, {}))
        self._clock, self._pool = clock, pool
        self._last = (0, 0, 0)

    def changed(self, size: int, in_use: int, waiting: int) -> None:
        """Report the numbers if they have changed."""
        numbers = size, in_use, waiting
        if self._metrics is not None and numbers != self._last:
            self._last = numbers
            self._metrics.pool_changed(self._pool, *numbers)

    def now(self) -> float:
        """Return the time to pass to `acquired`."""
        return self._clock.now()

    def acquired(self, how: str, began: float) -> None:
        """Report that a task got an association, or did not get one."""
        if self._metrics is not None:
            self._metrics.pool_acquired(self._pool, how, self._clock.now() - began)

    def span(self) -> AbstractContextManager[object]:
        """Return a context manager to enter while a task waits."""
        return spanning(self._metrics, "dicom.pool.acquire", {"peer": self._pool.peer})
