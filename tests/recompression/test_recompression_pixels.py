"""A data set in another compression, or in none: every compressed file of pydicom's, with the pixel values it had."""

from __future__ import annotations

import tracemalloc
from functools import partial
from io import BytesIO
from pathlib import Path
from struct import pack, unpack

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, encapsulate_extended
from pydicom.sequence import Sequence
from pydicom.uid import UID
from recompression.material import FILES, compressed_files, is_equal, pixels, pixels_of

from aiodimse import datasets
from aiodimse.config import Limits
from aiodimse.datasets.pixels import recompressing
from aiodimse.datasets.pixels.jobs import Frame, FrameJob
from aiodimse.datasets.pixels.layout import InMemory, frames_of, read_fragments
from aiodimse.datasets.pixels.syntaxes import ENCODED
from aiodimse.errors import DatasetDecodeError, DatasetEncodeError
from aiodimse.standard.transfer_syntax import (
    JPEG2000,
    MPEG4HP41,
    DeflatedExplicitVRLittleEndian,
    EncapsulatedUncompressedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

convert = partial(datasets.processes.convert, timeout=60.0)
_PIXEL_DATA = 0x7FE00010


def sent(source: bytes | Path, target: str, transfer_syntax: str = "", *, limits: Limits | None = None) -> bytes:
    """What is sent of this data set, or file, in the other transfer syntax."""
    read = datasets.read_head(source) if isinstance(source, Path) else source
    uid = transfer_syntax or read.transfer_syntax
    work = datasets.Recompression(read, uid, target, limits=limits or Limits(), convert=convert)
    for _ in work.check():
        pass
    return b"".join(work.pieces())


def data_set(dataset: Dataset, transfer_syntax: str) -> bytes:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(transfer_syntax)
    return datasets.encode_stored(dataset)


def image(values: np.ndarray, *, signed: int = 0, stored: int = 0, photometric: str = "MONOCHROME2") -> Dataset:
    """Frames, rows, columns and perhaps samples."""
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.7.3", "1.2.3.4"
    dataset.SamplesPerPixel = 3 if values.ndim == 4 else 1
    dataset.PhotometricInterpretation = photometric
    if values.ndim == 4:
        dataset.PlanarConfiguration = 0
    dataset.NumberOfFrames, dataset.Rows, dataset.Columns = values.shape[:3]
    dataset.BitsAllocated = 8 * values.dtype.itemsize
    dataset.BitsStored = stored or dataset.BitsAllocated
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = signed
    data = values.tobytes()
    dataset.add_new(_PIXEL_DATA, "OW" if values.dtype.itemsize > 1 else "OB", data + b"\0" * (len(data) % 2))
    return dataset


def compressed(values: np.ndarray, target: str, **options: object) -> tuple[bytes, Dataset]:
    dataset = image(values, **options)  # type: ignore[arg-type]
    return sent(data_set(dataset, ExplicitVRLittleEndian), target, ExplicitVRLittleEndian), dataset


def ramp(frames: int, rows: int, columns: int, dtype: str = "<u2", samples: int = 0) -> np.ndarray:
    shape = (frames, rows, columns, samples) if samples else (frames, rows, columns)
    return (np.arange(np.prod(shape)) * 37 % 4096).astype(dtype).reshape(shape)


@pytest.mark.parametrize("target", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, *ENCODED], ids=lambda x: x.keyword)
@pytest.mark.parametrize("path", compressed_files(), ids=lambda x: x.stem)
def test_pixels_arrive_as_they_were(path: Path, target: str) -> None:
    source = datasets.read_head(path).transfer_syntax
    if not datasets.can_recompress(source, target):
        pytest.skip("it goes as it is stored")
    header, wanted = pydicom.dcmread(path, stop_before_pixels=True), pixels(path)
    if header.BitsAllocated == 32 and target in ENCODED and target != RLELossless:
        with pytest.raises(DatasetEncodeError, match="32 bits"):
            sent(path, target)
        return
    dataset, found = pixels_of(sent(path, target), target)
    if wanted is None:
        assert path.name in ("JPEG-lossy.dcm", "JPGExtended.dcm"), "12 bits, which no decoder here reads but ours"
        assert found.max() < 4096
    else:
        assert is_equal(found, wanted)
    assert dataset.get("PlanarConfiguration", 0) == 0
    assert dataset.PhotometricInterpretation in ("MONOCHROME2", "RGB", "YBR_FULL")
    assert dataset.BitsStored <= dataset.BitsAllocated
    for keyword in ("SOPInstanceUID", "NumberOfFrames", "Rows", "Columns", "SamplesPerPixel", "PixelRepresentation"):
        assert dataset.get(keyword) == header.get(keyword)
    if header.get("LossyImageCompression") == "01":
        assert dataset.LossyImageCompression == "01"


