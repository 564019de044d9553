"""Instances that are in memory in their encoding: what a handler has encoded, and what is left without bulk data."""

from __future__ import annotations

from collections.abc import AsyncIterator

from pydicom.dataset import Dataset

from aiodimse import datasets
from aiodimse.aio.files import read_off_loop
from aiodimse.dimse.fragments import Buffer
from aiodimse.errors import DatasetEncodeError
from aiodimse.services.instance import Instance
from aiodimse.standard.transfer_syntax import ExplicitVRLittleEndian


class EncodedInstance(Instance):
    """An instance whose encoded data set is in memory."""

    def __init__(self, sop_class_uid: str, sop_instance_uid: str, transfer_syntax: str, data: bytes) -> None:
        super().__init__(sop_class_uid, sop_instance_uid, transfer_syntax)
        self._data = data

    async def _stream(self) -> AsyncIterator[Buffer]:
        yield self._data

    def stream(self) -> AsyncIterator[Buffer]:
        """Yield the bytes."""
        return self._stream()

    def held_to_decode(self) -> int:
        """See `Instance.held_to_decode`. The bytes are in memory encoded and decoded."""
        return 2 * datasets.most_inflated(len(self._data), self.transfer_syntax, self.limits)

    async def dataset(self) -> Dataset:
        """Decode the bytes."""
        return await read_off_loop(datasets.decode_dataset, self._data, self.transfer_syntax)


def without_bulk_data(instance: Instance, dataset: Dataset) -> Instance:
    """Return an instance without bulk data (PS3.4 Z).

    A compressed one becomes Explicit VR Little Endian, unless it also has a compressed icon.
    """
    stripped = datasets.without_bulk_data(dataset)
    transfer_syntax = instance.transfer_syntax
    if not datasets.can_transcode(transfer_syntax, transfer_syntax):
        transfer_syntax = ExplicitVRLittleEndian
    try:
        data = datasets.encode_dataset(stripped, transfer_syntax)
    except DatasetEncodeError:
        transfer_syntax, data = instance.transfer_syntax, datasets.encode_stored(stripped)
    return EncodedInstance(instance.sop_class_uid, instance.sop_instance_uid, transfer_syntax, data)
