"""Opens a database, and sets up SQLite and PostgreSQL as this index needs them."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from ..interface import ANSWER
from . import schema

SECONDS = ANSWER - 5
"""The time limit for a statement and for a lock, in seconds. A database that is stopped or unreachable does not keep to
it."""
READERS = 4
"""The number of threads, and of connections, that search."""

APPLICATIONS = "aiodimse index "
"""What the names of all connections to PostgreSQL begin with. The digest that follows tells versions apart."""

_WRITERS_LOCK = 0x61696F64
"""The advisory lock of PostgreSQL for writers: it keeps two processes from changing one study at the same time."""


def url_of(name: str | Path) -> URL:
    """Return the URL of a database: sqlite:///FILE, postgresql://..., or the file of an SQLite database.

    Raises:
        ValueError: The name is none of these.
    """
    if isinstance(name, Path):
        return URL.create("sqlite+pysqlite", database=str(name))
    try:
        url = make_url(name)
    except ArgumentError:
        raise ValueError("not the URL of a database") from None
    backend = url.get_backend_name()
    if backend == "postgresql":
        return url.set(drivername="postgresql+psycopg")
    if backend == "sqlite" and url.database:
        return url.set(drivername="sqlite+pysqlite")
    raise ValueError("an index is kept in sqlite:///FILE or postgresql://USER@HOST/DATABASE")


def file_of(url: URL) -> Path | None:
    """Return the file of an SQLite database."""
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


def damage_mark(file: Path) -> Path:
    """Return the file beside an SQLite database that says that the database is damaged."""
    return file.with_name(f"{file.name}.damaged")


def flush_log(file: Path) -> None:
    """Flush the write-ahead log of an SQLite database to the disk. Blocks.

    Raises:
        OSError: The disk does not take it.
    """
    with suppress(FileNotFoundError), file.with_name(f"{file.name}-wal").open("rb") as log:
        os.fsync(log.fileno())


class IndexFileReplaced(Exception):
    """The file of an SQLite database was removed, renamed or replaced while it is open.

    SQLite does not notice: what it is told would be in a file that nobody finds after a restart, and another process
    would make a new one.
    """


class SameFile:
    """Checks that an SQLite database is still the file that was opened first.

    Args:
        file: The file.
    """

    def __init__(self, file: Path) -> None:
        self._file = os.fspath(file)
        self._opened: tuple[int, int] | None = None

    def opened(self) -> None:
        """Note the file, which exists now. It is that of the first connection."""
        if self._opened is None:
            self._opened = self._identity()

    def check(self) -> None:
        """Check the file, unless none was opened.

        Raises:
            IndexFileReplaced: It is another one, or none is there.
        """
        if self._opened is not None and self._identity() != self._opened:
            raise IndexFileReplaced

    def _identity(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self._file)  # noqa: PTH116
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def watch(self, engine: Engine) -> None:
        """Check it whenever a connection is taken out of the pool of an engine, or made."""
        event.listen(engine, "do_connect", lambda *_: self.check())
        event.listen(engine, "connect", lambda *_: self.opened())
        event.listen(engine, "checkout", lambda *_: self.check())


def open_engine(url: URL, *, connections: int) -> Engine:
    """Open a database for this number of threads."""
    if file_of(url) is None:
        options = f"-c statement_timeout={SECONDS * 1000} -c lock_timeout={SECONDS * 1000}"
        return create_engine(
            url,
            pool_size=connections,
            max_overflow=0,
            pool_timeout=SECONDS,
            pool_pre_ping=True,
            connect_args={
                "connect_timeout": SECONDS,
                "application_name": f"{APPLICATIONS}{schema.VERSION} {schema.digest_of_kept()[:16]}",
                "options": options,
                "keepalives_idle": SECONDS,  # a machine that is gone is noticed, and its threads are free again
                "keepalives_interval": 5,
                "keepalives_count": 3,
                "tcp_user_timeout": ANSWER * 1000,
            },
        )
    engine = create_engine(
        url, pool_size=connections, max_overflow=0, connect_args={"timeout": SECONDS, "check_same_thread": False}
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def begin_to_write(connection: Connection) -> None:
    """Keep other writers out until the transaction ends."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _WRITERS_LOCK})


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # keeps sqlite3 from beginning transactions; _begin_sqlite does it
    for pragma in (
        "journal_mode=WAL",  # readers do not wait for the writer
        "synchronous=NORMAL",  # the next scan restores what a power failure removes from the index
        "wal_autocheckpoint=4000",  # pages; a checkpoint flushes two files, and each page once: 16 MiB at a time
        "foreign_keys=ON",
        "cache_size=-4000",  # KiB for each of five connections; the system keeps the rest of the file in its own
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Connection) -> None:
    # A query without BEGIN is a transaction of its own.
    if connection.get_execution_options().get("writes", False):
        connection.exec_driver_sql("BEGIN IMMEDIATE")
