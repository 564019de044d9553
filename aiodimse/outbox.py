"""Store and forward: acknowledged instances that wait to be sent on, in SQLite beside their files."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Coroutine, Mapping
from functools import partial, wraps
from pathlib import Path
from types import TracebackType
from typing import Any, Concatenate, Final, NamedTuple, ParamSpec, Self, TypeVar

from aiodimse.aio.threads import Threads
from aiodimse.commitment import (
    CLASS_CONFLICT,
    NO_SUCH_INSTANCE,
    PROCESSING_FAILURE,
    CommitmentReport,
    CommitmentRequest,
    Reference,
)
from aiodimse.record import record

_log = logging.getLogger("aiodimse.outbox")

P = ParamSpec("P")
R = TypeVar("R")

_PENDING: Final = -1
_LONGEST_PAUSE: Final = 3600
_AT_ONCE: Final = 1000
"""The most instances in one request for commitment."""
_DAY: Final = 86400.0

# A delivery is held until it is released, waiting, sent until its destination has committed it, or dead.
_SCHEMA: Final = """
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
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
CREATE TABLE IF NOT EXISTS asked (transaction_uid TEXT PRIMARY KEY, calling TEXT, uids TEXT);
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


def _in_thread(
    method: Callable[Concatenate[Outbox, P], R],
) -> Callable[Concatenate[Outbox, P], Coroutine[Any, Any, R]]:
    """Make a method one transaction in the thread of the database. A cancelled await does not interrupt it."""

    @wraps(method)
    async def call(self: Outbox, /, *args: P.args, **options: P.kwargs) -> R:
        return await self._run(partial(method, self, *args, **options))

    return call


