"""Tasks that nobody awaits: kept alive by a reference, their exceptions logged, without their texts."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable, Coroutine
from typing import Any

from aiodimse.aio.log import Adapter, AssociationLogger, frames

_log = logging.getLogger("aiodimse.tasks")
_EAGER: dict[str, Any] = {"eager_start": True} if sys.version_info >= (3, 12) else {}


class Tasks:
    """The tasks of one association or server."""

    def __init__(self, logger: Callable[[logging.Logger], Adapter] | None = None) -> None:
        """logger: makes one speak of the association."""
        self._logger = logger
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def spawn(self, coroutine: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        """Run the coroutine in a task, from 3.12 on at once up to its first suspension."""
        loop = asyncio.get_running_loop()
        task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, name=name, **_EAGER)
        if task.done():
            self._report(task)
        else:
            self._tasks.add(task)
            task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        self._report(task)

    def _report(self, task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            log = AssociationLogger(_log, None) if self._logger is None else self._logger(_log)
            log.error("%s failed\n%s", task.get_name(), frames(error))

    def cancel(self) -> None:
        """Ask all of them to end."""
        for task in list(self._tasks):
            task.cancel()

    async def wait(self) -> None:
        """Wait until all have ended; a cancelled wait leaves them running."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))
