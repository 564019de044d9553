"""The wild cards * (any text, also none) and ? (one character) of PS3.4 C.2.2.2.4, in linear time.

The text between two stars is matched at the first place where it fits, and that place is never moved. This finds a
match whenever there is one, so no key takes exponential time. A regular expression would need the product of both
lengths.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import TypeAlias

_Find: TypeAlias = Callable[[str, int, int], int]
"""Returns where a match of a piece between two positions first ends; -1 if there is none."""


def has_wildcard(text: str) -> bool:
    """Return whether a text has a wild card (PS3.4 C.2.2.2.4)."""
    return "*" in text or "?" in text


@lru_cache(maxsize=256)
def wildcard(wanted: str) -> Callable[[str], bool]:
    """Make the test of a text for a key with wild cards."""
    first, *rest = re.split(r"\*+", wanted)
    if not rest:
        return lambda text: len(text) == len(first) and _fits(first, text, 0)
    *middle, last = rest
    fixed, finds = len(first) + len(last), [_find(piece) for piece in middle]

    def test(text: str) -> bool:
        at, end = len(first), len(text) - len(last)
        if len(text) < fixed or not _fits(first, text, 0) or not _fits(last, text, end):
            return False
        for find in finds:
            at = find(text, at, end)
            if at < 0:
                return False
        return True

    return test


def _fits(piece: str, text: str, at: int) -> bool:
    if "?" not in piece:
        return text.startswith(piece, at)
    return all(wanted in ("?", text[i]) for i, wanted in enumerate(piece, at))


def _find(piece: str) -> _Find:
    if "?" in piece:
        return _shift_and(piece)

    def find(text: str, start: int, end: int) -> int:
        at = text.find(piece, start, end)
        return at if at < 0 else at + len(piece)

    return find


def _shift_and(piece: str) -> _Find:
    """Make a search by the Shift-And algorithm (Baeza-Yates and Gonnet 1992).

    Bit i of the state is set if the text read so far ends with the first i + 1 characters of the piece.
    """
    anything, fitting = 0, dict[str, int]()
    for i, wanted in enumerate(piece):
        if wanted == "?":
            anything |= 1 << i
        else:
            fitting[wanted] = fitting.get(wanted, 0) | 1 << i
    whole = 1 << len(piece) - 1

    def find(text: str, start: int, end: int) -> int:
        state = 0
        for at in range(start, end):
            state = (state << 1 | 1) & (fitting.get(text[at], 0) | anything)
            if state & whole:
                return at + 1
        return -1

    return find
