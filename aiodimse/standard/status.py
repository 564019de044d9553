"""Statuses (0000,0900): one row per fact. PS3.7 C has the general ones, annexes of PS3.4 those of their services.

A row holds for some service classes and some commands, or for all; its code is one number or a range. A fact that
several service classes share is one row that names them all. Rows of kind "implementation" are not in the standard:
they are the codes that this library sends from the ranges that the standard leaves to implementations.
"""

from collections.abc import Iterable
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from aiodimse.standard import service_class as s
from aiodimse.standard.service_class import ServiceClass


class Category(Enum):
    """What a status means for the operation (PS3.7 C). Only PENDING says that more responses follow."""

    SUCCESS = "Success"
    PENDING = "Pending"
    WARNING = "Warning"
    FAILURE = "Failure"
    CANCEL = "Cancel"


class StatusRow(NamedTuple):
    """One status, or one range of statuses, and where it holds."""

    service_classes: tuple[ServiceClass, ...]
    """The service classes it holds for; empty: all."""
    commands: tuple[str, ...]
    """The DIMSE services it holds for, as in "C-FIND"; empty: all."""
    first: int
    last: int
    category: Category
    meaning: str
    section: str
    """Where the standard says so, from memory: a number to look under, no quotation; "aiodimse" where it does not."""

    @property
    def kind(self) -> str:
        """general (PS3.7), service (PS3.4) or implementation (ours)."""
        return {"PS3.7": "general", "PS3.4": "service"}.get(self.section[:5], "implementation")

    def holds_for(self, code: int, service_class: ServiceClass | None, command: str | None) -> bool:
        """Whether this row says something about the code there; None for what the caller does not know."""
        return (
            self.first <= code <= self.last
            and (not self.service_classes or service_class is None or service_class in self.service_classes)
            and (not self.commands or command is None or command in self.commands)
        )

    def codes(self) -> str:
        """The code or range, as in 0xA700 or 0xC000 to 0xCFFF."""
        return f"0x{self.first:04X}" if self.first == self.last else f"0x{self.first:04X} to 0x{self.last:04X}"


_Code = int | tuple[int, int]


def _rows(
    services: ServiceClass | Iterable[ServiceClass], commands: str, section: str, *rows: tuple[_Code, str, str]
) -> tuple[StatusRow, ...]:
    """Rows of (code or (first, last), category, meaning) that hold for the same services and commands; empty: all."""
    where = (services,) if isinstance(services, ServiceClass) else tuple(services)
    return tuple(
        StatusRow(where, tuple(commands.split()), first, last, Category(name), meaning, section)
        for code, name, meaning in rows
        for first, last in [code if isinstance(code, tuple) else (code, code)]
    )


# The seven that share the statuses of PS3.4 C.4, and those that have them for C-FIND alone.
_RETRIEVERS = (
    s.QUERY_RETRIEVE,
    s.HANGING_PROTOCOL,
    s.COLOR_PALETTE,
    s.IMPLANT_TEMPLATE,
    s.DEFINED_PROCEDURE_PROTOCOL,
    s.PROTOCOL_APPROVAL,
    s.INVENTORY,
)
_FINDERS = (*_RETRIEVERS, s.BASIC_WORKLIST, s.SUBSTANCE_ADMINISTRATION, s.UNIFIED_PROCEDURE_STEP)
_FRAMES = (s.QUERY_RETRIEVE, s.INVENTORY)
_RETRIEVE = "C-GET C-MOVE"
_COMPOSITE = "C-STORE C-FIND C-GET C-MOVE"
_EVERY = ()

