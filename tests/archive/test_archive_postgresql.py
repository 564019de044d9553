"""What a server of PostgreSQL does to its sessions."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import pytest
from archive.databases import empty_database
from archive.strategies import asked
from archive.test_archive_known_series import header
from sqlalchemy import text

from aiodimse.archive import find_query
from aiodimse.archive.index.sql import SQLIndex, advisory
from aiodimse.archive.index.sql import index as sql_index
from aiodimse.archive.index.sql.engines import open_engine, url_of
from aiodimse.archive.models import STUDY_ROOT


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


async def test_a_search_has_a_limit_while_it_waits_for_its_turn(
    index: SQLIndex, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those before it may wait for the database."""

    @asynccontextmanager
    async def turn() -> AsyncIterator[None]:
        await asyncio.Event().wait()
        yield

    monkeypatch.setattr(sql_index, "ANSWER", 0.0)
    query = find_query(asked("STUDY", StudyInstanceUID=None), STUDY_ROOT)
    async with aclosing(index.find(query, turn())) as found:
        with pytest.raises(TimeoutError):
            await anext(found)


async def test_who_releases_a_lock_does_not_wait_for_ever(index: SQLIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    """The thread releases it when the database answers, before it takes another one."""
    locks, others = index.process_locks(), index.process_locks()
    assert locks is not None
    assert others is not None
    assert await locks.try_lock([1])
    answers = threading.Event()
    locks._thread.submit(answers.wait)
    monkeypatch.setattr(advisory, "_RELEASE", 0.0)
    await locks.unlock([1])
    assert not await others.try_lock([1])
    answers.set()
    assert await locks.try_lock([2])
    assert await others.try_lock([1])
    await locks.close()
    await others.close()


async def test_each_statement_and_each_lock_has_a_limit(index: SQLIndex) -> None:
    with index._engine.connect() as connection:
        for limit in ("statement_timeout", "lock_timeout"):
            assert connection.execute(text(f"SHOW {limit}")).scalar() == "30s"
