"""Ends what a task awaits, for a reason of ours, and tells our cancellation from that of others.

Deadlines (clock.py), the end of an association (end.py), and whatever else cuts an await short are built on this.
"""

from __future__ import annotations

import asyncio
from types import TracebackType


class Interrupt:
    """A block in which an await can be ended from outside: `with interrupt:` and `interrupt.fire(error)`.

    The task is cancelled where it waits, as asyncio.timeout does it. When the block is left, that cancellation is taken
    back, and the error given to `fire` is raised instead of CancelledError. If somebody else cancels the task as well,
    CancelledError stays. A result or another exception of the block stays as well. An interrupt is entered once.
    """

    __slots__ = ("_cancelling", "_error", "_task")

    def __init__(self) -> None:
        self._task: asyncio.Task[object] | None = None
        self._error: BaseException | None = None

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        assert self._task is not None
        # Cancellations before the block, by others: the task may be cleaning up after one.
        self._cancelling = self._task.cancelling()

    def fire(self, error: BaseException) -> None:
        """End what the task awaits inside the block. The block then raises this error.

        Nothing happens outside the block, after the first call, and if the task itself calls, since it waits for
        nothing then.
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
        """Take the cancellation back, and say whether it was ours that ended the block."""
        task, self._task = self._task, None
        if self._error is None:
            return False
        assert task is not None
        ours = task.uncancel() <= self._cancelling
        return ours and kind is not None and issubclass(kind, asyncio.CancelledError)
