"""Decides how an instance is sent in a context: its data set as it is, re-encoded, or with its pixels recompressed."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from typing import Final, TypeAlias

from aiodimse import datasets
from aiodimse.aio.channel import Channel
from aiodimse.aio.hooks import spanning
from aiodimse.aio.payload import Payload
from aiodimse.aio.threads import Threads
from aiodimse.dimse.fragments import Buffer
from aiodimse.services.instance import Instance

_MOST: Final = 4
_threads: Final = Threads(max(1, min(_MOST, os.cpu_count() or 1)), "aiodimse-codecs")
"""Each thread waits for a process of its own that decodes and encodes, so this bounds the frames that are converted at
a time, over all event loops. Further conversions wait. An instance has one frame in work and one ready."""


Room: TypeAlias = Callable[[int], Awaitable[None]]
"""Waits until this number of bytes may be in memory. They replace those of an earlier call."""


async def no_room_needed(size: int) -> None:
    """Do not count bytes, which is the room of a user: it sends what its own program gives.

    Args:
        size: The number of bytes.
    """


async def payload_of(
    instance: Instance, transfer_syntax: str, channel: Channel, room: Room = no_room_needed
) -> Payload:
    """Return the data set of an instance, encoded in a transfer syntax.

    A data set that cannot be converted is found here, before a message has begun.

    Args:
        instance: The instance. If it can be read only once, it has been read afterward.
        transfer_syntax: The transfer syntax of the presentation context, as chosen by `store_context`.
        channel: The association on which it is sent.
        room: Called before anything is read, and again when the size of the converted pixels is known.

    Raises:
        DatasetEncodeError: It cannot be encoded in this transfer syntax.
        DatasetDecodeError: The data set is damaged.
        NotDICOM, InstanceConflict, OSError: As raised by `Instance.open`, for a file.

    Cancellation: the frame that is being converted is finished in its process; nothing else remains.
    """
    if transfer_syntax == instance.transfer_syntax or not datasets.can_recompress(
        instance.transfer_syntax, transfer_syntax
    ):
        await room(instance.held_to_send(transfer_syntax))
        return await instance.encoded(transfer_syntax)
    return await _Conversion(instance, transfer_syntax, channel, room).run()


class _Conversion:
    """The conversion of one instance to another compression, with a report to the metrics."""

    def __init__(self, instance: Instance, transfer_syntax: str, channel: Channel, room: Room) -> None:
        self._instance, self._target, self._channel, self._room = instance, transfer_syntax, channel, room
        self._began = channel.clock.now()

    async def run(self) -> Payload:
        channel, attributes = self._channel, {"source": self._instance.transfer_syntax, "target": self._target}
        work: datasets.Recompression | None = None
        try:
            with spanning(channel.metrics, "dicom.transcode", attributes):
                work = await self._work()
                async for _ in _threads.pieces(work.check()):
                    pass
                payload = await _threads.run(work.at_hand) or _pieces(work)
        except BaseException as error:
            self._report(work.frames if work is not None else 0, type(error).__name__)
            raise
        self._report(work.frames, None)
        return payload

    def _report(self, frames: int, error: str | None) -> None:
        channel = self._channel
        if channel.metrics is not None:
            seconds = channel.clock.now() - self._began
            channel.metrics.instance_transcoded(
                channel.measured, self._instance.transfer_syntax, self._target, frames, error, seconds
            )

    async def _work(self) -> datasets.Recompression:
        instance, channel = self._instance, self._channel
        convert = partial(datasets.processes.convert, timeout=channel.timeouts.transcode)
        size = instance.held_to_recompress()
        await self._room(size)
        source = await instance.recompressible()
        work = datasets.Recompression(
            source, instance.transfer_syntax, self._target, limits=channel.limits, convert=convert
        )
        if self._room is not no_room_needed:
            await self._room(size + await _threads.run(work.size_in_memory))
        return work


async def _pieces(work: datasets.Recompression) -> AsyncIterator[Buffer]:
    async for piece in _threads.pieces(work.pieces()):
        yield piece
