"""Deflated files: what they may cost, however much they inflate to."""

from __future__ import annotations

import random
import struct
import tracemalloc
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path

import pydicom
import pydicom.errors
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian

import aiodimse
from aiodimse import dicomweb
from aiodimse.dicomweb import inflating

CT = Path(pydicom.__file__).parent / "data" / "test_files" / "CT_small.dcm"
MIB = 1 << 20
READERS: list[Callable[..., object]] = [
    dicomweb.read_metadata,
    lambda path, **most: dicomweb.read_frame(path, 1, **most),
]


def zeros(size: int) -> Iterable[bytes]:
    return [bytes(MIB)] * (size // MIB)


def deflated(path: Path, *before: bytes, rows: int = 16, pixels: Iterable[bytes] = (bytes(256),)) -> Path:
    """A deflated file of a small image, with these encoded elements before the rows, and these pixels."""
    dataset = pydicom.Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3"
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)
    head = path.read_bytes()[: aiodimse.read_head(path).data_offset]
    image = b"".join(
        struct.pack("<HH2sHH", 0x0028, element, b"US", 2, value)
        for element, value in (
            (0x0002, 1),
            (0x0010, rows),
            (0x0011, 16),
            (0x0100, 8),
            (0x0101, 8),
            (0x0102, 7),
            (0x0103, 0),
        )
    )
    photometric = struct.pack("<HH2sH", 0x0028, 0x0004, b"CS", 12) + b"MONOCHROME2 "
    image = image[:10] + photometric + image[10:]
    size = sum(map(len, pixels))
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    with path.open("wb") as file:
        file.write(head)
        for piece in (*before, image, struct.pack("<HH2s2xL", 0x7FE0, 0x0010, b"OB", size), *pixels):
            file.write(deflater.compress(piece))
        file.write(deflater.flush())
    return path


def long_value(size: int) -> list[bytes]:
    return [struct.pack("<HH2s2xL", 0x0009, 0x1010, b"OB", size), *zeros(size)]


@pytest.mark.parametrize("read", READERS, ids=["metadata", "frame"])
def test_a_bomb_is_refused_with_little_memory(tmp_path: Path, read: Callable[..., object]) -> None:
    path = deflated(tmp_path / "x", *long_value(512 * MIB))
    assert path.stat().st_size < MIB
    tracemalloc.start()
    with pytest.raises(ValueError, match="inflates to more than 268435456 bytes"):
        read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 * MIB


def test_a_frame_that_inflates_to_more_than_it_may_is_refused(tmp_path: Path) -> None:
    path = deflated(tmp_path / "x", rows=(1 << 16) - 1, pixels=zeros(16 * MIB))
    with pytest.raises(ValueError, match="more than 1000000 bytes"):
        dicomweb.read_frame(path, 1, max_inflated=1_000_000)
    with pytest.raises(ValueError, match="the instance has 1 frames"):
        dicomweb.read_frame(path, 2)
    assert len(dicomweb.read_frame(path, 1)[1]) == ((1 << 16) - 1) * 16


def test_only_what_is_needed_is_inflated(tmp_path: Path) -> None:
    path = deflated(tmp_path / "x", pixels=[b"\1" * 256, *zeros(16 * MIB)])
    dataset = dicomweb.read_metadata(path, max_inflated=MIB)
    assert (dataset.Rows, dataset.file_meta.TransferSyntaxUID) == (16, DeflatedExplicitVRLittleEndian)
    assert dicomweb.read_frame(path, 1, max_inflated=MIB)[1] == b"\1" * 256


def test_a_long_value_is_passed_over(tmp_path: Path) -> None:
    path = deflated(tmp_path / "x", *long_value(8 * MIB), pixels=[b"\1" * 256])
    dataset = dicomweb.read_metadata(path)
    assert (dataset.Rows, 0x00091010 in dataset) == (16, False)
    assert dicomweb.read_frame(path, 1)[1] == b"\1" * 256


@pytest.mark.parametrize("read", READERS, ids=["metadata", "frame"])
def test_a_bomb_of_elements_is_refused(
    tmp_path: Path, read: Callable[..., object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inflating, "_MOST_READS", 1000)
    items = struct.pack("<HH2s2xL", 0x0009, 0x1010, b"SQ", 0xFFFFFFFF) + struct.pack("<HHL", 0xFFFE, 0xE000, 0) * 2000
    with pytest.raises(ValueError, match="too many elements"):
        read(deflated(tmp_path / "x", items))


@pytest.mark.parametrize("read", READERS, ids=["metadata", "frame"])
def test_a_corrupt_data_set(tmp_path: Path, read: Callable[..., object]) -> None:
    """Blocks of 255 bytes that say that they are of type 3, which does not exist, after the first 64 KiB."""
    noise = random.Random(1).randbytes(100_000)
    path = deflated(tmp_path / "x", struct.pack("<HH2s2xL", 0x0009, 0x1010, b"OB", len(noise)), noise)
    data = path.read_bytes()
    path.write_bytes(data[:-20_000] + b"\xff" * 20_000)
    with pytest.raises(ValueError, match="corrupt"):
        read(path)


def test_a_corrupt_beginning(tmp_path: Path) -> None:
    path = deflated(tmp_path / "x")
    path.write_bytes(path.read_bytes()[: aiodimse.read_head(path).data_offset] + b"\xff" * 100)
    with pytest.raises((ValueError, pydicom.errors.InvalidDicomError)):
        dicomweb.read_metadata(path)


def test_a_frame_of_a_file_that_was_cut_off(tmp_path: Path) -> None:
    path = deflated(tmp_path / "x", pixels=[bytes(range(256))])
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="shorter"):
        dicomweb.read_frame(path, 1)
