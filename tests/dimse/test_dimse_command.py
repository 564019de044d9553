from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import pydicom
import pytest
from dimse.dimse_cases import CAPTURES, MESSAGE_CLASSES, command_sets, messages, messages_of
from hypothesis import given
from hypothesis import strategies as st
from pydicom.filereader import read_dataset

from aiodimse.dimse import messages as m
from aiodimse.dimse.command import decode, encode
from aiodimse.dimse.elements import DATA_SET, ELEMENTS, NO_DATA_SET
from aiodimse.errors import CommandDecodeError, LocalProtocolError

ECHO = "1.2.840.10008.1.1"


def command_set(*elements: tuple[int, bytes], group_length: int = 0) -> bytes:
    """A command set from (element number, value) as given: nothing is sorted, padded or checked."""
    head = struct.pack("<HHLL", 0, 0, 4, group_length)
    return head + b"".join(struct.pack("<HHL", 0, number, len(value)) + value for number, value in elements)


# --- both ways --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("each", MESSAGE_CLASSES, ids=lambda each: each.__name__)
@given(data=st.data())
def test_round_trip(each: type[m.Message], data: st.DataObject) -> None:
    message = data.draw(messages_of(each))
    if each is m.UnknownResponse:  # nobody asks for one
        with pytest.raises(CommandDecodeError) as caught:
            decode(encode(message))
        assert caught.value.reason == 2
    else:
        assert decode(encode(message)) == message
        assert decode(memoryview(encode(message))) == message


@given(messages())
def test_pydicom_reads_the_same(message: m.Message) -> None:
    """An independent reader finds each value under its keyword, ascending tags and the right group length."""
    data = encode(message)
    dataset = read_dataset(io.BytesIO(data), is_implicit_VR=True, is_little_endian=True)
    assert dataset.CommandGroupLength == len(data) - 12
    assert [element.tag for element in dataset] == sorted(_tags(data)) == _tags(data)
    assert dataset.CommandField == message.command_field
    assert dataset.CommandDataSetType == (DATA_SET if message.has_data_set else NO_DATA_SET)
    for element in ELEMENTS:
        value = getattr(message, element.field, None)
        if element.field in ("", "command_field", "has_data_set"):
            continue
        if value is None:
            assert element.keyword not in dataset
        elif element.vr == "AT":
            found = dataset[element.keyword].value
            assert (tuple(found) if isinstance(found, pydicom.multival.MultiValue) else (found,)) == value
        else:
            assert (dataset[element.keyword].value or "") == value or value == dataset[element.keyword].value


def _tags(data: bytes) -> list[int]:
    tags, offset = [], 0
    while offset < len(data):
        group, number, length = struct.unpack_from("<HHL", data, offset)
        assert length % 2 == 0
        tags.append(group << 16 | number)
        offset += 8 + length
    return tags


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: path.stem)
def test_command_sets_of_the_captures(capture: Path) -> None:
    """DCMTK 3.6.7 and Orthanc 1.10.1 write what we write, byte for byte."""
    found = command_sets(capture)
    assert found or capture.stem == "dcmtk-user-identity-1"  # it ends with the A-ASSOCIATE-AC
    for data in found:
        assert encode(decode(data)) == data


def test_an_echo_in_bytes() -> None:
    assert encode(m.CEchoRQ(message_id=0x0102, affected_sop_class_uid=ECHO)) == command_set(
        (0x0002, b"1.2.840.10008.1.1\0"),
        (0x0100, b"\x30\x00"),
        (0x0110, b"\x02\x01"),
        (0x0800, b"\x01\x01"),
        group_length=56,
    )


def test_a_retrieve_response_in_bytes() -> None:
    message = m.CMoveRSP(
        message_id_being_responded_to=1,
        status=0xA702,
        has_data_set=True,
        number_of_failed_suboperations=3,
        number_of_completed_suboperations=0,
        error_comment="odd",
        offending_element=(0x00080054, 0x0020000D),
    )
    assert encode(message) == command_set(
        (0x0100, b"\x21\x80"),
        (0x0120, b"\x01\x00"),
        (0x0800, b"\x01\x00"),
        (0x0900, b"\x02\xa7"),
        (0x0901, b"\x08\x00\x54\x00\x20\x00\x0d\x00"),
        (0x0902, b"odd "),
        (0x1021, b"\x00\x00"),
        (0x1022, b"\x03\x00"),
        group_length=88,
    )


# --- encoding ---------------------------------------------------------------------------------------------------------


def response(**fields: Any) -> m.CEchoRSP:
    return m.CEchoRSP(**{"message_id_being_responded_to": 1, "status": 0, **fields})


