"""Whatever happens to the files of an archive, and wherever its scans are killed, it says what its objects say."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from archive.conftest import make_object, write_object
from archive.databases import open_index
from archive.strategies import asked
from archive.test_archive_interrupted import Killable, Killed, scan
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiodimse.archive import Entry, Index, find_query
from aiodimse.archive.models import STUDY_ROOT

ATTRIBUTES = {"STUDY": ("StudyDescription", "AccessionNumber"), "SERIES": ("SeriesDescription", "Modality")}
UIDS = {"STUDY": "study_instance_uid", "SERIES": "series_instance_uid"}
CONTENT = st.one_of(
    st.none(),  # the file is not there
    st.just("text"),
    st.fixed_dictionaries(
        {"study": st.sampled_from("12"), "series": st.sampled_from("12"), "image": st.sampled_from("123")},
        optional={keyword: st.sampled_from("AB") for keywords in ATTRIBUTES.values() for keyword in keywords},
    ),
)
CHANGES = st.dictionaries(st.sampled_from(["a/1", "a/2", "b/1", "b/2", "b/3"]), CONTENT)
SCANS = st.lists(st.tuples(CHANGES, st.one_of(st.none(), st.integers(0, 30))), min_size=1, max_size=5)


def write(path: Path, content: Any, time: int) -> None:
    if content is None:
        path.unlink(missing_ok=True)
        return
    if content == "text":
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    else:
        dataset = make_object(**content)
        if "Modality" not in content:
            del dataset.Modality
        write_object(path, dataset)
    os.utime(path, (time, time))


async def found(index: Index, level: str) -> dict[str, Mapping[str, Any]]:
    """The studies or series by their UIDs."""
    uid = f"{level.title()}InstanceUID"
    query = find_query(asked(level, **dict.fromkeys((uid, *ATTRIBUTES[level]))), STUDY_ROOT)
    return {match.attributes[uid][0]: match.attributes async for match in index.find(query)}  # type: ignore[misc]


async def entries(index: Index) -> list[Entry]:
    uids = [f"1.2.{study}.{series}.{image}" for study in "12" for series in "12" for image in "123"]
    return list((await index.lookup(uids)).values())


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(scans=SCANS)
async def test_an_archive_says_what_its_objects_say(
    tmp_path_factory: pytest.TempPathFactory, kind: str, scans: list[tuple[dict[str, Any], int | None]]
) -> None:
    """No attribute of an object that is gone, and every attribute that any object has."""
    folder = tmp_path_factory.mktemp("folder")
    index = await open_index(kind, tmp_path_factory.mktemp("index"))
    contents: dict[str, Any] = {}
    for number, (changes, calls) in enumerate([*scans, ({}, None)]):
        for name, content in changes.items():
            contents[name] = content
            write(folder / name, content, 1_000_000_000 + number)
        with suppress(Killed):
            await scan(folder, index if calls is None else Killable(index, calls))
    objects = await entries(index)
    there = [each for each in contents.values() if isinstance(each, dict)]
    assert {each.sop_instance_uid for each in objects} == {
        f"1.2.{each['study']}.{each['series']}.{each['image']}" for each in there
    }
    for level, keywords in ATTRIBUTES.items():
        by_uid: dict[str, list[Any]] = {}
        for each in objects:
            by_uid.setdefault(getattr(each, UIDS[level]), []).append(contents[each.location])
        said = await found(index, level)
        assert said.keys() == by_uid.keys()
        for uid, own in by_uid.items():
            for keyword in keywords:
                values = {(each[keyword],) for each in own if keyword in each}
                assert said[uid][keyword] in (values or {()}), keyword
    assert await index.outdated_studies() == []
    await index.close()
