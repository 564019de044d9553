"""The instances of an outbox, and their deliveries: which is due, which is tried again and when, and which is given up.

All methods are parts of a transaction: they run in the thread of the database.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from aiodimse.commitment import CLASS_CONFLICT, NO_SUCH_INSTANCE, PROCESSING_FAILURE, CommitmentReport, Reference
from aiodimse.outbox.database import Database
from aiodimse.record import record

_log = logging.getLogger("aiodimse.outbox")

PENDING: Final = -1
"""In place of a Failure Reason: some destination does not have the instance yet."""
_LONGEST_PAUSE: Final = 3600
"""The longest pause between two attempts, in seconds."""
_AT_ONCE: Final = 1000
"""The most instances in one request for commitment."""
_DAY: Final = 86400.0

# A delivery is held until it is released, waiting, sent until its destination has committed it, or dead.
SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS instance (
    id INTEGER PRIMARY KEY, name TEXT, sop_class TEXT, uid TEXT, study TEXT, finished REAL);
CREATE INDEX IF NOT EXISTS instance_uid ON instance (uid);
CREATE INDEX IF NOT EXISTS instance_study ON instance (study);
CREATE TABLE IF NOT EXISTS delivery (
    id INTEGER PRIMARY KEY, instance INTEGER, destination TEXT, state TEXT, due REAL DEFAULT 0,
    attempts INTEGER DEFAULT 0, reason TEXT DEFAULT '', sent_class TEXT, sent_uid TEXT, transaction_uid TEXT);
CREATE INDEX IF NOT EXISTS delivery_due ON delivery (destination, state, due);
CREATE INDEX IF NOT EXISTS delivery_instance ON delivery (instance);
CREATE INDEX IF NOT EXISTS delivery_transaction ON delivery (transaction_uid);
"""


@record(frozen=True)
class Delivery:
    """An instance that has to be sent to a destination."""

    id: int
    """The number of the delivery."""
    path: Path
    """The file of the instance."""
    attempts: int
    """How many attempts have failed."""


class DeadLetter(NamedTuple):
    """A delivery that is no longer tried."""

    destination: str
    """The destination."""
    sop_instance_uid: str
    """The file of the instance, as it was received."""
    reason: str
    """The reason of the last failure."""


