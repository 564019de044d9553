"""Reads and encodes long sequences one item at a time.

pydicom has about ten objects for each item. While ten thousand items exist, each run of Python's garbage collector,
which stops every thread, takes some 50 ms longer.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from struct import pack
from time import sleep
from typing import Any, Final

from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import BaseTag

from aiodimse.datasets import charsets
from aiodimse.datasets.element_headers import ITEM
from aiodimse.datasets.reading import DecodedDataset, each_item, new_dataset, read_as
from aiodimse.datasets.writing import write_dataset

_BETWEEN_PAUSES: Final = 64
"""The number of items from one pause to the next: they take about 1 ms."""
_PAUSE: Final = 50e-6
"""Seconds of a pause. After sleep(0) the thread would be the first to take the interpreter again."""


def items_in_turn(dataset: Dataset, tag: int) -> Iterator[Dataset]:
    """Yield the items of a sequence, none if the data set lacks it. If it is still encoded, it remains so.

    Args:
        dataset: The data set, which is not changed.
        tag: The tag of the sequence.

    Raises:
        DatasetDecodeError: The items are damaged.
    """
    key = BaseTag(tag)
    element: Any = dataset.get_item(key)
    if isinstance(dataset, DecodedDataset) and isinstance(element, RawDataElement) and element.VR != "UN":
        charset = read_as(dataset) or charsets.DEFAULT
        items = each_item(element.value or b"", element.is_implicit_VR, element.is_little_endian, charset)
        yield from _with_pauses(items)
    elif element is not None:
        yield from dataset[key].value or ()


def dataset_of_sequences(sequences: dict[int, Iterable[Dataset]]) -> Dataset:
    """Make a data set of sequences that are already encoded.

    Args:
        sequences: The items of each sequence by its tag. Each item is dropped when it has been encoded.

    Raises:
        DatasetEncodeError: An item cannot be encoded.
    """
    dataset = new_dataset(implicit=False, little_endian=True)
    for tag, items in sequences.items():
        value = b"".join(map(_encoded_item, _with_pauses(items)))
        key = BaseTag(tag)
        dataset[key] = RawDataElement(key, "SQ", len(value), value, 0, False, True)
    return dataset


def _encoded_item(item: Dataset) -> bytes:
    content = b"".join(write_dataset(item, implicit=False, little_endian=True))
    return pack("<HHL", ITEM >> 16, ITEM & 0xFFFF, len(content)) + content


def _with_pauses(items: Iterable[Dataset]) -> Iterator[Dataset]:
    """Pause for a moment after every few items.

    A thread that computes holds the interpreter for 5 ms at a time, and the event loop waits for it after each call of
    the system. During a pause, the event loop takes it.
    """
    for number, item in enumerate(items, 1):
        yield item
        if number % _BETWEEN_PAUSES == 0:
            sleep(_PAUSE)
