"""Parameters of public names are documented in a section that tools read (Google style): a share that only grows."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

griffe = pytest.importorskip("griffe")

ROOT = Path(__file__).parents[2]
PUBLIC = (
    "aiodimse",
    "aiodimse.archive",
    "aiodimse.testing",
    "aiodimse.tls",
    "aiodimse.telemetry",
    "aiodimse.sop_class",
)
"""Modules whose names users import."""
LEAST_SHARE = 1.0
"""Of the parameters, documented. Raise it when it has grown."""


def _handed_out() -> set[str]:
    """Classes whose objects programs get and do not make: docs/generate_api.py does not show how they are made."""
    tree = ast.parse((ROOT / "docs" / "generate_api.py").read_text(encoding="utf-8"))
    (names,) = [
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "HANDED_OUT"
    ]
    found: set[str] = ast.literal_eval(names)
    return found


HANDED_OUT = _handed_out()


def _public(package: Any) -> Iterator[Any]:
    seen = set()
    for module in PUBLIC:
        found = package if module == "aiodimse" else package[module.removeprefix("aiodimse.")]
        found = found.final_target if found.is_alias else found
        exports = found.exports
        own = [name for name, member in found.members.items() if not name.startswith("_") and not member.is_alias]
        for name in own if exports is None else exports:
            member = found.members.get(str(name))
            if member is None:
                continue
            try:
                target = member.final_target if member.is_alias else member
            except griffe.AliasResolutionError:  # another package's
                continue
            if target.path.startswith("aiodimse") and target.path not in seen:
                seen.add(target.path)
                yield target


def _callables(found: Any) -> Iterator[Any]:
    """A function, and the public methods of a class, inherited ones too; of special ones those that callers give
    parameters to."""
    if found.is_function:
        yield found
    elif found.is_class:
        for name, member in found.all_members.items():
            member = member.final_target if name in found.inherited_members else member
            is_made = name == "__init__" and found.name not in HANDED_OUT
            if not member.is_alias and member.is_function and (not name.startswith("_") or is_made):
                yield member


def _parameters(function: Any) -> list[str]:
    return [
        parameter.name
        for parameter in function.parameters
        if parameter.name not in ("self", "cls") and not parameter.name.startswith("_")
    ]


def _documented(function: Any) -> set[str]:
    """The names in the Args section of its docstring; those of __init__ may stand in that of its class.

    A field of a dataclass may have a docstring of its own, as mkdocstrings shows it.
    """
    docstrings, found = [function.docstring], set()
    if function.name == "__init__":
        docstrings.append(function.parent.docstring)
        found = {name for name, member in function.parent.members.items() if not member.is_alias and member.docstring}
    return found | {
        parameter.name.lstrip("*")
        for docstring in docstrings
        if docstring is not None
        for section in docstring.parse("google", warnings=False)
        if section.kind is griffe.DocstringSectionKind.parameters
        for parameter in section.value
    }


@pytest.fixture(scope="module")
def parameters() -> dict[str, bool]:
    """Each parameter of a public function, and whether it is documented."""
    package = griffe.load("aiodimse", search_paths=[ROOT], resolve_aliases=True, resolve_external=False)
    return {
        f"{function.path}({parameter})": parameter in _documented(function)
        for found in _public(package)
        for function in _callables(found)
        for parameter in _parameters(function)
    }


def test_parameters_are_documented(parameters: dict[str, bool]) -> None:
    without = sorted(name for name, documented in parameters.items() if not documented)
    share = 1 - len(without) / len(parameters)
    words = f"{share:.1%} of {len(parameters)} parameters are documented; {len(without)} are not:"
    assert share >= LEAST_SHARE, "\n".join([words, *without])


def test_the_front_door_is_looked_at(parameters: dict[str, bool]) -> None:
    assert len(parameters) > 100
    assert "aiodimse.requestor.connect(host)" in parameters


def test_an_interactive_example_is_in_a_section_that_tools_show_as_code() -> None:
    """`Example:` is an admonition to griffe, whose text is Markdown: `>>>` would be a quotation in a quotation."""
    wrong = [
        f"{path.relative_to(ROOT)}: {line}"
        for path in (ROOT / "aiodimse").rglob("*.py")
        for before, line in itertools.pairwise(path.read_text(encoding="utf-8").splitlines())
        if before.strip() == "Example:" and line.strip().startswith(">>>")
    ]
    assert wrong == []