def test_there_are_files_of_every_kind() -> None:
    kinds = {datasets.read_head(path).transfer_syntax for path in compressed_files()}
    assert len(kinds) >= 8
    assert len(compressed_files()) >= 35


@pytest.mark.parametrize("target", ENCODED, ids=lambda x: x.keyword)
@pytest.mark.parametrize(
    ("values", "options"),
    [
        (ramp(1, 7, 5), {"stored": 12}),
        (ramp(1, 7, 5) | 0xF000, {"stored": 12}),  # something in the bits that are not stored
        (ramp(3, 8, 8, "<i2") - 2000, {"signed": 1}),
        (ramp(1, 3, 3, "<i2") - 2000, {"signed": 1, "stored": 12}),
        (ramp(2, 5, 3, "u1"), {}),
        (ramp(2, 5, 3, "u1", 3), {"photometric": "RGB"}),
        (ramp(2, 5, 3, "u1", 3), {"photometric": "YBR_FULL"}),
        (ramp(1, 5, 3, "u1"), {"photometric": "PALETTE COLOR"}),
        (ramp(1, 1, 1, "u1"), {}),
    ],
    ids=["12 of 16", "unused bits", "signed", "signed 12", "8 bits", "RGB", "YBR", "palette", "one pixel"],
)
def test_what_is_compressed_comes_back(values: np.ndarray, options: dict, target: str) -> None:
    data, dataset = compressed(values, target, **options)
    again = datasets.decode_dataset(sent(data, ExplicitVRLittleEndian, target), ExplicitVRLittleEndian)
    assert again.PixelData == dataset.PixelData
    for keyword in ("BitsAllocated", "PhotometricInterpretation", "PixelRepresentation"):
        assert again[keyword].value == dataset[keyword].value
    assert again.BitsStored == dataset.BitsStored or (values.max() > 0xEFFF and again.BitsStored == 16)
    assert "LossyImageCompression" not in again


