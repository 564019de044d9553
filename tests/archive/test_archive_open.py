"""Opening an archive again: what it knows, what it reads, and what it does about an index that cannot be used."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from archive.databases import new_database

from aiodimse.archive import Archive, Counts, ScanReport, models, one_level
from aiodimse.archive.index import opening
from aiodimse.archive.index.sql import SQLIndex, schema
from aiodimse.archive.storage import FolderStorage

Files = Callable[..., Path]


@pytest.mark.parametrize("kind", ["default", "sqlite", "postgresql"])
async def test_a_second_opening_reads_nothing_again(
    tmp_path: Path, a_file: Files, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_file("files/1.dcm", image="1")
    a_file("files/a/2.dcm", image="2")
    (tmp_path / "files" / "note.txt").write_text("not DICOM")
    index = new_database() if kind == "postgresql" else f"sqlite:///{tmp_path}/index.db" if kind == "sqlite" else None
    first = await Archive.open(tmp_path / "files", index=index)
    await first.close()
    assert first.report == ScanReport(files=3, indexed=2, not_dicom=1)
    read: list[str] = []
    monkeypatch.setattr("aiodimse.archive.storage.FolderStorage.read", lambda _self, location: read.append(location))
    again = await Archive.open(tmp_path / "files", index=index)
    assert again.report == first.report
    assert read == []
    assert await again.index.counts() == Counts(1, 1, 1, 2)
    await again.close()


async def test_the_end_of_a_block_closes_it(tmp_path: Path, a_file: Files) -> None:
    a_file("1.dcm")
    with pytest.raises(ZeroDivisionError):
        async with await Archive.open(tmp_path) as archive:
            raise ZeroDivisionError
    with pytest.raises(OSError, match="closed"):
        await archive.index.counts()


@pytest.mark.parametrize("damage", ["no database", "cut off", "other version"])
async def test_an_index_that_cannot_be_used_is_made_anew(
    tmp_path: Path, a_file: Files, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    a_file("1.dcm")
    await (await Archive.open(tmp_path)).close()
    file = tmp_path / opening.FILE
    if damage == "no database":
        file.write_bytes(b"no database" * 1000)
    elif damage == "cut off":
        file.write_bytes(file.read_bytes()[:5000])
    else:
        connection = sqlite3.connect(file)
        connection.execute("UPDATE aiodimse_meta SET value = '99' WHERE name = 'version'")
        connection.commit()
        connection.close()
    archive = await Archive.open(tmp_path)
    assert archive.rebuilt is not None
    assert archive.rebuilt in caplog.text
    assert archive.report.indexed == 1
    assert (tmp_path / f"{opening.FILE}.unusable-1").exists()
    await archive.close()


@pytest.mark.parametrize("change", ["attribute", "model"])
async def test_an_index_of_other_attributes_is_made_anew(
    tmp_path: Path, a_file: Files, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """A row more in models.py or one_level.py: what was indexed before would never be found by it."""
    a_file("1.dcm")
    await (await Archive.open(tmp_path)).close()
    archive = await Archive.open(tmp_path)
    assert archive.rebuilt is None
    await archive.close()
    if change == "attribute":
        more = {**models.ATTRIBUTES, models.Level.STUDY: (*models.ATTRIBUTES[models.Level.STUDY], "StudyIDIssuer")}
        monkeypatch.setattr(schema, "ATTRIBUTES", more)
    else:
        monkeypatch.setattr(schema, "MODELS", one_level.MODELS[1:])
    archive = await Archive.open(tmp_path)
    assert archive.rebuilt == "the index keeps other attributes than this program"
    await archive.close()


@pytest.mark.parametrize("index", ["mysql://host/db", "nothing", "sqlite://"])
async def test_what_is_no_index(tmp_path: Path, index: str) -> None:
    with pytest.raises(ValueError, match=r"an index is kept in|not the URL"):
        await Archive.open(tmp_path, index=index)


async def test_a_database_that_is_not_there(tmp_path: Path) -> None:
    """And its password is not told."""
    with pytest.raises(OSError, match="cannot be opened") as caught:
        await Archive.open(tmp_path, index="postgresql://user:secret@127.0.0.1:1/db")
    assert "secret" not in str(caught.value)
    assert "refused" in str(caught.value)  # what to look at: the address, the password, the server
    with pytest.raises(OSError, match="there is no such folder"):
        await Archive.open(tmp_path, index=f"sqlite:///{tmp_path}/no/such/folder.db")


async def test_what_was_opened_for_an_archive_that_cannot_be_is_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processes on one bucket need an index that they share, too."""

    closed: list[SQLIndex] = []

    async def close(index: SQLIndex, timeout: float = 5.0) -> None:
        closed.append(index)
        await closing(index, timeout)

    closing = SQLIndex.close
    monkeypatch.setattr(SQLIndex, "close", close)
    monkeypatch.setattr("aiodimse.archive.archive.FolderStorage", Path)  # what the storage is not
    with pytest.raises(ValueError, match="an index in PostgreSQL"):
        await Archive.open(FolderStorage(tmp_path), index=f"sqlite:///{tmp_path}/index.db", shared=True)
    assert len(closed) == 1


@pytest.mark.parametrize("scan", [True, False])
@pytest.mark.parametrize("below", ["", "a/"])
async def test_a_disk_that_is_not_mounted_when_its_archive_is_opened(
    tmp_path: Path, a_file: Files, below: str, scan: bool
) -> None:
    """The index is elsewhere: it would forget every object, and take new ones that the disk would hide."""
    index, folder = f"sqlite:///{tmp_path}/index.db", tmp_path / "files"
    a_file(f"files/{below}1.dcm")
    await (await Archive.open(folder, index=index)).close()
    folder.rename(tmp_path / "disk")
    (folder / "lost+found").mkdir(parents=True)
    with pytest.raises(OSError, match="no object of the index is there: is its disk mounted"):
        await Archive.open(folder, index=index, scan=scan)
    archive = await Archive.open(folder, index=index, scan=False, make_index=False)  # as check does
    assert (await archive.index.counts()).instances == 1
    await archive.close()
    shutil.rmtree(folder)
    (tmp_path / "disk").rename(folder)
    await (await Archive.open(folder, index=index, scan=scan)).close()


async def test_all_files_of_a_folder_that_has_its_index_may_go(tmp_path: Path, a_file: Files) -> None:
    """Its disk is mounted, since the index is on it."""
    path = a_file("1.dcm")
    await (await Archive.open(tmp_path)).close()
    path.unlink()
    archive = await Archive.open(tmp_path)
    assert archive.report.forgotten == 1
    await archive.close()


async def test_a_folder_without_files_may_have_objects_elsewhere(tmp_path: Path, a_file: Files) -> None:
    index, folder = f"sqlite:///{tmp_path}/index.db", tmp_path / "files"
    folder.mkdir()
    archive = await Archive.open(folder, index=index)
    await archive.add(a_file("elsewhere.dcm"))
    await archive.close()
    archive = await Archive.open(folder, index=index)
    assert (await archive.index.counts()).instances == 1
    await archive.close()
