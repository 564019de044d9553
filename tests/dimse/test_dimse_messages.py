from __future__ import annotations

from dataclasses import fields

import pytest
from dimse.dimse_cases import MESSAGE_CLASSES, messages
from hypothesis import given

from aiodimse.dimse import messages as m

# PS3.7 Table E.1-1, Command Field (0000,0100).
COMMAND_FIELDS = {
    "C-STORE-RQ": 0x0001,
    "C-STORE-RSP": 0x8001,
    "C-GET-RQ": 0x0010,
    "C-GET-RSP": 0x8010,
    "C-FIND-RQ": 0x0020,
    "C-FIND-RSP": 0x8020,
    "C-MOVE-RQ": 0x0021,
    "C-MOVE-RSP": 0x8021,
    "C-ECHO-RQ": 0x0030,
    "C-ECHO-RSP": 0x8030,
    "N-EVENT-REPORT-RQ": 0x0100,
    "N-EVENT-REPORT-RSP": 0x8100,
    "N-GET-RQ": 0x0110,
    "N-GET-RSP": 0x8110,
    "N-SET-RQ": 0x0120,
    "N-SET-RSP": 0x8120,
    "N-ACTION-RQ": 0x0130,
    "N-ACTION-RSP": 0x8130,
    "N-CREATE-RQ": 0x0140,
    "N-CREATE-RSP": 0x8140,
    "N-DELETE-RQ": 0x0150,
    "N-DELETE-RSP": 0x8150,
    "C-CANCEL-RQ": 0x0FFF,
}
ECHO = "1.2.840.10008.1.1"


def test_the_23_messages() -> None:
    assert {each.name: code for code, each in m.MESSAGES.items()} == COMMAND_FIELDS
    for name, code in COMMAND_FIELDS.items():
        each = m.MESSAGES[code]
        assert each.is_request == name.endswith("-RQ")
        assert issubclass(each, m.Response) == name.endswith("-RSP")
        assert each.__name__ == "".join(
            part if part in ("C", "N", "RQ", "RSP") else part.capitalize() for part in name.split("-")
        )


@pytest.mark.parametrize("each", MESSAGE_CLASSES, ids=lambda each: each.__name__)
def test_messages_have_slots_only(each: type[m.Message]) -> None:
    assert "__dict__" not in dir(each)
    assert "has_data_set" in {field.name for field in fields(each)}


AFFECTED = {"message_id": 7, "affected_sop_class_uid": "1.2"}
REQUESTED = {"message_id": 7, "requested_sop_class_uid": "1.2", "requested_sop_instance_uid": "1.3"}


@pytest.mark.parametrize(
    ("request_", "response"),
    [
        (m.CEchoRQ(**AFFECTED), m.CEchoRSP(message_id_being_responded_to=7, status=1, affected_sop_class_uid="1.2")),
        (
            m.CStoreRQ(**AFFECTED, affected_sop_instance_uid="1.3", has_data_set=True),
            m.CStoreRSP(
                message_id_being_responded_to=7,
                status=1,
                affected_sop_class_uid="1.2",
                affected_sop_instance_uid="1.3",
            ),
        ),
        (
            m.NSetRQ(**REQUESTED),
            m.NSetRSP(
                message_id_being_responded_to=7,
                status=1,
                affected_sop_class_uid="1.2",
                affected_sop_instance_uid="1.3",
            ),
        ),
        (
            m.UnknownRequest(message_id=7, command_field=0x77),
            m.UnknownResponse(message_id_being_responded_to=7, status=1, command_field=0x8077),
        ),
        (
            m.CFindRQ(message_id=7, affected_sop_class_uid=""),
            m.CFindRSP(message_id_being_responded_to=7, status=1),
        ),
    ],
    ids=lambda value: value.name,
)
def test_a_response_repeats_what_its_request_named(request_: m.Request, response: m.Response) -> None:
    assert request_.response(1) == response
    assert request_.service == response.service


def test_fields_given_to_a_response_win() -> None:
    response = m.NCreateRQ(**AFFECTED).response(0, affected_sop_instance_uid="9.9", has_data_set=True)
    assert response.sop_instance_uid == "9.9"
    assert response.has_data_set


@pytest.mark.parametrize(
    ("message", "line"),
    [
        (m.CEchoRQ(message_id=3, affected_sop_class_uid=ECHO), "C-ECHO-RQ 3 Verification"),
        (
            m.CMoveRQ(
                message_id=4,
                affected_sop_class_uid="1.2.840.10008.5.1.4.1.2.2.2",
                move_destination="A\nB",
                priority=m.Priority.HIGH,
                has_data_set=True,
            ),
            "C-MOVE-RQ 4 StudyRootQueryRetrieveInformationModelMove priority 1 destination A\\nB with data set",
        ),
        (
            m.CStoreRQ(
                message_id=5,
                affected_sop_class_uid="1.9\r",
                affected_sop_instance_uid="1.3",
                move_originator_ae_title="ME",
                move_originator_message_id=2,
            ),
            "C-STORE-RQ 5 1.9\\r 1.3 originator ME originator's 2",
        ),
        (
            m.CGetRSP(
                message_id_being_responded_to=6,
                status=0xFF00,
                number_of_remaining_suboperations=0,
                number_of_completed_suboperations=2,
            ),
            "C-GET-RSP to 6 status 0xFF00 remaining 0 completed 2",
        ),
        (
            m.CFindRSP(
                message_id_being_responded_to=6,
                status=0xA900,
                offending_element=(0x00080052,),
                error_comment="no\n\x1b[31m'é",
            ),
            "C-FIND-RSP to 6 status 0xA900 offending (0008,0052)",
        ),
        (
            m.NGetRQ(**REQUESTED, attribute_identifier_list=(0x00100010,) * 10),
            f"N-GET-RQ 7 1.2 1.3 attributes {','.join(['(0010,0010)'] * 8)} and 2 more",
        ),
    ],
    ids=lambda value: value.name if isinstance(value, m.Message) else "",
)
def test_the_line_for_a_log(message: m.Message, line: str) -> None:
    assert str(message) == line


@given(messages())
def test_any_message_is_one_printable_line(message: m.Message) -> None:
    assert str(message).isprintable()
    assert str(message).startswith(message.name)
