"""Negotiation from the acceptor's side: what is offered, and the A-ASSOCIATE-AC or -RJ that answers an A-ASSOCIATE-RQ.

Pure functions (PS3.8 7.1, Annex D; PS3.7 Annex D). The requestor's side and what comes of both is negotiation.py.
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
"""Ours, on the wire and in file meta (PS3.7 D.3.3.2); a UUID of our own (PS3.5 B.2)."""
IMPLEMENTATION_VERSION_NAME = "AIODIMSE_0.1"

STORAGE_SERVICE_CLASS_UID = "1.2.840.10008.4.2"
"""Names the Storage Service Class in common extended negotiation (PS3.4 B.3.1.4)."""

ACCEPTANCE, USER_REJECTION, NO_REASON, ABSTRACT_SYNTAX_NOT_SUPPORTED, TRANSFER_SYNTAXES_NOT_SUPPORTED = range(5)

APPLICATION_CONTEXT_NOT_SUPPORTED = AssociateRJ(1, 1, 2)
CALLING_AE_TITLE_NOT_RECOGNIZED = AssociateRJ(1, 1, 3)
CALLED_AE_TITLE_NOT_RECOGNIZED = AssociateRJ(1, 1, 7)
NO_REASON_GIVEN = AssociateRJ(1, 1, 1)
PROTOCOL_VERSION_NOT_SUPPORTED = AssociateRJ(1, 2, 2)
LOCAL_LIMIT_EXCEEDED = AssociateRJ(2, 3, 2)

TitlePolicy: TypeAlias = bool | str | Collection[str] | Callable[[str], bool]
"""Which AE titles are let in: all or none, one, any of several, or what a function says."""


# --- before anything is negotiated ------------------------------------------------------------------------------------


def invalid_context_ids(rq: AssociateRQ) -> bool:
    """Whether an A-ASSOCIATE-RQ has no presentation context, an even ID or one ID twice (PS3.8 9.3.2.2): then it is not
    one, and as good as undecodable (Evt19). 128 contexts are the most there can be without."""
    ids = [context.context_id for context in rq.contexts]
    return not ids or len(set(ids)) != len(ids) or not all(context_id & 1 for context_id in ids)


def too_small(maximum_length: int | None) -> bool:
    """Whether the peer takes less than we can sensibly send. 0 is no limit, absent is the default."""
    return maximum_length is not None and 0 < maximum_length < SMALLEST_MAXIMUM_LENGTH


def refusal(rq: AssociateRQ) -> AssociateRJ | None:
    """What the service provider cannot accept whatever its user says (AE-6); None if there is nothing."""
    if not rq.protocol_version & 1:
        return PROTOCOL_VERSION_NOT_SUPPORTED
    if rq.application_context != APPLICATION_CONTEXT:
        return APPLICATION_CONTEXT_NOT_SUPPORTED
    if too_small(rq.user_information.maximum_length):
        return NO_REASON_GIVEN
    return None


def allows(policy: TitlePolicy, title: str) -> bool:
    """Whether a policy lets in an AE title; spaces at its ends are not significant (PS3.8 9.3.2)."""
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
    """The rejection of a called AE title that is not ours (or accept_called's), or of an unknown caller; else None.

    accept_called widens what ae_title says; accept_calling narrows, by default everyone may call.
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
class Served:
    """How an acceptor serves one SOP class."""

    transfer_syntaxes: Collection[str] | None = None
    """Those it accepts; None: every one that a presentation context can have."""
    scp: bool = True
    """We may be SCP: the requestor may be SCU, which is the default role (PS3.7 D.3.3.4)."""
    scu: bool = False
    """We may be SCU, where the requestor proposes to be SCP."""
    extended: Extended | None = None
    """What we support of the extended negotiation; None: it is not answered."""

    def choose(self, context: ProposedContext) -> str | None:
        """The first transfer syntax in the requestor's order that we accept."""
        accepted = _NETWORK if self.transfer_syntaxes is None else self.transfer_syntaxes
        return next((syntax for syntax in context.transfer_syntaxes if syntax in accepted), None)


_AS_STORAGE_SCU = Served(scp=False, scu=True)


@record
class Offer:
    """Everything that an acceptor serves."""

    served: Mapping[str, Served] = field(default_factory=dict)
    """By SOP class UID."""
    any_storage_as_scu: bool = False
    """We answer C-GET: every storage SOP class is accepted for which the requestor proposes the SCP role. That role is
    answered 1, and the SCU role 1 where it is proposed and the class is served (docs/topics/provider.md)."""
    unknown_storage: Served | None = None
    """Any-storage mode: how SOP classes are served that are not in served, and that are storage or not known at all."""

    def find(
        self, uid: str, common: CommonExtendedNegotiation | None, role: RoleSelection | None
    ) -> tuple[Served, ...]:
        """How a SOP class is served.

        Args:
            uid: The SOP class.
            common: What the requestor says of it, in common extended negotiation.
            role: The roles that the requestor proposes for itself; None where it sent no item.

        Returns:
            How: the first of these that has a role and a transfer syntax in common with a context serves it. Empty if
            not at all.
        """
        served = self._find(uid, common)
        if role is None or not role.scp or not self.any_storage_as_scu or not is_storage(uid, common):
            return () if served is None else (served,)
        # Asked for SCP, a storage class is there for the sub-operations of a C-GET (PS3.4 C.5.3).
        if served is not None and served.scp and role.scu:
            return replace(served, scu=True), _AS_STORAGE_SCU
        return (_AS_STORAGE_SCU,)

    def _find(self, uid: str, common: CommonExtendedNegotiation | None) -> Served | None:
        if (served := self.served.get(uid)) is not None:
            return served
        # Common extended negotiation: a class that we do not know may be served as a related general one
        # (PS3.7 D.3.3.6), if that is of the service class it names.
        for related in common.related if common else ():
            if (served := self.served.get(related)) is not None and is_storage(related) == is_storage(uid, common):
                return served
        if self.unknown_storage is not None and is_uid(uid) and (sop_class.lookup(uid) is None or is_storage(uid)):
            return self.unknown_storage
        return None


def is_storage(uid: str, common: CommonExtendedNegotiation | None = None) -> bool:
    """Whether a SOP class is stored by C-STORE: by its row, or where it has none, by what the peer says of it."""
    if (row := sop_class.lookup(uid)) is not None:
        return "C-STORE" in row.commands
    return common is not None and common.service_class_uid == STORAGE_SERVICE_CLASS_UID


# --- the answer -------------------------------------------------------------------------------------------------------


def least(one: int, other: int) -> int:
    """The smaller of two bounds of which 0 is none."""
    return min(one, other) if one and other else one or other


def answer(
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
    """The answer to an A-ASSOCIATE-RQ. An association none of whose contexts is accepted is accepted all the same.

    Args:
        rq: What is proposed.
        offer: What we serve.
        ae_title: Ours; None checks no title.
        accept_called: Further titles that may be called.
        accept_calling: Who may call; None is everybody.
        limits: Of them the longest PDU that we take.
        operations_window: What we may invoke and what we perform at once, 0 is any number.
        user_identity_response: Sent if the requestor asked for one.
        strict: Accept no context whose only use needs a role item that the requestor left out.
    """
    if (rj := refusal(rq)) is not None:
        return rj
    if ae_title is not None and (
        rj := check_titles(rq, ae_title, accept_called=accept_called, accept_calling=accept_calling)
    ):
        return rj
    wanted = rq.user_information
    results, role_items, extended_items = _answer_contexts(rq, offer, strict=strict)
    # In ascending order of item type, which old peers may want (PS3.8 9.3.2.3).
    items: list[UserSubItem] = [
        MaximumLength(limits.max_pdu_length),
        ImplementationClassUID(IMPLEMENTATION_CLASS_UID),
    ]
    if (window := wanted.operations_window) is not None:
        # Both numbers are the requestor's in the AC too (PS3.7 D.3.3.3): it invokes what we perform.
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
    """The result of each context, and the items of their SOP classes."""
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
                # One item for all contexts of the class: with any of them in a role, it is given.
                before = role_items.get(uid, answered)
                role_items[uid] = RoleSelection(uid, before.scu or answered.scu, before.scp or answered.scp)
            if served.extended is not None and (info := extended.get(uid)) is not None:
                extended_items[uid] = ExtendedNegotiation(uid, both(uid, info, encoded(uid, served.extended)))
            break
        else:
            results.append(_result(context, refused_with))
    return results, list(role_items.values()), list(extended_items.values())


def _answered_role(uid: str, role: RoleSelection | None, served: Served) -> RoleSelection:
    """The roles of the requestor as far as it proposes and we serve them; without an item it is SCU (PS3.7 D.3.3.4)."""
    if role is None:
        return RoleSelection(uid, scu=served.scp, scp=False)
    return RoleSelection(uid, scu=role.scu and served.scp, scp=role.scp and served.scu)


def _may_assume(uid: str, role: RoleSelection | None) -> bool:
    """Whether the requestor may want to notify us of this class, and has left out the item (`ROLE_ITEM_MISSING`)."""
    row = sop_class.lookup(uid)
    return role is None and (row is None or not NOTIFICATIONS.isdisjoint(row.commands))


def narrow(rq: AssociateRQ, ac: AssociateAC, keep: Callable[[ProposedContext], bool]) -> AssociateAC:
    """The same answer with fewer contexts: those that keep does not want become user-rejection, and the items of SOP
    classes that are then left without a context go."""
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
    # A refusal has a Transfer Syntax Sub-Item too, not significant (PS3.8 9.3.3.2): the first proposed will do.
    return ContextResult(context.context_id, result, context.transfer_syntaxes[0] if context.transfer_syntaxes else "")
