"""The committed reference pages are what docs/generate.py writes now."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_reference_pages_are_current(generate):
    assert generate.stale() == [], "run make docs and commit docs/reference/"


def test_every_page_is_in_the_navigation(generate):
    docs = ROOT / "docs"
    navigation = (ROOT / "zensical.toml").read_text(encoding="utf-8")
    pages = {page.relative_to(docs).as_posix() for page in docs.rglob("*.md")}
    assert {page for page in pages if f'"{page}"' not in navigation} == set()
    assert set(generate.PAGES) <= {page.removeprefix("reference/") for page in pages}


MAPS = [
    *(ROOT / "docs" / "topics" / name for name in ("house.md", "journey.md", "archive.md", "query-retrieve.md")),
    ROOT / "CONTRIBUTING.md",
    ROOT / "SECURITY.md",
    ROOT / "README.md",
]


@pytest.mark.parametrize("page", MAPS, ids=lambda page: page.name)
def test_every_file_that_a_map_names_is_there(page: Path) -> None:
    """`aio/writer.py` is below aiodimse/, `docs/topics/flow.md` below the root; a folder ends in a slash."""
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`((?:[a-z_0-9.-]+/)+(?:[a-z_0-9-]+\.(?:py|md))?|[a-z_]+\.py|[A-Z]+\.md)`", text)
    linked = re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", text)
    places = (
        ROOT,
        ROOT / "aiodimse",
        page.parent,
        ROOT / "aiodimse" / "aio",
        ROOT / "aiodimse" / "services" / "provider",
    )
    places += tuple(ROOT / "aiodimse" / name for name in ("pdu", "dimse", "association", "standard", "datasets"))
    missing = [name for name in (*named, *linked) if not any((place / name).exists() for place in places)]
    assert missing == []


PROSE = sorted(page for page in (ROOT / "docs").rglob("*.md") if "reference/api" not in page.as_posix())


@pytest.mark.parametrize("page", [ROOT / "README.md", *PROSE], ids=lambda page: page.name)
def test_a_paragraph_ends_where_a_sentence_does(page: Path) -> None:
    """A line that was lost leaves half a sentence. Only a list or a block of code may follow one."""
    text = re.sub(r"(?ms)^( *)```.*?^\1```", "- code", page.read_text(encoding="utf-8"))
    paragraphs = [each.strip() for each in re.split(r"\n\s*\n", text)]
    cut = [
        each
        for each, following in zip(paragraphs, [*paragraphs[1:], ""], strict=True)
        if re.match(r"[^#|<!\-:]", each)
        and not re.search(r"[.:?!)]$", each)
        and not following.startswith(("- ", "|"))
        and not each.startswith(("date ", "1. "))
    ]
    assert cut == []


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.name)
def test_no_section_of_a_docstring_is_on_a_page(page: Path) -> None:
    """mkdocstrings formats the sections of docstrings; a page that is written from one would show them as they are."""
    sections = re.findall(r"(?m)^ *(?:Args|Returns|Yields|Raises|Examples?):$", page.read_text(encoding="utf-8"))
    assert sections == []


def _words(page: Path) -> str:
    return " ".join(page.read_text(encoding="utf-8").split())


def test_other_pages_have_the_figures_of_the_table() -> None:
    """A measurement that is made again changes the table of figures; these pages repeat some of its rows."""
    docs = ROOT / "docs"
    table = (docs / "topics" / "figures.md").read_text(encoding="utf-8")
    rows = {
        cells[1]: cells
        for cells in ([cell.strip() for cell in row.split("|")] for row in table.splitlines())
        if cells[1:]
    }

    def figure(row: str) -> float:
        return float(rows[row][6].split()[0])

    def seconds(row: str, column: int = 3) -> str:
        return rows[row][column].split(",")[0]

    first = (f"{round(figure('many-100-pynetdicom'), -2):,.0f} times as fast", f"{figure('find'):.0f} times as fast")
    wanted = {
        ROOT / "README.md": (*first, f"takes {seconds('get')}, and {seconds('get', 5)} with DCMTK's dcmqrscp"),
        docs / "index.md": first,
        docs / "how-to" / "uvloop.md": (f"take {seconds('echo-uvloop')} instead of {seconds('echo')}",),
        docs / "topics" / "archive.md": (
            f"| {figure('archive-start-million'):.1f} s |",
            f"| {figure('archive-memory-million'):.0f} MiB |",
            f"to {figure('archive-find-million'):.1f} ms |",
            f"at least {figure('archive-find-orthanc'):.0f} times as long",
        ),
    }
    assert [(page.name, each) for page, all_of in wanted.items() for each in all_of if each not in _words(page)] == []
