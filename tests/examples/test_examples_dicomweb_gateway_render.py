"""examples/dicomweb_gateway: rendered frames are those that pydicom decodes, and cost no more than one frame does."""

from __future__ import annotations

import io
import tracemalloc
from pathlib import Path
from struct import pack_into

import numpy as np
import pytest
from dicomweb.test_dicomweb_deflated import MIB, deflated, long_value, zeros
from dicomweb_gateway import render
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.pixels.utils import pixel_array
from pydicom.uid import ExplicitVRLittleEndian

from aiodimse import dicomweb, sop_class

FILES = [
    ("CT_small.dcm", 1),  # 16 bits, signed
    ("ExplVR_BigEnd.dcm", 1),  # 16 bits
    ("SC_rgb_small_odd_big_endian.dcm", 1),
    ("rtdose.dcm", 15),  # 32 bits
    ("liver_1frame.dcm", 1),  # single bits
    ("image_dfl.dcm", 1),  # deflated
    ("JPEG2000.dcm", 1),
    ("MR_small_RLE.dcm", 1),
    ("SC_rgb_rle_2frame.dcm", 2),
    ("examples_ybr_color.dcm", 30),
    ("SC_ybr_full_422_uncompressed.dcm", 1),
]


def picture(path: Path, number: int, media_type: str = "image/png", window: str | None = None) -> Image.Image:
    return Image.open(io.BytesIO(render.rendered(path, number, media_type, window and dicomweb.window(window))))


@pytest.mark.parametrize(("name", "number"), FILES)
def test_the_frame_is_the_one_that_pydicom_decodes(name: str, number: int) -> None:
    path = Path(str(get_testdata_file(name, download=False)))
    whole = dcmread(path)
    expected = pixel_array(whole, index=number - 1)
    found = pixel_array(dicomweb.read_one_frame(path, number))
    assert np.array_equal(found, expected)
    image = picture(path, number)
    assert (image.height, image.width) == expected.shape[:2]


@pytest.mark.parametrize(("bits", "keyword"), [(32, "FloatPixelData"), (64, "DoubleFloatPixelData")])
def test_floating_point_pixels(bits: int, keyword: str, tmp_path: Path) -> None:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class.ParametricMapStorage, "1.2.3"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 2, 2, 1
    dataset.BitsAllocated, dataset.PhotometricInterpretation, dataset.NumberOfFrames = bits, "MONOCHROME2", 2
    values = np.array([[9, 9, 9, 9], [0, 1, 2, 4]], dtype=f"<f{bits // 8}")
    setattr(dataset, keyword, values.tobytes())
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(tmp_path / "x", enforce_file_format=True)
    assert np.asarray(picture(tmp_path / "x", 2)).ravel().tolist() == [0, 63, 127, 255]


def test_a_window_of_the_request() -> None:
    path = Path(str(get_testdata_file("CT_small.dcm")))
    whole, narrow = (np.asarray(picture(path, 1, window=window)) for window in (None, "1000,10"))
    assert len(np.unique(narrow)) < len(np.unique(whole)) / 3


@pytest.mark.parametrize(("center", "gray"), [(-30_000, 255), (30_000, 0)])
@pytest.mark.parametrize("slope", [1, -1])
@pytest.mark.parametrize("function", ["linear", "linear-exact", "sigmoid"])
def test_what_is_above_the_window_is_white_and_what_is_below_it_black(
    center: int, gray: int, slope: int, function: str, tmp_path: Path
) -> None:
    dataset = dcmread(str(get_testdata_file("CT_small.dcm")))
    dataset.RescaleSlope = slope
    dataset.save_as(tmp_path / "x")
    assert np.unique(np.asarray(picture(tmp_path / "x", 1, window=f"{center},1000,{function}"))).tolist() == [gray]


def test_a_window_of_the_request_goes_before_the_lookup_table_of_the_instance(tmp_path: Path) -> None:
    dataset, table = dcmread(str(get_testdata_file("CT_small.dcm"))), Dataset()
    table.add_new("LUTDescriptor", "SS", [65536 // 2, -32768, 16])
    table.LUTData = b"\0\0" * (65536 // 2)
    dataset.VOILUTSequence = [table]
    dataset.save_as(tmp_path / "x")
    assert len(np.unique(np.asarray(picture(tmp_path / "x", 1)))) == 1
    assert len(np.unique(np.asarray(picture(tmp_path / "x", 1, window="1000,2000,linear-exact")))) > 1


def test_no_more_of_a_deflated_file_is_inflated_than_the_frame_needs(tmp_path: Path) -> None:
    path = deflated(tmp_path / "x", pixels=[bytes(range(256)), *zeros(512 * MIB)])
    tracemalloc.start()
    picture(path, 1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 * MIB


def test_a_deflated_file_that_inflates_to_too_much_is_refused(tmp_path: Path) -> None:
    path = deflated(tmp_path / "x", *long_value(512 * MIB))
    with pytest.raises(ValueError, match="inflates to more than 268435456 bytes"):
        render.rendered(path, 1, "image/png", None)


def test_a_compressed_frame_that_is_too_large_is_not_decoded(tmp_path: Path) -> None:
    dataset = dcmread(str(get_testdata_file("MR_small_RLE.dcm")))
    dataset.Rows = dataset.Columns = 0xFFFF
    dataset.save_as(tmp_path / "x")
    with pytest.raises(ValueError, match="too large"):
        render.rendered(tmp_path / "x", 1, "image/png", None)


def hostile(path: Path, name: str, rows: int, columns: int) -> Path:
    """Write a file whose frame says that it has this size; its data set says what it said before."""
    dataset = dcmread(str(get_testdata_file(name, download=False)))
    frame = bytearray(get_frame(dataset.PixelData, 0, number_of_frames=1))
    if frame.startswith(b"\xff\x4f"):
        pack_into(">LL", frame, 8, columns, rows)  # Xsiz and Ysiz (ISO 15444-1 A.5.1)
    else:
        at = frame.index(b"\xff\xf7" if frame.find(b"\xff\xf7") > 0 else b"\xff\xc0")
        pack_into(">HH", frame, at + 5, rows, columns)
    dataset.PixelData = encapsulate([bytes(frame)])
    dataset["PixelData"].is_undefined_length = True
    dataset.save_as(path)
    return path


@pytest.mark.parametrize("name", ["JPEG2000.dcm", "SC_rgb_jpeg_dcmtk.dcm", "MR_small_jpeg_ls_lossless.dcm"])
@pytest.mark.parametrize("more", [60_000, 1, -1])
def test_a_frame_that_says_another_size_is_not_decoded(
    name: str, more: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of 60,000 rows and columns a decoder would take gigabytes, whatever the data set says."""
    true = dcmread(str(get_testdata_file(name, download=False)), stop_before_pixels=True)
    path = hostile(tmp_path / "x", name, true.Rows + more, true.Columns + max(more, 0))
    monkeypatch.setattr(render, "pixel_array", None)
    with pytest.raises(ValueError, match="another size"):
        render.rendered(path, 1, "image/png", None)
