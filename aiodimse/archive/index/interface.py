"""What an archive knows: a small interface that a database implements, and what goes in and out of it.

The interface speaks of headers (what was read from an object), queries (a checked Identifier, `models.Query`), entries
(where an object is) and matches, all in decoded text; it is asynchronous, so that a database can wait for its answer.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Protocol, TypeAlias

from ..locks import ProcessLocks
from ..matching import Attributes, Value
from ..models import LEVEL_OF, UNIQUE, Level
from ..queries import Query

Turn: TypeAlias = AbstractAsyncContextManager[None]
"""When an index works on a search; entered again and again."""
FREELY: Final[Turn] = nullcontext()
"""Whenever it likes."""

CharacterSet = tuple[str, ...]
"""The values of Specific Character Set (0008,0005); () is the default repertoire."""


@dataclass(frozen=True, slots=True)
class Header:
    """What is kept of one object."""

    location: str = field(repr=False)
    """Where the storage has it: for a folder its path below the folder, with slashes."""
    levels: Mapping[Level, dict[str, Value]] = field(repr=False)
    """For each level the attributes that the object has, as text."""
    character_set: CharacterSet = ()
    """The Specific Character Set that its text came in."""
    transfer_syntax: str = ""
    """The UID of the transfer syntax that it is stored in; "" where its file does not say."""
    size: int = 0
    """Of the file, in bytes."""
    modified: int = 0
    """When the file was last written, in nanoseconds."""
    model: str = ""
    """The model of one level that the object belongs to, which has but the IMAGE level; "" for those of a study."""
    is_partial: bool = False
    """Attributes were left out: there were too many of them, they were too long, or could not be read."""

    def text(self, keyword: str) -> str:
        """Return the first value of an attribute; "" where there is none.

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

    @property
    def entry(self) -> Entry:
        """What an index says of this object later."""
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
    """One object that the index has: what it is, and where it is."""

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
    """The UID of the transfer syntax that it is stored in."""
    location: str = field(repr=False)
    """Where the storage has it."""

    def is_same_instance(self, other: Entry) -> bool:
        """Say whether two data sets are the same instance, by their UIDs and Patient ID.

        Args:
            other: The entry of the other data set.
        """
        return all(getattr(self, name) == getattr(other, name) for name in _IDENTITY)


_IDENTITY = ("sop_instance_uid", "sop_class_uid", "study_instance_uid", "series_instance_uid", "patient_id")


class Finding(StrEnum):
    """What a file turned out to be when it was read."""

    OBJECT = "object"
    DUPLICATE = "duplicate"
    """An object that another file holds too."""
    NOT_DICOM = "not DICOM"
    NOT_AN_OBJECT = "not an object"
    DAMAGED = "damaged"


@dataclass(frozen=True, slots=True)
class File:
    """One file that was read before, so that the next scan need not read it again."""

    location: str = field(repr=False)
    """Where the storage has it."""
    size: int
    """In bytes."""
    modified: int
    """When it was last written, in nanoseconds."""
    finding: Finding
    """What it turned out to be."""
    sop_instance_uid: str = field(default="", repr=False)
    """The SOP Instance UID of an object or a duplicate; "" of others."""


@dataclass(frozen=True, slots=True)
class Match:
    """One entity that a query found: the values of the keys asked for, and the character sets that they came in."""

    attributes: Attributes = field(repr=False)
    """The values, by keyword."""
    character_sets: tuple[CharacterSet, ...] = ((),)
    """The character sets of the objects that the values come from."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How much an index holds."""

    patients: int
    """Patient IDs, each with its issuer; objects without a Patient ID count as one patient for each name."""
    studies: int
    """Studies of all patients."""
    series: int
    """Series of all studies."""
    instances: int
    """SOP instances, those of no study included."""


@dataclass(frozen=True, slots=True)
class StudyAge:
    """How old and how large a study is, those of several patients under one UID together."""

    study_instance_uid: str = field(repr=False)
    """Of the study."""
    modified: int
    """When the last of its files was written, in nanoseconds."""
    size: int
    """Of its files, in bytes."""


