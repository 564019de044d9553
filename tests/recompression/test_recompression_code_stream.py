"""The size that a compressed frame says it has, before anything is decoded."""

from __future__ import annotations

import struct

import pytest
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import get_frame

from aiodimse.datasets.pixels.code_stream import CodeStream, check_frame, read_code_stream
from aiodimse.errors import DatasetEncodeError
from aiodimse.standard import transfer_syntax as syntaxes

FILES = (
    "693_J2KI.dcm",
    "GDCMJ2K_TextGBR.dcm",
    "J2K_pixelrep_mismatch.dcm",
    "JPEG-lossy.dcm",
    "JPEG2000.dcm",
    "JPEGLSNearLossless_08.dcm",
    "JPEGLSNearLossless_16.dcm",
    "JPGExtended.dcm",
    "MR_small_jp2klossless.dcm",
    "MR_small_jpeg_ls_lossless.dcm",
    "SC_rgb_dcmtk_+eb+cy+s4.dcm",
    "SC_rgb_gdcm_KY.dcm",
    "SC_rgb_jls_lossy_line.dcm",
    "SC_rgb_jpeg_gdcm.dcm",
    "SC_rgb_small_odd_jpeg.dcm",
    "examples_jpeg2k.dcm",
    "examples_ybr_color.dcm",
)


@pytest.mark.parametrize("name", FILES)
def test_real_files(name: str) -> None:
    dataset = dcmread(str(get_testdata_file(name, download=False)))
    syntax, count = str(dataset.file_meta.TransferSyntaxUID), int(dataset.get("NumberOfFrames") or 1)
    frame = get_frame(dataset.PixelData, 0, number_of_frames=count)
    found = read_code_stream(syntax, frame)
    assert found is not None
    assert found[:3] == (dataset.Rows, dataset.Columns, dataset.SamplesPerPixel)
    assert 0 < found.bits <= dataset.BitsAllocated


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def sof(marker: int = 0xC0, rows: int = 3, columns: int = 4, samples: int = 1, bits: int = 8) -> bytes:
    return segment(marker, struct.pack(">BHHB", bits, rows, columns, samples) + bytes(3 * samples))


def siz(rows: int = 3, columns: int = 4, depths: bytes = b"\x07", left: int = 0, top: int = 0) -> bytes:
    body = struct.pack(">HLLLL", 0, columns + left, rows + top, left, top)
    body += struct.pack(">LLLLH", columns, rows, 0, 0, len(depths))
    return b"\xff\x4f" + segment(0x51, body + b"".join(bytes((depth, 1, 1)) for depth in depths))


def box(kind: bytes, content: bytes, *, large: bool = False) -> bytes:
    if large:
        return struct.pack(">L4sQ", 1, kind, len(content) + 16) + content
    return struct.pack(">L4s", len(content) + 8, kind) + content


SOI, JP2 = b"\xff\xd8", b"\0\0\0\x0cjP  \r\n\x87\n"
JPEG, JPEG_LS, JPEG_2000 = syntaxes.JPEGBaseline8Bit, syntaxes.JPEGLSLossless, syntaxes.JPEG2000
FRAME = CodeStream(3, 4, 1, 8)


@pytest.mark.parametrize(
    ("syntax", "frame", "expected"),
    [
        (JPEG, SOI + sof(), FRAME),
        (JPEG, SOI + sof(0xCF, 65535, 65535, 3), CodeStream(65535, 65535, 3, 8)),
        (
            JPEG,
            SOI + segment(0xE0, b"JFIF\xff\xc0") + segment(0xC4, b"\xff\xc0" * 20) + sof(rows=9),
            FRAME._replace(rows=9),
        ),
        (JPEG, SOI + b"\xff\x01\xff\xff" + sof(), FRAME),
        (JPEG_LS, SOI + sof(0xF7, bits=12), FRAME._replace(bits=12)),
        (JPEG_2000, siz(), FRAME),
        (JPEG_2000, siz(left=100, top=50, depths=b"\x07\x8b\x07"), CodeStream(3, 4, 3, 12)),
        (JPEG_2000, JP2 + box(b"ftyp", siz(9, 9)) + box(b"jp2h", bytes(22)) + box(b"jp2c", siz()), FRAME),
        (JPEG_2000, JP2 + box(b"ftyp", siz(9, 9), large=True) + box(b"jp2c", siz(), large=True), FRAME),
        (syntaxes.RLELossless, bytes(64), None),
        (syntaxes.ExplicitVRLittleEndian, b"", None),
    ],
)
def test_made_frames(syntax: str, frame: bytes, expected: CodeStream | None) -> None:
    assert read_code_stream(syntax, frame) == expected


@pytest.mark.parametrize(
    ("syntax", "frame"),
    [
        (JPEG, b""),
        (JPEG, siz()),
        (JPEG, SOI + sof(0xF7)),
        (JPEG_LS, SOI + sof()),
        (JPEG, SOI + b"\0" + sof()),
        (JPEG, SOI + segment(0xDA, bytes(6)) + sof()),
        (JPEG, SOI + b"\xff" * 9),
        (JPEG, SOI + struct.pack(">BBH", 0xFF, 0xE0, 60000)),
        (JPEG_2000, SOI + sof()),
        (JPEG_2000, siz(depths=b"")),
        (JPEG_2000, siz(rows=0)),
        (JPEG_2000, siz()[:42]),
        (JPEG_2000, b"\0" + siz()),
        (JPEG_2000, JP2),
        (JPEG_2000, JP2 + box(b"ftyp", siz())),
        (JPEG_2000, JP2 + struct.pack(">L4s", 0, b"ftyp") + siz()),
        (JPEG_2000, JP2 + box(b"jp2h", box(b"pclr", bytes(9))) + box(b"jp2c", siz())),
    ],
)
def test_frames_that_are_refused(syntax: str, frame: bytes) -> None:
    with pytest.raises(ValueError, match=r"frame|JP2"):
        read_code_stream(syntax, frame)


