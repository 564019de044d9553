"""How much work it is to encode a data set, without encoding it."""

from __future__ import annotations

from typing import Any, Final

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence

_CHARACTERS: Final = 128
"""Characters or bytes of a value that are as much work as one more value."""


def is_larger_than(dataset: Dataset, most: int) -> bool:
    """Whether a data set has more values, at any depth, than so many. Long ones count as several."""
    try:
        return _left(dataset, most) < 0
    except RecursionError:  # nested deeper than can be encoded
        return True


def _left(dataset: Dataset, left: int) -> int:
    """How many of so many values the data set leaves over; less than 0 where it has more."""
    left -= len(dataset)
    for element in dataset.values():
        # past the property of DataElement, which would be half of the time
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
    """How many bytes the values of a data set have that are text or bytes, such as pixels; those of items count too."""
    size = 0
    for element in dataset.values():
        value: Any = element.value
        if type(value) is str or type(value) is bytes:
            size += len(value)
        elif type(value) is Sequence:
            size += sum(map(size_of_values, value))
    return size
