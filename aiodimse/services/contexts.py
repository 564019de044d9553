"""Chooses the presentation context for an operation: pure functions of what was negotiated."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from aiodimse.association import MAX_CONTEXTS, Negotiated, PresentationContext
from aiodimse.association.negotiation import check_uid, several
from aiodimse.datasets import RE_ENCODED, can_recompress, can_transcode, has_codecs
from aiodimse.datasets.pixels.syntaxes import ENCODED, EXTRA
from aiodimse.errors import LocalProtocolError, NoAcceptedContext
from aiodimse.pdu import AcceptedContext
from aiodimse.standard import sop_class
from aiodimse.standard import transfer_syntax as syntaxes
from aiodimse.standard.reason import context_result_meaning
from aiodimse.standard.transfer_syntax import DEFAULT_PROPOSED


def answers_for(negotiated: Negotiated, service: str, uid: str) -> Mapping[str, str]:
    """Describe how the peer answered the contexts of a SOP class."""
    said: list[str] = []
    for context in negotiated.rq.contexts:
        if context.abstract_syntax != uid:
            continue
        if context.context_id in negotiated.contexts:
            accepted = negotiated.contexts[context.context_id]
            role = "" if accepted.may_invoke(service) else f", but not in the role that asks for {service}"
            said.append(f"accepted with {accepted.transfer_syntax}{role}")
        else:
            _, result = negotiated.refused.get(context.context_id, (uid, None))
            said.append("not answered" if result is None else context_result_meaning(result))
    return {uid: "; ".join(dict.fromkeys(said)) or "not proposed: connect(contexts=[...]) names what is"}


def contexts_to_invoke(negotiated: Negotiated, service: str, uid: str) -> list[AcceptedContext]:
    """Return the accepted contexts of a SOP class in which we may invoke a service, in the order of their proposal."""
    return [c for c in negotiated.contexts.values() if c.abstract_syntax == uid and c.may_invoke(service)]


def context_for(negotiated: Negotiated, service: str, uid: str) -> AcceptedContext:
    """Return the context for an operation of a SOP class.

    Raises:
        NoAcceptedContext: There is none; the error has the answers of the peer.
    """
    own = contexts_to_invoke(negotiated, service, uid)
    if own and ((row := sop_class.lookup(uid)) is None or service in row.commands):
        return own[0]
    # A DIMSE-N operation may travel in the context of another SOP class (PS3.4 CC.1: UPS; H.4: print).
    for context in negotiated.contexts.values():
        row = sop_class.lookup(context.abstract_syntax)
        if row is not None and uid in row.carries and service in row.commands and context.may_invoke(service):
            return context
    if own:  # the SOP class does not have this service, which the peer has to answer
        return own[0]
    raise NoAcceptedContext(f"no accepted presentation context for {_name(uid)}", answers_for(negotiated, service, uid))


def only_sop_class(negotiated: Negotiated, service: str) -> str:
    """Return the only SOP class with a service in the accepted contexts.

    Raises:
        LocalProtocolError: Several SOP classes have it; the text names them.
        NoAcceptedContext: No SOP class has it.
    """
    uids = [c.abstract_syntax for c in negotiated.contexts.values() if _has(c.abstract_syntax, service)]
    found = [uid for uid in dict.fromkeys(uids) if contexts_to_invoke(negotiated, service, uid)]
    if len(found) > 1:
        raise LocalProtocolError(f"name a SOP class: {service} is accepted for {', '.join(map(_name, found))}")
    if not found:
        proposed = dict.fromkeys(c.abstract_syntax for c in negotiated.rq.contexts if _has(c.abstract_syntax, service))
        answers = {uid: answers_for(negotiated, service, uid)[uid] for uid in proposed}
        raise NoAcceptedContext(f"no accepted presentation context for {service}", answers)
    return found[0]


def _has(uid: str, service: str) -> bool:
    row = sop_class.lookup(uid)
    return row is not None and service in row.commands


def store_context(negotiated: Negotiated, uid: str, transfer_syntax: str, *, transcode: bool = True) -> AcceptedContext:
    """Choose the context for a C-STORE: with the stored transfer syntax if possible, else one in which nothing is lost.

    Args:
        negotiated: What was negotiated.
        uid: The SOP class.
        transfer_syntax: The transfer syntax in which the instance is stored.
        transcode: Whether compressed pixels may be sent in another compression or in none.

    Raises:
        NoAcceptedContext: There is no such context. The text names the extra to install if that would help.
    """
    found = contexts_to_invoke(negotiated, "C-STORE", uid)
    for context in found:
        if context.transfer_syntax == transfer_syntax:
            return context
    for context in found:
        if can_transcode(transfer_syntax, context.transfer_syntax):
            return context
    others = [context for context in found if can_recompress(transfer_syntax, context.transfer_syntax)]
    if others and transcode and has_codecs():
        return min(others, key=lambda context: context.transfer_syntax not in RE_ENCODED)  # prefer uncompressed
    words = f"no accepted presentation context for {_name(uid)} in transfer syntax {transfer_syntax}"
    if others and transcode:
        words += f' (to send it in another one, install the extra: pip install "{EXTRA}")'
    raise NoAcceptedContext(words, answers_for(negotiated, "C-STORE", uid))


def _name(uid: str) -> str:
    row = sop_class.lookup(uid)
    return f"{row.keyword} ({uid})" if row is not None else uid or "no SOP class"


def contexts_for_instances(kinds: Iterable[tuple[str, str]]) -> list[PresentationContext]:
    """Make contexts for instances.

    There is one for each SOP class and stored transfer syntax, and one with the Little Endian pair for each SOP class.
    """
    contexts: dict[tuple[str, tuple[str, ...]], PresentationContext] = {}
    for uid, transfer_syntax in kinds:
        contexts.setdefault((uid, (transfer_syntax,)), PresentationContext(uid, (transfer_syntax,)))
        contexts.setdefault((uid, DEFAULT_PROPOSED), PresentationContext(uid, DEFAULT_PROPOSED))
    return list(contexts.values())


def contexts_to_send(kinds: Iterable[tuple[str, str]], *, transcode: bool) -> list[PresentationContext]:
    """Make the presentation contexts for sending instances, the necessary ones first.

    Args:
        kinds: SOP class and transfer syntax of each instance.
        transcode: Whether compressed pixels may be sent in another compression. A context for each SOP class then
            proposes a lossless one, for a peer that accepts nothing uncompressed.

    Returns:
        The contexts of contexts_for_instances, and as many of the others as there is room for.
    """
    contexts = contexts_for_instances(kinds)
    if transcode and has_codecs():
        room = max(0, MAX_CONTEXTS - len(contexts))
        uids = list(dict.fromkeys(context.uid for context in contexts))
        contexts += [PresentationContext(uid, ENCODED) for uid in uids[:room]]
    return contexts


def is_proposed(negotiated: Negotiated, context: PresentationContext) -> bool:
    """Return whether the peer could accept exactly this context, and not only a choice that includes it.

    Args:
        negotiated: What was negotiated.
        context: The wanted context.
    """
    wanted = context.transfer_syntaxes or DEFAULT_PROPOSED
    asked = [each.transfer_syntaxes for each in negotiated.rq.contexts if each.abstract_syntax == context.uid]
    if tuple(wanted) in asked:
        return True
    alone = {syntax for syntaxes in asked for syntax in syntaxes if len(syntaxes) == 1 or syntax in DEFAULT_PROPOSED}
    return alone.issuperset(wanted)


# The compressed transfer syntaxes that are most common in archives come first.
_COMPRESSED = (
    syntaxes.JPEGLosslessSV1,
    syntaxes.JPEGBaseline8Bit,
    syntaxes.JPEG2000Lossless,
    syntaxes.JPEG2000,
    syntaxes.JPEGLSLossless,
    syntaxes.RLELossless,
    syntaxes.JPEGExtended12Bit,
)


def storage_contexts(
    sop_classes: Iterable[str] | None = None, *, compressed: bool = False
) -> list[PresentationContext]:
    """Make storage contexts to propose if it is not known what will be sent; never more than an association may have.

    For files that are known, contexts_for() proposes exactly what they need.

    Args:
        sop_classes: Storage SOP class UIDs, the most important first; None: the most common ones.
        compressed: Whether to propose contexts for the common compressed transfer syntaxes too. Each gets a context, so
            that an acceptor may accept all of them. They use some of the 128 contexts: of the most common SOP classes
            only 16 are proposed; of named ones, all are proposed in Little Endian first, and compressed while there is
            room.

    Returns:
        A list for connect(contexts=).

    Raises:
        LocalProtocolError: A UID is not valid.
    """
    rows: list[tuple[str, ...]] = [DEFAULT_PROPOSED]
    if compressed:
        rows += [(syntax,) for syntax in _COMPRESSED]
    wanted = list(dict.fromkeys(several(sop_classes, "sop_classes") if sop_classes is not None else _ranked(len(rows))))
    for uid in wanted:
        check_uid(uid)
    pairs = [(uid, offered) for offered in rows for uid in wanted]
    return [PresentationContext(uid, offered) for uid, offered in pairs[:MAX_CONTEXTS]]


def _ranked(contexts_each: int) -> list[str]:
    return list(map(str, sop_class.GET_STORAGE_RANKED[: MAX_CONTEXTS // contexts_each]))
