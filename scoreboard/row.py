"""One line of the table."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """A figure, what it has to be, what it was, and whether that is enough."""

    figure: str
    target: str
    measured: str
    passed: bool
