"""Pool: associations to one peer that the tasks of an application share."""

from __future__ import annotations

import itertools
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Awaitable,
    Callable,
    Coroutine,
    Generator,
    Iterable,
    Sequence,
)
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, Unpack, overload

from pydicom.dataset import Dataset

from aiodimse.aio.environment import Environment
from aiodimse.association import MAX_CONTEXTS, PresentationContext
from aiodimse.association.negotiation import as_context
from aiodimse.client import Association
from aiodimse.config import Timeouts
from aiodimse.errors import AssociationError
from aiodimse.metrics import MeasuredPool
from aiodimse.pool.measuring import PoolMeter
from aiodimse.pool.members import Member, Members
from aiodimse.pool.store_many import StoreMany, StoreResult
from aiodimse.requestor import ConnectOptions, connect
from aiodimse.services.arriving import ArrivingInstance
from aiodimse.services.contexts import contexts_to_send
from aiodimse.services.instance import Instance, InstanceSource
from aiodimse.services.open_moves import MoveReceiver
from aiodimse.services.response import Progress, Response
from aiodimse.services.sources import instance_of
from aiodimse.services.user.operation import Operation
from aiodimse.services.user.query import Find
from aiodimse.services.user.received_move import ReceivedMove
from aiodimse.services.user.retrieve import Get, Move
from aiodimse.standard.transfer_syntax import DEFAULT_PROPOSED

_numbers = itertools.count(1)

P = ParamSpec("P")
R = TypeVar("R")
Item = TypeVar("Item")
Op = TypeVar("Op", bound=Operation[Any])


