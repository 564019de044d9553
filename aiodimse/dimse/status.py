"""Status (0000,0900) as a number that knows what it means (PS3.7 C)."""

from __future__ import annotations

from functools import cached_property
from operator import index
from typing import Any, final

from aiodimse.standard import status as rows
from aiodimse.standard.service_class import ServiceClass
from aiodimse.standard.status import Category


@final
class Status(int):
    """A status code, 0 to 0xFFFF, as an int that prints as `0xA700 Refused: out of resources`.

    `service_class` and `command` (as in "C-FIND") say where it was met, since one code means different things in
    different services. They are not part of its value: it equals the plain int, and has its hash.

    Raises:
        ValueError: The number is out of range.
        TypeError: It is not an integer.
    """

    service_class: ServiceClass | None
    command: str | None

    def __new__(cls, code: int, service_class: ServiceClass | None = None, command: str | None = None) -> Status:
        """Make a status; a Status stays as it is if nothing else is given."""
        if type(code) is not int:
            if isinstance(code, Status) and service_class is None and command is None:
                return code  # what it knows is more than nothing
            code = index(code)
        key = (code, service_class, command)
        if (made := _MADE.get(key)) is not None:
            return made
        if not 0 <= code <= 0xFFFF:
            raise ValueError(f"a status is a number from 0 to 0xFFFF, not {code}")
        self = super().__new__(cls, code)
        self.service_class, self.command = service_class, command
        if len(_MADE) >= _MAX_MADE:
            _MADE.clear()
        _MADE[key] = self
        return self

    @cached_property
    def category(self) -> Category:
        """SUCCESS, PENDING, WARNING, FAILURE or CANCEL. A code without a row has the category that PS3.7 C gives its
        range."""
        return rows.category(int(self), self.service_class, self.command)

    @cached_property
    def meaning(self) -> str:
        """The meaning in words; "" for a code without a row."""
        return rows.meaning(int(self), self.service_class, self.command)

    def __str__(self) -> str:
        return f"0x{int(self):04X} {self.meaning}".rstrip()

    def __repr__(self) -> str:
        return f"<Status {self}>"

    def __reduce__(self) -> tuple[Any, ...]:
        return Status, (int(self), self.service_class, self.command)


# One status is made for every response, and few are different. The cache is bounded, since a peer can send 65,536 of
# them.
_MADE: dict[tuple[int, ServiceClass | None, str | None], Status] = {}
_MAX_MADE = 4096
