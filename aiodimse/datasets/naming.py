"""Renames a complete file to its final name, and decides what it may replace: a path stands for one instance."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import PurePath
from time import monotonic, sleep
from typing import Final, Self

from aiodimse.datasets.stored import file_identity, is_whole_file
from aiodimse.errors import InstanceConflict, NotDICOM

if sys.platform != "win32":
    import fcntl

_UID = re.compile(r"[0-9]+(?:\.[0-9]+)*")
_PLAIN_NAME = re.compile(r"[\w-][\w.-]*(?:/[\w-][\w.-]*)*", re.ASCII)
"""A relative path that needs no further check."""


def safe_file_name(sop_instance_uid: str) -> str:
    """Return the file name for an instance. No other function turns a UID of a peer into a name.

    A UID of digits and dots, at most 64 characters (PS3.5 9.1), is used as it is. Anything else is replaced by its
    SHA-256, which is never a path, a device or a hidden name, and is the same each time.
    """
    if len(sop_instance_uid) <= 64 and _UID.fullmatch(sop_instance_uid):
        return f"{sop_instance_uid}.dcm"
    digest = hashlib.sha256(sop_instance_uid.encode("utf-8", "surrogatepass")).hexdigest()
    return f"invalid-uid-{digest[:40]}.dcm"


def relative_name(name: str | os.PathLike[str]) -> tuple[str, ...]:
    """Check the name that a caller chose for a file in a folder. It may contain folders.

    Returns:
        Its parts: the folders and the file.

    Raises:
        ValueError: The name is empty, or leads out of the folder.
    """
    if isinstance(name, str) and _PLAIN_NAME.fullmatch(name):
        return tuple(name.split("/"))  # pathlib takes 20 us
    path = PurePath(name)
    if not path.name or path.anchor or ".." in path.parts or "\0" in str(path):
        raise ValueError(f"not the name of a file below a folder: {name!r}")
    return path.parts


@lru_cache(maxsize=1024)
def within(*parts: str) -> str:
    """Return the path of a folder, with a separator behind it; "" for the current folder."""
    return os.path.join(*parts, "")  # noqa: PTH118


# --- folders ----------------------------------------------------------------------------------------------------------

_LOCKED_AT_MOST: Final = 10.0
"""The number of seconds to wait for whoever names a file in the same folder, in this process or another."""

_LOCKS: Final = [threading.Lock() for _ in range(64)]
"""Locks for the threads of this process. Each folder uses one of them."""


def _renew_locks() -> None:
    """Make the locks anew in a process that was forked, because a thread that held one stays in the parent."""
    _LOCKS[:] = [threading.Lock() for _ in _LOCKS]


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_renew_locks)


class Folder:
    """An open folder, in which one process or thread at a time looks for a name and gives it to a file."""

    def __init__(self, path: str) -> None:
        self._fd = -1
        if os.name == "posix":  # On other systems a folder cannot be opened.
            self._fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._lock = _LOCKS[hash(path) % len(_LOCKS)]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep everybody else from naming a file in this folder meanwhile.

        Raises:
            OSError: Somebody else held the folder for too long.
        """
        if not self._lock.acquire(timeout=_LOCKED_AT_MOST):
            raise _stays_locked()
        try:
            if self._fd >= 0:
                self._hold(self._fd)
            try:
                yield
            finally:
                if self._fd >= 0:
                    with suppress(OSError):
                        fcntl.flock(self._fd, fcntl.LOCK_UN)
        finally:
            self._lock.release()

    @staticmethod
    def _hold(fd: int) -> None:
        """Lock the folder against other processes. Network file systems that have no locks for folders are ignored."""
        until = None
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                until = until or monotonic() + _LOCKED_AT_MOST
                if monotonic() >= until:
                    raise _stays_locked() from None
                sleep(0.001)
            except OSError:
                return
            else:
                return

    def sync(self) -> None:
        """Flush the names in the folder to the disk. It does nothing on systems that are not POSIX."""
        if self._fd >= 0:
            os.fsync(self._fd)


def _stays_locked() -> OSError:
    return OSError(errno.EAGAIN, "the folder stays locked by another save")


_made: Final[set[str]] = set()
"""Folders whose names have been flushed to the disk."""
_MADE_AT_MOST: Final = 1 << 17


