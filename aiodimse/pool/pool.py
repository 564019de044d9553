"""Pool: associations to one peer that the tasks of an application share."""

from __future__ import annotations

import itertools
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Sequence,
)
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar, Unpack, overload

from aiodimse.aio.environment import Environment
from aiodimse.association import MAX_CONTEXTS, PresentationContext
from aiodimse.association.negotiation import as_context, operations_window_of
from aiodimse.client import Association
from aiodimse.config import Timeouts
from aiodimse.errors import AssociationError
from aiodimse.metrics import MeasuredPool
from aiodimse.pool.lending import Lease, PooledFind, PooledOperation
from aiodimse.pool.measuring import PoolMeter
from aiodimse.pool.member import WINDOW_AT_MOST
from aiodimse.pool.members import Members
from aiodimse.pool.store_many import StoreMany, StoreResult
from aiodimse.pool.waiting import Need
from aiodimse.requestor import ConnectOptions, connect
from aiodimse.services.arriving import ArrivingInstance
from aiodimse.services.contexts import contexts_to_send
from aiodimse.services.instance import Instance, InstanceSource
from aiodimse.services.open_moves import MoveReceiver
from aiodimse.services.response import Progress, Response
from aiodimse.services.sources import instance_of
from aiodimse.services.user.received_move import ReceivedMove
from aiodimse.services.user.retrieve import Get, Move
from aiodimse.standard.transfer_syntax import DEFAULT_PROPOSED

_numbers = itertools.count(1)

P = ParamSpec("P")
R = TypeVar("R")


def _on_one(
    method: Callable[Concatenate[Association, P], Awaitable[R]],
) -> Callable[Concatenate[Pool, P], Coroutine[Any, Any, R]]:
    """Make a method of Pool that invokes an operation with one response on an association of the pool."""

    @wraps(method)
    async def on_one(self: Pool, /, *args: P.args, **options: P.kwargs) -> R:
        async def once() -> R:
            async with self.acquire() as association:
                return await method(association, *args, **options)

        return await self.twice(once)

    return on_one


