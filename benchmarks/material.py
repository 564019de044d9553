"""Files to send: copies of pydicom's CT and MR, each with its own SOP Instance UID, and one large object."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.encaps import encapsulate
from pydicom.uid import UID

from aiodimse.datasets.pixels.codecs import encoded

STUDY_OF_CT = "1.3.6.1.4.1.5962.1.2.1.20040119072730.12322"
MEBIBYTE = 1 << 20


class Material:
    """Files in one temporary folder, made on first use."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def copies(self, name: str, count: int) -> Path:
        """Return a folder with this many copies of CT_small.dcm or MR_small.dcm."""
        target = self.folder / f"{name}-{count}"
        if target.is_dir():
            return target
        target.mkdir(parents=True)
        source = Path(str(get_testdata_file(f"{name}.dcm")))
        data = source.read_bytes()
        uid = str(dcmread(source, stop_before_pixels=True).SOPInstanceUID)
        # The new UID is as long as the old one, so that lengths stay right in file meta information and data set.
        for number in range(count):
            other = f"{uid[:-6]}{number + 100000}"
            (target / f"{number:05}.dcm").write_bytes(data.replace(uid.encode(), other.encode()))
        return target

    def compressed(self, transfer_syntax: str, count: int) -> Path:
        """Return a folder with this many slices of 512 by 512, 12 bits, losslessly compressed: a CT with noise."""
        target = self.folder / f"{transfer_syntax}-{count}"
        if target.is_dir():
            return target
        target.mkdir(parents=True)
        dataset = dcmread(str(get_testdata_file("CT_small.dcm")))
        generator = np.random.default_rng(1)
        coarse = np.kron(dataset.pixel_array, np.ones((4, 4), np.int16))
        pixels = (coarse + generator.integers(0, 16, coarse.shape)).astype("<i2")
        dataset.Rows, dataset.Columns = pixels.shape
        dataset.PixelData = encapsulate([encoded(transfer_syntax, pixels, 16, "MONOCHROME2")])
        dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
        dataset.file_meta.TransferSyntaxUID = UID(transfer_syntax)
        uid = str(dataset.SOPInstanceUID)
        for number in range(count):
            dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = f"{uid[:-6]}{number + 100000}"
            dataset.save_as(target / f"{number:05}.dcm")
        return target

    def large(self, mebibytes: int = 256) -> Path:
        """Return one CT with this many MiB of Pixel Data, in Explicit VR Little Endian."""
        target = self.folder / f"large-{mebibytes}.dcm"
        self.folder.mkdir(exist_ok=True)
        if target.is_file():
            return target
        dataset = dcmread(str(get_testdata_file("CT_small.dcm")))
        for keyword in ("DataSetTrailingPadding",):
            if keyword in dataset:
                del dataset[keyword]
        dataset.Rows, dataset.Columns = 16384, mebibytes * 32  # two bytes each
        piece = bytes(range(256)) * 4096
        dataset.PixelData = piece * mebibytes
        dataset.save_as(target)
        return target
