"""What an archive needs from the storage of its objects."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple, Protocol

import aiodimse

from ..elements import MAX_ELEMENTS, More
from ..index import Entry, Header


class Stamp(NamedTuple):
    """Size and time of a file. While they stay the same, the file need not be read again."""

    size: int
    modified: int
    """When the file was last written, in nanoseconds."""


@dataclass(slots=True)
class Found:
    """One folder of the storage, and its content."""

    folder: str = field(repr=False)
    files: dict[str, Stamp] = field(default_factory=dict, repr=False)
    """The stamps of its files by location, in the order of their names."""
    unreadable: int = 0
    """The number of files and folders in it that cannot be read."""
    has_unfinished: bool = False
    """Whether one of its files looks like one that was not completely written."""


class StorageGone(OSError):
    """The storage is not the one that was opened: for example, its disk is no longer mounted."""


class StorageAway(OSError):
    """The storage does not answer, or not in time: for example, the server of a bucket is down."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """An object that arrived by C-STORE and does not have its location yet."""

    beginning: bytes = field(repr=False)
    """The first bytes of the encoded data set."""
    transfer_syntax: str
    more: More | None = field(default=None, repr=False)
    """Returns bytes after the beginning. None: there are none, or they can no longer be read. Blocks."""
    is_whole: Callable[[], bool] = field(default=lambda: True, repr=False)
    """Returns False if the data set is known to be cut off (see `is_whole`). Blocks."""
    is_at: Callable[[str], bool] = field(default=lambda _: False, repr=False)
    """Returns whether a location has the same data set, byte for byte, in the same transfer syntax. It is asked only of
    an object whose header cannot be read. Blocks."""


class Arriving(Protocol):
    """Who is told of an object while it is saved. All methods are called in a thread, and may block."""

    def decide(self, arrived: Arrived) -> None:
        """Called before the object gets its location. An exception refuses the object."""

    def keep(self, stamp: Stamp) -> None:
        """Called when the object has its location and, if it has to be durable, is on the disk."""

    def write(self) -> None:
        """Called after `keep` of all objects that are saved together."""


def is_whole(file: str | os.PathLike[str] | BinaryIO) -> bool:
    """Return whether a DICOM file is complete to its end, as far as lengths tell. Blocks.

    Args:
        file: Its path, or the open file.

    Returns:
        False if it is known to be cut off, or is no DICOM file. A file with more elements than a header may have counts
        as whole: the threads that save objects would look at it for a second.

    Raises:
        OSError: It cannot be read.
    """
    try:
        return aiodimse.is_whole_file(file, max_steps=MAX_ELEMENTS, if_unknown=True)
    except aiodimse.NotDICOM:
        return False


class Storage(Protocol):
    """A place for objects. The synchronous methods block, and are called in a thread."""

    async def open(self) -> None:
        """Check that the storage is there, and remove what a killed process left unfinished.

        Raises:
            OSError: The storage is not there, or may not be read.
        """

    def walk(self) -> Iterator[Found]:
        """Yield all folders. Blocks."""

    async def tidy(self, folder: str) -> None:
        """Remove what a killed process left unfinished in a folder."""

    def read(self, location: str) -> Header:
        """Read the header of one object. Raises what `header.read_header` raises. Blocks."""

    def is_whole(self, location: str) -> bool:
        """Return whether the data set of an object is complete to its end, unless it is known to be cut off. Blocks.

        Raises:
            OSError: The object cannot be read.
        """

    def stamp(self, location: str) -> Stamp | None:
        """Return the present stamp of a location; None: it holds nothing. Blocks.

        Raises:
            OSError: The storage does not say whether it holds something.
        """

    def check(self) -> None:
        """Check that this is still the storage that was opened. Blocks.

        Raises:
            StorageGone: It is another one, or none.
        """

    def free_bytes(self) -> int | None:
        """Return the number of free bytes; None: it is not known. Blocks."""

    def remove(self, location: str) -> None:
        """Remove one object if it is there. Blocks.

        Raises:
            OSError: It cannot be removed.
        """

    def location_for(self, sop_instance_uid: str) -> str:
        """Return the location of a new instance."""

    async def save(self, request: aiodimse.StoreRequest, location: str, arriving: Arriving, *, durable: bool) -> None:
        """Save the object of a C-STORE.

        Args:
            request: The request.
            location: Its location.
            arriving: Who decides whether the object gets the location, and is told when it has it.
            durable: Whether it has to be on the disk.

        Raises:
            Exception: What `arriving.decide` raises. Nothing is saved then.
            StorageGone: The storage is not the one that was opened.
            StorageAway: The storage does not answer.
            OSError: It cannot be written.
        """

    def payload(self, entry: Entry) -> aiodimse.InstanceSource:
        """Return what a C-GET or C-MOVE handler yields in order to send this object."""

    def is_named_after(self, location: str, sop_instance_uid: str) -> bool:
        """Return whether a C-STORE of this instance would use this location."""
