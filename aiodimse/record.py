"""What the dataclasses of all floors have in common."""

from __future__ import annotations

from dataclasses import fields
from typing import Any


class Record:
    """Equality, hash and repr as dataclass makes them, for classes that are `dataclass(eq=False, repr=False)`.

    Made for each class, from text that is compiled, they are a tenth of a millisecond each of every import. So are the
    two methods of `frozen`: what users are handed is frozen, and what they keep; what passes between floors is not.
    """

    __slots__ = ()

    def _compared(self) -> tuple[Any, ...]:
        return tuple([getattr(self, each.name) for each in fields(self) if each.compare])  # type: ignore[arg-type]

    def __eq__(self, other: object) -> bool:
        if self.__class__ is not other.__class__:
            return NotImplemented
        return self._compared() == other._compared()

    def __hash__(self) -> int:
        return hash(self._compared())

    def __repr__(self) -> str:
        values = [f"{each.name}={getattr(self, each.name)!r}" for each in fields(self) if each.repr]  # type: ignore[arg-type]
        return f"{self.__class__.__qualname__}({', '.join(values)})"
