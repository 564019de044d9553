"""Statuses (0000,0900), one row per fact. PS3.7 C has the general ones; annexes of PS3.4 have those of their services.

A row holds for some service classes and some commands, or for all. Its code is one number or a range. A fact that
several service classes share is one row that names them all. Rows of kind "implementation" are not in the standard:
this library sends their codes, from the ranges that the standard leaves to implementations.
"""

from collections.abc import Iterable
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from aiodimse.standard import answers
from aiodimse.standard import service_class as s
from aiodimse.standard.service_class import ServiceClass


class Category(Enum):
    """What a status means for the operation (PS3.7 C). Only PENDING means that more responses follow."""

    SUCCESS = "Success"
    PENDING = "Pending"
    WARNING = "Warning"
    FAILURE = "Failure"
    CANCEL = "Cancel"


class StatusRow(NamedTuple):
    """One status or one range of statuses, and the services for which it holds."""

    service_classes: tuple[ServiceClass, ...]
    """The service classes for which the row holds; empty: all."""
    commands: tuple[str, ...]
    """The DIMSE services for which the row holds, as in "C-FIND"; empty: all."""
    first: int
    last: int
    category: Category
    meaning: str
    section: str
    """The section of the standard, or its annex where several of its sections define the status; "aiodimse"
    where the standard does not define it."""

    @property
    def kind(self) -> str:
        """The origin of the status: "general" (PS3.7), "service" (PS3.4) or "implementation" (this library)."""
        return {"PS3.7": "general", "PS3.4": "service"}.get(self.section[:5], "implementation")

    def holds_for(self, code: int, service_class: ServiceClass | None, command: str | None) -> bool:
        """Return whether this row applies to a code; None stands for a service that the caller does not know."""
        return (
            self.first <= code <= self.last
            and (not self.service_classes or service_class is None or service_class in self.service_classes)
            and (not self.commands or command is None or command in self.commands)
        )

    def codes(self) -> str:
        """Return the code or range as text, as in "0xA700" or "0xC000 to 0xCFFF"."""
        return f"0x{self.first:04X}" if self.first == self.last else f"0x{self.first:04X} to 0x{self.last:04X}"


_Code = int | tuple[int, int]


def _rows(
    services: ServiceClass | Iterable[ServiceClass], commands: str, section: str, *rows: tuple[_Code, str, str]
) -> tuple[StatusRow, ...]:
    """Make rows of (code or (first, last), category, meaning) for some services and commands; empty: all."""
    where = (services,) if isinstance(services, ServiceClass) else tuple(services)
    return tuple(
        StatusRow(where, tuple(commands.split()), first, last, Category(name), meaning, section)
        for code, name, meaning in rows
        for first, last in [code if isinstance(code, tuple) else (code, code)]
    )


# The seven service classes that use all statuses of PS3.4 C.4, and those that use its C-FIND statuses.
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
        (0x0000, "Success", "Success"),
    ),
    *_rows(_EVERY, "C-FIND C-GET C-MOVE", "PS3.7 C.3",
        (0xFE00, "Cancel", "Terminated due to Cancel request"),
    ),
    *_rows(_EVERY, "", "PS3.7 C.4",
        (0x0001, "Warning", "Requested optional attributes are not supported"),
        (0x0107, "Warning", "Attribute list error"),
        (0x0116, "Warning", "Attribute value out of range"),
    ),
    *_rows(_EVERY, "", "PS3.7 C.5",
        (0x0105, "Failure", "No such attribute"),
        (0x0106, "Failure", "Invalid attribute value"),
        (0x0110, "Failure", "Processing failure"),
        (0x0111, "Failure", "Duplicate SOP Instance"),
        (0x0112, "Failure", "No such SOP Instance"),
        (0x0113, "Failure", "No such event type"),
        (0x0114, "Failure", "No such argument"),
        (0x0115, "Failure", "Invalid argument value"),
        (0x0117, "Failure", "Invalid SOP Instance"),
        (0x0118, "Failure", "No such SOP Class"),
        (0x0119, "Failure", "Class-instance conflict"),
        (0x0120, "Failure", "Missing attribute"),
        (0x0121, "Failure", "Missing attribute value"),
        (0x0122, "Failure", "Refused: SOP Class not supported"),
        (0x0123, "Failure", "No such action"),
        (0x0124, "Failure", "Refused: Not authorized"),
        (0x0210, "Failure", "Duplicate invocation"),
        (0x0211, "Failure", "Unrecognized operation"),
        (0x0212, "Failure", "Mistyped argument"),
        (0x0213, "Failure", "Resource limitation"),
    ),
)

