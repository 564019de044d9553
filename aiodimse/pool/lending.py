"""What a pool lends: an association to a block of code, or to one C-FIND, C-GET or C-MOVE."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from types import TracebackType
from typing import Any, Generic, TypeVar

from pydicom.dataset import Dataset

from aiodimse.client import Association
from aiodimse.errors import LocalProtocolError
from aiodimse.pool.member import Member
from aiodimse.pool.members import Members
from aiodimse.pool.waiting import Need
from aiodimse.services.response import Response
from aiodimse.services.user.operation import Operation, WarnsIfUnused
from aiodimse.services.user.query import Find

Item = TypeVar("Item")
Op = TypeVar("Op", bound=Operation[Any])


class Lease:
    """The result of `Pool.acquire`. Enter it to get an association: `async with pool.acquire() as association`."""

    def __init__(self, members: Members, need: Need) -> None:
        self._members, self._need = members, need
        self._member: Member | None = None
        self._is_entered = False

    async def __aenter__(self) -> Association:
        """Take an association of the pool.

        Raises:
            AssociationTimeout: No association was available after `acquire_timeout` seconds; the phase is "acquire",
                and the cause is the error of the last attempt to connect.
            AssociationError: The peer rejects us permanently, TLS failed, or the pool is closed.
            NoAcceptedContext: The peer accepts none of the contexts.
            LocalProtocolError: The pool belongs to another event loop, or this was entered already and not left.

        Cancellation: leaves nothing behind, and takes nothing from other tasks.
        """
        self._members.one_loop.check()
        if self._is_entered:  # one association can be given back, so a second one would be lost to the pool
            raise LocalProtocolError("this has been entered already: Pool.acquire() gives another one")
        self._is_entered = True
        try:
            self._member = await self._members.take(self._need)
        except BaseException:
            self._is_entered = False
            raise
        return self._member.association

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give the association back. The pool closes it if it is broken, or if an operation is still open on it."""
        self._members.one_loop.check()
        member, self._member, self._is_entered = self._member, None, False
        assert member is not None
        self._members.give_back(member)


class PooledOperation(WarnsIfUnused, Generic[Op, Item]):
    """A C-FIND, C-GET or C-MOVE on an association that the pool lends to it until it ends.

    It is used like the operation of an Association: entered (`async with`, which returns the Find, Get or Move),
    iterated (`async for`) or awaited (the final Response).
    """

    def __init__(self, members: Members, service: str, make: Callable[[Association], Op]) -> None:
        self._members, self._service, self._make = members, service, make
        self._lease: Lease | None = None
        self._operation: Op | None = None
        self._is_unused = True

    async def __aenter__(self) -> Op:
        """Send the request on an association of the pool.

        Raises:
            AssociationError: As `Lease.__aenter__` and the operation of an Association raise it.
            NoAcceptedContext: No accepted context can carry the operation.

        Cancellation: leaves nothing behind.
        """
        self._is_unused = False
        self._lease, operation = await self._members.twice(self._start)
        self._operation = operation
        return operation

    async def _start(self) -> tuple[Lease, Op]:
        lease = Lease(self._members, Need(()))
        association = await lease.__aenter__()
        try:
            operation = self._make(association)
            await operation.start()
        except BaseException as error:
            await lease.__aexit__(type(error), error, error.__traceback__)
            raise
        return lease, operation

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave the operation, with C-CANCEL if it has not ended, and give the association back."""
        assert self._operation is not None
        assert self._lease is not None
        try:
            await self._operation.__aexit__(kind, error, traceback)
        finally:
            await self._lease.__aexit__(kind, error, traceback)

    async def __aiter__(self) -> AsyncGenerator[Item, None]:
        """Yield the results of the operation. Raises as iterating the operation does.

        Closing it early (`aclosing(aiter(operation))`) leaves the operation.
        """
        async with self as operation:
            async for item in operation:
                yield item

    def __await__(self) -> Generator[object, None, Response]:
        """Wait for the final response, and return it, whatever its status."""
        self._is_unused = False
        return self._run().__await__()

    async def _run(self) -> Response:
        async with self as operation:
            return await operation


class PooledFind(PooledOperation[Find, Dataset]):
    """A C-FIND of a pool."""

    async def collect(self, limit: int | None = None) -> list[Dataset]:
        """Return the matches as a list.

        Args:
            limit: The largest number of matches to wait for; the operation is then cancelled. None: all.

        Raises:
            DIMSEFailure: The final status is a Failure.
            AssociationError: As `Pool.c_find`.

        Cancellation: leaves the operation. The matches are lost.
        """
        async with self as operation:
            return await operation.collect(limit)
