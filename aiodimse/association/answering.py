"""Negotiation on the acceptor's side: what is supported, and the A-ASSOCIATE-AC or -RJ that answers an A-ASSOCIATE-RQ.

All functions are pure (PS3.8 7.1, Annex D; PS3.7 Annex D). The requestor's side, and what both sides then know, is in
negotiation.py.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import field, replace
from typing import TypeAlias

from aiodimse.association.extended import Extended, both, encoded
from aiodimse.config import SMALLEST_MAXIMUM_LENGTH, Limits
from aiodimse.pdu import (
    APPLICATION_CONTEXT,
    AssociateAC,
    AssociateRJ,
    AssociateRQ,
    CommonExtendedNegotiation,
    ContextResult,
    ExtendedNegotiation,
    ImplementationClassUID,
    ImplementationVersionName,
    MaximumLength,
    OperationsWindow,
    ProposedContext,
    RoleSelection,
    UserIdentityResponse,
    UserInformation,
    UserSubItem,
)
from aiodimse.record import record
from aiodimse.standard import sop_class, transfer_syntax
from aiodimse.standard.service_class import NOTIFICATIONS
from aiodimse.standard.values import is_uid, trimmed_ae_title

IMPLEMENTATION_CLASS_UID = "2.25.159842510099616508621710075096980524042"
"""Our Implementation Class UID, in A-ASSOCIATE PDUs and in file meta information (PS3.7 D.3.3.2). It is derived from a
UUID (PS3.5 B.2)."""
IMPLEMENTATION_VERSION_NAME = "AIODIMSE_0.1"

STORAGE_SERVICE_CLASS_UID = "1.2.840.10008.4.2"
"""The UID of the Storage Service Class in common extended negotiation (PS3.4 B.3.1.4)."""

ACCEPTANCE, USER_REJECTION, NO_REASON, ABSTRACT_SYNTAX_NOT_SUPPORTED, TRANSFER_SYNTAXES_NOT_SUPPORTED = range(5)

APPLICATION_CONTEXT_NOT_SUPPORTED = AssociateRJ(1, 1, 2)
CALLING_AE_TITLE_NOT_RECOGNIZED = AssociateRJ(1, 1, 3)
CALLED_AE_TITLE_NOT_RECOGNIZED = AssociateRJ(1, 1, 7)
NO_REASON_GIVEN = AssociateRJ(1, 1, 1)
PROTOCOL_VERSION_NOT_SUPPORTED = AssociateRJ(1, 2, 2)
LOCAL_LIMIT_EXCEEDED = AssociateRJ(2, 3, 2)

TitlePolicy: TypeAlias = bool | str | Collection[str] | Callable[[str], bool]
"""Which AE titles are accepted: True all, False none; a str that one; a collection those; a function those for which it
returns true."""


# --- before anything is negotiated ------------------------------------------------------------------------------------


def invalid_context_ids(rq: AssociateRQ) -> bool:
    """Say whether an A-ASSOCIATE-RQ has no presentation context, an even context ID, or one ID twice (PS3.8 9.3.2.2).

    Such a PDU is invalid (Evt19). Without these faults it has at most 128 contexts.
    """
    ids = [context.context_id for context in rq.contexts]
    return not ids or len(set(ids)) != len(ids) or not all(context_id & 1 for context_id in ids)


def too_small(maximum_length: int | None) -> bool:
    """Say whether the peer accepts only PDUs that are too short to send anything sensible. 0 means no limit; a missing
    sub-item means the default."""
    return maximum_length is not None and 0 < maximum_length < SMALLEST_MAXIMUM_LENGTH


def refusal(rq: AssociateRQ) -> AssociateRJ | None:
    """Return the rejection of a request that the service provider cannot accept, whatever its user decides (AE-6); None
    if there is no such reason."""
    if not rq.protocol_version & 1:
        return PROTOCOL_VERSION_NOT_SUPPORTED
    if rq.application_context != APPLICATION_CONTEXT:
        return APPLICATION_CONTEXT_NOT_SUPPORTED
    if too_small(rq.user_information.maximum_length):
        return NO_REASON_GIVEN
    return None


def allows(policy: TitlePolicy, title: str) -> bool:
    """Say whether a policy accepts an AE title. Spaces at its ends are not significant (PS3.8 9.3.2)."""
    title = trimmed_ae_title(title)
    if isinstance(policy, bool):
        return policy
    if isinstance(policy, str):
        return title == trimmed_ae_title(policy)
    if callable(policy):
        return policy(title)
    return any(title == trimmed_ae_title(allowed) for allowed in policy)


def check_titles(
    rq: AssociateRQ,
    ae_title: str,
    *,
    accept_called: TitlePolicy | None = None,
    accept_calling: TitlePolicy | None = None,
) -> AssociateRJ | None:
    """Return the rejection of a called AE title that is not ours, or of a calling one that is not accepted; else None.

    `accept_called` names titles that are accepted beside `ae_title`. Without `accept_calling` everybody may call.
    """
    called = rq.called_ae_title
    if not allows(ae_title, called) and (accept_called is None or not allows(accept_called, called)):
        return CALLED_AE_TITLE_NOT_RECOGNIZED
    if accept_calling is not None and not allows(accept_calling, rq.calling_ae_title):
        return CALLING_AE_TITLE_NOT_RECOGNIZED
    return None


# --- what is offered --------------------------------------------------------------------------------------------------


_NETWORK = frozenset(transfer_syntax.NETWORK)


@record
class SOPClassSupport:
    """How an acceptor supports one SOP class."""

    transfer_syntaxes: Collection[str] | None = None
    """The transfer syntaxes that it accepts; None: every one that a presentation context can have."""
    scp: bool = True
    """Whether we may be SCP. Then the requestor may be SCU, which is its default role (PS3.7 D.3.3.4)."""
    scu: bool = False
    """Whether we may be SCU, if the requestor proposes to be SCP."""
    extended: Extended | None = None
    """What we support of the SOP class extended negotiation; None: it is not answered."""

    def choose(self, context: ProposedContext) -> str | None:
        """Return the first transfer syntax, in the requestor's order, that we accept; None if there is none."""
        accepted = _NETWORK if self.transfer_syntaxes is None else self.transfer_syntaxes
        return next((syntax for syntax in context.transfer_syntaxes if syntax in accepted), None)


