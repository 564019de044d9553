"""The 23 messages of PS3.7 9.3 and 10.3, and one for a request whose Command Field PS3.7 does not know.

A field is the element of that name in `elements.py`, which gives its tag, VR and position in the command set; None if
it is absent. Messages are not frozen, since one is made for every operation. A class that adds no fields to its base is
not decorated as a dataclass, which makes the import faster.
"""

from dataclasses import field
from enum import IntEnum
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar

from aiodimse.record import record
from aiodimse.standard import sop_class
from aiodimse.standard.status import Category, category
from aiodimse.standard.values import escaped

RESPONSE_BIT = 0x8000
"""Bit 15 of the Command Field tells a response from its request (PS3.7 E.1)."""


class Priority(IntEnum):
    """Priority (0000,0700), PS3.7 E.1: the numbers do not ascend with the urgency."""

    MEDIUM = 0
    HIGH = 1
    LOW = 2


@record(kw_only=True)
class Message:
    """A command set, and whether a data set follows it (Command Data Set Type (0000,0800) is not 0101H)."""

    command_field: ClassVar[int]
    name: ClassVar[str]
    service: ClassVar[str]
    """The DIMSE service (PS3.7 7.5): "C-FIND" of C-FIND-RQ and C-FIND-RSP."""
    is_request: ClassVar[bool] = False

    has_data_set: bool = False

    @property
    def sop_class_uid(self) -> str:
        """Affected or Requested SOP Class UID, whichever this message has; "" if it has neither."""
        return getattr(self, "affected_sop_class_uid", None) or getattr(self, "requested_sop_class_uid", None) or ""

    @property
    def sop_instance_uid(self) -> str:
        """Affected or Requested SOP Instance UID, whichever this message has; "" if it has neither."""
        found = getattr(self, "affected_sop_instance_uid", None) or getattr(self, "requested_sop_instance_uid", None)
        return found or ""

    def __str__(self) -> str:
        """One line for a log. It has no data set and no Error Comment, so no patient data; text of the peer is
        escaped."""
        parts = [self.name]
        for name, form in _LOGGED:
            if (value := getattr(self, name, None)) is not None and (words := form(value)):
                parts.append(words)
        if self.has_data_set:
            parts.append("with data set")
        return " ".join(parts)


# --- requests ---------------------------------------------------------------------------------------------------------


@record(kw_only=True)
class Request(Message):
    """A request that wants a response: every one that has a Message ID. C-CANCEL-RQ has none."""

    is_request = True

    message_id: int

    def response(self, status: int, **fields: Any) -> "Response":
        """Make the response to this request.

        It has the Message ID, the SOP Class UID and, if responses of its kind have one, the SOP Instance UID of the
        request. `fields` are further fields of the response, and replace those.
        """
        response_class: Any = MESSAGES.get(self.command_field | RESPONSE_BIT, UnknownResponse)
        if response_class is UnknownResponse:
            fields["command_field"] = self.command_field | RESPONSE_BIT
        if "affected_sop_class_uid" not in fields:
            fields["affected_sop_class_uid"] = self.sop_class_uid or None
        if issubclass(response_class, InstanceResponse) and "affected_sop_instance_uid" not in fields:
            # An instance that was not created has no UID.
            is_none = type(self) is NCreateRQ and category(status) is Category.FAILURE
            fields["affected_sop_instance_uid"] = None if is_none else self.sop_instance_uid or None
        response: Response = response_class(message_id_being_responded_to=self.message_id, status=status, **fields)
        return response


@record(kw_only=True)
class AffectedRequest(Request):
    """A request that names the SOP class that it affects: all of DIMSE-C, N-EVENT-REPORT and N-CREATE."""

    affected_sop_class_uid: str

    if not TYPE_CHECKING:  # The property is read for every message; this one finds the field at once.
        sop_class_uid = property(attrgetter("affected_sop_class_uid"))


@record(kw_only=True)
class RequestedRequest(Request):
    """A request that names an existing SOP instance: the other DIMSE-N. Its class may be another than that of the
    context."""

    requested_sop_class_uid: str
    requested_sop_instance_uid: str


@record(kw_only=True)
class PrioritizedRequest(AffectedRequest):
    """A request with a priority: all of DIMSE-C except C-ECHO."""

    priority: int = Priority.MEDIUM


@record(kw_only=True)
class CStoreRQ(PrioritizedRequest):
    """C-STORE-RQ (PS3.7 9.3.1.1). It has a Move Originator if it is a sub-operation of a C-MOVE."""

    command_field = 0x0001
    name = "C-STORE-RQ"

    affected_sop_instance_uid: str
    move_originator_ae_title: str | None = None
    move_originator_message_id: int | None = None

    if not TYPE_CHECKING:  # As above.
        sop_instance_uid = property(attrgetter("affected_sop_instance_uid"))


