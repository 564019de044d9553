"""Versions of the site stand beside each other, and the newest is the one that the front page leads to."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location("publish", Path(__file__).parents[2] / ".ci" / "site" / "publish.py")
assert _SPEC is not None
assert _SPEC.loader is not None
publish = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(publish)


def test_each_version_stays_and_the_newest_is_latest(tmp_path: Path) -> None:
    site, folder = tmp_path / "site", tmp_path / "pages"
    site.mkdir()
    for version in ("0.9.0", "0.10.0", "0.9.1", "0.10.0"):
        (site / "index.html").write_text(version, encoding="utf-8")
        publish.publish(site, folder, version)
    assert {path.parent.name: path.read_text("utf-8") for path in folder.glob("*/index.html")} == {
        "0.9.0": "0.9.0", "0.9.1": "0.9.1", "0.10.0": "0.10.0", "latest": "0.10.0",
    }  # fmt: skip
    versions = json.loads((folder / "versions.json").read_text("utf-8"))
    assert [(each["version"], each["aliases"]) for each in versions] == [
        ("0.10.0", ["latest"]), ("0.9.1", []), ("0.9.0", []),
    ]  # fmt: skip
    assert 'url=latest/"' in (folder / "index.html").read_text("utf-8")


@pytest.mark.parametrize("version", ["1.2", "../..", "1.2.3/../../x", ""])
def test_what_is_no_version_is_refused(version: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no version"):
        publish.publish(tmp_path, tmp_path / "pages", version)
