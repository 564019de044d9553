"""A scan that is interrupted anywhere, or whose process is killed: the next one ends as if nothing had happened."""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from archive.databases import KINDS, emptied_database
from archive.strategies import asked

from aiodimse.archive import Archive, Index, MemoryIndex, ScanReport, find_query
from aiodimse.archive.index.sql import SQLIndex
from aiodimse.archive.models import PATIENT_ROOT
from aiodimse.archive.storage import FolderStorage, StorageGone

Files = Callable[..., Path]


async def test_an_interrupted_scan_goes_on_where_it_was(
    tmp_path: Path, a_file: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        a_file(f"files/{number:02}/1.dcm", image=str(number))
    read: list[str] = []
    reading = FolderStorage.read

    def count(self: FolderStorage, location: str) -> object:
        if len(read) == 12:
            read.append("")
            raise KeyboardInterrupt
        read.append(location)
        return reading(self, location)

    monkeypatch.setattr(FolderStorage, "read", count)
    with pytest.raises(KeyboardInterrupt):
        await Archive.open(tmp_path / "files")
    archive = await Archive.open(tmp_path / "files")
    assert (archive.report.indexed, len(read)) == (20, 21)
    await archive.close()


class Killed(BaseException):
    """The process was killed."""


class Killable:
    """An index, of which one call never happens, because the process is killed before it.

    Args:
        index: The index.
        calls: How many calls happen.
    """

    def __init__(self, index: Index, calls: int) -> None:
        self._index, self._calls = index, calls

    def __getattr__(self, name: str) -> Any:
        called = getattr(self._index, name)
        if not (inspect.iscoroutinefunction(called) or inspect.isasyncgenfunction(called)) or name == "close":
            return called

        def call(*words: Any) -> Any:
            self._calls -= 1
            if self._calls < 0:
                raise Killed(name)
            return called(*words)

        return call


async def told(index: Index) -> list[Any]:
    """All that C-FIND says about the archive at every level."""
    keys = {
        "PATIENT": ("PatientName", "NumberOfPatientRelatedInstances"),
        "STUDY": ("PatientName", "StudyDescription", "AccessionNumber", "ModalitiesInStudy"),
        "SERIES": ("StudyDescription", "SeriesDescription", "Modality"),
        "IMAGE": ("StudyDescription", "SeriesDescription", "SOPInstanceUID"),
    }
    queries = [find_query(asked(level, **dict.fromkeys(names)), PATIENT_ROOT) for level, names in keys.items()]
    return [sorted([str(match.attributes) async for match in index.find(query)]) for query in queries]


async def scan(folder: Path, index: Any) -> ScanReport:
    archive = Archive(folder, index=index)
    try:
        return await archive.scan()
    finally:
        await archive.locks.close()


CALLS_OF_A_SCAN = 60
"""More than the scan below makes."""


@pytest.mark.parametrize("kind", KINDS)
async def test_a_scan_that_is_killed_anywhere_is_finished_by_the_next(
    tmp_path: Path, a_file: Files, kind: str, record_property: Callable[[str, int], None]
) -> None:
    """Before each call of the index. What has happened in between:

    One object has gone that another file has too, one comes, one is another one now, and a whole folder has gone. The
    objects that have gone were the first of their study, whose attributes came from them, and other ones stay.
    """

    def fill(folder: Path) -> Path:
        a_file(f"{folder.name}/a/1.dcm", image="1")
        a_file(f"{folder.name}/b/1.dcm", image="1")
        a_file(f"{folder.name}/b/2.dcm", image="2")
        wrong = {"StudyDescription": "WRONG", "SeriesDescription": "WRONG", "PatientName": "Wrong^Name"}
        for study in ("2", "3"):
            a_file(f"{folder.name}/{'b' if study == '3' else 'c'}/3.dcm", image="3", study=study, **wrong)
            a_file(f"{folder.name}/d/{study}.dcm", image="4", study=study, StudyDescription="RIGHT", PatientName="A^B")
            a_file(f"{folder.name}/e/{study}.dcm", image="5", study=study, series="2", AccessionNumber="A1")
        return folder

    def change(folder: Path) -> None:
        shutil.rmtree(folder / "a")
        a_file(f"{folder.name}/b/2.dcm", image="4", patient="OTHER")
        (folder / "b" / "3.dcm").write_text("another file")
        a_file(f"{folder.name}/b/5.dcm", image="5")
        shutil.rmtree(folder / "c")

    change(fill(tmp_path / "fresh"))
    fresh = await Archive.open(tmp_path / "fresh", index=MemoryIndex())
    expected = await told(fresh.index)
    assert "RIGHT" in str(expected)
    assert "WRONG" not in str(expected)
    killed_before = set[str]()
    database = emptied_database(kind, tmp_path) if kind != "memory" else None
    # The process that is killed, and the one that is started then. Opening a database anew would take most of the time.
    index, again = [MemoryIndex() if database is None else await SQLIndex.open(database.url) for _ in range(2)]
    for calls in range(CALLS_OF_A_SCAN):
        folder = fill(tmp_path / str(calls))
        if database is None:
            index = again = MemoryIndex()
        else:
            database.empty()
        await scan(folder, index)
        change(folder)
        try:
            await scan(folder, Killable(index, calls))
        except Killed as where:
            killed_before.add(str(where))
        else:
            break
        report = await scan(folder, again)
        assert report.files == fresh.report.files
        assert await told(again) == expected, calls
        assert await again.outdated_studies() == []
    else:
        pytest.fail("a scan makes more calls")
    assert killed_before >= {"files", "remove", "add", "note", "duplicates", "outdated_studies", "set_current"}
    record_property("calls before which a scan ended", calls)
    await index.close()
    await again.close()


@pytest.mark.parametrize("when", ["folders", "outdated_studies"])
@pytest.mark.parametrize("is_first", [True, False])
async def test_a_disk_that_goes_away_during_a_scan(
    tmp_path: Path, a_file: Files, when: str, is_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The scan fails, and the index does not count as complete. The next one ends as if nothing had happened."""
    folder, index = tmp_path / "files", MemoryIndex()
    a_file("files/a/1.dcm", image="1", StudyDescription="WRONG")
    a_file("files/b/2.dcm", image="2", StudyDescription="RIGHT")
    archive = Archive(folder, index=index)
    if not is_first:
        await archive.scan()
        shutil.rmtree(folder / "a")
    index._is_complete = False
    call = getattr(index, when)

    async def unmounted() -> Any:
        folder.rename(tmp_path / "disk")
        folder.mkdir()  # where the disk was mounted
        return await call()

    with monkeypatch.context() as changed:
        changed.setattr(index, when, unmounted)
        with pytest.raises(StorageGone):
            await archive.scan()
    assert not await index.is_complete()
    folder.rmdir()
    (tmp_path / "disk").rename(folder)
    await archive.scan()
    assert await index.is_complete()
    assert ("RIGHT" in str(await told(index))) is not is_first
    assert await index.outdated_studies() == []
    await archive.close()
