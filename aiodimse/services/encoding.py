"""Data sets on their way out with a command other than C-STORE: identifiers, attributes, information."""

from __future__ import annotations

from collections.abc import Callable

from pydicom.dataset import Dataset

from aiodimse import datasets
from aiodimse.aio.files import read_off_loop
from aiodimse.errors import DatasetEncodeError
from aiodimse.services.response import EncodedDataset

_MANY = 2048
"""Values whose encoding is worth a trip to the pool: some 2 ms."""


async def encode_identifier(identifier: Dataset | EncodedDataset, transfer_syntax: str) -> bytes:
    """Encode what we ask for, in the transfer syntax of its presentation context; a large one in the pool.

    Raises:
        DatasetEncodeError: It is no data set, cannot be encoded, or is encoded already in another transfer syntax.

    Cancellation: a data set that is being encoded in the pool is left to it.
    """
    return await _encode(datasets.encode_dataset, identifier, transfer_syntax)


async def encode_response(answer: Dataset | EncodedDataset, transfer_syntax: str) -> bytes:
    """As encode_identifier, for what we answer: text that is not in its Specific Character Set does not fail, but makes
    it ISO_IR 192."""
    return await _encode(datasets.encode_response, answer, transfer_syntax)


async def _encode(
    encode: Callable[[Dataset, str], bytes], dataset: Dataset | EncodedDataset, transfer_syntax: str
) -> bytes:
    if isinstance(dataset, EncodedDataset):
        if dataset.transfer_syntax != transfer_syntax:
            raise DatasetEncodeError(
                f"encoded in {dataset.transfer_syntax}, but the presentation context has {transfer_syntax}"
            )
        return dataset.data
    if not isinstance(dataset, Dataset):
        raise DatasetEncodeError(f"an identifier is a Dataset or EncodedDataset, not {type(dataset).__name__}")
    if datasets.is_larger_than(dataset, _MANY):
        return await read_off_loop(encode, dataset, transfer_syntax)
    return encode(dataset, transfer_syntax)
