"""What an application gives us to wait for must not keep it waiting when the association has ended meanwhile."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aiodimse.aio.endpoint import Endpoint


class WhileOpen:
    """`with WhileOpen(connection):` where the association ends, what is awaited inside is cancelled, and what ended the
    association is raised. As asyncio.timeout does it, so that the source of an instance finds itself in the task of who
    sends it.
    """

    __slots__ = ("_cancelled", "_cancelling", "_endpoint", "_task")

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._cancelled = False

    def __enter__(self) -> None:
        if self._endpoint.error is not None:
            raise self._endpoint.error
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()  # by others, before: it may be cleaning up
        self._endpoint.waiting_for_others.add(self)

    def association_ended(self) -> None:
        """Cancel what is awaited, unless it is from there that the association was ended."""
        if self._task is not asyncio.current_task():
            self._cancelled = True
            self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._endpoint.waiting_for_others.discard(self)
        if (ended_by := self._endpoint.error) is None:
            return
        ours = self._cancelled and self._task.uncancel() <= self._cancelling
        if kind is None or issubclass(kind, StopAsyncIteration) or (ours and issubclass(kind, asyncio.CancelledError)):
            raise ended_by
