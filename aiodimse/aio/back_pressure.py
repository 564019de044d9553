"""Back-pressure: when an association stops reading, and when it goes on (docs/topics/flow.md).

Reading pauses only on unread data-set bytes of a slow consumer, or when much waits to be written. While it is paused
nothing is heard, C-CANCEL and A-ABORT included; so a consumer must take something within each Timeouts.consumer, and a
peer what waits for it at the least rate of Timeouts.write_stall.
"""

from __future__ import annotations

from collections.abc import Callable

from aiodimse.aio.clock import Clock, TimerHandle
from aiodimse.aio.transport import TransportConnection
from aiodimse.aio.writer import MessageWriter
from aiodimse.config import Limits, Timeouts


class ReadThrottle:
    """The valve of one association."""

    def __init__(
        self,
        connection: TransportConnection,
        writer: MessageWriter,
        clock: Clock,
        *,
        limits: Limits,
        timeouts: Timeouts,
        on_pause: Callable[[], None],
        on_resume: Callable[[], None],
        too_slow: Callable[[], None],
    ) -> None:
        self._connection, self._writer, self._clock, self._consumer = connection, writer, clock, timeouts.consumer
        # Low marks are half of the high ones: a valve that flutters costs a system call each time.
        self._high, self._backlog = 2 * limits.max_pdu_length, limits.write_backlog
        self._on_pause, self._on_resume, self._too_slow = on_pause, on_resume, too_slow
        self._unread = 0
        self._consumed_at = 0.0  # or paused, whichever came later
        self._timer: TimerHandle | None = None
        connection.on_room = self.look
        # What keeps us paused must pause the transport too, which says when there is room again (on_room).
        connection.high_water = min(connection.high_water, limits.write_backlog // 4)

    def count(self, change: int) -> None:
        """Bytes of data sets have arrived (+) or have been consumed (-)."""
        self._unread += change
        if self._connection.is_reading:
            if self._unread > self._high:
                self._pause()
        elif change < 0:
            self._consumed_at = self._clock.now()
            self.look()

    def look(self) -> None:
        """Something was written, or was queued to be: pause or resume reading where a mark was passed."""
        if self._connection.is_reading:
            if self._writer.backlog > self._backlog:
                self._pause()
        elif not self._waits_for_consumer and self._writer.backlog <= self._backlog // 2:
            self.stop_timer()
            self._connection.resume_reading()
            self._on_resume()

    def _pause(self) -> None:
        self._connection.pause_reading()
        if self._connection.is_reading:
            return  # the transport is closing
        self._on_pause()
        self._consumed_at = self._clock.now()
        self._arm()

    @property
    def _waits_for_consumer(self) -> bool:
        return self._unread > self._high // 2

    def _arm(self) -> None:
        if self._consumer is not None and self._timer is None:
            self._timer = self._clock.call_at(self._consumed_at + self._consumer, self._look_at_consumer)

    def _look_at_consumer(self) -> None:
        assert self._consumer is not None
        self._timer, now = None, self._clock.now()
        if not self._waits_for_consumer and self._connection.backlog:
            self._consumed_at = now  # it is the peer who keeps us waiting
        if now < self._consumed_at + self._consumer:
            self._arm()
        else:
            self._too_slow()

    def stop_timer(self) -> None:
        """No pause, no deadline."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
