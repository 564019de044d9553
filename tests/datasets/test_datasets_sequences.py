"""Long sequences are read and encoded one item at a time, and give what pydicom's sequences give."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag

from aiodimse import datasets
from aiodimse.standard import transfer_syntax

ITEMS = 200
FEW = 4
"""Data sets that may exist at once: the current item, the last one, and the data set around them."""
REFERENCED = BaseTag(0x00081199)
SYNTAXES = [
    transfer_syntax.ImplicitVRLittleEndian, transfer_syntax.ExplicitVRLittleEndian, transfer_syntax.ExplicitVRBigEndian
]  # fmt: skip


def items() -> Iterator[Dataset]:
    for number in range(ITEMS):
        item = Dataset()
        item.ReferencedSOPInstanceUID = f"1.2.{number}"
        yield item


def in_full() -> Dataset:
    dataset = Dataset()
    dataset.ReferencedSOPSequence = list(items())
    return dataset


def living_datasets() -> int:
    gc.collect()
    return sum(isinstance(each, Dataset) for each in gc.get_objects())


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_encoded_sequences_are_written_as_those_of_pydicom(syntax: str) -> None:
    dataset = datasets.dataset_of_sequences({REFERENCED: map(datasets.encoded_item, items())})
    assert datasets.encode_dataset(dataset, syntax) == datasets.encode_dataset(in_full(), syntax)
    assert dataset == in_full()


def test_each_item_is_dropped_when_it_has_been_encoded() -> None:
    before, most = living_datasets(), 0

    def counted() -> Iterator[Dataset]:
        nonlocal most
        for number, item in enumerate(items()):
            if number % 50 == 0:
                most = max(most, living_datasets() - before)
            yield item

    kept = datasets.dataset_of_sequences({REFERENCED: map(datasets.encoded_item, counted())})
    assert most <= FEW
    assert living_datasets() - before == 1
    assert kept is not None


@pytest.mark.parametrize("syntax", SYNTAXES)
def test_items_are_read_in_turn_and_remain_encoded(syntax: str) -> None:
    dataset = datasets.decode_dataset(datasets.encode_dataset(in_full(), syntax), syntax)
    before, most, found = living_datasets(), 0, []
    for number, item in enumerate(datasets.items_in_turn(dataset, REFERENCED)):
        found.append(str(item.ReferencedSOPInstanceUID))
        if number % 50 == 0:
            most = max(most, living_datasets() - before)
    assert found == [f"1.2.{number}" for number in range(ITEMS)]
    assert most <= FEW
    assert isinstance(dataset.get_item(REFERENCED), RawDataElement)


def test_encoding_does_not_keep_the_items_of_another_encoding() -> None:
    dataset = datasets.dataset_of_sequences({REFERENCED: map(datasets.encoded_item, items())})
    before = living_datasets()
    datasets.encode_dataset(dataset, transfer_syntax.ImplicitVRLittleEndian)
    assert living_datasets() == before


@pytest.mark.parametrize("dataset", [in_full(), Dataset()], ids=["of pydicom", "without the sequence"])
def test_items_of_a_data_set_that_was_not_decoded_here(dataset: Dataset) -> None:
    found = [str(item.ReferencedSOPInstanceUID) for item in datasets.items_in_turn(dataset, REFERENCED)]
    assert found == [f"1.2.{number}" for number in range(ITEMS if len(dataset) else 0)]


def test_an_empty_sequence_has_no_items() -> None:
    dataset = Dataset()
    dataset.ReferencedSOPSequence = []
    read = datasets.decode_dataset(
        datasets.encode_dataset(dataset, transfer_syntax.ImplicitVRLittleEndian),
        transfer_syntax.ImplicitVRLittleEndian,
    )
    assert list(datasets.items_in_turn(dataset, REFERENCED)) == []
    assert list(datasets.items_in_turn(read, REFERENCED)) == []