SERVICES = (
    # C-FIND
    *_rows(_FINDERS, "C-FIND", "PS3.4 C.4.1",
        (0xA700,           "Failure", "Refused: Out of resources"),
        (0xA900,           "Failure", "Identifier does not match SOP Class"),
        ((0xC000, 0xCFFF), "Failure", "Unable to process"),
        (0xFF00,           "Pending", "Matches are continuing"),
        (0xFF01,           "Pending", "Matches are continuing; one or more Optional Keys were not supported"),
    ),
    *_rows(s.QUERY_RETRIEVE, "C-FIND", "PS3.4 C.4.1",
        (0xA710, "Failure", "Invalid Prior Record Key"),
        (0xB001, "Warning", "Matching reached response limit, subsequent request may return additional matches"),
    ),

    # C-GET and C-MOVE
    *_rows(_RETRIEVERS, _RETRIEVE, "PS3.4 C.4.2, C.4.3",
        (0xA701,           "Failure", "Refused: Out of resources - Unable to calculate number of matches"),
        (0xA702,           "Failure", "Refused: Out of resources - Unable to perform sub-operations"),
        (0xA900,           "Failure", "Identifier does not match SOP Class"),
        (0xB000,           "Warning", "Sub-operations complete - One or more failures or warnings"),
        ((0xC000, 0xCFFF), "Failure", "Unable to process"),
        (0xFF00,           "Pending", "Sub-operations are continuing"),
    ),
    *_rows(_RETRIEVERS, "C-MOVE", "PS3.4 C.4.2",
        (0xA801, "Failure", "Refused: Move destination unknown"),
    ),
    *_rows(_FRAMES, _RETRIEVE, "PS3.4 C.4.2, C.4.3",
        (0xAA00, "Failure", "None of the frames requested were found in the SOP Instance"),
        (0xAA01, "Failure", "Unable to create new object for this SOP Class"),
        (0xAA02, "Failure", "Unable to extract frames"),
        (0xAA03, "Failure", "Time-based request received for a non-time-based original SOP Instance"),
        (0xAA04, "Failure", "Invalid request"),
    ),

    # C-STORE
    *_rows(s.STORAGE, "C-STORE", "PS3.4 B.2",
        ((0xA700, 0xA7FF), "Failure", "Refused: Out of resources"),
        ((0xA900, 0xA9FF), "Failure", "Data Set does not match SOP Class"),
        ((0xC000, 0xCFFF), "Failure", "Cannot understand"),
        (0xB000,           "Warning", "Coercion of Data Elements"),
        (0xB006,           "Warning", "Elements discarded"),
        (0xB007,           "Warning", "Data Set does not match SOP Class"),
    ),
    *_rows(s.NON_PATIENT_OBJECT, "C-STORE", "PS3.4 GG",
        (0xA700,           "Failure", "Refused: Out of resources"),
        (0xA900,           "Failure", "Data Set does not match SOP Class"),
        ((0xC000, 0xCFFF), "Failure", "Cannot understand"),
    ),

    # Relevant Patient Information Query: at most one match
    *_rows(s.RELEVANT_PATIENT_INFORMATION_QUERY, "C-FIND", "PS3.4 Q.2",
        (0xA700,           "Failure", "Refused: Out of resources"),
        (0xA900,           "Failure", "Identifier does not match SOP Class"),
        ((0xC000, 0xCFFF), "Failure", "Unable to process"),
        (0xC100,           "Failure", "More than one match found"),
        (0xC200,           "Failure", "Unable to support requested template"),
        (0xFF00,           "Pending", "Matches are continuing"),
    ),

    # Unified Procedure Step
    *_rows(s.UNIFIED_PROCEDURE_STEP, s.NORMALIZED, "PS3.4 CC",
        (0xB300, "Warning", "The UPS was created with modifications"),
        (0xB301, "Warning", "Deletion Lock not granted"),
        (0xB304, "Warning", "The UPS is already in the requested state of CANCELED"),
        (0xB305, "Warning", "Coerced invalid values to valid values"),
        (0xB306, "Warning", "The UPS is already in the requested state of COMPLETED"),
        (0xC300, "Failure", "The UPS may no longer be updated"),
        (0xC301, "Failure", "The correct Transaction UID was not provided"),
        (0xC302, "Failure", "The UPS is already IN PROGRESS"),
        (0xC303, "Failure", "The UPS may only become SCHEDULED via N-CREATE"),
        (0xC304, "Failure", "The UPS has not met final state requirements for the requested state change"),
        (0xC307, "Failure", "Specified SOP Instance UID does not exist or is not a UPS Instance managed by this SCP"),
        (0xC308, "Failure", "Receiving AE-TITLE is unknown to this SCP"),
        (0xC309, "Failure", "The provided value of UPS State was not SCHEDULED"),
        (0xC310, "Failure", "The UPS is not yet in the IN PROGRESS state"),
        (0xC311, "Failure", "The UPS is already COMPLETED"),
        (0xC312, "Failure", "The performer cannot be contacted"),
        (0xC313, "Failure", "Performer chooses not to cancel"),
        (0xC314, "Failure", "Specified action not appropriate for specified instance"),
        (0xC315, "Failure", "SCP does not support Event Reports"),
    ),

    # Modality Performed Procedure Step, Storage Management, Media Creation
    *_rows(s.PROCEDURE_STEP, "N-SET", "PS3.4 F",
        (0x0110, "Failure", "Performed Procedure Step Object may no longer be updated"),
    ),
    *_rows(s.STORAGE_MANAGEMENT, "N-ACTION", "PS3.4 KK",
        (0xB010, "Warning", "One or more of the key attributes were not matched"),
    ),
    *_rows(s.MEDIA_CREATION, "N-ACTION", "PS3.4 S.3.2",
        (0xA510, "Failure", "Initiate Media Creation action already received for this SOP Instance"),
        (0xC201, "Failure", "Media creation request already completed"),
        (0xC202, "Failure", "Media creation request already in progress and cannot be interrupted"),
        (0xC203, "Failure", "Cancellation denied for unspecified reason"),
    ),

    # Application Event Logging
    *_rows(s.APPLICATION_EVENT_LOGGING, "N-ACTION", "PS3.4 P",
        (0xB101, "Warning", "Specified Synchronization Frame of Reference UID does not match that of the SCP"),
        (0xB102, "Warning", "Study Instance UID coercion; Event logged under a different Study Instance UID"),
        (0xB104, "Warning", "IDs inconsistent in matching a current study; Event logged"),
        (0xC101, "Failure", "Procedural Logging not available for specified Study Instance UID"),
        (0xC102, "Failure", "Event Information does not match Template"),
        (0xC103, "Failure", "Cannot match event to a current study"),
        (0xC104, "Failure", "IDs inconsistent in matching a current study; Event not logged"),
        (0xC10E, "Failure", "Operator not authorized to add entry to Medication Administration Record"),
        (0xC110, "Failure", "Patient cannot be identified from Patient ID (0010,0020) or Admission ID (0038,0010)"),
        (0xC111, "Failure", "Update of Medication Administration Record failed"),
    ),

    # Print Management
    *_rows(s.PRINT_MANAGEMENT, s.NORMALIZED, "PS3.4 H",
        (0xB600, "Warning", "Memory allocation not supported"),
        (0xB601, "Warning", "Film Session printing (collation) is not supported"),
        (0xB602, "Warning", "Film Session does not contain Image Box SOP Instances (empty page)"),
        (0xB603, "Warning", "Film Box does not contain Image Box SOP Instances (empty page)"),
        (0xB604, "Warning", "Image size is larger than image box size, the image has been demagnified"),
        (0xB605, "Warning", "Requested Min Density or Max Density outside of printer's operating range"),
        (0xB609, "Warning", "Image size is larger than the image box size, the image has been cropped to fit"),
        (0xB60A, "Warning", "Image size is larger than the image box size, the image has been decimated to fit"),
        (0xC600, "Failure", "Film Session does not contain Film Box SOP Instances"),
        (0xC601, "Failure", "Unable to create Print Job SOP Instance; print queue is full"),
        (0xC602, "Failure", "Unable to create Print Job SOP Instance; print queue is full"),
        (0xC603, "Failure", "Image size is larger than image box size"),
        (0xC605, "Failure", "Insufficient memory in printer to store the image"),
        (0xC613, "Failure", "Combined Print Image size is larger than the Image Box size"),
        (0xC616, "Failure", "There is an existing Film Box that has not been printed"),
    ),

    # RT Machine Verification
    *_rows(s.RT_MACHINE_VERIFICATION, "", "PS3.4 DD.3",
        (0xC112, "Failure", "No such object instance - Machine Verification requested instance not found"),
        (0xC221, "Failure", "The Referenced Fraction Group Number does not exist in the referenced plan"),
        (0xC222, "Failure", "No beams exist within the referenced fraction group"),
        (0xC223, "Failure", "SCU already verifying and cannot currently process this request"),
        (0xC224, "Failure", "Referenced Beam Number not found within the referenced Fraction Group"),
        (0xC225, "Failure", "Referenced device or accessory not supported"),
        (0xC226, "Failure", "Referenced device or accessory not found within the referenced beam"),
        (0xC227, "Failure", "No such object instance - Referenced RT Plan not found"),
    ),
)

