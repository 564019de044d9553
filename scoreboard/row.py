"""A row of the table."""

from __future__ import annotations

from typing import NamedTuple


class Row(NamedTuple):
    """A figure, its target, the measured value, and whether the target is met."""

    figure: str
    target: str
    measured: str
    passed: bool
