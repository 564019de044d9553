"""Stores the instances of C-STORE requests: saves and indexes them, and never replaces another instance."""

from __future__ import annotations

import asyncio
import errno
import logging
from concurrent.futures import Future
from contextlib import AbstractContextManager, suppress
from typing import Literal, TypeAlias

from pydicom import Dataset

import aiodimse

from .availability import Availability, Seldom
from .batches import Batches
from .header import NotAnObject, header_in
from .index import BlockingIndex, Entry, Header, Index, ObjectRefused
from .locks import Locks
from .one_level import BY_STORAGE
from .received import Received
from .room import Room
from .storage import Arrived, Stamp, Storage, StorageAway, StorageGone

_log = logging.getLogger(__name__)

Duplicates: TypeAlias = Literal["keep", "replace"]
"""Whether the first or the last data set is kept when the same instance comes again."""

FULL = (errno.ENOSPC, errno.EDQUOT)
READ_ONLY = (errno.EROFS, errno.EACCES, errno.EPERM)


class _AlreadyStored(Exception):
    """The instance is already stored, and the new data set is not needed.

    Args:
        study: The Study Instance UID of the stored object, and when its file was written, in nanoseconds. None: it
            cannot be found, since its header cannot be read.
        unknown: The header of the stored object, if the index does not know it.
    """

    def __init__(self, study: tuple[str, int] | None, unknown: Header | None = None) -> None:
        self.study, self.unknown = study, unknown
        super().__init__()


class Ingest:
    """Stores instances in a storage and its index.

    Args:
        storage: The storage of the objects.
        index: The index of the objects.
        locks: Locks by SOP Instance UID, from the first byte until the index has the object.
        availability: Records whether the index answers.
        received: Notes that objects are acknowledged which are stored already.
        duplicates: "keep" keeps the first data set of an instance, "replace" the last whose header can be read.
    """

    def __init__(
        self,
        storage: Storage,
        index: Index,
        locks: Locks,
        availability: Availability,
        received: Received,
        duplicates: Duplicates = "keep",
    ) -> None:
        self.room: Room = Room(storage)
        self._storage, self._index, self._locks = storage, index, locks
        self._replaces = duplicates == "replace"
        # If a data set may be replaced, its location has to be known before it is written.
        self._blocking = None if self._replaces else index.blocking()
        self._availability, self._received = availability, received
        self._locking, self._asking = availability.locking(0xA700), availability.asked(0xA700)
        self._adding = availability.asked(0xA700, ObjectRefused)
        self._is_time_to_say_gone = Seldom()
        self._batches = Batches(index.add, ObjectRefused)
        self._lookups = Batches(index.lookup)

    async def store(self, request: aiodimse.StoreRequest, *, durable: bool = True) -> int | Dataset:
        """Save and index the instance of a C-STORE request.

        Args:
            request: The request.
            durable: Whether it is on disk before this returns.

        Returns:
            0000, or B007 if the instance is stored but cannot be found.

        Raises:
            aiodimse.DIMSEFailure: A700 if there is no room, or the storage or the index does not answer. A900 if
                another instance has this UID. C000 if the instance cannot be found, and its SOP class has no Warning.

        Cancellation: an instance that is already saved stays; the next scan finds it at the latest.
        """
        if not await self.room.is_enough():
            raise aiodimse.DIMSEFailure(0xA700, "not enough room on the disk")
        async with self._locks.hold([request.sop_instance_uid], self._locking):
            try:
                return await self._store(request, durable=durable)
            except ObjectRefused as error:
                request.logger(_log).warning("a stored object cannot be found: %s", type(error).__name__)
                if request.sop_class_uid in BY_STORAGE:  # PS3.4 GG.4.2 has no Warning
                    raise aiodimse.DIMSEFailure(0xC000, "the index does not take it") from None
                return _cannot_be_found("stored, but the index does not take it")
            except StorageGone:
                if self._is_time_to_say_gone():
                    request.logger(_log).error(
                        "a C-STORE is refused: the folder of the archive is not the one that was opened"
                    )
                raise aiodimse.DIMSEFailure(0xA700, "the storage is not there") from None
            except StorageAway as error:
                self._availability.storage_is_away(str(error.strerror))
                raise aiodimse.DIMSEFailure(0xA700, "the storage does not answer") from None
            except OSError as error:
                if error.errno in FULL:
                    self._availability.disk_is_full(errno.errorcode[error.errno])
                    raise aiodimse.DIMSEFailure(0xA700, "disk full") from None
                if error.errno in READ_ONLY:
                    self._availability.disk_is_read_only(errno.errorcode[error.errno])
                    raise aiodimse.DIMSEFailure(0xA700, "the storage cannot be written to") from None
                raise

    async def _store(self, request: aiodimse.StoreRequest, *, durable: bool) -> int | Dataset:
        uid = request.sop_instance_uid
        before = None
        if self._blocking is None:
            with self._asking:
                before = (await self._lookups.add(uid)).get(uid)
        location = self._storage.location_for(uid) if before is None else before.location
        blocking, replaces = self._blocking, self._replaces
        arriving = _Arriving(self._storage, blocking, self._asking, request, location, before, replaces)
        try:
            await self._storage.save(request, location, arriving, durable=durable)
        except _AlreadyStored as stored:
            if stored.unknown is not None:
                # The process or the index died before the index had the object, so no query would find it.
                await self._found(request, stored.unknown, None)
            if stored.study is not None:
                with self._asking:
                    await self._received.again([stored.study])
                return 0x0000
        if arriving.header is not None:
            await self._found(request, arriving.header, arriving.indexed)
            return 0x0000
        request.logger(_log).warning("a stored object cannot be found: %s", arriving.why)
        return _cannot_be_found(arriving.comment)

    async def _found(self, request: aiodimse.StoreRequest, header: Header, done: Future[None] | None) -> None:
        """Return when queries find the object."""
        await self._indexed(header, done)
        if header.is_partial:
            request.logger(_log).warning("a stored object is not indexed in full: its header is large or damaged")

    async def _indexed(self, header: Header, done: Future[None] | None) -> None:
        """Return when the index has the object."""
        if done is None:
            with self._adding:
                await self._batches.add(header)
            return
        with self._asking:
            if done.done():  # as a rule: to wait for it all the same would take a turn of the event loop, and 0.1 ms
                done.result()
            else:
                await asyncio.wrap_future(done)


