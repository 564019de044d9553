"""Reads and encodes long sequences one item at a time.

pydicom has about ten objects for each item. While ten thousand items exist, each run of Python's garbage collector,
which stops every thread, takes some 50 ms longer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from struct import pack
from typing import Any

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from aiodimse.datasets import charsets
from aiodimse.datasets.element_headers import ITEM
from aiodimse.datasets.reading import DecodedDataset, each_item, new_dataset, read_as
from aiodimse.datasets.writing import write_dataset
from aiodimse.errors import DatasetDecodeError


def items_in_turn(dataset: Dataset, tag: int) -> Iterator[Dataset]:
    """Yield the items of a sequence, none if the data set lacks it. If it is still encoded, it remains so.

    Args:
        dataset: The data set, which is not changed.
        tag: The tag of the sequence.

    Raises:
        DatasetDecodeError: The items are damaged, or the element has no items.
    """
    key = BaseTag(tag)
    element: Any = dataset.get_item(key)
    if isinstance(dataset, DecodedDataset) and isinstance(element, RawDataElement) and element.VR != "UN":
        charset = read_as(dataset) or charsets.DEFAULT
        yield from each_item(element.value or b"", element.is_implicit_VR, element.is_little_endian, charset)
    elif element is not None:
        read = dataset[key]
        if read.VR != "SQ" and read.value:  # a UN whose bytes are no items
            raise DatasetDecodeError("no item where an item must be", offset=0)
        yield from read.value or ()


def dataset_of_sequences(sequences: Mapping[BaseTag, Iterable[bytes]]) -> Dataset:
    """Make a data set of sequences that are already encoded.

    Args:
        sequences: What `encoded_item` returned of the items of each sequence, by its tag.
    """
    dataset = new_dataset(implicit=False, little_endian=True)
    for tag, items in sequences.items():
        value = b"".join(items)
        dataset[tag] = RawDataElement(tag, "SQ", len(value), value, 0, False, True)
    return dataset


def encoded_item(item: Dataset) -> bytes:
    """Encode an item of a sequence.

    Raises:
        DatasetEncodeError: It cannot be encoded.
    """
    content = b"".join(write_dataset(item, implicit=False, little_endian=True))
    return pack("<HHL", ITEM >> 16, ITEM & 0xFFFF, len(content)) + content