@pytest.mark.parametrize(
    ("comment", "sent"),
    [
        ("x" * 80, "x" * 64),
        ("two\nlines\tand \\ bell\x07\x7f", "two lines and / bell"),
        ("Müller 山", "M?ller ?"),
        ("  ", ""),
    ],
)
def test_an_error_comment_is_made_to_fit(comment: str, sent: str) -> None:
    assert decode(encode(response(error_comment=comment))) == response(error_comment=sent or None)


@pytest.mark.parametrize(
    ("message", "field"),
    [
        (response(status=0x10000), "status"),
        (response(status=-1), "status"),
        (response(status=None), "status"),
        (response(error_id="1"), "error_id"),
        (response(affected_sop_class_uid=12), "affected_sop_class_uid"),
        (response(affected_sop_class_uid="1.2.山"), "affected_sop_class_uid"),
        (response(offending_element=(1 << 32,)), "offending_element"),
        (response(offending_element=5), "offending_element"),
        (m.CEchoRQ(message_id=1, affected_sop_class_uid=None), "affected_sop_class_uid"),  # type: ignore[arg-type]
        (m.CMoveRQ(message_id=1, affected_sop_class_uid="1.2", move_destination="x" * 17), "move_destination"),
        (m.CMoveRQ(message_id=1, affected_sop_class_uid="1.2", move_destination="A\\B"), "move_destination"),
        (m.CMoveRQ(message_id=1, affected_sop_class_uid="1.2", move_destination="Ä"), "move_destination"),
    ],
)
def test_a_value_that_does_not_fit_is_a_local_error(message: m.Message, field: str) -> None:
    with pytest.raises(LocalProtocolError, match=field):
        encode(message)


def test_an_empty_optional_element_is_left_out_and_a_required_one_is_not() -> None:
    assert encode(response(affected_sop_class_uid="", offending_element=(), error_comment="")) == encode(response())
    assert (0x0000_0002 in _tags(encode(m.CEchoRQ(message_id=1, affected_sop_class_uid="")))) is True
    assert (0x0000_0903 in _tags(encode(response(error_id=0)))) is True


# --- decoding ---------------------------------------------------------------------------------------------------------

FIELD, ID, NONE = (0x0100, b"\x30\x00"), (0x0110, b"\x05\x00"), (0x0800, b"\x01\x01")
CLASS = (0x0002, ECHO.encode() + b"\0")
ECHO_RQ = m.CEchoRQ(message_id=5, affected_sop_class_uid=ECHO)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (command_set(CLASS, FIELD, ID, NONE, group_length=0xFFFFFFFF), ECHO_RQ),
        (command_set(CLASS, FIELD, ID, NONE)[12:], ECHO_RQ),
        (command_set(ID, NONE, FIELD, CLASS), ECHO_RQ),
        (command_set((2, ECHO.encode()), FIELD, ID, NONE), ECHO_RQ),
        (command_set((2, ECHO.encode() + b" "), FIELD, ID, NONE), ECHO_RQ),
        (command_set(CLASS, (1, b"\0\0\0\0"), FIELD, ID, NONE, (0x5110, b"ACR-NEMA")), ECHO_RQ),
        (command_set(CLASS, FIELD, ID, NONE) + struct.pack("<HHL", 8, 0x52, 2) + b"AB", ECHO_RQ),
        (command_set(CLASS, FIELD, ID, NONE, (0x0700, b"\0\0\0")), ECHO_RQ),
        (command_set(FIELD, ID, NONE), m.CEchoRQ(message_id=5, affected_sop_class_uid="")),
        (command_set((2, b""), FIELD, ID, NONE), m.CEchoRQ(message_id=5, affected_sop_class_uid="")),
        (
            command_set((2, b"1" * 300), FIELD, ID, (0x0800, b"\0\0")),
            m.CEchoRQ(message_id=5, affected_sop_class_uid="1" * 300, has_data_set=True),
        ),
        (
            command_set((0x0100, b"\x21\0"), ID, (0x0800, b"\x02\x01")),
            m.CMoveRQ(message_id=5, affected_sop_class_uid="", move_destination="", has_data_set=True),
        ),
        (
            command_set((0x0100, b"\x30\x01"), ID, NONE, (0x1008, b"")),
            m.NActionRQ(message_id=5, requested_sop_class_uid="", requested_sop_instance_uid=""),
        ),
        (
            command_set((0x0100, b"\x55\x00"), ID, NONE, (3, b"1.2\0")),
            m.UnknownRequest(command_field=0x55, message_id=5, requested_sop_class_uid="1.2"),
        ),
        (
            command_set((0x0100, b"\x30\x80"), (0x0120, b"\5\0"), NONE, (0x0900, b"\0\xc0"), (0x0902, b"\xfcber\0")),
            m.CEchoRSP(message_id_being_responded_to=5, status=0xC000, error_comment="über"),
        ),
    ],
    ids=[
        "wrong group length",
        "no group length",
        "tags descend",
        "odd length",
        "padded with a space",
        "unknown elements",
        "another group",
        "bad length where nobody looks",
        "no SOP class",
        "empty SOP class",
        "long UID and data set type 0000",
        "no destination and data set type 0102",
        "no action type",
        "unknown request",
        "comment in Latin-1",
    ],
)
def test_lenient(data: bytes, message: m.Message) -> None:
    assert decode(data) == message


