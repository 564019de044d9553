"""Open the index that a user names."""

from __future__ import annotations

import errno
import logging
from pathlib import Path

from ..threads import in_thread
from .interface import Index
from .memory import MemoryIndex

_log = logging.getLogger(__name__)

FILE = ".aiodimse-index.db"
"""The database in the folder of an archive. A scan ignores it, because its name begins with a dot."""


async def open_index(name: str | None, directory: Path | None) -> tuple[Index, str | None]:
    """Open an index.

    Args:
        name: "memory:", the URL of a database, or None for an SQLite database in the folder.
        directory: The folder of the archive; None: the archive has no folder.

    Returns:
        The index, and the reason if it was created anew because the old one cannot be used.

    Raises:
        OSError: The database cannot be opened.
        ValueError: There is no such kind of index.
        ModuleNotFoundError: SQLAlchemy is not installed.
    """
    if name == "memory:":
        return MemoryIndex(), None
    try:
        from sqlalchemy.exc import SQLAlchemyError

        from .sql import SQLIndex
        from .sql.engines import file_of, url_of
        from .sql.index import IndexUnusable
    except ModuleNotFoundError as error:
        needed = 'an index in SQL needs SQLAlchemy: pip install "aiodimse[archive]"; index="memory:" needs nothing'
        raise ModuleNotFoundError(needed, name=error.name) from None
    if name is None and directory is None:
        raise ValueError("an archive in a bucket needs an index, for example postgresql://USER@HOST/DATABASE")
    url = url_of(directory / FILE if name is None and directory is not None else name or "")
    try:
        try:
            return await SQLIndex.open(url), None
        except IndexUnusable as error:
            file = file_of(url)
            if file is None:
                raise OSError(errno.EINVAL, str(error)) from None
            aside = await in_thread(put_aside, file)
            _log.warning("%s: it was renamed to %s, and all files are read again", error, aside.name)
            return await SQLIndex.open(url), str(error)
    except SQLAlchemyError as error:
        # The text of a driver may contain the password of the URL.
        raise OSError(errno.EIO, f"the database of the index cannot be opened ({type(error).__name__})") from None


def put_aside(file: Path) -> Path:
    """Rename a database that cannot be used, together with its companion files. Blocks."""
    number = 1
    while (aside := file.with_name(f"{file.name}.unusable-{number}")).exists():
        number += 1
    for suffix in ("-wal", "-shm"):
        companion = file.with_name(file.name + suffix)
        if companion.exists():
            companion.rename(aside.with_name(aside.name + suffix))
    return file.rename(aside)
