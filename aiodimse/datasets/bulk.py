"""Composite Instance Retrieve Without Bulk Data: removes bulk data from an instance (PS3.4 Z.1.3)."""

from __future__ import annotations

from typing import Final

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import UID

from aiodimse.datasets.dataset import dataset_uids
from aiodimse.datasets.reading import items_of, shallow_copy
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
_TRANSFER_SYNTAX_UID: Final = 0x00020010


def without_bulk_data(dataset: Dataset) -> Dataset:
    """Return a Dataset without the bulk data of PS3.4 Z.1.3. It shares the other values; the argument is not changed.

    Bulk data is removed at the top level, and Waveform Data from the items of Waveform Sequence; Icon Image Sequence
    keeps its pixels. A compressed instance then has nothing compressed left, so it becomes Explicit VR Little Endian,
    which every requestor can accept. With an icon it does not, because the icon has the compression of the image.
    """
    out = shallow_copy(dataset, lambda tag: tag in _BULK or (tag & 0xFF01FFFF) in _BULK_REPEATING)
    waveforms = out.get_item(_WAVEFORM_SEQUENCE) if _WAVEFORM_SEQUENCE in out else None
    if waveforms is not None:
        items = [shallow_copy(item, lambda tag: tag == _WAVEFORM_DATA) for item in items_of(waveforms, dataset)]
        out[_WAVEFORM_SEQUENCE] = DataElement(_WAVEFORM_SEQUENCE, "SQ", Sequence(items))
    meta = getattr(dataset, "file_meta", None)
    if meta is not None:
        out.file_meta = FileMetaDataset(dict(meta.items()))
        row = lookup(dataset_uids(dataset)[2])
        if row is not None and row.encapsulated and _ICON_IMAGE_SEQUENCE not in out:
            # A new element is made, since assigning to the keyword would change the one that both data sets share.
            out.file_meta[_TRANSFER_SYNTAX_UID] = DataElement(_TRANSFER_SYNTAX_UID, "UI", UID(ExplicitVRLittleEndian))
    return out
