"""Which handler serves which SOP class, and what is therefore offered in negotiation."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, TypeVar, overload

from aiodimse.association import Offer, Served
from aiodimse.association.extended import Extended
from aiodimse.association.negotiation import check_uid, several
from aiodimse.errors import LocalProtocolError
from aiodimse.record import Record
from aiodimse.standard import sop_class
from aiodimse.standard.service_class import NOTIFICATIONS
from aiodimse.standard.transfer_syntax import IDENTIFIERS

Handler = TypeVar("Handler", bound=Callable[..., Any])

_YIELDS = frozenset(("C-FIND", "C-GET", "C-MOVE"))
"""Services with handlers that yield; one that returns instead is taken to yield that once, or with None nothing."""

# What a decorator means without SOP classes, by service; for the others every SOP class that has the service.
_DEFAULTS: dict[str, tuple[str, ...]] = {
    "C-ECHO": (sop_class.Verification,),
    "C-FIND": tuple(sop_class.QUERY_RETRIEVE_FIND),
    "C-GET": tuple(sop_class.QUERY_RETRIEVE_GET),
    "C-MOVE": tuple(sop_class.QUERY_RETRIEVE_MOVE),
}


@dataclass(slots=True, eq=False, repr=False)
class Registration(Record):
    """One handler for one SOP class."""

    handler: Callable[..., Any]
    transfer_syntaxes: tuple[str, ...] | None
    extended: Extended | None
    is_for_all: bool = False
    """Registered without SOP classes: it serves those that have no handler of their own."""


class HandlerRegistry:
    """The handlers of a server, by DIMSE service and SOP class."""

    def __init__(self) -> None:
        self._by_service: dict[str, dict[str, Registration]] = {}
        self._any_store: Registration | None = None
        self._offer: Offer | None = None  # made when it is first asked for after a registration
        self.any_storage = False
        """SOP classes that are storage, or not known at all, are served by the C-STORE handler for all."""

    def register(
        self,
        service: str,
        uids: Iterable[str],
        handler: Callable[..., Any],
        *,
        transfer_syntaxes: Iterable[str] | None = None,
        extended: Extended | None = None,
    ) -> None:
        """Register a handler; a later one for the same SOP class replaces it, and one registered without SOP classes
        serves those that have none of their own, whichever came first. Raises TypeError for what cannot be a handler of
        this service, LocalProtocolError for what is no UID and for a SOP class that has not this service."""
        _check_handler(service, handler)
        syntaxes = None if transfer_syntaxes is None else tuple(several(transfer_syntaxes, "transfer_syntaxes"))
        if syntaxes is None and service != "C-STORE":
            syntaxes = IDENTIFIERS
        wanted = tuple(uids)
        for uid in (*wanted, *(syntaxes or ())):
            if not isinstance(uid, str):
                raise TypeError(f"a handler is registered for SOP class UIDs, one by one: not for {uid!r}")
            check_uid(uid)
        registration = Registration(handler, syntaxes, extended, is_for_all=not wanted)
        self._offer = None
        if not wanted:
            wanted = default_sop_classes(service)
            if service == "C-STORE":
                self._any_store = registration
        for uid in wanted:
            row = sop_class.lookup(uid)
            if row is not None and service not in row.commands:
                raise LocalProtocolError(f"{row.keyword} has no {service}, but {', '.join(sorted(row.commands))}")
            of_service = self._by_service.setdefault(service, {})
            before = of_service.get(str(uid))
            if before is None or before.is_for_all or not registration.is_for_all:
                of_service[str(uid)] = registration

    def find(self, service: str, *uids: str) -> Registration | None:
        """The handler for the first of these SOP classes that has one."""
        of_service = self._by_service.get(service, {})
        for uid in uids:
            if (registration := of_service.get(uid)) is not None:
                return registration
        return self._any_store if service == "C-STORE" and self.any_storage else None

    def offer(self) -> Offer:
        """What is offered in negotiation: Verification, and what has a handler."""
        if self._offer is None:
            self._offer = self._make_offer()
        return self._offer

    def _make_offer(self) -> Offer:
        served: dict[str, Served] = {str(sop_class.Verification): Served(IDENTIFIERS)}
        for service, of_service in self._by_service.items():
            for uid, registration in of_service.items():
                served[uid] = self._join(served.get(uid), service, registration)
        own = dict(served)
        for row in sop_class.known():  # contexts that carry other SOP classes (print: H.4, UPS: CC.1)
            for service, of_service in self._by_service.items():
                for uid in row.carries if service in row.commands else ():
                    if uid != row and uid in of_service:
                        joined = self._join(served.get(row), service, of_service[uid])
                        served[str(row)] = replace(joined, transfer_syntaxes=own.get(row, joined).transfer_syntaxes)
        return Offer(
            served,
            any_storage_as_scu="C-GET" in self._by_service,
            unknown_storage=Served(self._any_store.transfer_syntaxes)
            if self.any_storage and self._any_store is not None
            else None,
        )

    @staticmethod
    def _join(before: Served | None, service: str, registration: Registration) -> Served:
        """A SOP class as it is served with one more handler. The roles in which it has handlers add up."""
        notified = service in NOTIFICATIONS
        one = Served(registration.transfer_syntaxes, scp=not notified, scu=notified, extended=registration.extended)
        if before is None:
            return one
        extended = before.extended if one.extended is None else one.extended
        return replace(one, scp=one.scp or before.scp, scu=one.scu or before.scu, extended=extended)


def _check_handler(service: str, handler: object) -> None:
    """Raise TypeError for a handler whose every call would be answered C002."""
    if not callable(handler):
        raise TypeError(f"a handler is an async function or async generator, not {type(handler).__name__}")
    functions = (handler, type(handler).__call__)  # itself, or what an object is called by
    if any(map(inspect.isgeneratorfunction, functions)):
        raise TypeError(f"a handler that yields is an async generator, async def, not a plain one: {handler!r}")
    if service not in _YIELDS and any(map(inspect.isasyncgenfunction, functions)):
        raise TypeError(f"a {service} handler returns its one answer, and yields nothing: {handler!r}")


def default_sop_classes(service: str) -> tuple[str, ...]:
    """The SOP classes that a decorator without any means."""
    found = _DEFAULTS.get(service)
    return found if found is not None else tuple(str(row) for row in sop_class.known() if service in row.commands)


class Decorator:
    """`@server.on_c_find`, `@server.on_c_find()`, `@server.on_c_find(uid, ...)`, `server.on_c_find(uid)(function)`."""

    def __init__(self, handlers: HandlerRegistry, service: str) -> None:
        self._handlers, self._service = handlers, service

    @overload
    def __call__(self, handler: Handler, /) -> Handler: ...

    @overload
    def __call__(
        self, *uids: str, transfer_syntaxes: Iterable[str] | None = None, extended: Extended | None = None
    ) -> Callable[[Handler], Handler]: ...

    def __call__(
        self, *uids: Any, transfer_syntaxes: Iterable[str] | None = None, extended: Extended | None = None
    ) -> Any:
        """Register a handler for these SOP classes, or for all that the service has."""
        if len(uids) == 1 and not isinstance(uids[0], str) and callable(uids[0]):
            self._handlers.register(self._service, (), uids[0])
            return uids[0]

        def decorate(handler: Handler) -> Handler:
            self._handlers.register(
                self._service, uids, handler, transfer_syntaxes=transfer_syntaxes, extended=extended
            )
            return handler

        return decorate
