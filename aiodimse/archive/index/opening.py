"""Open the index that a user names."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..threads import in_thread
from .interface import Index
from .memory import MemoryIndex
from .records import CarriedOver

if TYPE_CHECKING:
    from sqlalchemy.engine import URL
    from sqlalchemy.exc import SQLAlchemyError

_log = logging.getLogger(__name__)

FILE = ".aiodimse-index.db"
"""The database in the folder of an archive. A scan ignores it, because its name begins with a dot."""


async def open_index(
    name: str | None, directory: Path | None, *, make: bool = True, shared: bool = False
) -> tuple[Index, str | None]:
    """Open an index.

    Args:
        name: "memory:", the URL of a database, or None for an SQLite database in the folder.
        directory: The folder of the archive; None: the archive has no folder.
        make: Make an index where there is none, and in the place of one that cannot be used; False: OSError.
        shared: Whether other processes of this machine may have it open. Then an SQLite index that was found to be
            damaged stays, as far as it can be used; see `put_damaged_aside`.

    Returns:
        The index, and the reason if it was created anew because the old one cannot be used.

    Raises:
        OSError: The database cannot be opened.
        ValueError: There is no such kind of index.
        ModuleNotFoundError: SQLAlchemy, or the driver of the database, is not installed.
    """
    if name == "memory:":
        return MemoryIndex(), None
    try:
        from sqlalchemy.exc import SQLAlchemyError

        from .sql.engines import file_of
    except ModuleNotFoundError as error:
        raise _missing(error) from None
    url = _url(name, directory)
    file = file_of(url)
    try:
        if file is None:
            return await _opened(url, make=make)
        return await _opened_file(url, file, make=make, shared=shared)
    except ModuleNotFoundError as error:
        raise _missing(error) from None
    except SQLAlchemyError as error:
        said = _words(error, url.password) if file is None else await in_thread(_words_of_file, error, file)
        why = f"the database of the index cannot be opened: {said}"
        raise OSError(errno.EIO, why, None if file is None else str(file)) from None


async def _opened(url: URL, *, make: bool) -> tuple[Index, str | None]:
    """Open an index in PostgreSQL."""
    from .sql import SQLIndex
    from .sql.unusable import IndexUnusable

    try:
        index = await SQLIndex.open(url, make=make)
    except IndexUnusable as error:
        raise OSError(errno.EINVAL, str(error)) from None
    return index, index.rebuilt


async def _opened_file(url: URL, file: Path, *, make: bool, shared: bool) -> tuple[Index, str | None]:
    """Open an index in SQLite."""
    from .sql import SQLIndex
    from .sql.engines import damage_mark
    from .sql.in_use import InUse
    from .sql.unusable import DAMAGED, IndexUnusable

    use: InUse | None = None
    try:
        if make:
            use = await InUse.take(file)
        left = CarriedOver()
        if not await in_thread(file.exists):
            if not make:  # SQLite would make it
                raise FileNotFoundError(errno.ENOENT, "there is no index; serve makes it", str(file))
            left = await in_thread(_carried_over, file)
        try:
            if not shared and await in_thread(damage_mark(file).exists):
                raise IndexUnusable(DAMAGED)
            return await SQLIndex.open(url, make=make, left=left, use=use), None
        except IndexUnusable as error:
            if use is None:
                raise OSError(errno.EINVAL, f"{error}; serve {error.remedy}", str(file)) from None
            if not use.is_alone:
                raise OSError(errno.EBUSY, f"{error}, and others use it: end them first", str(file)) from None
            await in_thread(put_aside, file, str(error))
            left = await in_thread(_carried_over, file)
            return await SQLIndex.open(url, left=left, use=use), str(error)
    except BaseException:
        if use is not None:
            use.close()
        raise


def put_damaged_aside(name: str | None, directory: Path | None) -> None:
    """Rename an SQLite index that was found to be damaged, before the processes that share it open it. Blocks.

    It stays where others have it open, until they have ended.

    Args:
        name: As of `open_index`.
        directory: As of `open_index`.

    Raises:
        ModuleNotFoundError: SQLAlchemy is not installed.
        OSError: It cannot be renamed.
        ValueError: There is no such kind of index.
    """
    try:
        from .sql.engines import damage_mark, file_of
        from .sql.in_use import InUse
        from .sql.unusable import DAMAGED
    except ModuleNotFoundError as error:
        raise _missing(error) from None
    file = file_of(_url(name, directory))
    if file is None or not damage_mark(file).exists() or not file.exists():
        return
    use = InUse.try_alone(file)
    if use is not None:
        try:
            put_aside(file, DAMAGED)
        finally:
            use.close()


def _missing(error: ModuleNotFoundError) -> ModuleNotFoundError:
    if error.name == "psycopg":
        needed = 'an index in PostgreSQL needs psycopg: pip install "aiodimse[archive]"'
        return ModuleNotFoundError(needed, name=error.name)
    needed = (
        'the index needs SQLAlchemy: pip install "aiodimse[cli]" or "aiodimse[archive]"; "memory:" as the index'
        " needs nothing, and reads all files at each start"
    )
    return ModuleNotFoundError(needed, name=error.name)


def _url(name: str | None, directory: Path | None) -> URL:
    from .sql.engines import url_of

    if name is None and directory is None:
        raise ValueError("an archive in a bucket needs an index, for example postgresql://USER@HOST/DATABASE")
    return url_of(directory / FILE if name is None and directory is not None else name or "")


def _words(error: SQLAlchemyError, password: str | None) -> str:
    """Say what the driver says, in its first line, unless it repeats the password of the URL."""
    said = str(getattr(error, "orig", None) or "").partition("\n")[0].strip()
    return said if said and not (password and password in said) else type(error).__name__


def _words_of_file(error: SQLAlchemyError, file: Path) -> str:
    """Say what SQLite says, and why where it only says that it cannot. Blocks."""
    if not file.parent.is_dir():
        return "there is no such folder"
    if not os.access(file.parent, os.W_OK):
        return 'its folder cannot be written to; "memory:" as the index needs no file'
    if file.is_file() and not os.access(file, os.R_OK | os.W_OK):
        return "permission denied"
    return _words(error, None)


def put_aside(file: Path, why: str) -> Path:
    """Rename a database that cannot be used, together with its companion files. Blocks."""
    from .sql.engines import damage_mark

    number = 1
    while (aside := _aside(file, number)).exists():
        number += 1
    for suffix in ("-wal", "-shm"):
        companion = file.with_name(file.name + suffix)
        if companion.exists():
            companion.rename(aside.with_name(aside.name + suffix))
    file.rename(aside)
    damage_mark(file).unlink(missing_ok=True)
    _log.warning("%s: it was renamed to %s, and all files are read again", why, aside.name)
    return aside


def _aside(file: Path, number: int) -> Path:
    return file.with_name(f"{file.name}.unusable-{number}")


def _carried_over(file: Path) -> CarriedOver:
    """Return what a new database takes from the last one that was put aside, if there is one. Blocks.

    They are read whenever a new database is made, so it does not matter where a process is killed meanwhile.
    """
    from .sql.unusable import carried_over

    number = 1
    while _aside(file, number).exists():
        number += 1
    return carried_over(_aside(file, number - 1)) if number > 1 else CarriedOver()
