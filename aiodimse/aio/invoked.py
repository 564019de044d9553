"""An operation that we invoked: its responses as they come, its deadline, its end."""

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
from aiodimse.errors import AssociationError, AssociationTimeout
from aiodimse.standard import answers


class InvokedOperation:
    """The responses to one request, in order. Invoker.invoke makes it."""

    def __init__(self, channel: Channel, operation: Invoked, timeout: float | None) -> None:
        self.operation: Invoked = operation
        self.owner: asyncio.Task[Any] | None = asyncio.current_task()
        """The task that invoked it. That task must not wait for the place in the window that this operation has."""
        self.began: float = channel.clock.now()
        self._channel = channel
        self._timeout = timeout
        self._deadline = channel.clock.after(timeout)
        self._responses: deque[tuple[Response, bytes | None, int]] = deque()
        self._changed = Signal()
        self._error: BaseException | None = None
        self.is_left: bool = False
        """Whether nobody awaits it any more. Responses that still come are dropped."""
        self.drain_timer: TimerHandle | None = None

    # --- for the connection -------------------------------------------------------------------------------------------

    def put(self, response: Response, data: bytes | None, size: int) -> None:
        """Take a response that has arrived, of `size` bytes."""
        if self.is_left:
            if self.drain_timer is not None and not self.operation.is_open:
                self.drain_timer.cancel()
            return
        self.renew()
        self._responses.append((response, data, size))
        self._channel.throttle.count(size)
        self.wake()

    def fail(self, error: BaseException) -> None:
        """End the operation with an error: no more responses will come, and leaving it does not wait for them."""
        if self._error is None:
            self._error = error
        self.wake()

    def renew(self) -> None:
        """Start the deadline anew, since something of this operation happened: a Pending response, or a sub-operation.

        A timer that is set already stays as it is. When it fires too early, its callback sets it again.
        """
        self._deadline = self._channel.clock.after(self._timeout)

    def wake(self) -> None:
        """Wake the task that waits, which then checks what it waits for."""
        self._changed.wake()

    # --- for its user -------------------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether the final response has not come."""
        return self.operation.is_open

    @property
    def has_unread(self) -> bool:
        """Whether responses are here that nobody has read."""
        return bool(self._responses)

    @property
    def has_pending(self) -> bool:
        """Whether a Pending response is here, so that next() returns at once."""
        return bool(self._responses) and self._responses[0][0].status in answers.STILL_PENDING

    async def next(self) -> tuple[Response, bytes | None]:
        """Wait for the next response, and return it with its data set.

        Raises:
            AssociationTimeout: It did not come in time.
            AssociationError: What ended the association.

        Cancellation: No response is lost.
        """
        if not self._responses:
            await self.wait()
        response, data, size = self._responses.popleft()
        self._channel.throttle.count(-size)
        return response, data

    async def wait(self, or_until: Callable[[], bool] = lambda: False) -> None:
        """Wait for the next response. It raises as `next` does.

        Args:
            or_until: Ends the wait, too, if it returns true. It is asked after each `wake`.
        """
        clock = self._channel.clock
        while not self._responses and not or_until():
            if self._error is not None:
                raise self._named(self._error)
            # While our reading is paused the peer cannot be late. When it goes on, renew() wakes this task.
            deadline = None if self._channel.is_paused else self._deadline
            if deadline is not None and clock.now() >= deadline:
                name = self.operation.request.name
                late = AssociationTimeout("response", f"no response to the {name} within {self._timeout} s")
                raise self._named(late)
            timer = clock.call_at(deadline, self.wake) if deadline is not None else None
            try:
                await self._changed.wait()
            finally:
                if timer is not None:
                    timer.cancel()

    def _named(self, error: BaseException) -> BaseException:
        """Return an error that names this operation. That of the association, which has many, stays as it is."""
        if not isinstance(error, AssociationError):
            return error
        return error.during(f"{self.operation.request.name} {self.operation.message_id}", self._channel.peer)

    def cancel(self) -> None:
        """Send C-CANCEL, once, when no other message is being written. The final response still comes."""
        channel, operation = self._channel, self.operation
        if channel.error is not None or not channel.engine.machine.can_send_data:
            return
        if (cancel := channel.engine.router.cancel(operation)) is not None:

            def send() -> None:
                if operation.is_open and channel.engine.machine.can_send_data:
                    channel.engine.send(operation.context_id, cancel)

            channel.writer.soon(send)

    def leave(self) -> None:
        """Send C-CANCEL if the operation can be cancelled, and let the association wait for its end
        (docs/topics/flow.md).

        Responses that come from now on are dropped. If the operation does not end within Timeouts.cancel_drain, the
        association is aborted.
        """
        if self.is_left:
            return
        self.is_left = True
        unread = sum(size for _, _, size in self._responses)
        self._responses.clear()
        self._channel.throttle.count(-unread)
        if self.operation.is_open and self._error is None:
            self.cancel()
            self._watch_drain()

    def _watch_drain(self) -> None:
        channel = self._channel
        seconds = channel.timeouts.cancel_drain
        if seconds is None:
            return

        def too_late() -> None:
            if self.is_open and channel.error is None:
                name = self.operation.request.name
                channel.abort(AssociationTimeout("response", f"no final response to a {name} within {seconds} s"))

        self.drain_timer = channel.clock.call_at(channel.clock.now() + seconds, too_late)
