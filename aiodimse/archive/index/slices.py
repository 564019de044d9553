"""The slices of time in which an index works on a search."""

from __future__ import annotations

from collections.abc import Iterator
from time import monotonic
from typing import Final, TypeVar

T = TypeVar("T")

_MATCHES: Final = 64
"""The largest number of matches in one slice."""


def work(found: Iterator[T | None], seconds: float) -> tuple[list[T], bool]:
    """Search for a slice of time. Blocks.

    Args:
        found: Yields a match, or None for a candidate that does not match.
        seconds: How long the slice takes.

    Returns:
        What was found, and whether the search is over.
    """
    until, some = monotonic() + seconds, list[T]()
    for each in found:
        if each is not None:
            some.append(each)
        if len(some) >= _MATCHES or monotonic() > until:
            return some, False
    return some, True
