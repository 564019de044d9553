"""Notes that studies were received again, so that `Retention` counts their age from then."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from time import monotonic, time_ns

from .batches import Batches
from .index import Index

_MINUTE = 60
"""Seconds by which an age may be wrong: a study is noted once in that time, however many of its objects come again."""
_MOST = 4096
"""The largest number of studies that are remembered as noted."""


class Received:
    """Notes in the index that objects were acknowledged which it has already, and whose files are older.

    Args:
        index: The index.
    """

    def __init__(self, index: Index) -> None:
        self._index = index
        self._noted: dict[str, float] = {}
        """When this process noted studies, the oldest first."""
        self._batches = Batches(self._note)

    async def again(self, studies: Collection[tuple[str, int]]) -> None:
        """Note that objects are acknowledged.

        It is called before that, under a lock that keeps them from being removed.

        Args:
            studies: The Study Instance UID of each, "" if it belongs to no study, and when its file was written, in
                nanoseconds.

        Raises:
            Exception: What the index raises.
        """
        now, recently = monotonic(), time_ns() - _MINUTE * 10**9
        uids = {uid for uid, modified in studies if uid and modified < recently and not self._is_noted(uid, now)}
        if uids:
            await self._batches.add(uids)

    def _is_noted(self, study_instance_uid: str, now: float) -> bool:
        return now - self._noted.get(study_instance_uid, now - _MINUTE) < _MINUTE

    async def _note(self, studies: Sequence[Collection[str]]) -> None:
        uids, now = set[str]().union(*studies), monotonic()
        await self._index.set_received(uids, time_ns())
        for uid in uids:
            self._noted.pop(uid, None)
            self._noted[uid] = now
        while len(self._noted) > _MOST:
            del self._noted[next(iter(self._noted))]
