"""Removes the files that saves left behind when their process was killed."""

from __future__ import annotations

import logging
import os

from aiodimse import datasets
from aiodimse.aio.files import read_off_loop
from aiodimse.aio.log import AssociationLogger

_log = AssociationLogger(logging.getLogger("aiodimse.storage"), None)


async def remove_unfinished(directory: str | os.PathLike[str], *, older_than: float = 600.0) -> int:
    """Remove the unfinished files that killed processes left in a folder.

    An unfinished file has a hidden name, `.UID.dcm.0123456789abcdef.part`, and is no instance: its C-STORE was never
    answered with Success. A file that another process is saving stays: the process holds a lock on it. On a file system
    without locks, a file stays if it was written to within `older_than` seconds. Call this when a program starts;
    Archive does it itself.

    Args:
        directory: The folder. Folders below it are not searched.
        older_than: Seconds. A file that was written to since then stays.

    Returns:
        The number of files that were removed.

    Raises:
        OSError: The folder cannot be listed.

    Cancellation: raises at once; a thread goes on, and may remove more of them.
    """
    removed = await read_off_loop(datasets.remove_unfinished, directory, older_than)
    if removed:
        _log.info("removed %d unfinished files that a killed process left", removed)
    return removed
