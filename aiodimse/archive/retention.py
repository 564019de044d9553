"""Removes studies that are too old, or the oldest ones of an archive that is too large."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass
from time import time

from .archive import Archive, in_use_lock
from .clock_record import DAY, CheckedClock, ClockRecord, since_boot
from .index import Entry, Index, StudyAge, TransactionName
from .models import STUDY_ROOT, Level
from .queries import Query
from .threads import in_thread

_log = logging.getLogger(__name__)

_AT_ONCE = 256
"""The number of studies that are read from the index at a time, and of objects that are removed at a time."""
_WHOLE_AGES = 8
"""How often, at most, it is looked whether a study has got a new object while its objects are removed."""
_PAUSE = 7 * DAY
"""The longest time out of use, in seconds, after which the clock is believed at once."""
_NO_CLOCK = 978_307_200 * 10**9
"""2001-01-01 in nanoseconds. A machine that does not know the time is before it, and so is what it writes."""


@dataclass(slots=True)
class Removed:
    """What a sweep removed."""

    studies: int = 0
    """The number of studies."""
    instances: int = 0
    """The number of objects of these studies."""
    bytes: int = 0
    """The size of their files."""


class Retention:
    """Keeps an archive below an age and a size. The age of a study is that of its newest file, or the time since one of
    its objects was received again, or a storage commitment for one was reported, if that is shorter.

    A study is not removed while objects of it are being sent, or while a storage commitment for one of them has not
    been reported, in this process or in another. Objects that belong to no study, such as hanging protocols, are never
    removed.

    A clock that is wrong must not remove everything. The index records how far the system's clock has come. If the
    clock is a week ahead of that when the archive is used again, or more than half of keep_days, or a day ahead while
    the archive is in use, the time that it skipped does not count for the age of a study, until the clock is set back.
    An archive that was not in use for longer than that thus keeps its studies for as much longer. An index without such
    a record, because it is new, has the time of its newest file instead, once the first scan has ended. Files of a time
    before 2001 have no age: a machine wrote them that did not know the time.

    Nothing is removed on its own: await `sweep` from time to time, or run `run`. The attributes keep_days and
    max_bytes may be changed at any time.

    Args:
        archive: The archive.
        keep_days: Days after which a study is removed; None: no study is removed for its age.
        max_bytes: The largest size of all objects that belong to a study together; None: any size.
        now: Returns the time in seconds of the system's clock, which may be set.
        elapsed: Returns the time in seconds of a clock that cannot be set.

    Example:
        ```python
        retention = Retention(archive, keep_days=90, max_bytes=2 * 10**12)
        removed = await retention.sweep()
        ```
    """

    def __init__(
        self,
        archive: Archive,
        *,
        keep_days: float | None = None,
        max_bytes: int | None = None,
        now: Callable[[], float] = time,
        elapsed: Callable[[], float] = since_boot,
    ) -> None:
        self._archive, self._clock = archive, CheckedClock(now, elapsed)
        self.keep_days: float | None = keep_days
        self.max_bytes: int | None = max_bytes

    async def run(self, period: float = 300.0) -> None:
        """Sweep repeatedly until cancelled. A failure is logged, and the next sweep tries again.

        Args:
            period: Seconds between two sweeps.
        """
        while True:
            try:
                removed = await self.sweep()
            except Exception as error:  # database drivers raise errors of their own
                _log.error("old studies could not be removed: %s", type(error).__name__)
            else:
                if removed.studies:  # a warning: who looks for a study later has to find that it was removed
                    _log.warning("studies removed: %d, with %d objects, %d bytes", *astuple(removed))
            await asyncio.sleep(period)

    async def sweep(self) -> Removed:
        """Remove studies that are too old, and then the oldest ones while the archive is too large.

        Returns:
            What was removed; nothing if another process is sweeping.

        Raises:
            OSError: The storage is gone, and nothing was removed; or an object could not be removed. The index has
                forgotten that object, so the next scan will find it again.

        Cancellation: a study may have been removed in part.
        """
        removed = Removed()
        self._clock.read()
        async with self._archive.locks.try_hold("retention") as is_mine:
            if not is_mine or (self.keep_days is None and self.max_bytes is None):
                return removed
            await in_thread(self._archive.storage.check)
            too_much = 0
            if self.max_bytes is not None:
                too_much = await self._archive.index.stored_bytes() - self.max_bytes
            until = await self._until()
            await self._remove_oldest(too_much, until, removed)
            # Before the first scan has ended, a study that is there may not be in the index.
            if removed.studies and await self._archive.index.is_complete():
                await self._archive.index.forget_received()
        return removed

    async def _remove_oldest(self, too_much: int, until: int, removed: Removed) -> None:
        """Remove the oldest studies.

        Args:
            too_much: The size in bytes of what has to be removed.
            until: The time before which a study is removed even if that much has been, in nanoseconds.
            removed: What was removed.
        """
        committed = _Committed(self._archive.index)
        after: StudyAge | None = None
        while studies := await self._archive.index.oldest_studies(_AT_ONCE, after):
            for study in studies:
                if removed.bytes >= too_much:
                    if study.modified >= until:
                        return
                    if study.modified < _NO_CLOCK:
                        continue
                await self._remove(study, committed, removed)
            after = studies[-1]

    async def _until(self) -> int:
        """Return the time before which a study is too old, in nanoseconds; 0: none is."""
        index, now = self._archive.index, self._clock.now
        if self.keep_days is None or now * 1e9 < _NO_CLOCK:
            return 0
        keep = self.keep_days * DAY
        text = await index.clock_record("retention")
        if text is None:
            if not await index.is_complete():  # the newest file may not be read yet
                return 0
            newest = await index.newest_modified() / 1e9
            record = ClockRecord(min(newest or now, now))
        else:
            record = ClockRecord.load(text)
        skipped = record.skipped
        record = self._clock.recorded(record, min(_PAUSE, keep / 2))
        await index.put_clock_record("retention", record.dump())
        for start, end in set(record.skipped) - set(skipped):
            _log.warning(
                "the clock of the system is %d days ahead of when this archive was last in use: they do not count for"
                " the age of studies, unless the clock is wrong and is set back",
                (end - start) / DAY,
            )
        return int(record.before(now, keep) * 1e9)

    async def _remove(self, study: StudyAge, committed: _Committed, removed: Removed) -> None:
        archive, uid = self._archive, study.study_instance_uid
        async with archive.locks.try_hold(in_use_lock(uid)) as is_free:
            if not is_free:
                return
            of_study = Query(STUDY_ROOT, Level.STUDY, unique={Level.STUDY: (uid,)})
            entries = [entry async for entry in archive.index.entries(of_study)]
            if await committed.includes({entry.sop_instance_uid for entry in entries}):
                return
            if not await self._remove_parts(study, entries, removed):
                now = await archive.index.study_age(uid)
                removed.bytes += max(0, study.size - (now.size if now is not None else 0))
                return
        removed.studies += 1
        removed.bytes += study.size

    async def _remove_parts(self, study: StudyAge, entries: list[Entry], removed: Removed) -> bool:
        """Remove the objects of a study, some at a time. Return False, and keep the rest, if the study becomes younger.

        Args:
            study: The study.
            entries: Its objects.
            removed: What was removed.
        """
        # The age of the whole study takes as long as it is large, so it is not read for all of its parts.
        parts = range(0, len(entries), _AT_ONCE)
        every = -(-len(parts) // _WHOLE_AGES)
        for number, start in enumerate(parts):
            uids = [entry.sop_instance_uid for entry in entries[start : start + _AT_ONCE]]
            async with self._archive.locks.hold(uids):
                # Objects were acknowledged under these locks, perhaps since the study was chosen.
                known = await self._archive.index.lookup(uids)
                if await self._came_again(study, known.values()):
                    return False
                if number % every == 0 and await self._has_newer(study):
                    return False
                removed.instances += await self._remove_objects(uids, known.values())
        return True

    async def _came_again(self, study: StudyAge, entries: Iterable[Entry]) -> bool:
        """Return whether one of some objects of a study was received since the study was chosen."""
        locations = [entry.location for entry in entries]
        return await self._archive.index.last_received(study.study_instance_uid, locations) > study.modified

    async def _has_newer(self, study: StudyAge) -> bool:
        """Return whether any object of a study, even a new one, was received since the study was chosen."""
        now = await self._archive.index.study_age(study.study_instance_uid)
        return now is not None and now.modified > study.modified

    async def _remove_objects(self, sop_instance_uids: list[str], entries: Iterable[Entry]) -> int:
        """Remove objects from the index and the storage, under their locks.

        Args:
            sop_instance_uids: The SOP Instance UIDs of the objects.
            entries: Those of them that the index has.

        Returns:
            The number of objects that the index had.
        """
        index = self._archive.index
        duplicates = await index.duplicates(sop_instance_uids)
        # A file with the same object would bring it back at the next scan.
        locations = [*(entry.location for entry in entries), *(file.location for file in duplicates)]
        # Rows are removed first: an object without a row can be found again, a row without an object is an error.
        number = await index.remove(locations)
        await in_thread(self._remove_files, locations)
        return number

    def _remove_files(self, locations: list[str]) -> None:
        """Remove all files that can be removed. Blocks."""
        failed: OSError | None = None
        for location in locations:
            try:
                self._archive.storage.remove(location)
            except OSError as error:
                failed = failed or error
        if failed is not None:
            raise failed


class _Committed:
    """The instances for which a commitment is still to be reported. Each transaction is read once in a sweep.

    Args:
        index: The index that has the transactions.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self._instances: dict[TransactionName, frozenset[str]] = {}

    async def includes(self, sop_instance_uids: set[str]) -> bool:
        """Return whether any of these instances is among them now."""
        for name in await self._index.transactions():
            if name not in self._instances:
                transaction = await self._index.transaction(name)
                references = transaction.references if transaction is not None else ()
                self._instances[name] = frozenset(uid for _, uid in references)
            if not self._instances[name].isdisjoint(sop_instance_uids):
                return True
        return False
