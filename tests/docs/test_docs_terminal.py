"""The pictures of the command line show what the commands print."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

pytest.importorskip("rich")

DOCS = Path(__file__).parents[2] / "docs"
_SPEC = importlib.util.spec_from_file_location("terminal", DOCS / "terminal.py")
assert _SPEC is not None
assert _SPEC.loader is not None
terminal = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(terminal)


def shown(picture: str) -> list[str]:
    """The words of each text of a picture, in order."""
    texts = ElementTree.fromstring(picture).iter("{http://www.w3.org/2000/svg}text")
    return [" ".join("".join(each.itertext()).replace("\xa0", " ").split()) for each in texts]


@pytest.mark.parametrize("name", terminal.PICTURES)
def test_a_picture_shows_what_the_commands_print(name: str) -> None:
    with terminal.archive() as (folder, port):
        drawn = shown(terminal.draw(name, folder, port))
    kept = (DOCS / "assets" / f"{name}.svg").read_text(encoding="utf-8")
    assert drawn == shown(kept), "python docs/terminal.py draws it anew"
    assert not re.search(r"url\(['\"]?http|href", kept), "a picture loads nothing"


def test_each_picture_is_on_a_page_and_described() -> None:
    pages = "\n".join(page.read_text(encoding="utf-8") for page in DOCS.rglob("*.md"))
    for name in terminal.PICTURES:
        assert re.search(rf"!\[[^\]]{{40,}}\]\([./]*assets/{name}\.svg\)", pages), name
