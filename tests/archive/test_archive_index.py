"""The index in memory, by way of the interface that a database would implement."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from archive.databases import KINDS, open_index
from archive.strategies import asked
from pydicom import Dataset

from aiodimse.archive.attributes import character_set_of, decode
from aiodimse.archive.index import Counts, Header, Index, MemoryIndex, memory
from aiodimse.archive.index.entities import Entities
from aiodimse.archive.matching import Rules
from aiodimse.archive.models import ATTRIBUTES, COMPOSITE_INSTANCE, PATIENT_ROOT, STUDY_ROOT, Level, Model
from aiodimse.archive.queries import find_query, retrieve_query

MR, SR = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.88.11"
SERIES = {"StudyInstanceUID": "1.2.1", "SeriesInstanceUID": "1.2.1.1"}
OBJECTS = [  # patient, study, series, image, the rest
    ("P1", "1", "1", "1", {"Modality": "CT", "PatientName": "Doe^John", "StudyDescription": "HEAD"}),
    ("P1", "1", "1", "2", {"Modality": "CT", "PatientName": "Doe^John"}),
    (
        "P1",
        "1",
        "2",
        "1",
        {"Modality": "SR", "PatientName": "Doe^John", "SOPClassUID": SR},
    ),
    ("P1", "2", "1", "1", {"Modality": "MR", "PatientName": "Doe^John", "StudyDescription": "CHEST"}),
    ("P2", "3", "1", "1", {"Modality": "MR", "PatientName": "Roe^Jane", "StudyDescription": "HEAD"}),
]


def header(dataset: Dataset, path: str = "") -> Header:
    levels = {level: decode(dataset, keywords) for level, keywords in ATTRIBUTES.items()}
    return Header(path or dataset.SOPInstanceUID, levels, character_set_of(dataset))


@pytest.fixture(params=KINDS)
async def empty(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Index]:
    index = await open_index(request.param, tmp_path)
    yield index
    await index.close()


@pytest.fixture
async def index(empty: Index, an_object: Callable[..., Dataset]) -> Index:
    for patient, study, series, image, rest in OBJECTS:
        await empty.add([header(an_object(patient, study, series, image, **rest))])
    return empty


async def found(
    index: Index,
    model: Model,
    keyword: str,
    asked: Dataset,
    rules: Rules = Rules(),  # noqa: B008
) -> list[str]:
    """The values of one attribute in all matches, several apart by backslashes."""
    return ["\\".join(map(str, m.attributes[keyword])) async for m in index.find(find_query(asked, model, rules))]


async def locations(index: Index, model: Model, identifier: Dataset) -> list[str]:
    return [entry.location async for entry in index.entries(retrieve_query(identifier, model))]


@pytest.mark.parametrize(
    ("model", "identifier", "keyword", "expected"),
    [
        (PATIENT_ROOT, asked("PATIENT", PatientID=""), "PatientID", ["P1", "P2"]),
        (PATIENT_ROOT, asked("PATIENT", PatientID="P2"), "PatientID", ["P2"]),
        (PATIENT_ROOT, asked("PATIENT", PatientID="P*"), "PatientID", ["P1", "P2"]),
        (PATIENT_ROOT, asked("PATIENT", PatientID="p2"), "PatientID", []),
        (PATIENT_ROOT, asked("PATIENT", PatientName="doe*", PatientID=""), "PatientID", ["P1"]),
        (PATIENT_ROOT, asked("STUDY", PatientID="P1", StudyInstanceUID=""), "StudyInstanceUID", ["1.2.1", "1.2.2"]),
        (PATIENT_ROOT, asked("STUDY", PatientID="P2", StudyInstanceUID="1.2.1"), "StudyInstanceUID", []),
        (STUDY_ROOT, asked("STUDY", StudyInstanceUID=""), "StudyInstanceUID", ["1.2.1", "1.2.2", "1.2.3"]),
        (STUDY_ROOT, asked("STUDY", StudyInstanceUID=["1.2.3", "9.9", "1.2.1"], StudyID=""), "StudyID", ["3", "1"]),
        (STUDY_ROOT, asked("STUDY", StudyDescription="HEAD", PatientID=""), "PatientID", ["P1", "P2"]),
        (STUDY_ROOT, asked("STUDY", PatientID="P2", StudyDescription=""), "StudyDescription", ["HEAD"]),
        (STUDY_ROOT, asked("STUDY", ModalitiesInStudy="SR"), "ModalitiesInStudy", ["CT\\SR"]),
        (STUDY_ROOT, asked("STUDY", ModalitiesInStudy="MR", StudyID=""), "StudyID", ["2", "3"]),
        (STUDY_ROOT, asked("STUDY", RetrieveAETitle="A", InstanceAvailability="B", StudyID="1"), "StudyID", ["1"]),
        (STUDY_ROOT, asked("SERIES", StudyInstanceUID="1.2.1", Modality=""), "Modality", ["CT", "SR"]),
        (STUDY_ROOT, asked("SERIES", StudyInstanceUID="1.2.1", Modality="C?"), "Modality", ["CT"]),
        (STUDY_ROOT, asked("SERIES", StudyInstanceUID="1.2.1", PatientID=""), "PatientID", ["P1", "P1"]),
        (STUDY_ROOT, asked("IMAGE", **SERIES, InstanceNumber=""), "InstanceNumber", ["1", "2"]),
        (STUDY_ROOT, asked("IMAGE", **SERIES, InstanceNumber="02"), "InstanceNumber", ["2"]),
        (STUDY_ROOT, asked("IMAGE", **SERIES | {"StudyInstanceUID": "1.2.2"}, InstanceNumber=""), "InstanceNumber", []),
    ],
)  # fmt: skip
async def test_find(index: Index, model: Model, identifier: Dataset, keyword: str, expected: list[str]) -> None:
    assert await found(index, model, keyword, identifier) == expected


@pytest.mark.parametrize(
    ("model", "level", "unique", "keyword", "expected"),
    [
        (PATIENT_ROOT, "PATIENT", {}, "NumberOfPatientRelatedStudies", ["2", "1"]),
        (PATIENT_ROOT, "PATIENT", {}, "NumberOfPatientRelatedSeries", ["3", "1"]),
        (PATIENT_ROOT, "PATIENT", {}, "NumberOfPatientRelatedInstances", ["4", "1"]),
        (STUDY_ROOT, "STUDY", {}, "NumberOfPatientRelatedStudies", ["2", "2", "1"]),
        (STUDY_ROOT, "STUDY", {}, "NumberOfStudyRelatedSeries", ["2", "1", "1"]),
        (STUDY_ROOT, "STUDY", {}, "NumberOfStudyRelatedInstances", ["3", "1", "1"]),
        (STUDY_ROOT, "STUDY", {}, "ModalitiesInStudy", ["CT\\SR", "MR", "MR"]),
        (STUDY_ROOT, "STUDY", {"StudyInstanceUID": "1.2.1"}, "SOPClassesInStudy", [f"{MR}\\{SR}"]),
        (STUDY_ROOT, "SERIES", {"StudyInstanceUID": "1.2.1"}, "NumberOfSeriesRelatedInstances", ["2", "1"]),
    ],
)  # fmt: skip
async def test_counted_attributes(
    index: Index, model: Model, level: str, unique: dict[str, str], keyword: str, expected: list[str]
) -> None:
    assert await found(index, model, keyword, asked(level, **unique, **{keyword: ""})) == expected


async def test_counted_attributes_can_be_matched(index: Index) -> None:
    identifier = asked("STUDY", NumberOfStudyRelatedInstances="3", StudyInstanceUID="")
    assert await found(index, STUDY_ROOT, "StudyInstanceUID", identifier) == ["1.2.1"]


@pytest.mark.parametrize(
    ("model", "identifier", "expected"),
    [
        (PATIENT_ROOT, asked("PATIENT", PatientID="P1"), "1.1.1 1.1.2 1.2.1 2.1.1"),
        (PATIENT_ROOT, asked("PATIENT", PatientID="P9"), ""),
        (PATIENT_ROOT, asked("STUDY", PatientID="P1", StudyInstanceUID="1.2.2"), "2.1.1"),
        (PATIENT_ROOT, asked("STUDY", PatientID="P2", StudyInstanceUID="1.2.2"), ""),
        (STUDY_ROOT, asked("STUDY", StudyInstanceUID=["1.2.3", "1.2.2"]), "3.1.1 2.1.1"),
        (STUDY_ROOT, asked("STUDY", StudyInstanceUID=["1.2.3", "1.2.3"]), "3.1.1"),
        (STUDY_ROOT, asked("SERIES", **SERIES), "1.1.1 1.1.2"),
        (STUDY_ROOT, asked("SERIES", StudyInstanceUID="1.2.2", SeriesInstanceUID="1.2.1.1"), ""),
        (COMPOSITE_INSTANCE, asked("IMAGE", SOPInstanceUID=["1.2.3.1.1", "1.2.1.2.1"]), "3.1.1 1.2.1"),
    ],
)  # fmt: skip
async def test_the_entries_of_a_retrieval_are_found(
    index: Index, model: Model, identifier: Dataset, expected: str
) -> None:
    assert [each.removeprefix("1.2.") for each in await locations(index, model, identifier)] == expected.split()


async def test_the_empty_value_finds_patients_without_an_id(index: Index, an_object: Callable[..., Dataset]) -> None:
    await index.add([header(an_object("", "9", PatientName="Nobody"))])
    rules = Rules(empty_value_matching=True)
    for identifier in (
        asked("PATIENT", PatientID='""', PatientName=""),
        asked("STUDY", PatientID='""', PatientName=""),
    ):
        assert await found(index, PATIENT_ROOT, "PatientName", identifier, rules) == ["Nobody"]
        assert await found(index, PATIENT_ROOT, "PatientName", identifier) == []


async def test_relational_queries_look_everywhere(index: Index) -> None:
    identifier = asked("IMAGE", PatientID="P1", InstanceNumber="1", SOPInstanceUID="")
    uids = await found(index, STUDY_ROOT, "SOPInstanceUID", identifier, Rules(relational=True))
    assert uids == ["1.2.1.1.1", "1.2.1.2.1", "1.2.2.1.1"]


async def test_an_object_that_comes_again_takes_the_place_of_the_first(
    index: Index, an_object: Callable[..., Dataset]
) -> None:
    await index.add([header(an_object("P2", "3", "1", "1", StudyDescription="NECK"), "elsewhere")])
    assert await index.counts() == Counts(patients=2, studies=3, series=4, instances=5)
    identifier = asked("STUDY", StudyInstanceUID="1.2.3", StudyDescription="")
    assert await found(index, STUDY_ROOT, "StudyDescription", identifier) == ["NECK"]
    assert await locations(index, STUDY_ROOT, identifier) == ["elsewhere"]


async def test_the_last_object_takes_its_study_and_patient_with_it(index: Index) -> None:
    assert await index.remove(["1.2.3.1.1"]) == 1
    assert await index.remove(["1.2.3.1.1"]) == 0
    assert await index.counts() == Counts(patients=1, studies=2, series=3, instances=4)
    assert await found(index, PATIENT_ROOT, "PatientID", asked("PATIENT", PatientID="P2")) == []


async def test_a_study_that_two_patients_claim_is_kept_as_two(index: Index, an_object: Callable[..., Dataset]) -> None:
    await index.add([header(an_object("P2", "1", "1", "9"))])
    asked_for = asked("STUDY", PatientID="P2", StudyInstanceUID="1.2.1")
    assert await locations(index, PATIENT_ROOT, asked_for) == ["1.2.1.1.9"]
    identifier = asked("STUDY", StudyInstanceUID="1.2.1", PatientID="")
    assert await found(index, STUDY_ROOT, "PatientID", identifier) == ["P1", "P2"]
    assert (await index.counts()).studies == 4


async def test_patients_without_an_id_are_not_one_patient(empty: Index, an_object: Callable[..., Dataset]) -> None:
    index = empty
    for study, name in enumerate(("Doe^John", "Roe^Jane", "Doe^John")):
        await index.add([header(an_object("", str(study), PatientName=name))])
    identifier = asked("PATIENT", PatientName="", NumberOfPatientRelatedStudies="")
    assert await found(index, PATIENT_ROOT, "NumberOfPatientRelatedStudies", identifier) == ["2", "1"]


async def test_issuers_tell_patients_apart(empty: Index, an_object: Callable[..., Dataset]) -> None:
    index = empty
    for study, issuer in enumerate(("NORTH", "SOUTH")):
        await index.add([header(an_object("1", str(study), IssuerOfPatientID=issuer))])
    identifier = asked("PATIENT", PatientID="1", IssuerOfPatientID="")
    assert await found(index, PATIENT_ROOT, "IssuerOfPatientID", identifier) == ["NORTH", "SOUTH"]


async def test_what_the_first_object_does_not_tell_a_later_one_may(
    empty: Index, an_object: Callable[..., Dataset]
) -> None:
    index = empty
    await index.add([header(an_object(image="1", PatientName="", StudyDescription="HEAD"))])
    await index.add([header(an_object(image="2", PatientName="Doe^John", StudyDescription="NECK"))])
    identifier = asked("STUDY", PatientName="doe*", StudyDescription="")
    assert await found(index, STUDY_ROOT, "StudyDescription", identifier) == ["HEAD"]


async def test_the_index_may_change_while_a_query_runs(index: Index) -> None:
    uids = []
    query = find_query(asked("STUDY", StudyInstanceUID="", NumberOfStudyRelatedInstances=""), STUDY_ROOT)
    async for match in index.find(query):
        uids.append(match.attributes["StudyInstanceUID"])
        await index.remove(["1.2.2.1.1"])
    assert ("1.2.3",) in uids


def test_unique_keys_do_not_scan_the_rest(an_object: Callable[..., Dataset]) -> None:
    """One study of many is found without a look at the others: a scan would compare all of them with the query."""
    entities = Entities()
    for study in range(200):
        entities.add(header(an_object(f"P{study}", str(study))))
    one = find_query(asked("SERIES", StudyInstanceUID="1.2.7", Modality="MR"), STUDY_ROOT)
    assert len(list(entities.views(one))) == 1


async def test_what_the_objects_tell_when_they_come_again_is_believed(
    empty: Index, an_object: Callable[..., Dataset]
) -> None:
    """A name is corrected, or a description taken out, and all objects are sent again."""
    index = empty
    identifier = asked("STUDY", StudyInstanceUID="1.2.1", PatientName="", StudyDescription="", StudyID="")
    for image in ("1", "2", "3"):
        await index.add([header(an_object(image=image, PatientName="Doe^Jon", StudyDescription="HEAD"))])
    await index.add([header(an_object(image="1", PatientName="Doe^John", StudyDescription=""))])
    assert await found(index, STUDY_ROOT, "PatientName", identifier) == ["Doe^John"]
    for image in ("2", "3"):
        await index.add([header(an_object(image=image, PatientName="Doe^John", StudyDescription=""))])
    assert await found(index, STUDY_ROOT, "PatientName", identifier) == ["Doe^John"]
    assert await found(index, STUDY_ROOT, "StudyDescription", identifier) == [""]
    assert await found(index, STUDY_ROOT, "StudyID", identifier) == ["1"]


async def test_what_an_object_told_stands_when_it_goes(empty: Index, an_object: Callable[..., Dataset]) -> None:
    index = empty
    identifier = asked("STUDY", StudyInstanceUID="1.2.1", PatientName="")
    latin, cyrillic = "ISO_IR 100", "ISO_IR 144"
    await index.add([header(an_object(image="1", PatientName="Müller", SpecificCharacterSet=latin))])
    await index.add([header(an_object(image="2", PatientName="Люк", SpecificCharacterSet=cyrillic))])
    await index.remove(["1.2.1.1.1"])
    assert await found(index, STUDY_ROOT, "PatientName", identifier) == ["Müller"]
    await index.add([header(an_object(image="2", PatientName="Люк", SpecificCharacterSet=cyrillic))])
    (match,) = [match async for match in index.find(find_query(identifier, STUDY_ROOT))]
    assert match.attributes["PatientName"] == ("Люк",)
    assert match.character_sets == ((cyrillic,),)


async def test_patients_without_an_id_cost_no_more_than_others(an_object: Callable[..., Dataset]) -> None:
    """They have a name for a key, and nobody looks for them by their ID."""
    index = MemoryIndex()
    for study in range(3):
        await index.add([header(an_object("", str(study), PatientName=f"Doe^{study}"))])
    assert index._entities._by_uid[Level.PATIENT] == {}
    for study in range(3):
        assert await index.remove([f"1.2.{study}.1.1"])
    assert await index.counts() == Counts(0, 0, 0, 0)


async def test_a_search_gives_the_loop_its_turn_by_the_clock(
    an_object: Callable[..., Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not by counting: what one entity takes depends on the keys, and on what was stored."""
    index = MemoryIndex()
    for study in ("1", "2", "3"):
        index.add_now(header(an_object(study=study)))
    turns, seconds = 0, itertools.count()

    async def turn(_delay: float) -> None:
        nonlocal turns
        turns += 1

    monkeypatch.setattr("aiodimse.archive.index.slices.monotonic", lambda: next(seconds))
    monkeypatch.setattr("aiodimse.archive.index.memory.asyncio", SimpleNamespace(sleep=turn))
    assert len(await found(index, STUDY_ROOT, "StudyID", asked("STUDY", StudyID=""))) == 3
    assert turns == 3


