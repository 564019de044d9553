"""The API page of docs/reference/, from the docstrings of the public names. Called by docs/generate.py."""

from __future__ import annotations

import ast
import asyncio
import enum
import inspect
import re
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from typing import Any

import aiodimse
from aiodimse import testing
from aiodimse.services.user import operation
from aiodimse.standard import sop_class

# By what one looks for. Classes that one does not make, but gets, are among them.
SECTIONS: dict[str, list[Any]] = {
    "Service class user": [
        aiodimse.connect,
        aiodimse.contexts_for,
        aiodimse.Association,
        operation.Operation,
        aiodimse.Find,
        aiodimse.Get,
        aiodimse.Move,
        aiodimse.Response,
        aiodimse.Progress,
    ],
    "Associations that tasks share": [aiodimse.Pool, aiodimse.PooledOperation, aiodimse.Lease, aiodimse.StoreResult],
    "Service class provider": [aiodimse.Server, aiodimse.Listening, aiodimse.AssociationRequest, aiodimse.Destination],
    "aiodimse.handler_types": [
        value
        for name, value in vars(aiodimse.handler_types).items()
        if name.endswith("Handler") and value.__module__ == aiodimse.handler_types.__name__
    ],
    "What handlers get": [
        aiodimse.Request,
        aiodimse.EchoRequest,
        aiodimse.StoreRequest,
        aiodimse.FindRequest,
        aiodimse.GetRequest,
        aiodimse.MoveRequest,
        aiodimse.NormalizedRequest,
        aiodimse.Peer,
    ],
    "Instances, statuses, negotiation": [
        aiodimse.Instance,
        aiodimse.remove_unfinished,
        aiodimse.ReferencedFile,
        aiodimse.Identity,
        aiodimse.read_identity,
        aiodimse.EncodedDataset,
        aiodimse.Status,
        aiodimse.Category,
        aiodimse.PresentationContext,
        aiodimse.ExtendedQuery,
        aiodimse.ExtendedRetrieve,
        aiodimse.CommonExtendedNegotiation,
        aiodimse.Negotiated,
        aiodimse.AcceptedContext,
        aiodimse.UserIdentityRequest,
    ],
    "Metrics": [aiodimse.Metrics],
    "Errors": [
        value
        for name in aiodimse.__all__
        if isinstance(value := getattr(aiodimse, name), type) and issubclass(value, Exception)
    ],
    "aiodimse.tls": [aiodimse.tls.client_context, aiodimse.tls.server_context],
    "aiodimse.charsets": [
        aiodimse.charsets.lookup,
        aiodimse.charsets.CharacterSet,
    ],
    "aiodimse.sop_class": [sop_class.lookup, sop_class.known, sop_class.register],
    "aiodimse.testing": [
        value
        for name in testing.__all__
        if inspect.isfunction(value := getattr(testing, name)) or isinstance(value, type)
    ],
}

ELSEWHERE = {"Limits", "Timeouts", "InstanceSource", "charsets", "handler_types", "leniency", "sop_class", "tls"}
"""Public names with a page or a section of their own."""

# For other floors of the library; without an underscore because they cross from one module to another.
INTERNAL = {
    "answer", "connection", "connection_lost", "connection_made", "decide", "decode_error", "encoded", "has_hooks",
    "is_iterated", "is_left", "is_running", "is_starting", "offer", "provider", "save_error", "start",
}  # fmt: skip


def parts() -> Iterator[str]:
    """The page, part by part."""
    yield (
        "The public names, and what they hand out: a class in whose place no signature stands is not made by you. "
        "[Timeouts and limits](timeouts-and-limits.md) and [SOP classes](sop-classes.md) have pages of their own."
    )
    for title, things in SECTIONS.items():
        yield f"## {title}"
        for thing in things:
            yield from _described(thing)


def _described(thing: Any) -> Iterator[str]:
    yield f"### {thing.__name__}"
    is_class = isinstance(thing, type)
    if not is_class or (_is_made(thing) and not issubclass(thing, enum.Enum)):
        yield _signature(thing)
    if words := _words(thing):
        yield words
    if is_class and issubclass(thing, enum.Enum):
        yield ", ".join(f"`{member.name}`" for member in thing) + "."
    elif is_class and not issubclass(thing, asyncio.BaseTransport) and (rows := list(_members(thing))):
        yield "\n".join(["| Name | |", "| --- | --- |", *(f"| `{name}` | {text} |" for name, text in rows)])


def _is_made(thing: type) -> bool:
    """Whether users call the class."""
    if getattr(thing, "_is_protocol", False):
        return False
    handed_out = (
        aiodimse.Association,
        aiodimse.Listening,
        aiodimse.Request,
        aiodimse.Peer,
        aiodimse.Negotiated,
        aiodimse.AcceptedContext,
        operation.Operation,
        aiodimse.Instance,
    )
    return (is_dataclass(thing) or "__init__" in vars(thing)) and not issubclass(thing, handed_out)


