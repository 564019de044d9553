"""What operators count: a small hook that is told of associations and operations as they end.

The floors call it, nothing here keeps numbers. `aiodimse.telemetry` turns it into OpenTelemetry instruments.
"""

from __future__ import annotations

from typing import Protocol


class Metrics(Protocol):
    """To be given to connect() or Server. Every method is called on the event loop and must return at once. What one
    raises is logged as an error, and changes nothing else.

    role is ours: "requestor" or "acceptor" of the association. Seconds are real time. No argument holds patient data.
    """

    def association_opened(self, role: str, calling_ae_title: str, called_ae_title: str) -> None:
        """An association was established.

        Args:
            role: Ours, "requestor" or "acceptor".
            calling_ae_title: Who asked for it. A peer says what it likes: no label for a metric.
            called_ae_title: Who was asked.
        """

    def association_ended(self, role: str, how: str, seconds: float) -> None:
        """An established association is over.

        Args:
            role: Ours, "requestor" or "acceptor".
            how: released, aborted_by_peer, aborted_by_us, lost or timeout.
            seconds: Since the transport connection was opened.
        """

    def association_failed(self, role: str, how: str) -> None:
        """A transport connection came to no association.

        Args:
            role: Ours, "requestor" or "acceptor".
            how: rejected, or as of association_ended.
        """

    def operation_ended(self, service: str, side: str, status: int | None, seconds: float) -> None:
        """An operation has had its final response, or will have none.

        Args:
            service: C-STORE and so on.
            side: "user" or "provider".
            status: The final status; None where there was none.
            seconds: From the request to its final response.
        """
