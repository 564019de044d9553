"""Work on files, off the event loop, in a bounded pool of threads that belongs to the library.

The default executor of the loop belongs to the application. A disk that hangs must not block it, and slow work of the
application must not block ours.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from aiodimse.aio.rounds import Rounds
from aiodimse.aio.threads import Threads

T = TypeVar("T")

WORKERS = 8
_threads = Threads(WORKERS, "aiodimse-files")

off_loop = _threads.run_to_end
clean_up_off_loop = _threads.clean_up
read_off_loop = _threads.run
pieces_off_loop = _threads.pieces


def rounds_off_loop(take: Callable[[Sequence[T]], float]) -> Rounds[T]:
    """Return rounds of work on files; see `Rounds`."""
    return Rounds(_threads, take)
