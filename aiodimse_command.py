"""The entry point of the command `aiodimse`.

It is outside the package, because importing any module of the package imports all of the library and pydicom, which
takes some 0.2 s. Ctrl-C in that time ends the process without a traceback.
"""

from __future__ import annotations

import os
import signal
from types import FrameType

_INTERRUPTED = 130
"""The exit status after Ctrl-C, as in aiodimse/cli/failures.py."""


def main() -> int:
    """Import the command line and run it. Returns the exit status."""
    before = signal.getsignal(signal.SIGINT)
    try:
        if before is signal.default_int_handler:  # otherwise SIGINT is ignored, as in the background of a script
            signal.signal(signal.SIGINT, _leave)
        from aiodimse.cli.main import main as run

        signal.signal(signal.SIGINT, before)  # asyncio handles SIGINT only in the place of this handler
        return run()
    except KeyboardInterrupt:  # before or after what `run` itself handles
        return _INTERRUPTED


def _leave(number: int, frame: FrameType | None) -> None:
    """End the process at once. An exception in the middle of an import would be printed, or lost in a callback."""
    os._exit(_INTERRUPTED)
