"""Data sets on their way out with a command other than C-STORE: identifiers, attributes, information."""

from __future__ import annotations

from pydicom.dataset import Dataset

from aiodimse import datasets
from aiodimse.errors import DatasetEncodeError
from aiodimse.services.response import EncodedDataset


def encode_identifier(identifier: Dataset | EncodedDataset, transfer_syntax: str) -> bytes:
    """Encode a data set in the transfer syntax of its presentation context.

    Raises:
        DatasetEncodeError: It is no data set, cannot be encoded, or is encoded already in another transfer syntax.
    """
    if isinstance(identifier, EncodedDataset):
        if identifier.transfer_syntax != transfer_syntax:
            raise DatasetEncodeError(
                f"encoded in {identifier.transfer_syntax}, but the presentation context has {transfer_syntax}"
            )
        return identifier.data
    if not isinstance(identifier, Dataset):
        raise DatasetEncodeError(f"an identifier is a Dataset or EncodedDataset, not {type(identifier).__name__}")
    return datasets.encode_dataset(identifier, transfer_syntax)