_AS_STORAGE_SCU = SOPClassSupport(scp=False, scu=True)


@record
class Offer:
    """Everything that an acceptor supports."""

    served: Mapping[str, SOPClassSupport] = field(default_factory=dict)
    """The supported SOP classes, by UID."""
    any_storage_as_scu: bool = False
    """Whether we answer C-GET. Then every storage SOP class is accepted for which the requestor proposes to be SCP.
    That role is answered with 1, and the SCU role too if it is proposed and we support the class
    (docs/topics/provider.md)."""
    unknown_storage: SOPClassSupport | None = None
    """How storage SOP classes that are not in `served`, and SOP classes that we do not know, are supported: for a
    server that stores everything. None: not at all."""

    def find(
        self, uid: str, common: CommonExtendedNegotiation | None, role: RoleSelection | None
    ) -> tuple[SOPClassSupport, ...]:
        """Say how a SOP class is supported.

        Args:
            uid: The UID of the SOP class.
            common: What the requestor's common extended negotiation says of the class.
            role: The roles that the requestor proposes for itself; None if it sent no role selection item.

        Returns:
            The candidates; empty if the class is not supported. A context is accepted with the first candidate that has
            a role and a transfer syntax in common with it.
        """
        served = self._find(uid, common)
        if role is None or not role.scp or not self.any_storage_as_scu or not is_storage(uid, common):
            return () if served is None else (served,)
        # If the requestor proposes to be SCP of a storage class, the context is for the sub-operations of a C-GET
        # (PS3.4 C.5.3).
        if served is not None and served.scp and role.scu:
            return replace(served, scu=True), _AS_STORAGE_SCU
        return (_AS_STORAGE_SCU,)

    def _find(self, uid: str, common: CommonExtendedNegotiation | None) -> SOPClassSupport | None:
        if (served := self.served.get(uid)) is not None:
            return served
        # By common extended negotiation a class that we do not know may be supported as a related general class of the
        # same service class (PS3.7 D.3.3.6).
        for related in common.related if common else ():
            if (served := self.served.get(related)) is not None and is_storage(related) == is_storage(uid, common):
                return served
        if self.unknown_storage is not None and is_uid(uid) and (sop_class.lookup(uid) is None or is_storage(uid)):
            return self.unknown_storage
        return None


def is_storage(uid: str, common: CommonExtendedNegotiation | None = None) -> bool:
    """Say whether a SOP class is stored by C-STORE: by its row, or if it has none, by the requestor's common extended
    negotiation."""
    if (row := sop_class.lookup(uid)) is not None:
        return "C-STORE" in row.commands
    return common is not None and common.service_class_uid == STORAGE_SERVICE_CLASS_UID


# --- the answer -------------------------------------------------------------------------------------------------------


def least(one: int, other: int) -> int:
    """Return the smaller of two bounds. 0 stands for no bound."""
    return min(one, other) if one and other else one or other


