"""The interface of an index, and the types of what goes in and out.

An index takes headers (what was read from an object) and queries (checked Identifiers), and returns entries (where an
object is) and matches. All text is decoded. The interface is asynchronous, so that a database can be waited for.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Iterable, Mapping
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple, Protocol, TypeAlias

from ..locks import ProcessLocks
from ..matching import Attributes, Value
from ..models import LEVEL_OF, UNIQUE, Level
from ..queries import Query

Turn: TypeAlias = AbstractAsyncContextManager[None]
"""Limits when an index works on a search. It is entered for each slice of the work."""
FREELY: Final[Turn] = nullcontext()
"""Sets no limit."""

LONGEST_LOCATION: Final = 1280
"""The longest location in bytes of a file that is indexed: PostgreSQL cannot look up a text of more than 2,704 bytes,
and a name that is not text in UTF-8 takes two for each of its own."""

CharacterSet = tuple[str, ...]
"""The values of Specific Character Set (0008,0005); () is the default repertoire."""


@dataclass(frozen=True, slots=True)
class Header:
    """What an index keeps of one object."""

    location: str = field(repr=False)
    """Where the storage has the object: for a folder, the path below the folder with slashes."""
    levels: Mapping[Level, dict[str, Value]] = field(repr=False)
    """The attributes that the object has at each level, as text."""
    character_set: CharacterSet = ()
    """The Specific Character Set of the object."""
    transfer_syntax: str = ""
    """The UID of the transfer syntax that the object is stored in; "" if its file does not say."""
    size: int = 0
    """The size of the file in bytes."""
    modified: int = 0
    """When the file was last written, in nanoseconds."""
    model: str = ""
    """The one-level model that the object belongs to, which has only the IMAGE level; "" if it belongs to a study."""
    is_partial: bool = False
    """Whether attributes were left out: there were too many, they were too long, or they could not be read."""

    def text(self, keyword: str) -> str:
        """Return the first value of an attribute; "" if there is none.

        Args:
            keyword: The keyword of the attribute.
        """
        values = self.levels.get(LEVEL_OF[keyword], {}).get(keyword, ())
        return values[0] if values and isinstance(values[0], str) else ""

    def unique(self, level: Level) -> str:
        """Return the value of the Unique Key of a level (PS3.4 C.6).

        Args:
            level: The level.
        """
        return self.text(UNIQUE[level])

    def stamped(self, size: int, modified: int) -> Header:
        """Return the same header with what is known of the file, which has been written.

        Args:
            size: The size of the file in bytes.
            modified: When it was last written, in nanoseconds.
        """
        return Header(
            self.location,
            self.levels,
            self.character_set,
            self.transfer_syntax,
            size,
            modified,
            self.model,
            self.is_partial,
        )

    @property
    def entry(self) -> Entry:
        """The entry that an index will have for this object."""
        return Entry(
            self.text("SOPInstanceUID"),
            self.text("SOPClassUID"),
            self.text("StudyInstanceUID"),
            self.text("SeriesInstanceUID"),
            self.text("PatientID"),
            self.transfer_syntax,
            self.location,
        )


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of the index: what it is, and where it is."""

    sop_instance_uid: str = field(repr=False)
    """SOP Instance UID (0008,0018)."""
    sop_class_uid: str
    """SOP Class UID (0008,0016)."""
    study_instance_uid: str = field(repr=False)
    """Study Instance UID (0020,000D)."""
    series_instance_uid: str = field(repr=False)
    """Series Instance UID (0020,000E)."""
    patient_id: str = field(repr=False)
    """Patient ID (0010,0020)."""
    transfer_syntax: str
    """The UID of the transfer syntax that the object is stored in."""
    location: str = field(repr=False)
    """Where the storage has the object."""

    def is_same_instance(self, other: Entry) -> bool:
        """Return whether two entries are the same instance, by their UIDs and Patient ID.

        Args:
            other: The other entry.
        """
        return all(getattr(self, name) == getattr(other, name) for name in _IDENTITY)


_IDENTITY = ("sop_instance_uid", "sop_class_uid", "study_instance_uid", "series_instance_uid", "patient_id")


class Finding(StrEnum):
    """What a file turned out to be when it was read."""

    OBJECT = "object"
    DUPLICATE = "duplicate"
    """An object that another file also contains."""
    NOT_DICOM = "not DICOM"
    NOT_AN_OBJECT = "not an object"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class File:
    """One file that was read. The next scan need not read it again."""

    location: str = field(repr=False)
    """Where the storage has the file."""
    size: int
    """Its size in bytes."""
    modified: int
    """When it was last written, in nanoseconds."""
    finding: Finding
    """What the file turned out to be."""
    sop_instance_uid: str = field(default="", repr=False)
    """The SOP Instance UID of an object or a duplicate; otherwise ""."""


@dataclass(frozen=True, slots=True)
class Match:
    """One entity that a query found: the values of the keys, and the character sets of their objects."""

    attributes: Attributes = field(repr=False)
    """The values, by keyword."""
    character_sets: tuple[CharacterSet, ...] = ((),)
    """The character sets of the objects from which the values come."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How much an index contains."""

    patients: int
    """Patient IDs, each with its issuer. Objects without a Patient ID count as one patient for each name."""
    studies: int
    """Studies of all patients."""
    series: int
    """Series of all studies."""
    instances: int
    """SOP instances, including those that belong to no study."""


@dataclass(frozen=True, slots=True)
class StudyAge:
    """How old and how large a study is. Studies of several patients with the same UID count as one."""

    study_instance_uid: str = field(repr=False)
    """The UID of the study."""
    modified: int
    """When the newest of its files was written, in nanoseconds."""
    size: int
    """The size of its files in bytes."""


@dataclass(frozen=True, slots=True)
class OutdatedStudy:
    """A study with an attribute, or a series with one, that comes from an object that is gone or was replaced.

    Other objects of the study may have another value of it, so all of them have to be read again.
    """

    study_instance_uid: str = field(repr=False)
    """The UID of the study."""
    mark: int
    """Another number each time that the study becomes outdated."""


class TransactionName(NamedTuple):
    """What tells the transactions of all peers apart."""

    calling_ae_title: str
    """The AE title of the peer."""
    uid: str
    """Transaction UID (0008,1195), which the peer chose."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """A storage commitment that was requested and not yet reported (PS3.4 J)."""

    uid: str
    calling_ae_title: str
    """The AE title of the peer that requested it."""
    references: tuple[tuple[str, str], ...] = field(repr=False)
    """SOP Class UID and SOP Instance UID of each instance."""
    created: int
    """When it was requested, in seconds of the system's clock."""

    @property
    def name(self) -> TransactionName:
        """What tells it apart from all others."""
        return TransactionName(self.calling_ae_title, self.uid)


def folder_of(location: str) -> str:
    """Return the folder of a location; "" is the archive's own folder."""
    return location.rpartition("/")[0]


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

    async def stored_bytes(self) -> int:
        """Return the size in bytes of the files of all objects that belong to a study."""

    async def newest_modified(self) -> int:
        """Return when the newest file of an object was written, in nanoseconds; 0: there is no object."""

    async def clock_record(self) -> str | None:
        """Return the text that was stored last with `put_clock_record`; None: there is none."""

    async def put_clock_record(self, text: str) -> None:
        """Store what `Retention` has seen of the clock.

        Args:
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

    async def put_transaction(self, transaction: Transaction) -> Transaction:
        """Store a transaction on the disk, unless one of the same peer has the same UID.

        Args:
            transaction: The transaction.

        Returns:
            The one that is stored: this one or the earlier one.
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
