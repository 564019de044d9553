"""Estimates how much work it is to encode a data set, without encoding it."""

from __future__ import annotations

from typing import Any, Final

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

_CHARACTERS: Final = 128
"""The number of characters or bytes of a value that cost as much as one more value."""


def is_larger_than(dataset: Dataset, most: int) -> bool:
    """Return whether a data set has more than this number of values, at any depth. Long values count as several."""
    try:
        return _left(dataset, most) < 0
    except RecursionError:  # nested deeper than can be encoded
        return True


def _left(dataset: Dataset, left: int) -> int:
    """Return how many of `left` values remain after those of a data set; a negative number if it has more."""
    left -= len(dataset)
    for element in dataset.values():
        # _value avoids the property of DataElement, which would take half of the time
        value: Any = element._value if type(element) is DataElement else element.value
        kind = type(value)
        if kind is str or kind is bytes:
            if len(value) > _CHARACTERS:
                left -= len(value) // _CHARACTERS
        elif kind is MultiValue or kind is list:
            left -= len(value)
        elif kind is Sequence:
            for item in value:
                if left >= 0:
                    left = _left(item, left - 1)
    return left


def size_of_values(dataset: Dataset) -> int:
    """Return the number of bytes of all values that are text or bytes, such as pixels, including those of items."""
    size = 0
    for element in dataset.values():
        value: Any = element.value
        if type(value) is str or type(value) is bytes:
            size += len(value)
        elif type(value) is Sequence:
            size += sum(map(size_of_values, value))
    return size
