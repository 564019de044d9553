"""Files that are still being saved: what they are called, and the removal of those that nobody saves any more.

A process that is killed cannot remove its own. Who saves holds a lock on the file, which the kernel lets go of with the
process, however it ends.
"""

from __future__ import annotations

import os
import re
import secrets
import sys
from contextlib import suppress
from time import time

if sys.platform != "win32":  # there nobody can remove a file that another has open
    import fcntl

_UNFINISHED = r"\..+\.dcm\.[0-9a-f]{16}\.part"


def unfinished_name(name: str) -> str:
    """A name to write a file under until it is whole, no two alike. The dot and the suffix keep it out of what a folder
    scan takes for instances."""
    return f".{name}.{secrets.token_hex(8)}.part"


def lock_file(fd: int) -> None:
    """Say that this file is being saved, until it is closed."""
    if sys.platform != "win32":
        with suppress(OSError):  # a file system without locks: its age has to do
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def remove_unfinished(directory: str | os.PathLike[str], older_than: float) -> int:
    """Remove what saves into this folder left when their process was killed, and say how many files that were.

    What somebody holds stays, and what has had a byte within older_than seconds. Raises OSError where the folder cannot
    be listed.
    """
    removed, before = 0, time() - older_than
    with os.scandir(directory) as entries:
        for entry in entries:
            if re.fullmatch(_UNFINISHED, entry.name) and entry.is_file(follow_symlinks=False):
                with suppress(OSError):  # gone meanwhile, or not ours to remove
                    if entry.stat(follow_symlinks=False).st_mtime <= before:
                        removed += _remove(entry.path)
    return removed


def _remove(path: str) -> bool:
    """Whether nobody holds it, and it is gone now."""
    if sys.platform == "win32":
        os.unlink(path)  # noqa: PTH108
        return True
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)  # for writing: NFS wants that of an exclusive lock
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