class CFindRQ(PrioritizedRequest):
    """PS3.7 9.3.2.1."""

    __slots__ = ()
    command_field = 0x0020
    name = "C-FIND-RQ"


class CGetRQ(PrioritizedRequest):
    """PS3.7 9.3.3.1."""

    __slots__ = ()
    command_field = 0x0010
    name = "C-GET-RQ"


@record(kw_only=True)
class CMoveRQ(PrioritizedRequest):
    """PS3.7 9.3.4.1."""

    command_field = 0x0021
    name = "C-MOVE-RQ"

    move_destination: str


class CEchoRQ(AffectedRequest):
    """PS3.7 9.3.5.1."""

    __slots__ = ()
    command_field = 0x0030
    name = "C-ECHO-RQ"


@record(kw_only=True)
class CCancelRQ(Message):
    """C-CANCEL-FIND-RQ, -GET-RQ and -MOVE-RQ, which are one message (PS3.7 9.3.2.3). It has no Message ID and no
    response."""

    command_field = 0x0FFF
    name = "C-CANCEL-RQ"
    is_request = True

    message_id_being_responded_to: int


@record(kw_only=True)
class NEventReportRQ(AffectedRequest):
    """PS3.7 10.3.1.1."""

    command_field = 0x0100
    name = "N-EVENT-REPORT-RQ"

    affected_sop_instance_uid: str
    event_type_id: int | None = None
    """Mandatory. None only if a peer left it out; such a request can still be answered."""


@record(kw_only=True)
class NGetRQ(RequestedRequest):
    """N-GET-RQ (PS3.7 10.3.2.1). Without an Attribute Identifier List it asks for all attributes (10.1.2.1.5)."""

    command_field = 0x0110
    name = "N-GET-RQ"

    attribute_identifier_list: tuple[int, ...] | None = None


class NSetRQ(RequestedRequest):
    """PS3.7 10.3.3.1."""

    __slots__ = ()
    command_field = 0x0120
    name = "N-SET-RQ"


@record(kw_only=True)
class NActionRQ(RequestedRequest):
    """PS3.7 10.3.4.1."""

    command_field = 0x0130
    name = "N-ACTION-RQ"

    action_type_id: int | None = None
    """Mandatory. None only if a peer left it out; such a request can still be answered."""


@record(kw_only=True)
class NCreateRQ(AffectedRequest):
    """N-CREATE-RQ (PS3.7 10.3.5.1). Without an instance UID the performer chooses one (10.1.5.1.4)."""

    command_field = 0x0140
    name = "N-CREATE-RQ"

    affected_sop_instance_uid: str | None = None


class NDeleteRQ(RequestedRequest):
    """PS3.7 10.3.6.1."""

    __slots__ = ()
    command_field = 0x0150
    name = "N-DELETE-RQ"


@record(kw_only=True)
class UnknownRequest(Request):
    """A request with a Command Field that PS3.7 does not list; answered 0211H, unrecognized operation (C.5.21)."""

    name = "UNKNOWN-RQ"

    command_field: int  # type: ignore[misc]  # a constant of every other message
    affected_sop_class_uid: str | None = None
    requested_sop_class_uid: str | None = None
    affected_sop_instance_uid: str | None = None
    requested_sop_instance_uid: str | None = None


# --- responses --------------------------------------------------------------------------------------------------------


@record(kw_only=True)
class Response(Message):
    """What every response has, and the status-related elements that any may have (PS3.7 C)."""

    message_id_being_responded_to: int
    status: int
    affected_sop_class_uid: str | None = None
    offending_element: tuple[int, ...] | None = None
    # Error Comment is free text, and may hold patient data.
    error_comment: str | None = field(default=None, repr=False)
    error_id: int | None = None


@record(kw_only=True)
class InstanceResponse(Response):
    """A response about one SOP instance."""

    affected_sop_instance_uid: str | None = None


@record(kw_only=True)
class SuboperationsResponse(Response):
    """C-GET-RSP and C-MOVE-RSP, which count their C-STORE sub-operations."""

    number_of_remaining_suboperations: int | None = None
    number_of_completed_suboperations: int | None = None
    number_of_failed_suboperations: int | None = None
    number_of_warning_suboperations: int | None = None


@record(kw_only=True)
class AttributesResponse(InstanceResponse):
    """N-GET-RSP, N-SET-RSP and N-CREATE-RSP, which name the attributes that were not recognized (C.4.2)."""

    attribute_identifier_list: tuple[int, ...] | None = None


class CStoreRSP(InstanceResponse):
    """PS3.7 9.3.1.2."""

    __slots__ = ()
    command_field = 0x8001
    name = "C-STORE-RSP"


class CFindRSP(Response):
    """PS3.7 9.3.2.2."""

    __slots__ = ()
    command_field = 0x8020
    name = "C-FIND-RSP"


