"""What is sent of an instance in a context: its data set as it is, re-encoded, or with its pixels compressed anew."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from functools import partial
from typing import Final

from aiodimse import datasets
from aiodimse.aio.channel import Channel
from aiodimse.aio.payload import Payload
from aiodimse.aio.threads import Threads
from aiodimse.services.instance import Buffer, Instance

_MOST: Final = 4
_threads: Final = Threads(max(1, min(_MOST, os.cpu_count() or 1)), "aiodimse-codecs")
"""Each waits for a process of its own that decodes and encodes: so many frames are converted at once, in whatever loop.
What more is to be converted waits; an instance has one frame under way, and one that is ready."""


async def payload_of(instance: Instance, transfer_syntax: str, channel: Channel) -> Payload:
    """The data set of an instance, encoded in this transfer syntax.

    What cannot be converted is found out here, before a message has begun.

    Args:
        instance: What is sent. One that can be read once has been read behind this.
        transfer_syntax: That of the presentation context, as of `store_context`.
        channel: The association that it is sent on.

    Raises:
        DatasetEncodeError: It cannot be encoded so.
        DatasetDecodeError: It is not sound.
        NotDICOM, InstanceConflict, OSError: As `Instance.open`, of a file.

    Cancellation: A frame that is under way comes to its end in its process; nothing else is left.
    """
    if transfer_syntax == instance.transfer_syntax or not datasets.can_recompress(
        instance.transfer_syntax, transfer_syntax
    ):
        return await instance.encoded(transfer_syntax)
    work = datasets.Recompression(
        await instance.recompressible(),
        instance.transfer_syntax,
        transfer_syntax,
        limits=channel.limits,
        convert=partial(datasets.processes.convert, timeout=channel.timeouts.transcode),
    )
    async for _ in _threads.pieces(work.check()):
        pass
    return await _threads.read(work.at_hand) or _pieces(work)


async def _pieces(work: datasets.Recompression) -> AsyncIterator[Buffer]:
    async for piece in _threads.pieces(work.pieces()):
        yield piece