@dataclass(frozen=True, slots=True)
class Transaction:
    """A storage commitment that was asked for and not reported yet (PS3.4 J)."""

    uid: str
    calling_ae_title: str
    """Who asked."""
    references: tuple[tuple[str, str], ...] = field(repr=False)
    """SOP Class UID and SOP Instance UID of each instance."""
    created: int
    """When it was asked for, in seconds of the system's clock."""


def folder_of(location: str) -> str:
    """Return the folder that a location is in; "" is the archive's own."""
    return location.rpartition("/")[0]


class Index(Protocol):
    """What an archive asks of its index.

    A SOP Instance UID has one location, and a location one SOP Instance UID: whatever is added takes the place of what
    had either of the two before.
    """

    async def add(self, headers: Iterable[Header]) -> None:
        """Add objects, all of them or none.

        Args:
            headers: What was read from the objects.

        Cancellation: all of them have been added, or none.
        """

    async def note(self, files: Iterable[File]) -> None:
        """Remember files that hold no object of the index, and forget what their locations held before.

        Args:
            files: The files.
        """

    async def remove(self, locations: Iterable[str]) -> int:
        """Forget files, and the objects in them. A series, study or patient goes with its last object.

        Args:
            locations: Where the storage had the files.

        Returns:
            How many objects these were.
        """

    def find(self, query: Query, turn: Turn = FREELY) -> AsyncGenerator[Match, None]:
        """Yield the entities at the level of the query that match it.

        The attributes of `models.COMPUTED` are counted. An object that is added or removed meanwhile may be among what
        is counted and found or not.

        Args:
            query: What is asked for.
            turn: Entered for each slice of the work, some milliseconds, and left before anything is yielded.
        """

    def entries(self, query: Query, turn: Turn = FREELY) -> AsyncGenerator[Entry, None]:
        """Yield all objects at and below the entities that the Unique Keys of the query name.

        Args:
            query: What is to be retrieved.
            turn: As in `find`.
        """

    async def lookup(self, sop_instance_uids: Collection[str]) -> dict[str, Entry]:
        """Return the objects that the index has, by SOP Instance UID.

        Args:
            sop_instance_uids: The SOP Instance UIDs that are looked for.
        """

    async def files(self, folder: str) -> dict[str, File]:
        """Return the files of one folder, without those of the folders below, by their locations.

        Args:
            folder: The folder, as `folder_of` gives it.
        """

    async def folders(self) -> list[str]:
        """Return the folders that the files are in; "" is the archive's own."""

    async def duplicates(self, sop_instance_uids: Collection[str]) -> list[File]:
        """Return the files that hold an object of the index once more, in no order.

        Args:
            sop_instance_uids: The SOP Instance UIDs of the objects.
        """

    async def counts(self) -> Counts:
        """Return how much there is."""

    async def oldest_studies(self, limit: int, after: StudyAge | None = None) -> list[StudyAge]:
        """Return so many studies, the oldest first, that come behind one that was returned before.

        Args:
            limit: How many studies at most.
            after: The last one that was returned before; None: begin with the oldest one.
        """

    async def stored_bytes(self) -> int:
        """Return how large the files of all objects are that belong to a study."""

    async def put_transaction(self, transaction: Transaction) -> None:
        """Keep a transaction. It replaces one of the same peer with the same UID.

        Args:
            transaction: The transaction.
        """

    async def transactions(self) -> list[Transaction]:
        """Return the transactions that are kept, the oldest first."""

    async def drop_transaction(self, transaction: Transaction) -> None:
        """Forget a transaction.

        Args:
            transaction: The transaction.
        """

    async def is_complete(self) -> bool:
        """Whether all that the storage held has been read once."""

    async def set_complete(self) -> None:
        """Remember that it has."""

    def process_locks(self) -> ProcessLocks | None:
        """Return new locks that all processes which use this index share; None where it has none."""

    async def close(self) -> None:
        """Give back what the index holds of the system; it is not used afterwards."""