# fmt: off
GENERAL = (
    *_rows(_EVERY, "", "PS3.7 C.1",
        (0x0000, "Success", "Done"),
    ),
    *_rows(_EVERY, "C-FIND C-GET C-MOVE", "PS3.7 C.3",
        (0xFE00, "Cancel", "Ended by a cancel request"),
    ),
    *_rows(_EVERY, "", "PS3.7 C.4",
        (0x0001, "Warning", "Optional attributes asked for are not supported"),
        (0x0107, "Warning", "Attribute list error: some attributes were not recognised"),
        (0x0116, "Warning", "Attribute value out of range"),
    ),
    *_rows(_EVERY, "", "PS3.7 C.5",
        (0x0105, "Failure", "No such attribute"),
        (0x0106, "Failure", "Invalid attribute value"),
        (0x0110, "Failure", "Processing failure"),
        (0x0111, "Failure", "Duplicate SOP instance"),
        (0x0112, "Failure", "No such SOP instance"),
        (0x0113, "Failure", "No such event type"),
        (0x0114, "Failure", "No such argument"),
        (0x0115, "Failure", "Invalid argument value"),
        (0x0117, "Failure", "Invalid SOP instance"),
        (0x0118, "Failure", "No such SOP class"),
        (0x0119, "Failure", "The instance is not of that SOP class"),
        (0x0120, "Failure", "Missing attribute"),
        (0x0121, "Failure", "Missing attribute value"),
        (0x0122, "Failure", "Refused: SOP class not supported"),
        (0x0123, "Failure", "No such action"),
        (0x0124, "Failure", "Refused: not authorised"),
        (0x0210, "Failure", "A message ID that is in use already"),
        (0x0211, "Failure", "Unrecognised operation"),
        (0x0212, "Failure", "Mistyped argument"),
        (0x0213, "Failure", "Resource limitation"),
    ),
)