async def test_many_searches_take_no_more_of_a_turn_than_one(
    an_object: Callable[..., Dataset], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each slice is followed by a turn of the loop, whoever searches: 16 searches are not 16 slices in one turn."""
    index = MemoryIndex()
    for study in range(8):
        index.add_now(header(an_object(study=str(study))))
    slices: list[int] = []
    real = memory.work

    def slice_of(*args: Any) -> Any:
        slices.append(turn)
        return real(*args)

    monkeypatch.setattr(memory, "work", slice_of)
    monkeypatch.setattr(memory, "_AT_ONCE", -1.0)
    searches = [asyncio.create_task(found(index, STUDY_ROOT, "StudyID", asked("STUDY", StudyID=""))) for _ in range(16)]
    turn = 0
    while not all(search.done() for search in searches):
        turn += 1
        await asyncio.sleep(0)
    assert {len(search.result()) for search in searches} == {8}
    assert max(slices.count(each) for each in slices) <= 2


class Changing:
    """A turn that changes the index before each slice of a search."""

    def __init__(self, change: Callable[[], Awaitable[object]]) -> None:
        self.change, self.slices = change, 0

    async def __aenter__(self) -> None:
        self.slices += 1
        await self.change()

    async def __aexit__(self, *_: object) -> None: ...


async def test_what_is_stored_again_during_a_search_is_found_once(an_object: Callable[..., Dataset]) -> None:
    """All objects are replaced in one batch before each slice, so each series is empty in between."""
    index = MemoryIndex()
    headers = [header(an_object(series=str(number % 3), image=str(number))) for number in range(200)]
    await index.add(headers)
    changing = Changing(lambda: index.add(headers))
    query = retrieve_query(asked("STUDY", StudyInstanceUID="1.2.1"), STUDY_ROOT)
    uids = [entry.sop_instance_uid async for entry in index.entries(query, changing)]
    assert changing.slices > 2
    assert sorted(uids) == sorted(each.unique(Level.IMAGE) for each in headers)


async def test_a_search_goes_on_where_most_is_removed_meanwhile(an_object: Callable[..., Dataset]) -> None:
    """What stays is found, whether or not the places of what was removed are given up."""
    index = MemoryIndex()
    headers = [header(an_object(image=str(number))) for number in range(200)]
    stays = {each.unique(Level.IMAGE) for each in headers[::5]}
    await index.add(headers)
    gone = [each.location for each in headers if each.unique(Level.IMAGE) not in stays]
    changing = Changing(lambda: index.remove(gone) if changing.slices == 2 else index.remove([]))
    query = retrieve_query(asked("STUDY", StudyInstanceUID="1.2.1"), STUDY_ROOT)
    uids = [entry.sop_instance_uid async for entry in index.entries(query, changing)]
    assert stays <= set(uids)
    assert len(uids) == len(set(uids)) < 200
    again = [entry.sop_instance_uid async for entry in index.entries(query)]
    assert sorted(again) == sorted(stays)
