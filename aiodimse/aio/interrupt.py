"""Ends what a task awaits, for a reason of ours, and tells our cancellation from that of others.

Deadlines (clock.py), the end of an association (end.py), and the end of a handler by C-CANCEL
(services/provider/handler_run.py) are built on this.
"""

from __future__ import annotations

import asyncio
from types import TracebackType


class Interrupt:
    """A block in which an await can be ended from outside: `with interrupt:` and `interrupt.fire(error)`.

    The task is cancelled where it waits, as asyncio.timeout does it. When the block is left, that cancellation is taken
    back, and the error given to `fire` is raised instead of CancelledError. If somebody else cancels the task as well,
    CancelledError stays. A result or another exception of the block stays as well. A block that was left may be entered
    again.
    """

    __slots__ = ("_cancelling", "_error", "_task")

    def __init__(self) -> None:
        self._task: asyncio.Task[object] | None = None
        self._error: BaseException | None = None

    @property
    def has_fired(self) -> bool:
        """Whether a task is inside the block, and its await has been ended."""
        return self._error is not None

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
        ended_by = self._leave(kind)
        if ended_by is not None:
            try:
                raise ended_by from error
            finally:
                del ended_by  # The traceback has this frame: a cycle that would keep all that its frames reference.

    def _leave(self, kind: type[BaseException] | None) -> BaseException | None:
        """Take our cancellation back, if there was one, and return the error if it was ours that ended the block."""
        task, self._task = self._task, None
        error, self._error = self._error, None  # Kept, its traceback would keep what the frames of the task reference.
        if error is None:
            return None
        assert task is not None
        is_ours = task.uncancel() <= self._cancelling
        return error if is_ours and kind is not None and issubclass(kind, asyncio.CancelledError) else None


def is_own_cancellation(error: BaseException) -> bool:
    """Return whether an exception is the cancellation of the running task.

    Any other CancelledError is a failure like any other: what the task awaited was cancelled by others, or raised it.
    """
    return isinstance(error, asyncio.CancelledError) and cancellations() > 0


def cancellations() -> int:
    """Return how often the running task was cancelled, without the times that were taken back.

    Who catches CancelledError knows by it whether the task itself was cancelled, or something that it awaited.
    """
    task = asyncio.current_task()
    assert task is not None
    return task.cancelling()
