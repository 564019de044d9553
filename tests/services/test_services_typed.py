"""Wrong handlers: found by type checkers, or refused when they are registered with words that say what to do."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial, wraps
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest

import aiodimse

HERE = Path(__file__).parent
SERVICES = [name for name in dir(aiodimse.Server) if re.match("on_[cn]_", name)]


def marked(path: Path) -> set[int]:
    """The lines of a file where a fault is."""
    return {number for number, line in enumerate(path.read_text().splitlines(), 1) if "# wrong" in line}


def lines_of(output: str, name: str) -> set[int]:
    return {int(found) for found in re.findall(rf"{name}:(\d+)(?::\d+)?(?: -)?:? error", output)}


def run(tool: str, *arguments: str) -> str:
    command = [sys.executable, "-m", tool, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=HERE.parents[1], timeout=240, check=False)
    return done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("tool", ["mypy", "pyright"])
def test_type_checkers_find_each_wrong_handler_and_take_each_right_one(tool: str, tmp_path: Path) -> None:
    pytest.importorskip(tool)
    options = ["--strict", f"--cache-dir={tmp_path}"] if tool == "mypy" else ["--pythonpath", sys.executable]
    said = run(tool, *options, str(HERE / "wrong_handlers.py"), str(HERE / "right_handlers.py"))
    if "wrong_handlers.py" not in said:
        pytest.skip(f"{tool} does not run here: {said[-200:]}")
    assert lines_of(said, "wrong_handlers.py") == marked(HERE / "wrong_handlers.py")
    assert lines_of(said, "right_handlers.py") == set()


def plain(event: Any) -> int:
    return 0


def plain_generator(event: Any) -> Iterator[int]:
    yield 0


async def no_parameter() -> int:
    return 0


async def two_parameters(request: Any, paths: Any) -> int:
    return 0


async def generator(request: Any) -> AsyncIterator[int]:
    yield 0


async def right(request: Any) -> int:
    return 0


class Called:
    async def __call__(self, request: Any) -> int:
        return 0

    async def method(self, request: Any) -> int:
        return 0

    def plain(self, request: Any) -> int:
        return 0


WRONG: dict[str, tuple[Callable[..., Any], str]] = {
    "a plain def": (plain, "async def plain"),
    "a lambda": (lambda request: 0, "no `async def`"),
    "a plain method": (Called().plain, "async def plain"),
    "a plain generator": (plain_generator, "async generator"),
    "no parameter": (no_parameter, "called with the request and nothing else"),
    "two parameters": (two_parameters, "functools.partial"),
}


@pytest.mark.parametrize("name", SERVICES)
def test_what_cannot_be_a_handler_is_refused_at_registration(name: str) -> None:
    decorator = getattr(aiodimse.Server(), name)
    for handler, words in WRONG.values():
        with pytest.raises(TypeError, match=re.escape(words)):
            decorator(handler)


@pytest.mark.parametrize("name", SERVICES)
def test_a_generator_is_refused_where_one_answer_is_wanted(name: str) -> None:
    decorator = getattr(aiodimse.Server(), name)
    if name in ("on_c_find", "on_c_get", "on_c_move"):
        assert decorator(generator) is generator
    else:
        with pytest.raises(TypeError, match="returns its one answer"):
            decorator(generator)


def test_what_is_async_in_any_form_is_taken() -> None:
    @wraps(right)
    def wrapped(request: Any) -> Any:
        return right(request)

    forms = (
        right,
        Called(),
        Called().method,
        partial(two_parameters, paths=()),
        wrapped,
        AsyncMock(),
        AsyncMock(right),
    )
    for handler in forms:
        aiodimse.Server().on_c_store(handler)


@pytest.mark.parametrize("name", SERVICES)
def test_each_decorator_says_what_it_is_for(name: str) -> None:
    service = name.removeprefix("on_").replace("_", "-", 1).replace("_", "-").upper()
    words = getattr(aiodimse.Server, name).__doc__
    assert service in words.splitlines()[0]
    assert all(section in words for section in ("Args:", "Returns:", "Raises:"))
