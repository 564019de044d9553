"""An index that cannot be used, or does not take a value: how that is seen, and what is carried over into a new one.

Everything in an index can be read again from the objects, except for the storage commitments on which nobody has
reported yet, and for when a study was received again.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

from sqlalchemy import Connection, Dialect, Table, insert, inspect, select, text
from sqlalchemy.schema import CreateSchema

from ..records import CarriedOver, Transaction
from . import schema
from .engines import APPLICATIONS, open_engine, url_of
from .rows import load_transaction

_log = logging.getLogger(__name__)

DAMAGED = "the index is damaged"

_CHECKED = 64 << 20
"""The size in bytes up to which an SQLite database is checked when it is opened, which takes about a tenth of a second.
Damage in a larger one is seen when what is damaged is read."""

_ENDING = 2.0
"""How long sessions of PostgreSQL may take to end after their process, in seconds."""


class IndexUnusable(Exception):
    """The database holds an index of another form, or it is damaged.

    Args:
        why: What is wrong.
        remedy: What opening it does if it may change it.
    """

    def __init__(self, why: str, remedy: str = "makes a new one from the files") -> None:
        super().__init__(why)
        self.remedy = remedy


def is_damage(error: BaseException) -> bool:
    """Return whether an error of SQLite says that its file is damaged.

    Args:
        error: What SQLAlchemy or the driver raised.
    """
    code = getattr(getattr(error, "orig", None) or error, "sqlite_errorcode", None)
    return code is not None and code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def is_refusal(error: BaseException, dialect: Dialect) -> bool:
    """Return whether an error says that a value cannot be in the database, whenever it is tried.

    Args:
        error: What SQLAlchemy or the driver raised.
        dialect: How SQLAlchemy speaks to the database.
    """
    error = getattr(error, "orig", None) or error
    driver = dialect.loaded_dbapi
    # SQLSTATE 54: program limit exceeded, such as a key that is too long for an index of PostgreSQL.
    return isinstance(error, (OverflowError, UnicodeError, driver.DataError, driver.IntegrityError)) or (
        str(getattr(error, "sqlstate", None)).startswith("54")
    )


def check_file(connection: Connection, file: Path) -> None:
    """Check an SQLite database that is not too large for it. Blocks.

    Raises:
        IndexUnusable: It is damaged.
    """
    if file.stat().st_size <= _CHECKED and connection.execute(text("PRAGMA quick_check(1)")).scalar() != "ok":
        raise IndexUnusable(DAMAGED)


def carried_over(file: Path) -> CarriedOver:
    """Return what a new index takes from an SQLite database that is not used any more, as far as it is sound. Blocks.

    Args:
        file: The database.
    """
    transactions, received = list[Transaction](), dict[str, int]()
    engine = open_engine(url_of(file), connections=1)
    try:
        with _tolerating(schema.transaction, file.name), engine.connect() as connection:
            transactions.extend(map(load_transaction, connection.execute(select(schema.transaction))))
        with _tolerating(schema.received, file.name), engine.connect() as connection:
            if inspect(connection).has_table(schema.received.name):  # those of version 3 and older have none
                received.update((row.study_uid, row.received_at) for row in connection.execute(select(schema.received)))
    finally:
        engine.dispose()
    return CarriedOver(tuple(transactions), received)


_CARRIED_OVER: Mapping[Table, str] = {
    schema.transaction: "storage commitments",
    schema.received: "times at which studies were received again",
}
"""The tables that are carried over, and what is in them."""


@contextmanager
def _tolerating(table: Table, where: str) -> Iterator[None]:
    """Log that not all rows of a table can be read: the driver raises an error, or finds something else in them."""
    try:
        yield
    except Exception as error:
        _log.warning("not all %s in %s can be read: %s", _CARRIED_OVER[table], where, type(error).__name__)


def refuse_other_versions(connection: Connection, why: str) -> None:
    """Check that no process of another version uses an index in PostgreSQL, before its tables are changed.

    PostgreSQL takes a moment to end the sessions of a process that has just ended, so they are waited for.

    Args:
        connection: A connection in a transaction that keeps other writers out.
        why: Why the tables have to be changed.

    Raises:
        IndexUnusable: There are such processes.
    """
    others = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name LIKE :every AND application_name <> current_setting('application_name')"
    )
    until = monotonic() + _ENDING
    while connection.execute(others, {"every": APPLICATIONS + "%"}).scalar():
        if monotonic() > until:
            raise IndexUnusable(f"{why}, and processes of another version use it: end them first")
        connection.execute(text("SELECT pg_sleep(0.05), pg_stat_clear_snapshot()"))


def set_tables_aside(connection: Connection, why: str) -> None:
    """Move the tables of an index in PostgreSQL into a schema of their own, and make new ones.

    Args:
        connection: A connection in a transaction that keeps other writers out.
        why: Why they cannot be used.

    Raises:
        sqlalchemy.exc.SQLAlchemyError: The user of the database may not do it.
    """
    known, number = inspect(connection).get_schema_names(), 1
    while (aside := f"aiodimse_unusable_{number}") in known:
        number += 1
    connection.execute(CreateSchema(aside))
    for table in schema.metadata.sorted_tables:
        if inspect(connection).has_table(table.name):
            connection.execute(text(f"ALTER TABLE {table.name} SET SCHEMA {aside}"))
    schema.metadata.create_all(connection)
    _log.warning("%s: its tables were moved into the schema %s, and all files are read again", why, aside)
    for table in _CARRIED_OVER:
        if inspect(connection).has_table(table.name, schema=aside):
            names = [column.name for column in table.c]
            left = table.to_metadata(type(schema.metadata)(), schema=aside)
            with _tolerating(table, aside), connection.begin_nested():
                connection.execute(insert(table).from_select(names, select(left)))
