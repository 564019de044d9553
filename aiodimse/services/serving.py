"""The interface of a Server that the rest of the library needs: what performs the requests of a peer."""

from __future__ import annotations

from typing import Protocol

from aiodimse.aio.performer import PerformedOperation
from aiodimse.services.association import ProviderAssociation


class RequestHandler(Protocol):
    """Performs the requests of one association."""

    def handle(self, performed: PerformedOperation) -> None:
        """Start the handler of a request; the request gets its response whatever becomes of the handler.

        Args:
            performed: The request.
        """


class RequestHandlers(Protocol):
    """The type of `connect(handlers=)`: a `Server`."""

    def provider(self, association: ProviderAssociation) -> RequestHandler:
        """Make the handler of the requests of one association.

        Args:
            association: The association, as the handlers see it.
        """
