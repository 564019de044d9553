"""Metadata and frames from files."""

from __future__ import annotations

import random
import struct
from contextlib import suppress
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataelem import DataElement
from pydicom.encaps import encapsulate, generate_frames
from pydicom.errors import InvalidDicomError
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from aiodimse import dicomweb

FILES = Path(pydicom.__file__).parent / "data" / "test_files"
COMPRESSED = [
    ("JPEG2000.dcm", "image/jp2"),
    ("MR_small_RLE.dcm", "image/dicom-rle"),
    ("MR_small_jpeg_ls_lossless.dcm", "image/jls"),
]


def multi_frame(path: Path, syntax: str) -> pydicom.Dataset:
    """Five frames of a CT, each another."""
    dataset = pydicom.dcmread(FILES / "CT_small.dcm")
    pixels = np.stack([dataset.pixel_array + number for number in range(5)])
    dataset.NumberOfFrames, dataset.PixelData = 5, pixels.tobytes()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.save_as(path, implicit_vr=syntax == ImplicitVRLittleEndian, little_endian=True)
    return dataset


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian])
def test_native_frames(tmp_path: Path, syntax: str) -> None:
    dataset = multi_frame(tmp_path / "x", syntax)
    size = len(dataset.PixelData) // 5
    for number in (1, 3, 5):
        media_type, data = dicomweb.read_frame(tmp_path / "x", number)
        assert media_type == f"application/octet-stream; transfer-syntax={ExplicitVRLittleEndian}"
        assert data == dataset.PixelData[(number - 1) * size : number * size]


def saved(path: Path, pixels: np.ndarray, vr: str, bits: int, *, big_endian: bool = False) -> Path:
    """A file with these frames: the first axis counts them; of single bits each is a value."""
    dataset = pydicom.dcmread(FILES / "CT_small.dcm")
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = pixels.shape[:3]
    dataset.BitsAllocated = dataset.BitsStored = bits
    dataset.HighBit, dataset.PixelRepresentation = bits - 1, 0
    data = np.packbits(pixels, bitorder="little").tobytes() if bits == 1 else pixels.tobytes()
    data += b"\0" * (len(data) % 2)
    if big_endian:
        data = np.frombuffer(data, f"<u{max(bits // 8, 2 if vr == 'OW' else 1)}").byteswap().tobytes()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRBigEndian if big_endian else ExplicitVRLittleEndian
    dataset["PixelData"] = DataElement(0x7FE00010, vr, data)
    dataset.walk(lambda inside, element: element.value)  # what is read already is written in another byte order
    pydicom.dcmwrite(path, dataset, implicit_vr=False, little_endian=not big_endian, force_encoding=True)
    return path


@pytest.mark.parametrize(("vr", "bits"), [("OW", 16), ("OW", 8), ("OB", 8), ("OW", 32)])
@pytest.mark.parametrize("big_endian", [False, True])
def test_frames_are_little_endian_as_their_media_type_says(
    tmp_path: Path, vr: str, bits: int, big_endian: bool
) -> None:
    """With an odd number of pixels: a frame of bytes in words may begin in the middle of one."""
    pixels = np.arange(3 * 3 * 5, dtype=f"<u{bits // 8}").reshape(3, 3, 5)
    path = saved(tmp_path / "x", pixels, vr, bits, big_endian=big_endian)
    for number in (1, 2, 3):
        media_type, data = dicomweb.read_frame(path, number)
        assert media_type.endswith(ExplicitVRLittleEndian)
        assert data == pixels[number - 1].tobytes()


@pytest.mark.parametrize("size", [(4, 4), (3, 5), (7, 9)])
@pytest.mark.parametrize("big_endian", [False, True])
def test_frames_of_single_bits_begin_at_their_first_one(
    tmp_path: Path, size: tuple[int, int], big_endian: bool
) -> None:
    """They follow each other without padding (PS3.5 8.1.1); one that goes out begins with a byte."""
    pixels = np.random.default_rng(69).integers(0, 2, (5, *size), dtype=np.uint8)
    path = saved(tmp_path / "x", pixels, "OW", 1, big_endian=big_endian)
    for number in range(1, 6):
        assert dicomweb.read_frame(path, number)[1] == np.packbits(pixels[number - 1], bitorder="little").tobytes()


def without(path: Path, **changes: object) -> Path:
    """A CT with other attributes; None: without them."""
    dataset = pydicom.dcmread(FILES / "CT_small.dcm")
    for keyword, value in changes.items():
        if value is None:
            delattr(dataset, keyword)
        else:
            setattr(dataset, keyword, value)
    dataset.save_as(path)
    return path


@pytest.mark.parametrize(
    "changes",
    [
        {"PixelData": None},
        {"PixelData": b"\0" * 100},
        {"NumberOfFrames": 3},
        {"Rows": 65535, "Columns": 65535},
        {"BitsAllocated": None},
        {"BitsAllocated": 12},
        {"NumberOfFrames": ["1", "2"]},
        {"Rows": [1, 2]},
    ],
    ids=str,
)
def test_what_has_no_such_frame_after_all(tmp_path: Path, changes: dict[str, object]) -> None:
    path = without(tmp_path / "x", **changes)
    with pytest.raises(ValueError, match=r"Pixel Data|frame"):
        dicomweb.read_frame(path, 3 if changes.get("NumberOfFrames") == 3 else 1)


