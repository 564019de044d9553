"""Metadata and frames from files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

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
