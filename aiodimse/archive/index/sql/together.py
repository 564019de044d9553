"""One transaction for the objects that threads add at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Final

from ..interface import Header

_MOST: Final = 256
"""The most objects in one transaction."""


class Together:
    """Adds what several threads bring.

    Who finds nobody at it does it in his own thread, so that a store takes no other trip. What comes meanwhile waits
    for the next transaction, which is left to the thread that writes: so nobody is kept by what comes behind him.

    Args:
        take: Runs one transaction, and blocks.
        elsewhere: Calls a function in the thread that writes.
    """

    def __init__(
        self, take: Callable[[Sequence[Header]], None], elsewhere: Callable[[Callable[[], None]], object]
    ) -> None:
        self._take, self._elsewhere = take, elsewhere
        self._lock = threading.Lock()
        self._waiting: list[tuple[Header, Future[None]]] = []
        self._is_busy = False

    def add(self, header: Header) -> Future[None]:
        """Add an object. Returns at once where somebody else is at it.

        Args:
            header: What was read from the object.

        Returns:
            Done when its transaction has ended, with the exception that it ended with.
        """
        done: Future[None] = Future()
        done.set_running_or_notify_cancel()  # From here on nobody can cancel it.
        with self._lock:
            self._waiting.append((header, done))
            if self._is_busy:
                return done
            self._is_busy = True
        self._run()
        return done

    def _run(self) -> None:
        """Run one transaction, and leave what came meanwhile to the thread that writes."""
        with self._lock:
            batch, self._waiting = self._waiting[:_MOST], self._waiting[_MOST:]
        error: BaseException | None = None
        try:
            self._take([header for header, _ in batch])
        except BaseException as caught:
            error = caught
        with self._lock:
            more_came = self._is_busy = bool(self._waiting)
        if more_came:
            self._elsewhere(self._run)
        for _, done in batch:
            done.set_result(None) if error is None else done.set_exception(error)
