"""The associations of a pool: which task has which, which tasks wait, and when a new one is opened.

A place is an association that is open, being opened or being released, so that the peer never sees more than `max_size`
of them. An association or a place that becomes free is given to the first waiting task that can use it, so that no task
that comes later can take it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TypeVar

from aiodimse.aio.clock import Clock, TimerHandle
from aiodimse.aio.interrupt import Interrupt
from aiodimse.aio.signals import Signal
from aiodimse.aio.tasks import Tasks
from aiodimse.association import PresentationContext
from aiodimse.client import Association
from aiodimse.errors import (
    AssociationAborted,
    AssociationClosed,
    AssociationError,
    AssociationRejected,
    AssociationTimeout,
    TLSError,
)
from aiodimse.pool.measuring import PoolMeter
from aiodimse.services.contexts import is_proposed

_log = logging.getLogger("aiodimse.pool")

R = TypeVar("R")

Open = Callable[[Sequence[PresentationContext]], Awaitable[Association]]
"""Opens an association that proposes these contexts in addition to those of the pool."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
"""Seconds between two attempts to open an association while the peer cannot be reached. The pause doubles after each
attempt, and is multiplied by a random number from 0.5 to 1.5, so that many pools do not try at the same moment."""
_REJECTED_TRANSIENT = 2
WINDOW_AT_MOST = 16
"""How many operations may be open on one association if the peer allows any number."""


class Member:
    """An association of the pool."""

    def __init__(self, association: Association) -> None:
        self.association: Association = association
        self.uses = 0
        """How many times it has been handed out."""
        self.users = 0
        """How many tasks have it now."""
        self.is_shared = False
        """Whether each of these tasks needs only one place in its operations window."""
        self.idle_timer: TimerHandle | None = None

    @property
    def has_room(self) -> bool:
        """Whether its operations window has a place for another operation; 0 means no limit (PS3.7 D.3.3.3)."""
        window = self.association.negotiated.invoked_window or WINDOW_AT_MOST
        return self.is_shared and self.association.is_open and self.users < window

    def offers(self, wanted: Sequence[PresentationContext]) -> bool:
        """Whether all of these contexts were proposed to the peer, which has accepted them or said why not."""
        return all(is_proposed(self.association.negotiated, context) for context in wanted)


class _Waiter:
    """A task that waits for an association that offers some contexts, or for a place in which to open one."""

    def __init__(self, wanted: Sequence[PresentationContext], shared: bool) -> None:
        self.wanted, self.shared = wanted, shared
        self.given: asyncio.Future[Member | None] = asyncio.get_running_loop().create_future()
        """Gets a member that is lent to the task; or None: a place, in which the task opens one."""


