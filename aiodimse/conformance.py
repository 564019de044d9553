"""A DICOM conformance statement (PS3.2) for a Server, from what it answers when an association is proposed to it.

    from aiodimse import conformance

    print(conformance.statement(server, name="My archive", version="1.0"))

Nothing is listened on and nothing is sent: the server is asked for its answer to an A-ASSOCIATE-RQ for every SOP class
that is known, with every transfer syntax. So the tables say what `aiodimse explain` would see at it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields

import aiodimse
from aiodimse.association import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, MAX_CONTEXTS, propose, settle
from aiodimse.errors import LocalProtocolError
from aiodimse.pdu import APPLICATION_CONTEXT, AssociateAC
from aiodimse.server import Server
from aiodimse.standard import sop_class, status, transfer_syntax
from aiodimse.standard.uid import SOPClass

__all__ = ["AcceptedClass", "accepted", "statement"]


@dataclass(frozen=True, slots=True)
class AcceptedClass:
    """A SOP class that a server accepts."""

    sop_class: SOPClass
    """The SOP class."""
    scp: bool
    """Whether the server is its service class provider: the requestor may invoke its services."""
    scu: bool
    """Whether the server is its service class user, as for the C-STORE of a C-GET (PS3.7 D.3.3.4)."""
    transfer_syntaxes: tuple[str, ...]
    """The UIDs of the transfer syntaxes that are accepted if they are proposed alone."""
    extended: str
    """What is supported of the extended negotiation (PS3.7 D.3.3.5), in words; "" if it is not answered."""


def accepted(server: Server, *, calling_ae_title: str = "AIODIMSE") -> list[AcceptedClass]:
    """Return which of all known SOP classes a server accepts.

    Args:
        server: The server with its handlers.
        calling_ae_title: An AE title that may call the server. Hooks are not asked.

    Returns:
        The SOP classes, in the order of `sop_class.known()`.

    Raises:
        LocalProtocolError: The server rejects an association from this title, called by its own.
    """
    classes = [row for row in sop_class.known() if row.commands]
    all_syntaxes = [str(syntax) for syntax in transfer_syntax.NETWORK]
    together = [_context(row, all_syntaxes) for row in classes]
    first = {
        context.abstract_syntax: (context, words) for context, words in _answers(server, together, calling_ae_title)
    }
    alone = [_context(uid, [syntax]) for uid in first for syntax in all_syntaxes]
    syntaxes: dict[str, list[str]] = {uid: [] for uid in first}
    for context, _ in _answers(server, alone, calling_ae_title):
        syntaxes[context.abstract_syntax].append(context.transfer_syntax)
    return [
        AcceptedClass(row, context.scu, context.scp, tuple(syntaxes[row]), words)
        for row in classes
        if row in first
        for context, words in [first[row]]
    ]


def _context(uid: str, syntaxes: Sequence[str]) -> aiodimse.PresentationContext:
    offer: aiodimse.ExtendedQuery | aiodimse.ExtendedRetrieve | None = None
    if uid in sop_class.QUERY_RETRIEVE_FIND:
        offer = aiodimse.ExtendedQuery(*[True] * len(fields(aiodimse.ExtendedQuery)))
    elif uid in (*sop_class.QUERY_RETRIEVE_GET, *sop_class.QUERY_RETRIEVE_MOVE):
        offer = aiodimse.ExtendedRetrieve(*[True] * len(fields(aiodimse.ExtendedRetrieve)))
    # Both roles: the answer has those that are served, and nothing that is merely tolerated where no item is sent.
    return aiodimse.PresentationContext(uid, syntaxes, scu=True, scp=True, extended=offer)


def _answers(
    server: Server, contexts: Sequence[aiodimse.PresentationContext], calling: str
) -> Iterator[tuple[aiodimse.AcceptedContext, str]]:
    """Yield each context that is accepted, with the roles of the requestor, and its extended negotiation in words."""
    for start in range(0, len(contexts), MAX_CONTEXTS):
        some = contexts[start : start + MAX_CONTEXTS]
        negotiated = _negotiate(server, some, calling)
        for context in negotiated.contexts.values():
            if context.scu or context.scp:
                options = negotiated.extended.get(context.abstract_syntax)
                yield context, _words(options)


def _negotiate(
    server: Server, contexts: Sequence[aiodimse.PresentationContext | str], calling: str
) -> aiodimse.Negotiated:
    """Return what would be agreed on with these contexts, if any number of operations is proposed."""
    rq = propose(
        contexts, ae_title=calling, called_ae_title=server.ae_title, limits=aiodimse.Limits(), operations_window=(0, 0)
    )
    ac = server.answer_at_once(rq)
    if not isinstance(ac, AssociateAC):
        raise LocalProtocolError(f"the server rejects an association of {calling}: {ac}")
    return settle(rq, ac, "requestor")


def _words(options: object | None) -> str:
    if options is None or isinstance(options, bytes):
        return ""
    names = getattr(type(options), "__dataclass_fields__", {})
    return ", ".join(name.replace("_", " ") for name in names if getattr(options, name) is True)


# --- the statement ----------------------------------------------------------------------------------------------------


def statement(
    server: Server, *, name: str = "This application", version: str = "", calling_ae_title: str = "AIODIMSE"
) -> str:
    """Return the conformance statement of a server in the form of PS3.2, as Markdown.

    Args:
        server: The server with its handlers.
        name: The name of the application.
        version: Its version.
        calling_ae_title: An AE title that may call the server.

    Returns:
        The text. It lacks what the library cannot know, such as what a handler stores.

    Raises:
        LocalProtocolError: The server rejects an association from this title, called by its own.
    """
    found = accepted(server, calling_ae_title=calling_ae_title)
    return "\n\n".join(_parts(server, found, f"{name} {version}".strip(), calling_ae_title)) + "\n"


def _parts(server: Server, found: list[AcceptedClass], name: str, calling: str) -> Iterator[str]:
    sets = list(dict.fromkeys(each.transfer_syntaxes for each in found))
    yield f"# DICOM conformance statement: {name}"
    yield "## 1 Overview"
    yield (
        f"{name} communicates by DICOM over TCP/IP as one application entity, `{server.ae_title}`, made with aiodimse "
        f"{aiodimse.__version__}. In associations that others request it provides these services:"
    )
    yield _table(("Service class", "SOP classes", "As user (SCU)", "As provider (SCP)"), _overview(found))
    yield "## 2 Networking"
    yield "### 2.1 Application entity"
    yield _table(("Property", "Value"), _facts(server, _negotiate(server, [str(sop_class.Verification)], calling)))
    yield "### 2.2 Association acceptance"
    yield (
        "The first transfer syntax in the order of the requestor that is accepted is chosen. The letters of the column "
        "transfer syntaxes stand for the sets below. The role is that of this application."
    )
    yield _table(("SOP class", "UID", "Transfer syntaxes", "Role", "Extended negotiation"), _contexts(found, sets))
    yield "### 2.3 Transfer syntaxes"
    for number, names in enumerate(sets):
        yield f"**{_letters(number)}**: " + ", ".join(f"{_keyword(uid)} (`{uid}`)" for uid in names) + "."
    yield "### 2.4 Statuses"
    yield (
        "Beside Success and those that a handler chooses, these are answered by the library itself. A meaning that the "
        "standard does not give is one of aiodimse."
    )
    yield _table(("Service", "Status", "Category", "Meaning", "Section"), _statuses(found))
    yield "## 3 Configuration"
    yield (
        "AE title, address, port, the titles that may call, move destinations, limits and timeouts are set by the "
        f"application. {_idle(server)}"
    )
    yield "## 4 Character sets"
    yield "Data sets are stored and sent as they come, in any Specific Character Set (0008,0005) of PS3.3 C.12.1.1.2."
    yield "## 5 Security"
    yield (
        "TLS 1.2 and 1.3 after the BCP 195 profile (PS3.15 B.12) where the application configures it; user identity "
        "negotiation (PS3.7 D.3.3.7) where it has a hook for it. Patient data are in no log of the library."
    )


def _facts(server: Server, negotiated: aiodimse.Negotiated) -> Iterator[tuple[str, str]]:
    limits = server.limits
    performed, invoked = (number or "no limit" for number in (negotiated.invoked_window, negotiated.performed_window))
    yield "AE title", f"`{server.ae_title}`"
    yield "Application context", f"`{APPLICATION_CONTEXT}`"
    yield "Implementation class UID", f"`{IMPLEMENTATION_CLASS_UID}`"
    yield "Implementation version name", f"`{IMPLEMENTATION_VERSION_NAME}`"
    yield "Maximum PDU length", f"{limits.max_pdu_length or 'no limit'}"
    yield "Associations at once", f"{limits.max_associations}"
    yield "Operations at once, where the requestor negotiates them", f"{performed} performed, {invoked} invoked"
    yield (
        "Deviations that are accepted",
        "none (strict)" if server.is_strict else "those of the table of leniencies",
    )


def _overview(found: Iterable[AcceptedClass]) -> Iterator[tuple[str, str, str, str]]:
    groups: dict[str, list[AcceptedClass]] = {}
    for each in found:
        groups.setdefault(each.sop_class.service_class.name, []).append(each)
    for service, members in groups.items():
        yield service, str(len(members)), _yes(any(m.scu for m in members)), _yes(any(m.scp for m in members))


def _contexts(found: Iterable[AcceptedClass], sets: list[tuple[str, ...]]) -> Iterator[tuple[str, ...]]:
    for each in found:
        roles = " and ".join(word for word, has in (("SCP", each.scp), ("SCU", each.scu)) if has)
        letter = _letters(sets.index(each.transfer_syntaxes))
        yield each.sop_class.keyword, f"`{each.sop_class}`", letter, roles, each.extended


def _statuses(found: Iterable[AcceptedClass]) -> Iterator[tuple[str, ...]]:
    served = [each for each in found if each.scp]
    services = sorted({command for each in served for command in each.sop_class.commands})
    for service in services:
        for row in status.ROWS:
            if service in row.commands and not row.service_classes:
                yield service, f"`{row.codes()}`", row.category.value, row.meaning, row.section


def _idle(server: Server) -> str:
    idle, artim = server.timeouts.idle, server.timeouts.artim
    how = "released" if server.end_idle == "release" else "aborted"
    ended = "are not ended" if idle is None else f"are {how} after {idle} s"
    comes = "may come at any time" if artim is None else f"has to come within {artim} s"
    return f"Idle associations {ended}; an A-ASSOCIATE-RQ {comes}."


def _letters(number: int) -> str:
    """Return A to Z for 0 to 25, then AA, AB and so on, as columns of a spreadsheet are called."""
    before, last = divmod(number, 26)
    return (_letters(before - 1) if before else "") + chr(ord("A") + last)


def _keyword(uid: str) -> str:
    row = next((row for row in transfer_syntax.ALL if row == uid), None)
    return uid if row is None else row.keyword


def _yes(has: bool) -> str:
    return "yes" if has else "no"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    lines += ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)
