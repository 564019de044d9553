"""Refuses the use of an object on another event loop than its own, because asyncio has no locks against that."""

from __future__ import annotations

import asyncio
import threading

from aiodimse.errors import LocalProtocolError


class OneLoop:
    """The event loop and the thread in which an object was made."""

    __slots__ = ("_loop", "_thread", "_what")

    def __init__(self, what: str) -> None:
        """Remember the running event loop.

        Args:
            what: What was made, for the text of the error.
        """
        self._what = what
        self._loop: asyncio.AbstractEventLoop | None
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:  # made where no loop runs, as a pool may be: it belongs to the loop of its first use
            self._loop = None
        self._thread = threading.current_thread()

    def check(self) -> None:
        """Check that the caller runs on the same event loop. This takes 0.1 us.

        Raises:
            LocalProtocolError: It runs on another one, or in another thread.
        """
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            if threading.current_thread() is self._thread:  # The loop does not run at present.
                return
        else:
            if loop is self._loop:
                return
            if self._loop is None:
                self._loop, self._thread = loop, threading.current_thread()
                return
        raise LocalProtocolError(
            f"{self._what} belongs to one event loop, of the thread {self._thread.name!r}, and was used on another:"
            " give that loop the coroutine with asyncio.run_coroutine_threadsafe(coroutine, loop), or a plain call with"
            " loop.call_soon_threadsafe(function)"
        )
