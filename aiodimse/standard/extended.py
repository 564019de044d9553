"""SOP class extended negotiation (PS3.7 D.3.3.5): the meaning of each byte of its application information.

A byte that a peer leaves out is 0, its default. The acceptor answers which of the offered features it supports, and its
answer never has more bytes than the offer.
"""

from collections.abc import Iterable
from typing import NamedTuple

from aiodimse.standard import service_class as s
from aiodimse.standard import sop_class as c
from aiodimse.standard.service_class import ServiceClass
from aiodimse.standard.uid import SOPClass


class ExtendedField(NamedTuple):
    """One byte of the service-class-application-information."""

    service_classes: tuple[ServiceClass, ...]
    commands: tuple[str, ...]
    """DIMSE services: the byte is defined for the SOP classes of the service classes that have one of these."""
    only: tuple[SOPClass, ...]
    """The only SOP classes that have the byte; empty: all that the service classes and commands select."""
    but: tuple[SOPClass, ...]
    """SOP classes of the selection that do not have the byte."""
    position: int
    """The index of the byte, from 0."""
    keyword: str
    """A name for programs."""
    meaning: str
    """What the value 1, or each value, means."""
    highest: int
    """The largest value defined."""
    agreed: bool
    """Whether 1 in the answer means that both sides support it. Otherwise the answer describes the acceptor alone."""
    section: str

    def holds_for(self, sop_class: SOPClass) -> bool:
        """Return whether this byte is defined for a SOP class."""
        if self.only:
            return sop_class in self.only
        if sop_class in self.but or sop_class.service_class not in self.service_classes:
            return False
        return not sop_class.commands.isdisjoint(self.commands)


_Row = tuple[int, str, str]


def _rows(
    services: ServiceClass | Iterable[ServiceClass],
    commands: str,
    section: str,
    *rows: _Row,
    only: tuple[SOPClass, ...] = (),
    but: tuple[SOPClass, ...] = (),
    highest: int = 1,
    agreed: bool = True,
) -> tuple[ExtendedField, ...]:
    where = (services,) if isinstance(services, ServiceClass) else tuple(services)
    return tuple(
        ExtendedField(where, tuple(commands.split()), only, but, index, keyword, meaning, highest, agreed, section)
        for index, keyword, meaning in rows
    )


_COMPOSITE_ROOT = (c.CompositeInstanceRootRetrieveMove, c.CompositeInstanceRootRetrieveGet)
_WITHOUT_BULK_DATA = (c.CompositeInstanceRetrieveWithoutBulkDataGet,)
# Worklists and other one-level models use the negotiation of Basic Worklist (PS3.4 U.5, X.5, BB.5, HH.5, II.5, JJ.5).
_ONE_LEVEL = (
    s.BASIC_WORKLIST,
    s.UNIFIED_PROCEDURE_STEP,
    s.HANGING_PROTOCOL,
    s.COLOR_PALETTE,
    s.IMPLANT_TEMPLATE,
    s.DEFINED_PROCEDURE_PROTOCOL,
    s.PROTOCOL_APPROVAL,
    s.INVENTORY,
)

# fmt: off
ROWS: tuple[ExtendedField, ...] = (
    *_rows(s.QUERY_RETRIEVE, "C-FIND", "PS3.4 C.5.1.1",
        (0, "relational",           "relational queries"),
        (1, "date_time",            "a date and a time range matched as one"),
        (2, "fuzzy_names",          "fuzzy semantic matching of person names"),
        (3, "timezone",             "dates and times adjusted to the timezone of the query"),
        (4, "enhanced_multi_frame", "classic and enhanced multi-frame images as views of one another"),
        (5, "empty_value_matching", "empty value matching"),
        (6, "multiple_value_matching", "multiple value matching"),
    ),
    *_rows(s.QUERY_RETRIEVE, "C-GET C-MOVE", "PS3.4 C.5.2.1, C.5.3.1",
        (0, "relational",           "relational retrieval"),
        but=_COMPOSITE_ROOT + _WITHOUT_BULK_DATA,
    ),
    *_rows(s.QUERY_RETRIEVE, "C-GET C-MOVE", "PS3.4 C.5.2.1, C.5.3.1, Y.5.1.1",
        (1, "enhanced_multi_frame", "classic images converted to enhanced multi-frame, or back"),
    ),
    # The first two bytes have the meaning of C.5.1.1 and a fixed value: see fixed_bytes().
    *_rows(_ONE_LEVEL, "C-FIND", "PS3.4 K.5.1.1",
        (2, "fuzzy_names",          "fuzzy semantic matching of person names"),
        (3, "timezone",             "dates and times adjusted to the timezone of the query"),
    ),
    *_rows(s.STORAGE, "C-STORE", "PS3.4 B.3.1",
        (0, "level_of_support",          "0 a subset of attributes is kept, 1 types 1 and 2, 2 all, 3 no provider"),
        (2, "digital_signature_support", "0 not specified, 1 to 3 how far signatures survive"),
        highest=3, agreed=False,
    ),
    *_rows(s.STORAGE, "C-STORE", "PS3.4 B.3.1",
        (4, "element_coercion",          "0 attributes are not changed, 1 they may be, 2 no provider"),
        highest=2, agreed=False,
    ),
)
# fmt: on


def fixed_bytes(sop_class: SOPClass) -> dict[int, int]:
    """Return the bytes that have the same value in every offer and answer, by position (PS3.4 K.5.1.1)."""
    is_one_level = sop_class.service_class in _ONE_LEVEL and "C-FIND" in sop_class.commands
    return {0: 1, 1: 1} if is_one_level else {}


def fields(sop_class: SOPClass) -> tuple[ExtendedField, ...]:
    """Return the bytes that a SOP class defines, in order; empty where it has no extended negotiation."""
    return tuple(sorted((row for row in ROWS if row.holds_for(sop_class)), key=lambda row: row.position))
