"""A hook for operators: the library calls it for associations and operations as they end.

This module keeps no numbers. `aiodimse.telemetry` turns the calls into OpenTelemetry instruments.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from aiodimse.record import record


@record(frozen=True)
class MeasuredAssociation:
    """The association of a call. Titles are what a peer claims, so do not use them as labels of a metric."""

    role: str
    """Our side: "requestor" or "acceptor"."""
    calling_ae_title: str
    """The calling AE title; "" if no A-ASSOCIATE-RQ had come."""
    called_ae_title: str
    """The called AE title; "" if no A-ASSOCIATE-RQ had come."""
    peer_address: tuple[str, int] | None
    """The peer's IP address and port; None if the transport has none."""


class Metrics(Protocol):
    """An object for connect() or Server. Every method is called on the event loop and must return at once. If a method
    raises, the exception is logged as an error and has no other effect.

    Seconds are real time. No argument holds patient data.
    """

    def association_opened(self, association: MeasuredAssociation) -> None:
        """An association was established.

        Args:
            association: The association.
        """

    def association_ended(self, association: MeasuredAssociation, how: str, seconds: float) -> None:
        """An established association has ended.

        Args:
            association: The association.
            how: "released", "aborted_by_peer", "aborted_by_us", "lost" or "timeout".
            seconds: The time since the transport connection was opened.
        """

    def association_failed(self, association: MeasuredAssociation, how: str) -> None:
        """A transport connection ended without an association.

        Args:
            association: What is known of the association.
            how: "rejected"; "tls" if the peers did not agree in the TLS handshake; or a value of association_ended.
        """

    def operation_ended(
        self, association: MeasuredAssociation, service: str, side: str, status: int | None, seconds: float
    ) -> None:
        """An operation has ended, with or without a final response.

        Args:
            association: The association of the operation.
            service: C-STORE and so on.
            side: "user" or "provider".
            status: The final status; None if there was none.
            seconds: The time from the request to the final response.
        """


@record(frozen=True)
class MeasuredPool:
    """The Pool of a call. Its peer has the name that the program has given it, so it may be a label."""

    peer: str
    """Host and port, as in "pacs.example:11112"."""
    called_ae_title: str
    """The called AE title."""
    number: int
    """A number that no other pool of this program has; do not use it as a label."""


class DetailedMetrics(Metrics, Protocol):
    """Further methods of a Metrics, under the same conditions. The library does not call those that the object does not
    have."""

    def instance_transcoded(
        self, association: MeasuredAssociation, source: str, target: str, frames: int, error: str | None, seconds: float
    ) -> None:
        """The pixels of an instance were converted for a peer, or the conversion failed.

        Args:
            association: The association that sends it.
            source: The transfer syntax UID in which it is stored.
            target: The transfer syntax UID in which it is sent.
            frames: How many frames were converted.
            error: The name of the exception that prevents sending; None if the instance is sent.
            seconds: The time until it can be sent.
        """

    def pool_changed(self, pool: MeasuredPool, size: int, in_use: int, waiting: int) -> None:
        """The number of associations of a pool, of those in use, or of waiting callers has changed.

        Args:
            pool: The pool.
            size: Associations that are open, being opened or being released.
            in_use: Associations that callers have.
            waiting: Callers that wait for an association.
        """

    def pool_acquired(self, pool: MeasuredPool, how: str, seconds: float) -> None:
        """A caller has got an association of a pool, or has failed to get one.

        Args:
            pool: The pool.
            how: opened, reused, timeout, or failed if the peer cannot be reached.
            seconds: How long the caller waited.
        """

    def move_ended(self, association: MeasuredAssociation, instances: int, missing: int, seconds: float) -> None:
        """A C-MOVE with a receiver has ended.

        Args:
            association: The association of the C-MOVE.
            instances: How many instances came to the receiver.
            missing: How many instances the peer counts as stored that did not come.
            seconds: The time from the request to the end.
        """

    def span(self, name: str, attributes: Mapping[str, str]) -> AbstractContextManager[object]:
        """A longer operation begins. The result is entered now, and left when the operation has ended.

        Args:
            name: dicom.pool.acquire, dicom.transcode or dicom.move.
            attributes: The peer or the transfer syntaxes.

        Returns:
            A context manager. It gets the exception that ended the operation, unless a task was cancelled.
        """
