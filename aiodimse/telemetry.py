"""Metrics as OpenTelemetry instruments (extra `otel`): aiodimse.Server(metrics=OpenTelemetryMetrics()).

Only the API package is needed here; without an SDK that the application configures it does nothing.
"""

from __future__ import annotations

from typing import Any

from opentelemetry import metrics

from aiodimse.metrics import MeasuredAssociation


class OpenTelemetryMetrics:
    """Counts with the instruments of a Meter.

    Args:
        meter: An `opentelemetry.metrics.Meter`; the global one named "aiodimse" where it is not given.

    Example:
        ```python
        server = aiodimse.Server(metrics=OpenTelemetryMetrics())
        ```
    """

    def __init__(self, meter: Any = None) -> None:
        meter = meter or metrics.get_meter("aiodimse")
        self._open = meter.create_up_down_counter("dicom.associations.open", description="established associations")
        self._associations = meter.create_histogram(
            "dicom.association.duration", unit="s", description="from the transport connection to its end"
        )
        self._failed = meter.create_counter("dicom.associations.failed", description="connections without association")
        self._operations = meter.create_histogram(
            "dicom.operation.duration", unit="s", description="from a DIMSE request to its final response"
        )

    def association_opened(self, association: MeasuredAssociation) -> None:
        """Count one open association more.

        Args:
            association: Whose; its role is an attribute, its AE titles are not: a peer could make many series.
        """
        self._open.add(1, {"role": association.role})

    def association_ended(self, association: MeasuredAssociation, how: str, seconds: float) -> None:
        """Count one open association less, and record its duration.

        Args:
            association: Whose; its role is an attribute, its AE titles are not: a peer could make many series.
            how: How it ended; an attribute. See `Metrics.association_ended`.
            seconds: What is recorded.
        """
        self._open.add(-1, {"role": association.role})
        self._associations.record(seconds, {"role": association.role, "how": how})

    def association_failed(self, association: MeasuredAssociation, how: str) -> None:
        """Count a transport connection that came to no association.

        Args:
            association: Whose; its role is an attribute, its AE titles are not: a peer could make many series.
            how: How it failed; an attribute.
        """
        self._failed.add(1, {"role": association.role, "how": how})

    def operation_ended(
        self, association: MeasuredAssociation, service: str, side: str, status: int | None, seconds: float
    ) -> None:
        """Record the duration of an operation.

        Args:
            association: Whose; no attribute.
            service: As in "C-STORE"; an attribute.
            side: "user" or "provider"; an attribute.
            status: The final status, None where there was none; an attribute, as in "0xA700" or "none".
            seconds: What is recorded.
        """
        outcome = "none" if status is None else f"0x{status:04X}"
        self._operations.record(seconds, {"service": service, "side": side, "status": outcome})
