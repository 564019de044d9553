"""Every index answers alike: the same objects, the same queries, memory compared with the databases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from archive.databases import KINDS, open_index
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset, config

from aiodimse.archive import File, Finding, Header, Index, MemoryIndex, Query, find_query, retrieve_query
from aiodimse.archive.matching import Rules, Value
from aiodimse.archive.models import ATTRIBUTES, COMPUTED, PATIENT_ROOT, STUDY_ROOT, UNIQUE, Level

DATABASES = [kind for kind in KINDS if kind != "memory"]


def values(*texts: str) -> st.SearchStrategy[tuple[str, ...]]:
    return st.sampled_from([(), *((text,) for text in texts), texts[:2]])


LEVELS = {
    Level.PATIENT: {
        "PatientID": values("1", "2", "DOM\\anna", "0", "a\0b"),
        "IssuerOfPatientID": values("NORTH", "SOUTH"),
        "PatientName": values("Doe^John", "DOE^JOHN^^", "Roe^Jane=王^小東=", "Müller^Jörg", "^", "Doe^J\0hn"),
        "PatientBirthDate": values("19700101", "1970.01.01", "no date"),
    },
    Level.STUDY: {
        "StudyDate": values("20200102", "20201231", "yesterday"),
        "StudyTime": values("0900", "235959.5"),
        "AccessionNumber": values("A1", "A2", "a1"),
        "StudyID": values("1", "10"),
        "StudyDescription": values("HEAD", "Schädel\ud800"),
    },
    Level.SERIES: {"Modality": values("CT", "MR"), "SeriesNumber": values("1", "01")},
    Level.IMAGE: {"SOPClassUID": values("1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.2")},
}
CHARACTER_SETS = st.sampled_from([(), ("ISO_IR 100",), ("", "ISO 2022 IR 87")])


@st.composite
def headers(draw: st.DrawFn) -> Header:
    study, series, image = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(1, 3))
    levels: dict[Level, dict[str, Value]] = {
        level: {keyword: value for keyword, each in keywords.items() if (value := draw(each)) or draw(st.booleans())}
        for level, keywords in LEVELS.items()
    }
    levels[Level.STUDY]["StudyInstanceUID"] = (f"1.{study}",)
    levels[Level.SERIES]["SeriesInstanceUID"] = (f"1.{study}.{series}",)
    levels[Level.IMAGE]["SOPInstanceUID"] = (f"1.{study}.{series}.{image}",)
    location = draw(st.sampled_from(["a", "b", "c/d", "c/e", "c\udc80/\udc81", f"{study}/{series}/{image}"]))
    return Header(location, levels, draw(CHARACTER_SETS), "1.2.840.10008.1.2.1", draw(st.integers(0, 1 << 40)), 7)


CHANGES = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.lists(headers(), max_size=4)),
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
TEXTS = {
    "PatientID": ["", "1", "DOM\\anna", "*", "D*", "a\0b", ["1", "2"]],
    "PatientName": [
        "",
        "doe*",
        "DOE^JOHN",
        "*小東*",
        "=王*",
        "M?ller*",
        "doe^john*",
        ["doe*", "roe*"],
        '""',
        "d*=*",
        "^*",
    ],
    "PatientBirthDate": ["", "19700101", "-19800101", "19600101-"],
    "StudyDate": ["", "20200102", "20200101-20200601", "-20201231", "20200102-"],
    "StudyTime": ["", "0900-1000", "0900"],
    "AccessionNumber": ["", "A1", "A*", "?1", ["A1", "A2"], '""'],
    "StudyID": ["", "1", "1*"],
    "StudyInstanceUID": ["", "1.1", ["1.2", "1.3"]],
    "SeriesInstanceUID": ["", "1.1.1", ["1.2.1", "1.1.2"]],
    "SOPInstanceUID": ["", "1.1.1.1"],
    "Modality": ["", "CT", "C*"],
    "ModalitiesInStudy": ["", "CT", "M*", ["CT", "MR"]],
    "NumberOfStudyRelatedInstances": ["", "1"],
    "IssuerOfPatientID": ["", "NORTH"],
}
RULES = st.builds(
    Rules,
    relational=st.just(True),
    date_time=st.booleans(),
    fuzzy_names=st.booleans(),
    empty_value_matching=st.booleans(),
    multiple_value_matching=st.booleans(),
)


@st.composite
def queries(draw: st.DrawFn) -> Query:
    level = draw(st.sampled_from(Level))
    texts: dict[str, str | list[str]] = {}
    known = {keyword: its for its, keywords in ATTRIBUTES.items() for keyword in keywords} | dict(COMPUTED)
    for keyword in draw(st.lists(st.sampled_from(sorted(COMPUTED)), max_size=2, unique=True)):
        if COMPUTED[keyword] <= level:
            texts[keyword] = ""
    for keyword in draw(st.lists(st.sampled_from(sorted(TEXTS)), max_size=4, unique=True)):
        if known[keyword] <= level:
            texts[keyword] = draw(st.sampled_from(TEXTS[keyword]))
    identifier = Dataset()
    with config.disable_value_validation():
        identifier.SpecificCharacterSet = "ISO_IR 192"
        identifier.QueryRetrieveLevel = level.name
        for keyword, text in texts.items():
            setattr(identifier, keyword, text or None)
    return find_query(identifier, PATIENT_ROOT, draw(RULES))


async def change(index: Index, changes: list[tuple[str, Any]]) -> list[int | None]:
    return [await getattr(index, name)(what) for name, what in changes]


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
    )


@pytest.mark.parametrize("kind", DATABASES)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(changes=CHANGES, asked=st.lists(queries(), min_size=1, max_size=8))
async def test_the_same_answers(kind: str, tmp_path: Path, changes: list[tuple[str, Any]], asked: list[Query]) -> None:
    memory, database = MemoryIndex(), await open_index(kind, tmp_path)
    try:
        assert await change(memory, changes) == await change(database, changes)
        assert await everything(memory) == await everything(database)
        for query in asked:
            assert await answers(memory, query) == await answers(database, query)
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
