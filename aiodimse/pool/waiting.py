"""The tasks that wait for an association of a pool, in the order in which they asked."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from aiodimse.association import PresentationContext
from aiodimse.pool.member import Member


class Waiter:
    """A task that waits for an association that offers some contexts, or for a place in which to open one."""

    def __init__(self, wanted: Sequence[PresentationContext], *, shared: bool) -> None:
        self.wanted: Sequence[PresentationContext] = wanted
        self.shared: bool = shared
        """Whether a place in the operations window of the association is enough."""
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

    def add(self, wanted: Sequence[PresentationContext], *, shared: bool) -> Waiter:
        """Put the calling task behind the others."""
        waiter = Waiter(wanted, shared=shared)
        self._queue.append(waiter)
        return waiter

    async def wait(self, waiter: Waiter, not_used: Callable[[Member | None], None]) -> Member | None:
        """Wait for what the task is given.

        Args:
            waiter: What `add` returned.
            not_used: Takes back what the task was given and cannot use, because it was cancelled meanwhile.

        Raises:
            AssociationClosed: The pool was closed.

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
            if member.offers(waiter.wanted):
                self._queue.remove(waiter)
                return waiter
        return None

    def take_for_room(self, member: Member) -> Waiter | None:
        """Take out the first task if it can use a free place in the operations window of a member that others have.

        Tasks behind it have to wait for it, so that one that needs more is not passed again and again.
        """
        if self._queue and member.has_room:
            waiter = self._queue[0]
            if waiter.shared and member.offers(waiter.wanted):
                return self._queue.popleft()
        return None
