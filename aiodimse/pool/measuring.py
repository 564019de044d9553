"""What the metrics of an application are told of a pool."""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager

from aiodimse.aio.clock import Clock
from aiodimse.aio.hooks import never_raising, spanning
from aiodimse.metrics import MeasuredPool, Metrics

_log = logging.getLogger("aiodimse.pool")


class PoolMeter:
    """Tells the metrics, if there are any, of one pool."""

    def __init__(self, metrics: Metrics | None, clock: Clock, pool: MeasuredPool) -> None:
        """Tell nothing yet.

        Args:
            metrics: Those of the application.
            clock: What times who waits.
            pool: Which pool it is.
        """
        self._metrics = never_raising(metrics, logging.LoggerAdapter(_log, {}))
        self._clock, self._pool = clock, pool
        self._last = (0, 0, 0)

    def changed(self, size: int, in_use: int, waiting: int) -> None:
        """Report the numbers, where they are others than the last time."""
        numbers = size, in_use, waiting
        if self._metrics is not None and numbers != self._last:
            self._last = numbers
            self._metrics.pool_changed(self._pool, *numbers)

    def now(self) -> float:
        """The time, for acquired."""
        return self._clock.now()

    def acquired(self, how: str, began: float) -> None:
        """Report that somebody has an association, or does not get one."""
        if self._metrics is not None:
            self._metrics.pool_acquired(self._pool, how, self._clock.now() - began)

    def span(self) -> AbstractContextManager[object]:
        """What is entered while somebody waits."""
        return spanning(self._metrics, "dicom.pool.acquire", {"peer": self._pool.peer})
