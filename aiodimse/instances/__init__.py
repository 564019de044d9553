"""The only door to pydicom data sets and to Part 10 files. Synchronous; large work belongs off the event loop."""

from aiodimse.instances import quiet
from aiodimse.instances.bulk import without_bulk_data
from aiodimse.instances.dataset import (
    can_transcode,
    dataset_uids,
    decode_dataset,
    decode_identifier,
    encode_dataset,
    encode_stored,
    first_uids,
)
from aiodimse.instances.part10 import FileHead, PartTenReader, PartTenWriter, open_pieces, read_head, safe_file_name
from aiodimse.instances.unfinished import remove_unfinished
from aiodimse.instances.whole import file_meta_dataset, read_file

__all__ = [
    "FileHead",
    "PartTenReader",
    "PartTenWriter",
    "can_transcode",
    "dataset_uids",
    "decode_dataset",
    "decode_identifier",
    "encode_dataset",
    "encode_stored",
    "file_meta_dataset",
    "first_uids",
    "open_pieces",
    "read_file",
    "read_head",
    "remove_unfinished",
    "safe_file_name",
    "without_bulk_data",
]

quiet.install()
