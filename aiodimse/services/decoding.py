"""Where a data set is decoded: in this turn of the event loop while that is short, else in the pool."""

from __future__ import annotations

from contextlib import suppress
from typing import Protocol

from pydicom.dataset import Dataset

from aiodimse import datasets
from aiodimse.aio.channel import Channel
from aiodimse.aio.files import read_off_loop
from aiodimse.config import Limits
from aiodimse.errors import DatasetDecodeError, DatasetTooLarge
from aiodimse.standard.transfer_syntax import DeflatedExplicitVRLittleEndian

_LARGE = 1 << 20
"""Bytes whose copying alone is worth a trip to the pool."""
_MANY = 2048
"""Elements, the same: an honest identifier has a hundred in 0.1 ms, the worst so many in 40 ms."""


class Decoder(Protocol):
    """datasets.decode_dataset, or decode_identifier."""

    def __call__(
        self, data: bytes, transfer_syntax: str, *, limits: Limits, max_elements: int | None = None
    ) -> Dataset: ...


async def decoded(decode: Decoder, data: bytes, transfer_syntax: str, channel: Channel) -> Dataset:
    """Decode what came over this channel, within its limits.

    Args:
        decode: datasets.decode_dataset or decode_identifier.
        data: The encoded data set.
        transfer_syntax: The UID of that of its presentation context.
        channel: It says what is wrong with the data set and tolerated, once for each kind.

    Raises:
        DatasetDecodeError: It does not decode, or something is wrong with it and the channel is strict.
        DatasetTooLarge: It is over one of the limits.

    Cancellation: a data set that is being decoded in the pool is left to it.
    """
    dataset = await _decoded(decode, data, transfer_syntax, channel.limits)
    for row in datasets.tolerated_in(dataset):
        if channel.settings.strict:
            raise DatasetDecodeError(row.tolerated)
        channel.tolerate(row)
    return dataset


async def decoded_identifier(data: bytes, transfer_syntax: str, channel: Channel) -> Dataset:
    """As `decoded`, a data set that came with a command other than C-STORE: a request, or the response to ours."""
    return await decoded(datasets.decode_identifier, data, transfer_syntax, channel)


async def _decoded(decode: Decoder, data: bytes, transfer_syntax: str, limits: Limits) -> Dataset:
    # A deflated one may become a thousand times as large.
    if len(data) <= _LARGE and transfer_syntax != DeflatedExplicitVRLittleEndian:
        with suppress(DatasetTooLarge):
            return decode(data, transfer_syntax, limits=limits, max_elements=_MANY)
    return await read_off_loop(decode, data, transfer_syntax, limits=limits)
