"""Composite Instance Retrieve Without Bulk Data: what of an instance is left out (PS3.4 Z.1.3)."""

from __future__ import annotations

from typing import Any, Final

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID
from pydicom.values import convert_SQ

from aiodimse.datasets.charsets import encodings_from_bytes, encodings_from_terms
from aiodimse.datasets.dataset import dataset_uids
from aiodimse.standard.transfer_syntax import ExplicitVRLittleEndian, lookup

_BULK: Final = frozenset(
    {
        0x00287FE0,  # Pixel Data Provider URL
        0x00420011,  # Encapsulated Document
        0x56000020,  # Spectroscopy Data
        0x7FE00008,  # Float Pixel Data
        0x7FE00009,  # Double Float Pixel Data
        0x7FE00010,  # Pixel Data
    }
)
# Element numbers in the repeating groups 50xx and 60xx (PS3.5 7.6)
_BULK_REPEATING: Final = frozenset({0x50003000, 0x5000200C, 0x60003000})  # Curve, Audio Sample, Overlay Data
_WAVEFORM_SEQUENCE: Final = 0x54000100
_WAVEFORM_DATA: Final = 0x54001010
_ICON_IMAGE_SEQUENCE: Final = 0x00880200
_SPECIFIC_CHARACTER_SET: Final = 0x00080005
_TRANSFER_SYNTAX_UID: Final = 0x00020010


def without_bulk_data(dataset: Dataset) -> Dataset:
    """A Dataset without the bulk data of PS3.4 Z.1.3, which share their values; the argument is not changed.

    Only the top level is meant, and Waveform Data in the items of Waveform Sequence: Icon Image Sequence keeps its
    pixels. What was compressed has nothing left that is, so that it becomes Explicit VR Little Endian, which every
    requestor can take; but not with an icon, whose pixels are compressed as the image's were.
    """
    out = _copy(dataset, lambda tag: tag in _BULK or (tag & 0xFF01FFFF) in _BULK_REPEATING)
    waveforms = out.get_item(_WAVEFORM_SEQUENCE) if _WAVEFORM_SEQUENCE in out else None
    if waveforms is not None:
        items = [_copy(item, lambda tag: tag == _WAVEFORM_DATA) for item in _items(waveforms, dataset)]
        out[_WAVEFORM_SEQUENCE] = DataElement(_WAVEFORM_SEQUENCE, "SQ", Sequence(items))
    meta = getattr(dataset, "file_meta", None)
    if meta is not None:
        out.file_meta = FileMetaDataset(dict(meta.items()))
        row = lookup(dataset_uids(dataset)[2])
        if row is not None and row.encapsulated and _ICON_IMAGE_SEQUENCE not in out:
            # a new element: to assign to the keyword would change the one that both share
            out.file_meta[_TRANSFER_SYNTAX_UID] = DataElement(_TRANSFER_SYNTAX_UID, "UI", UID(ExplicitVRLittleEndian))
    return out


def _copy(dataset: Dataset, is_bulk: Any) -> Dataset:
    """A new Dataset of the same elements: those still encoded are immutable, of the others nothing here changes one."""
    out = Dataset({key: element for key, element in dataset.items() if not is_bulk(int(key))})
    implicit, little_endian = dataset.original_encoding
    out.set_original_encoding(implicit, little_endian, dataset.original_character_set)
    out.is_undefined_length_sequence_item = dataset.is_undefined_length_sequence_item
    return out


def _items(waveforms: DataElement | RawDataElement, dataset: Dataset) -> list[Dataset]:
    if isinstance(waveforms, DataElement):
        return list(waveforms.value or ())
    charset = dataset.get_item(_SPECIFIC_CHARACTER_SET) if _SPECIFIC_CHARACTER_SET in dataset else None
    terms: Any = charset.value if charset is not None else None
    encodings = encodings_from_bytes(terms) if isinstance(terms, bytes) else encodings_from_terms(terms)
    return list(
        convert_SQ(waveforms.value or b"", waveforms.is_implicit_VR, waveforms.is_little_endian, list(encodings))
    )
