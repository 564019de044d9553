"""The associations of a pool: who has which, who waits for one, and when a new one is opened.

A place is an association that is open, being opened or being released: a peer sees no more than `max_size` of them.
What becomes free, an association or a place, is handed to the first who waits and can use it, so that nobody who comes
later takes it away.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

from aiodimse.aio.clock import Clock, TimerHandle
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

Open = Callable[[Sequence[PresentationContext]], Awaitable[Association]]
"""Opens an association that proposes these contexts beside those of the pool."""

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 2.0
"""Seconds between two attempts to open an association while the peer cannot be reached. The pause is doubled after each
attempt, and multiplied by a random number from 0.5 to 1.5, so that many pools do not try at the same moment."""
_REJECTED_TRANSIENT = 2
_WINDOW_AT_MOST = 16
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
        window = self.association.negotiated.invoked_window or _WINDOW_AT_MOST
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
        """peer: the host and port of the peer, for messages. meter: told of what happens."""
        self._meter = meter
        self._open_association, self._clock, self._peer = open_association, clock, peer
        self._max_size, self._max_idle, self._max_uses = max_size, max_idle, max_uses
        self._acquire_timeout = acquire_timeout
        self._idle: list[Member] = []
        self._lent: set[Member] = set()
        self._draining: set[Member] = set()
        self._places = 0
        self._opening = 0
        self._waiters: deque[_Waiter] = deque()
        self._tasks = Tasks()
        self._pause = 0.0
        self._retry_timer: TimerHandle | None = None
        self._last_failure: Exception | None = None
        self._all_returned: asyncio.Event = asyncio.Event()
        self.closed: bool = False

    # --- what there is ------------------------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """Associations that are open, being opened or being released."""
        return self._places

    @property
    def idle(self) -> int:
        """Associations that nobody uses."""
        return len(self._idle)

    # --- taking -------------------------------------------------------------------------------------------------------

    async def take(self, wanted: Sequence[PresentationContext], *, shared: bool) -> Member:
        """An open association that offers these contexts, to be given back by `give_back`.

        Args:
            wanted: Contexts that it must have proposed.
            shared: A place in its operations window is enough: others may use it at the same time. Idle associations
                and free places come first.

        Raises:
            AssociationTimeout: With phase "acquire".
            AssociationError, NoAcceptedContext: What connecting raised, where another attempt would not help.

        Cancellation: A cancelled await gives back what it was given.
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
            self._tell()
        self._meter.acquired("opened" if member.uses == 1 else "reused", began)
        return member

    async def _taken(self, wanted: Sequence[PresentationContext], shared: bool) -> Member:
        try:
            async with self._clock.deadline(self._clock.after(self._acquire_timeout), self._too_late):
                while True:
                    member = await self._next(wanted, shared) or await self._open(wanted, shared)
                    if member is not None:
                        return member
        except _Late as error:
            raise AssociationTimeout("acquire", str(error)) from self._last_failure

    def _tell(self) -> None:
        self._meter.changed(self._places, len(self._lent), len(self._waiters))

    async def _next(self, wanted: Sequence[PresentationContext], shared: bool) -> Member | None:
        """Return a member that is now lent to the caller; or None: the caller has a place, in which it opens one."""
        if self.closed:
            raise AssociationClosed("the pool is closed")
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
        self._tell()
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
        """Take the idle member that was used last. So the others become old enough to be released."""
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
        """Make a place for a task that needs one: abort a member that waits for final responses, or else release an
        idle one whose contexts do not fit."""
        for member in self._draining:
            if member.association.open_operations:
                member.association.abort()
                return
        if self._idle and len(self._draining) <= len(self._waiters):
            self._retire(self._idle.pop(0))

    def _unclaim_place(self) -> None:
        """Give back a place in which nothing was opened."""
        self._opening -= 1
        self._leave_place()

    # --- opening ------------------------------------------------------------------------------------------------------

    async def _open(self, wanted: Sequence[PresentationContext], shared: bool) -> Member | None:
        """Open an association in the caller's place, and lend it to the caller. Return None if the peer cannot be
        reached now."""
        try:
            association = await self._open_association(wanted)
        except (AssociationError, OSError) as error:
            if not _may_pass(error):
                self._unclaim_place()
                raise
            self._last_failure = error
            self._opening -= 1
            self._places -= 1
            self._wait_before_next()
            return None
        except BaseException:
            self._unclaim_place()
            raise
        self._opening -= 1
        self._pause, self._last_failure = 0.0, None
        if self.closed:
            self._retire(Member(association))
            raise AssociationClosed("the pool is closed")
        member = self._lend(Member(association), shared)
        self._share(member)
        self._serve()
        return member

    def _wait_before_next(self) -> None:
        """Pause before the next attempt. A peer that is down gets one attempt after the other, and not many at once."""
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
        """Take back a member from a task. It is handed on or kept; if it is of no more use, it is released."""
        member.users -= 1
        if member.users:
            self._share(member)
            return
        self._lent.discard(member)
        association = member.association
        worn_out = self._max_uses is not None and member.uses >= self._max_uses
        if not association.is_open:
            self._free_place(member)
        elif self.closed or worn_out or association.open_operations:
            self._retire(member)
        else:
            self._hand_on(member)
        if not self._lent:
            self._all_returned.set()
        self._tell()

    def _share(self, member: Member) -> None:
        """Lend the free places of its operations window to the tasks that have waited longest and need only one
        place."""
        while self._waiters and member.has_room:
            waiter = self._waiters[0]
            if not (waiter.shared and member.offers(waiter.wanted)):
                return
            self._waiters.popleft().given.set_result(self._lend(member, shared=True))

    def _hand_on(self, member: Member) -> None:
        """Lend a member to the task that has waited longest for one like it, or else keep it for a while."""
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
        """Release a member, after the operations that were left on it. Its place is free when it has ended."""
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
        self._tell()

    def _serve(self) -> None:
        """Give places to the tasks that wait; one at a time while the peer cannot be reached."""
        while self._waiters and self._claim_place():
            self._waiters.popleft().given.set_result(None)

    # --- the end ------------------------------------------------------------------------------------------------------

    async def close(self, grace: float | None) -> None:
        """Release all associations; those that are in use have `grace` seconds to come back, then they are aborted.

        Who waits for one gets AssociationClosed. A cancelled close aborts what is left, at once.
        """
        self.closed = True
        if self._retry_timer is not None:
            self._retry_timer.cancel()
            self._retry_timer = None
        while self._waiters:
            waiter = self._waiters.popleft()
            waiter.given.set_exception(AssociationClosed("the pool is closed"))
        while self._idle:
            self._retire(self._idle.pop())
        try:
            with suppress(_Late):
                async with self._clock.deadline(self._clock.after(grace), _Late):
                    while self._lent:
                        self._all_returned.clear()
                        await self._all_returned.wait()
            if self._lent:
                _log.warning("%d associations were in use when their pool was closed: aborting them", len(self._lent))
            for member in self._lent:
                member.association.abort()
                self._tasks.spawn(member.association.wait_closed(), "aiodimse pool end")
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
    """Pool.acquire_timeout has passed. It is a class of its own, since a TimeoutError may have another cause."""


def _may_pass(error: Exception) -> bool:
    """Whether another attempt may succeed: the peer is down, restarts, or has no room now (PS3.8 9.3.4: transient)."""
    if isinstance(error, AssociationRejected):
        return error.result == _REJECTED_TRANSIENT
    if isinstance(error, TLSError):
        return False
    return isinstance(error, (OSError, AssociationTimeout, AssociationAborted))
