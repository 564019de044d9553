"""Brings the index into agreement with the storage: reads new and changed files, and forgets those that are gone."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from time import monotonic
from typing import TypeAlias

import aiodimse

from .batches import in_pieces
from .header import NotAnObject
from .index import LONGEST_LOCATION, Entry, File, Finding, Header, Index, ObjectRefused
from .locks import Locks
from .models import STUDY_ROOT, Level
from .queries import Query
from .storage import Found, Stamp, Storage
from .threads import in_thread

_AT_ONCE = 0.1
"""How long files are read before they are indexed, in seconds."""
_UIDS_AT_ONCE = 256
_NOT_KNOWN = Stamp(-1, -1)
"""The stamp of a file of which the storage does not say whether it is there: it is neither indexed nor forgotten."""


@dataclass(slots=True)
class ScanReport:
    """What a scan has found so far."""

    files: int = 0
    """Files, and folders that could not be read: the sum of the next six counts."""
    indexed: int = 0
    """Objects that can be found."""
    duplicates: int = 0
    """Files with an object that another file also contains."""
    not_dicom: int = 0
    """Files without a DICOM Part 10 header."""
    not_objects: int = 0
    """DICOM files without the UIDs of an object, of its series or of its study."""
    damaged: int = 0
    """DICOM files whose header could not be read, or is such that the index cannot have it."""
    unreadable: int = 0
    """Files and folders that the system did not let us read, and files with too long a path: see `LONGEST_LOCATION`."""
    forgotten: int = 0
    """Objects of earlier scans whose files are gone, or now contain something else."""

    def __str__(self) -> str:
        indexed = f"{self.indexed} of {self.files} files indexed"
        skipped = (
            (self.duplicates, "of an object seen before"),
            (self.not_dicom, "not DICOM"),
            (self.not_objects, "without the UIDs of an object"),
            (self.damaged, "damaged"),
            (self.unreadable, "unreadable"),
        )
        words = ", ".join(f"{count} {word}" for count, word in skipped if count)
        indexed = f"{indexed}; skipped: {words}" if words else indexed
        return f"{indexed}; forgotten: {self.forgotten}" if self.forgotten else indexed

    def count(self, finding: Finding) -> None:
        """Count a file.

        Args:
            finding: What it turned out to be.
        """
        name = _COUNTED[finding]
        setattr(self, name, getattr(self, name) + 1)


_COUNTED = {
    Finding.OBJECT: "indexed",
    Finding.DUPLICATE: "duplicates",
    Finding.NOT_DICOM: "not_dicom",
    Finding.NOT_AN_OBJECT: "not_objects",
    Finding.DAMAGED: "damaged",
}

_Read: TypeAlias = "Header | File | None"
"""The result of reading a file; None: the system did not let us read it."""


class Scan:
    """One scan of a storage into an index.

    A file is read if its size or time differs from what the index has. Objects that are stored during the scan are not
    lost: the scan adds and forgets an object only under the lock of its SOP Instance UID, and after it has checked the
    file again.
    """

    def __init__(
        self, storage: Storage, index: Index, locks: Locks, progress: Callable[[ScanReport], object] | None
    ) -> None:
        self.report: ScanReport = ScanReport()
        self._storage, self._index, self._locks, self._progress = storage, index, locks, progress
        self._lost: set[str] = set()
        """The SOP Instance UIDs of the objects that were forgotten."""

    async def run(self) -> ScanReport:
        """Scan all folders.

        Raises:
            OSError: The storage is gone. What was indexed stays in the index.

        Cancellation: the files that are being read are read to their end. What was indexed stays in the index.
        """
        visited = set()
        walk = self._storage.walk()
        while (found := await in_thread(next, walk, None)) is not None:
            visited.add(found.folder)
            if found.has_unfinished:
                await self._storage.tidy(found.folder)
            await self._folder(found)
        for folder in await self._index.folders():
            if folder not in visited:  # it is gone, or is outside: an object may have been added from elsewhere
                known = await self._index.files(folder)
                await self._forget(known.values())
        await self._reread()
        await in_thread(self._storage.check)  # if it went away, what was not read is missing
        await self._index.set_complete()
        self._report_progress()
        return self.report

    async def _folder(self, found: Found) -> None:
        files = {each: stamp for each, stamp in found.files.items() if len(os.fsencode(each)) <= LONGEST_LOCATION}
        unreadable = found.unreadable + len(found.files) - len(files)
        self.report.unreadable += unreadable
        self.report.files += unreadable
        known = await self._index.files(found.folder)
        await self._forget(file for location, file in known.items() if location not in files)
        unchanged = {
            location: file
            for location, stamp in files.items()
            if (file := known.get(location)) is not None and stamp == (file.size, file.modified)
        }
        for location in await self._without_object(unchanged.values()):
            del unchanged[location]
        for file in unchanged.values():
            self.report.files += 1
            self.report.count(file.finding)
        changed = {location: stamp for location, stamp in files.items() if location not in unchanged}
        async for read in self._read(changed):
            self.report.files += len(read)
            await self._index_read(read, known)
            self._report_progress()

    async def _without_object(self, files: Iterable[File]) -> list[str]:
        """Return the locations of duplicates of objects that the index does not have.

        A scan that was interrupted had forgotten the object, and had not read its duplicate yet.
        """
        duplicates = [file for file in files if file.finding == Finding.DUPLICATE]
        found = list[str]()
        for start in range(0, len(duplicates), _UIDS_AT_ONCE):
            some = duplicates[start : start + _UIDS_AT_ONCE]
            there = await self._index.lookup([file.sop_instance_uid for file in some])
            found += [file.location for file in some if file.sop_instance_uid not in there]
        return found

    async def _read(self, files: Mapping[str, Stamp]) -> AsyncIterator[list[_Read]]:
        """Read files in a thread, for a tenth of a second at a time."""
        waiting = iter(files.items())
        while read := await in_thread(self._read_some, waiting):
            yield read

    def _read_some(self, waiting: Iterator[tuple[str, Stamp]]) -> list[_Read]:
        until, read = monotonic() + _AT_ONCE, list[_Read]()
        for location, stamp in waiting:
            read.append(self._read_one(location, stamp))
            if monotonic() >= until:
                break
        return read

    def _read_one(self, location: str, stamp: Stamp) -> _Read:
        try:
            return self._storage.read(location)
        except OSError:
            return None
        except aiodimse.NotDICOM:
            finding = Finding.NOT_DICOM
        except NotAnObject:
            finding = Finding.NOT_AN_OBJECT
        except Exception:
            # pydicom raises many kinds of errors, and one bad file of many must not end the scan.
            finding = Finding.DAMAGED
        return File(location, *stamp, finding)

    async def _index_read(self, read: list[_Read], known: Mapping[str, File]) -> None:
        """Index what was read."""
        self.report.unreadable += read.count(None)
        there = [each for each in read if each is not None]
        uids = {each.unique(Level.IMAGE) for each in there if isinstance(each, Header)}
        uids |= {known[each.location].sop_instance_uid for each in there if each.location in known} - {""}
        async with self._locks.hold(uids):
            before = await self._index.lookup(uids)
            locations = (*(each.location for each in there), *(entry.location for entry in before.values()))
            stamps = await in_thread(self._stamps, locations)
            # Files that were replaced since they were read are indexed by whoever replaced them.
            still = [each for each in there if stamps[each.location] == (each.size, each.modified)]
            objects, others = self._choose(still, before, stamps)
            # Objects whose location now contains something else are lost.
            taken = {each.location for each in objects.values()} | {each.location for each in others}
            self._lost.update(uid for uid, entry in before.items() if uid not in objects and entry.location in taken)
            await self._index.note(others)
            refused = await self._add(list(objects.values()))
            self._lost.update(before.keys() & {each.unique(Level.IMAGE) for each in refused})
        for other in others:
            self.report.count(other.finding)
        self.report.damaged += len(refused)
        self.report.indexed += len(objects) - len(refused)

    async def _add(self, objects: Sequence[Header]) -> list[Header]:
        """Add objects. Return those that the index refuses; it has their files now, so they are not read again."""
        refused = list[Header]()
        async with aclosing(in_pieces(self._index.add, objects, ObjectRefused)) as pieces:
            async for piece, result in pieces:
                if isinstance(result, ObjectRefused):
                    refused += piece
        await self._index.note(File(each.location, each.size, each.modified, Finding.DAMAGED) for each in refused)
        return refused

    def _choose(
        self, read: Iterable[Header | File], before: Mapping[str, Entry], stamps: Mapping[str, Stamp | None]
    ) -> tuple[dict[str, Header], list[File]]:
        """Return the objects to index by UID, and the other files to note.

        If two files contain one object, the file that a C-STORE named after its UID is indexed, otherwise the first.
        """
        objects: dict[str, Header] = {}
        others: list[File] = []
        for each in read:
            if isinstance(each, File):
                others.append(each)
                continue
            uid = each.unique(Level.IMAGE)
            entry = before.get(uid)
            if entry is not None and (entry.location == each.location or stamps[entry.location] is None):
                entry = None
            kept = objects.get(uid) or entry
            if kept is None:
                objects[uid] = each
            elif self._is_better(each.location, kept.location, uid):
                objects[uid] = each
                others.append(_duplicate(uid, kept.location, stamps[kept.location]))
                self.report.indexed -= kept is entry
            else:
                others.append(_duplicate(uid, each.location, stamps[each.location]))
        return objects, others

    def _is_better(self, location: str, other: str, uid: str) -> bool:
        return self._storage.is_named_after(location, uid) and not self._storage.is_named_after(other, uid)

    async def _forget(self, files: Iterable[File]) -> None:
        """Forget those of the files that are gone."""
        waiting = list(files)
        for start in range(0, len(waiting), _UIDS_AT_ONCE):
            some = waiting[start : start + _UIDS_AT_ONCE]
            uids = {file.sop_instance_uid for file in some if file.finding == Finding.OBJECT}
            async with self._locks.hold(uids):
                before = await self._index.lookup(uids)
                stamps = await in_thread(self._stamps, [file.location for file in some])
                gone = {file.location for file in some if stamps[file.location] is None}
                if gone:  # of a disk that is no longer mounted all are, and none is to be forgotten
                    await in_thread(self._storage.check)
                self._lost.update(uid for uid, entry in before.items() if entry.location in gone)
                await self._index.remove(gone)
            for file in some:
                if file.location not in gone:
                    self.report.files += 1
                    self.report.count(file.finding)

    async def _reread(self) -> None:
        """Read what may replace the forgotten objects: duplicates of them, and the rest of their studies.

        The index names these studies, also those of an earlier scan that was interrupted.
        """
        lost = list(self._lost)
        for start in range(0, len(lost), _UIDS_AT_ONCE):
            duplicates = await self._index.duplicates(lost[start : start + _UIDS_AT_ONCE])
            await self._reread_files(file.location for file in duplicates)
        for study in await self._index.outdated_studies():
            of_study = Query(STUDY_ROOT, Level.STUDY, unique={Level.STUDY: (study.study_instance_uid,)})
            if await self._reread_files([entry.location async for entry in self._index.entries(of_study)]):
                await self._index.set_current(study)
        found = set[str]()
        for start in range(0, len(lost), _UIDS_AT_ONCE):
            found.update(await self._index.lookup(lost[start : start + _UIDS_AT_ONCE]))
        self.report.forgotten = len(self._lost - found)

    async def _reread_files(self, locations: Iterable[str]) -> bool:
        """Read files that were counted already. Return whether all of them could be read."""
        counted = replace(self.report)
        stamps = await in_thread(self._stamps, list(locations))
        there = {location: stamp for location, stamp in stamps.items() if stamp is not None}
        async for read in self._read(there):
            await self._index_read(read, {})
        are_read = len(there) == len(stamps) and self.report.unreadable == counted.unreadable
        self.report = counted
        return are_read

    def _stamps(self, locations: Iterable[str]) -> dict[str, Stamp | None]:
        return {location: self._stamp(location) for location in locations}

    def _stamp(self, location: str) -> Stamp | None:
        try:
            return self._storage.stamp(location)
        except OSError:  # a disk with errors has not lost its objects
            return _NOT_KNOWN

    def _report_progress(self) -> None:
        if self._progress is not None:
            self._progress(replace(self.report))


def _duplicate(uid: str, location: str, stamp: Stamp | None) -> File:
    return File(location, *(stamp or (0, 0)), Finding.DUPLICATE, uid)
