"""How much of one object the index keeps, since it stays in memory and is sent in each response."""

from __future__ import annotations

from .dictionary import tag_and_vr
from .matching import Value

MAX_KEPT = 16384
"""The number of characters that are kept of one object."""
_MOST_VALUES = 256
_LONGEST_KEPT = 256
"""The longest value that is kept, in characters, of VRs that allow fewer. Many descriptions are longer than allowed."""
_LENGTHS = {"LT": 10240, "PN": 768, "ST": 4096, "UC": 1024, "UR": 1024, "UT": 10240}
"""The longest value that is kept, in characters, of VRs that allow more (PS3.5 6.2)."""


class Budget:
    """Limits how much is kept of one object.

    Args:
        characters: The largest number of characters of all values together.
    """

    def __init__(self, characters: int = MAX_KEPT) -> None:
        self._left = characters
        self.is_exceeded: bool = False
        """Whether an attribute was left out."""

    def take(self, cost: int | None) -> bool:
        """Count an attribute, if there is room for it. Return whether it is kept.

        Args:
            cost: What it costs; None: it is too long to be kept.
        """
        if cost is None or cost > self._left:
            self.is_exceeded = True
            return False
        self._left -= cost
        return True


def cost_of(vr: str, value: Value) -> int | None:
    """Return the cost of a value: its characters, and a constant for each part of it.

    Returns:
        The cost; None if the value is longer than any honest one.
    """
    if len(value) > _MOST_VALUES:
        return None
    cost, longest = 0, _LENGTHS.get(vr, _LONGEST_KEPT)
    for each in value:
        if isinstance(each, str):
            if len(each) > longest:
                return None
            cost += len(each) + 8
            continue
        for keyword, inner in each.items():
            inner_cost = cost_of(tag_and_vr(keyword)[1] or "UN", inner)
            if inner_cost is None:
                return None
            cost += inner_cost + 16
        cost += 32
    return cost
