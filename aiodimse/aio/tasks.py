"""Tasks that nobody awaits. A reference keeps them alive, and their exceptions are logged without their texts.

What ended the association also ends its tasks, wherever they wait. That is not logged as a failure.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from aiodimse.aio.log import Adapter, AssociationLogger
from aiodimse.aio.threads import leave_behind
from aiodimse.aio.words import frames
from aiodimse.errors import AssociationError

_log = logging.getLogger("aiodimse.tasks")
_EAGER: dict[str, Any] = {"eager_start": True} if sys.version_info >= (3, 12) else {}


class Tasks:
    """The tasks of one association or server."""

    def __init__(self, logger: Callable[[logging.Logger], Adapter] | None = None) -> None:
        """logger: makes a logger whose lines are about the association."""
        self._logger = logger
        self._tasks: dict[asyncio.Task[Any], Callable[[asyncio.Task[Any]], None] | None] = {}
        self.on_empty: Callable[[], None] | None = None
        """Called when the last task has ended."""

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(
        self,
        coroutine: Coroutine[Any, Any, Any],
        name: str,
        on_end: Callable[[asyncio.Task[Any]], None] | None = None,
    ) -> asyncio.Task[Any]:
        """Run a coroutine in a task. From Python 3.12 on it runs at once, up to its first suspension.

        Args:
            coroutine: The coroutine.
            name: The name of the task, for the log.
            on_end: Called with the task when it has ended, however it did. A program that ends cancels every task of
                its loop, these too; and in a task that is cancelled before its first step not even a `finally` runs.
        """
        loop = asyncio.get_running_loop()
        task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, name=name, **_EAGER)
        self._tasks[task] = on_end
        if task.done():
            self._done(task)
        else:
            task.add_done_callback(self._done)
        return task

    def leave(self) -> None:
        """Forget the running task, whose coroutine returns next: to be told of its end takes a turn of the event loop.

        A task that is being cancelled may still end so, and is not forgotten yet; nor is one that began just now.
        """
        task = asyncio.current_task()
        if task in self._tasks and not task.cancelling():
            task.remove_done_callback(self._done)
            self._forget(task)

    def _done(self, task: asyncio.Task[Any]) -> None:
        if task.cancelled():
            # Once asked for, the CancelledError is no longer referenced by the task. Its traceback has frames that
            # reference the task: a cycle that would keep whole data sets.
            with suppress(asyncio.CancelledError):
                task.exception()
        elif isinstance(error := task.exception(), AssociationError):
            # The association keeps this error, and its traceback would keep what the frames of the task reference:
            # whole data sets.
            error.__traceback__ = None
        elif error is not None:
            log = AssociationLogger(_log, None) if self._logger is None else self._logger(_log)
            log.error("%s failed\n%s", task.get_name(), frames(error))
        self._forget(task)

    def _forget(self, task: asyncio.Task[Any]) -> None:
        on_end = self._tasks.pop(task)
        if on_end is not None:
            on_end(task)
        if not self._tasks and self.on_empty is not None:
            self.on_empty()

    def leave_behind(self) -> int:
        """Cancel what has not ended, and let it not wait for a disk that hangs; return how many tasks these are."""
        leave_behind(tuple(self._tasks))
        return len(self._tasks)

    async def wait(self) -> None:
        """Wait until all have ended.

        Cancellation: The tasks go on.
        """
        while self._tasks:
            await asyncio.wait(set(self._tasks))
