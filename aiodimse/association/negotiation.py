"""Negotiation from the requestor's side, and what comes of it on both: propose, settle. Pure functions.

PS3.8 7.1 and Annex D, PS3.7 Annex D. The acceptor's answer is answering.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import field, replace
from os import PathLike
from typing import Literal, TypeVar

from aiodimse.association.answering import (
    ACCEPTANCE,
    IMPLEMENTATION_CLASS_UID,
    IMPLEMENTATION_VERSION_NAME,
    NO_REASON,
    TRANSFER_SYNTAXES_NOT_SUPPORTED,
    least,
)
from aiodimse.association.extended import Extended, both, encoded, typed
from aiodimse.config import Limits
from aiodimse.errors import LocalProtocolError
from aiodimse.pdu import (
    AcceptedContext,
    AssociateAC,
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
    UserIdentityRequest,
    UserIdentityResponse,
    UserInformation,
    UserSubItem,
)
from aiodimse.record import record
from aiodimse.standard import sop_class
from aiodimse.standard.reason import context_result_meaning
from aiodimse.standard.transfer_syntax import DEFAULT_PROPOSED
from aiodimse.standard.values import is_ae_title, is_uid

T = TypeVar("T")

MAX_CONTEXTS = 128
"""Presentation context IDs are the odd numbers of one byte (PS3.8 9.3.2.2)."""

DEFAULT_MAXIMUM_LENGTH = 16384
"""What a peer takes that does not say it (docs/topics/flow.md). PS3.8 D.1 demands the sub-item; some leave it out."""


# --- propose ----------------------------------------------------------------------------------------------------------


@record(frozen=True)
class PresentationContext:
    """A presentation context to be proposed."""

    uid: str
    """SOP class UID: the abstract syntax."""
    transfer_syntaxes: Sequence[str] | None = None
    """In order of preference; None: Explicit, then Implicit VR Little Endian."""
    scu: bool = True
    """We want to be service class user in it."""
    scp: bool = False
    """We want to be service class provider in it: by a role item (PS3.7 D.3.3.4), as C-GET needs for storage."""
    extended: Extended | None = None
    """Extended negotiation: ExtendedQuery, ExtendedRetrieve, or bytes for other service classes."""


def as_context(context: str | PresentationContext) -> PresentationContext:
    """A bare UID with the defaults."""
    if isinstance(context, PresentationContext):
        return context
    if not isinstance(context, str):
        raise TypeError(f"a presentation context is a SOP class UID or PresentationContext, not {context!r}")
    return PresentationContext(context)


def several(values: Iterable[T], name: str) -> list[T]:
    """These values; raises TypeError for one alone: a str would be taken for as many as it has characters."""
    if isinstance(values, (str, bytes, PathLike, PresentationContext)) or not isinstance(values, Iterable):
        raise TypeError(f"{name} wants several, in a list for instance, not one alone: {values!r}")
    return list(values)


def check_uid(uid: str) -> None:
    """Raise LocalProtocolError where this is no UID, as `is_uid` has it."""
    if not is_uid(uid):
        known = isinstance(uid, str) and uid.isidentifier() and hasattr(sop_class, uid)
        hint = f"; aiodimse.sop_class.{uid} is one" if known else ""
        raise LocalProtocolError(f"not a UID (numbers with dots between, 64 characters at most): {uid!r}{hint}")


def check_ae_title(title: str) -> None:
    """Check an AE title of ours (PS3.8 9.3.2, PS3.5 6.2).

    Args:
        title: The AE title.

    Raises:
        LocalProtocolError: It is empty, longer than 16 characters, or has a backslash or control characters.
    """
    if not is_ae_title(title):
        raise LocalProtocolError(f"not an AE title (1 to 16 printable characters, no backslash): {title!r}")


def fill_with_storage(
    contexts: Iterable[str | PresentationContext], storage: Iterable[str | PresentationContext] | None = None
) -> list[PresentationContext]:
    """With a C-GET SOP class among the contexts, the storage contexts that its sub-operations come by (PS3.4 C.5.3),
    role SCP: storage, or as many of the ranked list as there is place for. Without one, the contexts as they are.

    A storage class that is there already as a bare UID gets both roles; as a PresentationContext it stays as it is.
    """
    given = several(contexts, "contexts")
    storage = None if storage is None else several(storage, "storage")
    present = {as_context(context).uid for context in given}
    if not any((row := sop_class.lookup(uid)) is not None and "C-GET" in row.commands for uid in present):
        return [as_context(context) for context in given]
    both_roles = set(sop_class.GET_STORAGE_RANKED) | {as_context(more).uid for more in storage or ()}
    filled = [
        replace(as_context(context), scp=True)
        if isinstance(context, str) and context in both_roles
        else as_context(context)
        for context in given
    ]
    if storage is None:
        ranked = [uid for uid in sop_class.GET_STORAGE_RANKED if uid not in present]
        storage = ranked[: max(0, MAX_CONTEXTS - len(filled))]
    for more in storage:
        if isinstance(more, PresentationContext):
            filled.append(more)
        elif more not in present:
            filled.append(PresentationContext(more, scu=False, scp=True))
    return filled


def propose(
    contexts: Sequence[str | PresentationContext],
    *,
    ae_title: str,
    called_ae_title: str,
    limits: Limits,
    operations_window: tuple[int, int] = (1, 1),
    user_identity: UserIdentityRequest | None = None,
    common_extended: Sequence[CommonExtendedNegotiation] = (),
) -> AssociateRQ:
    """The A-ASSOCIATE-RQ for these contexts, with IDs 1, 3, 5 ...

    operations_window: what we may invoke and what we perform at once, 0 is any number; proposed only when it is not
    (1, 1), since some peers drop the connection over it. Raises LocalProtocolError for no context, more than 128, or a
    context that cannot be.
    """
    wanted = [as_context(context) for context in several(contexts, "contexts")]
    if not 0 < len(wanted) <= MAX_CONTEXTS:
        raise LocalProtocolError(f"{len(wanted)} presentation contexts; an association has 1 to {MAX_CONTEXTS}")
    proposed: list[ProposedContext] = []
    roles: dict[str, RoleSelection] = {}
    extended: dict[str, ExtendedNegotiation] = {}
    for number, context in enumerate(wanted):
        syntaxes: tuple[str, ...] = DEFAULT_PROPOSED
        if context.transfer_syntaxes is not None:
            syntaxes = tuple(several(context.transfer_syntaxes, "transfer_syntaxes"))
        for uid in (context.uid, *syntaxes):
            check_uid(uid)
        if not syntaxes or not (context.scu or context.scp):
            what = "role" if syntaxes else "transfer syntax"
            raise LocalProtocolError(f"the presentation context for {context.uid} has no {what}")
        proposed.append(ProposedContext(2 * number + 1, context.uid, syntaxes))
        # Roles and extended negotiation are of the SOP class, not of the context: one item for all its contexts.
        role = roles.get(context.uid, RoleSelection(context.uid, scu=False, scp=False))
        roles[context.uid] = RoleSelection(context.uid, role.scu or context.scu, role.scp or context.scp)
        if context.extended is not None:
            extended.setdefault(context.uid, ExtendedNegotiation(context.uid, encoded(context.uid, context.extended)))
    # In ascending order of item type, which old peers may want (PS3.8 9.3.2.3).
    items: list[UserSubItem] = [MaximumLength(limits.max_pdu_length), ImplementationClassUID(IMPLEMENTATION_CLASS_UID)]
    if operations_window != (1, 1):
        items.append(OperationsWindow(*operations_window))
    items += (role for role in roles.values() if role.scp)
    items.append(ImplementationVersionName(IMPLEMENTATION_VERSION_NAME))
    items += extended.values()
    items += common_extended
    if user_identity is not None:
        items.append(user_identity)
    return AssociateRQ(called_ae_title, ae_title, tuple(proposed), UserInformation(tuple(items)))


# --- settle -----------------------------------------------------------------------------------------------------------


@record(frozen=True)
class Negotiated:
    """What an A-ASSOCIATE-RQ and its -AC agreed on, as one of the two sides sees it."""

    role: Literal["requestor", "acceptor"]
    contexts: dict[int, AcceptedContext]
    """By presentation context ID."""
    refused: dict[int, tuple[str, int]]
    """By presentation context ID: abstract syntax and result, as in ContextResult."""
    peer_max_length: int
    """The longest P-DATA-TF variable field that the peer takes; 0 is no limit."""
    invoked_window: int
    """How many operations we may have open at once; 0 is no limit."""
    performed_window: int
    """The same for the peer's."""
    roles: dict[str, RoleSelection]
    """Roles that were proposed and answered, by SOP class UID; those of the association requestor."""
    extended: dict[str, Extended]
    """Extended negotiation that was offered and answered, by SOP class UID: what both sides support."""
    called_ae_title: str
    calling_ae_title: str
    peer_implementation_class_uid: str | None
    peer_implementation_version_name: str | None
    user_identity_response: UserIdentityResponse | None
    rq: AssociateRQ = field(repr=False)
    ac: AssociateAC = field(repr=False)

    def answers(self) -> dict[str, str]:
        """The peer's (or our) answer to each refused abstract syntax, in words."""
        return {uid: context_result_meaning(result) for uid, result in self.refused.values()}


