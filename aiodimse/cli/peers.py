"""Who may call serve, under which title, for what, and where it sends: what SIGHUP reads again."""

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
    (aiodimse.NormalizedRequest, "commit"),  # Storage Commitment is all that serve has of DIMSE-N
)


class Peers:
    """What the options say of peers. A server asks it at each association and each request.

    Args:
        options: Of serve.
    """

    def __init__(self, options: Namespace) -> None:
        self.destinations: dict[str, aiodimse.Destination] = {}
        """Where C-MOVE sends, by AE title."""
        self.archives: dict[str, Archive] = {}
        """Archives of their own, by called AE title."""
        self._called: frozenset[str] | None = frozenset()
        """None: every title."""
        self._calling: Mapping[str, frozenset[str]] = {}
        self.take(options, {})

    def take(self, options: Namespace, archives: Mapping[str, Archive]) -> None:
        """Use these options from now on, all of them or none; open associations go on.

        Raises:
            CommandError: TLS files cannot be used.
        """
        outgoing = encryption.to_destinations(options)
        destinations = {
            title: aiodimse.Destination(where.host, where.port, ssl=outgoing if where.tls else None)
            for title, where in options.destinations
        }
        self.destinations.clear()
        self.destinations.update(destinations)
        self.archives.update(archives)  # open associations may still call those that are named no more
        titles = frozenset({options.ae_title, *(title for title, _ in options.called)})
        self._called = None if options.any_called else titles
        self._calling = dict(options.calling)

    def is_called(self, title: str) -> bool:
        """Whether we answer to this title."""
        return self._called is None or title in self._called

    def may_call(self, title: str) -> bool:
        """Whether this peer may open an association; everybody may where nobody is named."""
        return not self._calling or title in self._calling

    @property
    def are_limited(self) -> bool:
        """Whether some of those who may call may not do everything."""
        return any(len(services) < len(_SERVICES) for services in self._calling.values())

    async def may(self, request: aiodimse.Request) -> bool:
        """Whether the peer may do what it asks for. C-ECHO is for whoever may call."""
        allowed = self._calling.get(request.association.calling_ae_title)
        if allowed is None:  # nobody is named; or this one is not any more, and its association goes on
            return not self._calling or isinstance(request, aiodimse.EchoRequest)
        return all(service in allowed for kind, service in _SERVICES if isinstance(request, kind))
