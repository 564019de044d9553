"""The tasks that wait for an association of a pool, in the order in which they asked."""

from __future__ import annotations

import asyncio
from bisect import bisect
from collections import deque
from collections.abc import Callable, Sequence

from aiodimse.association import PresentationContext
from aiodimse.pool.member import Member
from aiodimse.record import record


@record(frozen=True)
class Need:
    """What a task needs."""

    contexts: Sequence[PresentationContext]
    """Contexts that the association must have proposed."""
    batch: float | None = None
    """When its batch began, if the task sends one of many instances; None if it works alone.

    For a task of a batch, a place in the operations window of an association is enough. It does not wait anew for a
    peer that its batch has waited for.
    """

    @property
    def is_shared(self) -> bool:
        """Whether other tasks may use the association at the same time."""
        return self.batch is not None


class Waiter:
    """A task that waits for an association, or for a place in which to open one."""

    def __init__(self, need: Need, turn: int) -> None:
        self.need: Need = need
        self.turn: int = turn
        """Its number in the order in which the tasks asked."""
        self._given: asyncio.Future[Member | None] = asyncio.get_running_loop().create_future()

    def give(self, member: Member | None) -> None:
        """End the waiting.

        Args:
            member: A member that is lent to the task. None: the task has a place, in which it opens an association.
        """
        self._given.set_result(member)

    def fail(self, error: Exception) -> None:
        """End the waiting by an error."""
        self._given.set_exception(error)


class Waiters:
    """All of these tasks. Whoever is taken out is given something, or an error, at once."""

    def __init__(self) -> None:
        self._queue: deque[Waiter] = deque()

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, need: Need, turn: int) -> Waiter:
        """Put the calling task among the others.

        Args:
            need: What it needs.
            turn: Its number in the order in which the tasks asked. A task that has failed to open an association comes
                back with the number that it had, or tasks that ask later would be served before it again and again.
        """
        waiter = Waiter(need, turn)
        self._queue.insert(bisect(self._queue, turn, key=_turn_of), waiter)
        return waiter

    async def wait(self, waiter: Waiter, not_used: Callable[[Member | None], None]) -> Member | None:
        """Wait for what the task is given.

        Args:
            waiter: What `add` returned.
            not_used: Takes back what the task was given and cannot use, because it was cancelled meanwhile.

        Raises:
            AssociationClosed: The pool was closed.
            AssociationTimeout: Its batch has waited long enough for a peer that is down (`fail_those`).

        Cancellation: the task waits no more.
        """
        try:
            return await asyncio.shield(waiter._given)
        except asyncio.CancelledError:
            if waiter in self._queue:
                self._queue.remove(waiter)
            elif waiter._given.exception() is None:
                not_used(waiter._given.result())
            raise

    def take(self) -> Waiter:
        """Take out the first task."""
        return self._queue.popleft()

    def take_for(self, member: Member) -> Waiter | None:
        """Take out the first task that can use a member which nobody has."""
        for waiter in self._queue:
            if member.offers(waiter.need.contexts):
                self._queue.remove(waiter)
                return waiter
        return None

    def fail_those(self, is_meant: Callable[[Need], bool], error: Callable[[], Exception]) -> None:
        """End the waiting of some tasks by an error.

        Args:
            is_meant: Says which, by what they need.
            error: Makes the error, one for each of them.
        """
        for waiter in [waiter for waiter in self._queue if is_meant(waiter.need)]:
            self._queue.remove(waiter)
            waiter.fail(error())

    def take_for_room(self, member: Member) -> Waiter | None:
        """Take out the first task if it can use a free place in the operations window of a member that others have.

        Tasks behind it have to wait for it, so that one that needs more is not passed again and again.
        """
        if self._queue and member.has_room:
            waiter = self._queue[0]
            if waiter.need.is_shared and member.offers(waiter.need.contexts):
                return self._queue.popleft()
        return None


def _turn_of(waiter: Waiter) -> int:
    return waiter.turn
