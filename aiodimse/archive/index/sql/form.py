"""Makes, checks and migrates the tables when a database is opened. The functions block."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, false, inspect, select, text

from ..records import CarriedOver
from . import schema
from .rows import transaction_row
from .unusable import IndexUnusable, check_file, refuse_other_versions, set_tables_aside


def prepare(connection: Connection, file: Path | None, left: CarriedOver, *, is_alone: bool = True) -> str | None:
    """Make the tables that are not there, and migrate those of an older version.

    Args:
        connection: A connection in a transaction that keeps other writers out.
        file: The file of an SQLite database; None: the database is in PostgreSQL.
        left: What new tables begin with.
        is_alone: Whether nobody else has an SQLite database open. If somebody has, it is not checked, and not migrated.

    Returns:
        Why tables in PostgreSQL were set aside; None: they were not.

    Raises:
        IndexUnusable: The tables of an SQLite database cannot be used, or processes of another version use them.
        sqlalchemy.exc.OperationalError: The file of an SQLite database may only be read.
    """
    if not inspect(connection).has_table(schema.meta.name):
        schema.metadata.create_all(connection)
        if left.transactions:
            connection.execute(schema.transaction.insert(), list(map(transaction_row, left.transactions)))
        if left.received:
            rows = [{"study_uid": uid, "received_at": at} for uid, at in left.received.items()]
            connection.execute(schema.received.insert(), rows)
        _write_form(connection)
        return None
    if file is not None:
        # SQLite opens a file that it may only read without a word, and refuses no BEGIN. This changes nothing.
        connection.execute(schema.meta.delete().where(false()))
    if file is not None and is_alone:
        check_file(connection, file)
    version, kept = _form(connection)
    if (version, kept) == (schema.VERSION, schema.digest_of_kept()):
        return None
    why = ""
    if version != schema.VERSION and not _can_be_migrated(version):
        why = _other_version(version)
    elif kept != schema.digest_of_kept():
        why = "the index keeps other attributes than this program"
    if file is None:
        refuse_other_versions(connection, why or _other_version(version))
    elif why or not is_alone:
        raise IndexUnusable(why or _other_version(version))
    if not why:
        _migrate(connection, version)
        return None
    set_tables_aside(connection, why)
    _write_form(connection)
    return why


def require(connection: Connection) -> None:
    """Check that the tables of this version are there.

    Raises:
        IndexUnusable: They are not.
    """
    if not inspect(connection).has_table(schema.meta.name):
        raise IndexUnusable("the database holds no index")
    version, _ = _form(connection)
    if _can_be_migrated(version):
        raise IndexUnusable(_other_version(version), "migrates it")
    if version != schema.VERSION:
        raise IndexUnusable(_other_version(version))


def _other_version(version: int) -> str:
    return f"the index is of version {version}, and this program's is {schema.VERSION}"


def _can_be_migrated(version: int) -> bool:
    """Return whether there are migrations from an older version to this one."""
    return version < schema.VERSION and all(step in schema.MIGRATIONS for step in range(version, schema.VERSION))


def _form(connection: Connection) -> tuple[int, str | None]:
    """Return the version of the tables, 0 if it is none, and the digest of what they keep."""
    found = {row.name: row.value for row in connection.execute(select(schema.meta))}
    version = found.get("version") or ""
    return int(version) if version.isascii() and version.isdigit() else 0, found.get("kept")


def _write_form(connection: Connection) -> None:
    rows = {"version": str(schema.VERSION), "kept": schema.digest_of_kept()}
    connection.execute(schema.meta.insert(), [{"name": name, "value": value} for name, value in rows.items()])


def _migrate(connection: Connection, version: int) -> None:
    for step in range(version, schema.VERSION):
        for statement in schema.MIGRATIONS[step]:
            connection.execute(text(statement.format(key=schema.KEY.compile(connection.dialect))))
    row = schema.meta.update().where(schema.meta.c.name == "version")
    connection.execute(row.values(value=str(schema.VERSION)))
