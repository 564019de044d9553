"""Checks that a storage is the one whose objects an index has, and not the folder where its disk should be mounted."""

from __future__ import annotations

import errno
from collections.abc import Iterable
from typing import Final

from .index import Finding, Index
from .storage import Storage, StorageGone
from .threads import in_thread

_MOST: Final = 1000
"""The number of objects that are looked for."""


async def require_objects(storage: Storage, index: Index) -> None:
    """Check that a storage holds a file, or one of the first objects of the index, or that the index has no object.

    Otherwise a scan would forget all objects, and new ones would be stored where the disk hides them when it is back.

    Raises:
        OSError: The storage or the index cannot be read.
        StorageGone: The storage is empty, and the index is not.
    """
    if await in_thread(_holds_a_file, storage):
        return
    sought = list[str]()
    for folder in await index.folders():
        files = await index.files(folder)
        sought += [location for location, file in files.items() if file.finding == Finding.OBJECT]
        if len(sought) >= _MOST:
            break
    if sought and not await in_thread(_holds_any, storage, sought[:_MOST]):
        why = "no object of the index is there: is its disk mounted? If all have been removed, remove the index, too"
        raise StorageGone(errno.ENODEV, why)


def _holds_a_file(storage: Storage) -> bool:
    return any(found.files or found.unreadable for found in storage.walk())


def _holds_any(storage: Storage, locations: Iterable[str]) -> bool:
    return any(storage.stamp(location) is not None for location in locations)
