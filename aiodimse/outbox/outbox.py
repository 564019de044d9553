"""The outbox, as programs use it: each of its methods is one transaction."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from aiodimse.commitment import CommitmentReport, CommitmentRequest, Reference
from aiodimse.outbox import commitments, deliveries
from aiodimse.outbox.commitments import Commitments
from aiodimse.outbox.database import Database
from aiodimse.outbox.deliveries import DeadLetter, Deliveries, Delivery


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
        self._database = Database(self.folder / "outbox.db", deliveries.SCHEMA + commitments.SCHEMA)
        self._deliveries = Deliveries(self._database, self.folder)
        self._commitments = Commitments(self._database, self._deliveries)

    @property
    def waiting(self) -> int:
        """Instances that some destination does not have yet. A handler compares it with its limit, and refuses above
        that."""
        return self._deliveries.waiting

    @property
    def unanswered(self) -> int:
        """Requests for storage commitment that are not answered yet. A handler limits them likewise."""
        return self._commitments.unanswered

    async def __aenter__(self) -> Self:
        """Open the database.

        Raises:
            sqlite3.Error: The database cannot be opened.
            OSError: The folder cannot be created.
        """
        try:
            await self._database.open()
            await self._database.run(self._load)
        except BaseException:
            await self._database.close()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Wait for methods that run, and close the database."""
        await self._database.close()

    def _load(self) -> None:
        self._deliveries.load()
        self._commitments.load()

    async def tidy(self, days: float) -> None:
        """Remove what a killed process has left behind. Call it at the start, before anything is received.

        It removes files that were never `put`, since their senders did not get Success. It also removes the records of
        instances that every destination has had for some days, for which there is no storage commitment any more.

        Args:
            days: The number of days.
        """
        await self._database.run(self._deliveries.tidy, days)

    # --- receiving ----------------------------------------------------------------------------------------------------

    async def put(
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
        name = Path(path).name
        await self._database.run(
            self._deliveries.add, name, sop_class_uid, sop_instance_uid, study_instance_uid, destinations
        )

    async def held_studies(self) -> list[str]:
        """List the studies that have held deliveries, for example after a restart.

        Returns:
            Their Study Instance UIDs.
        """
        return await self._database.run(self._deliveries.held_studies)

    async def release(self, study_instance_uid: str) -> None:
        """Release the held deliveries of a study, because it is complete.

        Args:
            study_instance_uid: The study.
        """
        await self._database.run(self._deliveries.release, study_instance_uid)

    # --- sending ------------------------------------------------------------------------------------------------------

    async def due(self, destination: str, limit: int = 100) -> list[Delivery]:
        """List the deliveries that are due for a destination.

        Args:
            destination: The destination.
            limit: The most deliveries to return.

        Returns:
            Deliveries, the oldest first. They are returned again until `delivered` or `failed` is called for them.
        """
        return await self._database.run(self._deliveries.due, destination, limit)

    async def delivered(self, delivery: int, *, to_commit: Reference | None = None) -> None:
        """Record that a destination has an instance.

        Args:
            delivery: `Delivery.id`.
            to_commit: The UIDs under which the destination has it, if it has to commit it: the delivery then ends with
                `committed`. None: the delivery ends now.
        """
        if to_commit is None:
            await self._database.run(self._deliveries.finish, delivery)
        else:
            await self._database.run(self._deliveries.sent, delivery, to_commit)

    async def failed(self, delivery: int, reason: str, *, attempts: int) -> None:
        """Record that a destination refuses an instance.

        It is tried again after 2 seconds, 4, and so on up to an hour. Do not call this during an outage of the
        destination, or its deliveries become dead letters.

        Args:
            delivery: `Delivery.id`.
            reason: The reason, for the reader of the dead letters.
            attempts: The number of attempts after which it is a dead letter.
        """
        await self._database.run(self._deliveries.fail, delivery, reason, attempts)

    async def counts(self) -> dict[str, int]:
        """Count the deliveries that have not ended: held, waiting, or sent and not committed.

        Returns:
            The number of deliveries by destination, without dead letters.
        """
        return await self._database.run(self._deliveries.counts)

    async def dead(self) -> list[DeadLetter]:
        """List the dead letters.

        Returns:
            All of them; their files are kept.
        """
        return await self._database.run(self._deliveries.dead)

    async def retry(self) -> None:
        """Send the dead letters again."""
        await self._database.run(self._deliveries.retry)

    # --- storage commitment that we request ---------------------------------------------------------------------------

    async def to_commit(self, destination: str, transaction_uid: str, patience: float) -> list[Reference]:
        """List the instances that a destination has to commit now, 1,000 at most.

        Args:
            destination: The destination.
            transaction_uid: The UID of the transaction in which it is asked.
            patience: Seconds after which they are listed again if there is no report.

        Returns:
            The instances, as they were sent.
        """
        return await self._database.run(self._deliveries.to_commit, destination, transaction_uid, patience)

    async def not_asked(self, transaction_uid: str, pause: float) -> None:
        """Record that a destination could not be asked.

        Args:
            transaction_uid: The UID given to `to_commit`.
            pause: Seconds after which its instances are listed again.
        """
        await self._database.run(self._deliveries.not_asked, transaction_uid, pause)

    async def committed(self, report: CommitmentReport, *, attempts: int) -> None:
        """Record the report of a destination. Instances that it did not commit are sent again, as after `failed`.

        Args:
            report: The report. One of an unknown transaction, or one that came before, changes nothing.
            attempts: As in `failed`.
        """
        await self._database.run(self._deliveries.committed, report, attempts)

    # --- storage commitment that others request -----------------------------------------------------------------------

    async def asked(self, request: CommitmentRequest, calling_ae_title: str) -> None:
        """Store the request of a sender for storage commitment.

        Args:
            request: The request.
            calling_ae_title: The AE title of the sender.
        """
        await self._database.run(self._commitments.add, request, calling_ae_title)

    async def answers(self) -> list[tuple[str, CommitmentReport]]:
        """List the reports that are ready: every destination has each instance, or cannot get it.

        Returns:
            The AE title and the report of each sender. They are returned again until `answered` is called for them.
        """
        return await self._database.run(self._commitments.reports)

    async def answered(self, transaction_uid: str) -> None:
        """Record that the sender has its report.

        Args:
            transaction_uid: The UID of the request.
        """
        await self._database.run(self._commitments.remove, transaction_uid)
