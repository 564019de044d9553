"""Takes in what a C-STORE brings: it is saved and indexed, and never replaces another instance."""

from __future__ import annotations

import asyncio
import errno
import logging
from concurrent.futures import Future
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from typing import Literal, TypeAlias

from pydicom import Dataset

import aiodimse

from .availability import Availability, Seldom
from .batches import Batches
from .header import NotAnObject, header_in
from .index import BlockingIndex, Entry, Header, Index
from .locks import Locks
from .one_level import BY_STORAGE
from .room import Room
from .storage import Arrived, Stamp, Storage, StorageGone

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
        availability: Is told whether the index answers.
        duplicates: "keep" keeps the first data set of an instance, "replace" the last whose header can be read.
    """

    def __init__(
        self,
        storage: Storage,
        index: Index,
        locks: Locks,
        availability: Availability,
        duplicates: Duplicates = "keep",
    ) -> None:
        self.room: Room = Room(storage)
        self._storage, self._index, self._locks = storage, index, locks
        self._replaces = duplicates == "replace"
        # Where a data set may be replaced, the place that it has is known before it is written.
        self._blocking = None if self._replaces else index.blocking()
        self._availability = availability
        self._is_time_to_say_gone, self._is_time_to_say_full = Seldom(), Seldom()
        self._batches = Batches(availability.watched(index.add, 0xA700))
        self._lookups = Batches(availability.watched(index.lookup, 0xA700))

    async def store(self, request: aiodimse.StoreRequest, *, durable: bool = True) -> int | Dataset:
        """Save and index the instance of a C-STORE request.

        Args:
            request: The request.
            durable: It is on the disk before this returns.

        Returns:
            0000; B007 where it is kept and cannot be found.

        Raises:
            aiodimse.DIMSEFailure: A700 where there is no room for it or the index does not answer, A900 where it is
                another instance than the one that has its UID.

        Cancellation: what was saved before stays, and is found by the next scan at the latest.
        """
        log = request.logger(_log)
        if not await self.room.is_enough():
            raise aiodimse.DIMSEFailure(0xA700, "not enough room on the disk")
        async with AsyncExitStack() as held:
            with self._availability.locking(0xA700):
                await held.enter_async_context(self._locks.hold([request.sop_instance_uid]))
            try:
                return await self._store(request, durable=durable)
            except _Kept as kept:
                if kept.unknown is not None:
                    # Whoever saved it died, or the index did, before the index had it. Nobody would find it.
                    await self._batches.add(kept.unknown)
                return 0x0000
            except StorageGone:
                if self._is_time_to_say_gone():
                    log.error("a C-STORE is refused: the folder of the archive is not the one that was opened")
                raise aiodimse.DIMSEFailure(0xA700, "the storage is not there") from None
            except OSError as error:
                if error.errno not in FULL:
                    raise
                if self._is_time_to_say_full():
                    log.error("a C-STORE is refused: the disk is full (%s)", errno.errorcode[error.errno])
                raise aiodimse.DIMSEFailure(0xA700, "disk full") from None

    async def _store(self, request: aiodimse.StoreRequest, *, durable: bool) -> int | Dataset:
        uid = request.sop_instance_uid
        before = None if self._blocking else (await self._lookups.add(uid)).get(uid)
        location = self._storage.location_for(uid) if before is None else before.location
        blocking, replaces = self._blocking, self._replaces
        arriving = _Arriving(self._storage, blocking, self._availability, request, location, before, replaces)
        await self._storage.save(request, location, arriving.decide, arriving.keep, durable=durable)
        if arriving.header is not None:
            await self._indexed(arriving.header, arriving.indexed)
            if arriving.header.is_partial:
                request.logger(_log).warning("a stored object is not indexed in full: its header is large or damaged")
            return 0x0000
        request.logger(_log).warning("a stored object cannot be found: %s", arriving.why)
        status = Dataset()
        status.Status = 0xB007  # Data Set does not match SOP Class, PS3.4 B.2.3
        status.ErrorComment = arriving.comment[:64]
        return status

    async def _indexed(self, header: Header, done: Future[None] | None) -> None:
        """Return when the index has it."""
        if done is None:
            await self._batches.add(header)
            return
        with self._availability.asked(0xA700):
            if done.done():
                done.result()
            else:
                await asyncio.wrap_future(done)


class _Arriving:
    """What has arrived, what is there already, and whether the one gets the place of the other.

    Args:
        storage: Where it is saved.
        blocking: Asked and told in the thread that saves; None: the event loop does so, before and after.
        availability: Is told whether the index answers.
        request: What brings it.
        location: Where it is saved.
        before: What the index has under its UID, where the event loop has asked.
        replaces: Whether it takes the place of the same instance.
    """

    def __init__(
        self,
        storage: Storage,
        blocking: BlockingIndex | None,
        availability: Availability,
        request: aiodimse.StoreRequest,
        location: str,
        before: Entry | None,
        replaces: bool,
    ) -> None:
        self._storage, self._blocking, self._request, self._location = storage, blocking, request, location
        self._availability, self._before, self._replaces = availability, before, replaces
        self.header: Header | None = None
        self.why = self.comment = ""
        """Why it has no header, in words for the log and for the peer."""
        self.indexed: Future[None] | None = None
        """Done when the index has it; None where the event loop is to tell the index."""

    def decide(self, arrived: Arrived) -> None:
        """Read its header, and say whether it gets its name. It blocks."""
        self._storage.check()
        self._read(arrived)
        before = self._before
        if self._blocking is not None:
            with self._availability.asked(0xA700):
                before = self._blocking.lookup(self._request.sop_instance_uid)
        where = self._location
        if before is not None and before.location != where:
            # It was saved by somebody else, or by an earlier version of this program.
            where, before = (where, None) if self._storage.stamp(before.location) is None else (before.location, before)
        if self._storage.stamp(where) is not None:
            self._refuse(where, before)
        if self.header is None and self._request.sop_class_uid in BY_STORAGE:
            # PS3.4 GG.4.2 has no Warning to say that it is kept and cannot be found.
            raise aiodimse.DIMSEFailure(0xC000, "its header cannot be read")

    def _read(self, arrived: Arrived) -> None:
        try:
            self.header = header_in(arrived.beginning, arrived.transfer_syntax, self._location, more=arrived.more)
        except NotAnObject as error:
            self.why, self.comment = type(error).__name__, f"stored, but it cannot be found: {error}"
        except Exception as error:
            # The text of an error about a damaged header may quote values, so only its type is given.
            self.why, self.comment = type(error).__name__, "stored, but its header cannot be read"

    def _refuse(self, where: str, before: Entry | None) -> None:
        """Raise unless it takes the place of what is there."""
        if self.header is None:
            raise aiodimse.DIMSEFailure(0xA900, "its header cannot be read, and an instance has this UID")
        unknown = None
        if before is None:
            # The index does not know a file of this name, so the file is read.
            with suppress(Exception):
                unknown = self._storage.read(where)
                before = unknown.entry
        if before is None or not self.header.entry.is_same_instance(before):
            raise aiodimse.DIMSEFailure(0xA900, "another instance has this SOP Instance UID")
        if not self._replaces:
            raise _Kept(unknown)

    def keep(self, stamp: Stamp) -> None:
        """It has its name: tell the index. It blocks."""
        if self.header is not None:
            self.header = replace(self.header, size=stamp.size, modified=stamp.modified)
            if self._blocking is not None:
                self.indexed = self._blocking.add(self.header)
