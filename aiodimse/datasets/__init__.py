"""pydicom data sets and DICOM files. No other package decodes, encodes, reads or writes them.

Everything here is synchronous. Large work belongs in a thread.
"""

from aiodimse.datasets.beginning import Beginning
from aiodimse.datasets.bulk import without_bulk_data
from aiodimse.datasets.dataset import (
    RE_ENCODED,
    can_transcode,
    dataset_uids,
    decode_dataset,
    decode_identifier,
    encode_dataset,
    encode_response,
    encode_stored,
    first_uids,
)
from aiodimse.datasets.deflating import most_inflated
from aiodimse.datasets.file_meta import file_meta
from aiodimse.datasets.head import Head, parse_head
from aiodimse.datasets.identifiers import identifier
from aiodimse.datasets.identity import MAX_BEGINNING, Identity, read_identity
from aiodimse.datasets.naming import safe_file_name
from aiodimse.datasets.part10 import FileHead, PartTenReader, open_pieces, read_head
from aiodimse.datasets.pixels.code_stream import check_frame
from aiodimse.datasets.pixels.encapsulated import EncapsulatedFrames
from aiodimse.datasets.pixels.processes import processes
from aiodimse.datasets.pixels.recompressing import Recompression
from aiodimse.datasets.pixels.syntaxes import can_recompress, has_codecs
from aiodimse.datasets.reading import tolerated_in
from aiodimse.datasets.saving import Finish, PartTenWriter, finish_together
from aiodimse.datasets.sequences import dataset_of_sequences, encoded_item, items_in_turn
from aiodimse.datasets.stored import file_identity, is_whole_file
from aiodimse.datasets.transcoding import check_transcoded, open_transcoded
from aiodimse.datasets.unfinished import remove_unfinished
from aiodimse.datasets.values import uid_element
from aiodimse.datasets.weight import is_larger_than, size_of_values
from aiodimse.datasets.whole import file_meta_dataset, read_file

__all__ = [
    "MAX_BEGINNING",
    "RE_ENCODED",
    "Beginning",
    "EncapsulatedFrames",
    "FileHead",
    "Finish",
    "Head",
    "Identity",
    "PartTenReader",
    "PartTenWriter",
    "Recompression",
    "can_recompress",
    "can_transcode",
    "check_frame",
    "check_transcoded",
    "dataset_of_sequences",
    "dataset_uids",
    "decode_dataset",
    "decode_identifier",
    "encode_dataset",
    "encode_response",
    "encode_stored",
    "encoded_item",
    "file_identity",
    "file_meta",
    "file_meta_dataset",
    "finish_together",
    "first_uids",
    "has_codecs",
    "identifier",
    "is_larger_than",
    "is_whole_file",
    "items_in_turn",
    "most_inflated",
    "open_pieces",
    "open_transcoded",
    "parse_head",
    "processes",
    "read_file",
    "read_head",
    "read_identity",
    "remove_unfinished",
    "safe_file_name",
    "size_of_values",
    "tolerated_in",
    "uid_element",
    "without_bulk_data",
]
