"""Every index answers alike: the same objects, the same queries, memory compared with the databases."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from archive.databases import KINDS, open_index
from archive.strategies import headers, queries
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset

from aiodimse.archive import File, Finding, Header, Index, MemoryIndex, Query, retrieve_query
from aiodimse.archive.index import Transaction
from aiodimse.archive.matching import Rules, Value
from aiodimse.archive.models import STUDY_ROOT, UNIQUE, Level
from aiodimse.archive.one_level import BY_NAME
from aiodimse.archive.queries import find_one_level

DATABASES = [kind for kind in KINDS if kind != "memory"]


ONE_LEVEL = ("hanging-protocol", "protocol-approval")


def texts(*values: str) -> st.SearchStrategy[tuple[str, ...]]:
    return st.sampled_from([(), *((value,) for value in values)])


@st.composite
def headers_of_one_level(draw: st.DrawFn) -> Header:
    """Of objects that belong to no study; some have the UID or the location of one that does."""
    model = draw(st.sampled_from(ONE_LEVEL))
    code = st.builds(lambda value: ({"CodeValue": value, "CodeMeaning": ("Head",)},), texts("1", "2"))
    attributes: dict[str, Value] = {
        "SOPInstanceUID": (draw(st.sampled_from(["1.1.1.1", "1.9.1", "1.9.2", "1.9.3"])),),
        "SOPClassUID": (str(BY_NAME[model].storage[0]),),
        "HangingProtocolName": draw(texts("CT Head", "ct head", "MR\0")),
        "NumberOfScreens": draw(texts("1", "01", "2")),
        "InstanceCreationDate": draw(texts("20240102", "2024.01.03", "never")),
        "InstanceCreationTime": draw(texts("0900", "1800")),
        "HangingProtocolUserIdentificationCodeSequence": draw(code),
    }
    location = draw(st.sampled_from(["a", "c/d", "h/1", "h/2"]))
    return Header(location, {Level.IMAGE: attributes}, ("ISO_IR 100",), "1.2.840.10008.1.2", 10, 8, model)


@st.composite
def queries_of_one_level(draw: st.DrawFn) -> Query:
    identifier = Dataset()
    keys: dict[str, list[Any]] = {
        "HangingProtocolName": ["", "CT Head", "CT*", "?? Head", ["CT Head", "ct head"]],
        "NumberOfScreens": ["", "1"],
        "InstanceCreationDate": ["", "20240102-", "-20240102", "20240102"],
        "InstanceCreationTime": ["", "10-", "-10", "0900"],
        "SOPInstanceUID": ["", "1.9.1", ["1.9.2", "1.1.1.1"]],
    }
    for keyword in draw(st.lists(st.sampled_from(sorted(keys)), max_size=3, unique=True)):
        setattr(identifier, keyword, draw(st.sampled_from(keys[keyword])))
    if draw(st.booleans()):
        item = Dataset()
        item.CodeValue = draw(st.sampled_from(["", "1"]))
        identifier.HangingProtocolUserIdentificationCodeSequence = [item]
    model = BY_NAME[draw(st.sampled_from(ONE_LEVEL))]
    return find_one_level(identifier, model, Rules(fuzzy_names=draw(st.booleans())))


OBJECTS = st.lists(st.one_of(headers(), headers(), headers_of_one_level()), max_size=4)
TRANSACTIONS = st.builds(
    Transaction,
    st.sampled_from(["1.1", "1.2"]),
    st.sampled_from(["ONE", "OTHER"]),
    st.sampled_from([(), (("1.2", "1.3"),), (("1.2", "1.3"), ("", "1.4\0"))]),
    st.integers(0, 1 << 40),
)

CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("add"), OBJECTS),
        st.tuples(st.just("store"), OBJECTS),
        st.tuples(st.just("put_transaction"), TRANSACTIONS),
        st.tuples(st.just("drop_transaction"), TRANSACTIONS),
        st.tuples(
            st.just("remove"), st.lists(st.sampled_from(["a", "b", "c/d", "h/1", "1/1/1", "nowhere"]), max_size=3)
        ),
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
    return [await store(index, what) if name == "store" else await getattr(index, name)(what) for name, what in changes]


async def store(index: Index, stored: list[Header]) -> None:
    """One after the other, as the threads that save do where they may."""
    blocking = index.blocking()
    for header in stored:
        if blocking is None:
            await index.add([header])
        else:
            await asyncio.wrap_future(blocking.add(header))


async def answers(index: Index, query: Query) -> list[str]:
    return sorted([f"{match.attributes} {sorted(match.character_sets)}" async for match in index.find(query)])


async def everything(index: Index) -> tuple[Any, ...]:
    files = {folder: await index.files(folder) for folder in await index.folders()}
    uids = [file.sop_instance_uid for its in files.values() for file in its.values()]
    return (
        await index.counts(),
        {folder: its for folder, its in files.items() if its},
        await index.lookup(uids),
        sorted(await index.duplicates(["1.1.1.1", "1.2.1.1"]), key=lambda file: file.location),
        (ages := await index.oldest_studies(2)),
        await index.oldest_studies(9, ages[-1] if ages else None),
        await index.stored_bytes(),
        sorted(await index.transactions(), key=lambda each: (each.uid, each.calling_ae_title)),
        await index.open_transactions(),
    )


async def retrieved(index: Index, query: Query) -> list[str]:
    """What a retrieval finds by the UIDs of a query."""
    return sorted([str(entry) + entry.location async for entry in index.entries(query)])


@pytest.mark.parametrize("kind", DATABASES)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(changes=CHANGES, asked=st.lists(st.one_of(queries(), queries(), queries_of_one_level()), min_size=1, max_size=8))
async def test_the_same_answers(kind: str, tmp_path: Path, changes: list[tuple[str, Any]], asked: list[Query]) -> None:
    memory, database = MemoryIndex(), await open_index(kind, tmp_path)
    try:
        assert await change(memory, changes) == await change(database, changes)
        assert await everything(memory) == await everything(database)
        for query in asked:
            assert await answers(memory, query) == await answers(database, query)
            if query.unique:
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
    query = retrieve_query(_asked("STUDY", StudyInstanceUID="1.2"), STUDY_ROOT)
    assert [entry.location async for entry in again.entries(query)] == ["a.dcm"]
    await again.close()


def _asked(level: str, **keys: object) -> Dataset:
    dataset = Dataset()
    dataset.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(dataset, keyword, value)
    return dataset
