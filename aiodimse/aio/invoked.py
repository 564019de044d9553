"""One operation of ours, awaited: its responses as they come, its deadline, its end."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from aiodimse.aio.channel import Channel
from aiodimse.aio.clock import TimerHandle
from aiodimse.aio.signals import Signal
from aiodimse.dimse.messages import Response
from aiodimse.dimse.operations import Invoked
from aiodimse.errors import AssociationTimeout
from aiodimse.standard import answers


class InvokedOperation:
    """Responses to one request, in order. Made by Invoker.invoke."""

    def __init__(self, channel: Channel, operation: Invoked, timeout: float | None) -> None:
        self.operation: Invoked = operation
        self.owner: asyncio.Task[Any] | None = asyncio.current_task()
        """The task that asked; it must not wait for the place that this operation holds."""
        self.began: float = channel.clock.now()
        self._channel = channel
        self._timeout = timeout
        self._deadline = channel.clock.after(timeout)
        self._responses: deque[tuple[Response, bytes | None, int]] = deque()
        self._changed = Signal()
        self._error: BaseException | None = None
        self.is_left: bool = False
        """Nobody awaits it any more: what still comes is dropped."""
        self.drain_timer: TimerHandle | None = None

    # --- for the connection -------------------------------------------------------------------------------------------

    def put(self, response: Response, data: bytes | None, size: int) -> None:
        """A response has arrived, of so many bytes."""
        if self.is_left:
            if self.drain_timer is not None and not self.operation.is_open:
                self.drain_timer.cancel()
            return
        self.renew()
        self._responses.append((response, data, size))
        self._channel.throttle.count(size)
        self.wake()

    def fail(self, error: BaseException) -> None:
        """No more responses will come."""
        if self._error is None:
            self._error = error
        self.wake()

    def renew(self) -> None:
        """Something of this operation happened (a Pending response, a sub-operation): its deadline starts anew.

        A timer that runs already is left: it looks again.
        """
        self._deadline = self._channel.clock.after(self._timeout)

    def wake(self) -> None:
        """Have who waits look again."""
        self._changed.wake()

    # --- for its user -------------------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """The final response has not come."""
        return self.operation.is_open

    @property
    def has_pending(self) -> bool:
        """A Pending response is here: next() gives it at once."""
        return bool(self._responses) and self._responses[0][0].status in answers.STILL_PENDING

    async def next(self) -> tuple[Response, bytes | None]:
        """The next response and its data set.

        Raises AssociationTimeout where it does not come in time, and what ended the association. A cancelled await
        loses nothing.
        """
        if not self._responses:
            await self.wait()
        response, data, size = self._responses.popleft()
        self._channel.throttle.count(-size)
        return response, data

    async def wait(self, or_until: Callable[[], bool] = lambda: False) -> None:
        """Wait for the next response, or until this is true of something that is woken for (wake). Raises as next."""
        clock = self._channel.clock
        while not self._responses and not or_until():
            if self._error is not None:
                raise self._error
            # While we do not listen the peer cannot be late; renew() wakes us when we do again.
            deadline = None if self._channel.is_paused else self._deadline
            if deadline is not None and clock.now() >= deadline:
                request = self.operation.request
                raise AssociationTimeout("response", f"no response to the {request.name} within {self._timeout} s")
            timer = clock.call_at(deadline, self.wake) if deadline is not None else None
            try:
                await self._changed.wait()
            finally:
                if timer is not None:
                    timer.cancel()

    def cancel(self) -> None:
        """Send C-CANCEL, once, when no other message is being written; the final response still comes."""
        channel, operation = self._channel, self.operation
        if channel.error is not None or not channel.engine.machine.can_send_data:
            return
        if (cancel := channel.engine.router.cancel(operation)) is not None:

            def send() -> None:
                if operation.is_open and channel.engine.machine.can_send_data:
                    channel.engine.send(operation.context_id, cancel)

            channel.writer.soon(send)

    def leave(self) -> None:
        """Send C-CANCEL where it helps, and leave the rest to the association (docs/topics/flow.md).

        Responses that come are dropped from now on. If the operation does not end within Timeouts.cancel_drain, the
        association is aborted.
        """
        if self.is_left:
            return
        self.is_left = True
        unread = sum(size for _, _, size in self._responses)
        self._responses.clear()
        self._channel.throttle.count(-unread)
        if self.operation.is_open:
            self.cancel()
            self._watch_drain()

    def _watch_drain(self) -> None:
        channel = self._channel
        seconds = channel.timeouts.cancel_drain
        if seconds is None or channel.error is not None:
            return

        def too_late() -> None:
            if self.is_open and channel.error is None:
                name = self.operation.request.name
                channel.abort(AssociationTimeout("response", f"no final response to a {name} within {seconds} s"))

        self.drain_timer = channel.clock.call_at(channel.clock.now() + seconds, too_late)
