"""What an archive has seen of the system's clock, so that a clock that is wrong does not make every study old."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic, time
from typing import Final

if sys.platform == "linux":
    from time import CLOCK_BOOTTIME, clock_gettime

DAY: Final = 24 * 3600


def since_boot() -> float:
    """Return seconds of a clock that nobody sets, and that goes on while the machine sleeps."""
    return clock_gettime(CLOCK_BOOTTIME) if sys.platform == "linux" else monotonic()


@dataclass(frozen=True, slots=True)
class ClockRecord:
    """The newest time that the clock had, and the spans that it skipped. All times are in seconds.

    Nobody can tell a clock that is wrong from an archive that was not in use. A span that was skipped therefore counts
    for the age of no study, whichever it was.
    """

    newest: float
    """The newest time at which the clock was read."""
    skipped: tuple[tuple[float, float], ...] = ()
    """Spans, the oldest first: where the clock was, and where it was when it was read next."""

    @classmethod
    def load(cls, text: str) -> ClockRecord:
        """Read what `dump` wrote."""
        newest, skipped = json.loads(text)
        return cls(newest, tuple((start, end) for start, end in skipped))

    def dump(self) -> str:
        """Return the record as text."""
        return json.dumps([self.newest, self.skipped])

    def read(self, now: float, plausible: float) -> ClockRecord:
        """Return the record after the clock was read.

        Args:
            now: The time of the clock.
            plausible: The longest time for which the clock may not have been read.
        """
        # If the clock is inside a span that it had skipped, it was wrong and has been set back.
        kept = tuple(span for span in self.skipped if not span[0] - DAY <= now < span[1])
        newest = min((start for start, _ in set(self.skipped) - set(kept)), default=self.newest)
        if now <= newest + plausible:
            return ClockRecord(max(now, newest), kept)
        if kept and newest - kept[-1][1] < DAY:  # so there are never more spans than days
            newest, kept = kept[-1][0], kept[:-1]
        return ClockRecord(now, (*kept, (newest, now)))

    def before(self, now: float, seconds: float) -> float:
        """Return the time that was so many seconds before the time of the clock, without the spans that it skipped."""
        for start, end in reversed(self.skipped):
            if end <= now and now - end < seconds:
                now, seconds = start, seconds - (now - end)
        return now - seconds


class CheckedClock:
    """The system's clock, which is compared with one that cannot be set.

    Args:
        now: Returns the time in seconds of the system's clock.
        elapsed: Returns the time in seconds of a clock that cannot be set.
    """

    def __init__(self, now: Callable[[], float] = time, elapsed: Callable[[], float] = since_boot) -> None:
        self._now, self._elapsed = now, elapsed
        self._is_first = True
        self.now, self.elapsed = now(), elapsed()
        """Both times, as they were read last."""
        self._before = self.now, self.elapsed

    def read(self) -> None:
        """Read both clocks."""
        self._before = self.now, self.elapsed
        self.now, self.elapsed = self._now(), self._elapsed()

    def recorded(self, record: ClockRecord, pause: float) -> ClockRecord:
        """Return a record after the clock was read.

        Args:
            record: The record.
            pause: The longest time in seconds for which it may not have been read before this program began.
        """
        if self._is_first:
            record, self._is_first = record.read(self._before[0], pause), False
        return record.read(self.now, self.elapsed - self._before[1] + DAY)
