"""The indexes that the contract suite runs on; a PostgreSQL server of our own, in a temporary folder."""

from __future__ import annotations

import atexit
import functools
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import text

from aiodimse.archive import Index, MemoryIndex
from aiodimse.archive.index.records import CarriedOver
from aiodimse.archive.index.sql import SQLIndex, form, schema
from aiodimse.archive.index.sql.engines import open_engine, url_of

PROGRAMS = max(Path("/usr/lib/postgresql").glob("*/bin"), default=Path("/usr/lib/postgresql/15/bin"))
KINDS = ("memory", "sqlite", "postgresql")


@functools.cache
def postgres() -> str:
    """Start a server, which ends with the process; the folder of its socket. PostgreSQL does not run as root."""
    if not (PROGRAMS / "postgres").exists():
        pytest.skip("PostgreSQL 15 is not here: apt-get install postgresql-15 (.ci/peers does it)")
    folder = tempfile.mkdtemp(prefix="aiodimse-pg-")
    user = None
    if os.geteuid() == 0:
        user = "postgres" if "postgres" in (each.pw_name for each in pwd.getpwall()) else "nobody"
        shutil.chown(folder, user)

    def run(*words: str) -> None:
        subprocess.run(words, check=True, user=user, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    data = f"{folder}/data"
    run(
        f"{PROGRAMS}/initdb",
        "-D",
        data,
        "-U",
        "aiodimse",
        "-A",
        "trust",
        "-E",
        "UTF8",
        "--no-sync",
        "--locale",
        "C.UTF-8",
    )
    options = f"-k {folder} -c listen_addresses= -c fsync=off -c shared_buffers=16MB"
    run(f"{PROGRAMS}/pg_ctl", "-D", data, "-w", "-l", f"{folder}/log", "-o", options, "start")

    def stop() -> None:
        run(f"{PROGRAMS}/pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(stop)
    return folder


def new_database() -> str:
    """The URL of an empty database."""
    folder, name = postgres(), f"t{uuid4().hex}"
    engine = open_engine(url_of(f"postgresql://aiodimse@/postgres?host={folder}"), connections=1)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    engine.dispose()
    return f"postgresql://aiodimse@/{name}?host={folder}"


@functools.cache
def emptied() -> str:
    return new_database()


def empty_database(kind: str, folder: Path) -> str:
    """The URL of a database without tables."""
    if kind == "sqlite":
        return f"sqlite:///{folder}/{uuid4().hex}.db"
    engine = open_engine(url_of(emptied()), connections=1)
    with engine.begin() as connection:  # a new database takes a second
        schema.metadata.drop_all(connection)
    engine.dispose()
    return emptied()


class Emptied:
    """A database that is emptied again and again. Its tables stay: making them takes 0.1 s, and so does opening them.

    Args:
        url: The URL of a database without tables.
    """

    def __init__(self, url: str) -> None:
        self.url = url_of(url)
        self._engine = open_engine(self.url, connections=1)
        with self._engine.begin() as connection:
            form.prepare(connection, None, CarriedOver())
            self._new = {
                table: [dict(row) for row in connection.execute(table.select()).mappings()]
                for table in schema.metadata.sorted_tables
            }

    def empty(self) -> None:
        """Leave what new tables have. Indexes may stay open: to them it is what another process does."""
        with self._engine.begin() as connection:
            for table in reversed(self._new):
                connection.execute(table.delete())
            for table, rows in self._new.items():
                if rows:
                    connection.execute(table.insert(), rows)


@functools.cache
def _of_postgresql() -> Emptied:
    return Emptied(new_database())


def emptied_database(kind: str, folder: Path) -> Emptied:
    """An empty database that has its tables."""
    database = _of_postgresql() if kind == "postgresql" else Emptied(empty_database(kind, folder))
    database.empty()
    return database


async def open_index(kind: str, folder: Path) -> Index:
    if kind == "memory":
        return MemoryIndex()
    url = emptied_database(kind, folder).url if kind == "postgresql" else url_of(empty_database(kind, folder))
    return await SQLIndex.open(url)
