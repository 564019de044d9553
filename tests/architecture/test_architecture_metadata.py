"""The addresses of the package and the links of its README, for a repository wherever it lives."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
ADDRESS = "https://github.com/Somebody/aiodimse"
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def hook() -> Any:
    pytest.importorskip("hatchling", reason="is of the extra dev, not of test")
    spec = importlib.util.spec_from_file_location("hatch_metadata", ROOT / ".ci" / "hatch_metadata.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_addresses(hook: Any) -> None:
    assert hook.project_urls(ADDRESS) == {
        "Source": ADDRESS,
        "Changelog": f"{ADDRESS}/blob/HEAD/CHANGELOG.md",
        "Issues": f"{ADDRESS}/issues",
        "Security": f"{ADDRESS}/blob/HEAD/SECURITY.md",
        "Documentation": "https://somebody.github.io/aiodimse/",
    }
    assert "Documentation" not in hook.project_urls("https://git.example.org/team/aiodimse")
    assert hook.project_urls("") == {}


@pytest.mark.parametrize("given", [ADDRESS, f"{ADDRESS}/", f"{ADDRESS}.git"])
def test_the_address_of_the_repository(hook: Any, given: str) -> None:
    assert hook.repository(given) == ADDRESS


@pytest.mark.parametrize("given", ["git@github.com:a/b.git", "http://github.com/a/b", "https://github.com/", "a/b"])
def test_what_is_no_address_ends_the_build(hook: Any, given: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(given))):
        hook.repository(given)


def test_links_of_readme_point_to_files(hook: Any) -> None:
    paths = [path for _, path in hook.LINK.findall(README)]
    assert paths
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_readme_on_a_package_index_has_absolute_links_only(hook: Any) -> None:
    text = hook.with_absolute_links(README, ADDRESS)
    assert f"[CONTRIBUTING.md]({ADDRESS}/blob/HEAD/CONTRIBUTING.md)" in text
    assert hook.LINK.findall(text) == []


def test_readme_without_an_address_names_the_files(hook: Any) -> None:
    text = hook.with_absolute_links(README, "")
    assert hook.LINK.findall(text) == []
    assert "the page of figures (`docs/topics/figures.md`)" in text
    assert "CONTRIBUTING.md says how" in text


def test_links_elsewhere_stay(hook: Any) -> None:
    text = "[pydicom](https://pydicom.github.io) and [above](#why)"
    assert hook.with_absolute_links(text, ADDRESS) == text
    assert hook.with_absolute_links(text, "") == text


def test_the_release_gives_the_address(hook: Any) -> None:
    workflow = (ROOT / ".github" / "workflows" / "release.yml").read_text(encoding="utf-8")
    assert f"{hook.VARIABLE}: ${{{{ github.server_url }}}}/${{{{ github.repository }}}}" in workflow
