"""A search of several keys reads about as much as the one that leaves the fewest studies."""

from __future__ import annotations

from pathlib import Path

import pytest
from archive.databases import empty_database
from archive.strategies import asked
from sqlalchemy import event

from aiodimse.archive import Header, find_query
from aiodimse.archive.index.sql import SQLIndex
from aiodimse.archive.index.sql.engines import open_engine, url_of
from aiodimse.archive.index.sql.reading import Search
from aiodimse.archive.models import STUDY_ROOT, Level

FEW_KEYS = (
    {"PatientName": "ROE^*"},
    {"PatientName": "ROE^*", "StudyDate": "20240101-20241231"},
    {"StudyDate": "20240101-20241231", "PatientName": "ROE^*", "Modality": "MR"},
)
MANY = 600


def study_of(number: int, name: str) -> Header:
    levels = {
        Level.PATIENT: {"PatientID": (str(number),), "PatientName": (name,)},
        Level.STUDY: {"StudyInstanceUID": (f"1.{number}",), "StudyDate": ("20240506",)},
        Level.SERIES: {"SeriesInstanceUID": (f"1.{number}.1",), "Modality": ("MR",)},
        Level.IMAGE: {"SOPInstanceUID": (f"1.{number}.1.1",), "SOPClassUID": ("1.2.840.10008.5.1.4.1.1.4",)},
    }
    return Header(str(number), levels, transfer_syntax="1.2.840.10008.1.2.1")


def steps_of(url: str, keys: dict[str, str]) -> tuple[list[str], int]:
    """The Study Instance UIDs that a search finds, and how many hundred steps SQLite takes for it."""
    steps = 0

    def step() -> int:
        nonlocal steps
        steps += 1
        return 0

    engine = open_engine(url_of(url), connections=1)
    event.listen(engine, "connect", lambda connection, _: connection.set_progress_handler(step, 100))
    query = find_query(asked("STUDY", StudyInstanceUID=None, **keys), STUDY_ROOT)
    with engine.connect() as connection:
        search = Search(lambda statement: connection.execute(statement).all(), query)
        found = [match.attributes["StudyInstanceUID"][0] for match in search.matches() if match is not None]
    engine.dispose()
    return found, steps


@pytest.mark.parametrize("keys", FEW_KEYS, ids=lambda keys: " ".join(keys))
async def test_keys_that_leave_many_studies_cost_nothing_beside_one_that_leaves_few(
    tmp_path: Path, keys: dict[str, str]
) -> None:
    url = empty_database("sqlite", tmp_path)
    index = await SQLIndex.open(url_of(url))
    await index.add([study_of(1, "Roe^Jane"), study_of(2, "Roe^Jim"), study_of(3, "Doe^John")])
    found, steps = steps_of(url, keys)
    await index.add([study_of(10 + number, "Doe^John") for number in range(MANY)])
    found_among_many, steps_among_many = steps_of(url, keys)
    await index.close()
    assert found == found_among_many == ["1.1", "1.2"]
    assert steps_among_many <= steps + MANY // 100, "less than one step for each study more"


async def test_a_key_that_leaves_no_study_ends_the_search(tmp_path: Path) -> None:
    url = empty_database("sqlite", tmp_path)
    index = await SQLIndex.open(url_of(url))
    await index.add([study_of(1, "Roe^Jane")])
    await index.close()
    assert steps_of(url, {"PatientName": "Poe*", "StudyDate": "20240506"})[0] == []
    assert steps_of(url, {"PatientName": "Roe*", "StudyDate": "20230506"})[0] == []
    assert steps_of(url, {"PatientName": "Roe*", "StudyDate": "20240506"})[0] == ["1.1"]
