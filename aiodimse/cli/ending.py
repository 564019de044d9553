"""The last resort when a process does not end: it is ended by force, whatever hangs in it."""

from __future__ import annotations

import os
import sys
import threading
from time import monotonic

from aiodimse.aio.thread_pool import in_words

_TO_SAY = 1.0
"""Seconds that the last line may take, because nobody may be reading it."""


class Ending:
    """Ends the process by force if it does not end in time.

    `Threads.close` abandons known threads that hang before that. This is for everything else: a name server that does
    not answer, a callback of another library, a defect of ours.

    Args:
        prog: The name of the command.
    """

    def __init__(self, prog: str) -> None:
        self._prog = prog
        self._timer: threading.Timer | None = None

    def within(self, seconds: float, code: int) -> None:
        """Set the time that the process may still take. This replaces the time of an earlier call.

        Args:
            seconds: The time, after which the process is ended with one line on standard error.
            code: The exit status in that case.
        """
        self.disarm()
        self._timer = threading.Timer(seconds, self._end, (monotonic(), code))
        self._timer.daemon = True
        self._timer.start()

    def disarm(self) -> None:
        """Stop the timer, because the command has ended but its process continues."""
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
