"""Instances whose every byte says whose it is, and the check that a file holds exactly one of them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian

from aiodimse import sop_class

STORAGE = sop_class.CTImageStorage


def pattern(uid: str, size: int) -> bytes:
    """Bytes that belong to this UID and size alone, an even number."""
    seed = hashlib.sha256(f"{uid} {size}".encode()).digest()
    return (seed * (size // len(seed) + 1))[: size & ~1]


def instance(uid: str, size: int, content: bytes | None = None) -> Dataset:
    """A CT of about this size."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = STORAGE
    dataset.SOPInstanceUID = uid
    dataset.PatientID = "DURABLE"
    dataset.add_new(0x7FE00010, "OW", pattern(uid, size) if content is None else content)
    return dataset


def check(path: Path) -> bytes:
    """The pixels of a file, which must be a whole one, named by its UID and its file meta right."""
    dataset = dcmread(path)
    assert path.name == f"{dataset.SOPInstanceUID}.dcm"
    assert dataset.file_meta.MediaStorageSOPInstanceUID == dataset.SOPInstanceUID
    pixels = dataset.PixelData
    assert pixels == pattern(dataset.SOPInstanceUID, len(pixels)), f"{path.name} is not what was sent"
    return pixels