@pytest.mark.parametrize("source", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_from_every_uncompressed_syntax(source: str) -> None:
    values = ramp(2, 4, 4)
    data = datasets.encode_dataset(datasets.decode_dataset(data_set(image(values), ExplicitVRLittleEndian),
                                   ExplicitVRLittleEndian), source)  # fmt: skip
    found = pixels_of(sent(data, JPEGLSLossless, source), JPEGLSLossless)[1]
    assert is_equal(found, values)


def test_color_by_plane_becomes_color_by_pixel() -> None:
    values = ramp(2, 4, 5, "u1", 3)
    dataset = image(values.transpose(0, 3, 1, 2).reshape(2, 4, 5, 3), photometric="RGB")
    dataset.PlanarConfiguration = 1
    sent_to, found = pixels_of(
        sent(data_set(dataset, ExplicitVRLittleEndian), JPEG2000Lossless, ExplicitVRLittleEndian), JPEG2000Lossless
    )
    assert sent_to.PlanarConfiguration == 0
    assert is_equal(found, values)


def test_deflated_to_the_peer() -> None:
    data, dataset = compressed(ramp(2, 4, 4), RLELossless)
    out = sent(data, DeflatedExplicitVRLittleEndian, RLELossless)
    assert datasets.decode_dataset(out, DeflatedExplicitVRLittleEndian).PixelData == dataset.PixelData


# --- frames, fragments, tables ----------------------------------------------------------------------------------------


def test_offset_table_names_each_frame() -> None:
    data, _ = compressed(ramp(5, 9, 7, "u1"), JPEGLSLossless)
    value = datasets.decode_dataset(data, JPEGLSLossless).PixelData
    (size,) = unpack("<L", value[4:8])
    offsets = unpack(f"<{size // 4}L", value[8 : 8 + size])
    first = 8 + size
    assert len(offsets) == 5
    for offset in offsets:
        at = first + offset
        assert value[at : at + 4] == b"\xfe\xff\x00\xe0"
        assert unpack("<L", value[at + 4 : at + 8])[0] % 2 == 0
        assert value[at + 8 : at + 10] == b"\xff\xd8"


@pytest.mark.parametrize("number", [1, 3])
@pytest.mark.parametrize(
    "how", ["offsets", "no offsets", "wrong offsets", "fragments", "fragments, no offsets", "extended"]
)
def test_frames_are_found(number: int, how: str) -> None:
    values = ramp(number, 16, 16)
    data, dataset = compressed(values, JPEGLSLossless)
    source = datasets.decode_dataset(data, JPEGLSLossless)
    parsed = InMemory(source.PixelData + pack("<HHL", 0xFFFE, 0xE0DD, 0))
    found = read_fragments(parsed, 0, Limits())
    frames = [b"".join(parsed.read_at(*item) for item in frame) for frame in frames_of(parsed, found, number)]
    if how == "extended":
        value, offsets, lengths = encapsulate_extended(frames)
        source.ExtendedOffsetTable, source.ExtendedOffsetTableLengths = offsets, lengths
        source.PixelData = value
    elif how == "wrong offsets":
        source.PixelData = b"\xfe\xff\x00\xe0\x04\0\0\0\0\0\0\0" + encapsulate(frames, has_bot=False)[8:]
    else:
        source.PixelData = encapsulate(frames, 3 if "fragments" in how else 1, has_bot="no" not in how)
    source["PixelData"].is_undefined_length = True
    out = datasets.decode_dataset(
        sent(data_set(source, JPEGLSLossless), ExplicitVRLittleEndian, JPEGLSLossless), ExplicitVRLittleEndian
    )
    assert out.PixelData == dataset.PixelData
    assert "ExtendedOffsetTable" not in out
    assert "ExtendedOffsetTableLengths" not in out


def test_fewer_frames_than_said_are_refused() -> None:
    data, _ = compressed(ramp(2, 4, 4), RLELossless)
    dataset = datasets.decode_dataset(data, RLELossless)
    dataset.NumberOfFrames = 3
    with pytest.raises(DatasetDecodeError, match="2 fragments"):
        sent(data_set(dataset, RLELossless), ExplicitVRLittleEndian, RLELossless)


def test_pixels_that_are_not_closed_are_refused() -> None:
    data, _ = compressed(ramp(2, 4, 4), RLELossless)
    with pytest.raises(DatasetDecodeError):
        sent(data[:-8], ExplicitVRLittleEndian, RLELossless)


def test_many_frames_are_converted_twice_and_not_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(recompressing, "HELD", 100)
    data, dataset = compressed(ramp(6, 8, 8), RLELossless)
    for target in (ExplicitVRLittleEndian, JPEGLSLossless):
        work = datasets.Recompression(data, RLELossless, target, limits=Limits(), convert=convert)
        for _ in work.check():
            pass
        assert work.at_hand() is None
        again = sent(b"".join(work.pieces()), ExplicitVRLittleEndian, target) if target == JPEGLSLossless else None
        out = again if again is not None else sent(data, target, RLELossless)
        assert datasets.decode_dataset(out, ExplicitVRLittleEndian).PixelData == dataset.PixelData


@pytest.mark.parametrize("target", [ExplicitVRLittleEndian, JPEGLSLossless])
@pytest.mark.parametrize(("frames", "held"), [(1, 1 << 20), (1, 100), (6, 1 << 22), (6, 1 << 20)])
def test_the_size_in_memory_is_what_is_taken(
    frames: int, held: int, target: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of frames of half a MiB that hardly become smaller."""
    monkeypatch.setattr(recompressing, "HELD", held)
    values = np.random.default_rng(1).integers(0, 1 << 12, (frames, 512, 512), np.uint16)
    data, _ = compressed(values, RLELossless)
    with datasets.PartTenWriter(tmp_path, "1.2.840.10008.5.1.4.1.1.7.3", "1.2.3.4", RLELossless, durable=False) as file:
        path = file.finish(data)
    head = datasets.read_head(path)
    work = datasets.Recompression(head, RLELossless, target, limits=Limits(), convert=convert)
    size = work.size_in_memory()
    del data, values
    sent(path, target)  # imports, and the process, are there
    tracemalloc.start()
    try:
        for _ in work.check():
            pass
        payload = work.at_hand() or work.pieces()
        if not isinstance(payload, bytes):
            for _ in payload:
                pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size / 3 < peak < size + (1 << 20)


@pytest.mark.parametrize("target", [ExplicitVRLittleEndian, JPEGLSLossless], ids=lambda x: x.keyword)
def test_a_run_length_frame_that_inflates_to_much_is_refused(target: str) -> None:
    """8 MiB of runs are 512 MiB of pixels; the decoder has room for twice those of the image."""
    data, _ = compressed(ramp(1, 4, 4, "u1"), RLELossless)
    dataset = datasets.decode_dataset(data, RLELossless)
    bomb = pack("<16L", 1, 64, *[0] * 14) + b"\x81\x07" * (4 << 20)
    dataset.PixelData = encapsulate([bomb])
    dataset["PixelData"].is_undefined_length = True
    with pytest.raises(DatasetEncodeError, match="inflates to more"):
        sent(data_set(dataset, RLELossless), target, RLELossless)


def test_a_lie_about_the_frames_takes_no_room() -> None:
    data, _ = compressed(ramp(1, 4, 4), RLELossless)
    lying = datasets.decode_dataset(data, RLELossless)
    lying.NumberOfFrames, lying.Rows, lying.Columns = 2_000_000_000, 65535, 4
    work = datasets.Recompression(
        data_set(lying, RLELossless), RLELossless, ExplicitVRLittleEndian, limits=Limits(), convert=convert
    )
    assert work.size_in_memory() <= 6 * 65535 * 4 * 2
    lying.Columns = 65535
    work = datasets.Recompression(
        data_set(lying, RLELossless), RLELossless, JPEGLSLossless, limits=Limits(), convert=convert
    )
    with pytest.raises(DatasetEncodeError):
        work.size_in_memory()


def test_odd_pixels_are_padded() -> None:
    data, dataset = compressed(ramp(1, 3, 3, "u1"), RLELossless)
    for target in (ExplicitVRLittleEndian, ImplicitVRLittleEndian):
        out = datasets.decode_dataset(sent(data, target, RLELossless), target)
        assert len(out.PixelData) == 10
        assert out.PixelData == dataset.PixelData


def test_what_follows_the_pixels_follows_them() -> None:
    data, dataset = compressed(ramp(1, 4, 4), RLELossless)
    source = datasets.decode_dataset(data, RLELossless)
    source.add_new(0xFFFCFFFC, "OB", b"\1\2")
    out = datasets.decode_dataset(
        sent(data_set(source, RLELossless), ExplicitVRLittleEndian, RLELossless), ExplicitVRLittleEndian
    )
    assert out.PixelData == dataset.PixelData
    assert out[0xFFFCFFFC].value == b"\1\2"


def test_uncompressed_in_fragments() -> None:
    values = ramp(2, 4, 4)
    dataset = image(values)
    dataset.PixelData = encapsulate([frame.tobytes() for frame in values])
    dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
    uid = EncapsulatedUncompressedExplicitVRLittleEndian
    out = datasets.decode_dataset(sent(data_set(dataset, uid), ExplicitVRLittleEndian, uid), ExplicitVRLittleEndian)
    assert out.PixelData == values.tobytes()


def test_an_icon_is_decoded_with_its_image() -> None:
    data, dataset = compressed(ramp(1, 8, 8), RLELossless)
    icon_data, icon = compressed(ramp(1, 4, 4, "u1"), RLELossless)
    source, item = (datasets.decode_dataset(each, RLELossless) for each in (data, icon_data))
    del item.NumberOfFrames, item.SOPClassUID, item.SOPInstanceUID
    source.IconImageSequence = Sequence([item])
    whole = data_set(source, RLELossless)
    out = datasets.decode_dataset(sent(whole, ExplicitVRLittleEndian, RLELossless), ExplicitVRLittleEndian)
    assert out.IconImageSequence[0].PixelData == icon.PixelData
    assert out.PixelData == dataset.PixelData
    recompressed = datasets.decode_dataset(sent(whole, JPEGLSLossless, RLELossless), JPEGLSLossless)
    assert recompressed.IconImageSequence[0].PixelData == icon.PixelData


def test_without_pixels_it_is_re_encoded() -> None:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.PatientID = "1.2.840.10008.5.1.4.1.1.7", "1.2.3", "4711"
    data = datasets.encode_dataset(dataset, ExplicitVRLittleEndian)
    assert datasets.decode_dataset(sent(data, ImplicitVRLittleEndian, JPEG2000), ImplicitVRLittleEndian) == dataset
    with pytest.raises(DatasetEncodeError):
        sent(data, JPEGLSLossless, JPEG2000)


# --- what is lossy stays marked ---------------------------------------------------------------------------------------


def test_a_lossy_source_is_marked_where_it_was_not() -> None:
    path = FILES / "SC_rgb_jpeg_dcmtk.dcm"
    source = pydicom.dcmread(path)
    for keyword in ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod"):
        if keyword in source:
            delattr(source, keyword)
    data = datasets.encode_stored(source)
    for target in (ExplicitVRLittleEndian, JPEGLosslessSV1):
        out = datasets.decode_dataset(sent(data, target, JPEGBaseline8Bit), target)
        assert out.LossyImageCompression == "01"
        assert out.LossyImageCompressionMethod == "ISO_10918_1"
        assert float(out.LossyImageCompressionRatio) > 1


def test_jpeg_2000_says_itself_whether_it_is_lossy() -> None:
    # In the transfer syntax for both, one of each.
    marked = {}
    for name in ("JPEG2000.dcm", "693_J2KI.dcm", "SC_rgb_gdcm_KY.dcm"):
        source = pydicom.dcmread(FILES / name)
        assert source.file_meta.TransferSyntaxUID == JPEG2000
        if "LossyImageCompression" in source:
            del source.LossyImageCompression
        out = datasets.decode_dataset(
            sent(datasets.encode_stored(source), ExplicitVRLittleEndian, JPEG2000), ExplicitVRLittleEndian
        )
        marked[name] = out.get("LossyImageCompression")
    assert set(marked.values()) == {None, "01"}, marked


# --- what is not done -------------------------------------------------------------------------------------------------


def test_never_lossy_never_video() -> None:
    assert not datasets.can_recompress(MPEG4HP41, ExplicitVRLittleEndian)
    assert not datasets.can_recompress(ExplicitVRLittleEndian, JPEGBaseline8Bit)
    assert not datasets.can_recompress(JPEG2000Lossless, JPEG2000)
    assert not datasets.can_recompress("1.2.3", ExplicitVRLittleEndian)


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("Rows", 0), ("Rows", 65535), ("BitsAllocated", 12), ("SamplesPerPixel", 2), ("PixelRepresentation", 2)],
)
def test_attributes_that_do_not_fit_are_refused(keyword: str, value: int) -> None:
    data, _ = compressed(ramp(1, 4, 4), RLELossless)
    source = datasets.decode_dataset(data, RLELossless)
    setattr(source, keyword, value)
    with pytest.raises(DatasetEncodeError):
        sent(data_set(source, RLELossless), ExplicitVRLittleEndian, RLELossless)


def test_frames_that_differ_in_kind_are_refused() -> None:
    data, _ = compressed(ramp(2, 4, 4, "u1", 3), RLELossless, photometric="RGB")
    answers = iter(("RGB", "YBR_FULL"))

    def convert(job: FrameJob, data: bytes) -> Frame:
        return Frame(bytes(job.format.frame_size), next(answers), 8, 8)

    work = datasets.Recompression(data, RLELossless, ExplicitVRLittleEndian, limits=Limits(), convert=convert)
    with pytest.raises(DatasetEncodeError, match="photometric"):
        list(work.check())


def test_a_file_goes_by_in_parts(tmp_path: Path) -> None:
    """Of a file that is larger than what may be in memory no more than a frame is."""
    data, dataset = compressed(ramp(40, 64, 64), JPEGLSLossless)
    path = tmp_path / "many.dcm"
    source = datasets.decode_dataset(data, JPEGLSLossless)
    source.file_meta = datasets.file_meta_dataset(source.SOPClassUID, source.SOPInstanceUID, JPEGLSLossless)
    buffer = BytesIO()
    pydicom.dcmwrite(buffer, source, enforce_file_format=True)
    path.write_bytes(buffer.getvalue())
    out = sent(path, ExplicitVRLittleEndian, limits=Limits(dataset_in_memory=10_000))
    assert datasets.decode_dataset(out, ExplicitVRLittleEndian).PixelData == dataset.PixelData
