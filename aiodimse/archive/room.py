"""Checks that the storage has enough room, so that C-STOREs are refused before the disk is full."""

from __future__ import annotations

import logging
from time import monotonic

from .storage import Storage
from .threads import in_thread

_UNITS = (" bytes", "K", "M", "G", "T")
_log = logging.getLogger(__name__)

_SECONDS = 1.0
"""How long an answer of the system is used, in seconds."""


class Room:
    """The free room of a storage.

    Args:
        storage: The storage.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.least: int = 0
        """Bytes that have to stay free. 0: the disk may be filled completely."""
        self._is_enough = True
        self._asked = -_SECONDS

    async def is_enough(self) -> bool:
        """Return whether there is enough room to store more."""
        if self.least and monotonic() >= self._asked + _SECONDS:
            self._asked = monotonic()
            try:
                free = await in_thread(self._storage.free_bytes)
            except OSError:  # saving will fail, and say what is wrong with the storage
                free = None
            is_enough = free is None or free >= self.least
            if is_enough != self._is_enough:
                self._is_enough = is_enough
                if is_enough:
                    _log.warning("there is room on the disk again: C-STORE is accepted")
                else:
                    _log.error("every C-STORE is refused: less than %s of the disk is free", _size(self.least))
        return self._is_enough or not self.least


def _size(number: int) -> str:
    """Write a number of bytes as the options of serve do, in whole K, M, G or T of 1024 where it has them."""
    unit = 0
    while number and number % 1024 == 0 and unit < len(_UNITS) - 1:
        number, unit = number // 1024, unit + 1
    return f"{number}{_UNITS[unit]}"
