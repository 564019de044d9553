"""How serve ends: the signals that it counts, and the last resort, which ends a process whatever hangs in it."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from time import monotonic

import aiodimse
from aiodimse.aio.thread_pool import in_words
from aiodimse.cli import signals
from aiodimse.cli.failures import FAILED

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


def longest_end(timeouts: aiodimse.Timeouts) -> float:
    """Return the seconds that a worker, or serve without workers, may take to end.

    Behind the associations, handlers, the archive's background, its locks and its index may each take as long as one
    handler.
    """
    return timeouts.server_drain + 4 * timeouts.handler_close


class Stop:
    """Counts signals: the first one ends serving, the second one cancels the command, which aborts what still runs.

    Args:
        ending: Ends the process where that takes longer than it may.
        timeouts: How long it may.
    """

    def __init__(self, ending: Ending, timeouts: aiodimse.Timeouts) -> None:
        self._ending, self._timeouts = ending, timeouts
        self._task = asyncio.current_task()
        self._received = asyncio.Event()
        self._is_over = False
        self.number: int | None = None
        """The first signal."""
        self.is_aborting = False
        """Whether there was a second signal."""

    def received(self, number: int) -> None:
        """Count a signal. SIGHUP is no second one: a shell and the system may both tell that a terminal was closed."""
        if self._is_over:
            return
        within = longest_end(self._timeouts)
        if self.number is None:
            self.number = number
            self._ending.within(within, FAILED)
            self._received.set()
        elif number not in signals.HANGUP and not self.is_aborting and self._task is not None:
            self.is_aborting = True
            self._ending.within(within - self._timeouts.server_drain, FAILED)
            self._task.cancel()

    def end(self) -> None:
        """Ignore signals from now on. Everything has ended, so that they could only change the exit status."""
        self._is_over = True

    async def wait(self) -> None:
        """Wait for the first signal."""
        await self._received.wait()
