"""American spelling in code, comments and pages, as pydicom and Python's documentation have it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_ISE = "is(?:e[ds]?|ing|ation)(?![a-z])"
BRITISH = re.compile(
    # Written in two parts, so that this file does not find itself. "cancelled" is how Python spells it.
    "|".join(
        first + second
        for first, second in (
            ("(?:author|initial|minim|normal|optim|organ|recogn|serial|standard|summar|synchron|util)", _ISE),
            ("(?:anonym|categor|character|custom|emphas|final|general|priorit|random|sanit|special)", _ISE),
            ("(?:behavi|col|fav|hon|neighb|lab|harb)", "our(?!e)"),
            ("(?:signal|label|model|travel|level|marshal|channel|fuel)", "l(?:ed|ing)(?![a-z])"),
            ("(?<![a-z])(?:acknowledg|judg)", "ement"),
            ("(?:missp|sp|l)", "(?:elt|earnt)(?![a-z])"),
            ("(?<![a-z])(?:cent|theat|met)", "re(?![a-z])"),
            ("(?<![a-z])(?:catalog|dialog)", "ue(?![a-z])"),
            ("(?<![a-z])(?:gr)", "ey(?![a-z])"),
            ("(?<![a-z])(?:whil|among|artef)", "(?:st|act)(?![a-z])"),
            ("(?<![a-z])program", "me(?![a-z])"),
            ("(?<![a-z])(?:licen|defen|offen)", "ce(?![a-z])"),
            ("(?<![a-z])to", "wards(?![a-z])"),
        )
    ),
    re.IGNORECASE,
)  # fmt: skip
FOLDERS = ("aiodimse", "benchmarks", "docs", "examples", "scoreboard", "tests")
KINDS = {".py", ".md", ".toml"}


def _texts() -> list[Path]:
    """The files that we write: those of the repository's own folders, without what is generated or made elsewhere."""
    own = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*") if path.suffix in KINDS]
    return sorted([*own, *ROOT.glob("*.md"), ROOT / "pyproject.toml"])


def test_spelling_is_american() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {match[0]}"
        for path in _texts()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        for match in BRITISH.finditer(line)
    ]
    assert found == []


@pytest.mark.parametrize("word", ["behavi" + "our", "RECOGN" + "ISED", "_author" + "ise", "neighb" + "ours"])
def test_british_spelling_is_found(word: str) -> None:
    assert BRITISH.search(word)


@pytest.mark.parametrize("word", ["cancelled", "organism", "our", "four", "resource", "parameter", "license"])
def test_other_words_are_not(word: str) -> None:
    assert not BRITISH.search(word)
