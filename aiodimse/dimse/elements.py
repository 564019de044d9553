"""The elements of a command set (PS3.7 E.1), one row each. Group 0000, Implicit VR Little Endian (PS3.7 6.3.1)."""

from typing import NamedTuple


class Element(NamedTuple):
    """An element of a command set: its tag is (group << 16) | element, its field the attribute of message classes, or
    "" if no class has it."""

    tag: int
    keyword: str
    vr: str
    field: str


# fmt: off
ELEMENTS = (
    Element(0x0000_0000, "CommandGroupLength",                   "UL", ""),
    Element(0x0000_0002, "AffectedSOPClassUID",                  "UI", "affected_sop_class_uid"),
    Element(0x0000_0003, "RequestedSOPClassUID",                 "UI", "requested_sop_class_uid"),
    Element(0x0000_0100, "CommandField",                         "US", "command_field"),
    Element(0x0000_0110, "MessageID",                            "US", "message_id"),
    Element(0x0000_0120, "MessageIDBeingRespondedTo",            "US", "message_id_being_responded_to"),
    Element(0x0000_0600, "MoveDestination",                      "AE", "move_destination"),
    Element(0x0000_0700, "Priority",                             "US", "priority"),
    Element(0x0000_0800, "CommandDataSetType",                   "US", "has_data_set"),
    Element(0x0000_0900, "Status",                               "US", "status"),
    Element(0x0000_0901, "OffendingElement",                     "AT", "offending_element"),
    Element(0x0000_0902, "ErrorComment",                         "LO", "error_comment"),
    Element(0x0000_0903, "ErrorID",                              "US", "error_id"),
    Element(0x0000_1000, "AffectedSOPInstanceUID",               "UI", "affected_sop_instance_uid"),
    Element(0x0000_1001, "RequestedSOPInstanceUID",              "UI", "requested_sop_instance_uid"),
    Element(0x0000_1002, "EventTypeID",                          "US", "event_type_id"),
    Element(0x0000_1005, "AttributeIdentifierList",              "AT", "attribute_identifier_list"),
    Element(0x0000_1008, "ActionTypeID",                         "US", "action_type_id"),
    Element(0x0000_1020, "NumberOfRemainingSuboperations",       "US", "number_of_remaining_suboperations"),
    Element(0x0000_1021, "NumberOfCompletedSuboperations",       "US", "number_of_completed_suboperations"),
    Element(0x0000_1022, "NumberOfFailedSuboperations",          "US", "number_of_failed_suboperations"),
    Element(0x0000_1023, "NumberOfWarningSuboperations",         "US", "number_of_warning_suboperations"),
    Element(0x0000_1030, "MoveOriginatorApplicationEntityTitle", "AE", "move_originator_ae_title"),
    Element(0x0000_1031, "MoveOriginatorMessageID",              "US", "move_originator_message_id"),
)
# fmt: on

BY_FIELD = {element.field: element for element in ELEMENTS if element.field}

NO_DATA_SET = 0x0101
"""Command Data Set Type (0000,0800) of a message without a data set. Any other value says that a data set follows
(PS3.7 E.1)."""
DATA_SET = 0x0001
"""The value that we write if a data set follows."""
