"""Ending what a task awaits, for a reason, and without taking anybody else's cancellation for our own.

A deadline (clock.py), the end of an association (end.py) and whatever else cuts an await short are built on this.
"""

from __future__ import annotations

import asyncio
from types import TracebackType


class Interrupt:
    """`with interrupt:` what is awaited inside can be ended from outside by `fire`.

    The task is cancelled where it waits, as asyncio.timeout does it; when the block is left, that cancellation is taken
    back, and the error of `fire` is raised instead of the CancelledError. If the task is being cancelled by somebody
    else as well, CancelledError stays. A result or another exception of the block stays as well. An interrupt is
    entered once.
    """

    __slots__ = ("_cancelling", "_error", "_task")

    def __init__(self) -> None:
        self._task: asyncio.Task[object] | None = None
        self._error: BaseException | None = None

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        assert self._task is not None
        self._cancelling = self._task.cancelling()  # by others, before: the task may be cleaning up

    def fire(self, error: BaseException) -> None:
        """End what the task awaits inside the block, which then raises this error.

        Nothing happens outside the block, after the first call, and where the task itself calls: it waits for nothing.
        """
        if self._error is None and self._task is not None and self._task is not asyncio.current_task():
            self._error = error
            self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._leave(kind):
            assert self._error is not None
            raise self._error from error

    def _leave(self, kind: type[BaseException] | None) -> bool:
        """Take the cancellation back; whether it was ours that ended the block."""
        task, self._task = self._task, None
        if self._error is None:
            return False
        assert task is not None
        ours = task.uncancel() <= self._cancelling
        return ours and kind is not None and issubclass(kind, asyncio.CancelledError)
