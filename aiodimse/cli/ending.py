"""The last line of defense: a process that was told to end does end, whatever hangs in it."""

from __future__ import annotations

import os
import sys
import threading
from time import monotonic

from aiodimse.aio.thread_pool import in_words

_TO_SAY = 1.0
"""Seconds that nobody may read what is said last."""


class Ending:
    """Ends the process when it has been told to end and does not.

    What hangs is left behind in time where we know of it: see `Threads.close`. This is for the rest: a name server that
    does not answer, a callback of somebody's, an error of ours.

    Args:
        prog: What the command is called.
    """

    def __init__(self, prog: str) -> None:
        self._prog = prog
        self._timer: threading.Timer | None = None

    def within(self, seconds: float, code: int) -> None:
        """Give the process so long from now on. An earlier call holds no more.

        Args:
            seconds: After which it is ended, with one line on standard error.
            code: Its exit status then.
        """
        self.disarm()
        self._timer = threading.Timer(seconds, self._end, (monotonic(), code))
        self._timer.daemon = True
        self._timer.start()

    def disarm(self) -> None:
        """Let it go on: what was told to end has ended, in a process that has more to do."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end(self, began: float, code: int) -> None:
        saying = threading.Thread(target=self._say, args=(monotonic() - began,), daemon=True)
        saying.start()
        saying.join(_TO_SAY)
        os._exit(code)

    def _say(self, seconds: float) -> None:
        threads = in_words() or ", ".join(each.name for each in threading.enumerate() if not each.daemon)
        print(
            f"{self._prog}: ended by force {seconds:.0f} s after it was told to end; under way: {threads}",
            file=sys.stderr,
            flush=True,
        )
