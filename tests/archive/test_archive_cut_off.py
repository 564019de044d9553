"""An object whose data set is cut off, and the whole one: what was acknowledged whole is kept whole."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from archive.conftest import make_object
from pydicom.uid import ExplicitVRLittleEndian

import aiodimse
from aiodimse import sop_class, testing
from aiodimse.archive import Archive, provide
from aiodimse.archive.storage.hashed import hashed_name
from aiodimse.datasets import encode_dataset, file_meta

MR = sop_class.MRImageStorage
UID = "1.2.1.1.1"
WHOLE = encode_dataset(make_object(PixelData=bytes(4000), BitsAllocated=8), ExplicitVRLittleEndian)
CUTS = {"in its pixels": -1000, "in the head of its pixels": -4006}
INDEXES = pytest.mark.parametrize("index", ["memory:", None], ids=["memory", "sqlite"])


async def stored(archive: Archive, data: bytes) -> int:
    server = aiodimse.Server(ae_title="ARCHIVE")
    provide(server, archive, durable=False)
    async with testing.joined(server, contexts=[MR]) as association:
        instance = await aiodimse.Instance.from_part10(_part10(data))
        return (await association.c_store(instance)).status


async def _part10(data: bytes) -> AsyncIterator[bytes]:
    yield file_meta(MR, UID, ExplicitVRLittleEndian)
    yield data


async def size_found(archive: Archive) -> int:
    (_, entry), *others = (await archive.index.lookup([UID])).items()
    assert not others
    path = Path(archive.storage.path(entry.location))  # type: ignore[attr-defined]
    head = aiodimse.read_head(path)
    return path.stat().st_size - head.data_offset


@INDEXES
@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize("duplicates", ["keep", "replace"])
async def test_the_whole_object_comes_behind_one_that_is_cut_off(
    tmp_path: Path, index: str | None, cut: str, duplicates: Any
) -> None:
    """The example: the whole one was answered 0000, and half an image was kept."""
    archive = await Archive.open(tmp_path, index=index, duplicates=duplicates)
    assert await stored(archive, WHOLE[: CUTS[cut]]) == 0x0000
    assert await stored(archive, WHOLE) == 0x0000
    assert await size_found(archive) == len(WHOLE)
    report = await archive.scan()
    assert (report.files, report.duplicates) == (1, 0)
    assert await size_found(archive) == len(WHOLE)
    await archive.close()


@INDEXES
@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize(("duplicates", "status"), [("keep", 0x0000), ("replace", 0xA900)])
async def test_an_object_that_is_cut_off_replaces_nothing(
    tmp_path: Path, index: str | None, cut: str, duplicates: Any, status: int
) -> None:
    """With "replace", the half image replaced the whole one."""
    archive = await Archive.open(tmp_path, index=index, duplicates=duplicates)
    assert await stored(archive, WHOLE) == 0x0000
    assert await stored(archive, WHOLE[: CUTS[cut]]) == status
    assert await size_found(archive) == len(WHOLE)
    await archive.close()


@INDEXES
async def test_of_two_that_are_cut_off_the_first_is_kept(tmp_path: Path, index: str | None) -> None:
    archive = await Archive.open(tmp_path, index=index)
    for cut in (-1000, -2000):
        assert await stored(archive, WHOLE[:cut]) == 0x0000
    assert await size_found(archive) == len(WHOLE) - 1000
    await archive.close()


@INDEXES
async def test_the_file_that_is_cut_off_is_somewhere_else(
    tmp_path: Path, a_file: Callable[..., Path], index: str | None
) -> None:
    """The archive does not write over files that somebody else put there, nor say that it has what it has not."""
    path = a_file("ab/half.dcm", PixelData=bytes(4000), BitsAllocated=8)
    path.write_bytes(path.read_bytes()[:-1000])
    archive = await Archive.open(tmp_path, index=index)
    assert await stored(archive, WHOLE) == 0xA900
    assert not (tmp_path / hashed_name(UID)).exists()
    await archive.close()
