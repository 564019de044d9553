"""What the pages show is so: programs print what is said, and every name of aiodimse in them exists."""

from __future__ import annotations

import ast
import importlib
import inspect
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest
from pydicom.datadict import tag_for_keyword
from slowness import without_slowness

import aiodimse
from aiodimse import ConnectOptions


def test_what_programs_print(script: tuple[Any, str]) -> None:
    """In a process of its own: one loop, no leftovers, and logging as the program sets it."""
    block, printed = script
    done = subprocess.run([sys.executable, "-c", block.code], capture_output=True, text=True, timeout=120)
    assert without_slowness(done.stderr) == ""
    assert [line.rstrip() for line in done.stdout.splitlines()] == printed.splitlines()


def test_blocks_are_python_and_name_what_exists(python_block: Any) -> None:
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    tree = compile(python_block.code, str(python_block), "exec", flags=flags)
    known: dict[str, ModuleType] = {"aiodimse": aiodimse}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "aiodimse":
            module = importlib.import_module(node.module or "")
            for alias in node.names:
                found = getattr(module, alias.name, None) or _submodule(f"{node.module}.{alias.name}")
                assert found is not None, f"{python_block}: {node.module} has no {alias.name}"
                if isinstance(found, ModuleType):
                    known[alias.asname or alias.name] = found
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in known:
            module = known[node.value.id]
            assert hasattr(module, node.attr) or _submodule(f"{module.__name__}.{node.attr}"), (
                f"{python_block}, line {python_block.line + node.lineno}: {module.__name__} has no {node.attr}"
            )
    _check_keywords(python_block, tree)


def _submodule(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return None


def _check_keywords(block: Any, tree: Any) -> None:
    """Keyword arguments of aiodimse.something(...) are parameters of it."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="aiodimse"), attr=name)):
                parameters = set(inspect.signature(getattr(aiodimse, name)).parameters)
                if "options" in parameters:  # **options: Unpack[ConnectOptions]
                    parameters |= ConnectOptions.__annotations__.keys()
                for keyword in node.keywords:
                    if keyword.arg is not None and name == "identifier":
                        assert tag_for_keyword(keyword.arg), f"{block}: PS3.6 has no {keyword.arg}"
                    elif keyword.arg is not None:
                        assert keyword.arg in parameters, f"{block}: aiodimse.{name} has no {keyword.arg}"


def test_the_check_can_fail(page_block: Any) -> None:
    misspelled = ("aiodimse.conect()", "aiodimse.connect('h', 1, context=[])", "aiodimse.identifier(PatientNam='A')")
    for code in (*misspelled, "from aiodimse import cient", "x ="):
        with pytest.raises((AssertionError, SyntaxError)):
            test_blocks_are_python_and_name_what_exists(page_block(code))