@pytest.mark.parametrize(
    ("tag", "vr", "value"),
    [
        (0x00280010, "SS", b"\xff\xff"),
        (0x00280010, "US", b"\0\0"),
        (0x00280002, "SS", b"\xff\xff"),
        (0x00280002, "XX", b"1 "),
        (0x00280100, "US", b"\0\0"),
        (0x00280100, "SS", b"\xf0\xff"),
        (0x00280100, "US", b"\1\0\0"),
    ],
)
def test_sizes_that_no_frame_has(tmp_path: Path, tag: int, vr: str, value: bytes) -> None:
    """A negative size would be read as all that follows in the file."""
    dataset = pydicom.dcmread(FILES / "CT_small.dcm")
    head, behind = (FILES / "CT_small.dcm").read_bytes().split(encoded(dataset[tag].VR, tag, dataset[tag].value))
    path = tmp_path / "x"
    path.write_bytes(head + encoded(vr, tag, value) + behind)
    with pytest.raises(ValueError, match=r"frame|damaged"):
        dicomweb.read_frame(path, 1)


def encoded(vr: str, tag: int, value: int | bytes) -> bytes:
    data = value.to_bytes(2, "little") if isinstance(value, int) else value
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), len(data)) + data


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"])
def test_pixels_of_no_size(tmp_path: Path, syntax: str) -> None:
    path = saved(tmp_path / "x", np.zeros((1, 2, 2), np.uint8), "OW", 8, big_endian=syntax.endswith("2.2"))
    dataset = pydicom.dcmread(path)
    del dataset.BitsAllocated
    dataset.save_as(path)
    with pytest.raises(ValueError, match="frame"):
        dicomweb.read_frame(path, 1)


@pytest.mark.parametrize("name", ["CT_small.dcm", "JPEG2000.dcm", "SC_rgb_rle_2frame.dcm", "image_dfl.dcm"])
def test_whatever_is_in_a_file_is_told_in_one_of_three_ways(tmp_path: Path, name: str) -> None:
    data, chosen, path = (FILES / name).read_bytes(), random.Random(14), tmp_path / "x"
    for number in range(60):
        damaged = bytearray(data if number % 2 else data[: chosen.randrange(1, len(data))])
        for _ in range(3):
            damaged[chosen.randrange(min(len(damaged), 3000))] = chosen.randrange(256)
        path.write_bytes(damaged)
        for read in (lambda: dicomweb.read_frame(path, 1), lambda: dicomweb.to_json(dicomweb.read_metadata(path))):
            with suppress(ValueError, OSError, InvalidDicomError):
                read()


def test_a_file_that_ends_in_its_pixels(tmp_path: Path) -> None:
    data = (FILES / "CT_small.dcm").read_bytes()
    (tmp_path / "x").write_bytes(data[:-2000])
    with pytest.raises(ValueError, match="Pixel Data"):
        dicomweb.read_frame(tmp_path / "x", 1)


@pytest.mark.parametrize(("name", "media_type"), COMPRESSED)
def test_compressed_frames_are_as_stored(name: str, media_type: str) -> None:
    dataset = pydicom.dcmread(FILES / name)
    (expected,) = generate_frames(dataset.PixelData, number_of_frames=1)
    found, data = dicomweb.read_frame(FILES / name, 1)
    assert data == expected
    assert found == f"{media_type}; transfer-syntax={dataset.file_meta.TransferSyntaxUID}"


@pytest.mark.parametrize("has_bot", [True, False])
def test_a_compressed_frame_of_several(tmp_path: Path, has_bot: bool) -> None:
    dataset = pydicom.dcmread(FILES / "MR_small_RLE.dcm")
    (frame,) = generate_frames(dataset.PixelData, number_of_frames=1)
    written = [frame + bytes([number, 0]) for number in range(4)]
    dataset.NumberOfFrames, dataset.PixelData = 4, encapsulate(written, has_bot=has_bot)
    dataset.save_as(tmp_path / "x")
    assert [dicomweb.read_frame(tmp_path / "x", number)[1] for number in (1, 2, 3, 4)] == written


@pytest.mark.parametrize(
    ("name", "number"), [("CT_small.dcm", 0), ("CT_small.dcm", 2), ("CT_small.dcm", -1), ("test-SR.dcm", 1)]
)
def test_no_such_frame(name: str, number: int) -> None:
    with pytest.raises(ValueError, match="frames"):
        dicomweb.read_frame(FILES / name, number)


def test_metadata_have_no_bulk_data(tmp_path: Path) -> None:
    dataset = pydicom.dcmread(FILES / "CT_small.dcm")
    dataset.add_new(0x00420011, "OB", b"%PDF" * 300_000)
    dataset.save_as(tmp_path / "x")
    found = dicomweb.read_metadata(tmp_path / "x")
    assert found.PatientID == dataset.PatientID
    assert "PixelData" not in found
    assert "EncapsulatedDocument" not in found
    assert dicomweb.to_json(found)


@pytest.mark.parametrize("offsets", [[0, 0, 0], [0, 42, 20], [20, 42, 0], [0, 22, 44], [0, 20, 20], [0, 1 << 31, 1]])
def test_a_damaged_offset_table_gives_no_other_frame(tmp_path: Path, offsets: list[int]) -> None:
    """pydicom returned another frame, several as one, or none without an error."""
    frames = [bytes([number]) * (10 + 2 * number) for number in (1, 2, 3)]
    dataset = pydicom.dcmread(FILES / "MR_small_RLE.dcm")
    dataset.NumberOfFrames = 3
    table = struct.pack("<HHL3L", 0xFFFE, 0xE000, 12, *offsets)
    dataset.PixelData = table + encapsulate(frames, has_bot=False)[8:]
    dataset.save_as(tmp_path / "x")
    assert [dicomweb.read_frame(tmp_path / "x", number)[1] for number in (1, 2, 3)] == frames
