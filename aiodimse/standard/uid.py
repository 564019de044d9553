"""The UID of a SOP class that knows what it is."""

from __future__ import annotations

from typing import Any

from aiodimse.standard.service_class import ServiceClass


class SOPClass(str):
    """A SOP Class UID: a str, equal to and as good as the bare UID, with what PS3.4 and PS3.6 say of it."""

    __slots__ = ("carries", "commands", "keyword", "related_general", "retired", "service_class")

    keyword: str
    """PS3.6 keyword, the name of the row; the UID itself where a private class was registered without one."""
    service_class: ServiceClass
    """The annex of PS3.4 that defines its behavior."""
    commands: frozenset[str]
    """DIMSE services of this SOP class, as in "C-FIND": those of the service class, or fewer."""
    carries: tuple[str, ...]
    """SOP Class UIDs that DIMSE-N messages on a context of this class name: its own, or for a Meta SOP Class and for
    Unified Procedure Step those of the classes that it stands for (PS3.7 10, PS3.4 H.3.2.2, CC.3.1)."""
    related_general: tuple[str, ...]
    """Related General SOP Classes for common extended negotiation (PS3.4 B.3.1.4)."""
    retired: bool
    """Whether the standard has retired it. Archives live longer than editions."""

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
        """Make a row. Its keyword is set when the table is made."""
        self = super().__new__(cls, uid)
        self.keyword = ""
        self.service_class = service_class
        self.commands = frozenset(commands.split() if isinstance(commands, str) else commands) or service_class.commands
        self.carries = carries or (uid,)
        self.related_general = related_general
        self.retired = retired
        return self

    def __getnewargs__(self) -> tuple[Any, ...]:
        # For copy and pickle: str would call __new__ with the UID alone. The slots follow as state.
        return (str(self), self.service_class)
