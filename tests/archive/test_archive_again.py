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


async def test_who_saved_it_died(tmp_path: Path, a_file: Files) -> None:
    a_file(hashed_name(UID))
    archive = await Archive.open(tmp_path, index="memory:", scan=False)
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


async def test_another_instance_is_there(tmp_path: Path, a_file: Files) -> None:
    a_file(hashed_name(UID), patient="ANOTHER")
    archive = await Archive.open(tmp_path, index="memory:", scan=False)
    assert await stored(archive) == 0xA900
    assert await archive.index.lookup([UID]) == {}
    await archive.close()


def test_new_objects_go_into_a_few_folders() -> None:
    """Each new folder costs its first store an fsync of the folder above."""
    locations = [hashed_name(f"1.2.3.{number}") for number in range(5000)]
    assert len({location.rpartition("/")[0] for location in locations}) == 256
    assert {location.count("/") for location in locations} == {2}


async def test_what_an_earlier_version_saved_elsewhere_stays_there(tmp_path: Path, a_file: Files) -> None:
    there = a_file(f"ab/cd/{UID}.dcm")
    archive = await Archive.open(tmp_path, index="memory:")
    assert await stored(archive) == 0x0000
    assert list(tmp_path.rglob("*.dcm")) == [there]
    await archive.close()