@pytest.mark.parametrize(
    ("data", "words", "reason"),
    [
        (b"", "CommandField .* missing", 6),
        (command_set(CLASS, ID, NONE), "CommandField .* missing", 6),
        (command_set((0x0100, b""), ID, NONE), "CommandField .* missing", 6),
        (command_set((0x0100, b"\x30\0\0\0"), ID, NONE), "CommandField .* of 4 bytes", 6),
        (command_set(CLASS, FIELD, NONE), r"MessageID \(0000,0110\) is missing", 6),
        (command_set(CLASS, FIELD, (0x0110, b""), NONE), "MessageID .* missing", 6),
        (command_set(CLASS, FIELD, (0x0110, b"\1"), NONE), "MessageID .* of 1 bytes", 6),
        (command_set(CLASS, FIELD, ID), "CommandDataSetType .* missing", 6),
        (command_set((0x0100, b"\x30\x80"), NONE, (0x0900, b"\0\0")), "MessageIDBeingRespondedTo .* missing", 6),
        (command_set((0x0100, b"\x30\x80"), (0x0120, b"\1\0"), NONE), "Status .* missing", 6),
        (command_set((0x0100, b"\xff\x0f"), ID, NONE), "MessageIDBeingRespondedTo .* missing", 6),
        (command_set((0x0100, b"\x55\x00"), NONE), "MessageID .* missing", 6),
        (command_set((0x0100, b"\x55\x80"), (0x0120, b"\1\0"), NONE, (0x0900, b"\0\0")), "8055", 2),
        (command_set((0x0100, b"\x10\x01"), ID, NONE, (0x1005, b"\0\0\0")), "AttributeIdentifierList .* of 3", 6),
        (command_set(FIELD, ID, NONE, ID), "offset 42 comes twice", 6),
        (command_set(CLASS, FIELD, ID, NONE)[:-1], "cut off", 6),
        (command_set(CLASS, FIELD, ID, NONE) + b"\0" * 7, "cut off", 6),
        (command_set(CLASS, FIELD, ID, NONE) + struct.pack("<HHL", 0, 0x5000, 0xFFFFFFFF), "cut off", 6),
    ],
)
def test_refused(data: bytes, words: str, reason: int) -> None:
    with pytest.raises(CommandDecodeError, match=words) as caught:
        decode(data)
    assert caught.value.reason == reason


def message_or_error(data: bytes) -> m.Message | CommandDecodeError:
    try:
        outcome: m.Message | CommandDecodeError = decode(data)
    except CommandDecodeError as error:
        outcome = error
    assert str(outcome).isprintable()
    return outcome


@given(st.binary(max_size=200))
def test_any_bytes_give_a_message_or_an_error(data: bytes) -> None:
    message_or_error(data)


@given(st.lists(st.tuples(st.sampled_from([e.tag for e in ELEMENTS]), st.binary(max_size=6)), max_size=12))
def test_any_elements_give_a_message_or_an_error(elements: list[tuple[int, bytes]]) -> None:
    message_or_error(command_set(FIELD, ID, NONE, *elements))
    message_or_error(command_set(*elements))


ALL_CAPTURED = sorted({data for capture in CAPTURES for data in command_sets(capture)})


@given(st.data())
def test_mutated_captures_give_a_message_or_an_error(data: st.DataObject) -> None:
    """What decodes can be answered: its response, if it wants one, encodes and decodes."""
    mutated = bytearray(data.draw(st.sampled_from(ALL_CAPTURED)))
    for _ in range(data.draw(st.integers(1, 4))):
        mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.just(len(mutated)) | st.integers(0, len(mutated)))
    message = message_or_error(bytes(mutated[:cut]))
    if isinstance(message, m.Request):
        answer = message.response(0x0122, error_comment="no")
        if not isinstance(message, m.UnknownRequest):
            assert decode(encode(answer)) == answer
        else:
            encode(answer)
