"""What performs the requests of a peer, as the rest of the library needs it: a Server behind a narrow interface."""

from __future__ import annotations

from typing import Protocol

from aiodimse.aio.performer import PerformedOperation
from aiodimse.services.association import ProviderAssociation


class RequestHandler(Protocol):
    """What performs the requests of one association."""

    def handle(self, performed: PerformedOperation) -> None:
        """Start what a request asks for, and see to it that it gets its response."""


class RequestHandlers(Protocol):
    """What connect(handlers=) takes: a Server."""

    def provider(self, association: ProviderAssociation) -> RequestHandler:
        """What performs the requests of this association."""
