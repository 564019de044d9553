"""The interface by which an Endpoint tells the floor above what happens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from aiodimse.aio.performer import PerformedOperation
from aiodimse.association import Negotiated
from aiodimse.pdu import AssociateRQ


class Observer(Protocol):
    """What an Endpoint tells of its association: the floor above."""

    def connection_made(self) -> None:
        """The transport connection is open, TLS included."""

    def association_requested(self, rq: AssociateRQ) -> None:
        """The peer asks for an association, which is to be accepted or rejected soon."""

    def association_established(self, negotiated: Negotiated) -> Callable[[PerformedOperation], None]:
        """The association is established. The function returned is called with each request of the peer that may be
        performed."""

    def association_ended(self, error: BaseException) -> None:
        """The association is over; `error` says how."""

    def connection_lost(self) -> None:
        """The transport connection is gone. No more calls follow."""
