"""Show a negotiation: propose many presentation contexts, and print how the peer answers each of them, and why."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from dataclasses import asdict, dataclass
from typing import Any

import aiodimse
from aiodimse import sop_class
from aiodimse.association import MAX_CONTEXTS
from aiodimse.cli import opening
from aiodimse.cli import options as shared
from aiodimse.cli.failures import FAILED
from aiodimse.cli.identifier import near
from aiodimse.cli.opening import association, implementation, peer_words
from aiodimse.cli.output import Output
from aiodimse.cli.values import printable
from aiodimse.standard import transfer_syntax
from aiodimse.standard.reason import context_result_meaning
from aiodimse.standard.service_class import STORAGE

HELP = "show what a peer accepts, and why it refuses the rest"

SERVICES = (
    sop_class.Verification,
    sop_class.PatientRootQueryRetrieveInformationModelFind,
    sop_class.PatientRootQueryRetrieveInformationModelMove,
    sop_class.PatientRootQueryRetrieveInformationModelGet,
    sop_class.StudyRootQueryRetrieveInformationModelFind,
    sop_class.StudyRootQueryRetrieveInformationModelMove,
    sop_class.StudyRootQueryRetrieveInformationModelGet,
    sop_class.PatientStudyOnlyQueryRetrieveInformationModelFind,
    sop_class.PatientStudyOnlyQueryRetrieveInformationModelMove,
    sop_class.PatientStudyOnlyQueryRetrieveInformationModelGet,
    sop_class.CompositeInstanceRootRetrieveMove,
    sop_class.CompositeInstanceRootRetrieveGet,
    sop_class.CompositeInstanceRetrieveWithoutBulkDataGet,
    sop_class.ModalityWorklistInformationModelFind,
    sop_class.ModalityPerformedProcedureStep,
    sop_class.StorageCommitmentPushModel,
    sop_class.InstanceAvailabilityNotification,
    sop_class.UnifiedProcedureStepPush,
    sop_class.UnifiedProcedureStepPull,
    sop_class.UnifiedProcedureStepWatch,
    sop_class.BasicGrayscalePrintManagementMeta,
    sop_class.BasicColorPrintManagementMeta,
    sop_class.HangingProtocolInformationModelFind,
    sop_class.DefinedProcedureProtocolInformationModelFind,
    sop_class.ColorPaletteQueryRetrieveInformationModelFind,
    sop_class.GenericImplantTemplateInformationModelFind,
    sop_class.GeneralRelevantPatientInformationQuery,
    sop_class.InventoryFind,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """How the peer answered one presentation context."""

    context_id: int
    abstract_syntax: str
    accepted: bool
    transfer_syntax: str
    """The accepted one; "" if the context was refused."""
    answer: str
    roles: str
    """The roles that we have in it."""
    extended: str
    """The extended negotiation in the answer of the peer."""


def arguments(parser: ArgumentParser) -> None:
    """Add the options of explain."""
    shared.peer(parser)
    parser.add_argument(
        "--context",
        "--contexts",
        dest="contexts",
        action="append",
        type=abstract_syntax,
        metavar="KEYWORD",
        help="propose this SOP class, by keyword or UID, instead of many; repeatable",
    )
    parser.add_argument(
        "--scp", action="store_true", help="propose the SCP role for storage, as a C-GET does, and not the SCU role"
    )
    parser.add_argument(
        "--window", type=shared.count, default=1, metavar="N",
        help="propose an asynchronous operations window of N; some peers close the connection when they see one",
    )  # fmt: skip
    opening.arguments(parser)


def abstract_syntax(text: str) -> str:
    """Read a SOP class, by keyword or UID. An unknown UID is allowed, since it may be that of a private class."""
    for row in sop_class.known():
        if text in (row, row.keyword):
            return row
    if text.replace(".", "").isdigit() and len(text) <= 64:
        return text
    raise ArgumentTypeError(f"no SOP class {text!r}{near(text, (row.keyword for row in sop_class.known()))}")


def contexts(asked: list[str] | None, *, scp: bool = False) -> list[aiodimse.PresentationContext]:
    """Return the contexts to propose: those that were asked for, or else as many as an association can have.

    These are the services, and then the storage classes by how common they are. Storage is proposed in one role only:
    an acceptor that is asked for both roles need not grant both, so its answer would say little. Query and retrieve
    are proposed with everything that extended negotiation can ask for.
    """
    uids = asked or [*SERVICES, *sop_class.GET_STORAGE_RANKED]
    return [_context(uid, scp=scp) for uid in dict.fromkeys(uids)][:MAX_CONTEXTS]


def _context(uid: str, *, scp: bool) -> aiodimse.PresentationContext:
    row = sop_class.lookup(uid)
    if row is None:
        return aiodimse.PresentationContext(uid)
    extended: aiodimse.ExtendedQuery | aiodimse.ExtendedRetrieve | None = None
    if row in sop_class.QUERY_RETRIEVE_FIND and "QueryRetrieve" in row.keyword:
        extended = aiodimse.ExtendedQuery(*[True] * 7)
    elif row in (*sop_class.QUERY_RETRIEVE_GET, *sop_class.QUERY_RETRIEVE_MOVE) and "QueryRetrieve" in row.keyword:
        extended = aiodimse.ExtendedRetrieve(relational=True, enhanced_multi_frame=True)
    scp = scp and row.service_class == STORAGE
    return aiodimse.PresentationContext(uid, scu=not scp, scp=scp, extended=extended)


async def run(options: Namespace, output: Output) -> int:
    """Open one association, release it at once, and print what was negotiated."""
    proposed = contexts(options.contexts, scp=options.scp)
    try:
        async with association(options, proposed, storage=[], operations_window=options.window) as peer:
            negotiated = peer.negotiated
    except aiodimse.NoAcceptedContext as error:
        if not isinstance(error.negotiated, aiodimse.Negotiated):
            raise
        negotiated = error.negotiated
    found = rows(negotiated)
    facts = about(negotiated, options)
    numbers = {
        "maximum_PDU_length": negotiated.peer_max_length,  # 0: no limit
        "invoked_window": negotiated.invoked_window,
        "performed_window": negotiated.performed_window,
    }
    words = {word.replace(" ", "_"): fact for word, fact in facts}
    output.document({**words, **numbers, "contexts": list(map(asdict, found))})
    width = max(len(word) for word, _ in facts)
    for word, fact in facts:
        output.line(f"{word.ljust(width)}  {fact}")
    output.line()
    output.table(
        ["ID", "roles", "answer", "abstract syntax"],
        [[str(row.context_id), row.roles, row.answer, row.abstract_syntax] for row in found],
    )
    for row in found:
        if row.extended:
            output.line(f"extended negotiation of {row.abstract_syntax}: {row.extended}")
    accepted = sum(row.accepted for row in found)
    output.line(f"{accepted} of {len(found)} presentation contexts accepted")
    return 0 if accepted else FAILED


def about(negotiated: aiodimse.Negotiated, options: Namespace) -> list[tuple[str, str]]:
    """Describe what was negotiated for the association as a whole."""
    uid, name = negotiated.peer_implementation_class_uid, negotiated.peer_implementation_version_name
    longest = negotiated.peer_max_length
    asked = negotiated.rq.user_information.operations_window
    if asked is None:
        window = "1 operation at a time (no window proposed: --window N)"
    elif negotiated.ac.user_information.operations_window is None:
        window = "1 operation at a time (the peer did not answer the window)"
    else:
        invoked, performed = (n or "any number" for n in (negotiated.invoked_window, negotiated.performed_window))
        window = f"{invoked} of ours, {performed} of the peer's at a time"
    return [
        ("peer", f"{peer_words(options)} accepts the association with {options.ae_title}"),
        ("implementation", f"{implementation(negotiated)}" + (f", {printable(uid)}" if uid and name else "")),
        ("maximum PDU length", f"{longest} bytes" if longest else "no limit"),
        ("operations window", window),
    ]


def rows(negotiated: aiodimse.Negotiated) -> list[Row]:
    """Return the answer to each proposed context, in the order of their IDs."""
    found = []
    for proposed in negotiated.rq.contexts:
        uid, context_id = proposed.abstract_syntax, proposed.context_id
        accepted = negotiated.contexts.get(context_id)
        if accepted is None:
            _, result = negotiated.refused[context_id]
            found.append(
                Row(context_id, _keyword(uid), False, "", f"refused: {context_result_meaning(result)}", "", "")
            )
            continue
        roles = " ".join(word for word, has in (("SCU", accepted.scu), ("SCP", accepted.scp)) if has)
        extended = negotiated.extended.get(uid)
        found.append(
            Row(
                context_id,
                _keyword(uid),
                True,
                accepted.transfer_syntax,
                f"accepted: {_syntax(accepted.transfer_syntax)}",
                roles or "none",
                "" if extended is None else _extended(extended),
            )
        )
    return found


def _keyword(uid: str) -> str:
    row = sop_class.lookup(uid)
    return row.keyword if row is not None else uid


def _syntax(uid: str) -> str:
    row = transfer_syntax.lookup(uid)
    return row.keyword if row is not None else printable(uid)


def _extended(extended: Any) -> str:
    if isinstance(extended, bytes):
        return extended.hex(" ")
    return ", ".join(name.replace("_", " ") for name, supported in asdict(extended).items() if supported) or "nothing"