class Deliveries:
    """The tables of instances and deliveries, and the files of the instances.

    Args:
        database: Where the tables are.
        folder: Where the files are.
    """

    def __init__(self, database: Database, folder: Path) -> None:
        self._database, self._rows, self._folder = database, database.rows, folder
        self.waiting = 0
        """Instances that some destination does not have yet."""

    def load(self) -> None:
        """Count what waits."""
        self.waiting = self._rows("SELECT count(*) FROM instance WHERE finished IS NULL")[0][0]

    def tidy(self, days: float) -> None:
        """Remove files that were never added, and the records of instances that were finished so many days ago."""
        self._rows("DELETE FROM instance WHERE finished < ?", time.time() - days * _DAY)
        needed = {row[0] for row in self._rows("SELECT name FROM instance WHERE finished IS NULL")}
        for name in {path.name for path in self._folder.glob("*.dcm")} - needed:
            self._database.after_commit(partial(self._remove_file, name))

    # --- instances ----------------------------------------------------------------------------------------------------

    def add(
        self, name: str, sop_class_uid: str, sop_instance_uid: str, study: str, destinations: Mapping[str, bool]
    ) -> None:
        """Add an instance, and a delivery to each destination: held if the value of the destination is true."""
        query = "INSERT INTO instance (name, sop_class, uid, study) VALUES (?, ?, ?, ?) RETURNING id"
        ((instance,),) = self._rows(query, name, sop_class_uid, sop_instance_uid, study)
        for destination, is_held in destinations.items():
            query = "INSERT INTO delivery (instance, destination, state) VALUES (?, ?, ?)"
            self._rows(query, instance, destination, "held" if is_held else "waiting")
        self._database.after_commit(partial(self._add_waiting, 1))
        self._finish_delivered(instance, name)

    def held_studies(self) -> list[str]:
        """Return the Study Instance UIDs of the held deliveries."""
        query = "SELECT DISTINCT study FROM delivery JOIN instance ON instance.id = instance WHERE state = 'held'"
        return [row[0] for row in self._rows(query)]

    def release(self, study: str) -> None:
        """Let the held deliveries of a study be due."""
        of_study = "instance IN (SELECT id FROM instance WHERE study = ?)"
        self._rows(f"UPDATE delivery SET state = 'waiting' WHERE state = 'held' AND {of_study}", study)

    def outcome(self, sop_class_uid: str, uid: str) -> int:
        """Return the Failure Reason of an instance; 0 if it was sent on to each destination, PENDING if it will be."""
        query = "SELECT sop_class, finished, id FROM instance WHERE uid = ? ORDER BY id DESC LIMIT 1"
        for known_class, finished, instance in self._rows(query, uid):
            if known_class != sop_class_uid:
                return CLASS_CONFLICT
            dead = self._rows("SELECT 1 FROM delivery WHERE instance = ? AND state = 'dead' LIMIT 1", instance)
            return 0 if finished else PROCESSING_FAILURE if dead else PENDING
        return NO_SUCH_INSTANCE

    def _finish_delivered(self, instance: int, name: str) -> None:
        """Finish an instance that has no deliveries left."""
        if not self._rows("SELECT 1 FROM delivery WHERE instance = ? LIMIT 1", instance):
            self._rows("UPDATE instance SET finished = ? WHERE id = ?", time.time(), instance)
            self._database.after_commit(partial(self._add_waiting, -1))
            self._database.after_commit(partial(self._remove_file, name))

    def _add_waiting(self, more: int) -> None:
        self.waiting += more

    def _remove_file(self, name: str) -> None:
        try:
            (self._folder / name).unlink(missing_ok=True)
        except OSError:  # the transaction is on disk, and `tidy` removes the file
            _log.warning("a file that is no longer needed was not removed")

    # --- deliveries ---------------------------------------------------------------------------------------------------

    def due(self, destination: str, limit: int) -> list[Delivery]:
        """Return the deliveries that are due for a destination, the oldest first."""
        rows = self._rows(
            "SELECT delivery.id, name, attempts FROM delivery JOIN instance ON instance.id = instance"
            " WHERE destination = ? AND state = 'waiting' AND due <= ? ORDER BY due, delivery.id LIMIT ?",
            destination, time.time(), limit,
        )  # fmt: skip
        return [Delivery(row[0], self._folder / row[1], row[2]) for row in rows]

    def sent(self, delivery: int, reference: Reference) -> None:
        """Let a delivery wait for its commitment."""
        query = "UPDATE delivery SET state = 'sent', due = 0, sent_class = ?, sent_uid = ? WHERE id = ?"
        self._rows(query, reference.sop_class_uid, reference.sop_instance_uid, delivery)

    def finish(self, delivery: int) -> None:
        """End a delivery, and its instance if this was the last one."""
        query = "SELECT instance, name FROM delivery JOIN instance ON instance.id = instance WHERE delivery.id = ?"
        for instance, name in self._rows(query, delivery):
            self._rows("DELETE FROM delivery WHERE id = ?", delivery)
            self._finish_delivered(instance, name)

    def fail(self, delivery: int, reason: str, attempts: int) -> None:
        """Let a delivery be due again after 2 seconds, 4, and so on; after so many attempts it is a dead letter."""
        self._rows(
            "UPDATE delivery SET attempts = attempts + 1, reason = ?, due = ? + min(?, 2 << min(attempts, 20)),"
            " state = CASE WHEN attempts + 1 < ? THEN 'waiting' ELSE 'dead' END WHERE id = ?",
            reason, time.time(), _LONGEST_PAUSE, attempts, delivery,
        )  # fmt: skip

    def counts(self) -> dict[str, int]:
        """Count the deliveries that are not dead, by destination."""
        return dict(self._rows("SELECT destination, count(*) FROM delivery WHERE state <> 'dead' GROUP BY destination"))

    def dead(self) -> list[DeadLetter]:
        """Return the dead letters."""
        join = "delivery JOIN instance ON instance.id = instance"
        return [
            DeadLetter(*row) for row in self._rows(f"SELECT destination, uid, reason FROM {join} WHERE state = 'dead'")
        ]

    def retry(self) -> None:
        """Let the dead letters be due."""
        self._rows("UPDATE delivery SET state = 'waiting', attempts = 0, due = 0 WHERE state = 'dead'")

    # --- their commitment ---------------------------------------------------------------------------------------------

    def to_commit(self, destination: str, transaction_uid: str, patience: float) -> list[Reference]:
        """Put instances that a destination has to commit into a transaction; again after `patience` seconds."""
        rows = self._rows(
            "UPDATE delivery SET transaction_uid = ?, due = ? WHERE id IN (SELECT id FROM delivery"
            " WHERE destination = ? AND state = 'sent' AND due <= ? LIMIT ?) RETURNING sent_class, sent_uid",
            transaction_uid, time.time() + patience, destination, time.time(), _AT_ONCE,
        )  # fmt: skip
        return [Reference(*row) for row in rows]

    def not_asked(self, transaction_uid: str, pause: float) -> None:
        """Let the instances of a transaction be asked for again after so many seconds."""
        self._rows("UPDATE delivery SET due = ? WHERE transaction_uid = ?", time.time() + pause, transaction_uid)

    def committed(self, report: CommitmentReport, attempts: int) -> None:
        """Finish the deliveries that are committed, and `fail` those that are not."""
        reasons = {each.sop_instance_uid: each.failure_reason for each in report.references}
        query = "SELECT id, sent_uid FROM delivery WHERE transaction_uid = ? AND state = 'sent'"
        for delivery, uid in self._rows(query, report.transaction_uid):
            if reasons.get(uid) == 0:
                self.finish(delivery)
            elif uid in reasons:
                self.fail(delivery, f"not committed: {reasons[uid]:04X}", attempts)
