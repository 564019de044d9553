"""Where a worker's processor time goes: its stack, every millisecond of processor time, with little distortion.

cProfile triples the cost of Python calls but not that of C calls, and so blames small functions; sampling does not.
The time of a C function or a system call counts for the Python line that called it.
"""

from __future__ import annotations

import signal
import sys
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

INTERVAL = 0.001
_WAITING = ("threading.py", "selectors.py", "thread.py")  # the position of an idle thread of a pool
_ROOT = str(Path(__file__).parents[2]) + "/"

_selves: Counter[str] = Counter()
_totals: Counter[str] = Counter()
_taken = 0


def _name(frame: FrameType, *, line: bool) -> str:
    code = frame.f_code
    where = code.co_filename.removeprefix(_ROOT)
    if "/" in where and where.startswith("/"):
        where = "/".join(where.split("/")[-2:])
    return f"{where}{f':{frame.f_lineno}' if line else ''} {code.co_qualname}"


def _take(_: int, main: FrameType | None) -> None:
    global _taken
    _taken += 1
    frames: list[FrameType | None] = [main]
    if len(current := sys._current_frames()) > 1:  # the pool for files
        frames += [frame for frame in current.values() if _name_of_file(frame) not in _WAITING]
        frames = [f for f in frames if f is main or (f is not None and f.f_code is not _take.__code__)]
    for leaf in frames:
        if leaf is None:
            continue
        _selves[_name(leaf, line=True)] += 1
        seen: set[str] = set()
        frame: FrameType | None = leaf
        while frame is not None:
            seen.add(_name(frame, line=False))
            frame = frame.f_back
        _totals.update(seen)


def _name_of_file(frame: FrameType) -> str:
    return frame.f_code.co_filename.rpartition("/")[2]


async def start() -> None:
    """Drop all samples."""
    global _taken
    _selves.clear()
    _totals.clear()
    _taken = 0
    signal.signal(signal.SIGPROF, _take)
    signal.setitimer(signal.ITIMER_PROF, INTERVAL, INTERVAL)


async def stop() -> dict[str, Any]:
    """Return the most frequent lines and functions, as shares of all samples."""
    signal.setitimer(signal.ITIMER_PROF, 0, 0)
    every = max(_taken, 1)
    return {
        "samples": _taken,
        "self": [(name, count / every) for name, count in _selves.most_common(60)],
        "total": [(name, count / every) for name, count in _totals.most_common(60)],
    }
