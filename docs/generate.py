"""Writes docs/reference/ from aiodimse/standard/, aiodimse/config.py and docstrings, so that each fact is typed once.

python docs/generate.py          write the pages
python docs/generate.py --check  say which pages are not current; exit status 1 if one is not

The pages are committed, so that they can be read without building the site.
"""

from __future__ import annotations

import ast
import asyncio
import sys
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "docs")]  # the source tree, whether installed or not

import generate_api  # noqa: E402
import generate_cli  # noqa: E402

from aiodimse.standard import extended, leniency, reason, service_class, sop_class, status, transfer_syntax  # noqa: E402
from aiodimse.standard.uid import SOPClass  # noqa: E402

REFERENCE = ROOT / "docs" / "reference"


def table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    lines += ["| " + " | ".join(str(cell).replace("|", "\\|") for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def code(text: object) -> str:
    return f"`{text}`"


def page(title: str, source: str, *parts: str) -> str:
    """A page from its parts, with a note on where it comes from."""
    note = f"<!-- Written by docs/generate.py from {source}. Edit that, then run make docs. -->"
    return "\n\n".join([f"# {title}", note, *parts]) + "\n"


def sop_classes() -> str:
    parts = [
        (
            "Names in `aiodimse.sop_class`, the keywords of PS3.6. Each is a `str`, its UID, with `.service_class`, "
            "`.commands`, `.carries` and `.retired`."
        ),
        (
            f"`STORAGE` has {len(sop_class.STORAGE)} of them, `OTHER_STORAGE` {len(sop_class.OTHER_STORAGE)} more, "
            "retired or newer than edition 2024c. "
            "`QUERY_RETRIEVE_FIND`, `QUERY_RETRIEVE_GET` and `QUERY_RETRIEVE_MOVE` "
            f"have {len(sop_class.QUERY_RETRIEVE_FIND)}, {len(sop_class.QUERY_RETRIEVE_GET)} and "
            f"{len(sop_class.QUERY_RETRIEVE_MOVE)}. `register()` adds a private one."
        ),
    ]
    for service in service_class.ALL:
        rows = sop_class.known(service_class=service)
        current = [row for row in rows if not row.retired]
        parts.append(f"## {service.name} ({service.section})")
        if current:
            parts.append(table(["Keyword", "UID", "Services"], map(sop_class_row, current)))
        if retired := [row for row in rows if row.retired]:
            parts.append("Retired:")
            parts.append(table(["Keyword", "UID", "Services"], map(sop_class_row, retired)))
    return page("SOP classes", "aiodimse/standard/", *parts)


def sop_class_row(row: SOPClass) -> tuple[str, str, str]:
    return code(row.keyword), code(row), ", ".join(sorted(row.commands)) or "none by DIMSE"


def statuses() -> str:
    def rows_of(rows: Iterable[status.StatusRow]) -> str:
        ordered = sorted(rows, key=lambda row: (row.first, row.last, row.commands))
        return table(
            ["Code", "Category", "Meaning", "Services", "Section"],
            (
                (code(row.codes()), row.category.value, row.meaning, ", ".join(row.commands) or "all", row.section)
                for row in ordered
            ),
        )

    parts = [
        (
            "A `Status` is an `int` with `.category` and `.meaning`. The same code says different things in different "
            "services; one code goes before a range. A code without a row has the category that PS3.7 C gives its "
            "range, and Failure where that gives none."
        ),
        "## General (PS3.7 C)",
        rows_of(status.GENERAL),
    ]
    groups: dict[tuple[service_class.ServiceClass, ...], list[status.StatusRow]] = {}
    for row in status.SERVICES:
        groups.setdefault(row.service_classes, []).append(row)
    for services, rows in groups.items():
        if len(services) == 1:
            parts.append(f"## {services[0].name}")
        else:
            verbs = " and ".join(dict.fromkeys(command for row in rows for command in row.commands))
            parts.append(f"## {verbs} of {len(services)} service classes")
            parts.append(", ".join(service.name for service in services) + ".")
        parts.append(rows_of(rows))
    parts += [
        "## Of this library",
        (
            "The standard leaves 0xCxxx to implementations. These are what a provider made with aiodimse answers when "
            "a handler, or a data set, is at fault."
        ),
        rows_of(status.IMPLEMENTATION),
    ]
    return page("Statuses", "aiodimse/standard/status.py", *parts)


def transfer_syntaxes() -> str:
    def facts(row: transfer_syntax.TransferSyntax) -> str:
        words = ["Implicit VR" if row.implicit else "Explicit VR"]
        words += [] if row.little_endian else ["big endian"]
        words += ["deflated"] if row.deflated else []
        words += ["encapsulated pixel data"] if row.encapsulated else []
        words += ["retired"] if row.retired else []
        return ", ".join(words)

    def rows(of: Iterable[transfer_syntax.TransferSyntax]) -> str:
        return table(["Keyword", "UID", "Encoding"], ((code(row.keyword), code(row), facts(row)) for row in of))

    def names(of: Iterable[transfer_syntax.TransferSyntax]) -> str:
        return ", ".join(code(row.keyword) for row in of)

    return page(
        "Transfer syntaxes",
        "aiodimse/standard/transfer_syntax.py",
        f"A context proposes {names(transfer_syntax.DEFAULT_PROPOSED)} in this order unless told otherwise. A provider "
        f"of queries accepts {names(transfer_syntax.IDENTIFIERS)}; a provider of storage accepts each that a "
        "presentation context can have, because it keeps objects as they come.",
        rows(transfer_syntax.NETWORK),
        "## Not for a presentation context",
        rows(row for row in transfer_syntax.ALL if row not in transfer_syntax.NETWORK),
    )


def reasons() -> str:
    rejects = (
        (result, source, number, reason.REJECT_RESULT[result], reason.REJECT_SOURCE[source], why)
        for (source, number), why in reason.REJECT_REASON.items()
        for result in reason.REJECT_RESULT
    )
    return page(
        "Rejects, aborts, contexts",
        "aiodimse/standard/reason.py",
        "## A-ASSOCIATE-RJ (PS3.8 9.3.4)",
        "`AssociationRejected` has `.result`, `.source` and `.reason`.",
        table(["Result", "Source", "Reason", "", "By", "Meaning"], sorted(rejects)),
        "## A-ABORT (PS3.8 9.3.8)",
        "`AssociationAborted` has `.source` and `.reason`. The reason says something when the source is the service "
        f"provider ({next(k for k, v in reason.ABORT_SOURCE.items() if v == 'service provider')}).",
        table(["Source", "Meaning"], reason.ABORT_SOURCE.items()),
        table(["Reason", "Meaning"], reason.ABORT_REASON.items()),
        "## Presentation contexts (PS3.8 9.3.3.2)",
        "What an acceptor answers to each proposed context; `NoAcceptedContext` shows the answers.",
        table(["Result", "Meaning"], reason.CONTEXT_RESULT.items()),
    )


def extended_negotiation() -> str:
    parts = [
        (
            "Bytes of the service-class-application-information field (PS3.7 D.3.3.5). A byte that is not there is 0; "
            "an answer is never longer than the offer."
        ),
    ]
    groups: dict[tuple[object, ...], list[extended.ExtendedField]] = {}
    for row in extended.ROWS:
        groups.setdefault((row.service_classes, row.commands), []).append(row)
    for rows in groups.values():
        services = ", ".join(service.name for service in rows[0].service_classes)
        parts.append(f"## {services}: {', '.join(rows[0].commands)}")
        parts.append(
            table(
                ["Byte", "Name", "Meaning", "Not for", "Section"],
                (
                    (
                        row.position + 1,
                        code(row.keyword),
                        row.meaning,
                        ", ".join(code(sop.keyword) for sop in row.but),
                        row.section,
                    )
                    for row in rows
                ),
            )
        )
    return page("Extended negotiation", "aiodimse/standard/extended.py", *parts)


def leniencies() -> str:
    return page(
        "Leniencies",
        "aiodimse/standard/leniency.py",
        "What real peers do against a rule, and what is done about it where no instance can be lost or exchanged. "
        "Each is logged once for an association, as a WARNING of `aiodimse.association` with the name of the row and "
        "of the peer. With `strict=True` none of them holds.",
        table(
            ["Name", "Tolerated", "What happens", "Known peers", "Rule"],
            ((code(row.key), row.tolerated, row.done, row.peers, row.section) for row in leniency.ALL),
        ),
    )


def timeouts_and_limits() -> str:
    """From the source: the sentence under a field is the documentation, and only the source has it."""
    parts = []
    tree = ast.parse((ROOT / "aiodimse" / "config.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if not isinstance(node, ast.ClassDef):
            continue
        rows = []
        for field, sentence in zip(node.body, node.body[1:], strict=False):
            if isinstance(field, ast.AnnAssign) and isinstance(sentence, ast.Expr):
                assert field.value is not None
                words = " ".join(ast.literal_eval(sentence.value).split())
                rows.append((code(ast.unparse(field.target)), default(field.value), words))
        words, _, _ = (ast.get_docstring(node) or "").partition("\n\nRaises:")  # which is for the page of the API
        parts += [f"## {node.name}", words, table(["Name", "Default", "Meaning"], rows)]
    return page("Timeouts and limits", "aiodimse/config.py", *parts)


def default(node: ast.expr) -> str:
    value = eval(compile(ast.Expression(node), "config.py", "eval"), {"__builtins__": {}})
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def api(name: str) -> str:
    return page(generate_api.PAGES[name][0], "docs/generate_api.py", *generate_api.parts(name))


def overview() -> str:
    return page("All names", "docs/generate_api.py", *generate_api.overview())


def exceptions() -> str:
    return page("Exceptions", "aiodimse/errors.py", *generate_api.exceptions(ROOT))


def command_line() -> str:
    return page("The command line", "the parser in aiodimse/cli/", *generate_cli.parts())


def statement() -> str:
    """Of aiodimse serve."""
    from aiodimse import conformance
    from aiodimse.cli.conformance import server_of_serve

    text = conformance.statement(asyncio.run(server_of_serve()), name="aiodimse serve", version="")
    _, _, rest = text.partition("\n\n")
    return page("Conformance statement", "aiodimse/conformance.py", rest.rstrip())


PAGES = {
    "api/index.md": overview,
    **{f"api/{name}.md": partial(api, name) for name in generate_api.PAGES},
    "exceptions.md": exceptions,
    "command-line.md": command_line,
    "conformance.md": statement,
    "sop-classes.md": sop_classes,
    "statuses.md": statuses,
    "transfer-syntaxes.md": transfer_syntaxes,
    "reasons.md": reasons,
    "extended-negotiation.md": extended_negotiation,
    "leniencies.md": leniencies,
    "timeouts-and-limits.md": timeouts_and_limits,
}


def stale() -> list[str]:
    """The names of the pages that are not what would be written now."""
    return [
        name
        for name, make in PAGES.items()
        if not (REFERENCE / name).exists() or (REFERENCE / name).read_text(encoding="utf-8") != make()
    ]


def main() -> int:
    if sys.argv[1:] == ["--check"]:
        if names := stale():
            print("not current:", *names, "- run make docs", file=sys.stderr)
        return bool(names)
    (REFERENCE / "api").mkdir(parents=True, exist_ok=True)
    for name in stale():
        (REFERENCE / name).write_text(PAGES[name](), encoding="utf-8")
        print("wrote", REFERENCE.relative_to(ROOT) / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
