"""The threads in which archives look at files: not those of the event loop, which the end of a program waits for.

A disk that hangs takes them away from all archives of the process, and from nobody else.
"""

from __future__ import annotations

from typing import Final

import aiodimse

WORKERS: Final = 8
_threads: Final = aiodimse.Threads(WORKERS, "aiodimse-archive")

in_thread = _threads.run
