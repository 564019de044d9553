"""Several processes write to one database: each waits for the other, and none counts with what is out of date."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from archive.databases import empty_database
from archive.test_archive_known_series import header
from sqlalchemy import Connection, text

from aiodimse.archive import Header
from aiodimse.archive.index.sql import SQLIndex
from aiodimse.archive.index.sql.engines import url_of
from aiodimse.archive.index.sql.prepared import Opened
from aiodimse.archive.index.sql.writing import add

Adds = Callable[[SQLIndex, Header], Awaitable[None]]


async def scanned(index: SQLIndex, header: Header) -> None:
    await index.add([header])


async def stored(index: SQLIndex, header: Header) -> None:
    blocking = index.blocking()
    assert blocking is not None
    done = blocking.add(header)
    await asyncio.to_thread(blocking.write)
    await asyncio.wrap_future(done)


@pytest.mark.parametrize("known", [False, True], ids=["another series", "a known series"])
@pytest.mark.parametrize(
    ("kind", "adds"),
    [("sqlite", scanned), ("sqlite", stored), ("postgresql", scanned)],
    ids=["SQLite-scan", "SQLite-store", "PostgreSQL"],
)
async def test_a_writer_waits_until_another_has_committed(kind: str, adds: Adds, known: bool, tmp_path: Path) -> None:
    """The other one has written and not committed while this one begins."""
    url = url_of(empty_database(kind, tmp_path))
    one, other = await SQLIndex.open(url), await SQLIndex.open(url)
    has_written, may_commit = threading.Event(), threading.Event()

    def slowly(connection: Connection) -> None:
        add(Opened.by_sqlalchemy(connection), [header(8)])
        has_written.set()
        assert may_commit.wait(20)

    try:
        for number in (1, 2):
            await adds(other, header(number))
        slow = asyncio.ensure_future(asyncio.to_thread(one._transaction, slowly))
        assert await asyncio.to_thread(has_written.wait, 20)
        adding = asyncio.ensure_future(adds(other, header(9, series=1 if known else 2)))
        assert await asyncio.wait([adding], timeout=0.2) == (set(), {adding})
        may_commit.set()
        await asyncio.gather(slow, adding)
        counted = one._fetch(text("SELECT counters FROM study"))[0][0]  # type: ignore[arg-type]
        series = 1 if known else 2
        assert counted == f'[{series},4,{{"MR":{series}}},{{"1.2.840.10008.5.1.4.1.1.4":4}}]'
        assert (await one.counts()).instances == 4
    finally:
        may_commit.set()
        await one.close()
        await other.close()


async def test_a_power_failure_damages_no_database_in_sqlite(tmp_path: Path) -> None:
    """It may lose the last transactions, which the next scan restores. Without flushes it could mix pages."""
    index = await SQLIndex.open(url_of(empty_database("sqlite", tmp_path)))
    try:
        await stored(index, header(1))
        assert index._direct is not None
        cursors = [index._direct._opened().cursor()]
        with index._engine.connect() as connection:
            cursors.append(connection.connection.cursor())
            for cursor in cursors:
                assert cursor.execute("PRAGMA journal_mode").fetchone() == ("wal",)
                assert cursor.execute("PRAGMA synchronous").fetchone()[0] >= 1  # NORMAL
                cursor.close()
    finally:
        await index.close()
