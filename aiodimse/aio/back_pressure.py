"""Back-pressure: when an association stops reading, and when it goes on (docs/topics/flow.md).

Reading pauses while a slow consumer leaves data sets unread, while many bytes wait to be written, and while a request
waits for a place in the operations window. While it is paused nothing is heard of the peer, not even C-CANCEL and
A-ABORT. Therefore a consumer must take something within each Timeouts.consumer, and the peer must take bytes at the
rate that Timeouts.write_stall demands.
"""

from __future__ import annotations

from typing import Protocol

from aiodimse.aio.clock import Clock, TimerHandle
from aiodimse.aio.transport import TransportConnection
from aiodimse.config import Limits, Timeouts


class ThrottleUser(Protocol):
    """What is told when a ReadThrottle acts."""

    def reading_paused(self) -> None:
        """Take note that the transport does not read any more."""

    def reading_resumed(self) -> None:
        """Take note that the transport reads again."""

    def consumer_too_slow(self) -> None:
        """Take note that reading was paused for too long."""


class ReadThrottle:
    """Pauses and resumes the reading of one transport connection."""

    def __init__(
        self, user: ThrottleUser, connection: TransportConnection, clock: Clock, *, limits: Limits, timeouts: Timeouts
    ) -> None:
        self._user, self._connection, self._clock, self._consumer = user, connection, clock, timeouts.consumer
        # The low marks are half of the high ones, since each change costs a system call.
        self._high, self._most_queued = 2 * limits.max_pdu_length, limits.write_backlog
        self._unread = self._queued = 0
        self.is_held: bool = False
        """Whether nothing more is read until a handler ends, or until the other connections had their turn."""
        self._passed_mark = False  # that is why reading is paused
        self._consumed_at = 0.0  # or paused, whichever came later
        self._timer: TimerHandle | None = None
        connection.on_room = self.check
        # Bytes that pause reading must pause the transport as well, since it reports when there is room again
        # (on_room).
        connection.high_water = min(connection.high_water, limits.write_backlog // 4)

    @property
    def backlog(self) -> int:
        """The number of bytes that wait to be written, or to be taken by the peer."""
        return self._connection.backlog + self._queued

    def queue(self, change: int) -> None:
        """Count bytes that were queued to be written later (positive), or are queued no longer (negative)."""
        self._queued += change
        self.check()

    def count(self, change: int) -> None:
        """Count bytes of data sets that have arrived (positive) or have been consumed (negative)."""
        self._unread += change
        if self._connection.is_reading:
            if self._unread > self._high:
                self._passed_mark = True
                self._pause()
        elif change < 0:
            self._consumed_at = self._clock.now()
            self.check()

    def hold(self, held: bool) -> None:
        """Pause until there is a place for the request that was read last, or a share of a turn of the event loop, or
        go on."""
        self.is_held = held
        if not held:
            # The low marks hold only for an association that has passed a high one.
            self._passed_mark |= self._unread > self._high or self.backlog > self._most_queued
            self.check()
        elif self._connection.is_reading:
            self._pause()

    def check(self) -> None:
        """Pause or resume reading if a mark was passed. It is called after bytes were written or queued."""
        if self._connection.is_reading:
            if self.backlog > self._most_queued:
                self._passed_mark = True
                self._pause()
        elif self.is_held:
            return
        elif not self._passed_mark or (not self.waits_for_consumer and self.backlog <= self._most_queued // 2):
            self._passed_mark = False
            self.stop_timer()
            self._connection.resume_reading()
            self._user.reading_resumed()

    def _pause(self) -> None:
        self._connection.pause_reading()
        if self._connection.is_reading:
            return  # Then the transport is closing.
        self._user.reading_paused()
        self._consumed_at = self._clock.now()
        self._arm()

    @property
    def waits_for_consumer(self) -> bool:
        """Whether so much of data sets is unread that reading does not go on."""
        return self._unread > self._high // 2

    def _arm(self) -> None:
        if self._consumer is not None and self._timer is None:
            self._timer = self._clock.call_at(self._consumed_at + self._consumer, self._look_at_consumer)

    def _look_at_consumer(self) -> None:
        assert self._consumer is not None
        self._timer, now = None, self._clock.now()
        if not self.waits_for_consumer and (self.is_held or self._connection.backlog):
            self._consumed_at = now  # A handler, or the peer, is the cause, and not a consumer.
        if now < self._consumed_at + self._consumer:
            self._arm()
        else:
            self._user.consumer_too_slow()

    def stop_timer(self) -> None:
        """Stop the deadline of the consumer, which holds only while reading is paused."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
