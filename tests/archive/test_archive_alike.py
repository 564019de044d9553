"""Every index gives the same answers about the texts and keys that a database treats unlike Python."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from archive.databases import KINDS, open_index
from archive.strategies import DATES, NAMED
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset, config
from pydicom.data import get_testdata_file
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from aiodimse.archive import Archive, Header, Index, MemoryIndex, Query, check, find_query
from aiodimse.archive.matching import Rules, Value
from aiodimse.archive.models import LEVEL_OF, PATIENT_ROOT, UNIQUE, Level

DATABASES = [kind for kind in KINDS if kind != "memory"]
RELATIONAL = Rules(relational=True)


def header(number: int, **texts: str) -> Header:
    """An object of a study of its own."""
    levels: dict[Level, dict[str, Value]] = {level: {UNIQUE[level]: (f"1.{number}",)} for level in Level}
    for keyword, text in texts.items():
        levels[LEVEL_OF[keyword]][keyword] = (text,) if text else ()
    return Header(str(number), levels)


def query(level: str, keys: Mapping[str, str | list[str]], rules: Rules = RELATIONAL) -> Query:
    identifier = Dataset()
    with config.disable_value_validation():
        identifier.SpecificCharacterSet = "ISO_IR 192"
        identifier.QueryRetrieveLevel = level
        identifier.StudyInstanceUID = None
        for keyword, text in keys.items():
            setattr(identifier, keyword, text)
    return find_query(identifier, PATIENT_ROOT, rules)


async def found(index: Index, asked: Query) -> list[str]:
    return sorted([str(match.attributes) async for match in index.find(asked)])


async def numbers(kind: str, folder: Path, headers: Iterable[Header], *queries: Query) -> list[int]:
    """How many matches each query has, which have to be the same in memory and in a database."""
    memory, database = MemoryIndex(), await open_index(kind, folder)
    try:
        objects = list(headers)
        await memory.add(objects)
        await database.add(objects)
        numbers = []
        for each in queries:
            matches = await found(memory, each)
            assert await found(database, each) == matches, each.keys
            numbers.append(len(matches))
        return numbers
    finally:
        await database.close()


@pytest.mark.parametrize("kind", DATABASES)
@pytest.mark.parametrize("level", ["PATIENT", "STUDY"])
async def test_patient_ids_that_no_database_accepts_are_found_by_their_beginning(
    kind: str, level: str, tmp_path: Path
) -> None:
    ids = ("a\0b", "a\x01b", "a\ud800b", "ab", "b", "")
    headers = [header(number, PatientID=text) for number, text in enumerate(ids)]
    asked = [query(level, {"PatientID": text}) for text in ("a*", "a?b", ["a*", "b"], "a\0*", "?b")]
    assert await numbers(kind, tmp_path, headers, *asked) == [4, 3, 5, 1, 1]


@pytest.mark.parametrize("kind", DATABASES)
@pytest.mark.parametrize("keyword", ["AccessionNumber", "PatientName", "PatientID", "StudyID"])
async def test_the_last_characters_of_unicode_are_found_by_what_precedes_them(
    kind: str, keyword: str, tmp_path: Path
) -> None:
    texts = ("a\U0010ffff\U0010ffffb", "\U0010ffff\U0010ffff", "a\ud7ffb", "a\ue000", "a\uffff")
    headers = [header(number, **{keyword: text}) for number, text in enumerate(texts)]
    asked = [query("STUDY", {keyword: text}) for text in ("a*", "\U0010ffff*", "a\ud7ff*", "a\U0010ffff*")]
    assert await numbers(kind, tmp_path, headers, *asked) == [4, 1, 1, 1]


@pytest.mark.parametrize("kind", DATABASES)
@pytest.mark.parametrize("many", [200, 201, 4000])
@pytest.mark.parametrize(
    ("keyword", "text", "other"),
    [
        ("AccessionNumber", "7", "{}"),
        ("PatientName", "x", "{}*"),
        ("StudyDate", "20200101", "1999010{}-19990201"),
        ("PatientID", "7", "{}*"),
    ],
)
async def test_a_key_with_thousands_of_values_is_answered(
    kind: str, many: int, keyword: str, text: str, other: str, tmp_path: Path
) -> None:
    values = [other.format(1000 + number if keyword != "StudyDate" else number % 9 + 1) for number in range(many)]
    values = values[: 14000 // (len(other) + 3)]  # an Identifier has 16 KiB
    asked = query("STUDY", {keyword: [*values, text]})
    assert await numbers(kind, tmp_path, [header(1, **{keyword: text}), header(2)], asked) == [1]


def _long(characters: int, seed: int) -> str:
    """A text of four bytes for each character that no database can make shorter."""
    chance = random.Random(seed)
    return "".join(chr(chance.randrange(0x20000, 0x2A000)) for _ in range(characters))


LONG = {
    "a name": {"PatientName": _long(768, 1)},
    "a name without an ID": {"PatientID": "", "PatientName": _long(768, 1), "IssuerOfPatientID": _long(256, 2)},
    "an ID": {"PatientID": _long(256, 1), "IssuerOfPatientID": _long(256, 2)},
    "an ID with NUL": {"PatientID": "a\0" + _long(254, 1), "IssuerOfPatientID": "a\0" + _long(254, 2)},
    "an accession number": {"AccessionNumber": _long(256, 1)},
}


@pytest.mark.parametrize("kind", DATABASES)
@pytest.mark.parametrize("what", LONG)
async def test_the_longest_texts_that_are_kept_can_be_indexed_and_found(kind: str, what: str, tmp_path: Path) -> None:
    texts = LONG[what]
    keyword = next(keyword for keyword, text in texts.items() if text)
    whole = texts[keyword]
    asked = [query("STUDY", {keyword: text}) for text in (whole, whole[:9] + "*", whole[:-1] + "?", whole[:-1])]
    assert await numbers(kind, tmp_path, [header(1, **texts), header(2)], *asked) == [1, 1, 1, 0]


@pytest.mark.parametrize("kind", DATABASES)
async def test_long_names_with_the_same_beginning_are_two_patients(kind: str, tmp_path: Path) -> None:
    names = [_long(700, 1) + last for last in ("a", "b")]
    headers = [header(number, PatientID="", PatientName=name) for number, name in enumerate(names)]
    assert await numbers(kind, tmp_path, headers, query("PATIENT", {"PatientName": names[0]})) == [1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", [(1, 2), (2, 1), (1, 2, 1)])
async def test_a_patient_has_the_same_attributes_whichever_study_came_first(
    kind: str, order: tuple[int, ...], tmp_path: Path
) -> None:
    """Names that differ in nothing that counts belong to one patient; the first study replaces itself at last."""
    names = {1: "Doe^John", 2: "DOE^JOHN^^"}
    headers = [header(number, PatientID="1", PatientName=names[number]) for number in order]
    index = await open_index(kind, tmp_path)
    try:
        await index.add([replace(each, location=str(place)) for place, each in enumerate(headers)])
        (match,) = [match async for match in index.find(query("PATIENT", {"PatientName": ""}))]
        assert match.attributes["PatientName"] == ("Doe^John",)
    finally:
        await index.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_file_with_a_path_that_cannot_be_looked_up_is_counted_as_unreadable(kind: str, tmp_path: Path) -> None:
    source = Path(str(get_testdata_file("CT_small.dcm")))
    deep = tmp_path / "archive"
    while len(os.fsencode(deep.relative_to(tmp_path))) < 1280:
        deep /= "Untersuchung".center(200, "\udcff")
    deep.mkdir(parents=True)
    shutil.copy(source, deep / "a.dcm")
    shutil.copy(str(get_testdata_file("MR_small.dcm")), tmp_path / "archive")
    index = await open_index(kind, tmp_path)
    archive = Archive(tmp_path / "archive", index=index)
    try:
        report = await archive.scan()
        assert (report.files, report.indexed, report.unreadable) == (2, 1, 1)
        assert (await index.counts()).instances == 1
    finally:
        await archive.close()


@pytest.mark.parametrize("kind", DATABASES)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
async def test_keys_made_of_stored_texts(kind: str, tmp_path: Path, data: st.DataObject) -> None:
    """The example tests above in general: whatever is stored, and whatever part of it is asked for."""
    texts = data.draw(st.lists(st.fixed_dictionaries(NAMED), min_size=1, max_size=4))
    headers = [
        replace(header(number, **each), location=f"{number}/{data.draw(st.text(max_size=2))}")
        for number, each in enumerate(texts)
    ]
    asked = []
    for _ in range(data.draw(st.integers(1, 5))):
        names = data.draw(st.lists(st.sampled_from(sorted(NAMED)), min_size=1, max_size=2, unique=True))
        keys = {name: data.draw(_part_of([each[name] for each in texts])) for name in names}
        rules = data.draw(
            st.builds(Rules, relational=st.just(True), date_time=st.booleans(), fuzzy_names=st.booleans())
        )
        asked.append(query(data.draw(st.sampled_from(["PATIENT", "STUDY"])), keys, rules))
    await numbers(kind, tmp_path, headers, *asked)


@st.composite
def _part_of(draw: st.DrawFn, texts: list[str]) -> str:
    """A text, or the beginning, the end or a component group of one, with wild cards in it; of a date, a range."""
    text = draw(st.sampled_from(texts))
    if text in DATES:
        return draw(st.sampled_from(["{0}", "{0}-", "-{0}", "{0}-20200101", "20200101-{0}"])).format(text)
    if draw(st.booleans()) and "=" in text:
        text = draw(st.sampled_from(["", "=", "=="])) + draw(st.sampled_from(text.split("=")))
    if text and not text.strip()[:1].isdigit():
        at = draw(st.integers(0, len(text)))
        text = draw(st.sampled_from([text, text[:at] + "*", "*" + text[at:], text[:at] + "?" + text[at + 1 :]]))
        text = draw(st.sampled_from([text, text.upper(), text.swapcase(), text + "^", text + " "]))
    return text


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("modified", [(1 << 63) + 5, (1 << 63) - 1, -5], ids=["2262", "the last", "1969"])
async def test_files_of_the_far_future_and_of_the_past(
    kind: str, modified: int, tmp_path: Path, a_file: Callable[..., Path]
) -> None:
    path = a_file("files/a.dcm")
    a_file("files/b.dcm", image="2")
    os.utime(path, ns=(modified, modified))
    archive = await Archive.open(path.parent, index=await open_index(kind, tmp_path))
    for _ in range(2):
        report = await archive.scan()
        assert (report.files, report.indexed) == (2, 2)
    assert (await check(archive)).is_sound
    (study,) = await archive.index.oldest_studies(9)
    assert await archive.index.oldest_studies(9, after=study) == []
    await archive.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_long_patient_id_of_many_values(kind: str, tmp_path: Path, a_file: Callable[..., Path]) -> None:
    """It is one value with backslashes, and no index keeps a value that long, with or without them."""
    letters = "".join(random.Random(1).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=15000))
    for name, separator in (("a.dcm", "\\"), ("b.dcm", "")):
        patient = separator.join(letters[start : start + 200] for start in range(0, len(letters), 200))
        path = a_file(f"files/{name}", patient=patient, study=name[0].replace("a", "1").replace("b", "2"))
    archive = await Archive.open(path.parent, index=await open_index(kind, tmp_path))
    assert (archive.report.indexed, archive.report.damaged) == (2, 0)
    entries = await archive.index.lookup(["1.2.1.1.1", "1.2.2.1.1"])
    assert [entry.patient_id for entry in entries.values()] == ["", ""]
    await archive.close()


@pytest.mark.parametrize("kind", DATABASES)
async def test_a_number_that_is_none_costs_only_itself(kind: str, tmp_path: Path) -> None:
    texts = ("1", "1E9999999999999999999", "+01")
    headers = [header(number, InstanceNumber=text) for number, text in enumerate(texts)]
    with config.disable_value_validation():
        asked = [Dataset() for _ in range(2)]
        for each, text in zip(asked, texts, strict=False):
            each.QueryRetrieveLevel = "IMAGE"
            each[0x00200013] = RawDataElement(Tag(0x00200013), "IS", len(text), text.encode(), 0, False, True)
    queries = [find_query(each, PATIENT_ROOT, RELATIONAL) for each in asked]
    assert await numbers(kind, tmp_path, headers, *queries) == [2, 1]