class Pool:
    """Up to `max_size` associations to one peer, opened when they are needed and shared by tasks.

    Every operation of Association is also a method of Pool, and runs on an association of its own. It is repeated once
    on another association if the first one ended before the whole request was given to the transport, so a peer that
    closes idle associations or restarts is not noticed. Any other error is raised; `AssociationError.sent` says whether
    the peer may have acted on the request.

    Examples:
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
        """Prepare the pool. Nothing is opened before it is needed.

        Args:
            host: Name or address of the peer.
            port: Its TCP port.
            contexts: What every association proposes: SOP class UIDs or PresentationContext.
            max_size: The largest number of associations, including those that are being opened or released.
            max_idle: Seconds after which an association that no task uses is released. None: never.
            max_uses: The number of uses after which an association is released. None: any number.
            acquire_timeout: Seconds that a caller waits for an association, including the attempts to connect. None:
                forever.
            **options: Further options of `connect`. `Timeouts.release` also bounds how long `close` waits for
                associations in use.

        Raises:
            ValueError: One of the numbers is not positive.
            LocalProtocolError: A context or AE title is not valid for `connect`.
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
        """The number of associations that are open, being opened or being released."""
        return self._members.size

    @property
    def idle(self) -> int:
        """The number of associations that no task uses."""
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

        Tasks that wait for one get AssociationClosed. Associations in use have `Timeouts.release` seconds to be given
        back; then they are aborted.

        Raises:
            LocalProtocolError: The pool belongs to another event loop.

        Cancellation: aborts them at once, and leaves nothing behind.
        """
        await self._close(self._grace)

    async def _close(self, grace: float | None) -> None:
        self._members.one_loop.check()
        for many in list(self._many):
            await many.aclose()
        await self._members.close(grace)

    # --- associations -------------------------------------------------------------------------------------------------

    def acquire(self, contexts: Sequence[str | PresentationContext] = ()) -> Lease:
        """Lend an association: `async with pool.acquire() as association`.

        Args:
            contexts: Contexts in addition to those of the pool. The association has proposed them; if no free one has,
                a new one is opened.

        Returns:
            A context manager: entering it gets the association, leaving it gives the association back.
        """
        return self._lease(contexts)

    def _lease(self, contexts: Sequence[str | PresentationContext], batch: float | None = None) -> Lease:
        wanted = [as_context(item) for item in contexts]
        for context in wanted:
            self._wanted.pop(_key(context), None)
            self._wanted[_key(context)] = context
        while len(self._wanted) > MAX_CONTEXTS:  # keep the contexts that were wanted last
            del self._wanted[next(iter(self._wanted))]
        return Lease(self._members, Need(wanted, batch))

    async def _open(self, wanted: Sequence[PresentationContext]) -> Association:
        """Open an association with the contexts of the pool and those that are wanted.

        If there is room for more, the contexts of `storage` are added, and then those that were wanted before.
        """
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
            operation: Takes an association of the pool, and invokes an operation on it.

        Returns:
            What the operation returns.

        Raises:
            AssociationError: The second run failed, or the first did after its request may have reached the peer.
        """
        return await self._members.twice(operation)

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
            **options: As for `Association.c_store`.

        Returns:
            The Response, whatever its status.

        Raises:
            NotDICOM: The file is not a DICOM file.
            NoAcceptedContext: The peer accepts no context for the instance.
            AssociationError: No association was available, or it ended; `sent` says whether the peer may have the
                instance.

        Cancellation: as for `Association.c_store`.
        """
        return await self._store(instance, options)

    async def _store(self, instance: InstanceSource, options: dict[str, Any], batch: float | None = None) -> Response:
        source = await instance_of(instance)

        async def once() -> Response:
            async with self._lease(self._contexts_of(source, options), batch) as association:
                return await association.c_store(source, **options)

        if isinstance(source, Instance) and source.reads_once:  # it cannot be sent a second time
            return await once()
        return await self.twice(once)

    def _contexts_of(self, instance: Instance, options: dict[str, Any]) -> Sequence[PresentationContext]:
        """Return the contexts to propose for an instance: its own, the Little Endian pair and lossless ones."""
        transcode = options.get("transcode")
        if transcode is None:
            transcode = self._options.get("transcode", True)
        return contexts_to_send([(instance.sop_class_uid, instance.transfer_syntax)], transcode=transcode)

    def c_find(self, identifier: Any, *args: Any, **options: Any) -> PooledFind:
        """Send a C-FIND on an association of its own. The arguments are those of `Association.c_find`.

        Args:
            identifier: The Identifier.
            *args: As for `Association.c_find`.
            **options: As for `Association.c_find`.

        Returns:
            The operation, to be entered, iterated, awaited or collected.
        """
        return PooledFind(self._members, "C-FIND", lambda association: association.c_find(identifier, *args, **options))

    def c_get(self, identifier: Any, *args: Any, **options: Any) -> PooledOperation[Get, ArrivingInstance]:
        """Send a C-GET on an association of its own. The arguments are those of `Association.c_get`.

        Args:
            identifier: The Identifier.
            *args: As for `Association.c_get`.
            **options: As for `Association.c_get`.

        Returns:
            The operation, to be entered, iterated or awaited.
        """
        return PooledOperation(
            self._members, "C-GET", lambda association: association.c_get(identifier, *args, **options)
        )

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
        """Send a C-MOVE on an association of its own. The arguments are those of `Association.c_move`.

        Args:
            identifier: The Identifier.
            *args: As for `Association.c_move`.
            receiver: A Server of ours that listens under the destination's AE title; the operation then yields the
                instances. None: it yields the Progress of each Pending response.
            **options: As for `Association.c_move`.

        Returns:
            The operation, to be entered, iterated or awaited.
        """
        return PooledOperation(
            self._members,
            "C-MOVE",
            lambda association: association.c_move(identifier, *args, receiver=receiver, **options),
        )

    async def c_store_many(
        self,
        sources: Iterable[InstanceSource] | AsyncIterable[InstanceSource],
        *,
        attempts: int = 1,
        **options: Any,
    ) -> AsyncGenerator[StoreResult, None]:
        """Send many instances at a time, on all associations of the pool and in all places of their operations windows.

        Args:
            sources: Paths, Datasets or Instances, from a plain or an async iterable. It is read as fast as they are
                sent. A generator is closed when the sending ends, also early.
            attempts: How often to try an instance if the association ends while it is sent. A second C-STORE of the
                same instance does no harm at a provider that follows the standard.
            **options: As for `Association.c_store`.

        Yields:
            A StoreResult for each instance, in the order in which they are done. An error with one instance is in its
            own result. They wait for a peer that is down together: when it has been down for `acquire_timeout` seconds,
            each gets its AssociationTimeout without waiting, until an association can be opened again.

        Raises:
            ValueError: attempts is not a positive number.

        Cancellation: stops the sending, as leaving the loop does. What was sent remains sent.
        """
        if attempts < 1:
            raise ValueError(f"attempts is 1 or more, not {attempts}")
        began = self._members.now()

        async def store(source: InstanceSource) -> Response:
            for _ in range(attempts - 1):
                try:
                    return await self._store(source, options, began)
                except AssociationError:
                    if isinstance(source, Instance) and source.reads_once:
                        raise
            return await self._store(source, options, began)

        invoked, _ = operations_window_of(self._options.get("operations_window", 1))
        side_by_side = self.max_size * (invoked or WINDOW_AT_MOST)
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