class CGetRSP(SuboperationsResponse):
    """PS3.7 9.3.3.2."""

    __slots__ = ()
    command_field = 0x8010
    name = "C-GET-RSP"


class CMoveRSP(SuboperationsResponse):
    """PS3.7 9.3.4.2."""

    __slots__ = ()
    command_field = 0x8021
    name = "C-MOVE-RSP"


class CEchoRSP(Response):
    """PS3.7 9.3.5.2."""

    __slots__ = ()
    command_field = 0x8030
    name = "C-ECHO-RSP"


@record(kw_only=True)
class NEventReportRSP(InstanceResponse):
    """PS3.7 10.3.1.2."""

    command_field = 0x8100
    name = "N-EVENT-REPORT-RSP"

    event_type_id: int | None = None


class NGetRSP(AttributesResponse):
    """PS3.7 10.3.2.2."""

    __slots__ = ()
    command_field = 0x8110
    name = "N-GET-RSP"


class NSetRSP(AttributesResponse):
    """PS3.7 10.3.3.2."""

    __slots__ = ()
    command_field = 0x8120
    name = "N-SET-RSP"


@record(kw_only=True)
class NActionRSP(InstanceResponse):
    """PS3.7 10.3.4.2."""

    command_field = 0x8130
    name = "N-ACTION-RSP"

    action_type_id: int | None = None


class NCreateRSP(AttributesResponse):
    """PS3.7 10.3.5.2."""

    __slots__ = ()
    command_field = 0x8140
    name = "N-CREATE-RSP"


class NDeleteRSP(InstanceResponse):
    """PS3.7 10.3.6.2."""

    __slots__ = ()
    command_field = 0x8150
    name = "N-DELETE-RSP"


@record(kw_only=True)
class UnknownResponse(InstanceResponse):
    """The response to an UnknownRequest: its Command Field with bit 15 set. It is sent, and never received."""

    name = "UNKNOWN-RSP"

    command_field: int  # type: ignore[misc]


# --- the registry -----------------------------------------------------------------------------------------------------

# fmt: off
MESSAGES: dict[int, type[Message]] = {
    message.command_field: message
    for message in (
        CStoreRQ,       CStoreRSP,
        CGetRQ,         CGetRSP,
        CFindRQ,        CFindRSP,
        CMoveRQ,        CMoveRSP,
        CEchoRQ,        CEchoRSP,
        NEventReportRQ, NEventReportRSP,
        NGetRQ,         NGetRSP,
        NSetRQ,         NSetRSP,
        NActionRQ,      NActionRSP,
        NCreateRQ,      NCreateRSP,
        NDeleteRQ,      NDeleteRSP,
        CCancelRQ,
    )
}
"""Every message of PS3.7 by its Command Field (0000,0100)."""
# fmt: on
_class: type[Message]
for _class in (*MESSAGES.values(), UnknownRequest, UnknownResponse):
    _class.service = _class.name.rpartition("-")[0]

# --- words for a log line ---------------------------------------------------------------------------------------------


def _sop_class(uid: str) -> str:
    return escaped(getattr(sop_class.lookup(uid), "keyword", uid))


def _tags(tags: tuple[int, ...]) -> str:
    more = f" and {len(tags) - 8} more" if len(tags) > 8 else ""
    return ",".join(f"({tag >> 16:04X},{tag & 0xFFFF:04X})" for tag in tags[:8]) + more


_LOGGED = (
    ("message_id", lambda value: f"{value}"),
    ("message_id_being_responded_to", lambda value: f"to {value}"),
    ("status", lambda value: f"status 0x{value:04X}"),
    ("affected_sop_class_uid", _sop_class),
    ("requested_sop_class_uid", _sop_class),
    ("affected_sop_instance_uid", escaped),
    ("requested_sop_instance_uid", escaped),
    ("priority", lambda value: f"priority {value}" if value else ""),
    ("move_destination", lambda value: f"destination {escaped(value)}"),
    ("move_originator_ae_title", lambda value: f"originator {escaped(value)}"),
    ("move_originator_message_id", lambda value: f"originator's {value}"),
    ("event_type_id", lambda value: f"event {value}"),
    ("action_type_id", lambda value: f"action {value}"),
    ("attribute_identifier_list", lambda value: f"attributes {_tags(value)}"),
    ("number_of_remaining_suboperations", lambda value: f"remaining {value}"),
    ("number_of_completed_suboperations", lambda value: f"completed {value}"),
    ("number_of_failed_suboperations", lambda value: f"failed {value}"),
    ("number_of_warning_suboperations", lambda value: f"warning {value}"),
    ("offending_element", lambda value: f"offending {_tags(value)}"),
    ("error_id", lambda value: f"error {value}"),
)
