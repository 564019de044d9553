"""Metrics as OpenTelemetry instruments (extra `otel`): aiodimse.Server(metrics=OpenTelemetryMetrics()).

Only the API package is needed here; without an SDK that the application configures it does nothing.
"""

from __future__ import annotations

from typing import Any

from opentelemetry import metrics

from aiodimse.metrics import MeasuredAssociation


class OpenTelemetryMetrics:
    """Counters and histograms of a Meter; of the global one named aiodimse when none is given."""

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
        """One more is open; AE titles are no attributes: a peer could make as many series as it likes."""
        self._open.add(1, {"role": association.role})

    def association_ended(self, association: MeasuredAssociation, how: str, seconds: float) -> None:
        """One less."""
        self._open.add(-1, {"role": association.role})
        self._associations.record(seconds, {"role": association.role, "how": how})

    def association_failed(self, association: MeasuredAssociation, how: str) -> None:
        """One that never was."""
        self._failed.add(1, {"role": association.role, "how": how})

    def operation_ended(
        self, association: MeasuredAssociation, service: str, side: str, status: int | None, seconds: float
    ) -> None:
        """How long it took and how it ended."""
        outcome = "none" if status is None else f"0x{status:04X}"
        self._operations.record(seconds, {"service": service, "side": side, "status": outcome})
