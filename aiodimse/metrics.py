"""What operators count: a small hook that is told of associations and operations as they end.

The floors call it, nothing here keeps numbers. `aiodimse.telemetry` turns it into OpenTelemetry instruments.
"""

from __future__ import annotations

from typing import Protocol

from aiodimse.record import record


@record(frozen=True)
class MeasuredAssociation:
    """Which association a Metrics is told of. Titles are what a peer says of itself: no labels for a metric."""

    role: str
    """Ours: "requestor" or "acceptor"."""
    calling_ae_title: str
    """Who asked for it; "" where no A-ASSOCIATE-RQ had come."""
    called_ae_title: str
    """Who was asked; "" where no A-ASSOCIATE-RQ had come."""
    peer_address: tuple[str, int] | None
    """The peer's IP address and port; None where the transport has none."""


class Metrics(Protocol):
    """To be given to connect() or Server. Every method is called on the event loop and must return at once. What one
    raises is logged as an error, and changes nothing else.

    Seconds are real time. No argument holds patient data.
    """

    def association_opened(self, association: MeasuredAssociation) -> None:
        """An association was established.

        Args:
            association: Whose it is.
        """

    def association_ended(self, association: MeasuredAssociation, how: str, seconds: float) -> None:
        """An established association is over.

        Args:
            association: Whose it was.
            how: released, aborted_by_peer, aborted_by_us, lost or timeout.
            seconds: Since the transport connection was opened.
        """

    def association_failed(self, association: MeasuredAssociation, how: str) -> None:
        """A transport connection came to no association.

        Args:
            association: Whose it would have been.
            how: rejected, or as of association_ended.
        """

    def operation_ended(
        self, association: MeasuredAssociation, service: str, side: str, status: int | None, seconds: float
    ) -> None:
        """An operation has had its final response, or will have none.

        Args:
            association: On which it was.
            service: C-STORE and so on.
            side: "user" or "provider".
            status: The final status; None where there was none.
            seconds: From the request to its final response.
        """
