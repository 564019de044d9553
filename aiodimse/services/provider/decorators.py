"""The `on_*` decorators of a Server, which register handlers, each typed by what its service needs of a handler."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar, overload

from aiodimse.association.extended import Extended
from aiodimse.services.provider import handler_types
from aiodimse.services.provider.registry import HandlerRegistry

Echo = TypeVar("Echo", bound=handler_types.EchoHandler)
Store = TypeVar("Store", bound=handler_types.StoreHandler)
Find = TypeVar("Find", bound=handler_types.FindHandler)
Get = TypeVar("Get", bound=handler_types.GetHandler)
Move = TypeVar("Move", bound=handler_types.MoveHandler)
EventReport = TypeVar("EventReport", bound=handler_types.EventReportHandler)
NGet = TypeVar("NGet", bound=handler_types.NGetHandler)
NSet = TypeVar("NSet", bound=handler_types.NSetHandler)
Action = TypeVar("Action", bound=handler_types.ActionHandler)
Create = TypeVar("Create", bound=handler_types.CreateHandler)
Delete = TypeVar("Delete", bound=handler_types.DeleteHandler)

UIDs = Iterable[str]


class HandlerDecorators:
    """Decorators, used as `@server.on_c_find`, `@server.on_c_find(uid, ...)` or `server.on_c_find(uid)(function)`.

    A SOP class has one handler for each service; a second one is refused. A handler that is registered without SOP
    classes serves those that have none of their own, whichever came first.
    """

    def __init__(self, registry: HandlerRegistry) -> None:
        self._registry = registry

    def _decorate(self, service: str, uids: tuple[Any, ...], transfer_syntaxes: UIDs | None, extended: Any) -> Any:
        if len(uids) == 1 and not isinstance(uids[0], str) and callable(uids[0]):
            self._registry.register(service, (), uids[0])
            return uids[0]

        def decorate(handler: Callable[..., Any]) -> Callable[..., Any]:
            self._registry.register(service, uids, handler, transfer_syntaxes=transfer_syntaxes, extended=extended)
            return handler

        return decorate

    @overload
    def on_c_echo(self, handler: Echo, /) -> Echo: ...

    @overload
    def on_c_echo(
        self, *uids: str, transfer_syntaxes: UIDs | None = None, extended: Extended | None = None
    ) -> Callable[[Echo], Echo]: ...

    def on_c_echo(self, *uids: Any, transfer_syntaxes: UIDs | None = None, extended: Extended | None = None) -> Any:
        """Decorate the handler of C-ECHO (PS3.7 9.1.5, PS3.4 A): `async def echo(request)`.

        Without a handler, C-ECHO is answered with Success.

        Args:
            *uids: SOP classes with a C-ECHO; none: Verification.
            transfer_syntaxes: UIDs that are accepted; Implicit, Explicit and Deflated Little Endian if not given.
            extended: The extended negotiation that is supported; None: none.

        Returns:
            The handler itself. It returns a status, or None for Success.

        Raises:
            TypeError: It cannot be a handler of this service: a plain `def`, another number of parameters, a generator.
            LocalProtocolError: A UID is invalid, or a SOP class has no C-ECHO, or has a handler for it already.
        """
        return self._decorate("C-ECHO", uids, transfer_syntaxes, extended)

    @overload
    def on_c_store(self, handler: Store, /) -> Store: ...

    @overload
    def on_c_store(
        self, *uids: str, transfer_syntaxes: UIDs | None = None, extended: Extended | None = None
    ) -> Callable[[Store], Store]: ...

    def on_c_store(self, *uids: Any, transfer_syntaxes: UIDs | None = None, extended: Extended | None = None) -> Any:
        """Decorate the handler of C-STORE (PS3.7 9.1.1, PS3.4 B): `async def store(request)`.

        The handler is called when the command set has arrived; the data set arrives while it runs. The handler can read
        it once: `await request.save(folder)`, `await request.dataset()`, or `async for piece in request.stream()`.

        Args:
            *uids: Storage SOP classes; none: all that are known, and with Server(any_storage=True) those that are not.
            transfer_syntaxes: UIDs that are accepted; every one that a presentation context can have if not given.
            extended: The extended negotiation that is supported; None: none.

        Returns:
            The handler itself. It returns a status (PS3.4 B.2.3): 0x0000, a warning Bxxx, a failure.

        Raises:
            TypeError: As for on_c_echo.
            LocalProtocolError: A UID is invalid, or a SOP class has no C-STORE, or has a handler for it already.

        Examples:
            >>> @server.on_c_store
            ... async def store(request: aiodimse.StoreRequest) -> int:
            ...     await request.save("/data/dicom")
            ...     return 0x0000
        """
        return self._decorate("C-STORE", uids, transfer_syntaxes, extended)

    @overload
    def on_c_find(self, handler: Find, /) -> Find: ...

    @overload
    def on_c_find(
        self, *uids: str, transfer_syntaxes: UIDs | None = None, extended: Extended | None = None
    ) -> Callable[[Find], Find]: ...

    def on_c_find(self, *uids: Any, transfer_syntaxes: UIDs | None = None, extended: Extended | None = None) -> Any:
        """Decorate the handler of C-FIND (PS3.7 9.1.2, PS3.4 C.4.1): an async generator of matches.

        C-CANCEL cancels the handler where it waits: its `finally` runs, and the response is FE00
        (docs/topics/cancellation.md).

        Args:
            *uids: SOP classes with a C-FIND; none: those of Query/Retrieve.
            transfer_syntaxes: UIDs that are accepted; Implicit, Explicit and Deflated Little Endian if not given.
            extended: The extended negotiation that is supported, such as ExtendedQuery; None: none.

        Returns:
            The handler itself. It yields a Dataset or EncodedDataset (Pending), a pair (status, data set), or the final
            status. If it ends without a final status, that is Success.

        Raises:
            TypeError: As for on_c_echo, but the handler may be a generator.
            LocalProtocolError: A UID is invalid, or a SOP class has no C-FIND, or has a handler for it already.

        Examples:
            >>> @server.on_c_find
            ... async def find(request: aiodimse.FindRequest) -> AsyncIterator[Dataset]:
            ...     async for row in database.search(request.identifier):
            ...         yield row
        """
        return self._decorate("C-FIND", uids, transfer_syntaxes, extended)

    @overload
    def on_c_get(self, handler: Get, /) -> Get: ...

    @overload
    def on_c_get(
        self, *uids: str, transfer_syntaxes: UIDs | None = None, extended: Extended | None = None
    ) -> Callable[[Get], Get]: ...

    def on_c_get(self, *uids: Any, transfer_syntaxes: UIDs | None = None, extended: Extended | None = None) -> Any:
        """Decorate the handler of C-GET (PS3.7 9.1.3, PS3.4 C.4.3): an async generator of instances.

        With such a handler, every storage SOP class is accepted for which the peer proposes the SCP role. The library
        performs the sub-operations, and sends the counters and responses. C-CANCEL acts as for on_c_find.

        Args:
            *uids: SOP classes with a C-GET; none: those of Query/Retrieve.
            transfer_syntaxes: UIDs that are accepted; Implicit, Explicit and Deflated Little Endian if not given.
            extended: The extended negotiation that is supported, such as ExtendedRetrieve; None: none.

        Returns:
            The handler itself. It yields the number of instances as an int, and then each instance: a path, a Dataset,
            an EncodedDataset or an Instance, alone or in a pair (status, instance). The counters determine the final
            status, unless the handler yields one.

        Raises:
            TypeError: As on_c_find.
            LocalProtocolError: A UID is invalid, or a SOP class has no C-GET, or has a handler for it already.
        """
        return self._decorate("C-GET", uids, transfer_syntaxes, extended)

    @overload
    def on_c_move(self, handler: Move, /) -> Move: ...

    @overload
    def on_c_move(
        self, *uids: str, transfer_syntaxes: UIDs | None = None, extended: Extended | None = None
    ) -> Callable[[Move], Move]: ...

    def on_c_move(self, *uids: Any, transfer_syntaxes: UIDs | None = None, extended: Extended | None = None) -> Any:
        """Decorate the handler of C-MOVE (PS3.7 9.1.4, PS3.4 C.4.2): an async generator of instances.

        It is like on_c_get, but the instances are sent on an association of their own to the destination.

        Args:
            *uids: SOP classes with a C-MOVE; none: those of Query/Retrieve.
            transfer_syntaxes: UIDs that are accepted; Implicit, Explicit and Deflated Little Endian if not given.
            extended: The extended negotiation that is supported, such as ExtendedRetrieve; None: none.

        Returns:
            The handler itself. It yields a Destination or (host, port), or None if `request.move_destination` is not
            known (A801); then the same as a C-GET handler.

        Raises:
            TypeError: As on_c_find.
            LocalProtocolError: A UID is invalid, or a SOP class has no C-MOVE, or has a handler for it already.

        Examples:
            >>> @server.on_c_move
            ... async def move(request: aiodimse.MoveRequest) -> AsyncIterator[Any]:
            ...     yield destinations.get(request.move_destination)
            ...     paths = await index.paths(request.identifier)
            ...     yield len(paths)
            ...     for path in paths:
            ...         yield path
        """
        return self._decorate("C-MOVE", uids, transfer_syntaxes, extended)

    @overload
    def on_n_event_report(self, handler: EventReport, /) -> EventReport: ...

    @overload
    def on_n_event_report(
        self, *uids: str, transfer_syntaxes: UIDs | None = None, extended: Extended | None = None
    ) -> Callable[[EventReport], EventReport]: ...

    def on_n_event_report(
        self, *uids: Any, transfer_syntaxes: UIDs | None = None, extended: Extended | None = None
    ) -> Any:
        """Decorate the handler of N-EVENT-REPORT (PS3.7 10.1.1): `async def handler(request)`.

        The handler gets request.event_type_id and request.dataset, the Event Information.
        With one, the association requestor may be the SCP that reports.

        Args:
            *uids: SOP classes with an N-EVENT-REPORT; none: all that are known.
            transfer_syntaxes: UIDs that are accepted; Implicit, Explicit and Deflated Little Endian if not given.
            extended: The extended negotiation that is supported; None: none.

        Returns:
            The handler itself. It returns a status, a Dataset (Success), or a (status, Dataset) pair; the data set is
            the Event Reply.

        Raises:
            TypeError: As for on_c_echo.
            LocalProtocolError: A UID is invalid, or a SOP class has no N-EVENT-REPORT, or has a handler for it already.
        """
        return self._decorate("N-EVENT-REPORT", uids, transfer_syntaxes, extended)

    @overload
    def on_n_get(self, handler: NGet, /) -> NGet: ...

    @overload
    def on_n_get(
        self, *uids: str, transfer_syntaxes: UIDs | None = None, extended: Extended | None = None
    ) -> Callable[[NGet], NGet]: ...

    def on_n_get(self, *uids: Any, transfer_syntaxes: UIDs | None = None, extended: Extended | None = None) -> Any:
        """Decorate the handler of N-GET (PS3.7 10.1.2): `async def handler(request)`.

        The handler gets request.sop_instance_uid and request.attribute_identifier_list.

        Args:
            *uids: SOP classes with an N-GET; none: all that are known.
            transfer_syntaxes: UIDs that are accepted; Implicit, Explicit and Deflated Little Endian if not given.
            extended: The extended negotiation that is supported; None: none.

        Returns:
            The handler itself. It returns a status, a Dataset (Success), or a (status, Dataset) pair; the data set is
            the Attribute List.

        Raises:
            TypeError: As for on_c_echo.
            LocalProtocolError: A UID is invalid, or a SOP class has no N-GET, or has a handler for it already.
        """
        return self._decorate("N-GET", uids, transfer_syntaxes, extended)

    @overload
    def on_n_set(self, handler: NSet, /) -> NSet: ...

    @overload
    def on_n_set(
        self, *uids: str, transfer_syntaxes: UIDs | None = None, extended: Extended | None = None
    ) -> Callable[[NSet], NSet]: ...

    def on_n_set(self, *uids: Any, transfer_syntaxes: UIDs | None = None, extended: Extended | None = None) -> Any:
        """Decorate the handler of N-SET (PS3.7 10.1.3): `async def handler(request)`.

        The handler gets request.sop_instance_uid and request.dataset, the Modification List.

        Args:
            *uids: SOP classes with an N-SET; none: all that are known.
            transfer_syntaxes: UIDs that are accepted; Implicit, Explicit and Deflated Little Endian if not given.
            extended: The extended negotiation that is supported; None: none.

        Returns:
            The handler itself. It returns a status, a Dataset (Success), or a (status, Dataset) pair; the data set is
            the Attribute List as it is now.

        Raises:
            TypeError: As for on_c_echo.
            LocalProtocolError: A UID is invalid, or a SOP class has no N-SET, or has a handler for it already.
        """
        return self._decorate("N-SET", uids, transfer_syntaxes, extended)

    @overload
    def on_n_action(self, handler: Action, /) -> Action: ...

    @overload
    def on_n_action(
        self, *uids: str, transfer_syntaxes: UIDs | None = None, extended: Extended | None = None
    ) -> Callable[[Action], Action]: ...

    def on_n_action(self, *uids: Any, transfer_syntaxes: UIDs | None = None, extended: Extended | None = None) -> Any:
        """Decorate the handler of N-ACTION (PS3.7 10.1.4): `async def handler(request)`.

        The handler gets request.action_type_id and request.dataset, the Action Information.

        Args:
            *uids: SOP classes with an N-ACTION; none: all that are known.
            transfer_syntaxes: UIDs that are accepted; Implicit, Explicit and Deflated Little Endian if not given.
            extended: The extended negotiation that is supported; None: none.

        Returns:
            The handler itself. It returns a status, a Dataset (Success), or a (status, Dataset) pair; the data set is
            the Action Reply.

        Raises:
            TypeError: As for on_c_echo.
            LocalProtocolError: A UID is invalid, or a SOP class has no N-ACTION, or has a handler for it already.
        """
        return self._decorate("N-ACTION", uids, transfer_syntaxes, extended)

    @overload
    def on_n_create(self, handler: Create, /) -> Create: ...

    @overload
    def on_n_create(
        self, *uids: str, transfer_syntaxes: UIDs | None = None, extended: Extended | None = None
    ) -> Callable[[Create], Create]: ...

    def on_n_create(self, *uids: Any, transfer_syntaxes: UIDs | None = None, extended: Extended | None = None) -> Any:
        """Decorate the handler of N-CREATE (PS3.7 10.1.5): `async def handler(request)`.

        The handler gets request.sop_instance_uid, which may be "", and request.dataset, the Attribute List.

        Args:
            *uids: SOP classes with an N-CREATE; none: all that are known.
            transfer_syntaxes: UIDs that are accepted; Implicit, Explicit and Deflated Little Endian if not given.
            extended: The extended negotiation that is supported; None: none.

        Returns:
            The handler itself. It returns a status, a Dataset (Success), or a (status, Dataset) pair; the data set is
            the Attribute List as created.

        Raises:
            TypeError: As for on_c_echo.
            LocalProtocolError: A UID is invalid, or a SOP class has no N-CREATE, or has a handler for it already.
        """
        return self._decorate("N-CREATE", uids, transfer_syntaxes, extended)

    @overload
    def on_n_delete(self, handler: Delete, /) -> Delete: ...

    @overload
    def on_n_delete(
        self, *uids: str, transfer_syntaxes: UIDs | None = None, extended: Extended | None = None
    ) -> Callable[[Delete], Delete]: ...

    def on_n_delete(self, *uids: Any, transfer_syntaxes: UIDs | None = None, extended: Extended | None = None) -> Any:
        """Decorate the handler of N-DELETE (PS3.7 10.1.6): `async def handler(request)`.

        The handler gets request.sop_instance_uid.

        Args:
            *uids: SOP classes with an N-DELETE; none: all that are known.
            transfer_syntaxes: UIDs that are accepted; Implicit, Explicit and Deflated Little Endian if not given.
            extended: The extended negotiation that is supported; None: none.

        Returns:
            The handler itself. It returns a status.

        Raises:
            TypeError: As for on_c_echo.
            LocalProtocolError: A UID is invalid, or a SOP class has no N-DELETE, or has a handler for it already.
        """
        return self._decorate("N-DELETE", uids, transfer_syntaxes, extended)
