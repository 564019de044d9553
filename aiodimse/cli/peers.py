"""Who may call serve, under which title and for what, and where C-MOVE may send. SIGHUP reads this again."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping

import aiodimse
from aiodimse.archive import Archive
from aiodimse.cli import encryption

_SERVICES: tuple[tuple[type[aiodimse.Request], str], ...] = (
    (aiodimse.StoreRequest, "store"),
    (aiodimse.FindRequest, "find"),
    (aiodimse.GetRequest, "get"),
    (aiodimse.MoveRequest, "move"),
    (aiodimse.NormalizedRequest, "commit"),  # the only DIMSE-N service that serve has is Storage Commitment
)


class Peers:
    """What the options say about peers. The server asks at each association and at each request.

    Args:
        options: The options of serve.
    """

    def __init__(self, options: Namespace) -> None:
        self.destinations: dict[str, aiodimse.Destination] = {}
        """Where C-MOVE sends, by AE title."""
        self.archives: dict[str, Archive] = {}
        """The archives that called AE titles have for themselves, by that title."""
        self._called: frozenset[str] | None = frozenset()
        """The titles that we answer to; None: every title."""
        self._calling: Mapping[str, frozenset[str]] = {}
        self.take(options, {})

    def take(self, options: Namespace, archives: Mapping[str, Archive]) -> None:
        """Use these options from now on. Associations that are open go on.

        Raises:
            CommandError: The TLS files cannot be used. Nothing has changed then.
        """
        outgoing = encryption.to_destinations(options)
        destinations = {
            title: aiodimse.Destination(where.host, where.port, ssl=outgoing if where.tls else None)
            for title, where in options.destinations
        }
        self.destinations.clear()
        self.destinations.update(destinations)
        self.archives.update(archives)  # an open association may still use a title that is no longer configured
        titles = frozenset({options.ae_title, *(title for title, _ in options.called)})
        self._called = None if options.any_called else titles
        self._calling = dict(options.calling)

    def is_called(self, title: str) -> bool:
        """Return whether we answer to this title."""
        return self._called is None or title in self._called

    def may_call(self, title: str) -> bool:
        """Return whether this peer may open an association. If no caller is configured, everybody may."""
        return not self._calling or title in self._calling

    @property
    def are_limited(self) -> bool:
        """Whether one of the peers that may call is limited to some of the services."""
        return any(len(services) < len(_SERVICES) for services in self._calling.values())

    async def may(self, request: aiodimse.Request) -> bool:
        """Return whether the peer may do what it asks for. Whoever may call may send a C-ECHO."""
        allowed = self._calling.get(request.association.calling_ae_title)
        if allowed is None:  # no caller is configured, or this one was removed while its association was open
            return not self._calling or isinstance(request, aiodimse.EchoRequest)
        return all(service in allowed for kind, service in _SERVICES if isinstance(request, kind))
