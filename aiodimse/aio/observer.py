"""What an Endpoint tells the floor above."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from aiodimse.aio.performer import PerformedOperation
from aiodimse.association import Negotiated
from aiodimse.pdu import AssociateRQ


class Observer(Protocol):
    """The floor above."""

    def connection_made(self) -> None:
        """The transport connection is open, TLS included."""

    def association_requested(self, rq: AssociateRQ) -> None:
        """The peer wants an association: accept or reject it, soon."""

    def association_established(self, negotiated: Negotiated) -> Callable[[PerformedOperation], None]:
        """The association is open; what is returned is called with each request of the peer, when that may run."""

    def association_ended(self, error: BaseException) -> None:
        """The association is over; error says how."""

    def connection_lost(self) -> None:
        """The transport connection is gone; nothing follows."""