# The library answers these when a handler or a data set is at fault. Other Python providers use the same numbers.
IMPLEMENTATION = (
    *_rows(_EVERY, _COMPOSITE, "aiodimse",
        (0xC001, "Failure", "The handler gave a data set without Status as its status"),
        (0xC002, "Failure", "The handler answered with a value that is not a status"),
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
    """Return the row that is most specific for a code, or None where no row has the code.

    A row for one code precedes a row for a range; then a row that names the command and the service class precedes one
    that does not. A caller that does not know the service class or the command gets a row that may apply.
    """

    def order(row: StatusRow) -> tuple[int, bool, bool]:
        # Where the service class is unknown, a row for all service classes is more likely to be right.
        general_first = bool(row.service_classes) if service_class is None else not row.service_classes
        return row.last - row.first, general_first, not row.commands

    return min((row for row in ROWS if row.holds_for(code, service_class, command)), key=order, default=None)


def category(code: int, service_class: ServiceClass | None = None, command: str | None = None) -> Category:
    """Return the category of a code: that of its row, or else that of its range in PS3.7 C, or else Failure."""
    if row := find(code, service_class, command):
        return row.category
    if code in answers.STILL_PENDING:
        return Category.PENDING
    if code == answers.CANCEL:
        return Category.CANCEL
    return Category.WARNING if code >> 12 == 0xB else Category.FAILURE


def meaning(code: int, service_class: ServiceClass | None = None, command: str | None = None) -> str:
    """Return the meaning of a code in words; "" where no row has the code."""
    row = find(code, service_class, command)
    return row.meaning if row else ""
