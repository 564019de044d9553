"""Keeps two serve processes that do not share their locks from one folder: they could store one UID twice."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Self

from aiodimse.archive.archive import LOCKS
from aiodimse.archive.locks import FileLocks
from aiodimse.cli.failures import FAILED, CommandError

_SERVED = 1 << 62
"""The number of the lock. Those of the locks of UIDs, which are in the same file, are smaller."""


class ServedFolders:
    """The folders that this process or its workers serve.

    Args:
        by_workers: Whether workers serve them. Their locks of UIDs are in the folder, so others may have workers, too.
    """

    def __init__(self, *, by_workers: bool) -> None:
        self._by_workers = by_workers
        self._locks: dict[Path, FileLocks] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def take_all(self, folders: Iterable[Path]) -> None:
        """Keep others from folders, or from none of those that are new.

        Raises:
            CommandError: Another process serves one.
        """
        before = set(self._locks)
        try:
            for folder in folders:
                await self.take(folder)
        except BaseException:
            for folder in set(self._locks) - before:
                await self.release(folder)
            raise

    async def take(self, folder: Path) -> None:
        """Keep others from a folder until `close`. The system releases it when the process dies.

        Raises:
            CommandError: Another process serves it.
        """
        if folder in self._locks or sys.platform == "win32":
            return
        lock = FileLocks(folder / LOCKS)
        try:
            is_free = await lock.try_lock([_SERVED], is_shared=self._by_workers)
        except OSError:  # the folder may not be written, so nobody stores into it; or it has no locks
            return
        if not is_free:
            await lock.close()
            raise CommandError(f"another aiodimse serve has this folder open: {folder}", FAILED)
        self._locks[folder] = lock

    async def release(self, folder: Path) -> None:
        """Let others serve a folder."""
        if (lock := self._locks.pop(folder, None)) is not None:
            await lock.close()

    async def close(self) -> None:
        """Release all folders."""
        for lock in self._locks.values():
            await lock.close()
        self._locks.clear()
