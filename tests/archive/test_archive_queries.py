"""The queries of PS3.4 C.2.2.2 on every index: SQL may narrow down what the matcher sees, and no more.

The cases are those of test_archive_matching.py, which ask the matcher alone. Here each value is that of an object among
those of all the others, and each key is asked of the index.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from archive import test_archive_matching as matching
from archive.databases import KINDS, open_index

from aiodimse.archive import Header, Index, MemoryIndex, Query
from aiodimse.archive.matching import BASELINE, Key, Rules, Value
from aiodimse.archive.models import LEVEL_OF, STUDY_ROOT, UNIQUE, Level

KEYWORDS = {
    "AS": ["PatientAge"], "CS": ["Modality", "ModalitiesInStudy"], "DA": ["StudyDate", "PatientBirthDate"],
    "DS": ["PatientWeight"], "DT": ["AcquisitionDateTime"], "IS": ["SeriesNumber"], "LT": ["AdditionalPatientHistory"],
    "LO": ["PatientID", "StudyDescription"], "PN": ["PatientName"], "SH": ["AccessionNumber", "StudyID"],
    "TM": ["StudyTime"], "UI": ["FrameOfReferenceUID"], "US": ["Rows"],
}  # fmt: skip
"""Attributes of each VR that the archive keeps; those that SQL narrows down by are among them."""


class Case(NamedTuple):
    keys: tuple[tuple[str, str, str], ...]
    """Keyword, VR and text of each key."""
    values: tuple[tuple[str, str], ...]
    """Keyword and text of each attribute of the object."""
    expected: bool
    rules: Rules = BASELINE


def given(test: Any) -> Iterator[tuple[Any, ...]]:
    """The rows of a parametrized test."""
    (mark,) = (each for each in test.pytestmark if each.name == "parametrize")
    yield from mark.args[1]


def cases() -> Iterator[Case]:
    for vr, key, value, expected in (*given(matching.test_matching), *given(matching.test_ranges)):
        for keyword in KEYWORDS.get(vr, ()):
            if keyword == "PatientID" and "\\" in key + value:
                continue  # it has one value, with backslashes in it
            if keyword == "ModalitiesInStudy":
                if "\\" not in value:
                    yield Case(((keyword, vr, key),), (("Modality", value),), expected)
            else:
                yield Case(((keyword, vr, key),), ((keyword, value),), expected)
    for key, value, expected in given(matching.test_person_names):
        yield Case((("PatientName", "PN", key),), (("PatientName", value),), expected)
    for key, expected in given(matching.test_fuzzy_names):
        yield Case(
            (("PatientName", "PN", key),), (("PatientName", matching.MUELLER),), expected, Rules(fuzzy_names=True)
        )
    range_ = (("StudyDate", "DA", "20060705-20060707"), ("StudyTime", "TM", "1000-1800"))
    for date, time, plain, combined in given(matching.test_combined_date_and_time):
        for expected, rules in ((plain, BASELINE), (combined, Rules(date_time=True))):
            yield Case(range_, (("StudyDate", date), ("StudyTime", time)), expected, rules)


CASES = list(cases())


@cache
def header(values: tuple[tuple[str, str], ...], number: int) -> Header:
    levels: dict[Level, dict[str, Value]] = {level: {UNIQUE[level]: (f"1.{number}",)} for level in Level}
    for keyword, text in values:
        levels[LEVEL_OF[keyword]][keyword] = tuple(text.split("\\")) if text else ()
    return Header(str(number), levels)


async def found(index: Index, case: Case) -> set[str]:
    keys = tuple(Key(keyword, vr, tuple(text.split("\\")) if text else ()) for keyword, vr, text in case.keys)
    uid = Key("SOPInstanceUID", "UI")
    query = Query(STUDY_ROOT, Level.IMAGE, (*keys, uid), rules=case.rules)
    return {str(match.attributes["SOPInstanceUID"][0]) async for match in index.find(query)}


def test_there_are_enough() -> None:
    assert len(CASES) >= 93
    assert {keyword for case in CASES for keyword, _, _ in case.keys} == {
        each for all_ in KEYWORDS.values() for each in all_
    }


@pytest.mark.parametrize("kind", KINDS)
async def test_every_query_finds_the_same_on_every_index(kind: str, tmp_path: Path) -> None:
    """The object of its case or not, as the matcher says; and of all others the same ones."""
    headers = [header(case.values, number) for number, case in enumerate(CASES)]
    index, memory = await open_index(kind, tmp_path), MemoryIndex()
    await index.add(headers)
    await memory.add(headers)
    wrong = []
    for number, case in enumerate(CASES):
        here, reference = await found(index, case), await found(memory, case)
        if here != reference or (f"1.{number}" in here) != case.expected:
            wrong.append((case, sorted(here ^ reference)))
    await index.close()
    assert wrong == []


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("stored", ["a\0b", "a\x01b", "a\ud800b"])
@pytest.mark.parametrize("keyword", ["PatientID", "AccessionNumber", "PatientName"])
async def test_what_no_database_accepts_is_found_by_its_beginning(
    kind: str, stored: str, keyword: str, tmp_path: Path
) -> None:
    index = await open_index(kind, tmp_path)
    await index.add([header(((keyword, stored),), 1)])
    vr = {"PatientID": "LO", "AccessionNumber": "SH", "PatientName": "PN"}[keyword]
    for asked, expected in (("a*", True), ("a?b", True), ("*", True), (stored, True), ("b*", False)):
        assert await found(index, Case(((keyword, vr, asked),), (), expected)) == ({"1.1"} if expected else set()), (
            asked
        )
    await index.close()
