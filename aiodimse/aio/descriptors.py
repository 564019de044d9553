"""Whether this process is about to run out of file descriptors, at the price of one system call now and then."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

if sys.platform != "win32":
    import resource

_SPARE = 10
"""The last so many-th part of the descriptors is for connections, and for who wants to look what is wrong."""
_LOOK_AGAIN = 0.02
"""Seconds for which an answer holds."""


class Descriptors:
    """The file descriptors of this process, of which RLIMIT_NOFILE says how many there can be."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """Look at nothing yet.

        Args:
            now: Tells the time in seconds.
        """
        self._now = now
        self._are_short, self._looked_at = False, -_LOOK_AGAIN

    def are_short(self) -> bool:
        """Say whether nine tenths are open: whoever would open more should be refused.

        A new descriptor gets the lowest number that is free, so that all below it are taken. On Windows it is False.
        """
        now = self._now()
        if now - self._looked_at >= _LOOK_AGAIN:
            self._looked_at, self._are_short = now, _are_short()
        return self._are_short


def _are_short() -> bool:
    if sys.platform == "win32":
        return False
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if most == resource.RLIM_INFINITY:
        return False
    try:
        lowest = os.open(os.devnull, os.O_RDONLY)
    except OSError:
        return True
    os.close(lowest)
    return lowest >= most - most // _SPARE
