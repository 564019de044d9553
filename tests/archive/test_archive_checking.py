"""aiodimse check: what the files have and the index has not, and the other way round."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from pydicom import Dataset

import aiodimse
from aiodimse import sop_class, testing
from aiodimse.archive import Archive, CheckReport, check, provide
from aiodimse.archive.storage.folder import FolderStorage
from aiodimse.cli.main import main

Files = Callable[..., Path]


@pytest.fixture
async def folder(tmp_path: Path, a_file: Files) -> Path:
    for number in range(4):
        a_file(f"archive/{number}/{number}.dcm", image=str(number))
    (tmp_path / "archive" / "note.txt").write_text("not DICOM")
    await (await Archive.open(tmp_path / "archive")).close()
    return tmp_path / "archive"


async def checked(folder: Path, *, read: bool = False) -> CheckReport:
    archive = await Archive.open(folder, scan=False)
    try:
        return await check(archive, read=read)
    finally:
        await archive.close()


async def test_an_archive_that_is_sound(folder: Path) -> None:
    report = await checked(folder, read=True)
    assert (report.files, report.objects, report.is_sound) == (5, 4, True)
    assert str(report) == "5 files, 4 objects; storage and index agree"


async def test_what_was_stored_is_as_the_index_has_it(tmp_path: Path, an_object: Callable[..., Dataset]) -> None:
    """With the size and the time of its file, by which the next scan knows that it need not read it."""
    archive = await Archive.open(tmp_path)
    server = aiodimse.Server()
    provide(server, archive)
    async with testing.joined(server, contexts=[sop_class.MRImageStorage]) as association:
        for _ in range(2):
            assert (await association.c_store(an_object())).status == 0x0000
    report = await check(archive, read=True)
    assert (report.files, report.objects, report.is_sound) == (1, 1, True)
    await archive.close()


async def test_what_is_amiss_is_told_and_not_mended(folder: Path, a_file: Files) -> None:
    (folder / "0" / "0.dcm").unlink()
    (folder / "1" / "1.dcm").unlink()
    (folder / "1").rmdir()
    a_file("archive/new.dcm", image="9")
    (folder / "2" / "2.dcm").write_bytes(b"cut off")
    status = (folder / "3" / "3.dcm").stat()
    a_file("archive/3/3.dcm", image="7")
    os.utime(folder / "3" / "3.dcm", ns=(status.st_atime_ns, status.st_mtime_ns))  # of the same size, too
    for _ in range(2):
        report = await checked(folder, read=True)
        assert report.not_indexed == ["new.dcm"]
        assert report.changed == ["2/2.dcm"]
        assert sorted(report.missing) == ["0/0.dcm", "1/1.dcm"]
        assert report.other == ["3/3.dcm"]
        assert (report.files, report.objects) == (4, 0)
    assert (await checked(folder)).other == []


async def test_what_cannot_be_looked_at_is_not_gone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder whose objects the index knows, as after a wrong chmod, and one of the system, as lost+found."""
    (folder / "lost+found").mkdir()
    (folder / "0" / "0.dcm").unlink()
    listing, looking = os.scandir, FolderStorage.stamp

    def scandir(path: Path) -> object:
        if Path(path).name in ("2", "lost+found"):
            raise PermissionError(errno.EACCES, "no", str(path))
        return listing(path)

    def stamp(self: FolderStorage, location: str) -> object:
        if location.startswith("2/"):
            raise PermissionError(errno.EACCES, "no", location)
        return looking(self, location)

    monkeypatch.setattr(os, "scandir", scandir)
    monkeypatch.setattr(FolderStorage, "stamp", stamp)
    report = await checked(folder)
    assert (report.missing, report.other, report.unreadable) == (["0/0.dcm"], ["2/2.dcm"], 2)
    assert (report.files, report.objects, report.is_sound) == (3, 2, False)
    assert str(report).endswith("1 unreadable or not what the index says; skipped: 2 unreadable")


async def test_a_folder_of_the_system_is_no_difference(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "lost+found").mkdir()
    listing = os.scandir

    def scandir(path: Path) -> object:
        if Path(path).name == "lost+found":
            raise PermissionError(errno.EACCES, "no", str(path))
        return listing(path)

    monkeypatch.setattr(os, "scandir", scandir)
    report = await checked(folder)
    assert (str(report), report.is_sound) == (
        "5 files, 4 objects; storage and index agree; skipped: 1 unreadable", True,
    )  # fmt: skip


