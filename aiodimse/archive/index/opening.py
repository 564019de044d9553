"""Open the index that a user names."""

from __future__ import annotations

import errno
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from ..threads import in_thread
from .interface import Index
from .memory import MemoryIndex

if TYPE_CHECKING:
    from sqlalchemy.exc import SQLAlchemyError

_log = logging.getLogger(__name__)

FILE = ".aiodimse-index.db"
"""The database in the folder of an archive. A scan ignores it, because its name begins with a dot."""


async def open_index(name: str | None, directory: Path | None, *, make: bool = True) -> tuple[Index, str | None]:
    """Open an index.

    Args:
        name: "memory:", the URL of a database, or None for an SQLite database in the folder.
        directory: The folder of the archive; None: the archive has no folder.
        make: Make an index where there is none, and in the place of one that cannot be used; False: OSError.

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
        needed = (
            'the index needs SQLAlchemy: pip install "aiodimse[cli]" or "aiodimse[archive]"; "memory:" as the index'
            " needs nothing, and reads all files at each start"
        )
        raise ModuleNotFoundError(needed, name=error.name) from None
    if name is None and directory is None:
        raise ValueError("an archive in a bucket needs an index, for example postgresql://USER@HOST/DATABASE")
    url = url_of(directory / FILE if name is None and directory is not None else name or "")
    file = file_of(url)
    if not make and file is not None and not await in_thread(file.exists):  # SQLite would make it
        raise FileNotFoundError(errno.ENOENT, "there is no index; serve makes it", str(file))
    try:
        try:
            return await SQLIndex.open(url, make=make), None
        except IndexUnusable as error:
            if file is None:
                raise OSError(errno.EINVAL, str(error)) from None
            if not make:
                raise OSError(errno.EINVAL, f"{error}; serve makes a new one from the files", str(file)) from None
            aside = await in_thread(put_aside, file)
            _log.warning("%s: it was renamed to %s, and all files are read again", error, aside.name)
            return await SQLIndex.open(url), str(error)
    except SQLAlchemyError as error:
        why = f"the database of the index cannot be opened: {_words(error, url.password)}"
        raise OSError(errno.EIO, why, None if file is None else str(file)) from None


def _words(error: SQLAlchemyError, password: str | None) -> str:
    """Say what the driver says, in its first line, unless it repeats the password of the URL."""
    said = str(getattr(error, "orig", None) or "").partition("\n")[0].strip()
    return said if said and not (password and password in said) else type(error).__name__


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
