"""Files that are still being saved: their names, and the removal of those that nobody saves any more.

A process that is killed cannot remove its own files. While a file is being saved, the process holds a lock on it, which
the kernel releases when the process ends, however that happens.
"""

from __future__ import annotations

import os
import re
import sys
from contextlib import suppress
from random import getrandbits
from time import time

if sys.platform != "win32":  # on Windows a file that another process has open cannot be removed anyway
    import fcntl

_UNFINISHED = r"\..+\.dcm\.[0-9a-f]{16}\.part"


def unfinished_name(name: str) -> str:
    """Return a unique name under which a file is written until it is complete.

    The dot and the suffix keep scans of a folder from taking the file for an instance.
    """
    # No secret: O_EXCL makes the file. A forked process has numbers of its own, for `random` begins anew in it.
    return f".{name}.{getrandbits(64):016x}.part"


def lock_file(fd: int) -> None:
    """Mark a file as being saved, until it is closed."""
    if sys.platform != "win32":
        with suppress(OSError):  # a file system without locks: only the age of the file can be used
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def remove_unfinished(directory: str | os.PathLike[str], older_than: float) -> int:
    """Remove the files that killed processes did not finish saving, and return how many there were.

    A file stays if a process holds it, or if it was written to within `older_than` seconds. Raises OSError if the
    folder cannot be listed.
    """
    removed, before = 0, time() - older_than
    with os.scandir(directory) as entries:
        for entry in entries:
            if re.fullmatch(_UNFINISHED, entry.name) and entry.is_file(follow_symlinks=False):
                with suppress(OSError):  # it is gone, or we may not remove it
                    if entry.stat(follow_symlinks=False).st_mtime <= before:
                        removed += _remove(entry.path)
    return removed


def _remove(path: str) -> bool:
    """Remove a file if no process holds it. Return whether it was removed."""
    if sys.platform == "win32":
        os.unlink(path)  # noqa: PTH108
        return True
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)  # NFS needs write access for an exclusive lock
    try:
        with suppress(OSError):
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
        os.unlink(path)  # noqa: PTH108
        return True
    finally:
        os.close(fd)
