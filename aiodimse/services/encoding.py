"""Data sets on their way out with a command other than C-STORE: identifiers, attributes, information."""

from __future__ import annotations

from collections.abc import Callable

from pydicom.dataset import Dataset

from aiodimse import datasets
from aiodimse.errors import DatasetEncodeError
from aiodimse.services.response import EncodedDataset


def encode_identifier(identifier: Dataset | EncodedDataset, transfer_syntax: str) -> bytes:
    """Encode what we ask for, in the transfer syntax of its presentation context.

    Raises:
        DatasetEncodeError: It is no data set, cannot be encoded, or is encoded already in another transfer syntax.
    """
    return _encode(datasets.encode_dataset, identifier, transfer_syntax)


def encode_response(answer: Dataset | EncodedDataset, transfer_syntax: str) -> bytes:
    """As encode_identifier, for what we answer: text that is not in its Specific Character Set does not fail, but makes
    it ISO_IR 192."""
    return _encode(datasets.encode_response, answer, transfer_syntax)


def _encode(encode: Callable[[Dataset, str], bytes], dataset: Dataset | EncodedDataset, transfer_syntax: str) -> bytes:
    if isinstance(dataset, EncodedDataset):
        if dataset.transfer_syntax != transfer_syntax:
            raise DatasetEncodeError(
                f"encoded in {dataset.transfer_syntax}, but the presentation context has {transfer_syntax}"
            )
        return dataset.data
    if not isinstance(dataset, Dataset):
        raise DatasetEncodeError(f"an identifier is a Dataset or EncodedDataset, not {type(dataset).__name__}")
    return encode(dataset, transfer_syntax)
