"""serve --audit: write the audit trail of PS3.15 A.5 to a file, or send it to a collector."""

from __future__ import annotations

import os
from argparse import Namespace
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import aiodimse
from aiodimse import audit
from aiodimse.archive import Entry
from aiodimse.cli import encryption
from aiodimse.cli.failures import USAGE, CommandError, system_words
from aiodimse.cli.peers import Peers

Studies: TypeAlias = dict[tuple[str, str], "Counter[str]"]
"""The number of instances of each SOP class, by Study Instance UID and Patient ID."""
Transfers: TypeAlias = dict[tuple[str, bool], Studies]
"""The studies by the AE title of the peer, and whether we received them."""
_REFUSED = 4  # minor failure, PS3.15 A.5.2
MOST_STUDIES = 256
"""The number of studies of one association, with one peer, that are reported together at the latest. A peer decides how
many it sends, and each is kept in memory until then."""


class Auditing:
    """Reports queries, transfers and rejected associations. It is an observer of `aiodimse.archive.provide`.

    Transfers are reported when the association ends, or earlier if they concern many studies: one message for each
    patient, not one for each instance.

    Args:
        options: The options of serve.
        peers: What the options say about peers.
    """

    def __init__(self, options: Namespace, peers: Peers) -> None:
        sink: audit.Sink
        if isinstance(options.audit, Path):
            check_file(options.audit)
            sink = audit.FileSink(options.audit)
        else:
            where = options.audit
            sink = audit.SyslogTLS(where.host, where.port, ssl=encryption.to_collector(options))
        self.trail = audit.AuditTrail(options.ae_title, sink, ae_titles=[options.ae_title])
        self._peers = peers

    def attach(self, server: aiodimse.Server) -> None:
        """Register the hooks."""
        server.authorize(self.authorize)
        server.on_association_end(self.association_ended)

    async def authorize(self, request: aiodimse.Request) -> bool:
        """Return whether the peer may do what it asks for. A query is reported, allowed or not."""
        is_allowed = await self._peers.may(request)
        if isinstance(request, aiodimse.FindRequest):
            self.trail.query(request, outcome=0 if is_allowed else _REFUSED)
        return is_allowed

    async def association_ended(self, association: aiodimse.ProviderAssociation, error: BaseException | None) -> None:
        """Report what was transferred on an association that has ended."""
        for peer, is_received in list(_transfers_of(association)):
            self._report_transfer(association, peer, is_received=is_received)

    def _report_transfer(self, association: aiodimse.ProviderAssociation, peer: str, *, is_received: bool) -> None:
        studies = _transfers_of(association).pop((peer, is_received))
        address = self._address(association, peer)
        self.trail.instances_transferred(peer, address, _transferred(studies), received=is_received)

    def stored(self, request: aiodimse.StoreRequest, entry: Entry) -> None:
        """Count an object that was stored."""
        self._count_transfer(request, request.association.calling_ae_title, [entry], is_received=True)

    def retrieved(self, request: aiodimse.GetRequest | aiodimse.MoveRequest, entries: Sequence[Entry]) -> None:
        """Count objects that will be sent. Objects of a C-MOVE are also reported now, before they are sent."""
        if not isinstance(request, aiodimse.MoveRequest):
            self._count_transfer(request, request.association.calling_ae_title, entries, is_received=False)
            return
        destination = request.move_destination.strip()
        if destination not in self._peers.destinations:
            return
        begun = _transferred(_add_entries(entries, {}))
        self.trail.begin_transferring(destination, self._peers.destinations[destination].host, begun)
        self._count_transfer(request, destination, entries, is_received=False)

    def _count_transfer(
        self, request: aiodimse.Request, peer: str, entries: Sequence[Entry], *, is_received: bool
    ) -> None:
        transfers = _transfers_of(request.association)
        known = transfers.get((peer, is_received), {})
        if len(known) >= MOST_STUDIES and any(_key(entry) not in known for entry in entries):
            self._report_transfer(request.association, peer, is_received=is_received)
        _add_entries(entries, transfers.setdefault((peer, is_received), {}))

    def _address(self, association: aiodimse.ProviderAssociation, peer: str) -> str | None:
        if peer in self._peers.destinations and peer != association.calling_ae_title:
            return self._peers.destinations[peer].host
        return association.peer_address[0] if association.peer_address else None


def check_file(file: Path) -> None:
    """Check that the file can be written, before anything is served that would not be reported.

    Raises:
        CommandError: It cannot.
    """
    try:
        os.close(os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600))
    except OSError as error:
        raise CommandError(f"--audit: {system_words(error)}", USAGE) from None


def _transfers_of(association: aiodimse.ProviderAssociation) -> Transfers:
    """Return what was transferred on an association and is not reported yet."""
    transfers: Transfers = association.state.__dict__.setdefault("audited", {})
    return transfers


def _add_entries(entries: Sequence[Entry], studies: Studies) -> Studies:
    for entry in entries:
        studies.setdefault(_key(entry), Counter())[entry.sop_class_uid] += 1
    return studies


def _key(entry: Entry) -> tuple[str, str]:
    return entry.study_instance_uid, entry.patient_id


def _transferred(studies: Studies) -> list[audit.TransferredStudy]:
    return [
        audit.TransferredStudy(study, patient, sop_classes=dict(classes))
        for (study, patient), classes in studies.items()
    ]
