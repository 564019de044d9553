"""Proposes presentation contexts, and reads what was agreed on (PS3.8 7.1 and Annex D, PS3.7 Annex D).

`propose` makes the A-ASSOCIATE-RQ of a requestor. `settle` tells either side what the A-ASSOCIATE-AC means. The answer
of an acceptor is made in answering.py.
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
"""The longest PDU for a peer that announces none (docs/topics/flow.md). PS3.8 D.1 requires it to; some do not."""


# --- propose ----------------------------------------------------------------------------------------------------------


@record(frozen=True)
class PresentationContext:
    """A presentation context to be proposed."""

    uid: str
    """The SOP class UID: the abstract syntax."""
    transfer_syntaxes: Sequence[str] | None = None
    """The transfer syntaxes in order of preference; None: Explicit, then Implicit VR Little Endian."""
    scu: bool = True
    """Whether we want to be the service class user."""
    scp: bool = False
    """Whether we want to be the service class provider, as C-GET needs it for storage. A role item (PS3.7 D.3.3.4) asks
    for it."""
    extended: Extended | None = None
    """Extended negotiation: ExtendedQuery, ExtendedRetrieve, or bytes for other service classes."""


def as_context(context: str | PresentationContext) -> PresentationContext:
    """Return the presentation context; for a SOP class UID one with the defaults."""
    if isinstance(context, PresentationContext):
        return context
    if not isinstance(context, str):
        raise TypeError(f"a presentation context is a SOP class UID or PresentationContext, not {context!r}")
    return PresentationContext(context)


def several(values: Iterable[T], name: str) -> list[T]:
    """Return the values as a list.

    Raises:
        TypeError: It is one value. A str would count as one value for each of its characters.
    """
    if isinstance(values, (str, bytes, PathLike, PresentationContext)) or not isinstance(values, Iterable):
        raise TypeError(f"{name} wants several, in a list for instance, not one alone: {values!r}")
    return list(values)


def check_uid(uid: str) -> None:
    """Raise LocalProtocolError if this is not a UID (`is_uid`)."""
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


def operations_window_of(value: int | tuple[int, int]) -> tuple[int, int]:
    """Return how many operations we may invoke and how many we perform at once (PS3.7 D.3.3.3).

    Args:
        value: Both numbers, or one for both; 0 means no limit.

    Raises:
        LocalProtocolError: It is something else, or a number does not fit in 16 bits.
    """
    window = (value, value) if isinstance(value, int) else value
    if (
        not isinstance(window, (tuple, list))
        or len(window) != 2
        or not all(isinstance(number, int) and 0 <= number <= 0xFFFF for number in window)
    ):
        raise LocalProtocolError(f"not an operations window (one number or two, from 0 to 65535): {value!r}")
    invoked, performed = window
    return invoked, performed


def fill_with_storage(
    contexts: Iterable[str | PresentationContext], storage: Iterable[str | PresentationContext] | None = None
) -> list[PresentationContext]:
    """Add the storage contexts that the sub-operations of C-GET need (PS3.4 C.5.3), in which we are the SCP.

    Nothing is added if no context has a C-GET SOP class. A storage class among the contexts gets both roles if it is
    given as a UID, and stays as it is if it is given as a PresentationContext.

    Args:
        contexts: The contexts.
        storage: The storage classes; None: as many of sop_class.GET_STORAGE_RANKED as there is room for.
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
    """Return the A-ASSOCIATE-RQ that proposes contexts, with the IDs 1, 3, 5 and so on.

    Args:
        contexts: The contexts.
        ae_title: Our AE title.
        called_ae_title: The AE title of the peer.
        limits: The limits, of which the longest PDU that we accept is announced.
        operations_window: How many operations we may invoke and how many we perform at once; 0 means no limit. (1, 1)
            is not sent, because some peers drop the connection when they see the item.
        user_identity: The user identity, if we send one.
        common_extended: SOP class common extended negotiation.

    Raises:
        LocalProtocolError: There is no context, or more than 128, or one has no valid UID, no transfer syntax or no
            role.
        TypeError: A context is of a wrong type.
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
        # Roles and extended negotiation belong to the SOP class: one item for all its contexts.
        role = roles.get(context.uid, RoleSelection(context.uid, scu=False, scp=False))
        roles[context.uid] = RoleSelection(context.uid, role.scu or context.scu, role.scp or context.scp)
        if context.extended is not None:
            extended.setdefault(context.uid, ExtendedNegotiation(context.uid, encoded(context.uid, context.extended)))
    # The items are in ascending order of type, which old peers may expect (PS3.8 9.3.2.3).
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
    """What an A-ASSOCIATE-RQ and its A-ASSOCIATE-AC agree on, from our side."""

    role: Literal["requestor", "acceptor"]
    contexts: dict[int, AcceptedContext]
    """The accepted contexts, by presentation context ID."""
    refused: dict[int, tuple[str, int]]
    """The abstract syntax and the result of each refused context, by presentation context ID."""
    peer_max_length: int
    """The longest P-DATA-TF variable field that the peer accepts; 0 means no limit."""
    invoked_window: int
    """How many operations we may have open at once; 0 means no limit."""
    performed_window: int
    """How many operations the peer may have open at once; 0 means no limit."""
    roles: dict[str, RoleSelection]
    """The roles of the association requestor that were proposed and answered, by SOP class UID."""
    extended: dict[str, Extended]
    """What both sides support by extended negotiation, by SOP class UID."""
    called_ae_title: str
    calling_ae_title: str
    peer_implementation_class_uid: str | None
    peer_implementation_version_name: str | None
    user_identity_response: UserIdentityResponse | None
    rq: AssociateRQ = field(repr=False)
    ac: AssociateAC = field(repr=False)

    def answers(self) -> dict[str, str]:
        """Return the answer to each refused abstract syntax in words."""
        return {uid: context_result_meaning(result) for uid, result in self.refused.values()}


def settle(
    rq: AssociateRQ, ac: AssociateAC, role: Literal["requestor", "acceptor"], *, strict: bool = False
) -> Negotiated:
    """Return what was agreed on. An answer that does not fit what was proposed counts as a refusal.

    Args:
        rq: What was proposed.
        ac: The answer to it.
        role: Our side of the association.
        strict: Whether to assume no role for which the peer has sent no item.
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
        if answer is None:  # Some peers leave out what they refuse.
            refused[context_id] = uid, NO_REASON
        elif answer.result != ACCEPTANCE:
            refused[context_id] = uid, answer.result
        elif answer.transfer_syntax not in context.transfer_syntaxes:
            refused[context_id] = uid, TRANSFER_SYNTAXES_NOT_SUPPORTED
        else:
            # Without a role item from both sides, the requestor is only SCU (PS3.7 D.3.3.4).
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
    """Return the roles that were proposed and accepted. An acceptor cannot give a role that was not proposed."""
    asked = proposed.roles
    return {
        uid: RoleSelection(uid, given.scu and asked[uid].scu, given.scp and asked[uid].scp)
        for uid, given in answered.roles.items()
        if uid in asked
    }


def _windows(proposed: UserInformation, answered: UserInformation) -> tuple[int, int]:
    """Return how many operations the requestor may invoke and perform: one each, unless both sides sent the item."""
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
