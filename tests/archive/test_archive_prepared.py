"""Prepared statements give and take what SQLAlchemy's own do, in both databases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from archive.databases import open_index
from sqlalchemy import Connection, bindparam, delete, select, update

from aiodimse.archive.index.sql import SQLIndex, schema
from aiodimse.archive.index.sql.prepared import Opened, Prepared, PreparedList

ODD = ["", "plain.dcm", "a\0b", "\udcff lone", "\x01", "ÄÖ ß", "%s", "it's", "日本"]
"""Text that files and peers may bring, and databases do not take as it is."""
COLUMNS = [column.name for column in schema.file.c]


def row(location: str, number: int = 0) -> dict[str, Any]:
    uid = location[::-1]
    return {"location": location, "folder": "", "size": number, "modified": 0, "finding": "object", "uid": uid}


@pytest.fixture(params=["sqlite", "postgresql"])
async def connection(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Connection]:
    index = await open_index(request.param, tmp_path)
    assert isinstance(index, SQLIndex)
    with index._engine.connect().execution_options(writes=True) as connection, connection.begin():
        yield connection
    await index.close()


async def test_what_is_written_is_what_sqlalchemy_reads(connection: Connection) -> None:
    rows = [row(location, number) for number, location in enumerate(ODD)]
    Prepared(schema.file.insert(), COLUMNS).run(Opened.by_sqlalchemy(connection), rows)
    Prepared(schema.file.insert(), COLUMNS).run(Opened.by_sqlalchemy(connection), [])
    read = connection.execute(select(schema.file).order_by(schema.file.c.size)).all()
    assert [dict(each._mapping) for each in read] == rows
    changed = update(schema.file).where(schema.file.c.location == bindparam("of")).values(uid=bindparam("uid"))
    Prepared(changed).run(Opened.by_sqlalchemy(connection), [{"of": each, "uid": "\0" + each} for each in ODD])
    read = connection.execute(select(schema.file.c.uid).order_by(schema.file.c.size)).all()
    assert [each.uid for each in read] == ["\0" + each for each in ODD]


async def test_what_sqlalchemy_writes_is_what_is_read(connection: Connection) -> None:
    connection.execute(schema.file.insert(), [row(location) for location in ODD])
    query = select(schema.file).where(schema.file.c.location == bindparam("location"))
    prepared = Prepared(query)
    for location in (*ODD, "not there"):
        expected = connection.execute(query, {"location": location}).all()
        found = prepared.rows(Opened.by_sqlalchemy(connection), {"location": location})
        assert [each._asdict() for each in found] == [dict(each._mapping) for each in expected]
        assert len(found) == (location in ODD)


@pytest.mark.parametrize("count", [1, 2, 3, 8, 9, 500])
async def test_a_list_of_values(connection: Connection, count: int) -> None:
    there = [*ODD, *(f"file {number}" for number in range(200))]
    connection.execute(schema.file.insert(), [row(location) for location in there])
    asked = [*ODD, *(f"file {number}" for number in range(100, 591))][-count:]
    opened, column = Opened.by_sqlalchemy(connection), schema.file.c.location
    found = PreparedList(select(column), column).rows(opened, asked)
    assert sorted(each.location for each in found) == sorted(set(asked) & set(there))
    PreparedList(delete(schema.file), column).run(opened, asked)
    left = connection.execute(select(column)).all()
    assert sorted(each.location for each in left) == sorted(set(there) - set(asked))