class Outbox:
    """The instances that a router has acknowledged but not sent on yet: a table of deliveries, and a folder of files.

    When a method returns, its change is on disk, so a killed process loses nothing. An instance for which the sender
    got Success is delivered to each of its destinations, perhaps twice. Any text can name a destination, such as its AE
    title. Only one process at a time may send from an outbox; others may read it.

    Cancellation: A cancelled await of any method leaves its change done as a whole or not at all.

    Example:
        ```python
        async with outbox.Outbox("outbox") as box:

            @server.on_c_store
            async def store(request):
                path = await request.save(box.folder, f"{uuid4().hex}.dcm")
                await box.put(path, request.sop_class_uid, request.sop_instance_uid, study, {"PACS": False})
                return 0x0000

            for delivery in await box.due("PACS"):
                response = await pool.c_store(delivery.path)
                if response.status.category is aiodimse.Category.FAILURE:
                    await box.failed(delivery.id, str(response.status), attempts=5)
                else:
                    await box.delivered(delivery.id)
        ```
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        """Describe an outbox. `async with` opens it.

        Args:
            folder: The folder of `outbox.db`, and of the files, which are saved under any names that end in .dcm.
        """
        self.folder: Path = Path(folder)
        """The folder."""
        self.waiting: int = 0
        """Instances that some destination does not have yet. A handler compares it with its limit, and refuses above
        that."""
        self.unanswered: int = 0
        """Requests for storage commitment that are not answered yet. A handler limits them likewise."""
        self._thread = Threads(1, "aiodimse-outbox")
        self._database: sqlite3.Connection | None = None
        # What a transaction has changed beside the database, once the disk knows of it.
        self._unneeded: list[str] = []
        self._more_waiting = self._more_unanswered = 0

    async def __aenter__(self) -> Self:
        """Open the database.

        Raises:
            sqlite3.Error: The database cannot be opened.
            OSError: The folder cannot be created.
        """
        try:
            await self._thread.run(self._open)
        except BaseException:
            await self._thread.close(last=self._close)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait for methods that run, and close the database."""
        await asyncio.shield(self._thread.close(last=self._close))

    def _open(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._database = sqlite3.connect(self.folder / "outbox.db", isolation_level=None)
        self._database.executescript(_SCHEMA)
        self.waiting = self._all("SELECT count(*) FROM instance WHERE finished IS NULL")[0][0]
        self.unanswered = self._all("SELECT count(*) FROM asked")[0][0]

    def _close(self) -> None:
        if self._database is not None:
            self._database.close()

    async def _run(self, method: Callable[[], R]) -> R:
        return await asyncio.shield(self._thread.run(self._transaction, method))

    def _transaction(self, method: Callable[[], R]) -> R:
        self._unneeded.clear()
        self._more_waiting = self._more_unanswered = 0
        assert self._database is not None
        with self._database:
            self._database.execute("BEGIN IMMEDIATE")
            result = method()
        self.waiting += self._more_waiting
        self.unanswered += self._more_unanswered
        for name in self._unneeded:
            try:
                (self.folder / name).unlink(missing_ok=True)
            except OSError:  # what the method did is on disk, and `tidy` removes the file
                _log.warning("a file that is no longer needed was not removed")
        return result

    def _all(self, query: str, *values: object) -> list[Any]:
        assert self._database is not None
        return self._database.execute(query, values).fetchall()

    @_in_thread
    def tidy(self, days: float) -> None:
        """Remove what a killed process has left behind. Call it at the start, before anything is received.

        It removes files that were never `put`, since their senders did not get Success. It also removes the records of
        instances that every destination has had for some days, for which there is no storage commitment any more.

        Args:
            days: The number of days.
        """
        self._all("DELETE FROM instance WHERE finished < ?", time.time() - days * _DAY)
        needed = {row[0] for row in self._all("SELECT name FROM instance WHERE finished IS NULL")}
        self._unneeded += {path.name for path in self.folder.glob("*.dcm")} - needed

    # --- receiving ----------------------------------------------------------------------------------------------------

    @_in_thread
    def put(
        self,
        path: str | os.PathLike[str],
        sop_class_uid: str,
        sop_instance_uid: str,
        study_instance_uid: str,
        destinations: Mapping[str, bool],
    ) -> None:
        """Store an instance until each of its destinations has it.

        Args:
            path: Its file in the folder, flushed to disk; the outbox removes it when it is no longer needed.
            sop_class_uid: Its SOP Class UID.
            sop_instance_uid: Its SOP Instance UID.
            study_instance_uid: Its Study Instance UID, for `release`.
            destinations: Its destinations, and for each whether it is held until its study is released. An instance
                without destinations is finished at once, and its file is removed.

        Raises:
            sqlite3.Error: It is not stored; the sender must not get Success.
        """
        values = (Path(path).name, sop_class_uid, sop_instance_uid, study_instance_uid)
        query = "INSERT INTO instance (name, sop_class, uid, study) VALUES (?, ?, ?, ?) RETURNING id"
        ((instance,),) = self._all(query, *values)
        for destination, is_held in destinations.items():
            query = "INSERT INTO delivery (instance, destination, state) VALUES (?, ?, ?)"
            self._all(query, instance, destination, "held" if is_held else "waiting")
        self._more_waiting += 1
        self._finish_delivered(instance, values[0])

    @_in_thread
    def held_studies(self) -> list[str]:
        """List the studies that have held deliveries, for example after a restart.

        Returns:
            Their Study Instance UIDs.
        """
        query = "SELECT DISTINCT study FROM delivery JOIN instance ON instance.id = instance WHERE state = 'held'"
        return [row[0] for row in self._all(query)]

    @_in_thread
    def release(self, study_instance_uid: str) -> None:
        """Release the held deliveries of a study, because it is complete.

        Args:
            study_instance_uid: The study.
        """
        of_study = "instance IN (SELECT id FROM instance WHERE study = ?)"
        self._all(f"UPDATE delivery SET state = 'waiting' WHERE state = 'held' AND {of_study}", study_instance_uid)

    # --- sending ------------------------------------------------------------------------------------------------------

    @_in_thread
    def due(self, destination: str, limit: int = 100) -> list[Delivery]:
        """List the deliveries that are due for a destination.

        Args:
            destination: The destination.
            limit: The most deliveries to return.

        Returns:
            Deliveries, the oldest first. They are returned again until `delivered` or `failed` is called for them.
        """
        rows = self._all(
            "SELECT delivery.id, name, attempts FROM delivery JOIN instance ON instance.id = instance"
            " WHERE destination = ? AND state = 'waiting' AND due <= ? ORDER BY due, delivery.id LIMIT ?",
            destination, time.time(), limit,
        )  # fmt: skip
        return [Delivery(row[0], self.folder / row[1], row[2]) for row in rows]

    @_in_thread
    def delivered(self, delivery: int, *, to_commit: Reference | None = None) -> None:
        """Record that a destination has an instance.

        Args:
            delivery: `Delivery.id`.
            to_commit: The UIDs under which the destination has it, if it has to commit it: the delivery then ends with
                `committed`. None: the delivery ends now.
        """
        if to_commit is None:
            self._finish(delivery)
        else:
            uids = to_commit.sop_class_uid, to_commit.sop_instance_uid
            query = "UPDATE delivery SET state = 'sent', due = 0, sent_class = ?, sent_uid = ? WHERE id = ?"
            self._all(query, *uids, delivery)

    @_in_thread
    def failed(self, delivery: int, reason: str, *, attempts: int) -> None:
        """Record that a destination refuses an instance.

        It is tried again after 2 seconds, 4, and so on up to an hour. Do not call this during an outage of the
        destination, or its deliveries become dead letters.

        Args:
            delivery: `Delivery.id`.
            reason: The reason, for the reader of the dead letters.
            attempts: The number of attempts after which it is a dead letter.
        """
        self._fail(delivery, reason, attempts)

    def _fail(self, delivery: int, reason: str, attempts: int) -> None:
        self._all(
            "UPDATE delivery SET attempts = attempts + 1, reason = ?, due = ? + min(?, 2 << min(attempts, 20)),"
            " state = CASE WHEN attempts + 1 < ? THEN 'waiting' ELSE 'dead' END WHERE id = ?",
            reason, time.time(), _LONGEST_PAUSE, attempts, delivery,
        )  # fmt: skip

    def _finish(self, delivery: int) -> None:
        query = "SELECT instance, name FROM delivery JOIN instance ON instance.id = instance WHERE delivery.id = ?"
        for instance, name in self._all(query, delivery):
            self._all("DELETE FROM delivery WHERE id = ?", delivery)
            self._finish_delivered(instance, name)

    def _finish_delivered(self, instance: int, name: str) -> None:
        """Finish an instance that has no deliveries left."""
        if not self._all("SELECT 1 FROM delivery WHERE instance = ? LIMIT 1", instance):
            self._all("UPDATE instance SET finished = ? WHERE id = ?", time.time(), instance)
            self._unneeded.append(name)
            self._more_waiting -= 1

    @_in_thread
    def counts(self) -> dict[str, int]:
        """Count the deliveries that have not ended: held, waiting, or sent and not committed.

        Returns:
            The number of deliveries by destination, without dead letters.
        """
        return dict(self._all("SELECT destination, count(*) FROM delivery WHERE state <> 'dead' GROUP BY destination"))

    @_in_thread
    def dead(self) -> list[DeadLetter]:
        """List the dead letters.

        Returns:
            All of them; their files are kept.
        """
        join = "delivery JOIN instance ON instance.id = instance"
        return [
            DeadLetter(*row) for row in self._all(f"SELECT destination, uid, reason FROM {join} WHERE state = 'dead'")
        ]

    @_in_thread
    def retry(self) -> None:
        """Send the dead letters again."""
        self._all("UPDATE delivery SET state = 'waiting', attempts = 0, due = 0 WHERE state = 'dead'")

    # --- storage commitment that we request ---------------------------------------------------------------------------

    @_in_thread
    def to_commit(self, destination: str, transaction_uid: str, patience: float) -> list[Reference]:
        """List the instances that a destination has to commit now, 1,000 at most.

        Args:
            destination: The destination.
            transaction_uid: The UID of the transaction in which it is asked.
            patience: Seconds after which they are listed again if there is no report.

        Returns:
            The instances, as they were sent.
        """
        rows = self._all(
            "UPDATE delivery SET transaction_uid = ?, due = ? WHERE id IN (SELECT id FROM delivery"
            " WHERE destination = ? AND state = 'sent' AND due <= ? LIMIT ?) RETURNING sent_class, sent_uid",
            transaction_uid, time.time() + patience, destination, time.time(), _AT_ONCE,
        )  # fmt: skip
        return [Reference(*row) for row in rows]

    @_in_thread
    def not_asked(self, transaction_uid: str, pause: float) -> None:
        """Record that a destination could not be asked.

        Args:
            transaction_uid: The UID given to `to_commit`.
            pause: Seconds after which its instances are listed again.
        """
        self._all("UPDATE delivery SET due = ? WHERE transaction_uid = ?", time.time() + pause, transaction_uid)

    @_in_thread
    def committed(self, report: CommitmentReport, *, attempts: int) -> None:
        """Record the report of a destination. Instances that it did not commit are sent again, as after `failed`.

        Args:
            report: The report. One of an unknown transaction, or one that came before, changes nothing.
            attempts: As in `failed`.
        """
        reasons = {each.sop_instance_uid: each.failure_reason for each in report.references}
        query = "SELECT id, sent_uid FROM delivery WHERE transaction_uid = ? AND state = 'sent'"
        for delivery, uid in self._all(query, report.transaction_uid):
            if reasons.get(uid) == 0:
                self._finish(delivery)
            elif uid in reasons:
                self._fail(delivery, f"not committed: {reasons[uid]:04X}", attempts)

    # --- storage commitment that others request -----------------------------------------------------------------------

    @_in_thread
    def asked(self, request: CommitmentRequest, calling_ae_title: str) -> None:
        """Store the request of a sender for storage commitment.

        Args:
            request: The request.
            calling_ae_title: The AE title of the sender.
        """
        uids = json.dumps([(each.sop_class_uid, each.sop_instance_uid) for each in request.references])
        self._forget_asked(request.transaction_uid)
        self._all("INSERT INTO asked VALUES (?, ?, ?)", request.transaction_uid, calling_ae_title, uids)
        self._more_unanswered += 1

    @_in_thread
    def answers(self) -> list[tuple[str, CommitmentReport]]:
        """List the reports that are ready: every destination has each instance, or cannot get it.

        Returns:
            The AE title and the report of each sender. They are returned again until `answered` is called for them.
        """
        found = []
        for transaction_uid, calling, uids in self._all("SELECT * FROM asked"):
            references = [Reference(of, uid, self._reason(of, uid)) for of, uid in json.loads(uids)]
            if _PENDING not in (each.failure_reason for each in references):
                found.append((calling, CommitmentReport(transaction_uid, tuple(references))))
        return found

    @_in_thread
    def answered(self, transaction_uid: str) -> None:
        """Record that the sender has its report.

        Args:
            transaction_uid: The UID of the request.
        """
        self._forget_asked(transaction_uid)

    def _forget_asked(self, transaction_uid: str) -> None:
        query = "DELETE FROM asked WHERE transaction_uid = ? RETURNING 1"
        self._more_unanswered -= len(self._all(query, transaction_uid))

    def _reason(self, sop_class_uid: str, uid: str) -> int:
        """Return the Failure Reason of an instance that cannot be committed; 0 if it was sent on."""
        query = "SELECT sop_class, finished, id FROM instance WHERE uid = ? ORDER BY id DESC LIMIT 1"
        for known_class, finished, instance in self._all(query, uid):
            if known_class != sop_class_uid:
                return CLASS_CONFLICT
            dead = self._all("SELECT 1 FROM delivery WHERE instance = ? AND state = 'dead' LIMIT 1", instance)
            return 0 if finished else PROCESSING_FAILURE if dead else _PENDING
        return NO_SUCH_INSTANCE
