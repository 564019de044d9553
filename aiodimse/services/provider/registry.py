"""Which handler performs the services of which SOP class, and what is therefore offered in negotiation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

from aiodimse.association import Offer, SOPClassSupport
from aiodimse.association.extended import Extended
from aiodimse.association.negotiation import check_uid, several
from aiodimse.errors import LocalProtocolError
from aiodimse.record import record
from aiodimse.services.provider.handler_check import check_handler
from aiodimse.standard import sop_class
from aiodimse.standard.service_class import NOTIFICATIONS
from aiodimse.standard.transfer_syntax import IDENTIFIERS

# The SOP classes of a decorator without any, by service. For other services these are all SOP classes that have the
# service.
_DEFAULTS: dict[str, tuple[str, ...]] = {
    "C-ECHO": (sop_class.Verification,),
    "C-FIND": tuple(sop_class.QUERY_RETRIEVE_FIND),
    "C-GET": tuple(sop_class.QUERY_RETRIEVE_GET),
    "C-MOVE": tuple(sop_class.QUERY_RETRIEVE_MOVE),
}


@record
class Registration:
    """One handler for one SOP class."""

    handler: Callable[..., Any]
    transfer_syntaxes: tuple[str, ...] | None
    extended: Extended | None
    is_for_all: bool = False
    """Whether it was registered without SOP classes. It then serves those without a handler of their own."""


class HandlerRegistry:
    """The handlers of a server, by DIMSE service and SOP class."""

    def __init__(self) -> None:
        self._by_service: dict[str, dict[str, Registration]] = {}
        self._for_all: dict[str, Registration] = {}
        """The handlers that were registered without SOP classes, by service."""
        self._offer: Offer | None = None  # made when it is first needed after a registration
        self.any_storage = False
        """Whether the C-STORE handler for all also gets SOP classes that are not in the tables of this library."""

    def register(
        self,
        service: str,
        uids: Iterable[str],
        handler: Callable[..., Any],
        *,
        transfer_syntaxes: Iterable[str] | None = None,
        extended: Extended | None = None,
    ) -> None:
        """Register a handler.

        A handler that is registered without SOP classes serves those that have none of their own, whichever came first.

        Raises:
            TypeError: It cannot be a handler of this service.
            LocalProtocolError: A UID is not valid, a SOP class does not have this service, or there is a handler
                already. Nothing is registered then.
        """
        check_handler(service, handler)
        syntaxes = None if transfer_syntaxes is None else tuple(several(transfer_syntaxes, "transfer_syntaxes"))
        if syntaxes is None and service != "C-STORE":
            syntaxes = IDENTIFIERS
        wanted = tuple(uids)
        for uid in (*wanted, *(syntaxes or ())):
            if not isinstance(uid, str):
                raise TypeError(f"a handler is registered for SOP class UIDs, one by one: not for {uid!r}")
            check_uid(uid)
        registration = Registration(handler, syntaxes, extended, is_for_all=not wanted)
        self._check(service, wanted, registration)
        self._offer = None
        of_service = self._by_service.setdefault(service, {})
        if registration.is_for_all:
            self._for_all[service] = registration
            of_service.update({uid: registration for uid in default_sop_classes(service) if uid not in of_service})
        else:
            of_service.update({str(uid): registration for uid in wanted})

    def _check(self, service: str, uids: tuple[str, ...], registration: Registration) -> None:
        """Raise LocalProtocolError if these SOP classes do not have this service, or have a handler of their own."""
        if registration.is_for_all and (before := self._for_all.get(service)) is not None:
            raise _taken(f"{service} without SOP classes", before, registration)
        for uid in uids:
            row = sop_class.lookup(uid)
            if row is not None and service not in row.commands:
                raise LocalProtocolError(f"{row.keyword} has no {service}, but {', '.join(sorted(row.commands))}")
            before = self._by_service.get(service, {}).get(str(uid))
            if before is not None and not before.is_for_all:
                raise _taken(f"{service} of {uid if row is None else row.keyword}", before, registration)

    def find(self, service: str, *uids: str) -> Registration | None:
        """Return the handler for the first of these SOP classes that has one; None if none has one."""
        of_service = self._by_service.get(service, {})
        for uid in uids:
            if (registration := of_service.get(uid)) is not None:
                return registration
        return self._for_all.get(service) if service == "C-STORE" and self.any_storage else None

    def offer(self, *, receiving: bool = False) -> Offer:
        """Return what is offered in negotiation: Verification, and everything for which there is a handler.

        Args:
            receiving: Whether instances of a C-MOVE of ours are expected. Every storage SOP class is then offered too.
        """
        if self._offer is None:
            self._offer = self._make_offer()
        if not receiving:
            return self._offer
        return replace(
            self._offer, served=dict.fromkeys(sop_class.STORAGE, SOPClassSupport(None)) | dict(self._offer.served)
        )

    def _make_offer(self) -> Offer:
        served: dict[str, SOPClassSupport] = {}
        if sop_class.Verification not in self._by_service.get("C-ECHO", {}):
            served[str(sop_class.Verification)] = SOPClassSupport(IDENTIFIERS)
        for service, of_service in self._by_service.items():
            for uid, registration in of_service.items():
                served[uid] = self._join(served.get(uid), service, registration)
        own = dict(served)
        # Contexts may carry messages of other SOP classes (print: PS3.4 H.4, UPS: PS3.4 CC.1).
        for row in sop_class.known():
            for service, of_service in self._by_service.items():
                for uid in row.carries if service in row.commands else ():
                    if uid != row and uid in of_service:
                        joined = self._join(served.get(row), service, of_service[uid])
                        served[str(row)] = replace(joined, transfer_syntaxes=own.get(row, joined).transfer_syntaxes)
        any_store = self._for_all.get("C-STORE") if self.any_storage else None
        return Offer(
            served,
            any_storage_as_scu="C-GET" in self._by_service,
            unknown_storage=None if any_store is None else SOPClassSupport(any_store.transfer_syntaxes),
        )

    @staticmethod
    def _join(before: SOPClassSupport | None, service: str, registration: Registration) -> SOPClassSupport:
        """Add a handler to the support of a SOP class.

        It has the roles of all its handlers, and the transfer syntaxes that all of them accept, since its context
        carries the messages of each.
        """
        notified = service in NOTIFICATIONS
        one = SOPClassSupport(
            registration.transfer_syntaxes, scp=not notified, scu=notified, extended=registration.extended
        )
        if before is None:
            return one
        extended = before.extended if one.extended is None else one.extended
        common, others = before.transfer_syntaxes, one.transfer_syntaxes  # None: any
        if common is None:
            common = others
        elif others is not None:
            common = tuple(syntax for syntax in common if syntax in others)
        return SOPClassSupport(common, one.scp or before.scp, one.scu or before.scu, extended)


def _taken(what: str, before: Registration, registration: Registration) -> LocalProtocolError:
    first, second = _name(before.handler), _name(registration.handler)
    return LocalProtocolError(f"{what} has a handler already, {first}, which {second} cannot replace")


def _name(handler: Callable[..., Any]) -> str:
    name = getattr(handler, "__qualname__", None) or type(handler).__qualname__
    return f"{getattr(handler, '__module__', None) or type(handler).__module__}.{name}"


def default_sop_classes(service: str) -> tuple[str, ...]:
    """Return the SOP classes of a decorator without any."""
    found = _DEFAULTS.get(service)
    return found if found is not None else tuple(str(row) for row in sop_class.known() if service in row.commands)
