"""The service classes of PS3.4: name, annex, and the DIMSE services that each may use."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ServiceClass:
    """One annex of PS3.4."""

    name: str
    """Without the words Service Class."""
    section: str
    """Where PS3.4 defines it."""
    commands: frozenset[str]
    """DIMSE services by their names in PS3.7, as in "C-FIND". A SOP class may narrow them."""

    def __str__(self) -> str:
        return self.name


def _row(name: str, section: str, commands: str) -> ServiceClass:
    return ServiceClass(name, f"PS3.4 {section}", frozenset(commands.split()))


RETRIEVE = "C-FIND C-GET C-MOVE"
NORMALIZED = "N-CREATE N-SET N-GET N-ACTION N-DELETE N-EVENT-REPORT"

# fmt: off
























# Real-Time Communication (PS3.22) has SOP classes but no DIMSE service; retired services keep the ones they had.


# fmt: on

ALL: tuple[ServiceClass, ...] = tuple(value for value in list(globals().values()) if isinstance(value, ServiceClass))
