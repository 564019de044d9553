"""The associations of a pool: which task has which, which tasks wait, and when a new one is opened.

A place is an association that is open, being opened or being released, so that the peer never sees more than `max_size`
of them. An association or a place that becomes free is given to the first waiting task that can use it, so that no task
that comes later can take it.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from aiodimse.aio.clock import Clock
from aiodimse.aio.one_loop import OneLoop
from aiodimse.aio.signals import Signal
from aiodimse.aio.tasks import Tasks
from aiodimse.aio.words import unreachable
from aiodimse.association import PresentationContext
from aiodimse.client import Association
from aiodimse.errors import AssociationClosed, AssociationError, AssociationRejected, AssociationTimeout
from aiodimse.pool.attempts import Attempts, may_pass
from aiodimse.pool.measuring import PoolMeter
from aiodimse.pool.member import Member
from aiodimse.pool.waiting import Need, Waiters

_log = logging.getLogger("aiodimse.pool")

R = TypeVar("R")

Open = Callable[[Sequence[PresentationContext]], Awaitable[Association]]
"""Opens an association that proposes these contexts in addition to those of the pool."""


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
        self._waiters, self._turns = Waiters(), itertools.count()
        self._tasks = Tasks()
        self._fewer = Signal()
        """Woken when an association was given back, or an attempt to open one has ended."""
        self._attempts = Attempts(clock, self._serve, self._fewer)
        self.closed: bool = False
        self.one_loop: OneLoop = OneLoop("a pool")
        """Whoever enters from outside asks it first."""

    # --- what there is ------------------------------------------------------------------------------------------------

    @property
    def size(self) -> int:
        """The number of associations that are open, being opened or being released."""
        return self._places

    @property
    def idle(self) -> int:
        """The number of associations that no task uses."""
        return len(self._idle)

    def now(self) -> float:
        """Return the time of the pool's clock."""
        return self._clock.now()

    # --- taking -------------------------------------------------------------------------------------------------------

    async def take(self, need: Need) -> Member:
        """Return an open association that the task can use. The caller must call `give_back`.

        Args:
            need: What the task needs. Idle associations and free places are preferred to associations that are shared.

        Raises:
            AssociationTimeout: No association was available in time; the phase is "acquire".
            AssociationError, NoAcceptedContext: Connecting failed, and another attempt would not help.

        Cancellation: gives back what the task was given.
        """
        began = self._meter.now()
        try:
            with self._meter.span():
                member = await self._taken(need)
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

    async def _taken(self, need: Need) -> Member:
        until, turn = self._clock.after(self._acquire_timeout), next(self._turns)
        try:
            while True:
                async with self._clock.deadline(until, _Late):
                    member = await self._next(need, turn)
                if member is None:
                    member = await self._open(need, until)
                if member is not None:
                    return member
        except _Late:
            raise self._too_late() from self._attempts.last_failure

    def _report_numbers(self) -> None:
        self._meter.changed(self._places, len(self._lent), len(self._waiters))

    async def _next(self, need: Need, turn: int) -> Member | None:
        """Return a member that is now lent to the caller, or None: the caller has a place, in which it opens one."""
        self._check_not_closed()
        # None of the tasks that wait can use an idle member, or it would have got it.
        while (member := self._pop_idle(need.contexts)) is not None:
            if member.association.is_open:
                return self._lend(member, need)
            self._free_place(member)
        if not self._waiters:
            if self._claim_place():
                return None
            if need.is_shared:
                for member in self._lent:
                    if member.has_room and member.offers(need.contexts):
                        return self._lend(member, need)
        if not self._attempts and self._has_waited(need):
            raise _Late
        waiter = self._waiters.add(need, turn)
        self._share_all()  # It may be the first now, since it has failed to open an association.
        self._report_numbers()
        try:
            return await self._waiters.wait(waiter, self._not_used)
        except asyncio.CancelledError:
            self._share_all()  # The task behind it may be the first now.
            raise

    def _not_used(self, given: Member | None) -> None:
        """Take back what a waiting task was given when it was cancelled."""
        if given is None:
            self._unclaim_place()
        else:
            self.give_back(given)

    def _has_waited(self, need: Need) -> bool:
        """Whether the peer is down, and the batch of a task has waited for it as long as a task alone would wait."""
        since = self._attempts.down_since
        if since is None or need.batch is None or self._acquire_timeout is None:
            return False
        if any(member.association.is_open for member in (*self._idle, *self._lent)):
            return False  # The peer allows no more associations; those that there are will be free.
        return self._clock.now() >= max(since, need.batch) + self._acquire_timeout

    def _lend(self, member: Member, need: Need) -> Member:
        member.lend(shared=need.is_shared)
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
        if not self._attempts.may_begin:
            return False
        if self._places >= self._max_size:
            self._make_room()
            return False
        self._places += 1
        self._attempts.claim()
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

    def _make_room_at_peer(self, need: Need) -> None:
        """Release an idle member that a task cannot use, after the peer has rejected an association for that task.

        The peer may allow no more than there are. Its next attempt comes after a pause.
        """
        if self._idle and not self._draining and not any(member.offers(need.contexts) for member in self._idle):
            self._retire(self._idle.pop(0))

    def _unclaim_place(self) -> None:
        """Give back a place in which nothing was opened."""
        self._attempts.end()
        self._leave_place()

    def _check_not_closed(self) -> None:
        if self.closed:
            raise _closed()

    # --- opening ------------------------------------------------------------------------------------------------------

    async def _open(self, need: Need, until: float | None) -> Member | None:
        """Open an association in the caller's place, and lend it to the caller.

        Args:
            need: What the caller needs.
            until: When it gives up.

        Returns:
            The member; None if the peer cannot be reached at present.
        """
        began = self._clock.now()
        try:
            self._check_not_closed()
            async with self._clock.deadline(until, _no_answer):
                association = await self._attempts.run(self._open_association(need.contexts))
        except (AssociationError, OSError) as error:
            if not may_pass(error):
                self._unclaim_place()
                raise
            self._attempts.end()
            self._places -= 1
            self._attempts.failed(error, began)
            if isinstance(error, AssociationRejected):
                self._make_room_at_peer(need)
            if not self._attempts:
                self._waiters.fail_those(self._has_waited, self._too_late)
            return None
        except BaseException:
            self._unclaim_place()
            raise
        self._attempts.end()
        self._attempts.succeeded()
        if self.closed:
            self._retire(Member(association))
            raise _closed()
        member = self._lend(Member(association), need)
        self._share(member)
        self._serve()
        return member

    def _too_late(self) -> AssociationTimeout:
        words = f"no association with {self._peer} within {self._acquire_timeout} s"
        if (failure := self._attempts.last_failure) is not None:
            words += f": {unreachable(failure) if isinstance(failure, OSError) else failure}"
        elif self._attempts:
            words += ": the peer has not answered yet"
        elif self._places:
            words += f": all {self._places} of the pool are in use"
        error = AssociationTimeout("acquire", words)
        error.__cause__ = failure
        return error

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
        while (waiter := self._waiters.take_for_room(member)) is not None:
            waiter.give(self._lend(member, waiter.need))

    def _share_all(self) -> None:
        for member in self._lent:
            self._share(member)

    def _hand_on(self, member: Member) -> None:
        """Lend a member to the first waiting task that can use it, or keep it for a while."""
        if (waiter := self._waiters.take_for(member)) is not None:
            waiter.give(self._lend(member, waiter.need))
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

    def _retire(self, member: Member) -> None:
        """Release a member after its open operations. Its place is free when the association has ended."""
        member.stop_idle_timer()
        self._draining.add(member)
        self._tasks.spawn(self._release(member), "aiodimse pool release", partial(_abort_if_cancelled, member))
        self._serve()

    async def _release(self, member: Member) -> None:
        try:
            await member.association.release()
        except AssociationError as error:
            _log.debug("the release of a pooled association failed: %s", error)
        finally:
            self._free_place(member)

    def _free_place(self, member: Member) -> None:
        member.stop_idle_timer()
        self._draining.discard(member)
        self._leave_place()

    def _leave_place(self) -> None:
        self._places -= 1
        self._serve()
        self._report_numbers()

    def _serve(self) -> None:
        """Give places to waiting tasks; one at a time while the peer cannot be reached. Those behind them may share."""
        while self._waiters and self._claim_place():
            self._waiters.take().give(None)
        self._share_all()

    # --- the end ------------------------------------------------------------------------------------------------------

    async def close(self, grace: float | None) -> None:
        """Release all associations. Those in use have `grace` seconds to be given back; then they are aborted.

        Tasks that wait for one, or are opening one, get AssociationClosed at once.

        Cancellation: aborts what is left at once.
        """
        self.closed = True
        while self._waiters:
            self._waiters.take().fail(_closed())
        self._attempts.close(_closed())
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
            while self._attempts:  # the tasks that were told so above
                await self._fewer.wait()
            await self._tasks.wait()
        except BaseException:
            self.abort()
            raise

    def abort(self) -> None:
        """End every association now."""
        for member in (*self._idle, *self._lent, *self._draining):
            member.stop_idle_timer()
            member.association.abort()


class _Late(Exception):
    """Pool.acquire_timeout has passed. It has a class of its own, since a TimeoutError may have another cause."""


def _abort_if_cancelled(member: Member, task: asyncio.Task[Any]) -> None:
    """Abort an association whose release was cancelled, perhaps before its first step."""
    if task.cancelled():
        member.association.abort()


def _no_answer() -> AssociationTimeout:
    return AssociationTimeout("connect", "the peer did not answer in time")


def _closed() -> AssociationClosed:
    return AssociationClosed("the pool is closed")
