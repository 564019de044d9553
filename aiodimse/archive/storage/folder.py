"""A storage in a folder of DICOM files."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import aiodimse

from ..elements import More
from ..header import modified_of, read_header
from ..index import Entry, Header
from ..threads import in_thread
from .hashed import hashed_name
from .interface import Arrived, Arriving, Found, Stamp, StorageGone, is_whole

_KEPT = 1 << 16
"""Bytes of a data set that are kept while it is saved. A shorter beginning is the whole data set."""

_PIECE = 1 << 20
"""Bytes of a data set that are compared at a time."""


class FolderStorage:
    """A folder and all folders below it. A location is a path relative to the folder, with slashes on every system.

    Names that begin with a dot are ignored; the files that C-STORE is still writing have such names. Links that lead
    out of the folder are not followed, because everybody who may write into the folder could then have any file served.

    Args:
        directory: The folder.
        follow_links: Whether to follow links that lead out of it nevertheless.
    """

    def __init__(self, directory: str | os.PathLike[str], *, follow_links: bool = False) -> None:
        self._root = os.fspath(directory)  # for what each C-STORE calls: pathlib would take a tenth of its time
        self.directory: Path = Path(directory)
        self._follow_links = follow_links
        self._opened: tuple[int, int] | None = None
        """Device and inode of the folder, which identify it."""

    async def open(self) -> None:
        """See `Storage.open`."""
        if not await in_thread(self.directory.is_dir):
            raise NotADirectoryError(f"not a folder: {self.directory}")
        self._opened = await in_thread(self._identity)
        await aiodimse.remove_unfinished(self.directory)

    async def tidy(self, folder: str) -> None:
        """See `Storage.tidy`."""
        await aiodimse.remove_unfinished(self.path(folder))

    def check(self) -> None:
        """See `Storage.check`."""
        if self._opened is None:
            return
        try:
            there = self._identity()
        except (FileNotFoundError, NotADirectoryError):
            there = None
        if there != self._opened:
            raise StorageGone(errno.ENODEV, os.strerror(errno.ENODEV))

    def _identity(self) -> tuple[int, int]:
        status = os.stat(self._root)  # noqa: PTH116
        return status.st_dev, status.st_ino

    def free_bytes(self) -> int | None:
        """See `Storage.free_bytes`."""
        return shutil.disk_usage(self.directory).free

    def remove(self, location: str) -> None:
        """See `Storage.remove`."""
        self.path(location).unlink(missing_ok=True)

    def location_for(self, sop_instance_uid: str) -> str:
        """See `Storage.location_for`."""
        return hashed_name(sop_instance_uid)

    async def save(self, request: aiodimse.StoreRequest, location: str, arriving: Arriving, *, durable: bool) -> None:
        """See `Storage.save`. All of it is one trip to a thread, where the data set comes in one piece."""

        def before_name(file: Path, beginning: bytes) -> None:
            more = _behind(file) if len(beginning) >= _KEPT else None
            is_at = partial(self._is_at, file)
            arriving.decide(Arrived(beginning, request.transfer_syntax, more, partial(is_whole, file), is_at))

        def after_name(_file: Path, status: os.stat_result) -> None:
            arriving.keep(_stamp(status))

        try:
            await request.save(
                self._root,
                location,
                durable=durable,
                before_name=before_name,
                after_name=after_name,
                after_round=arriving.write,
            )
        except FileNotFoundError:
            await in_thread(self.check)  # Without the folder, no folder can be made in it.
            raise

    def _is_at(self, file: Path, location: str) -> bool:
        """Return whether a location has the data set of a file."""
        try:
            arrived, stored = aiodimse.read_head(file), aiodimse.read_head(self.path(location))
        except aiodimse.NotDICOM:
            return False
        if (arrived.transfer_syntax, arrived.size) != (stored.transfer_syntax, stored.size):
            return False
        with file.open("rb") as one, stored.path.open("rb") as other:
            one.seek(arrived.data_offset)
            other.seek(stored.data_offset)
            while data := one.read(_PIECE):
                if data != other.read(_PIECE):
                    return False
        return True

    def path(self, location: str) -> Path:
        """Return the path of a location."""
        return self.directory / location

    def location(self, path: str | os.PathLike[str]) -> str:
        """Return the location of a path. For a path outside the folder it is the whole path."""
        path = Path(path)
        return (path.relative_to(self.directory) if path.is_relative_to(self.directory) else path.absolute()).as_posix()

    def read(self, location: str) -> Header:
        """See `Storage.read`."""
        return read_header(self.path(location), location)

    def is_whole(self, location: str) -> bool:
        """See `Storage.is_whole`."""
        return is_whole(self.path(location))

    def stamp(self, location: str) -> Stamp | None:
        """See `Storage.stamp`."""
        try:
            return _stamp(os.stat(os.path.join(self._root, location)))  # noqa: PTH116, PTH118
        except (FileNotFoundError, NotADirectoryError):
            return None

    def payload(self, entry: Entry) -> aiodimse.InstanceSource:
        """See `Storage.payload`."""
        return aiodimse.ReferencedFile(self.path(entry.location), sop_instance_uid=entry.sop_instance_uid)

    def is_named_after(self, location: str, sop_instance_uid: str) -> bool:
        """See `Storage.is_named_after`."""
        return location.rpartition("/")[2] == self.location_for(sop_instance_uid).rpartition("/")[2]

    def walk(self) -> Iterator[Found]:
        """See `Storage.walk`. Each folder is read once, even if several links lead to it."""
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
                    there = sorted(entries, key=lambda each: each.name)
                visible = [each for each in there if each.name[0] != "."]
                found.has_unfinished = any(each.name[0] == "." and each.name.endswith(".part") for each in there)
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
                elif stat.S_ISREG(status.st_mode):  # opening a pipe would block forever
                    found.files[location] = _stamp(status)
            waiting += reversed(below)
            yield found


def _behind(file: Path) -> More:
    """Make a function that reads a data set in a file after its beginning, which has nearly every header."""
    offset: int | None = None

    def more(pos: int, size: int) -> bytes:
        nonlocal offset
        if offset is None:
            offset = aiodimse.read_head(file).data_offset
        with file.open("rb", buffering=0) as opened:
            opened.seek(offset + pos)
            return opened.read(size)

    return more


def _stamp(status: os.stat_result) -> Stamp:
    return Stamp(status.st_size, modified_of(status))


def _is_within(path: str, root: str) -> bool:
    return os.path.commonpath((os.path.realpath(path), root)) == root
