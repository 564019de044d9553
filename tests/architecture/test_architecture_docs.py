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
