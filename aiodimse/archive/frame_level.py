"""Retrieval at the FRAME level from an archive (PS3.4 Y.4)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from copy import deepcopy
from typing import Any, Final

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

    Cancellation: nothing is sent. What reads the instance, or copies its pixels, continues to its end, and the next
        retrieval waits for that.
    """
    try:
        frames = await in_thread(asked_frames, identifier)  # it may name 260,000 frames, which takes 60 ms
        with archive.availability.asked(0xA701):
            entry = (await archive.index.lookup([frames.sop_instance_uid])).get(frames.sop_instance_uid)
        if entry is None:
            raise FramesRefused(0xAA00, "no instance has this SOP Instance UID")
        async with _turn(archive) as turn:
            source = await turn.run(_dataset(archive.storage.payload(entry)))
            return await turn.run(in_thread(extract, source, frames))
    except FramesRefused as error:
        raise aiodimse.DIMSEFailure(error.status, error.comment) from None
    except aiodimse.DatasetTooLarge:
        raise aiodimse.DIMSEFailure(0xAA02, "the instance is too large to take frames out of it") from None
    except (aiodimse.DatasetDecodeError, aiodimse.InstanceConflict, aiodimse.NotDICOM, OSError):
        raise aiodimse.DIMSEFailure(0xAA02, "the instance cannot be read") from None


class _Turn:
    """The time in which one retrieval has an instance in memory.

    Args:
        end: Called when it has none any more.
    """

    def __init__(self, end: Callable[[], None]) -> None:
        self._end = end
        self._work: asyncio.Task[Dataset] | None = None

    async def run(self, work: Coroutine[Any, Any, Dataset]) -> Dataset:
        """Await work that has the instance in memory.

        Cancellation: raises at once. The work continues, because a thread that has begun cannot be stopped.
        """
        self._work = asyncio.create_task(work, name="frames of an instance")
        return await asyncio.shield(self._work)

    def leave(self) -> None:
        """End the turn now, or when the work that was left has ended."""
        if self._work is None or self._work.done():
            self._end()
        else:
            self._work.add_done_callback(self._ended)

    def _ended(self, work: asyncio.Task[Dataset]) -> None:
        if not work.cancelled():
            work.exception()  # which nobody waits for: the association has ended
        self._end()


@asynccontextmanager
async def _turn(archive: Archive) -> AsyncIterator[_Turn]:
    """Wait until an instance may be read into memory, and keep others from it until it is no longer in memory.

    Raises:
        aiodimse.DIMSEFailure: Others took too long.
    """
    try:
        async with asyncio.timeout(_LONGEST_WAIT):
            await archive.extracting.acquire()
    except TimeoutError:
        raise aiodimse.DIMSEFailure(0xA702, "frames are taken out of too many instances") from None
    turn = _Turn(archive.extracting.release)
    try:
        yield turn
    finally:
        turn.leave()


async def _dataset(payload: aiodimse.InstanceSource) -> Dataset:
    """Read a data set that may be changed."""
    if isinstance(payload, Dataset):
        return deepcopy(payload)
    if isinstance(payload, aiodimse.ReferencedFile):
        payload = await aiodimse.Instance.open(payload.path, sop_instance_uid=payload.sop_instance_uid)
    elif not isinstance(payload, aiodimse.Instance):
        payload = await aiodimse.Instance.open(payload)
    return await payload.dataset()
