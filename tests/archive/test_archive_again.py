"""An instance that was saved and never came into the index: whoever sends it again has it found."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from archive.conftest import make_object
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian

import aiodimse
from aiodimse import sop_class, testing
from aiodimse.archive import Archive, Header, MemoryIndex, provide
from aiodimse.archive.storage.hashed import hashed_name

MR = sop_class.MRImageStorage
UID = "1.2.1.1.1"
Files = Callable[..., Path]


class Failing(MemoryIndex):
    """Does not answer for the first time that it is told something."""

    def __init__(self) -> None:
        super().__init__()
        self.failures = 1

    async def add(self, headers: Iterable[Header]) -> None:
        if self.failures:
            self.failures -= 1
            raise ConnectionError("the database has gone")
        await super().add(headers)


async def stored(archive: Archive, **attributes: object) -> int:
    dataset: Dataset = make_object(**attributes)  # type: ignore[arg-type]
    dataset.ensure_file_meta()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    server = aiodimse.Server(ae_title="ARCHIVE")
    provide(server, archive, durable=False)
    async with testing.joined(server, contexts=[MR]) as association:
        return (await association.c_store(dataset)).status


INDEXES = pytest.mark.parametrize("index", ["memory:", None], ids=["memory", "sqlite"])


@INDEXES
async def test_who_saved_it_died(tmp_path: Path, a_file: Files, index: str | None) -> None:
    a_file(hashed_name(UID))
    archive = await Archive.open(tmp_path, index=index, scan=False)
    assert await archive.index.lookup([UID]) == {}
    assert await stored(archive) == 0x0000
    assert (await archive.index.lookup([UID]))[UID].location == hashed_name(UID)
    await archive.close()


@pytest.mark.parametrize("duplicates", ["keep", "replace"])
async def test_the_index_was_away(tmp_path: Path, duplicates: str) -> None:
    archive = await Archive.open(tmp_path, index=Failing(), duplicates=duplicates, scan=False)  # type: ignore[arg-type]
    assert await stored(archive) >= 0x0100
    assert (tmp_path / hashed_name(UID)).exists()
    assert await stored(archive) == 0x0000
    assert UID in await archive.index.lookup([UID])
    report = await archive.scan()
    assert (report.files, report.indexed) == (1, 1)
    await archive.close()


@INDEXES
async def test_another_instance_is_there(tmp_path: Path, a_file: Files, index: str | None) -> None:
    a_file(hashed_name(UID), patient="ANOTHER")
    archive = await Archive.open(tmp_path, index=index, scan=False)
    assert await stored(archive) == 0xA900
    assert await archive.index.lookup([UID]) == {}
    await archive.close()


def test_new_objects_go_into_a_few_folders() -> None:
    """Each new folder costs its first store an fsync of the folder above."""
    locations = [hashed_name(f"1.2.3.{number}") for number in range(5000)]
    assert len({location.rpartition("/")[0] for location in locations}) == 256
    assert {location.count("/") for location in locations} == {2}


@INDEXES
@pytest.mark.parametrize(("patient", "status"), [("P1", 0x0000), ("ANOTHER", 0xA900)])
async def test_what_an_earlier_version_saved_elsewhere_stays_there(
    tmp_path: Path, a_file: Files, index: str | None, patient: str, status: int
) -> None:
    there = a_file(f"ab/cd/{UID}.dcm")
    before = there.read_bytes()
    archive = await Archive.open(tmp_path, index=index)
    assert await stored(archive, patient=patient) == status
    assert list(tmp_path.rglob("*.dcm")) == [there]
    assert there.read_bytes() == before
    await archive.close()


@INDEXES
async def test_what_somebody_removed_elsewhere_is_saved_again(tmp_path: Path, a_file: Files, index: str | None) -> None:
    a_file(f"ab/cd/{UID}.dcm").rename(tmp_path / "moved.dcm")
    archive = await Archive.open(tmp_path, index=index)
    (tmp_path / "moved.dcm").unlink()
    assert await stored(archive) == 0x0000
    (path,) = tmp_path.rglob("*.dcm")
    location = path.relative_to(tmp_path).as_posix()
    assert (await archive.index.lookup([UID]))[UID].location == location
    report = await archive.scan()
    assert (report.files, report.indexed, report.forgotten) == (1, 1, 0)
    await archive.close()


@INDEXES
async def test_an_unknown_file_is_where_what_somebody_removed_goes(
    tmp_path: Path, a_file: Files, index: str | None
) -> None:
    """The index has one that has gone, and does not know the one that a C-STORE would replace."""
    gone = a_file("gone.dcm")
    archive = await Archive.open(tmp_path, index=index)
    gone.unlink()
    unknown = a_file(hashed_name(UID), PatientComments="first")
    before = unknown.read_bytes()
    assert await stored(archive) == 0x0000
    report = await archive.scan()
    assert unknown.read_bytes() == before
    assert report.forgotten == 0
    assert (await archive.index.lookup([UID]))[UID].location in {hashed_name(UID), "gone.dcm"}
    await archive.close()