SERVICES = (
    # C-FIND
    *_rows(_FINDERS, "C-FIND", "PS3.4 C.4.1.1.4",
        (0xA700,           "Failure", "Refused: out of resources"),
        (0xA900,           "Failure", "The Identifier does not fit the SOP class"),
        ((0xC000, 0xCFFF), "Failure", "Unable to process"),
        (0xFF00,           "Pending", "A match, more may follow"),
        (0xFF01,           "Pending", "A match, more may follow; optional keys unsupported"),
    ),
    *_rows(s.QUERY_RETRIEVE, "C-FIND", "PS3.4 C.4.1.1.4",
        (0xA710, "Failure", "Repository Query: invalid Prior Record Key"),
        (0xB001, "Warning", "Repository Query: stopped at a limit, ask on"),
    ),

    # C-GET and C-MOVE
    *_rows(_RETRIEVERS, _RETRIEVE, "PS3.4 C.4.2.1.5, C.4.3.1.4",
        (0xA701,           "Failure", "Out of resources: cannot count the matches"),
        (0xA702,           "Failure", "Out of resources: no sub-operation succeeded"),
        (0xA900,           "Failure", "The Identifier does not fit the SOP class"),
        (0xB000,           "Warning", "Done, but some sub-operations failed or warned"),
        ((0xC000, 0xCFFF), "Failure", "Unable to process"),
        (0xFF00,           "Pending", "Sub-operations go on"),
    ),
    *_rows(_RETRIEVERS, "C-MOVE", "PS3.4 C.4.2.1.5",
        (0xA801, "Failure", "Move destination unknown"),
    ),
    *_rows(_FRAMES, _RETRIEVE, "PS3.4 C.4.2.1.5, C.4.3.1.4",
        (0xAA00, "Failure", "The instance has none of the frames asked for"),
        (0xAA01, "Failure", "No new object of this SOP class can be made"),
        (0xAA02, "Failure", "The frames cannot be taken out"),
        (0xAA03, "Failure", "Asked by time of an instance that is not time-based"),
        (0xAA04, "Failure", "Invalid request"),
    ),

    # C-STORE
    *_rows(s.STORAGE, "C-STORE", "PS3.4 B.2.3",
        ((0xA700, 0xA7FF), "Failure", "Refused: out of resources"),
        ((0xA900, 0xA9FF), "Failure", "The data set does not fit the SOP class"),
        ((0xC000, 0xCFFF), "Failure", "Cannot understand"),
        (0xB000,           "Warning", "Stored with data elements changed"),
        (0xB006,           "Warning", "Stored with elements left out"),
        (0xB007,           "Warning", "Stored, but the data set does not fit the SOP class"),
    ),
    *_rows(s.NON_PATIENT_OBJECT, "C-STORE", "PS3.4 GG",
        (0xA700,           "Failure", "Refused: out of resources"),
        (0xA900,           "Failure", "The data set does not fit the SOP class"),
        ((0xC000, 0xCFFF), "Failure", "Cannot understand"),
    ),

    # Relevant Patient Information Query: at most one match
    *_rows(s.RELEVANT_PATIENT_INFORMATION_QUERY, "C-FIND", "PS3.4 Q.2",
        (0xA700,           "Failure", "Refused: out of resources"),
        (0xA900,           "Failure", "The Identifier does not fit the SOP class"),
        ((0xC000, 0xCFFF), "Failure", "Unable to process"),
        (0xC100,           "Failure", "More than one match"),
        (0xC200,           "Failure", "The template asked for is not supported"),
        (0xFF00,           "Pending", "The match"),
    ),

    # Unified Procedure Step
    *_rows(s.UNIFIED_PROCEDURE_STEP, s.NORMALIZED, "PS3.4 CC.2",
        (0xB300, "Warning", "Created with modifications"),
        (0xB301, "Warning", "Deletion lock not granted"),
        (0xB304, "Warning", "It is CANCELED already"),
        (0xB305, "Warning", "Invalid values were made valid"),
        (0xB306, "Warning", "It is COMPLETED already"),
        (0xC300, "Failure", "It may no longer be updated"),
        (0xC301, "Failure", "Not the right Transaction UID"),
        (0xC302, "Failure", "It is IN PROGRESS already"),
        (0xC303, "Failure", "Only its creation can make it SCHEDULED"),
        (0xC304, "Failure", "It does not meet what its final state requires"),
        (0xC307, "Failure", "No such procedure step here"),
        (0xC308, "Failure", "The receiving AE title is unknown"),
        (0xC309, "Failure", "The state given was not SCHEDULED"),
        (0xC310, "Failure", "It is not IN PROGRESS yet"),
        (0xC311, "Failure", "It is COMPLETED, too late to cancel"),
        (0xC312, "Failure", "Its performer cannot be reached"),
        (0xC313, "Failure", "Its performer will not cancel"),
        (0xC314, "Failure", "That action does not apply to that instance"),
        (0xC315, "Failure", "Event reports are not supported"),
    ),

    # Modality Performed Procedure Step, Storage Management, Media Creation
    *_rows(s.PROCEDURE_STEP, "N-SET", "PS3.4 F.7.2",
        (0x0110, "Failure", "The performed procedure step may no longer be updated"),
    ),
    *_rows(s.STORAGE_MANAGEMENT, "N-ACTION", "PS3.4 KK.2",
        (0xB010, "Warning", "Some key attributes are not matched"),
    ),
    *_rows(s.MEDIA_CREATION, "N-ACTION", "PS3.4 S.3",
        (0xA510, "Failure", "Creation was started before for this instance"),
        (0xC201, "Failure", "Creation is complete"),
        (0xC202, "Failure", "Creation is under way and cannot be interrupted"),
        (0xC203, "Failure", "Cancellation denied"),
    ),

    # Application Event Logging
    *_rows(s.APPLICATION_EVENT_LOGGING, "N-ACTION", "PS3.4 P.2",
        (0xB101, "Warning", "Logged; the synchronisation frames of reference differ"),
        (0xB102, "Warning", "Logged under another Study Instance UID"),
        (0xB104, "Warning", "Logged; the IDs do not agree on a current study"),
        (0xC101, "Failure", "No procedural log for that study"),
        (0xC102, "Failure", "The event information does not fit the template"),
        (0xC103, "Failure", "No current study matches the event"),
        (0xC104, "Failure", "Not logged; the IDs do not agree on a current study"),
        (0xC10E, "Failure", "The operator may not add to the medication record"),
        (0xC110, "Failure", "Patient ID or Admission ID identify no patient"),
        (0xC111, "Failure", "The medication record could not be updated"),
    ),

    # Print Management
    *_rows(s.PRINT_MANAGEMENT, s.NORMALIZED, "PS3.4 H.4",
        (0xB600, "Warning", "Memory allocation is not supported"),
        (0xB601, "Warning", "Collation of the film session is not supported"),
        (0xB602, "Warning", "The film session has an empty page"),
        (0xB603, "Warning", "The film box is an empty page"),
        (0xB604, "Warning", "The image was made smaller to fit its box"),
        (0xB605, "Warning", "A density is out of range; the limit is used"),
        (0xB609, "Warning", "The image was cropped to fit its box"),
        (0xB60A, "Warning", "The image was decimated to fit its box"),
        (0xC600, "Failure", "The film session has no film box"),
        (0xC601, "Failure", "The print queue is full; film session not printed"),
        (0xC602, "Failure", "The print queue is full; film box not printed"),
        (0xC603, "Failure", "The image is larger than its box"),
        (0xC605, "Failure", "Not enough memory in the printer for the image"),
        (0xC613, "Failure", "The combined image is larger than its box"),
        (0xC616, "Failure", "The film box before this one is not printed yet"),
    ),

    # RT Machine Verification
    *_rows(s.RT_MACHINE_VERIFICATION, "", "PS3.4 DD.3",
        (0xC112, "Failure", "No such machine verification instance"),
        (0xC221, "Failure", "No such fraction group in the plan"),
        (0xC222, "Failure", "The fraction group has no beams"),
        (0xC223, "Failure", "Verification is going on; this request has to wait"),
        (0xC224, "Failure", "No such beam in the fraction group"),
        (0xC225, "Failure", "Device or accessory not supported"),
        (0xC226, "Failure", "No such device or accessory in the beam"),
        (0xC227, "Failure", "No such RT Plan"),
    ),
)

