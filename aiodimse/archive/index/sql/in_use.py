"""Who has an SQLite database open: whoever changes its tables, or puts another one in its place, has to be alone."""

from __future__ import annotations

import asyncio
import errno
import os
from contextlib import suppress
from pathlib import Path
from time import monotonic
from typing import Any, Final, Self

from ...threads import in_thread

fcntl: Any
try:
    import fcntl
except ImportError:  # not on Windows, where an open database cannot be renamed
    fcntl = None

_WAIT: Final = 0.05
"""Seconds before a process that prepares the database is asked again."""
_PATIENCE: Final = 60.0
"""Seconds after which it is not asked any more."""


class InUse:
    """A lock on a file beside an SQLite database that everybody holds who has the database open.

    Versions of this program tell by it whether another one uses the database, whatever tables that one knows. It is a
    lock of the open file (flock), so two users in one process are two users. The system releases it when a process
    dies. Where there are no such locks, everybody counts as alone.

    Args:
        descriptor: The open file that is locked; None: there is none.
        is_alone: Whether nobody else has the database open, and nobody can open it.
    """

    def __init__(self, descriptor: int | None, *, is_alone: bool) -> None:
        self._descriptor = descriptor
        self.is_alone: bool = is_alone
        """Whether nobody else has the database open, and nobody can open it before `share`."""

    @classmethod
    async def take(cls, file: Path) -> Self:
        """Wait until nobody prepares the database, and take the lock: alone if nobody else has it.

        Args:
            file: The database, which need not exist.

        Raises:
            OSError: Somebody has been preparing it for a minute.

        Cancellation: the lock is not held.
        """
        descriptor = await in_thread(_opened, file)
        until = monotonic() + _PATIENCE
        try:
            while True:
                if descriptor is None or _try(descriptor, fcntl.LOCK_EX):
                    return cls(descriptor, is_alone=True)
                if _try(descriptor, fcntl.LOCK_SH):
                    return cls(descriptor, is_alone=False)
                if monotonic() >= until:
                    raise OSError(
                        errno.EBUSY, "another process does not come to an end of opening the index", str(file)
                    )
                await asyncio.sleep(_WAIT)
        except BaseException:
            if descriptor is not None:
                os.close(descriptor)
            raise

    @classmethod
    def try_alone(cls, file: Path) -> Self | None:
        """Take the lock if nobody else has it. Blocks.

        Args:
            file: The database.

        Returns:
            The lock; None: somebody else has the database open.
        """
        descriptor = _opened(file)
        if descriptor is None or _try(descriptor, fcntl.LOCK_EX):
            return cls(descriptor, is_alone=True)
        os.close(descriptor)
        return None

    def share(self) -> None:
        """Let others open the database, too. Somebody may be alone for a moment before this one is a user again.

        Raises:
            OSError: Somebody was quicker, and prepares the database now.
        """
        self.is_alone = False
        if self._descriptor is not None and not _try(self._descriptor, fcntl.LOCK_SH):
            raise OSError(errno.EBUSY, "another process opens the index at the same time")

    def close(self) -> None:
        """Release the lock."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def _opened(file: Path) -> int | None:
    """Open the file of the lock; None where it cannot be opened, as in a folder that does not exist."""
    if fcntl is not None:
        with suppress(OSError):
            return os.open(file.with_name(f"{file.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    return None


def _try(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # the file system has no locks
        return True
    return True
