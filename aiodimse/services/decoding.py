"""Decides where to decode a data set: in the current turn of the event loop if that is quick, otherwise in a thread."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Protocol
from weakref import WeakKeyDictionary

from pydicom.dataset import Dataset

from aiodimse import datasets
from aiodimse.aio.channel import Channel
from aiodimse.aio.threads import Threads
from aiodimse.aio.turns import turns_of
from aiodimse.config import Limits
from aiodimse.errors import DatasetDecodeError, DatasetTooLarge
from aiodimse.standard.transfer_syntax import DeflatedExplicitVRLittleEndian

_LARGE = 1 << 20
"""The length in bytes from which a data set is decoded in a thread: copying it alone takes long enough."""
_SOME = 1 << 12
"""The length in bytes from which a data set is decoded when its turn comes, among all such of the event loop. That of
an Identifier is below it as a rule. Many that came at once would otherwise be decoded in one turn of the loop."""
_MANY = 256
"""The number of elements from which a data set is decoded in a thread. An honest Identifier has a hundred elements, in
0.1 ms; this many of the worst kind take 5 ms."""
_threads = Threads(1, "aiodimse-decoding")
"""Decoding needs the processor: a second thread would only take the interpreter away from the event loop."""
_under_way: WeakKeyDictionary[Channel, asyncio.Lock] = WeakKeyDictionary()
"""Held by each association that decodes in a thread, so that nobody's requests fill the line of all."""


class Decoder(Protocol):
    """datasets.decode_dataset, or decode_identifier."""

    def __call__(
        self, data: bytes, transfer_syntax: str, *, limits: Limits, max_elements: int | None = None
    ) -> Dataset:
        """Decode a data set."""


async def decoded(decode: Decoder, data: bytes, transfer_syntax: str, channel: Channel) -> Dataset:
    """Decode a received data set, within the limits of its channel.

    Args:
        decode: datasets.decode_dataset or decode_identifier.
        data: The encoded data set.
        transfer_syntax: The UID of the transfer syntax of its presentation context.
        channel: Logs what was tolerated in the data set, once for each kind.

    Raises:
        DatasetDecodeError: It cannot be decoded, or has a fault and the channel is strict.
        DatasetTooLarge: It exceeds one of the limits.

    Cancellation: decoding in a thread continues to its end, and its result is dropped.
    """
    dataset = await _decoded(decode, data, transfer_syntax, channel)
    for row in datasets.tolerated_in(dataset):
        if channel.settings.strict:
            raise DatasetDecodeError(row.tolerated)
        channel.tolerate(row)
    return dataset


async def decoded_identifier(data: bytes, transfer_syntax: str, channel: Channel) -> Dataset:
    """Decode a data set that did not come with a C-STORE: that of another request, or of a response. See `decoded`."""
    return await decoded(datasets.decode_identifier, data, transfer_syntax, channel)


async def _decoded(decode: Decoder, data: bytes, transfer_syntax: str, channel: Channel) -> Dataset:
    limits = channel.limits
    if len(data) > _SOME:
        await turns_of(asyncio.get_running_loop()).next_share()
    # A deflated data set may become a thousand times as large.
    if len(data) <= _LARGE and transfer_syntax != DeflatedExplicitVRLittleEndian:
        with suppress(DatasetTooLarge):
            return decode(data, transfer_syntax, limits=limits, max_elements=_MANY)
    async with _under_way.setdefault(channel, asyncio.Lock()):
        return await _threads.run(decode, data, transfer_syntax, limits=limits)