# What this library answers when a handler or a data set is at fault; peers know the numbers from Python providers.
IMPLEMENTATION = (
    *_rows(_EVERY, _COMPOSITE, "aiodimse",
        (0xC001, "Failure", "The handler gave a data set without Status as its status"),
        (0xC002, "Failure", "The handler gave something that is no status"),
    ),
    *_rows(_EVERY, "C-STORE", "aiodimse",
        (0xC210, "Failure", "The data set does not decode"),
        (0xC211, "Failure", "The handler raised an exception"),
    ),
    *_rows(_EVERY, "C-FIND", "aiodimse",
        (0xC310, "Failure", "The Identifier does not decode"),
        (0xC311, "Failure", "The handler raised an exception"),
        (0xC312, "Failure", "A match of the handler does not encode"),
    ),
    *_rows(_EVERY, "C-GET", "aiodimse",
        (0xC410, "Failure", "The Identifier does not decode"),
        (0xC411, "Failure", "The handler raised an exception"),
        (0xC413, "Failure", "The handler gave no valid number of sub-operations"),
    ),
    *_rows(_EVERY, "C-MOVE", "aiodimse",
        (0xC510, "Failure", "The Identifier does not decode"),
        (0xC511, "Failure", "The handler raised an exception"),
        (0xC513, "Failure", "The handler gave no valid number of sub-operations"),
        (0xC514, "Failure", "The handler ended before destination and number"),
        (0xC515, "Failure", "The handler gave no valid (address, port)"),
    ),
)
# fmt: on

ROWS: tuple[StatusRow, ...] = GENERAL + SERVICES + IMPLEMENTATION


@lru_cache(maxsize=4096)
def find(code: int, service_class: ServiceClass | None = None, command: str | None = None) -> StatusRow | None:
    """The row that says most about a code: one code before a range, then named commands and service classes first.

    None for a code that no row knows. A caller that does not know service class or command gets a row that may hold.
    """

    def order(row: StatusRow) -> tuple[int, bool, bool]:
        # Nothing known of the service: what holds everywhere is the better guess.
        general_first = bool(row.service_classes) if service_class is None else not row.service_classes
        return row.last - row.first, general_first, (not row.commands) != (command is None)

    return min((row for row in ROWS if row.holds_for(code, service_class, command)), key=order, default=None)


def category(code: int, service_class: ServiceClass | None = None, command: str | None = None) -> Category:
    """The category of a code: its row's, else by the ranges of PS3.7 C; what those do not know is a Failure."""
    if row := find(code, service_class, command):
        return row.category
    if code in (0xFF00, 0xFF01):
        return Category.PENDING
    if code == 0xFE00:
        return Category.CANCEL
    return Category.WARNING if code >> 12 == 0xB else Category.FAILURE


def meaning(code: int, service_class: ServiceClass | None = None, command: str | None = None) -> str:
    """The meaning of a code in words, "" for one that no row knows."""
    row = find(code, service_class, command)
    return row.meaning if row else ""
