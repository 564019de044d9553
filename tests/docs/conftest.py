"""Pages of the documentation, taken apart into their code blocks."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w+)?(?P<rest>[^\n`]*)\n(?P<code>.*?)^(?P=indent)```\s*$", re.M | re.S
)
_TITLE = re.compile(r'title="([^"]*)"')


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    page: Path
    line: int
    language: str
    title: str
    code: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    def run(self, namespace: dict[str, object]) -> None:
        """Execute it; a traceback shows the page and its line."""
        exec(compile("\n" * self.line + self.code, str(self.page), "exec"), namespace)


def blocks_of(page: Path) -> list[Block]:
    """The fenced blocks of a Markdown page, in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        indent = len(match["indent"])
        code = "".join(line[indent:] or "\n" for line in match["code"].splitlines(keepends=True))
        title = _TITLE.search(match["rest"])
        line = text.count("\n", 0, match.start()) + 1
        found.append(Block(page, line, match["language"] or "", title[1] if title else "", code))
    return found


def pages() -> list[Path]:
    """Everything that is written for readers, but for what docs/generate.py writes."""
    reference = ROOT / "docs" / "reference"
    found = sorted(page for page in (ROOT / "docs").rglob("*.md") if reference not in page.parents)
    return [ROOT / "README.md", *found]


def scripts() -> list[tuple[Block, str]]:
    """Whole programs, and what they print: a Python block before a block with the title "prints"."""
    found = []
    for page in pages():
        blocks = blocks_of(page)
        found += [(a, b.code) for a, b in pairwise(blocks) if a.language == "python" and b.title == "prints"]
    return found


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """python_block: each Python block of each page. script: each whole program."""
    if "python_block" in metafunc.fixturenames:
        found = [block for page in pages() for block in blocks_of(page) if block.language == "python"]
        metafunc.parametrize("python_block", found, ids=str)
    if "script" in metafunc.fixturenames:
        metafunc.parametrize("script", [pytest.param(pair, id=str(pair[0])) for pair in scripts()])


@pytest.fixture(scope="session")
def guide() -> list[Block]:
    """The Python blocks of the migration guide."""
    return [b for b in blocks_of(ROOT / "docs" / "migrating-from-pynetdicom.md") if b.language == "python"]


@pytest.fixture
def page_block() -> Callable[[str], Block]:
    """A block of a page that is not there."""
    return lambda code: Block(ROOT / "README.md", 1, "python", "", code)
