"""Work on files, off the event loop, in a bounded pool of the library's own.

The loop's default executor is the application's; a disk that hangs must not take it away, nor the other way round.
"""

from __future__ import annotations

from aiodimse.aio.threads import Threads

WORKERS = 8
_threads = Threads(WORKERS, "aiodimse-files")

off_loop = _threads.change
clean_up_off_loop = _threads.clean_up
read_off_loop = _threads.read
pieces_off_loop = _threads.pieces