class Members:
    """All associations of one pool, on one event loop."""

    def __init__(
        self,
        open_association: Open,
        clock: Clock,
        *,
        peer: str,
        meter: PoolMeter,
        max_size: int,
        max_idle: float | None,
        max_uses: int | None,
        acquire_timeout: float | None,
    ) -> None:
        """`peer` is the host and port of the peer, for messages. `meter` gets reports about what happens."""
        self._meter = meter
        self._open_association, self._clock, self._peer = open_association, clock, peer
        self._max_size, self._max_idle, self._max_uses = max_size, max_idle, max_uses
        self._acquire_timeout = acquire_timeout
        self._idle: list[Member] = []
        self._lent: set[Member] = set()
        self._draining: set[Member] = set()
        self._places = 0
        self._opening = 0
        self._attempts: set[Interrupt] = set()
        """The attempts to open an association that go on, each of which `close` can end."""
        self._waiters: deque[_Waiter] = deque()
        self._tasks = Tasks()
        self._pause = 0.0
        self._retry_timer: TimerHandle | None = None
        self._last_failure: Exception | None = None
        self._fewer = Signal()
        """Woken when an association was given back, or an attempt to open one has ended."""
        self.closed: bool = False

    # --- what there is ------------------------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """The number of associations that are open, being opened or being released."""
        return self._places

    @property
    def idle(self) -> int:
        """The number of associations that no task uses."""
        return len(self._idle)

    # --- taking -------------------------------------------------------------------------------------------------------

    async def take(self, wanted: Sequence[PresentationContext], *, shared: bool) -> Member:
        """Return an open association that offers these contexts. The caller must call `give_back`.

        Args:
            wanted: Contexts that it must have proposed.
            shared: Whether a place in its operations window is enough, so that other tasks may use it at the same time.
                Idle associations and free places are preferred.

        Raises:
            AssociationTimeout: No association was available in time; the phase is "acquire".
            AssociationError, NoAcceptedContext: Connecting failed, and another attempt would not help.

        Cancellation: gives back what the task was given.
        """
        began = self._meter.now()
        try:
            with self._meter.span():
                member = await self._taken(wanted, shared)
        except AssociationTimeout as error:
            self._meter.acquired("timeout" if error.phase == "acquire" else "failed", began)
            raise
        except Exception:
            self._meter.acquired("failed", began)
            raise
        finally:
            self._report_numbers()
        self._meter.acquired("opened" if member.uses == 1 else "reused", began)
        return member

    async def twice(self, operation: Callable[[], Awaitable[R]]) -> R:
        """Run an operation, and once more if nothing of its request can have reached the peer. See `Pool.twice`."""
        try:
            return await operation()
        except AssociationError as error:
            if error.sent is not False or self.closed:
                raise
        return await operation()

    async def _taken(self, wanted: Sequence[PresentationContext], shared: bool) -> Member:
        try:
            async with self._clock.deadline(self._clock.after(self._acquire_timeout), self._too_late):
                while True:
                    member = await self._next(wanted, shared) or await self._open(wanted, shared)
                    if member is not None:
                        return member
        except _Late as error:
            raise AssociationTimeout("acquire", str(error)) from self._last_failure

    def _report_numbers(self) -> None:
        self._meter.changed(self._places, len(self._lent), len(self._waiters))

    async def _next(self, wanted: Sequence[PresentationContext], shared: bool) -> Member | None:
        """Return a member that is now lent to the caller, or None: the caller has a place, in which it opens one."""
        self._check_not_closed()
        if not self._waiters:
            while (member := self._pop_idle(wanted)) is not None:
                if member.association.is_open:
                    return self._lend(member, shared)
                self._free_place(member)
            if self._claim_place():
                return None
            if shared:
                for member in self._lent:
                    if member.has_room and member.offers(wanted):
                        return self._lend(member, shared)
        waiter = _Waiter(wanted, shared)
        self._waiters.append(waiter)
        self._report_numbers()
        try:
            return await asyncio.shield(waiter.given)
        except asyncio.CancelledError:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            elif waiter.given.exception() is None:
                given = waiter.given.result()
                if given is None:
                    self._unclaim_place()
                else:
                    self.give_back(given)
            raise

    def _lend(self, member: Member, shared: bool) -> Member:
        """Lend a member to one more task. The first task decides whether others may have it at the same time."""
        self._stop_idle_timer(member)
        if not member.users:
            member.is_shared = shared
        member.uses += 1
        member.users += 1
        self._lent.add(member)
        return member

    def _pop_idle(self, wanted: Sequence[PresentationContext]) -> Member | None:
        """Take the idle member that was used last, so that the others reach the age at which they are released."""
        for member in reversed(self._idle):
            if member.offers(wanted):
                self._idle.remove(member)
                return member
        return None

    def _claim_place(self) -> bool:
        """Take a place in which an association is to be opened. Return False if there is none now."""
        if self._retry_timer is not None or (self._opening and self._last_failure is not None):
            return False
        if self._places >= self._max_size:
            self._make_room()
            return False
        self._places += 1
        self._opening += 1
        return True

    def _make_room(self) -> None:
        """Make a place for a waiting task.

        A member that waits for final responses is aborted; otherwise an idle member with unsuitable contexts is
        released.
        """
        for member in self._draining:
            if member.association.open_operations:
                member.association.abort()
                return
        if self._idle and len(self._draining) <= len(self._waiters):
            self._retire(self._idle.pop(0))

    def _unclaim_place(self) -> None:
        """Give back a place in which nothing was opened."""
        self._stop_opening()
        self._leave_place()

    def _stop_opening(self) -> None:
        self._opening -= 1
        self._fewer.wake()

    def _check_not_closed(self) -> None:
        if self.closed:
            raise _closed()

    # --- opening ------------------------------------------------------------------------------------------------------

    async def _open(self, wanted: Sequence[PresentationContext], shared: bool) -> Member | None:
        """Open an association in the caller's place, and lend it to the caller.

        Returns:
            The member; None if the peer cannot be reached at present.
        """
        attempt = Interrupt()
        self._attempts.add(attempt)
        try:
            self._check_not_closed()
            with attempt:
                association = await self._open_association(wanted)
        except (AssociationError, OSError) as error:
            if not _may_pass(error):
                self._unclaim_place()
                raise
            self._last_failure = error
            self._stop_opening()
            self._places -= 1
            self._wait_before_next()
            return None
        except BaseException:
            self._unclaim_place()
            raise
        finally:
            self._attempts.discard(attempt)
        self._stop_opening()
        self._pause, self._last_failure = 0.0, None
        if self.closed:
            self._retire(Member(association))
            raise _closed()
        member = self._lend(Member(association), shared)
        self._share(member)
        self._serve()
        return member

    def _wait_before_next(self) -> None:
        """Pause before the next attempt. A peer that is down gets one attempt after another, not many at once."""
        self._pause = min(max(2 * self._pause, _FIRST_PAUSE), _LONGEST_PAUSE)
        if self._retry_timer is None and not self.closed:
            seconds = self._pause * random.uniform(0.5, 1.5)
            self._retry_timer = self._clock.call_at(self._clock.now() + seconds, self._retry)

    def _retry(self) -> None:
        self._retry_timer = None
        self._serve()

    def _too_late(self) -> BaseException:
        words = f"no association with {self._peer} within {self._acquire_timeout} s"
        if self._last_failure is not None:
            words += f": {self._last_failure}"
        elif self._places:
            words += f": all {self._places} of the pool are in use"
        return _Late(words)

    # --- giving back --------------------------------------------------------------------------------------------------

    def give_back(self, member: Member) -> None:
        """Take back a member from a task. It is given to another task, kept, or released if it is of no more use."""
        member.users -= 1
        if member.users:
            self._share(member)
            return
        self._lent.discard(member)
        association = member.association
        is_used_up = self._max_uses is not None and member.uses >= self._max_uses
        if not association.is_open:
            self._free_place(member)
        elif self.closed or is_used_up or association.open_operations:
            self._retire(member)
        else:
            self._hand_on(member)
        self._fewer.wake()
        self._report_numbers()

    def _share(self, member: Member) -> None:
        """Lend the free places of its operations window to waiting tasks that need only one place, in their order."""
        while self._waiters and member.has_room:
            waiter = self._waiters[0]
            if not (waiter.shared and member.offers(waiter.wanted)):
                return
            self._waiters.popleft().given.set_result(self._lend(member, shared=True))

    def _hand_on(self, member: Member) -> None:
        """Lend a member to the first waiting task that can use it, or keep it for a while."""
        for waiter in self._waiters:
            if member.offers(waiter.wanted):
                self._waiters.remove(waiter)
                waiter.given.set_result(self._lend(member, waiter.shared))
                self._share(member)
                return
        self._idle.append(member)
        if self._max_idle is not None:
            when = self._clock.now() + self._max_idle
            member.idle_timer = self._clock.call_at(when, lambda: self._idle_too_long(member))
        self._serve()

    def _idle_too_long(self, member: Member) -> None:
        member.idle_timer = None
        if member in self._idle:
            self._idle.remove(member)
            self._retire(member)

    @staticmethod
    def _stop_idle_timer(member: Member) -> None:
        if member.idle_timer is not None:
            member.idle_timer.cancel()
            member.idle_timer = None

    def _retire(self, member: Member) -> None:
        """Release a member after its open operations. Its place is free when the association has ended."""
        self._stop_idle_timer(member)
        self._draining.add(member)
        self._tasks.spawn(self._release(member), "aiodimse pool release", member.association.abort)
        self._serve()

    async def _release(self, member: Member) -> None:
        try:
            await member.association.release()
        except AssociationError as error:
            _log.debug("the release of a pooled association failed: %s", error)
        finally:
            self._free_place(member)

    def _free_place(self, member: Member) -> None:
        self._stop_idle_timer(member)
        self._draining.discard(member)
        self._leave_place()

    def _leave_place(self) -> None:
        self._places -= 1
        self._serve()
        self._report_numbers()

    def _serve(self) -> None:
        """Give places to waiting tasks; one at a time while the peer cannot be reached."""
        while self._waiters and self._claim_place():
            self._waiters.popleft().given.set_result(None)

    # --- the end ------------------------------------------------------------------------------------------------------

    async def close(self, grace: float | None) -> None:
        """Release all associations. Those in use have `grace` seconds to be given back; then they are aborted.

        Tasks that wait for one, or are opening one, get AssociationClosed at once.

        Cancellation: aborts what is left at once.
        """
        self.closed = True
        if self._retry_timer is not None:
            self._retry_timer.cancel()
            self._retry_timer = None
        while self._waiters:
            self._waiters.popleft().given.set_exception(_closed())
        for attempt in tuple(self._attempts):
            attempt.fire(_closed())
        while self._idle:
            self._retire(self._idle.pop())
        try:
            with suppress(_Late):
                async with self._clock.deadline(self._clock.after(grace), _Late):
                    while self._lent:
                        await self._fewer.wait()
            if self._lent:
                _log.warning("%d associations were in use when their pool was closed: aborting them", len(self._lent))
            for member in self._lent:
                member.association.abort()
                self._tasks.spawn(member.association.wait_closed(), "aiodimse pool end")
            while self._opening:  # the tasks that were told so above
                await self._fewer.wait()
            await self._tasks.wait()
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """End every association now."""
        for member in (*self._idle, *self._lent, *self._draining):
            self._stop_idle_timer(member)
            member.association.abort()


class _Late(Exception):
    """Pool.acquire_timeout has passed. It has a class of its own, since a TimeoutError may have another cause."""


def _closed() -> AssociationClosed:
    return AssociationClosed("the pool is closed")


def _may_pass(error: Exception) -> bool:
    """Return whether another attempt may succeed: the peer is down, or rejects us as transient (PS3.8 9.3.4)."""
    if isinstance(error, AssociationRejected):
        return error.result == _REJECTED_TRANSIENT
    if isinstance(error, TLSError):
        return False
    return isinstance(error, (OSError, AssociationTimeout, AssociationAborted))
