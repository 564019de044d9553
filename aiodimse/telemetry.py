"""Metrics as OpenTelemetry instruments (extra `otel`): aiodimse.Server(metrics=OpenTelemetryMetrics()).

This module needs only the API package. It has no effect without an SDK that the application configures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from aiodimse.metrics import MeasuredAssociation, MeasuredPool
from aiodimse.standard.transfer_syntax import keyword

try:
    from opentelemetry import metrics, trace
    from opentelemetry.trace import StatusCode
except ModuleNotFoundError as error:
    message = 'aiodimse.telemetry needs opentelemetry-api: pip install "aiodimse[otel]"'
    raise ModuleNotFoundError(message, name=error.name) from None


class OpenTelemetryMetrics:
    """Counts with the instruments of a Meter.

    Args:
        meter: An `opentelemetry.metrics.Meter`; None: the global one named "aiodimse".
        tracer: An `opentelemetry.trace.Tracer` for spans; None: the global one named "aiodimse".

    Example:
        ```python
        server = aiodimse.Server(metrics=OpenTelemetryMetrics())
        ```
    """

    def __init__(self, meter: Any = None, tracer: Any = None) -> None:
        meter = meter or metrics.get_meter("aiodimse")
        self._tracer = tracer or trace.get_tracer("aiodimse")
        level, count = meter.create_up_down_counter, meter.create_counter
        duration = partial(meter.create_histogram, unit="s")
        self._open = level("dicom.associations.open", description="established associations")
        self._associations = duration(
            "dicom.association.duration", description="from the transport connection to its end"
        )
        self._failed = count("dicom.associations.failed", description="connections without association")
        self._operations = duration(
            "dicom.operation.duration", description="from a DIMSE request to its final response"
        )
        self._transcoded = duration(
            "dicom.transcode.duration", description="until an instance in another compression can be sent"
        )
        self._frames = count("dicom.transcode.frames", description="frames that were converted")
        self._pooled = level("dicom.pool.associations", description="associations of pools")
        self._in_use = level("dicom.pool.in_use", description="associations of pools that somebody has")
        self._waiting = level("dicom.pool.waiting", description="tasks that wait for an association of a pool")
        self._acquired = duration("dicom.pool.acquire.duration", description="until an association of a pool was had")
        self._moves = duration("dicom.move.duration", description="C-MOVEs with a receiver, to their end")
        self._moved = count("dicom.move.instances", description="instances that came to a receiver")
        self._missing = count("dicom.move.missing", description="instances counted as stored that have not come")
        self._pools: dict[MeasuredPool, tuple[int, int, int]] = {}

    def association_opened(self, association: MeasuredAssociation) -> None:
        """Count one more open association.

        Args:
            association: Its role is an attribute. Its AE titles are not, because a peer could create many series.
        """
        self._open.add(1, {"role": association.role})

    def association_ended(self, association: MeasuredAssociation, how: str, seconds: float) -> None:
        """Count one open association less, and record its duration.

        Args:
            association: Its role is an attribute. Its AE titles are not, because a peer could create many series.
            how: How it ended, an attribute. See `Metrics.association_ended`.
            seconds: The duration.
        """
        self._open.add(-1, {"role": association.role})
        self._associations.record(seconds, {"role": association.role, "how": how})

    def association_failed(self, association: MeasuredAssociation, how: str) -> None:
        """Count a transport connection without an association.

        Args:
            association: Its role is an attribute. Its AE titles are not, because a peer could create many series.
            how: How it failed, an attribute.
        """
        self._failed.add(1, {"role": association.role, "how": how})

    def operation_ended(
        self, association: MeasuredAssociation, service: str, side: str, status: int | None, seconds: float
    ) -> None:
        """Record the duration of an operation.

        Args:
            association: Not an attribute.
            service: The service, as in "C-STORE", an attribute.
            side: "user" or "provider", an attribute.
            status: The final status or None, an attribute, as in "0xA700" or "none".
            seconds: The duration.
        """
        outcome = "none" if status is None else f"0x{status:04X}"
        self._operations.record(seconds, {"service": service, "side": side, "status": outcome})

    # --- DetailedMetrics ----------------------------------------------------------------------------------------------

    def instance_transcoded(
        self, association: MeasuredAssociation, source: str, target: str, frames: int, error: str | None, seconds: float
    ) -> None:
        """Record the time until an instance could be sent in another compression.

        Args:
            association: Its role is an attribute.
            source: The stored transfer syntax; its keyword is an attribute.
            target: The transfer syntax in which it is sent; its keyword is an attribute.
            frames: The number of frames.
            error: The name of an exception or None, an attribute.
            seconds: The duration.
        """
        attributes = {
            "role": association.role,
            "source": keyword(source),
            "target": keyword(target),
            "error": error or "none",
        }
        self._transcoded.record(seconds, attributes)
        self._frames.add(frames, attributes)

    def pool_changed(self, pool: MeasuredPool, size: int, in_use: int, waiting: int) -> None:
        """Count the associations of a pool.

        Args:
            pool: Its peer is an attribute.
            size: Associations that are open, being opened or being released.
            in_use: Associations that callers have.
            waiting: Callers that wait for an association.
        """
        before = self._pools.pop(pool, (0, 0, 0))
        counters = self._pooled, self._in_use, self._waiting
        for counter, now, then in zip(counters, (size, in_use, waiting), before, strict=True):
            counter.add(now - then, {"peer": pool.peer})
        if any((size, in_use, waiting)):
            self._pools[pool] = size, in_use, waiting

    def pool_acquired(self, pool: MeasuredPool, how: str, seconds: float) -> None:
        """Record how long a caller waited for an association.

        Args:
            pool: Its peer is an attribute.
            how: opened, reused, timeout or failed, an attribute.
            seconds: The duration.
        """
        self._acquired.record(seconds, {"peer": pool.peer, "how": how})

    def move_ended(self, association: MeasuredAssociation, instances: int, missing: int, seconds: float) -> None:
        """Record a C-MOVE with a receiver.

        Args:
            association: Not an attribute.
            instances: The number of instances that arrived.
            missing: The number of instances that did not arrive.
            seconds: The duration.
        """
        self._moves.record(seconds)
        self._moved.add(instances)
        self._missing.add(missing)

    @contextmanager
    def span(self, name: str, attributes: Mapping[str, str]) -> Iterator[Any]:
        """Make a span, a child of the current one. It does not become the current one, because its work goes on in
        other tasks.

        Args:
            name: Its name.
            attributes: Its attributes.

        Yields:
            The span.
        """
        span = self._tracer.start_span(name, attributes={f"dicom.{key}": value for key, value in attributes.items()})
        try:
            yield span
        except BaseException as error:
            # The text of an exception may name a path, which may be a patient's.
            span.set_status(StatusCode.ERROR, type(error).__name__)
            raise
        finally:
            span.end()
