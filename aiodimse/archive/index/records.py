"""What goes into an index, and what comes out of it: headers, entries, files, matches. All text is decoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from ..matching import Attributes, Value
from ..models import LEVEL_OF, UNIQUE, Level

LONGEST_LOCATION: Final = 1280
"""The longest location in bytes of a file that is indexed: PostgreSQL cannot look up a text of more than 2,704 bytes,
and a name that is not text in UTF-8 takes two for each of its own."""

CharacterSet = tuple[str, ...]
"""The values of Specific Character Set (0008,0005); () is the default repertoire."""


@dataclass(slots=True)
class Header:
    """What an index keeps of one object.

    It is not changed, but not frozen either, since two are made for every object that is stored: a frozen one takes
    four times as long to make.
    """

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


@dataclass(slots=True)
class File:
    """One file that was read. The next scan need not read it again. It is not frozen for the reason of `Header`."""

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
    """When the newest of its files was written, or the study was last received, in nanoseconds."""
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

    def has_room(self, titles: Sequence[str], most: float, most_of_peer: float) -> bool:
        """Return whether this one may be stored, too.

        Args:
            titles: The AE titles of the peers of all stored transactions.
            most: The largest number of transactions, with this one.
            most_of_peer: The largest number of those of one peer.
        """
        return len(titles) < most and titles.count(self.calling_ae_title) < most_of_peer


@dataclass(frozen=True, slots=True)
class CarriedOver:
    """What a new index takes from one that cannot be used, since it cannot be read from the objects again."""

    transactions: tuple[Transaction, ...] = ()
    """Storage commitments that were not yet reported."""
    received: Mapping[str, int] = field(default_factory=dict, repr=False)
    """When studies were received again, in nanoseconds, by Study Instance UID."""


def folder_of(location: str) -> str:
    """Return the folder of a location; "" is the archive's own folder."""
    return location.rpartition("/")[0]
