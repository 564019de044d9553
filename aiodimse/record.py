"""What the dataclasses of all floors have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import Any, TypeVar, dataclass_transform, overload

T = TypeVar("T")


@overload
def record(cls: type[T], /) -> type[T]: ...


@overload
def record(*, frozen: bool = False, kw_only: bool = False) -> Callable[[type[T]], type[T]]: ...


@dataclass_transform(field_specifiers=(field,))
def record(cls: Any = None, /, *, frozen: bool = False, kw_only: bool = False) -> Any:
    """Make a dataclass with slots, which equals by its class and fields, and has them in its repr.

    Equality, hash and repr are the three functions below. Those that dataclass makes are text, compiled for each class:
    a tenth of a millisecond of every import. So are the two methods of `frozen`: what users are handed and may keep is
    frozen, what passes between floors is not.

    Args:
        cls: The class, where the decorator has no arguments.
        frozen: Fields cannot be set, and the instance hashes by its fields. Others have no hash.
        kw_only: Fields are keyword arguments of the constructor.
    """

    def decorate(cls: type[T]) -> type[T]:
        given = vars(cls).keys()
        made: Any = dataclass(slots=True, eq=False, repr=False, frozen=frozen, kw_only=kw_only)(cls)
        made.__eq__ = _eq
        made.__repr__ = _repr
        if "__hash__" not in given:
            made.__hash__ = _hash if frozen else None
        return made  # type: ignore[no-any-return]

    return decorate if cls is None else decorate(cls)


def _compared(self: Any) -> tuple[Any, ...]:
    return tuple([getattr(self, each.name) for each in fields(self) if each.compare])


def _eq(self: Any, other: object) -> Any:
    if self.__class__ is not other.__class__:
        return NotImplemented
    return _compared(self) == _compared(other)


def _hash(self: Any) -> int:
    return hash(_compared(self))


def _repr(self: Any) -> str:
    values = [f"{each.name}={getattr(self, each.name)!r}" for each in fields(self) if each.repr]
    return f"{self.__class__.__qualname__}({', '.join(values)})"
