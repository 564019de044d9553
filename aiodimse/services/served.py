"""What a set of handlers is to one association: a provider. The window through which the roof's two halves see it."""

from __future__ import annotations

from typing import Protocol

from aiodimse.services.provider import Provider
from aiodimse.services.request import Peer


class Serving(Protocol):
    """A Server, as far as an association needs it."""

    def provider(self, peer: Peer) -> Provider:
        """What answers the requests of this peer."""
