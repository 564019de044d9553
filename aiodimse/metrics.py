"""What operators count: a small hook that is told of associations and operations as they end.

The floors call it, nothing here keeps numbers. `aiodimse.telemetry` turns it into OpenTelemetry instruments.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
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


@record(frozen=True)
class MeasuredPool:
    """Which Pool a Metrics is told of: as its program has named the peer, so that it may be a label."""

    peer: str
    """Host and port, as in "pacs.example:11112"."""
    called_ae_title: str
    """Whom it calls."""
    number: int
    """One that no other pool of this program has: no label."""


class DetailedMetrics(Metrics, Protocol):
    """What a Metrics may be told of beside, under the same conditions. Those of its methods that are missing are not
    called."""

    def instance_transcoded(
        self, association: MeasuredAssociation, source: str, target: str, frames: int, error: str | None, seconds: float
    ) -> None:
        """The pixels of an instance were converted for a peer that does not take them as they are stored, or not.

        Args:
            association: On which it is sent.
            source: The transfer syntax UID in which it is stored.
            target: The one in which it is sent.
            frames: How many were converted.
            error: The name of the exception because of which it is not sent; None where it is.
            seconds: Until it can be sent.
        """

    def pool_changed(self, pool: MeasuredPool, size: int, in_use: int, waiting: int) -> None:
        """A pool has another number of associations, of those in use, or of those who wait for one.

        Args:
            pool: Which.
            size: Associations that are open, being opened or being released.
            in_use: Those that somebody has.
            waiting: How many wait for one.
        """

    def pool_acquired(self, pool: MeasuredPool, how: str, seconds: float) -> None:
        """Somebody who wanted an association of a pool has it, or does not get one.

        Args:
            pool: Which.
            how: opened, reused, timeout, or failed where the peer cannot be had.
            seconds: Of waiting.
        """

    def move_ended(self, association: MeasuredAssociation, instances: int, missing: int, seconds: float) -> None:
        """A C-MOVE with a receiver is over.

        Args:
            association: On which it was asked for.
            instances: How many came to the receiver.
            missing: How many the peer counts as stored that did not come.
            seconds: From its request to its end.
        """

    def span(self, name: str, attributes: Mapping[str, str]) -> AbstractContextManager[object]:
        """Something begins that takes its time: what is returned is entered now, and left when it has ended.

        Args:
            name: dicom.pool.acquire, dicom.transcode or dicom.move.
            attributes: Of which peer, and which transfer syntaxes.

        Returns:
            A context manager. What ended the work is given to it, but for a cancellation of others.
        """
