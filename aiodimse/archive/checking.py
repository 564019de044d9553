"""Checks whether storage and index agree: objects without a row in the index, and rows without an object."""

from __future__ import annotations

from collections.abc import Callable, Mapping
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
            (self.other, "not what the index says"),
        )
        told = [f"{len(locations)} {what}" for locations, what in amiss if locations]
        told += [f"studies to be read again: {self.outdated}"] if self.outdated else []
        words = ", ".join(told)
        return f"{self.files} files, {self.objects} objects; {words or 'storage and index agree'}"


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
        if read:
            sound = [known[location] for location, stamp in found.files.items() if _is_known(known, location, stamp)]
            report.other += await in_thread(_others, archive.storage, sound)
        if progress is not None:
            progress(report)
    for folder in await archive.index.folders():
        if folder not in visited:
            locations = list(await archive.index.files(folder))
            report.missing += await in_thread(_gone, archive.storage, locations)
    report.objects -= len(report.other)
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
    report.missing += known.keys() - found.files.keys()


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


def _gone(storage: Storage, locations: list[str]) -> list[str]:
    return [location for location in locations if storage.stamp(location) is None]
