"""One statement adds an object to a series that was written a moment ago, and leaves the tables that others leave."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from archive.strategies import headers, protocols
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiodimse.archive.index import Header
from aiodimse.archive.index.sql import SQLIndex
from aiodimse.archive.index.sql.engines import url_of
from aiodimse.archive.index.sql.known_series import KnownSeries
from aiodimse.archive.matching import Value
from aiodimse.archive.models import Level

SECONDS = 30
TABLES = ("patient", "study", "series", "instance", "file", "term")


def header(number: int, series: int = 1, **above: str) -> Header:
    """An object of a study of one patient; `above` is what it says of study and series beside their UIDs."""
    uid = f"1.2.{series}.{number}"
    levels: dict[Level, dict[str, Value]] = {
        Level.PATIENT: {"PatientID": ("P",)},
        Level.STUDY: {"StudyInstanceUID": ("1.2",)},
        Level.SERIES: {"SeriesInstanceUID": (f"1.2.{series}",), "Modality": ("MR",)},
        Level.IMAGE: {"SOPInstanceUID": (uid,), "SOPClassUID": ("1.2.840.10008.5.1.4.1.1.4",)},
    }
    for keyword, value in above.items():
        levels[Level.STUDY if keyword.startswith("Study") else Level.SERIES][keyword] = (value,)
    return Header(f"a/{uid}.dcm", levels, size=number, modified=7)


def with_class(header: Header, sop_class_uid: str) -> Header:
    image = {**header.levels[Level.IMAGE], "SOPClassUID": (sop_class_uid,)}
    return replace(header, levels={**header.levels, Level.IMAGE: image})


class Opened:
    """An index, and how many statements its last transaction took."""

    def __init__(self, index: SQLIndex, file: Path) -> None:
        assert index._direct is not None
        self.index, self.direct, self.file = index, index._direct, file
        self.statements = 0

    def add(self, *added: Header) -> None:
        """Add objects in one transaction."""
        for each in added:
            done = self.direct.add(each)
        connection: Any = self.direct._opened() and self.direct._connection
        said: list[str] = []
        connection.set_trace_callback(said.append)
        self.direct.write()
        connection.set_trace_callback(None)
        self.statements = len(set(said))  # A statement is told again for each step of its trigger.
        assert done.exception(SECONDS) is None

    def tables(self) -> dict[str, list[Any]]:
        connection = sqlite3.connect(self.file)
        found = {table: sorted(connection.execute(f"SELECT * FROM {table}").fetchall()) for table in TABLES}
        connection.close()
        return found


@asynccontextmanager
async def opened(file: Path) -> AsyncIterator[Opened]:
    index = await SQLIndex.open(url_of(file))
    try:
        yield Opened(index, file)
    finally:
        await index.close()


def not_so_simple(self: KnownSeries, cursor: Any, headers: Sequence[Header]) -> bool:
    return False


OBJECTS = st.lists(st.one_of(headers(), headers(), headers(), protocols()), min_size=1, max_size=3)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(transactions=st.lists(OBJECTS, min_size=1, max_size=8), again=st.integers(1, 3))
async def test_the_tables_are_those_of_the_other_way(
    tmp_path_factory: pytest.TempPathFactory, transactions: list[list[Header]], again: int
) -> None:
    """Also where the same study comes again, with other instances."""
    more = [
        [replace(each, location=f"{each.location}/{step}", levels=image(each, f".{step}")) for each in objects]
        for step in range(again)
        for objects in transactions
    ]
    folder = tmp_path_factory.mktemp("both")
    async with opened(folder / "one.db") as one, opened(folder / "other.db") as other:
        for objects in transactions + more:
            one.add(*objects)
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(KnownSeries, "add", not_so_simple)
                other.add(*objects)
            assert one.tables() == other.tables()


def image(header: Header, suffix: str) -> dict[Level, dict[str, Value]]:
    own = header.levels[Level.IMAGE]
    (uid,) = own["SOPInstanceUID"]
    return {**header.levels, Level.IMAGE: {**own, "SOPInstanceUID": (f"{uid}{suffix}",)}}


async def test_an_object_of_a_known_series_takes_one_statement(tmp_path: Path) -> None:
    async with opened(tmp_path / "index.db") as archive:
        archive.add(header(1))
        assert archive.statements > 5
        archive.add(header(2))
        assert archive.statements == 1
        archive.add(header(3), header(4))
        assert archive.statements == 1
        archive.add(*(header(number) for number in range(10, 74)))
        assert archive.statements == 1
        archive.add(*(header(number) for number in range(100, 165)))
        assert archive.statements > 1, "SQLite limits the values of a statement"
        archive.add(header(1, series=2), header(5))
        assert archive.statements > 5, "one of them is of a new series"
        archive.add(header(2, series=2), header(6))
        assert archive.statements == 1
        connection = sqlite3.connect(archive.file)
        left = connection.execute("SELECT name FROM sqlite_master WHERE type IN ('view', 'trigger')").fetchall()
        connection.close()
        assert left == [], "another version of this program opens the same file"
        assert (await archive.index.counts()).instances == 8 + 64 + 65


@pytest.mark.parametrize(
    "odd",
    [
        with_class(header(2), "1.2.840.10008.5.1.4.1.1.2"),
        with_class(header(2), '1.2"x'),
        header(2, StudyDescription="Head"),
        header(2, SeriesDescription="T1"),
        replace(header(2), location="a/\udc80"),
        replace(header(2), location=header(1).location),
        replace(header(1), location="elsewhere"),
    ],
    ids=["SOP class", "quote", "study", "series", "surrogate", "location", "UID"],
)
async def test_another_object_is_added_the_other_way(tmp_path: Path, odd: Header) -> None:
    async with opened(tmp_path / "one.db") as one, opened(tmp_path / "other.db") as other:
        for archive in (one, other):
            archive.add(header(1))
        one.add(odd)
        assert one.statements > 1
        await other.index.add([odd])
        assert one.tables() == other.tables()
        for number in (3, 4):
            for archive in (one, other):
                archive.add(header(number))
            assert one.tables() == other.tables()


@pytest.mark.parametrize("what", ["counts", "study", "series", "removes", "removes all"])
async def test_what_another_process_writes_is_seen(tmp_path: Path, what: str) -> None:
    """Numbers may be counted by both at any time. What else is changed ends the short way, until it is known again."""
    async with opened(tmp_path / "index.db") as one, opened(tmp_path / "index.db") as other:
        one.add(header(1))
        one.add(header(2))
        if what == "counts":
            other.add(header(3))
        elif what in ("study", "series"):
            other.add(header(3, **{f"{what.capitalize()}Description": "Head"}))
        elif what == "removes":
            await other.index.remove([header(1).location])
        else:
            await other.index.remove([header(number).location for number in (1, 2)])
            other.add(replace(header(3), levels={**header(3).levels, Level.PATIENT: {"PatientID": ("Q",)}}))
        taken = []
        for number in range(4, 8):
            one.add(header(number))
            taken.append(one.statements == 1)
        assert taken == ([True] * 4 if what == "counts" else [False, False, True, True])
        found = one.tables()
        expected = {"removes": 5, "removes all": 4}.get(what, 7)
        assert sum(row[-1] for row in found["series"]) == expected + (what == "removes all")
        assert len(found["instance"]) == len(found["file"]) == expected + (what == "removes all")
        assert [row[1] for row in found["patient"]] == (["Q", "P"] if what == "removes all" else ["P"])


async def test_a_series_that_is_gone_is_not_counted(tmp_path: Path) -> None:
    """Its study is there, and both are added to again."""
    async with opened(tmp_path / "index.db") as archive:
        archive.add(header(1), header(1, series=2, Modality="CT"))
        await archive.index.remove([header(1, series=2).location])
        for number in (2, 3):
            archive.add(header(number))
        sop_class_uid = header(1).text("SOPClassUID")
        assert [row[-1] for row in archive.tables()["study"]] == [f'[1,3,{{"MR":1}},{{"{sop_class_uid}":3}}]']
        archive.add(header(2, series=2, Modality="CT"))
        assert [row[-1] for row in archive.tables()["study"]] == [f'[2,4,{{"MR":1,"CT":1}},{{"{sop_class_uid}":4}}]']


async def test_a_sqlite_without_json_does_it_the_other_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Old:
        def execute(self, statement: str) -> None:
            raise sqlite3.OperationalError("no such function: json_set")

    prepare = KnownSeries.prepare
    monkeypatch.setattr(KnownSeries, "prepare", lambda self, _cursor: prepare(self, Old()))
    async with opened(tmp_path / "index.db") as archive:
        for number in range(3):
            archive.add(header(number))
            assert archive.statements > 1
        assert (await archive.index.counts()).instances == 3


async def test_objects_of_a_series_may_say_different_things(tmp_path: Path) -> None:
    """What the first one says counts. So it is enough that each attribute is there."""
    async with opened(tmp_path / "one.db") as one, opened(tmp_path / "other.db") as other:
        told = [{"StudyTime": "07"}, {"SeriesTime": "08"}, {}, {"SeriesTime": "09"}, {"StudyTime": "10"}]
        taken = []
        for number, each in enumerate(told + told):
            one.add(header(number, **each))
            taken.append(one.statements == 1)
            await other.index.add([header(number, **each)])
            assert one.tables() == other.tables()
        assert taken == [False, False] + [True] * 8
        one.add(replace(header(20), levels={**header(20).levels, Level.PATIENT: {"PatientID": ("Q",)}}))
        assert one.statements > 1, "it is of another patient"
        assert sorted(row[1] for row in one.tables()["patient"]) == ["P", "Q"]


async def test_what_is_known_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiodimse.archive.index.sql.known_series._MOST", 3)
    async with opened(tmp_path / "index.db") as archive:
        for number in range(20):
            archive.add(header(1, series=number))
            assert 1 <= len(archive.direct._known._series) <= 3
        assert (await archive.index.counts()).series == 20