def make_folders(root: str, below: Sequence[str]) -> list[str]:
    """Make the folders in the name of a file, unless they are known.

    Returns:
        The paths of those that were not there.

    Raises:
        OSError: They cannot be made; FileNotFoundError if the root is missing, for example a disk that is not mounted.
    """
    made = list[str]()
    if within(root, *below) not in _made:
        for number in range(len(below)):
            with suppress(FileExistsError):
                os.mkdir(path := within(root, *below[: number + 1]))  # noqa: PTH102
                made.append(path)
    return made


def flush_folders(root: str, below: Sequence[str]) -> None:
    """Flush the names of the folders in the name of a file to the disk, even if others made them.

    It comes after the flush of the last of them, which takes most of this work with it on file systems with a journal.

    Raises:
        OSError: They cannot be flushed.
    """
    if within(root, *below) in _made:
        return
    for number in range(len(below)):
        path = within(root, *below[: number + 1])
        if path in _made:
            continue
        with Folder(within(root, *below[:number]) or os.curdir) as folder:
            folder.sync()
        if len(_made) >= _MADE_AT_MOST:
            _made.clear()
        _made.add(path)


def forget_folders(root: str, below: Sequence[str]) -> None:
    """Forget folders that someone removed, so that the next make_folders makes them again."""
    for number in range(len(below)):
        _made.discard(within(root, *below[: number + 1]))


# --- names ------------------------------------------------------------------------------------------------------------


class Naming:
    """A complete file that gets its name: `give` renames it, and the folder is flushed by whoever opened it.

    Args:
        temporary: The file. If it has to be durable, it has already been flushed to the disk.
        target: The new path, in the same folder. An existing file is replaced only by the same instance, and only if
            the data set of the new file is complete.
        written: The status of the file.
        may_replace: Whether an existing file is replaced without these checks. The caller then keeps others from
            naming a file so, since the folder is not locked.
    """

    def __init__(self, temporary: str, target: str, written: os.stat_result, *, may_replace: bool) -> None:
        self._temporary, self._target, self._written, self._may_replace = temporary, target, written, may_replace
        self._is_new = False

    def give(self, folder: Folder) -> None:
        """Rename the file.

        Raises:
            InstanceConflict: The existing file is kept.
            OSError: The existing file is kept.
        """
        if self._may_replace:
            self._replace(_status(self._target))
            return
        is_checked = False
        while True:
            with folder.locked():
                there = _status(self._target)
                if there is None or is_checked or not _is_instance(there, self._target):
                    if is_checked and _is_instance(there, self._target):
                        _check_same(self._temporary, self._target)
                    self._replace(there)
                    return
            _check_whole(self._temporary)  # this may take long, so the folder is not locked
            is_checked = True

    def _replace(self, there: os.stat_result | None) -> None:
        os.replace(self._temporary, self._target)  # noqa: PTH105
        self._is_new = there is None

    def take_back(self) -> None:
        """Remove a new name, because the folder could not be flushed. What was replaced stays replaced."""
        if self._is_new:
            _unlink_own(self._target, self._written)


def _status(path: str) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None


def _is_instance(status: os.stat_result | None, target: str) -> bool:
    """Return whether an instance would be lost if another file took this name.

    A link counts only if it leads to an instance. The rename itself fails for a target that is not a file.
    """
    if status is None:
        return False
    if stat.S_ISLNK(status.st_mode):
        try:
            return file_identity(target) is not None
        except (OSError, NotDICOM):
            return False
    return stat.S_ISREG(status.st_mode)


def _check_whole(temporary: str) -> None:
    try:
        can_be_read = is_whole_file(temporary)
    except NotDICOM:
        can_be_read = False
    if not can_be_read:
        raise InstanceConflict("stored already, and this data set cannot be read to its end")


def _check_same(temporary: str, target: str) -> None:
    try:
        own, theirs = file_identity(temporary), file_identity(target)
    except NotDICOM:
        own = theirs = None
    if own is None or own != theirs:
        raise InstanceConflict("another instance is stored under this SOP Instance UID")


def _unlink_own(path: str, written: os.stat_result) -> None:
    """Remove what we renamed to a path, unless another association has replaced it since."""
    with suppress(OSError):
        now = os.lstat(path)
        if (now.st_dev, now.st_ino) == (written.st_dev, written.st_ino):
            os.unlink(path)  # noqa: PTH108