def _signature(thing: Any) -> str:
    """As it is written in the source: the same in every Python, and without what objects look like."""
    node = _node(thing)
    prefix = "async def " if isinstance(node, ast.AsyncFunctionDef) else ""
    if isinstance(node, ast.ClassDef):
        init = next((item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"), None)
        arguments = list(_fields(node)) if init is None else list(_parameters(init))[1:]
        result = ""
    else:
        assert isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))
        arguments = list(_parameters(node))
        result = f" -> {ast.unparse(node.returns)}" if node.returns is not None else ""
        if any(ast.unparse(decorator) == "asynccontextmanager" for decorator in node.decorator_list):
            prefix, result = "async with ", ""
    lines = [f"{prefix}{thing.__name__}({', '.join(arguments)}){result}"]
    if len(lines[0]) > 100:
        lines = [f"{prefix}{thing.__name__}(", *(f"    {argument}," for argument in arguments), f"){result}"]
    return "\n".join(["```python", *lines, "```"])


def _node(thing: Any) -> ast.stmt:
    return ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(thing)))).body[0]


def _parameters(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    found = node.args
    positional = [*found.posonlyargs, *found.args]
    defaults = [None] * (len(positional) - len(found.defaults)) + found.defaults
    for argument, default in zip(positional, defaults, strict=True):
        yield _argument(argument, default)
    if found.vararg is not None:
        yield f"*{ast.unparse(found.vararg)}"
    elif found.kwonlyargs:
        yield "*"
    for argument, default in zip(found.kwonlyargs, found.kw_defaults, strict=True):
        yield _argument(argument, default)
    if found.kwarg is not None:
        yield f"**{ast.unparse(found.kwarg)}"


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    return ast.unparse(argument) + (f" = {ast.unparse(default)}" if default is not None else "")


def _fields(node: ast.ClassDef) -> Iterator[str]:
    """The parameters of a dataclass."""
    for item in node.body:
        if isinstance(item, ast.AnnAssign):
            default = item.value
            if isinstance(default, ast.Call):  # field(default=None, repr=False)
                default = next((keyword.value for keyword in default.keywords if keyword.arg == "default"), None)
            text = f"{ast.unparse(item.target)}: {ast.unparse(item.annotation)}"
            yield text if default is None else f"{text} = {ast.unparse(default)}"


def _doc(thing: Any) -> str:
    """The docstring; not the signature that a dataclass without one is given, nor what is inherited."""
    text = thing.__doc__ or ""
    return "" if text.startswith(f"{getattr(thing, '__name__', '')}(") else inspect.cleandoc(text)


def _words(thing: Any) -> str:
    """The docstring up to its first example or table, its paragraphs as they are."""
    return re.split(r"\n\s*\n(?=>>>| {4}|\w+ {3,})", _doc(thing))[0].strip()


def _sentence(thing: Any) -> str:
    return " ".join(_doc(thing).split("\n\n")[0].split()).replace("|", "\\|")


def _members(thing: type) -> Iterator[tuple[str, str]]:
    """Public attributes, properties and methods: those of its bases in this library first, a paragraph each."""
    found: dict[str, tuple[str, str]] = {}
    for base in reversed(thing.__mro__):
        if not base.__module__.startswith("aiodimse"):
            continue
        for name, text in _attributes(base):
            found[name] = name, text
        for name, value in vars(base).items():
            if isinstance(value, property):
                found[name] = name, _sentence(value)
            elif inspect.isfunction(value) or (isinstance(value, staticmethod) and base is thing):
                found[name] = f"{name}()", _sentence(value)
    for name, (shown, text) in found.items():
        if not name.startswith("_") and name not in INTERNAL:
            yield f".{shown}", text


def _attributes(thing: type) -> Iterator[tuple[str, str]]:
    """Attributes that have an annotation in the class, or a sentence under them there or in __init__."""
    node = _node(thing)
    assert isinstance(node, ast.ClassDef)
    inits = [item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"]
    for body, is_class in ((node.body, True), *((init.body, False) for init in inits)):
        for statement, after in zip(body, [*body[1:], None], strict=True):
            match statement:
                case ast.AnnAssign(target=target, annotation=annotation):
                    kind = f"`{ast.unparse(annotation)}`".replace("|", "\\|")
                case ast.Assign(targets=[target]):
                    kind = ""
                case _:
                    continue
            match after:
                case ast.Expr(value=ast.Constant(value=str(text))):
                    yield _name(target), " ".join(text.split()).replace("|", "\\|")
                case _ if kind and is_class:
                    yield _name(target), kind


def _name(target: ast.expr) -> str:
    return ast.unparse(target).removeprefix("self.")


def page(make: Callable[..., str]) -> str:
    """The whole page, by the page maker of generate.py."""
    return make("API", "the docstrings of the public names", *parts())
