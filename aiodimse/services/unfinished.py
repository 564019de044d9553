"""Removes the files that saves left behind when their process was killed."""

from __future__ import annotations

import logging
import os

from aiodimse import datasets
from aiodimse.aio.files import read_off_loop
from aiodimse.aio.log import AssociationLogger

_log = AssociationLogger(logging.getLogger("aiodimse.storage"), None)


async def remove_unfinished(directory: str | os.PathLike[str], *, older_than: float = 600.0) -> int:
    """Remove what saves into this folder left when their process was killed.

    An unfinished file has a hidden name, `.UID.dcm.0123456789abcdef.part`, and is no instance: nothing of it has been
    acknowledged. What another process is saving stays: it holds a lock on the file, and where the file system has no
    locks, a save under way has bytes more often than every older_than seconds. To be called when a program starts;
    Archive does.

    Args:
        directory: The folder; those below are not looked into.
        older_than: Seconds; what has had a byte since stays.

    Returns:
        How many files were removed.

    Raises:
        OSError: The folder cannot be listed.

    Cancellation: raises at once; a thread goes on, and may remove more of them.
    """
    removed = await read_off_loop(datasets.remove_unfinished, directory, older_than)
    if removed:
        _log.info("removed %d unfinished files that a killed process left", removed)
    return removed
