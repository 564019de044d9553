"""Encodes the data sets that we send with other commands than C-STORE: identifiers, attributes, information."""

from __future__ import annotations

from collections.abc import Callable

from pydicom.dataset import Dataset

from aiodimse import datasets
from aiodimse.aio.files import read_off_loop
from aiodimse.errors import DatasetEncodeError
from aiodimse.services.response import EncodedDataset, Identifier

_MANY = 2048
"""The number of values from which a data set is encoded in a thread: it takes some 2 ms."""


async def encode_identifier(identifier: Identifier, transfer_syntax: str) -> bytes:
    """Encode the data set of a request in the transfer syntax of its presentation context. Large ones use a thread.

    Raises:
        DatasetEncodeError: It is not a data set, cannot be encoded, or is already encoded in another transfer syntax.

    Cancellation: encoding in a thread continues to its end, and its result is dropped.
    """
    return await _encode(datasets.encode_dataset, identifier, transfer_syntax)


async def encode_response(answer: Identifier, transfer_syntax: str) -> bytes:
    """Encode the data set of a response. See `encode_identifier`.

    Text that its Specific Character Set cannot represent is no error: the data set is then sent in ISO_IR 192.
    """
    return await _encode(datasets.encode_response, answer, transfer_syntax)


async def _encode(encode: Callable[[Dataset, str], bytes], dataset: Identifier, transfer_syntax: str) -> bytes:
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