@pytest.mark.parametrize(
    ("syntax", "frame"), [(JPEG, SOI + segment(0xE0, b"JFIF") + sof()), (JPEG_2000, JP2 + box(b"jp2c", siz()))]
)
def test_a_header_that_is_cut_off_anywhere(syntax: str, frame: bytes) -> None:
    for end in range(len(frame) - 4):
        try:
            found = read_code_stream(syntax, frame[:end])
        except ValueError:
            continue
        assert found == FRAME


@pytest.mark.parametrize(("syntax", "frame"), [(JPEG, SOI + sof(0xC0, 60000, 60000)), (JPEG_2000, siz(60000, 60000))])
def test_a_frame_of_another_size_is_not_decoded_to_be_recompressed(
    syntax: str, frame: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker process would take gigabytes for it."""
    pytest.importorskip("imagecodecs")
    from aiodimse.datasets.pixels import codecs
    from aiodimse.datasets.pixels.jobs import FrameJob, PixelFormat

    monkeypatch.setattr(codecs, "_decoder", None)
    form = PixelFormat(3, 4, 1, "MONOCHROME2", 0, 8, 8, 0)
    with pytest.raises(DatasetEncodeError, match="other dimensions"):
        codecs.convert(FrameJob(syntax, syntaxes.ExplicitVRLittleEndian, form), frame)


# --- the size of a compressed frame -----------------------------------------------------------------------------------


def of_three_by_four(transfer_syntax: str = syntaxes.JPEGBaseline8Bit) -> Dataset:
    dataset = Dataset()
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel, dataset.BitsAllocated = 3, 4, 1, 8
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = transfer_syntax
    return dataset


def test_a_frame_of_the_size_of_its_instance() -> None:
    check_frame(of_three_by_four(), SOI + sof(0xC0, 3, 4, 1, 8))
    check_frame(of_three_by_four(syntaxes.RLELossless), rle(b"\x0b" + bytes(12)))
    check_frame(of_three_by_four(syntaxes.RLELossless), rle(b"\xf5\x07"))
    check_frame(of_three_by_four(syntaxes.RLELossless), rle(b"\x00\x07" * 12 + b"\x80\x00"))
    dataset = of_three_by_four()
    dataset.BitsAllocated = 16
    check_frame(dataset, SOI + sof(0xC0, 3, 4, 1, 12))


@pytest.mark.parametrize("size", [(4, 4, 1, 8), (3, 5, 1, 8), (4, 3, 1, 8), (3, 4, 3, 8), (3, 4, 1, 12), (0, 4, 1, 8)])
def test_a_frame_of_another_size(size: tuple[int, int, int, int]) -> None:
    with pytest.raises(ValueError, match="another size"):
        check_frame(of_three_by_four(), SOI + sof(0xC0, *size))


def rle(*segments: bytes, offsets: tuple[int, ...] = (), number: int | None = None) -> bytes:
    starts = offsets or tuple(64 + sum(map(len, segments[:index])) for index in range(len(segments)))
    starts += (0,) * (15 - len(starts))
    return struct.pack("<16L", len(segments) if number is None else number, *starts) + b"".join(segments)


RUN = b"\x81\x07"
"""Two bytes that inflate to 128."""


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        bytes(64),
        rle(RUN),
        rle(b"\xf5\x07" * 3),
        rle(b"\x80" * 30),
        rle(RUN * (1 << 20)),
        rle(b"\xf5\x07", b"\xf5\x07"),
        rle(b"\xf5\x07", number=1 << 31),
        rle(b"\xf5\x07", offsets=(66,)),
        rle(b"\xf5\x07", offsets=(0xFFFFFFFF,)),
        rle(b"\xf5\x07", number=0),
    ],
    ids=range(11),
)
def test_a_run_length_frame_of_another_size(frame: bytes) -> None:
    """A frame of 2 MiB would inflate to 128; no byte of it is inflated to find that out."""
    with pytest.raises(ValueError, match=r"another size|header"):
        check_frame(of_three_by_four(syntaxes.RLELossless), frame)


def test_segments_of_a_run_length_frame_that_run_backward() -> None:
    dataset = of_three_by_four(syntaxes.RLELossless)
    dataset.BitsAllocated = 16
    check_frame(dataset, rle(b"\xf5\x07", b"\xf5\x07"))
    for offsets in ((66, 64), (64, 64), (64, 67), (64, 68)):
        with pytest.raises(ValueError, match=r"another size|header"):
            check_frame(dataset, rle(b"\xf5\x07", b"\x80\x80" * 30, offsets=offsets))


@pytest.mark.parametrize("keyword", ["Rows", "BitsAllocated"])
def test_an_instance_that_does_not_say_its_size(keyword: str) -> None:
    dataset = of_three_by_four()
    delattr(dataset, keyword)
    with pytest.raises(ValueError, match="does not say"):
        check_frame(dataset, SOI + sof(0xC0, 3, 4, 1, 8))
