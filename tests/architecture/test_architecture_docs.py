"""The committed reference pages are what docs/generate.py writes now."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

import aiodimse

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


def test_every_page_is_written_and_in_the_navigation(generate):
    pages = {path.name for path in (ROOT / "docs" / "reference").glob("*.md")}
    assert pages == set(generate.PAGES)
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert all(f"reference/{name}" in navigation for name in pages)


def test_every_public_name_is_on_the_api_page(generate):
    api = generate.generate_api
    shown = {thing.__name__ for things in api.SECTIONS.values() for thing in things}
    assert set(aiodimse.__all__) - shown == api.ELSEWHERE
