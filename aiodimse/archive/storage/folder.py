"""A folder of DICOM files."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import aiodimse

from ..header import read_header
from ..index import Entry, Header
from .interface import Found, Stamp


class FolderStorage:
    """A folder, and all folders below it. A location is a path below the folder, with slashes on every system.

    Names that begin with a dot are left out: among them are the files that C-STORE is still writing. Links that lead
    out of the folder are not followed: whoever may write into it could otherwise have any file served.

    Args:
        directory: The folder.
        follow_links: Follow links that lead out of it all the same.
    """

    def __init__(self, directory: str | os.PathLike[str], *, follow_links: bool = False) -> None:
        self.directory = Path(directory)
        self._follow_links = follow_links

    async def open(self) -> None:
        """See `Storage.open`."""
        if not await asyncio.to_thread(self.directory.is_dir):
            raise NotADirectoryError(f"not a folder: {self.directory}")
        await aiodimse.remove_unfinished(self.directory)

    def path(self, location: str) -> Path:
        """Return the path of a location."""
        return self.directory / location

    def location(self, path: str | os.PathLike[str]) -> str:
        """Return the location of a path; of one that is elsewhere, the whole path."""
        path = Path(path)
        return (path.relative_to(self.directory) if path.is_relative_to(self.directory) else path.absolute()).as_posix()

    def read(self, location: str) -> Header:
        """See `Storage.read`."""
        return read_header(self.path(location), location)

    def stamp(self, location: str) -> Stamp | None:
        """See `Storage.stamp`."""
        try:
            return _stamp(self.path(location).stat())
        except OSError:
            return None

    def payload(self, entry: Entry) -> aiodimse.InstanceSource:
        """See `Storage.payload`."""
        return self.path(entry.location)

    def is_named_after(self, location: str, sop_instance_uid: str) -> bool:
        """See `Storage.is_named_after`."""
        return location.rpartition("/")[2] == f"{sop_instance_uid}.dcm"

    def walk(self) -> Iterator[Found]:
        """See `Storage.walk`; each folder is entered once, whatever links lead to it."""
        root = os.path.realpath(self.directory)
        entered: set[tuple[int, int]] = set()
        waiting = [""]
        while waiting:
            found = Found(waiting.pop())
            try:
                status = self.path(found.folder).stat()
                if (status.st_dev, status.st_ino) in entered:
                    continue
                entered.add((status.st_dev, status.st_ino))
                with os.scandir(self.path(found.folder)) as entries:
                    visible = sorted((each for each in entries if each.name[0] != "."), key=lambda each: each.name)
            except OSError:
                found.unreadable += 1
                visible = []
            below = []
            for each in visible:
                location = f"{found.folder}/{each.name}" if found.folder else each.name
                try:
                    if each.is_symlink() and not self._follow_links and not _is_within(each.path, root):
                        continue
                    status = each.stat()
                except OSError:  # no permission, a broken link, a link to itself
                    found.unreadable += 1
                    continue
                if stat.S_ISDIR(status.st_mode):
                    below.append(location)
                elif stat.S_ISREG(status.st_mode):  # a pipe would make us wait for ever
                    found.files[location] = _stamp(status)
            waiting += reversed(below)
            yield found


def _stamp(status: os.stat_result) -> Stamp:
    return Stamp(status.st_size, status.st_mtime_ns)


def _is_within(path: str, root: str) -> bool:
    return os.path.commonpath((os.path.realpath(path), root)) == root
