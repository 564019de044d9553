"""The requests of senders for storage commitment, which are answered when their instances have been sent on.

All methods are parts of a transaction: they run in the thread of the database.
"""

from __future__ import annotations

import json
from functools import partial
from typing import Final

from aiodimse.commitment import CommitmentReport, CommitmentRequest, Reference
from aiodimse.outbox.database import Database
from aiodimse.outbox.deliveries import PENDING, Deliveries

SCHEMA: Final = "CREATE TABLE IF NOT EXISTS asked (transaction_uid TEXT PRIMARY KEY, calling TEXT, uids TEXT);"


class Commitments:
    """The table of requests.

    Args:
        database: Where the table is.
        deliveries: What becomes of the instances.
    """

    def __init__(self, database: Database, deliveries: Deliveries) -> None:
        self._database, self._rows, self._deliveries = database, database.rows, deliveries
        self.unanswered = 0
        """The number of requests."""

    def load(self) -> None:
        """Count the requests."""
        self.unanswered = self._rows("SELECT count(*) FROM asked")[0][0]

    def add(self, request: CommitmentRequest, calling_ae_title: str) -> None:
        """Keep a request, in place of an earlier one with the same Transaction UID."""
        uids = json.dumps([(each.sop_class_uid, each.sop_instance_uid) for each in request.references])
        self.remove(request.transaction_uid)
        self._rows("INSERT INTO asked VALUES (?, ?, ?)", request.transaction_uid, calling_ae_title, uids)
        self._database.after_commit(partial(self._add_unanswered, 1))

    def remove(self, transaction_uid: str) -> None:
        """Forget a request."""
        removed = self._rows("DELETE FROM asked WHERE transaction_uid = ? RETURNING 1", transaction_uid)
        self._database.after_commit(partial(self._add_unanswered, -len(removed)))

    def reports(self) -> list[tuple[str, CommitmentReport]]:
        """Return the AE title and the report of each request that has nothing pending any more."""
        found = []
        for transaction_uid, calling, uids in self._rows("SELECT * FROM asked"):
            references = [Reference(of, uid, self._deliveries.outcome(of, uid)) for of, uid in json.loads(uids)]
            if PENDING not in (each.failure_reason for each in references):
                found.append((calling, CommitmentReport(transaction_uid, tuple(references))))
        return found

    def _add_unanswered(self, more: int) -> None:
        self.unanswered += more
