"""Checks whether storage and index agree: objects without a row in the index, and rows without an object."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from .archive import Archive
from .index import File, Finding
from .storage import Found, Stamp, Storage
from .threads import in_thread


@dataclass(slots=True)
class CheckReport:
    """The result of a check. The lists contain locations."""

    files: int = 0
    """Files in the storage."""
    objects: int = 0
    """Objects on which storage and index agree."""
    not_indexed: list[str] = field(default_factory=list)
    """Files that are not in the index."""
    changed: list[str] = field(default_factory=list)
    """Files whose size or time differs from that in the index."""
    missing: list[str] = field(default_factory=list)
    """Rows whose file does not exist."""
    other: list[str] = field(default_factory=list)
    """Files that contain another instance than the index says, or cannot be read."""

    unreadable: int = 0
    """Files and folders at which the storage cannot look, such as `lost+found` of a disk. They are no differences."""
    outdated: int = 0
    """Studies with an attribute of an object that is gone. A scan takes it from another object; see `OutdatedStudy`."""

    @property
    def is_sound(self) -> bool:
        """Whether storage and index agree."""
        return not (self.not_indexed or self.changed or self.missing or self.other or self.outdated)

    def __str__(self) -> str:
        amiss = (
            (self.not_indexed, "not in the index"),
            (self.changed, "changed since they were read"),
            (self.missing, "in the index and gone"),
            (self.other, "unreadable or not what the index says"),
        )
        told = [f"{len(locations)} {what}" for locations, what in amiss if locations]
        told += [f"studies to be read again: {self.outdated}"] if self.outdated else []
        words = ", ".join(told) or "storage and index agree"
        skipped = f"; skipped: {self.unreadable} unreadable" if self.unreadable else ""
        files, objects = _number(self.files, "file"), _number(self.objects, "object")
        return f"{files}, {objects}; {words}{skipped}"


def _number(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


async def check(
    archive: Archive, *, read: bool = False, progress: Callable[[CheckReport], object] | None = None
) -> CheckReport:
    """Compare the storage of an archive with its index, and change nothing.

    An object that is stored during the check may be reported as not indexed, so check an archive that is not in use.

    Args:
        archive: The archive, opened with `scan=False, make_index=False`. A scan or a new index would repair what the
            check is to find.
        read: Also read each object, and check that it is the instance that the index says.
        progress: Called after each folder.

    Returns:
        The differences.

    Raises:
        OSError: The storage or the index cannot be read.

    Cancellation: nothing has changed.
    """
    report, visited = CheckReport(), set()
    walk = archive.storage.walk()
    while (found := await in_thread(next, walk, None)) is not None:
        visited.add(found.folder)
        known = await archive.index.files(found.folder)
        _compare(report, found, known)
        report.unreadable += found.unreadable
        absent = known.keys() - found.files.keys()
        if found.unreadable:
            await in_thread(_look_for, report, archive.storage, absent)
        else:
            report.missing += absent
        if read:
            sound = [known[location] for location, stamp in found.files.items() if _is_known(known, location, stamp)]
            others = await in_thread(_others, archive.storage, sound)
            report.other += others
            report.objects -= len(others)
        if progress is not None:
            progress(report)
    for folder in await archive.index.folders():
        if folder not in visited:
            await in_thread(_look_for, report, archive.storage, await archive.index.files(folder))
    report.outdated = len(await archive.index.outdated_studies())
    return report


def _compare(report: CheckReport, found: Found, known: Mapping[str, File]) -> None:
    for location, stamp in found.files.items():
        report.files += 1
        file = known.get(location)
        if file is None:
            report.not_indexed.append(location)
        elif stamp != (file.size, file.modified):
            report.changed.append(location)
        else:
            report.objects += file.finding == Finding.OBJECT


def _is_known(known: Mapping[str, File], location: str, stamp: Stamp) -> bool:
    file = known.get(location)
    return file is not None and file.finding == Finding.OBJECT and stamp == (file.size, file.modified)


def _others(storage: Storage, files: list[File]) -> list[str]:
    """Return the locations that contain another instance than the index says. Blocks."""
    return [file.location for file in files if not _holds(storage, file)]


def _holds(storage: Storage, file: File) -> bool:
    try:
        return storage.read(file.location).text("SOPInstanceUID") == file.sop_instance_uid
    except Exception:  # pydicom raises many kinds of errors; none of these files can be retrieved
        return False


def _look_for(report: CheckReport, storage: Storage, locations: Iterable[str]) -> None:
    """Report the files of the index that the walk has not met: they are gone, or we may not look. Blocks."""
    for location in sorted(locations):
        try:
            if storage.stamp(location) is None:
                report.missing.append(location)
        except PermissionError:
            report.other.append(location)