async def test_studies_that_have_to_be_read_again_are_counted(folder: Path) -> None:
    """A scan was killed that had forgotten an object of a study."""
    archive = await Archive.open(folder)
    await archive.index.remove(["0/0.dcm"])
    await archive.close()
    (folder / "0" / "0.dcm").unlink()
    archive = await Archive.open(folder, scan=False, make_index=False)
    report = await check(archive)
    assert (report.outdated, report.is_sound) == (1, False)
    assert str(report).endswith("; studies to be read again: 1")
    await archive.scan()
    assert (await check(archive)).is_sound
    await archive.close()


def test_a_folder_without_an_index_is_left_as_it_is(
    tmp_path: Path, a_file: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    a_file("files/1.dcm")
    assert main(["check", str(tmp_path / "files")]) == 2
    assert "there is no index; serve makes it" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "files").iterdir()] == ["1.dcm"]
    assert main(["check", str(tmp_path / "files"), "--index", f"sqlite:///{tmp_path}/other.db"]) == 2
    assert not (tmp_path / "other.db").exists()


@pytest.mark.parametrize("damage", ["the index is damaged", "no index", "another version"])
def test_an_index_that_cannot_be_used_is_told_and_left(
    folder: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = folder / ".aiodimse-index.db"
    if damage == "the index is damaged":
        file.write_bytes(b"no database" * 1000)
    else:
        with closing(sqlite3.connect(file)) as connection:
            statement = {
                "no index": "DROP TABLE aiodimse_meta",
                "another version": "UPDATE aiodimse_meta SET value = '1' WHERE name = 'version'",
            }[damage]
            connection.execute(statement)
            connection.commit()
    before, there = file.read_bytes(), sorted(folder.glob(".aiodimse*"))
    assert main(["check", str(folder)]) == 2
    said = capsys.readouterr().err
    assert {"another version": "the index is of version 1"}.get(damage, damage) in said
    assert "serve makes a new one from the files" in said
    assert file.read_bytes() == before
    assert sorted(folder.glob(".aiodimse*")) == there


def test_the_command(folder: Path, a_file: Files, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", str(folder)]) == 0
    assert "agree" in capsys.readouterr().out
    a_file("archive/new.dcm", image="9")
    assert main(["check", str(folder), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["not_indexed"] == ["new.dcm"]


def test_all_archives_of_a_configuration(
    folder: Path, tmp_path: Path, a_file: Files, capsys: pytest.CaptureFixture[str]
) -> None:
    """That of the location and those of called titles. One that cannot be checked does not keep the others from it."""
    other, new, file = tmp_path / "other", tmp_path / "new", tmp_path / "archive.toml"
    shutil.copytree(folder, other)
    new.mkdir()
    called = f'[called]\nOTHER = "{other}"\nALIAS = true\n'
    file.write_text(f'location = "{folder}"\nport = 104\nmetrics = 9090\n{called}')
    assert main(["check", "--config", str(file)]) == 0
    assert [line.partition(":")[0] for line in capsys.readouterr().out.splitlines()] == [str(folder), str(other)]
    a_file("other/new.dcm", image="9")
    assert main(["check", "--config", str(file), "--json"]) == 1
    first, second = json.loads(capsys.readouterr().out)["archives"]
    assert (first["location"], first["not_indexed"]) == (str(folder), [])
    assert (second["location"], second["not_indexed"]) == (str(other), ["new.dcm"])
    assert main(["check", str(folder), "--config", str(file)]) == 0  # only the one that the command line names
    file.write_text(f'location = "{new}"\n{called}')
    capsys.readouterr()
    assert main(["check", "--config", str(file)]) == 2
    told = capsys.readouterr()
    assert "there is no index; serve makes it" in told.err
    assert told.out.startswith(f"{other}: 6 files")
    assert not list(new.iterdir())


def test_the_index_of_a_configuration(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "archive.toml"
    (folder / ".aiodimse-index.db").rename(tmp_path / "index.db")
    file.write_text(f'location = "{folder}"\nindex = "sqlite:///{tmp_path}/index.db"\n')
    assert main(["check", "--config", str(file)]) == 0
    assert main(["check", "--config", str(file), "--index", f"sqlite:///{tmp_path}/none.db"]) == 2
    file.write_text("locaton = 'x'\n")
    with pytest.raises(SystemExit):
        main(["check", "--config", str(file)])
    assert f"{file}: no option locaton" in capsys.readouterr().err
    assert main(["check"]) == 2
    assert "give the LOCATION to check" in capsys.readouterr().err
