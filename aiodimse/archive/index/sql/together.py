"""One transaction for the objects that threads add at the same time."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Final

from ..records import Header

_MOST: Final = 256
"""The most objects in one transaction."""


class _Transaction:
    """Objects that are added at once, or not at all."""

    __slots__ = ("done", "headers")

    def __init__(self) -> None:
        self.headers: list[Header] = []
        self.done: Future[None] = Future()
        self.done.set_running_or_notify_cancel()  # From here on nobody can cancel it.


class Together:
    """Adds what several threads bring.

    A thread that writes while no transaction is under way runs one itself, so that a store takes no other trip. What is
    added meanwhile waits for the next transaction, which runs in the thread that writes for everybody: no thread is
    kept by what others add after it.

    Args:
        take: Runs one transaction, and blocks.
        elsewhere: Calls a function in the thread that writes.
    """

    def __init__(
        self, take: Callable[[Sequence[Header]], None], elsewhere: Callable[[Callable[[], None]], object]
    ) -> None:
        self._take, self._elsewhere = take, elsewhere
        self._lock = threading.Lock()
        self._waiting: deque[_Transaction] = deque()
        self._is_busy = False

    def add(self, header: Header) -> Future[None]:
        """Add an object to the next transaction.

        Args:
            header: What was read from the object.

        Returns:
            Done when that transaction has ended, with the exception that it ended with.
        """
        with self._lock:
            if not self._waiting or len(self._waiting[-1].headers) >= _MOST:
                self._waiting.append(_Transaction())
            transaction = self._waiting[-1]
            transaction.headers.append(header)
            return transaction.done

    def write(self) -> None:
        """Write what has been added. Returns at once where somebody else is at it, or nothing waits."""
        with self._lock:
            if self._is_busy or not self._waiting:
                return
            self._is_busy = True
        self._run()

    def _run(self) -> None:
        """Run one transaction, and leave what came meanwhile to the thread that writes."""
        with self._lock:
            transaction = self._waiting.popleft()
        error: BaseException | None = None
        try:
            self._take(transaction.headers)
        except BaseException as caught:
            error = caught
        with self._lock:
            more_came = self._is_busy = bool(self._waiting)
        transaction.done.set_result(None) if error is None else transaction.done.set_exception(error)
        if more_came:
            try:
                self._elsewhere(self._run)
            except BaseException:
                with self._lock:
                    self._is_busy = False  # The next one who writes takes it along.
                raise