def answer_request(
    rq: AssociateRQ,
    offer: Offer,
    *,
    ae_title: str | None = None,
    accept_called: TitlePolicy | None = None,
    accept_calling: TitlePolicy | None = None,
    limits: Limits,
    operations_window: tuple[int, int] = (1, 1),
    user_identity_response: UserIdentityResponse | None = None,
    strict: bool = False,
) -> AssociateAC | AssociateRJ:
    """Return the answer to an A-ASSOCIATE-RQ. An association is accepted even if none of its contexts is.

    Args:
        rq: The request.
        offer: What we support.
        ae_title: Our AE title; None: the titles are not checked.
        accept_called: AE titles that may be called beside ours.
        accept_calling: The AE titles that may call; None: all.
        limits: The limits, of which the longest PDU that we accept is announced.
        operations_window: How many operations we may invoke and how many we perform at once; 0 means no limit.
        user_identity_response: Sent if the requestor asked for one.
        strict: Whether to refuse a context whose only use needs a role item that the requestor left out.
    """
    if (rj := refusal(rq)) is not None:
        return rj
    if ae_title is not None and (
        rj := check_titles(rq, ae_title, accept_called=accept_called, accept_calling=accept_calling)
    ):
        return rj
    wanted = rq.user_information
    results, role_items, extended_items = _answer_contexts(rq, offer, strict=strict)
    # The items are in ascending order of type, which old peers may expect (PS3.8 9.3.2.3).
    items: list[UserSubItem] = [
        MaximumLength(limits.max_pdu_length),
        ImplementationClassUID(IMPLEMENTATION_CLASS_UID),
    ]
    if (window := wanted.operations_window) is not None:
        # In the A-ASSOCIATE-AC too the numbers are those of the requestor (PS3.7 D.3.3.3): it invokes what we perform.
        invoked, performed = operations_window
        items.append(OperationsWindow(least(window.invoked, performed), least(window.performed, invoked)))
    items += role_items
    items.append(ImplementationVersionName(IMPLEMENTATION_VERSION_NAME))
    items += extended_items
    identity = wanted.user_identity
    # A response that nobody asked for is not sent (PS3.7 D.3.3.7.2).
    if user_identity_response is not None and identity is not None and identity.positive_response_requested:
        items.append(user_identity_response)
    return AssociateAC(rq.called_ae_title, rq.calling_ae_title, tuple(results), UserInformation(tuple(items)))


def _answer_contexts(
    rq: AssociateRQ, offer: Offer, *, strict: bool
) -> tuple[list[ContextResult], list[RoleSelection], list[ExtendedNegotiation]]:
    """Return the result of each context, and the sub-items for the SOP classes of the accepted contexts."""
    wanted = rq.user_information
    roles, extended = wanted.roles, wanted.extended
    common = {item.sop_class_uid: item for item in wanted.common_extended}
    results: list[ContextResult] = []
    role_items: dict[str, RoleSelection] = {}
    extended_items: dict[str, ExtendedNegotiation] = {}
    for context in rq.contexts:
        uid = context.abstract_syntax
        role = roles.get(uid)
        refused_with = ABSTRACT_SYNTAX_NOT_SUPPORTED
        for served in offer.find(uid, common.get(uid), role):
            answered = _answered_role(uid, role, served)
            if not (answered.scu or answered.scp or (served.scu and not strict and _may_assume(uid, role))):
                continue
            if (syntax := served.choose(context)) is None:
                refused_with = TRANSFER_SYNTAXES_NOT_SUPPORTED
                continue
            results.append(ContextResult(context.context_id, ACCEPTANCE, syntax))
            if role is not None:
                # One item holds for all contexts of the class: a role is given if any of them has it.
                before = role_items.get(uid, answered)
                role_items[uid] = RoleSelection(uid, before.scu or answered.scu, before.scp or answered.scp)
            if served.extended is not None and (info := extended.get(uid)) is not None:
                extended_items[uid] = ExtendedNegotiation(uid, both(uid, info, encoded(uid, served.extended)))
            break
        else:
            results.append(_result(context, refused_with))
    return results, list(role_items.values()), list(extended_items.values())


def _answered_role(uid: str, role: RoleSelection | None, served: SOPClassSupport) -> RoleSelection:
    """Return the roles of the requestor that it proposes and we support. Without an item it is SCU (PS3.7 D.3.3.4)."""
    if role is None:
        return RoleSelection(uid, scu=served.scp, scp=False)
    return RoleSelection(uid, scu=role.scu and served.scp, scp=role.scp and served.scu)


def _may_assume(uid: str, role: RoleSelection | None) -> bool:
    """Say whether the requestor may want to notify us of this class although it left out the role item
    (`ROLE_ITEM_MISSING`)."""
    row = sop_class.lookup(uid)
    return role is None and (row is None or not NOTIFICATIONS.isdisjoint(row.commands))


def narrow(rq: AssociateRQ, ac: AssociateAC, keep: Callable[[ProposedContext], bool]) -> AssociateAC:
    """Return an answer with fewer contexts.

    A context that `keep` does not want becomes a user-rejection. The sub-items of a SOP class that has no context left
    are removed.
    """
    proposed = {context.context_id: context for context in rq.contexts}
    results = tuple(
        _result(proposed[result.context_id], USER_REJECTION)
        if result.result == ACCEPTANCE and not keep(proposed[result.context_id])
        else result
        for result in ac.results
    )
    left = {proposed[result.context_id].abstract_syntax for result in results if result.result == ACCEPTANCE}
    items = tuple(
        item
        for item in ac.user_information.sub_items
        if not isinstance(item, RoleSelection | ExtendedNegotiation) or item.sop_class_uid in left
    )
    return replace(ac, results=results, user_information=UserInformation(items))


def _result(context: ProposedContext, result: int) -> ContextResult:
    # A refusal has a Transfer Syntax Sub-Item too, which is not significant (PS3.8 9.3.3.2): here the first proposed
    # one.
    return ContextResult(context.context_id, result, context.transfer_syntaxes[0] if context.transfer_syntaxes else "")
