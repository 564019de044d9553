"""Retrieval at the FRAME level from an archive (PS3.4 Y.4)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import deepcopy
from typing import Final

from pydicom import Dataset

import aiodimse

from .archive import Archive
from .frames import FramesRefused, asked_frames, extract
from .threads import in_thread

_LONGEST_WAIT: Final = 60.0
"""Seconds that a retrieval waits for its turn."""


async def extracted(archive: Archive, identifier: Dataset) -> Dataset:
    """Make the instance that an Identifier asks for. It is sent and not stored.

    Args:
        archive: The archive that has the source.
        identifier: The Identifier of a C-GET or C-MOVE request, at the FRAME level.

    Returns:
        The new instance.

    Raises:
        aiodimse.DIMSEFailure: The instance cannot be made; the status is one of AA00 to AA04, or A702 if other
            instances were read for too long. AA00 if the archive does not have the source: PS3.4 Y.4.1.3 says that an
            instance is made, so none is no Success, while at the IMAGE level there may be no entities.

    Cancellation: nothing is sent. A thread that copies pixels continues to its end.
    """
    try:
        frames = await in_thread(asked_frames, identifier)  # it may name 260,000 frames, which takes 60 ms
        with archive.availability.asked(0xA701):
            entry = (await archive.index.lookup([frames.sop_instance_uid])).get(frames.sop_instance_uid)
        if entry is None:
            raise FramesRefused(0xAA00, "no instance has this SOP Instance UID")
        async with _turn(archive):
            source = await _dataset(archive.storage.payload(entry))
            return await in_thread(extract, source, frames)
    except FramesRefused as error:
        raise aiodimse.DIMSEFailure(error.status, error.comment) from None
    except aiodimse.DatasetTooLarge:
        raise aiodimse.DIMSEFailure(0xAA02, "the instance is too large to take frames out of it") from None
    except (aiodimse.DatasetDecodeError, aiodimse.InstanceConflict, aiodimse.NotDICOM, OSError):
        raise aiodimse.DIMSEFailure(0xAA02, "the instance cannot be read") from None


@asynccontextmanager
async def _turn(archive: Archive) -> AsyncIterator[None]:
    """Wait until an instance may be read into memory, and keep others from it meanwhile.

    Raises:
        aiodimse.DIMSEFailure: Others took too long.
    """
    try:
        async with asyncio.timeout(_LONGEST_WAIT):
            await archive.extracting.acquire()
    except TimeoutError:
        raise aiodimse.DIMSEFailure(0xA702, "frames are taken out of too many instances") from None
    try:
        yield
    finally:
        archive.extracting.release()


async def _dataset(payload: aiodimse.InstanceSource) -> Dataset:
    """Read a data set that may be changed."""
    if isinstance(payload, Dataset):
        return deepcopy(payload)
    if isinstance(payload, aiodimse.ReferencedFile):
        payload = await aiodimse.Instance.open(payload.path, sop_instance_uid=payload.sop_instance_uid)
    elif not isinstance(payload, aiodimse.Instance):
        payload = await aiodimse.Instance.open(payload)
    return await payload.dataset()
