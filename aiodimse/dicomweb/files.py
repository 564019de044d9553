"""WADO-RS metadata and frames, from a file; in no more memory than what is returned takes. Synchronous."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import BinaryIO, Final

from pydicom import Dataset, dcmread
from pydicom.encaps import get_frame
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import ExplicitVRLittleEndian

_LONGEST: Final = 1 << 20
_UNDEFINED: Final = 0xFFFFFFFF
_MEDIA_TYPES: Final = {  # PS3.18 Table 8.7.3-5
    "1.2.840.10008.1.2.4.50": "image/jpeg",
    "1.2.840.10008.1.2.4.51": "image/jpeg",
    "1.2.840.10008.1.2.4.57": "image/jpeg",
    "1.2.840.10008.1.2.4.70": "image/jpeg",
    "1.2.840.10008.1.2.4.80": "image/jls",
    "1.2.840.10008.1.2.4.81": "image/jls",
    "1.2.840.10008.1.2.4.90": "image/jp2",
    "1.2.840.10008.1.2.4.91": "image/jp2",
    "1.2.840.10008.1.2.4.201": "image/jphc",
    "1.2.840.10008.1.2.4.202": "image/jphc",
    "1.2.840.10008.1.2.4.203": "image/jphc",
    "1.2.840.10008.1.2.5": "image/dicom-rle",
}


def read_metadata(path: str | os.PathLike[str]) -> Dataset:
    """Read what WADO-RS calls the metadata of an instance: its attributes without bulk data (PS3.18 10.4.1.1.2).

    Args:
        path: A DICOM file.

    Returns:
        The attributes before Pixel Data, without values of more than a MiB, for `to_json`.

    Raises:
        OSError: The file cannot be read.
        InvalidDicomError: pydicom finds that it is none.
    """
    dataset = dcmread(path, stop_before_pixels=True, defer_size=_LONGEST)
    # Deferred values have not been read. Sequences have no length any more; an undefined one is that of a sequence.
    for element in list(dataset.values()):
        if _LONGEST < getattr(element, "length", 0) < _UNDEFINED:
            del dataset[element.tag]
    return dataset


def read_frame(path: str | os.PathLike[str], number: int) -> tuple[str, bytes]:
    """Read one frame of an image as it is stored (PS3.18 10.4.1.1.6).

    Args:
        path: A DICOM file.
        number: The frame, from 1.

    Returns:
        Its media type with the transfer syntax (PS3.18 8.7.3), and its bytes. Native pixel data are
        application/octet-stream.

    Raises:
        ValueError: The instance has no such frame.
        OSError: The file cannot be read.
        InvalidDicomError: pydicom finds that it is none.
    """
    with Path(path).open("rb") as file:
        dataset = dcmread(file, stop_before_pixels=True)
        syntax = dataset.file_meta.TransferSyntaxUID
        count = int(dataset.get("NumberOfFrames") or 1) if "Rows" in dataset else 0
        if not 0 < number <= count:
            raise ValueError(f"the instance has {count} frames")
        pixels: BinaryIO = file
        if syntax.is_deflated:  # Pixel Data have no place of their own in the file
            pixels = io.BytesIO(dcmread(path).PixelData)
        else:
            pixels.seek(8 if syntax.is_implicit_VR else 12, io.SEEK_CUR)  # its tag, VR and length (PS3.5 7.1)
        if syntax.is_encapsulated:
            media_type = _MEDIA_TYPES.get(syntax, "application/octet-stream")
            return f"{media_type}; transfer-syntax={syntax}", get_frame(pixels, number - 1, number_of_frames=count)
        size = get_expected_length(dataset) // count
        pixels.seek((number - 1) * size, io.SEEK_CUR)
        return f"application/octet-stream; transfer-syntax={ExplicitVRLittleEndian}", pixels.read(size)
