"""Objects of a few series that come again and again, through two workers that know the same series, in all indexes.

What is stored, scanned, removed, replaced and noted in between is drawn by hypothesis. After each change the databases
have to answer as the index in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from archive.databases import KINDS, emptied_database
from archive.strategies import PROTOCOL, asked
from archive.test_archive_contract import answers, everything, retrieved
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiodimse.archive import File, Finding, Header, Index, MemoryIndex, find_query
from aiodimse.archive.index.sql import SQLIndex
from aiodimse.archive.index.sql.known_series import KnownSeries
from aiodimse.archive.matching import Rules, Value
from aiodimse.archive.models import ATTRIBUTES, COMPUTED, PATIENT_ROOT, Level

DATABASES = [kind for kind in KINDS if kind != "memory"]
EXAMPLES = 50
MR, CT = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.2"

SAID: tuple[dict[Level, dict[str, Value]], ...] = (
    {Level.PATIENT: {"PatientName": ("Roe^Jane",)}},
    {Level.PATIENT: {"PatientName": ()}},
    {Level.PATIENT: {"PatientBirthDate": ("19700101",), "IssuerOfPatientID": ("NORTH",)}},
    {Level.PATIENT: {"PatientID": ("Q",)}},
    {Level.PATIENT: {"PatientID": ()}},
    {Level.STUDY: {"StudyDescription": ("Schädel\ud800",), "AccessionNumber": ("A1", "A2")}},
    {Level.STUDY: {"StudyDate": ("20200102",)}},
    {Level.SERIES: {"Modality": ("CT",)}},
    {Level.SERIES: {"Modality": ()}},
    {Level.SERIES: {"SeriesDescription": ("T1",)}},
    {Level.IMAGE: {"SOPClassUID": (CT,)}},
    {Level.IMAGE: {"SOPClassUID": ('1.2"x',)}},
)
"""What some objects say beside, or instead of, what the others of their series say."""


def image_of(study: int, series: int, image: int) -> Header:
    """An object that says what most of its series say."""
    uid = f"1.{study}.{series}.{image}"
    levels: dict[Level, dict[str, Value]] = {
        Level.PATIENT: {"PatientID": ("P",), "PatientName": ("Doe^John",)},
        Level.STUDY: {"StudyInstanceUID": (f"1.{study}",), "AccessionNumber": ("A1",)},
        Level.SERIES: {"SeriesInstanceUID": (f"1.{study}.{series}",), "Modality": ("MR",)},
        Level.IMAGE: {"SOPInstanceUID": (uid,), "SOPClassUID": (MR,)},
    }
    return Header(uid, levels, (), "1.2.840.10008.1.2.1", 1, 7)


BEGINNING = [("store", number % 2, [image_of(1, 1, 40 + number)]) for number in range(4)]
"""After this, both workers know a series."""


@st.composite
def an_object(draw: st.DrawFn, study: int, series: int) -> Header:
    """An object of a series, or a hanging protocol with the UID of such a one."""
    image = draw(st.integers(1, 30))
    uid = f"1.{study}.{series}.{image}"
    location = uid if image > 5 else draw(st.sampled_from([uid, uid, f"c/{image}", "c/\udc80"]))
    size, modified = draw(st.integers(1, 3)), draw(st.integers(7, 9))
    if image == 1:
        own: dict[str, Value] = {"SOPInstanceUID": (uid,), "SOPClassUID": PROTOCOL.storage}
        return Header(location, {Level.IMAGE: own}, model=PROTOCOL.name, size=size, modified=modified)
    header = image_of(study, series, image)
    levels = {level: dict(attributes) for level, attributes in header.levels.items()}
    if draw(st.integers(0, 3)) == 3:
        for level, attributes in draw(st.sampled_from(SAID)).items():
            levels[level].update(attributes)
    character_set = draw(st.sampled_from([(), (), ("ISO_IR 100",)]))
    return replace(header, location=location, levels=levels, character_set=character_set, size=size, modified=modified)


FINDINGS = st.sampled_from([Finding.DUPLICATE, Finding.NOT_DICOM])
SERIES = st.sampled_from([(1, 1), (1, 1), (1, 1), (1, 2), (2, 1)])


@st.composite
def step(draw: st.DrawFn, locations: list[str]) -> tuple[str, int, Any]:
    """What one of two workers does: two of three times it stores."""
    worker = draw(st.integers(0, 1))
    name = draw(st.sampled_from(["store"] * 8 + ["add", "remove", "note", "reread"]))
    what: Any = None
    if name in ("store", "add"):
        what = draw(st.lists(an_object(*draw(SERIES)), min_size=1, max_size=3))
        locations += [header.location for header in what]
    elif name == "remove":
        what = draw(st.lists(st.sampled_from([*locations, "nowhere"]), min_size=1, max_size=3))
    elif name == "note":
        uid = st.sampled_from(["1.1.1.2", "1.1.2.2"])
        what = [File(draw(st.sampled_from([*locations, "x"])), 1, 2, draw(FINDINGS), draw(uid))]
    return name, worker, what


@st.composite
def all_steps(draw: st.DrawFn) -> list[tuple[str, int, Any]]:
    locations = [header.location for _, _, (header,) in BEGINNING]
    return BEGINNING + [draw(step(locations)) for _ in range(draw(st.integers(8, 16)))]


async def store(index: Index, headers: Sequence[Header]) -> None:
    """In one transaction, as threads do that save at the same time."""
    blocking = index.blocking()
    if blocking is None:
        await index.add(headers)
        return
    for done in [blocking.add(header) for header in headers]:
        blocking.write()
        await asyncio.wrap_future(done)


async def take(index: Index, name: str, what: Any) -> Any:
    """Take one step."""
    if name == "store":
        return await store(index, what)
    if name == "reread":  # a scan has taken the attributes of an outdated study from its other objects
        for study in await index.outdated_studies():
            await index.set_current(study)
        return None
    return await getattr(index, name)(what)


def everything_about(level: Level) -> Any:
    """A query for all that is kept and counted of the entities at a level."""
    identifier = asked(level.name)
    keywords = [keyword for its, kept in ATTRIBUTES.items() if its <= level for keyword in kept]
    for keyword in (*keywords, *(keyword for keyword, its in COMPUTED.items() if its <= level)):
        setattr(identifier, keyword, None)
    return find_query(identifier, PATIENT_ROOT, Rules(relational=True))


QUERIES = [everything_about(level) for level in Level]


async def compare(workers: Sequence[Index], steps: list[tuple[str, int, Any]]) -> None:
    memory = MemoryIndex()
    for name, worker, what in steps:
        assert await take(memory, name, what) == await take(workers[worker], name, what)
        other = workers[1 - worker]
        outdated = [[study.study_instance_uid for study in await index.outdated_studies()] for index in (memory, other)]
        assert sorted(outdated[0]) == sorted(outdated[1])
        for query in QUERIES:
            assert await answers(other, query) == await answers(memory, query)
    assert await everything(workers[0]) == await everything(memory)
    for query in QUERIES:
        assert await retrieved(workers[0], query) == await retrieved(memory, query)


@pytest.mark.parametrize("kind", DATABASES)
def test_two_workers_that_know_a_series_answer_as_memory(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[bool] = []
    add = KnownSeries.add

    def counted(self: KnownSeries, cursor: Any, headers: Sequence[Header]) -> bool:
        taken.append(add(self, cursor, headers))
        return taken[-1]

    monkeypatch.setattr(KnownSeries, "add", counted)

    @settings(
        max_examples=EXAMPLES if kind == "sqlite" else EXAMPLES // 3,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(steps=all_steps())
    def compared(steps: list[tuple[str, int, Any]]) -> None:
        database.empty()
        runner.run(compare(workers, steps))

    database = emptied_database(kind, tmp_path)
    with asyncio.Runner(debug=False) as runner:  # three times as fast
        workers = [runner.run(SQLIndex.open(database.url)) for _ in range(2)]
        compared()
        for index in workers:
            runner.run(index.close())
    assert kind == "postgresql" or sum(taken) > EXAMPLES * len(BEGINNING) // 2
