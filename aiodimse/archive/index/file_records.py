"""What the index in memory knows of the files of the storage."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .records import File, Finding, folder_of


class FileRecords:
    """Files by folder and location, and the locations of duplicates by SOP Instance UID."""

    def __init__(self) -> None:
        self._by_folder: dict[str, dict[str, File]] = {}
        self._duplicates: dict[str, set[str]] = {}

    def __iter__(self) -> Iterator[File]:
        """Yield all files."""
        for files in self._by_folder.values():
            yield from files.values()

    def put(self, file: File) -> None:
        """Record a file, of whose location nothing is known."""
        self._by_folder.setdefault(folder_of(file.location), {})[file.location] = file
        if file.finding == Finding.DUPLICATE:
            self._duplicates.setdefault(file.sop_instance_uid, set()).add(file.location)

    def get(self, location: str) -> File | None:
        """Return what is known of a file; None: nothing is."""
        return self._by_folder.get(folder_of(location), {}).get(location)

    def pop(self, location: str) -> File | None:
        """Forget a file, and return what was known of it; None: nothing was."""
        file = self._by_folder.get(folder_of(location), {}).pop(location, None)
        if file is not None and file.finding == Finding.DUPLICATE:
            others = self._duplicates[file.sop_instance_uid]
            others.discard(location)
            if not others:
                del self._duplicates[file.sop_instance_uid]
        return file

    def of_folder(self, folder: str) -> dict[str, File]:
        """Return the files of one folder, by location."""
        return dict(self._by_folder.get(folder, {}))

    def folders(self) -> list[str]:
        """Return all folders that have had a file."""
        return list(self._by_folder)

    def duplicates(self, sop_instance_uids: Iterable[str]) -> list[File]:
        """Return the duplicates of some objects."""
        locations = (location for uid in sop_instance_uids for location in self._duplicates.get(uid, ()))
        return [self._by_folder[folder_of(location)][location] for location in locations]
