"""Real files that pydicom ships in its wheel, and what must stay the same about them on a journey."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileDataset

IMPLICIT_LE, EXPLICIT_LE, EXPLICIT_BE = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"
DEFLATED_LE = "1.2.840.10008.1.2.1.99"
UNCOMPRESSED = (IMPLICIT_LE, EXPLICIT_LE)


def data_set_bytes(path: Path) -> bytes:
    """What follows the File Meta Information: the bytes that C-STORE carries (PS3.10 7.1)."""
    whole = path.read_bytes()
    assert whole[128:138] == b"DICM\2\0\0\0UL", f"{path} does not begin as Part 10 asks"
    return whole[144 + int.from_bytes(whole[140:144], "little") :]


def content(path: Path) -> dict[str, object]:
    """The values at the top level, without group lengths and trailing padding: what a peer that re-encodes must keep.

    Not the VRs: DCMTK makes OB of the encapsulated Pixel Data that pydicom's JPEG 2000 file has as OW.
    """
    return {str(e.tag): e.value for e in dcmread(path) if e.tag.element != 0 and e.tag != 0xFFFCFFFC}


@dataclass(frozen=True)
class Sample:
    """One file: its name here and in pydicom, and the storescu option that proposes its transfer syntax."""

    name: str
    file: str
    dcmtk: str

    @cached_property
    def path(self) -> Path:
        found = get_testdata_file(self.file, download=False)
        assert isinstance(found, str), f"pydicom does not ship {self.file}"
        return Path(found)

    @cached_property
    def header(self) -> FileDataset:
        return dcmread(self.path, stop_before_pixels=True)

    @cached_property
    def data(self) -> bytes:
        return data_set_bytes(self.path)

    @property
    def sop_class(self) -> str:
        return str(self.header.SOPClassUID)

    @property
    def instance(self) -> str:
        return str(self.header.SOPInstanceUID)

    @property
    def study(self) -> str:
        return str(self.header.StudyInstanceUID)

    @property
    def series(self) -> str:
        return str(self.header.SeriesInstanceUID)

    @property
    def transfer_syntax(self) -> str:
        return str(self.header.file_meta.TransferSyntaxUID)

    def __str__(self) -> str:
        return self.name


CT = Sample("ct", "CT_small.dcm", "-xe")
MR = Sample("mr", "MR_small.dcm", "-xe")
MR_IMPLICIT = Sample("mr-implicit", "MR_small_implicit.dcm", "-xi")
MR_BIG_ENDIAN = Sample("mr-big-endian", "MR_small_bigendian.dcm", "-xb")
SR = Sample("sr", "test-SR.dcm", "-xe")
RT_PLAN = Sample("rt-plan", "rtplan.dcm", "-xi")
ECG = Sample("ecg", "waveform_ecg.dcm", "-xe")
JPEG = Sample("jpeg", "SC_rgb_jpeg_dcmtk.dcm", "-xy")
JPEG_LOSSLESS = Sample("jpeg-lossless", "SC_rgb_jpeg_gdcm.dcm", "-xs")
JPEG_2000 = Sample("jpeg-2000", "JPEG2000.dcm", "-xw")
JPEG_2000_LOSSLESS = Sample("jpeg-2000-lossless", "MR_small_jp2klossless.dcm", "-xv")
RLE = Sample("rle", "SC_rgb_rle.dcm", "-xr")
DEFLATED = Sample("deflated", "image_dfl.dcm", "-xd")

SAMPLES = (
    CT, MR, MR_IMPLICIT, MR_BIG_ENDIAN, SR, RT_PLAN, ECG, JPEG, JPEG_LOSSLESS, JPEG_2000, JPEG_2000_LOSSLESS, RLE,
    DEFLATED,
)  # fmt: skip
PLAIN = (CT, MR, SR, ECG)
"""Explicit VR Little Endian: what every peer takes."""
JOURNEY = (CT, MR, SR, RT_PLAN, JPEG, JPEG_2000, DEFLATED)
"""One of each kind with a SOP Instance UID of its own, for peers that hold several at once."""


def check_arrived(paths: Iterable[Path], sent: Iterable[Sample]) -> None:
    """What a storescp that takes everything has got: every sample, byte for byte where its syntax was kept."""
    arrived = {str(dcmread(path, stop_before_pixels=True).SOPInstanceUID): path for path in paths}
    by_instance = {sample.instance: sample for sample in sent}
    assert arrived.keys() == by_instance.keys()
    for instance, path in arrived.items():
        sample = by_instance[instance]
        if str(dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID) == sample.transfer_syntax:
            assert data_set_bytes(path) in (sample.data, sample.data + b"\0"), sample
        else:
            assert sample in (MR_IMPLICIT, RT_PLAN, DEFLATED), sample
            assert content(path) == content(sample.path), sample


def check_pixels(paths: Iterable[Path], sent: Iterable[Sample], syntaxes: Collection[str] = UNCOMPRESSED) -> None:
    """What has arrived is in one of these transfer syntaxes, and has the pixels that were sent."""
    arrived = {str(dataset.SOPInstanceUID): dataset for dataset in map(dcmread, paths)}
    wanted = {str(dataset.SOPInstanceUID): dataset for dataset in (dcmread(sample.path) for sample in sent)}
    assert arrived.keys() == wanted.keys()
    for uid, dataset in arrived.items():
        assert dataset.file_meta.TransferSyntaxUID in syntaxes
        assert dataset.pixel_array.tolist() == wanted[uid].pixel_array.tolist()
        assert dataset.get("LossyImageCompression") == _is_lossy(wanted[uid])


def _is_lossy(dataset: Dataset) -> str | None:
    """What it has to say once its transfer syntax does not."""
    lossy = str(dataset.file_meta.TransferSyntaxUID) in ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.91")
    return dataset.get("LossyImageCompression") or ("01" if lossy else None)