def _cannot_be_found(comment: str) -> Dataset:
    """Return the response for an instance that is stored and not in the index."""
    status = Dataset()
    status.Status = 0xB007  # Data Set does not match SOP Class, PS3.4 B.2.3
    status.ErrorComment = comment[:64]
    return status


class _Arriving:
    """An instance that is arriving, and the check whether it may replace a stored one.

    Args:
        storage: The storage that saves it.
        blocking: The index, used in the thread that saves; None: the event loop uses the index, before and after.
        asking: Entered while it asks the index.
        request: The C-STORE request.
        location: Where it is saved.
        before: The entry of the index for its UID, if the event loop has looked it up.
        replaces: Whether it replaces the same instance.
    """

    def __init__(
        self,
        storage: Storage,
        blocking: BlockingIndex | None,
        asking: AbstractContextManager[None],
        request: aiodimse.StoreRequest,
        location: str,
        before: Entry | None,
        replaces: bool,
    ) -> None:
        self._storage, self._blocking, self._request, self._location = storage, blocking, request, location
        self._asking, self._before, self._replaces = asking, before, replaces
        self.header: Header | None = None
        self.why = self.comment = ""
        """Why it has no header, for the log and for the peer."""
        self.indexed: Future[None] | None = None
        """Done when the index has the object; None if the event loop has to add it."""

    def decide(self, arrived: Arrived) -> None:
        """Read its header, and raise unless the file may get its name. It blocks."""
        self._storage.check()
        self._read(arrived)
        if self.header is None and self._request.sop_class_uid in BY_STORAGE:
            # PS3.4 GG.4.2 has no Warning for an object that is stored but cannot be found.
            raise aiodimse.DIMSEFailure(0xC000, "its header cannot be read")
        before = self._before
        if self._blocking is not None:
            with self._asking:
                before = self._blocking.lookup(self._request.sop_instance_uid)
        where = self._location
        if before is not None and before.location != where:
            # Another process, or an earlier version of this program, saved it elsewhere.
            where, before = (where, None) if self._storage.stamp(before.location) is None else (before.location, before)
        if (stamp := self._storage.stamp(where)) is not None:
            self._refuse(where, stamp, before, arrived)

    def _read(self, arrived: Arrived) -> None:
        try:
            self.header = header_in(arrived.beginning, arrived.transfer_syntax, self._location, more=arrived.more)
        except NotAnObject as error:
            self.why, self.comment = str(error), f"stored, but it cannot be found: {error}"
        except Exception as error:
            # The text of an error about a damaged header may quote values, so only its type is given.
            self.why, self.comment = type(error).__name__, "stored, but its header cannot be read"

    def _refuse(self, where: str, stamp: Stamp, before: Entry | None, arrived: Arrived) -> None:
        """Raise unless it may replace the stored object."""
        if self.header is None:
            if not arrived.is_at(where):
                raise aiodimse.DIMSEFailure(0xA900, "another object has this UID; the header of this one is unread")
            raise _AlreadyStored(None if before is None else (before.study_instance_uid, stamp.modified))
        unknown = None
        if before is None:
            # The index does not know a file of this name, so read the file.
            with suppress(Exception):
                unknown = self._storage.read(where)
                before = unknown.entry
        if before is None or not self.header.entry.is_same_instance(before):
            raise aiodimse.DIMSEFailure(0xA900, "another instance has this SOP Instance UID")
        if self._replaces:
            if not arrived.is_whole():
                raise aiodimse.DIMSEFailure(0xA900, "its data set is cut off, and the instance is stored")
        elif self._storage.is_whole(where) or not arrived.is_whole():
            raise _AlreadyStored((before.study_instance_uid, stamp.modified), unknown)
        elif where != self._storage.location_for(self._request.sop_instance_uid):
            raise aiodimse.DIMSEFailure(0xA900, "a file of this instance that is not ours is cut off")

    def keep(self, stamp: Stamp) -> None:
        """Add the object to the index, since its file has its name. It blocks."""
        if self.header is not None:
            self.header = self.header.stamped(stamp.size, stamp.modified)
            if self._blocking is not None:
                self.indexed = self._blocking.add(self.header)

    def write(self) -> None:
        """Write to the index what has been added for all objects that are saved together. It blocks."""
        if self._blocking is not None:
            self._blocking.write()
