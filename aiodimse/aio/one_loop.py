"""What belongs to one event loop is used on that one only: asyncio has no locks against anything else."""

from __future__ import annotations

import asyncio
import threading

from aiodimse.errors import LocalProtocolError


class OneLoop:
    """The event loop and the thread that something was made on."""

    __slots__ = ("_loop", "_thread", "_what")

    def __init__(self, what: str) -> None:
        """Remember the running event loop.

        Args:
            what: What belongs to it, for the words of the error.
        """
        self._what = what
        self._loop = asyncio.get_running_loop()
        self._thread = threading.current_thread()

    def check(self) -> None:
        """Look whether the caller is on the same event loop; nothing is awaited, and it costs 0.1 us.

        Raises:
            LocalProtocolError: It is not. Nothing was changed.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            if threading.current_thread() is self._thread:  # The loop stands still: nobody is disturbed.
                return
        else:
            if loop is self._loop:
                return
        raise LocalProtocolError(
            f"{self._what} belongs to one event loop, of the thread {self._thread.name!r}, and was used on another:"
            " give that loop the coroutine with asyncio.run_coroutine_threadsafe(coroutine, loop), or a plain call with"
            " loop.call_soon_threadsafe(function)"
        )
