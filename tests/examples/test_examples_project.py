"""What every example has: a README, requirements that CI installs, types that hold, and few lines."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from pathlib import Path

import pytest
from examples.readme import EXAMPLES, commands
from interop.programs import run

PROJECT = tomllib.loads((EXAMPLES.parent / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
NAMES = sorted(path.parent.name for path in EXAMPLES.glob("*/__main__.py"))
MOST_LINES = 300


def name_of(requirement: str) -> str:
    return re.split(r"[\[<>=~; ]", requirement)[0].lower()


def code_lines(path: Path) -> int:
    """Lines without blank ones, comments, docstrings and imports."""
    source = path.read_text(encoding="utf-8")
    told = {
        line
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Import | ast.ImportFrom)
        or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str))
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    lines = enumerate(source.splitlines(), 1)
    return sum(number not in told and bool(line.strip()) and line.lstrip()[0] != "#" for number, line in lines)


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_short(name: str) -> None:
    """What makes one longer belongs in the library."""
    assert sum(map(code_lines, (EXAMPLES / name).glob("*.py"))) < MOST_LINES


@pytest.mark.parametrize("name", NAMES)
def test_what_it_requires_is_installed_for_its_tests(name: str) -> None:
    required = (EXAMPLES / name / "requirements.txt").read_text(encoding="utf-8").split()
    extras = {each for extra in EXTRAS.values() for each in extra}
    assert {name_of(each) for each in required} - {"aiodimse"} <= set(map(name_of, extras))
    assert any("requirements.txt" in line for line in commands(name))


async def test_the_types_hold_for_pyright_too() -> None:
    """mypy checks the folder with the library; see pyproject.toml."""
    pyright = Path(sys.executable).with_name("pyright")
    (await run(pyright, "--pythonpath", sys.executable, EXAMPLES, patience=240)).check()
