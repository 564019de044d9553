"""The type of a SOP Class UID that carries the properties of its SOP class."""

from __future__ import annotations

from typing import Any

from aiodimse.standard.service_class import ServiceClass


class SOPClass(str):
    """A SOP Class UID: a str, equal to the bare UID, with the properties that PS3.4 and PS3.6 give the SOP class."""

    __slots__ = ("carries", "commands", "keyword", "related_general", "retired", "service_class")

    keyword: str
    """PS3.6 keyword, the name of the row; the UID itself where a private class was registered without one."""
    service_class: ServiceClass
    """The annex of PS3.4 that defines its behavior."""
    commands: frozenset[str]
    """DIMSE services of this SOP class, as in "C-FIND": those of the service class, or fewer."""
    carries: tuple[str, ...]
    """The SOP Class UIDs that DIMSE-N messages on a context of this class may name: its own; for a Meta SOP Class and
    for Unified Procedure Step, those of its member classes (PS3.7 10, PS3.4 H.3.2.2, CC.3.1)."""
    related_general: tuple[str, ...]
    """Related General SOP Classes for common extended negotiation (PS3.4 B.3.1.4)."""
    retired: bool
    """Whether the standard has retired it. Archives still hold objects of retired classes."""

    def __new__(
        cls,
        uid: str,
        service_class: ServiceClass,
        commands: str | frozenset[str] = "",
        *,
        carries: tuple[str, ...] = (),
        related_general: tuple[str, ...] = (),
        retired: bool = False,
    ) -> SOPClass:
        """Make a row. The module of the table sets its keyword."""
        self = super().__new__(cls, uid)
        self.keyword = ""
        self.service_class = service_class
        self.commands = frozenset(commands.split() if isinstance(commands, str) else commands) or service_class.commands
        self.carries = carries or (uid,)
        self.related_general = related_general
        self.retired = retired
        return self

    def __getnewargs__(self) -> tuple[Any, ...]:
        # For copy and pickle: str would call __new__ with the UID alone. They restore the slots afterward.
        return (str(self), self.service_class)
