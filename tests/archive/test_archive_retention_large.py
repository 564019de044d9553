"""Retention of studies of many objects: what it reads for each, and that it stops where objects come meanwhile."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from pathlib import Path

import pytest
from archive.databases import open_index

from aiodimse.archive import Archive, Retention, StudyAge
from aiodimse.archive import retention as module
from aiodimse.archive.models import STUDY_ROOT, Level
from aiodimse.archive.queries import Query

DAY = 24 * 3600
NOW = 20_000 * DAY
OBJECTS = 80
OF_STUDY = Query(STUDY_ROOT, Level.STUDY, unique={Level.STUDY: ("1.2.1",)})
Files = Callable[..., Path]


@pytest.fixture(params=["memory", "sqlite", "postgresql"])
async def archive(
    request: pytest.FixtureRequest, tmp_path: Path, a_file: Files, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Archive]:
    """A study of 80 objects of five days ago, which are removed two at a time, and one of now."""
    monkeypatch.setattr(module, "_AT_ONCE", 2)
    for number in range(OBJECTS):
        os.utime(a_file(f"files/{number}.dcm", image=str(number)), (NOW - 5 * DAY,) * 2)
    os.utime(a_file("files/other.dcm", study="2"), (NOW, NOW))
    archive = await Archive.open(tmp_path / "files", index=await open_index(request.param, tmp_path))
    yield archive
    await archive.close()


async def test_what_is_read_of_a_large_study_grows_with_its_size_only(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    index, whole, files = archive.index, list[str](), list[str]()
    study_age, last_received = index.study_age, index.last_received

    async def counted_age(study_instance_uid: str) -> StudyAge | None:
        whole.append(study_instance_uid)
        return await study_age(study_instance_uid)

    async def counted_files(study_instance_uid: str, locations: Collection[str]) -> int:
        files.extend(locations)
        return await last_received(study_instance_uid, locations)

    monkeypatch.setattr(index, "study_age", counted_age)
    monkeypatch.setattr(index, "last_received", counted_files)
    removed = await Retention(archive, keep_days=3, now=lambda: NOW).sweep()
    assert (removed.studies, removed.instances) == (1, OBJECTS)
    assert len(whole) <= 8
    assert sorted(files) == sorted(f"{number}.dcm" for number in range(OBJECTS))


@pytest.mark.parametrize(
    ("what", "most"), [("received again", 4), ("replaced", OBJECTS - 2), ("new", 4 + OBJECTS // 8)]
)
async def test_a_study_that_gets_objects_while_it_is_removed(
    archive: Archive, a_file: Files, what: str, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes again is kept, and what is left of the study with it; a new object keeps all but an eighth of it."""
    remove, parts = archive.index.remove, list[int]()

    async def remove_and_come(locations: Iterable[str]) -> int:
        parts.append(await remove(locations))
        if len(parts) == 2:
            if what == "received again":
                await archive.index.set_received(["1.2.1"], NOW * 10**9)
            else:
                left = [entry.location async for entry in archive.index.entries(OF_STUDY)]
                name = left[-1] if what == "replaced" else "99.dcm"
                path = a_file(f"files/{name}", image=name.removesuffix(".dcm"))
                os.utime(path, (NOW, NOW))
                await archive.add(path)
        return parts[-1]

    total = await archive.index.stored_bytes()
    monkeypatch.setattr(archive.index, "remove", remove_and_come)
    removed = await Retention(archive, keep_days=3, now=lambda: NOW).sweep()
    left = await archive.index.stored_bytes()
    assert 4 <= removed.instances <= most
    assert (removed.studies, (await archive.index.counts()).studies) == (0, 2)
    if what != "new":
        assert removed.bytes == total - left
