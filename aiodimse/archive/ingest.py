"""Takes in what a C-STORE brings: it is saved and indexed, and never replaces another instance."""

from __future__ import annotations

import errno
import logging
from dataclasses import replace
from typing import Literal, TypeAlias

from pydicom import Dataset

import aiodimse

from .batches import Batches
from .header import NotAnObject, header_in
from .index import Entry, Header, Index
from .locks import Locks
from .one_level import BY_STORAGE
from .room import Room
from .storage import Arrived, Storage, StorageGone

_log = logging.getLogger(__name__)

Duplicates: TypeAlias = Literal["keep", "replace"]
"""What happens to the same instance again: the first one is kept, or the last one."""

FULL = (errno.ENOSPC, errno.EDQUOT)


class _Kept(Exception):
    """The instance is there already; what came is not needed.

    Args:
        unknown: The header of the object that is there, where the index does not know it.
    """

    def __init__(self, unknown: Header | None = None) -> None:
        self.unknown = unknown
        super().__init__()


class Ingest:
    """Takes instances into a storage and its index.

    Args:
        storage: Where they are saved.
        index: What is told of them.
        locks: Held by SOP Instance UID from the first byte until the index knows the object.
        duplicates: "keep" keeps the first data set of an instance, "replace" the last whose header can be read.
    """

    def __init__(self, storage: Storage, index: Index, locks: Locks, duplicates: Duplicates = "keep") -> None:
        self.room: Room = Room(storage)
        self._storage, self._index, self._locks = storage, index, locks
        self._replaces = duplicates == "replace"
        self._batches = Batches(index.add)
        self._lookups = Batches(index.lookup)

    async def store(self, request: aiodimse.StoreRequest, *, durable: bool = True) -> int | Dataset:
        """Save and index the instance of a C-STORE request.

        Args:
            request: The request.
            durable: It is on the disk before this returns.

        Returns:
            0000; B007 where it is kept and cannot be found.

        Raises:
            aiodimse.DIMSEFailure: A700 where there is no room for it, A900 where it is another instance than the one
                that has its UID.

        Cancellation: what was saved before stays, and is found by the next scan at the latest.
        """
        log = request.logger(_log)
        if not await self.room.is_enough():
            raise aiodimse.DIMSEFailure(0xA700, "not enough room on the disk")
        async with self._locks.hold([request.sop_instance_uid]):
            try:
                return await self._store(request, durable=durable)
            except _Kept as kept:
                if kept.unknown is not None:
                    # Whoever saved it died, or the index did, before the index had it. Nobody would find it.
                    await self._batches.add(kept.unknown)
                return 0x0000
            except StorageGone:
                log.error("a C-STORE is refused: the folder of the archive is not the one that was opened")
                raise aiodimse.DIMSEFailure(0xA700, "the storage is not there") from None
            except OSError as error:
                if error.errno not in FULL:
                    raise
                log.error("a C-STORE is refused: the disk is full (%s)", errno.errorcode[error.errno])
                raise aiodimse.DIMSEFailure(0xA700, "disk full") from None

    async def _store(self, request: aiodimse.StoreRequest, *, durable: bool) -> int | Dataset:
        uid = request.sop_instance_uid
        before = (await self._lookups.add(uid)).get(uid)
        location = self._storage.location_for(uid) if before is None else before.location
        arrived = _Candidate(self._storage, location)

        def decide(what: Arrived) -> None:
            arrived.read(what)
            self._check(arrived, before)
            if arrived.header is None and request.sop_class_uid in BY_STORAGE:
                # PS3.4 GG.4.2 has no Warning to say that it is kept and cannot be found.
                raise aiodimse.DIMSEFailure(0xC000, "its header cannot be read")

        stamp = await self._storage.save(request, location, decide, durable=durable)
        if arrived.header is not None:
            await self._batches.add(replace(arrived.header, size=stamp.size, modified=stamp.modified))
            if arrived.header.is_partial:
                request.logger(_log).warning("a stored object is not indexed in full: its header is large or damaged")
            return 0x0000
        request.logger(_log).warning("a stored object cannot be found: %s", arrived.why)
        status = Dataset()
        status.Status = 0xB007  # Data Set does not match SOP Class, PS3.4 B.2.3
        status.ErrorComment = arrived.comment[:64]
        return status

    def _check(self, arrived: _Candidate, before: Entry | None) -> None:
        """Say whether what has arrived gets its name."""
        if arrived.is_taken_from is None:
            return
        if arrived.header is None:
            raise aiodimse.DIMSEFailure(0xA900, "its header cannot be read, and an instance has this UID")
        unknown = None
        if before is None and isinstance(arrived.is_taken_from, Header):
            # The index does not know a file of this name, so the file is read.
            unknown = arrived.is_taken_from
            before = unknown.entry
        if before is None or not arrived.header.entry.is_same_instance(before):
            raise aiodimse.DIMSEFailure(0xA900, "another instance has this SOP Instance UID")
        if not self._replaces:
            raise _Kept(unknown)


class _Candidate:
    """What has arrived, and what is there already."""

    def __init__(self, storage: Storage, location: str) -> None:
        self._storage, self._location = storage, location
        self.header: Header | None = None
        self.why = self.comment = ""
        """Why it has no header, in words for the log and for the peer."""
        self.is_taken_from: Header | Exception | None = None
        """What the location holds; None if there is nothing."""

    def read(self, arrived: Arrived) -> None:
        """Read the header of what has arrived, and of what is there. It blocks."""
        self._storage.check()
        try:
            self.header = header_in(arrived.beginning, arrived.transfer_syntax, self._location, more=arrived.more)
        except NotAnObject as error:
            self.why, self.comment = type(error).__name__, f"stored, but it cannot be found: {error}"
        except Exception as error:
            # The text of an error about a damaged header may quote values, so only its type is given.
            self.why, self.comment = type(error).__name__, "stored, but its header cannot be read"
        if self._storage.stamp(self._location) is not None:
            try:
                self.is_taken_from = self._storage.read(self._location)
            except Exception as error:
                self.is_taken_from = error
