"""The pages under docs/reference/api/: which public name is on which page. Called by docs/generate.py.

A page holds a directive for each name, and mkdocstrings puts the docstring, the parameters and the members there when
the site is built. So these pages change only when a public name comes or goes.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import aiodimse

PAGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "connect": (
        "connect",
        ("connect", "contexts_for", "storage_contexts", "identifier", "Identifier", "Connect", "ConnectOptions"),
    ),
    "association": ("Association", ("Association",)),
    "operations": ("Find, Get and Move", ("Find", "Get", "Move", "ReceivedMove", "MoveReceiver", "Progress")),
    "response": ("Response", ("Response", "Reply", "Status", "Category")),
    "pool": ("Pool", ("Pool", "Lease", "PooledOperation", "StoreResult")),
    "server": (
        "Server",
        ("Server", "Listening", "Environment", "Clock", "Network", "Trace", "TitlePolicy", "RequestHandlers"),
    ),
    "completeness": ("Completeness", ("Completeness",)),
    "hooks": ("AssociationRequest", ("AssociationRequest", "ProviderAssociation")),
    "requests": (
        "Requests",
        ("Request", "EchoRequest", "StoreRequest", "FindRequest", "GetRequest", "MoveRequest", "NormalizedRequest"),
    ),
    "destination": ("Destination", ("Destination",)),
    "instance": (
        "Instance",
        ("Instance", "ArrivingInstance", "InstanceSource", "ReferencedFile", "EncodedDataset", "Identity",
         "read_identity", "file_identity", "FileHead", "read_head", "check_frame", "EncapsulatedFrames",
         "remove_unfinished"),
    ),
    "negotiation": (
        "Negotiation",
        (
            "PresentationContext",
            "AcceptedContext",
            "Negotiated",
            "ExtendedQuery",
            "ExtendedRetrieve",
            "CommonExtendedNegotiation",
            "UserIdentityRequest",
        ),
    ),
    "config": ("Timeouts and Limits", ("Timeouts", "Limits")),
    "metrics": ("Metrics", ("Metrics", "MeasuredAssociation", "telemetry.OpenTelemetryMetrics")),
    "errors": ("Errors", tuple(name for name in aiodimse.__all__ if inspect.isclass(getattr(aiodimse, name))
                               and issubclass(getattr(aiodimse, name), Exception))),
    "handler_types": ("aiodimse.handler_types", ("handler_types",)),
    "leniency": ("aiodimse.leniency", ("leniency",)),
    "sop_class": ("aiodimse.sop_class", ("sop_class.lookup", "sop_class.known", "sop_class.register")),
    "audit": ("aiodimse.audit", ("audit",)),
    "conformance": ("aiodimse.conformance", ("conformance",)),
    "tls": ("aiodimse.tls", ("tls",)),
    "charsets": ("aiodimse.charsets", ("charsets",)),
    "archive": ("aiodimse.archive", ("archive",)),
    "commitment": ("aiodimse.commitment", ("commitment",)),
    "outbox": ("aiodimse.outbox", ("outbox",)),
    "dicomweb": ("aiodimse.dicomweb", ("dicomweb",)),
    "testing": ("aiodimse.testing", ("testing",)),
}  # fmt: skip
"""File name: title, and the names below aiodimse that are on it. A module stands for its public names."""

HANDED_OUT = {
    "AcceptedContext", "ArrivingInstance", "Association", "AssociationRequest", "Connect", "EchoRequest",
    "Find", "FindRequest", "Get", "GetRequest", "Lease", "Listening", "Move", "MoveRequest", "Negotiated",
    "NormalizedRequest", "PooledOperation", "ProviderAssociation", "ReceivedMove", "Request", "StoreRequest",
}  # fmt: skip
"""Classes whose objects programs get, and do not make: how they are made is not shown."""

INHERITING = {"Association", "Find", "Get", "Move", "ReceivedMove", "Server"}
"""Classes of which a part is in a base class that is not public: its members are shown with theirs."""

MODULES = {
    "archive",
    "audit",
    "charsets",
    "commitment",
    "conformance",
    "dicomweb",
    "handler_types",
    "leniency",
    "outbox",
    "testing",
    "tls",
}


def _on_no_page() -> tuple[str, ...]:
    shown = {name.split(".")[0] for _, names in PAGES.values() for name in names}
    return tuple(name for name in aiodimse.__all__ if name not in shown)


PAGES["more"] = ("More names", _on_no_page())
"""A public name that has just come is here, until it has a better place above."""
_MORE = "Public names that have no page of their own yet. All others are on the pages of [all names](index.md)."


def parts(name: str) -> Iterator[str]:
    """The directives of a page."""
    if name == "more":
        yield _MORE
    for thing in PAGES[name][1]:
        if thing in MODULES:
            yield f"::: aiodimse.{thing}\n    options:\n      show_root_heading: false\n      heading_level: 1"
        else:
            options = ["merge_init_into_class: false"] * (thing in HANDED_OUT)
            options += ["inherited_members: true"] * (thing in INHERITING)
            yield "\n      ".join([f"::: aiodimse.{thing}", *options]).replace("\n", "\n    options:\n", 1)


def overview() -> Iterator[str]:
    """The page that names all."""
    yield (
        "Everything that programs import is in `aiodimse` and in the modules named at the end. Names that begin with "
        "an underscore, and modules that are not listed here, may change in any version."
    )
    rows = ["| Page | Names |", "| --- | --- |"]
    for page, (title, names) in PAGES.items():
        rows.append(f"| [{title}]({page}.md) | {', '.join(f'`{name}`' for name in names)} |")
    yield "\n".join(rows)


def exceptions(root: Path) -> Iterator[str]:
    """The tree of exceptions, from the source of errors.py: bases, and the first sentence of each docstring."""
    tree = ast.parse((root / "aiodimse" / "errors.py").read_text(encoding="utf-8"))
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    children: dict[str, list[str]] = {}
    for name, node in classes.items():
        children.setdefault(ast.unparse(node.bases[0]), []).append(name)

    def lines(name: str, depth: int) -> Iterator[str]:
        node = classes[name]
        others = [ast.unparse(base) for base in node.bases[1:]]
        also = f" (also a `{'`, `'.join(others)}`)" if others else ""
        sentence = " ".join((ast.get_docstring(node) or "").split("\n\n")[0].split())
        public = f"[`{name}`](api/errors.md#aiodimse.{name})" if name in aiodimse.__all__ else f"`{name}`"
        yield f"{'    ' * depth}- {public}{also}: {sentence}"
        for child in children.get(name, ()):
            yield from lines(child, depth + 1)

    yield (
        "Everything that the library raises on purpose is an `AiodimseError`. Beside these, `OSError` comes from the "
        "network and from files, `asyncio.CancelledError` from a cancelled await, `TypeError` and `ValueError` from "
        "arguments of a wrong kind."
    )
    yield "\n".join(lines("AiodimseError", 0))
