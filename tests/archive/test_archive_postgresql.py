"""What a server of PostgreSQL does to its sessions."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from archive.databases import empty_database
from archive.test_archive_known_series import header
from sqlalchemy import text

from aiodimse.archive.index.sql import SQLIndex
from aiodimse.archive.index.sql.engines import open_engine, url_of


@pytest.fixture
async def index(tmp_path: Path) -> AsyncIterator[SQLIndex]:
    index = await SQLIndex.open(url_of(empty_database("postgresql", tmp_path)))
    yield index
    await index.close()


async def test_sessions_that_a_restart_has_ended_cost_no_request(index: SQLIndex) -> None:
    """The connections of the pool were open before, for reading and for writing."""
    await index.add([header(1)])
    assert (await index.counts()).instances == 1
    end = text("SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE application_name LIKE 'aio%'")
    engine = open_engine(index._url, connections=1)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("SET application_name = 'administrator'"))
        assert connection.execute(end).scalar()
    engine.dispose()
    assert (await index.counts()).instances == 1
    await index.add([header(2)])
    assert (await index.counts()).instances == 2


async def test_each_statement_and_each_lock_has_a_limit(index: SQLIndex) -> None:
    with index._engine.connect() as connection:
        for limit in ("statement_timeout", "lock_timeout"):
            assert connection.execute(text(f"SHOW {limit}")).scalar() == "30s"
