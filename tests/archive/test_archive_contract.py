"""Every index answers alike: the same objects, the same queries, memory compared with the databases."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from archive.databases import KINDS, open_index
from archive.strategies import asked as identifier
from archive.strategies import headers, protocol_queries, protocols, queries
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiodimse.archive import Entry, File, Finding, Header, Index, MemoryIndex, Query, retrieve_query
from aiodimse.archive.matching import Value
from aiodimse.archive.models import STUDY_ROOT, UNIQUE, Level

DATABASES = [kind for kind in KINDS if kind != "memory"]


OBJECTS = st.lists(st.one_of(headers(), headers(), headers(), protocols()), max_size=4)
CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("add"), OBJECTS),
        st.tuples(st.just("store"), OBJECTS),
        st.tuples(st.just("set_current"), st.none()),
        st.tuples(st.just("receive"), st.lists(st.sampled_from(["1.1", "1.2", "1.9"]), max_size=2)),
        st.tuples(st.just("forget_received"), st.none()),
        st.tuples(st.just("remove"), st.lists(st.sampled_from(["a", "b", "c/d", "1/1/1", "nowhere"]), max_size=3)),
        st.tuples(
            st.just("note"),
            st.lists(
                st.builds(
                    File,
                    st.sampled_from(["a", "c/d", "x"]),
                    st.just(1),
                    st.just(2),
                    st.sampled_from([Finding.DUPLICATE, Finding.NOT_DICOM]),
                    st.sampled_from(["1.1.1.1", "1.2.1.1"]),
                ),
                max_size=3,
                unique_by=lambda file: file.location,
            ),
        ),
    ),
    min_size=1,
    max_size=6,
)


async def change(index: Index, changes: list[tuple[str, Any]]) -> list[Any]:
    found: list[Any] = []
    for name, what in changes:
        if name == "store":
            await store(index, what)
        elif name == "receive":
            await index.set_received(what, 5 + len(found) % 3)
        elif name == "forget_received":
            await index.forget_received()
        elif name == "set_current":
            for study in await index.outdated_studies():
                await index.set_current(study)
        else:
            found.append(await getattr(index, name)(what))
        found.append(sorted(study.study_instance_uid for study in await index.outdated_studies()))
    return found


async def store(index: Index, stored: list[Header]) -> None:
    """One after the other, as the threads that save do where they may."""
    blocking = index.blocking()
    for header in stored:
        if blocking is None:
            await index.add([header])
        else:
            done = blocking.add(header)
            blocking.write()
            await asyncio.wrap_future(done)


async def answers(index: Index, query: Query) -> list[str]:
    return sorted([f"{match.attributes} {sorted(match.character_sets)}" async for match in index.find(query)])


async def retrieved(index: Index, query: Query) -> list[Entry]:
    """The objects at and below what the unique keys of a query name, whatever other keys it has."""
    return sorted([entry async for entry in index.entries(query)], key=lambda entry: entry.location)


async def everything(index: Index) -> tuple[Any, ...]:
    files = {folder: await index.files(folder) for folder in await index.folders()}
    uids = [file.sop_instance_uid for its in files.values() for file in its.values()]
    studies = await index.oldest_studies(100)
    return (
        await index.counts(),
        studies,
        [await index.oldest_studies(2, after=study) for study in studies],
        [await index.study_age(uid) for uid in ("1.1", "1.2", "1.9")],
        [await index.last_received(uid, list(files.get("", ()))) for uid in ("1.1", "1.2", "1.9")],
        await index.last_received("1.1", []),
        await index.stored_bytes(),
        {folder: its for folder, its in files.items() if its},
        await index.lookup(uids),
        sorted(await index.duplicates(["1.1.1.1", "1.2.1.1"]), key=lambda file: file.location),
    )


@pytest.mark.parametrize("kind", DATABASES)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(changes=CHANGES, asked=st.lists(st.one_of(queries(), queries(), protocol_queries()), min_size=1, max_size=8))
async def test_the_same_answers(kind: str, tmp_path: Path, changes: list[tuple[str, Any]], asked: list[Query]) -> None:
    memory, database = MemoryIndex(), await open_index(kind, tmp_path)
    try:
        assert await change(memory, changes) == await change(database, changes)
        assert await everything(memory) == await everything(database)
        for query in asked:
            assert await answers(memory, query) == await answers(database, query)
            assert await retrieved(memory, query) == await retrieved(database, query)
    finally:
        await database.close()


@pytest.mark.parametrize("kind", DATABASES)
async def test_a_database_is_as_it_was_when_it_is_opened_again(kind: str, tmp_path: Path) -> None:
    from archive.databases import new_database

    from aiodimse.archive.index.sql import SQLIndex
    from aiodimse.archive.index.sql.engines import url_of

    url = url_of(new_database() if kind == "postgresql" else f"sqlite:///{tmp_path}/index.db")
    index = await SQLIndex.open(url)
    levels: dict[Level, dict[str, Value]] = {level: {UNIQUE[level]: ("1.2",)} for level in Level}
    await index.add([Header("a.dcm", levels)])
    before = await everything(index)
    await index.close()
    again = await SQLIndex.open(url)
    assert await everything(again) == before
    query = retrieve_query(identifier("STUDY", StudyInstanceUID="1.2"), STUDY_ROOT)
    assert [entry.location async for entry in again.entries(query)] == ["a.dcm"]
    await again.close()
