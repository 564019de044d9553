"""Whole instances as pydicom has them: a Dataset with its file meta information."""

from __future__ import annotations

from pydicom.dataset import Dataset, FileMetaDataset

from aiodimse.association import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from aiodimse.config import Limits
from aiodimse.datasets.dataset import decode_dataset
from aiodimse.datasets.part10 import FileHead, reopen
from aiodimse.datasets.values import uid_element


def file_meta_dataset(sop_class_uid: str, sop_instance_uid: str, transfer_syntax: str) -> FileMetaDataset:
    """Make group 0002 for an instance that was received, so that pydicom can save it (PS3.10 7.1)."""
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\0\1"
    meta.add(uid_element("MediaStorageSOPClassUID", sop_class_uid))
    meta.add(uid_element("MediaStorageSOPInstanceUID", sop_instance_uid))
    meta.add(uid_element("TransferSyntaxUID", transfer_syntax))
    meta.add(uid_element("ImplementationClassUID", IMPLEMENTATION_CLASS_UID))
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    return meta


def read_file(head: FileHead, limits: Limits) -> Dataset:
    """Read the whole data set of a file whose head was read before.

    Raises:
        InstanceConflict: The file now holds another instance.
        NotDICOM: The file is not a DICOM file.
        DatasetDecodeError: The data set cannot be decoded; DatasetTooLarge if it exceeds the limits.
        OSError: The file cannot be read.
    """
    with reopen(head) as reader:
        data = b"".join(reader.pieces(1 << 20))
    dataset = decode_dataset(data, head.transfer_syntax, limits=limits)
    dataset.file_meta = file_meta_dataset(head.sop_class_uid, head.sop_instance_uid, head.transfer_syntax)
    return dataset
