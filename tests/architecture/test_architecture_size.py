"""How large functions and files are, and which private names cross a file: bounds that may only be lowered.

Docstrings are not counted. The tables of standard/ are rows, however many.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

MOST_LINES_OF_A_FUNCTION = 60
MOST_LINES_OF_A_FILE = 400
MOST_PRIVATE_NAMES = 4
"""Uses of another module's private name. Wanted: under 5."""

_DOCUMENTED = ("_", "_exit", "_replace", "_asdict", "_fields")
"""Names with an underscore that the documentation of Python has."""


def _docstring_lines(tree: ast.AST) -> int:
    """Lines of the docstrings below a node, those of attributes too."""
    return sum(
        (node.end_lineno or node.lineno) - node.lineno + 1
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    )


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def test_no_function_is_long(sources: dict[str, ast.Module]) -> None:
    long = {
        f"{path} {node.name}": length
        for path, tree in sources.items()
        for node in _functions(tree)
        if (length := (node.end_lineno or 0) - node.lineno + 1 - _docstring_lines(node)) > MOST_LINES_OF_A_FUNCTION
    }
    assert long == {}


def test_no_file_is_long(sources: dict[str, ast.Module], package: Path) -> None:
    long = {
        path: length
        for path, tree in sources.items()
        if not path.startswith("standard/")
        and (length := len((package / path).read_text(encoding="utf-8").splitlines()) - _docstring_lines(tree))
        > MOST_LINES_OF_A_FILE
    }
    assert long == {}


def _is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__") and name not in _DOCUMENTED


def _defined(tree: ast.Module) -> set[str]:
    """Private names that the file itself gives: functions, classes, attributes of self, fields and slots."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            found.add(node.attr)
    return found


def private_names_used(path: str, tree: ast.Module) -> list[str]:
    """Private names of other modules: imported, or asked of an object that this file does not define them for."""
    defined = _defined(tree)
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("aiodimse"):
            found += [f"{path}:{node.lineno} imports {a.name}" for a in node.names if _is_private(a.name)]
        elif isinstance(node, ast.Attribute) and _is_private(node.attr) and node.attr not in defined:
            owner = ast.unparse(node.value)
            if owner not in ("self", "cls", "super()"):  # what a base class gives is inherited, not reached for
                found.append(f"{path}:{node.lineno} {owner}.{node.attr}")
    return found


def test_few_private_names_are_used_from_elsewhere(sources: dict[str, ast.Module]) -> None:
    found = [use for path, tree in sources.items() for use in private_names_used(path, tree)]
    assert len(found) <= MOST_PRIVATE_NAMES, "\n".join(found)


def test_what_is_counted() -> None:
    """So that the bounds above mean something."""
    source = '''
from aiodimse.server import _hidden

def short():
    """A docstring
    of two lines."""
    self._own = 1
    other._own
    other._foreign
'''
    tree = ast.parse(source)
    assert private_names_used("x.py", tree) == ["x.py:2 imports _hidden", "x.py:9 other._foreign"]
    assert _docstring_lines(tree) == 2
