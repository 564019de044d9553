"""The interface of an index.

An index takes headers (what was read from an object) and queries (checked Identifiers), and returns entries (where an
object is) and matches. The interface is asynchronous, so that a database can be waited for.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Iterable
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, nullcontext
from math import inf
from typing import Final, Literal, Protocol, TypeAlias

from ..locks import ProcessLocks
from ..queries import Query
from .records import (
    Counts,
    Entry,
    File,
    Header,
    Match,
    OutdatedStudy,
    StudyAge,
    Transaction,
    TransactionName,
)

Turn: TypeAlias = AbstractAsyncContextManager[None]
"""Limits when an index works on a search. It is entered for each slice of the work."""
ClockUser: TypeAlias = Literal["retention", "commitment"]
"""Who has a record of the clock. Each believes other pauses, so each has its own."""
FREELY: Final[Turn] = nullcontext()
"""Sets no limit."""
ANSWER: Final = 35
"""Seconds within which an index has to answer, including the time for what it was asked before. A database that answers
at all takes less. By default a peer of this library waits for 60 s."""


class ObjectRefused(Exception):
    """An index does not take an object, and would not take it another time either."""


class BlockingIndex(Protocol):
    """What the threads that save objects ask and tell an index, each without a trip to another thread and back."""

    def lookup(self, sop_instance_uid: str) -> Entry | None:
        """Return the object that the index has. Blocks.

        Args:
            sop_instance_uid: The SOP Instance UID that is looked for.
        """

    def add(self, header: Header) -> Future[None]:
        """Add an object with the next `write`, as `Index.add` does.

        Args:
            header: What was read from the object.

        Returns:
            Done when the index has it, with the exception that says why it has not. It cannot be cancelled.
        """

    def write(self) -> None:
        """Write what has been added, by whichever thread, in one transaction; or leave it to a thread that is writing.
        May block."""


class Index(Protocol):
    """What an archive needs from its index.

    A SOP Instance UID has one location, and a location has one SOP Instance UID. An object that is added replaces every
    object with the same UID or the same location.
    """

    async def add(self, headers: Iterable[Header]) -> None:
        """Add objects, all of them or none.

        Args:
            headers: What was read from the objects.

        Raises:
            ObjectRefused: One of them, or more, is such that the index cannot have it.

        Cancellation: all of the objects have been added, or none.
        """

    async def note(self, files: Iterable[File]) -> None:
        """Record files that contain no object of the index, and forget what their locations contained before.

        Args:
            files: The files.
        """

    async def remove(self, locations: Iterable[str]) -> int:
        """Forget files and their objects. A series, study or patient is removed with its last object.

        Args:
            locations: The locations of the files.

        Returns:
            The number of objects that were removed.
        """

    def find(self, query: Query, turn: Turn = FREELY) -> AsyncGenerator[Match, None]:
        """Yield the entities at the level of the query that match it.

        The order stays the same while nothing is added or removed. `Query.begin` may leave out the beginning of it. The
        attributes of `models.COMPUTED` are counted. An object that is added or removed during the search may or may
        not be counted and found.

        Args:
            query: What is asked for.
            turn: Entered for each slice of the work of some milliseconds, and left before anything is yielded.
        """

    def entries(self, query: Query, turn: Turn = FREELY) -> AsyncGenerator[Entry, None]:
        """Yield all objects at and below the entities that the Unique Keys of the query name.

        Args:
            query: What is to be retrieved.
            turn: As for `find`.
        """

    async def lookup(self, sop_instance_uids: Collection[str]) -> dict[str, Entry]:
        """Return the objects that the index has of these, by SOP Instance UID.

        Args:
            sop_instance_uids: The SOP Instance UIDs.
        """

    async def files(self, folder: str) -> dict[str, File]:
        """Return the files of one folder by their locations. Files in folders below it are not included.

        Args:
            folder: The folder, as `folder_of` gives it.
        """

    async def folders(self) -> list[str]:
        """Return the folders of all files; "" is the archive's own folder."""

    async def duplicates(self, sop_instance_uids: Collection[str]) -> list[File]:
        """Return the files that contain an object that the index has from another file, in no particular order.

        Args:
            sop_instance_uids: The SOP Instance UIDs of the objects.
        """

    async def counts(self) -> Counts:
        """Return how much the index contains."""

    async def oldest_studies(self, limit: int, after: StudyAge | None = None) -> list[StudyAge]:
        """Return studies from the oldest on.

        Args:
            limit: The largest number of studies.
            after: The last study that was returned before. None: begin with the oldest one.
        """

    async def study_age(self, study_instance_uid: str) -> StudyAge | None:
        """Return how old and how large a study is; None: the index has no object of it.

        Args:
            study_instance_uid: The UID of the study.
        """

    async def last_received(self, study_instance_uid: str, locations: Collection[str]) -> int:
        """Return when an object of a study was last received again, or some files were written, if that was later.

        It takes as long as there are files, however large the study is.

        Args:
            study_instance_uid: The UID of the study.
            locations: The locations of the files.

        Returns:
            The time in nanoseconds; 0: neither is known.
        """

    async def set_received(self, study_instance_uids: Collection[str], at: int) -> None:
        """Record that objects of studies were received which the index has already.

        The age of a study counts from then, unless one of its files is newer.

        Args:
            study_instance_uids: The UIDs of the studies.
            at: When they were received, in nanoseconds. An earlier time than is known changes nothing.
        """

    async def forget_received(self) -> None:
        """Forget when studies were received that the index does not have any more."""

    async def stored_bytes(self) -> int:
        """Return the size in bytes of the files of all objects that belong to a study."""

    async def newest_modified(self) -> int:
        """Return when the newest file of an object was written, in nanoseconds; 0: there is no object."""

    async def clock_record(self, user: ClockUser) -> str | None:
        """Return the text that was stored last with `put_clock_record`; None: there is none.

        Args:
            user: Whose record it is.
        """

    async def put_clock_record(self, user: ClockUser, text: str) -> None:
        """Store what was seen of the clock.

        Args:
            user: Who has seen it.
            text: The text.
        """

    async def outdated_studies(self) -> list[OutdatedStudy]:
        """Return the studies whose objects have to be read again, in no particular order.

        A study becomes outdated in the same transaction in which an object is removed or replaced, if the study or one
        of its series has an attribute from it, and that attribute does not come back in that transaction.
        """

    async def set_current(self, study: OutdatedStudy) -> None:
        """Record that the objects of a study were read again, unless it has become outdated again meanwhile.

        Args:
            study: The study, as `outdated_studies` returned it before its objects were read.
        """

    async def put_transaction(
        self, transaction: Transaction, most: float = inf, most_of_peer: float = inf
    ) -> Transaction | None:
        """Store a transaction on the disk, unless one of the same peer has the same UID, or there are too many.

        They are counted in the step that stores it, whoever else stores some at the same time.

        Args:
            transaction: The transaction.
            most: The largest number of transactions that may be stored, with this one.
            most_of_peer: The largest number of those of the same peer.

        Returns:
            The one that is stored: this one or the earlier one; None: there are too many.
        """

    async def transactions(self) -> list[TransactionName]:
        """Return the names of the stored transactions, the oldest first."""

    async def transaction(self, name: TransactionName) -> Transaction | None:
        """Return a stored transaction; None: it is not stored.

        Args:
            name: Its name.
        """

    async def drop_transaction(self, transaction: Transaction) -> None:
        """Forget a transaction.

        Args:
            transaction: The transaction.
        """

    async def is_complete(self) -> bool:
        """Return whether the whole storage has been read at least once."""

    async def set_complete(self) -> None:
        """Record that the whole storage has been read."""

    def blocking(self) -> BlockingIndex | None:
        """Return what the threads that save objects may ask and tell; None: they leave it to the event loop."""

    def process_locks(self) -> ProcessLocks | None:
        """Return new locks that all processes with this index share; None: the index has none."""

    def is_damaged_by(self, error: Exception) -> bool:
        """Return whether an error says that the index is damaged.

        Args:
            error: What a method of this index raised.
        """

    def mark_damaged(self) -> None:
        """Have the next opening make a new index from the objects."""

    async def close(self, timeout: float = 5.0) -> None:
        """Release what the index uses of the system. It must not be used afterward.

        Args:
            timeout: The time in seconds to wait for a disk or a database that does not answer.
        """