class Lease:
    """What `Pool.acquire` returns. Enter it to have an association: `async with pool.acquire() as association`."""

    def __init__(self, members: Members, wanted: Sequence[PresentationContext], *, shared: bool = False) -> None:
        self._members, self._wanted, self._shared = members, wanted, shared
        self._member: Member | None = None

    async def __aenter__(self) -> Association:
        """Take an association of the pool.

        Raises:
            AssociationTimeout: With phase "acquire", after `acquire_timeout` seconds; its cause is what the last
                attempt to connect met.
            AssociationError: The peer rejects us for good, refuses our TLS, or the pool is closed.
            NoAcceptedContext: The peer accepts none of the contexts.

        Cancellation: A cancelled await leaves nothing behind, and takes nothing from others.
        """
        self._member = await self._members.take(self._wanted, shared=self._shared)
        return self._member.association

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Give the association back. The pool closes it if it is broken, or if an operation was left open on it."""
        member, self._member = self._member, None
        assert member is not None
        self._members.give_back(member)


class PooledOperation(Generic[Op, Item]):
    """A C-FIND, C-GET or C-MOVE on an association that the pool lends to it until it ends.

    It is used like the operation of an Association: entered (`async with`, which gives the Find, Get or Move itself),
    iterated (`async for`) or awaited (the final Response).
    """

    def __init__(self, pool: Pool, make: Callable[[Association], Op]) -> None:
        self._pool, self._make = pool, make
        self._lease: Lease | None = None
        self._operation: Op | None = None

    async def __aenter__(self) -> Op:
        """Send the request on an association of its own.

        Raises:
            AssociationError: As `Lease.__aenter__`, and as the operation of an Association raises it.
            NoAcceptedContext: No accepted context carries the operation.

        Cancellation: A cancelled await leaves nothing behind.
        """
        self._lease, operation = await self._pool.twice(self._start)
        self._operation = operation
        return operation

    async def _start(self) -> tuple[Lease, Op]:
        lease = self._pool.acquire()
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
        """Leave the operation, by C-CANCEL if it has not ended, and give the association back."""
        assert self._operation is not None
        assert self._lease is not None
        try:
            await self._operation.__aexit__(kind, error, traceback)
        finally:
            await self._lease.__aexit__(kind, error, traceback)

    async def __aiter__(self) -> AsyncGenerator[Item, None]:
        """What the operation gives, one after the other; raises as iterating the operation does. Closed early
        (`aclosing(aiter(operation))`), it leaves the operation."""
        async with self as operation:
            async for item in operation:
                yield item

    def __await__(self) -> Generator[object, None, Response]:
        """Wait for the final response, and return it, whatever its status."""
        return self._run().__await__()

    async def _run(self) -> Response:
        async with self as operation:
            return await operation


class PooledFind(PooledOperation[Find, Dataset]):
    """A C-FIND of a pool."""

    async def collect(self, limit: int | None = None) -> list[Dataset]:
        """Return the matches as a list.

        Args:
            limit: The most matches to wait for; the rest is cancelled. None: all.

        Raises:
            DIMSEFailure: The final status is a Failure.
            AssociationError: As `Pool.c_find`.

        Cancellation: A cancelled await leaves the operation; what it had found is lost.
        """
        async with self as operation:
            return await operation.collect(limit)


def _on_one(
    method: Callable[Concatenate[Association, P], Awaitable[R]],
) -> Callable[Concatenate[Pool, P], Coroutine[Any, Any, R]]:
    """Make the method of Pool that invokes an operation with one response on an association of the pool."""

    @wraps(method)
    async def on_one(self: Pool, /, *args: P.args, **options: P.kwargs) -> R:
        async def once() -> R:
            async with self.acquire() as association:
                return await method(association, *args, **options)

        return await self.twice(once)

    return on_one


class Pool:
    """Up to `max_size` associations to one peer, opened when they are needed and shared by tasks.

    Every operation of Association is a method here too, and runs on an association of its own. It is repeated once, on
    another association, where the first had ended before its request was wholly given to the transport: a peer that
    closes idle associations or is restarted is not noticed. Any other error goes to the caller; `AssociationError.sent`
    tells whether the peer may have acted on the request.

    Example:
        >>> async with aiodimse.Pool("pacs.example", 11112, called_ae_title="PACS", contexts=[FIND]) as pool:
        ...     async with pool.c_find(identifier, FIND) as matches:
        ...         async for match in matches: ...
        ...     async for result in pool.c_store_many(paths): ...
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        contexts: Sequence[str | PresentationContext],
        max_size: int = 4,
        max_idle: float | None = 30.0,
        max_uses: int | None = None,
        acquire_timeout: float | None = 10.0,
        **options: Unpack[ConnectOptions],
    ) -> None:
        """Describe the pool; nothing is opened before it is needed.

        Args:
            host: Name or address of the peer.
            port: Its TCP port.
            contexts: What every association proposes: SOP class UIDs or PresentationContext.
            max_size: The most associations at a time, those that are being opened or released included.
            max_idle: Seconds after which an association that nobody uses is released. None: never.
            max_uses: After being handed out so many times an association is released. None: never.
            acquire_timeout: Seconds that a caller waits for an association, the attempts to connect included. None: for
                ever.
            **options: Everything else that `connect` takes. `Timeouts.release` also bounds how long `close` waits for
                associations in use.

        Raises:
            ValueError: A bound that bounds nothing.
            LocalProtocolError: A context or AE title that `connect` would not take.
        """
        _check_bounds(max_size=max_size, max_idle=max_idle, max_uses=max_uses, acquire_timeout=acquire_timeout)
        self._host, self._port = host, port
        self._options = options
        self._grace = (options.get("timeouts") or Timeouts()).release
        self._contexts = [as_context(context) for context in contexts]
        self._wanted: dict[tuple[str, tuple[str, ...]], PresentationContext] = {}
        connect(host, port, contexts=contexts, **options)  # Wrong arguments raise here.
        self._many: set[StoreMany] = set()
        self.max_size: int = max_size
        clock, peer = (options.get("environment") or Environment()).clock, f"{host}:{port}"
        self._members = Members(
            self._open,
            clock,
            peer=peer,
            meter=PoolMeter(
                options.get("metrics"),
                clock,
                MeasuredPool(peer, options.get("called_ae_title", "ANY-SCP"), next(_numbers)),
            ),
            max_size=max_size,
            max_idle=max_idle,
            max_uses=max_uses,
            acquire_timeout=acquire_timeout,
        )

    def __repr__(self) -> str:
        return f"<Pool {self._host}:{self._port} {self.size} of {self.max_size} associations, {self.idle} idle>"

    @property
    def size(self) -> int:
        """Associations that are open, being opened or being released."""
        return self._members.size

    @property
    def idle(self) -> int:
        """Associations that nobody uses."""
        return self._members.idle

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the pool. If the block raised, associations in use are aborted at once."""
        await self._close(self._grace if kind is None else 0.0)

    async def close(self) -> None:
        """Release every association of the pool.

        Who waits for one gets AssociationClosed. Associations in use have `Timeouts.release` seconds to come back, then
        they are aborted.

        Cancellation: A cancelled close aborts them at once; nothing is left behind.
        """
        await self._close(self._grace)

    async def _close(self, grace: float | None) -> None:
        for many in list(self._many):
            await many.aclose()
        await self._members.close(grace)

    # --- associations -------------------------------------------------------------------------------------------------

    def acquire(self, contexts: Sequence[str | PresentationContext] = ()) -> Lease:
        """Lend an association: `async with pool.acquire() as association`.

        Args:
            contexts: Wanted beside those of the pool. An association that has proposed them is handed out, or opened.

        Returns:
            What is entered to have the association and left to give it back.
        """
        return self._lease(contexts, shared=False)

    def _lease(self, contexts: Sequence[str | PresentationContext], *, shared: bool) -> Lease:
        wanted = [as_context(item) for item in contexts]
        for context in wanted:
            self._wanted.pop(_key(context), None)
            self._wanted[_key(context)] = context
        while len(self._wanted) > MAX_CONTEXTS:  # The contexts that were wanted last stay.
            del self._wanted[next(iter(self._wanted))]
        return Lease(self._members, wanted, shared=shared)

    async def _open(self, wanted: Sequence[PresentationContext]) -> Association:
        """Open an association with the contexts of the pool and those wanted now. What room is left has the contexts of
        `storage`, and then those wanted before."""
        contexts = {_key(context): context for context in (*self._contexts, *wanted)}
        options = self._options.copy()
        room = MAX_CONTEXTS - len(contexts)
        if (storage := options.get("storage")) is not None:
            options["storage"] = storage = list(storage)[:room]
            room -= len(storage)
        for key, context in reversed(self._wanted.items()):
            if room and key not in contexts:
                contexts[key] = context
                room -= 1
        return await connect(self._host, self._port, contexts=list(contexts.values()), **options)

    async def twice(self, operation: Callable[[], Awaitable[R]]) -> R:
        """Run an operation, and run it once more if nothing of its request can have reached the peer.

        Args:
            operation: Takes an association of the pool, and invokes the operation on it.

        Returns:
            What the operation returns.

        Raises:
            AssociationError: The second run ended so, or the first after its request may have reached the peer.
        """
        try:
            return await operation()
        except AssociationError as error:
            if error.sent is not False or self._members.closed:
                raise
        return await operation()

    # --- operations ---------------------------------------------------------------------------------------------------

    c_echo = _on_one(Association.c_echo)
    n_event_report = _on_one(Association.n_event_report)
    n_get = _on_one(Association.n_get)
    n_set = _on_one(Association.n_set)
    n_action = _on_one(Association.n_action)
    n_create = _on_one(Association.n_create)
    n_delete = _on_one(Association.n_delete)

    async def c_store(self, instance: InstanceSource, **options: Any) -> Response:
        """Send one instance on an association that proposes its SOP class and transfer syntax (PS3.7 9.1.1).

        Args:
            instance: A path, a pydicom Dataset or an Instance.
            **options: As `Association.c_store`.

        Returns:
            The Response, whatever its status.

        Raises:
            NotDICOM: The file is no DICOM file.
            NoAcceptedContext: The peer does not take such an instance.
            AssociationError: The association could not be had, or ended; `sent` tells whether the peer may have the
                instance.

        Cancellation: As `Association.c_store`.
        """
        return await self._store(instance, options, shared=False)

    async def _store(self, instance: InstanceSource, options: dict[str, Any], *, shared: bool) -> Response:
        source = await instance_of(instance)

        async def once() -> Response:
            async with self._lease(self._contexts_of(source, options), shared=shared) as association:
                return await association.c_store(source, **options)

        if isinstance(source, Instance) and source.reads_once:  # Its bytes can be read only once.
            return await once()
        return await self.twice(once)

    def _contexts_of(self, instance: Instance, options: dict[str, Any]) -> Sequence[PresentationContext]:
        """Return the contexts to propose for this instance: as it is stored, the Little Endian pair, and lossless
        compressions."""
        transcode = options.get("transcode")
        if transcode is None:
            transcode = self._options.get("transcode", True)
        return contexts_to_send([(instance.sop_class_uid, instance.transfer_syntax)], transcode=transcode)

    def c_find(self, identifier: Any, *args: Any, **options: Any) -> PooledFind:
        """C-FIND on an association of its own; arguments as `Association.c_find`.

        Args:
            identifier: The Identifier.
            *args: As there.
            **options: As there.

        Returns:
            To be entered, iterated, awaited or collected.
        """
        return PooledFind(self, lambda association: association.c_find(identifier, *args, **options))

    def c_get(self, identifier: Any, *args: Any, **options: Any) -> PooledOperation[Get, ArrivingInstance]:
        """C-GET on an association of its own; arguments as `Association.c_get`.

        Args:
            identifier: The Identifier.
            *args: As there.
            **options: As there.

        Returns:
            To be entered, iterated or awaited.
        """
        return PooledOperation(self, lambda association: association.c_get(identifier, *args, **options))

    @overload
    def c_move(
        self, identifier: Any, *args: Any, receiver: MoveReceiver, **options: Any
    ) -> PooledOperation[ReceivedMove, ArrivingInstance]: ...

    @overload
    def c_move(
        self, identifier: Any, *args: Any, receiver: None = None, **options: Any
    ) -> PooledOperation[Move, Progress]: ...

    def c_move(
        self, identifier: Any, *args: Any, receiver: MoveReceiver | None = None, **options: Any
    ) -> PooledOperation[Any, Any]:
        """C-MOVE on an association of its own; arguments as `Association.c_move`.

        Args:
            identifier: The Identifier.
            *args: As there.
            receiver: A Server of ours that listens under the destination's AE title: the operation then gives the
                instances. None: it gives the Progress of each Pending response.
            **options: As there.

        Returns:
            To be entered, iterated or awaited.
        """
        return PooledOperation(
            self, lambda association: association.c_move(identifier, *args, receiver=receiver, **options)
        )

    async def c_store_many(
        self,
        sources: Iterable[InstanceSource] | AsyncIterable[InstanceSource],
        *,
        attempts: int = 1,
        **options: Any,
    ) -> AsyncGenerator[StoreResult, None]:
        """Send many instances, on all associations of the pool and in all places of their operations windows at once.

        Args:
            sources: Paths, Datasets or Instances, from a plain or an async iterable; read as fast as they are sent.
            attempts: How often an instance is tried where the association ended while it was sent. A second C-STORE of
                the same instance does no harm at a provider that keeps to the standard.
            **options: As `Association.c_store`.

        Yields:
            A StoreResult for each instance, in the order in which they are done. What is wrong with one instance is in
            its own result.

        Raises:
            ValueError: attempts is no positive number.

        Cancellation: A cancelled await, and leaving the loop early, stop the sending; what was sent stays sent.
        """
        if attempts < 1:
            raise ValueError(f"attempts is 1 or more, not {attempts}")

        async def store(source: InstanceSource) -> Response:
            for _ in range(attempts - 1):
                try:
                    return await self._store(source, options, shared=True)
                except AssociationError:
                    if isinstance(source, Instance) and source.reads_once:
                        raise
            return await self._store(source, options, shared=True)

        window = self._options.get("operations_window", 1)
        side_by_side = self.max_size * max(1, window if isinstance(window, int) else window[0])
        many = StoreMany(store, sources, side_by_side)
        self._many.add(many)
        try:
            async for result in many:
                yield result
        finally:
            await many.aclose()
            self._many.discard(many)


def _key(context: PresentationContext) -> tuple[str, tuple[str, ...]]:
    """Return the key by which two contexts are the same proposal."""
    return context.uid, tuple(context.transfer_syntaxes or DEFAULT_PROPOSED)


def _check_bounds(**bounds: float | None) -> None:
    for name, value in bounds.items():
        if value is not None and not (isinstance(value, (int, float)) and value > 0):
            raise ValueError(f"{name} is a positive number or None, not {value!r}")
    if bounds["max_size"] is None:
        raise ValueError("max_size is a number: an association of a pool costs the peer one of its own")
