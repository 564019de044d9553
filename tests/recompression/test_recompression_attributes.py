"""Attributes of pixels that a file has and that do not decode."""

from __future__ import annotations

import pytest
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag

import aiodimse
from aiodimse.datasets.pixels.attributes import number_of_frames, pixel_format


def damaged(tag: int) -> Dataset:
    dataset = Dataset()
    dataset.Rows = dataset.Columns = 1
    dataset.BitsAllocated = 8
    dataset[tag] = RawDataElement(BaseTag(tag), "US", 3, b"\x01\x00\x00", 0, False, True)
    return dataset


def test_rows_of_a_wrong_length() -> None:
    with pytest.raises(aiodimse.DatasetEncodeError, match="Rows is missing, or is not a number"):
        pixel_format(damaged(0x00280010), aiodimse.Limits())


def test_a_number_of_frames_of_a_wrong_length() -> None:
    with pytest.raises(aiodimse.DatasetEncodeError, match="NumberOfFrames is not a positive number"):
        number_of_frames(damaged(0x00280008))
