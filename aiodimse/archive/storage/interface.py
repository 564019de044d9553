"""What an archive asks of the place that it keeps its objects in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol, TypeAlias

import aiodimse

from ..elements import More
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
    has_unfinished: bool = False
    """Something in it looks like a file that was not written to its end."""


class StorageGone(OSError):
    """The storage is not the one that was opened: its disk is not mounted any more, for instance."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """What came by C-STORE and has no name yet."""

    beginning: bytes = field(repr=False)
    """The first bytes of the data set, as they are encoded."""
    transfer_syntax: str
    more: More | None = field(default=None, repr=False)
    """Asked for what is behind them; None where they are all, or the rest cannot be read any more. Blocks."""


Decide: TypeAlias = Callable[[Arrived], None]
"""Asked before what arrived gets its name, in a thread; an exception refuses it."""


class Storage(Protocol):
    """A place for objects. The synchronous methods block, and are called in a thread."""

    async def open(self) -> None:
        """Look whether it is there, and remove what a killed process left unfinished.

        Raises:
            OSError: It is not there, or may not be read.
        """

    def walk(self) -> Iterator[Found]:
        """Yield all folders. Blocks."""

    async def tidy(self, folder: str) -> None:
        """Remove what a killed process left unfinished in a folder."""

    def read(self, location: str) -> Header:
        """Read the header of one object; raises as `header.read_header` does. Blocks."""

    def stamp(self, location: str) -> Stamp | None:
        """Return the stamp that a location has now; None where there is nothing. Blocks."""

    def check(self) -> None:
        """Look whether this is still the storage that was opened. Blocks.

        Raises:
            StorageGone: It is not.
        """

    def free_bytes(self) -> int | None:
        """Return how many bytes there is room for; None where nobody knows. Blocks."""

    def remove(self, location: str) -> None:
        """Remove one object, if it is there. Blocks.

        Raises:
            OSError: It cannot be removed.
        """

    def location_for(self, sop_instance_uid: str) -> str:
        """Return where a new instance goes."""

    async def save(self, request: aiodimse.StoreRequest, location: str, decide: Decide, *, durable: bool) -> Stamp:
        """Save what a C-STORE brings; it has the location once `decide` has returned.

        Returns:
            Its stamp there.

        Raises:
            Exception: As `decide` raises it; nothing is left then.
            OSError: It cannot be written.
        """

    def payload(self, entry: Entry) -> aiodimse.InstanceSource:
        """Return what a C-GET or C-MOVE handler yields to send this object."""

    def is_named_after(self, location: str, sop_instance_uid: str) -> bool:
        """Whether a C-STORE of this instance would have this location."""
