"""Tells whether this process is about to run out of file descriptors, by one system call from time to time."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

if sys.platform != "win32":
    import resource

_SPARE = 10
"""The last tenth of the descriptors is kept for connections, and for whoever looks for what is wrong."""
_LOOK_AGAIN = 0.02
"""Seconds for which an answer is used again."""


class Descriptors:
    """The file descriptors of this process, whose number RLIMIT_NOFILE limits."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        """Make it without asking the system yet.

        Args:
            now: Tells the time in seconds.
        """
        self._now = now
        self._are_short, self._looked_at = False, -_LOOK_AGAIN

    def are_short(self) -> bool:
        """Return whether nine tenths of them are open, so that requests that would open more should be refused.

        A new descriptor gets the lowest free number, so all numbers below it are in use. It is False on Windows.
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
