"""What an archive asks of the place that it keeps its objects in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import aiodimse

from ..index import Entry, Header


class Stamp(NamedTuple):
    """Size and time of a file: as long as they stay, what was read of it stands."""

    size: int
    modified: int
    """In nanoseconds."""


@dataclass(slots=True)
class Found:
    """One folder of the storage, and what is in it."""

    folder: str = field(repr=False)
    files: dict[str, Stamp] = field(default_factory=dict, repr=False)
    """By location, in the order of their names."""
    unreadable: int = 0
    """Files and folders in it that the system does not let us look at."""


class Storage(Protocol):
    """A place for objects. The synchronous methods block, and are called in a thread."""

    async def open(self) -> None:
        """Look whether it is there, and remove what a killed process left unfinished.

        Raises:
            OSError: It is not there, or may not be read.
        """

    def walk(self) -> Iterator[Found]:
        """Yield all folders. Blocks."""

    def read(self, location: str) -> Header:
        """Read the header of one object; raises as `header.read_header` does. Blocks."""

    def stamp(self, location: str) -> Stamp | None:
        """Return the stamp that a location has now; None where there is nothing. Blocks."""

    def payload(self, entry: Entry) -> aiodimse.InstanceSource:
        """Return what a C-GET or C-MOVE handler yields to send this object."""

    def is_named_after(self, location: str, sop_instance_uid: str) -> bool:
        """Whether a C-STORE of this instance would have this location."""
