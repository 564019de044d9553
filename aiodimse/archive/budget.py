"""How much of one object the index keeps, since it stays in memory and is sent in each response."""

from __future__ import annotations

import math
from typing import Final

from .dictionary import tag_and_vr
from .matching import Value

MAX_KEPT = 16384
"""The number of characters that are kept of one object."""
_MOST_VALUES = 256
_LONGEST_KEPT = 256
"""The longest value that is kept, in characters, of VRs that allow fewer. Many descriptions are longer than allowed."""
TOO_LONG: Final = math.inf
"""The cost of a value that is longer than any honest one."""
_LENGTHS = {"LT": 10240, "PN": 768, "ST": 4096, "UC": 1024, "UR": 1024, "UT": 10240}
"""The longest value that is kept, in characters, of VRs that allow more (PS3.5 6.2)."""


class Budget:
    """Limits how much is kept of one object.

    Args:
        characters: The largest number of characters of all values together.
    """

    def __init__(self, characters: int = MAX_KEPT) -> None:
        self._left: float = characters
        self.is_exceeded: bool = False
        """Whether an attribute was left out."""

    def take(self, cost: float) -> bool:
        """Count an attribute, if there is room for it. Return whether it is kept.

        Args:
            cost: What it costs, as `cost_of` returns it.
        """
        if cost > self._left:
            self.is_exceeded = True
            return False
        self._left -= cost
        return True


def cost_of(vr: str, value: Value) -> float:
    """Return the cost of a value: its characters, and a constant for each part of it; or `TOO_LONG`."""
    if len(value) > _MOST_VALUES:
        return TOO_LONG
    cost: float = 0
    longest = _LENGTHS.get(vr, _LONGEST_KEPT)
    for each in value:
        if isinstance(each, str):
            if len(each) > longest:
                return TOO_LONG
            cost += len(each) + 8
            continue
        for keyword, inner in each.items():
            cost += cost_of(tag_and_vr(keyword)[1] or "UN", inner) + 16
        cost += 32
    return cost