def settle(
    rq: AssociateRQ, ac: AssociateAC, role: Literal["requestor", "acceptor"], *, strict: bool = False
) -> Negotiated:
    """What both sides now know. Never raises: an answer that is not one to what was proposed counts as a refusal.

    Args:
        rq: What was proposed.
        ac: The answer to it.
        role: Our side of the association.
        strict: Assume no role that the peer has sent no item for.
    """
    ours_is_rq = role == "requestor"
    proposed, answered = rq.user_information, ac.user_information
    peer = answered if ours_is_rq else proposed
    asked, given = proposed.roles, peer.roles
    roles = _roles(proposed, answered)
    contexts: dict[int, AcceptedContext] = {}
    refused: dict[int, tuple[str, int]] = {}
    results: dict[int, ContextResult] = {}
    for result in ac.results:
        results.setdefault(result.context_id, result)
    for context in rq.contexts:
        context_id, uid = context.context_id, context.abstract_syntax
        answer = results.get(context_id)
        if answer is None:  # some peers leave out what they refuse
            refused[context_id] = uid, NO_REASON
        elif answer.result != ACCEPTANCE:
            refused[context_id] = uid, answer.result
        elif answer.transfer_syntax not in context.transfer_syntaxes:
            refused[context_id] = uid, TRANSFER_SYNTAXES_NOT_SUPPORTED
        else:
            # Without a role item in both, the requestor is SCU and nothing else (PS3.7 D.3.3.4).
            item = roles.get(uid)
            scu, scp = (item.scu, item.scp) if item else (True, False)
            if not ours_is_rq:
                scu, scp = scp, scu
            assumed = not strict and uid not in given and (not ours_is_rq or (uid in asked and asked[uid].scp))
            contexts[context_id] = AcceptedContext(context_id, uid, answer.transfer_syntax, scu, scp, assumed)
    invoked, performed = _windows(proposed, answered)
    return Negotiated(
        role=role,
        contexts=contexts,
        refused=refused,
        peer_max_length=DEFAULT_MAXIMUM_LENGTH if peer.maximum_length is None else peer.maximum_length,
        invoked_window=invoked if ours_is_rq else performed,
        performed_window=performed if ours_is_rq else invoked,
        roles=roles,
        extended=_extended(proposed, answered, {context.abstract_syntax for context in contexts.values()}),
        called_ae_title=rq.called_ae_title,
        calling_ae_title=rq.calling_ae_title,
        peer_implementation_class_uid=peer.implementation_class_uid,
        peer_implementation_version_name=peer.implementation_version_name,
        user_identity_response=answered.user_identity_response,
        rq=rq,
        ac=ac,
    )


def _roles(proposed: UserInformation, answered: UserInformation) -> dict[str, RoleSelection]:
    """An acceptor cannot give a role that was not proposed."""
    asked = proposed.roles
    return {
        uid: RoleSelection(uid, given.scu and asked[uid].scu, given.scp and asked[uid].scp)
        for uid, given in answered.roles.items()
        if uid in asked
    }


def _windows(proposed: UserInformation, answered: UserInformation) -> tuple[int, int]:
    """What the requestor may invoke, and what it performs; without an item in both it is one and one."""
    asked, given = proposed.operations_window, answered.operations_window
    if asked is None or given is None:
        return 1, 1
    return least(asked.invoked, given.invoked), least(asked.performed, given.performed)


def _extended(proposed: UserInformation, answered: UserInformation, accepted: set[str]) -> dict[str, Extended]:
    asked: Mapping[str, bytes] = proposed.extended
    return {
        uid: typed(uid, both(uid, asked[uid], given))
        for uid, given in answered.extended.items()
        if uid in asked and uid in accepted
    }
