"""The codec that knows command sets again against its slow twin, which looks at each as if it were the first."""

from __future__ import annotations

import struct

import pytest
from hypotheses import examples
from hypothesis import given
from hypothesis import strategies as st

from aiodimse.dimse import command
from aiodimse.dimse.command_set_cache import Decoder, Encoder
from aiodimse.dimse.messages import (
    CEchoRQ,
    CEchoRSP,
    CFindRQ,
    CFindRSP,
    CGetRSP,
    CStoreRQ,
    CStoreRSP,
    Message,
    NGetRQ,
)
from aiodimse.errors import CommandDecodeError, LocalProtocolError

ids = st.integers(0, 3) | st.integers(0, 0xFFFF)
uids = st.sampled_from(["1.2.840.10008.1.1", "1.2", "1" * 64, "", "1.3"])
bools = st.booleans()
status = st.sampled_from([0, 0xFF00, 0xC000])
comment = st.sampled_from([None, "no", "nö", ""])
offending = st.sampled_from([None, (), (0x00100010,)])
answer = {"message_id_being_responded_to": ids, "affected_sop_class_uid": uids | st.none(), "status": status}
messages = st.one_of(
    st.builds(CEchoRQ, message_id=ids, affected_sop_class_uid=uids, has_data_set=bools),
    st.builds(CFindRQ, message_id=ids, affected_sop_class_uid=uids, priority=st.integers(0, 2)),
    st.builds(CEchoRSP, **answer, error_comment=comment),
    st.builds(CFindRSP, **answer, has_data_set=bools, offending_element=offending, error_comment=comment),
    st.builds(CGetRSP, **answer),
    st.builds(
        CStoreRQ,
        message_id=ids,
        affected_sop_class_uid=uids,
        affected_sop_instance_uid=uids,
        has_data_set=bools,
        move_originator_ae_title=st.sampled_from([None, "MOVE"]),
    ),
    st.builds(CStoreRSP, **answer, affected_sop_instance_uid=uids | st.none(), error_comment=comment),
    st.builds(NGetRQ, message_id=ids, requested_sop_class_uid=uids, requested_sop_instance_uid=uids),
)


def outcome(decode, data: bytes) -> Message | str:
    try:
        return decode(data)
    except CommandDecodeError as error:
        return f"{error} {error.reason}"


def decode_leniently(data: bytes) -> Message:
    message_class, fields = command.decode_fields(data, [])
    return message_class(**fields)


@examples(300)
@given(st.lists(messages, max_size=6), st.data())
def test_what_came_before_changes_nothing(sent: list[Message], data: st.DataObject) -> None:
    encoder, decoder, lenient = Encoder(), Decoder(), Decoder([])
    for message in [each for each in sent for _ in range(2)]:
        encoded = encoder.encode(message)
        assert encoded == command.encode(message)
        assert decoder.decode(memoryview(encoded)) == command.decode(encoded)
        # and with one byte changed, or the end cut off
        at = data.draw(st.integers(0, len(encoded) - 1))
        byte = data.draw(st.sampled_from([b"", b"\0", b"\1", b"\x10", b"\\"]))
        changed = encoded[:at] + byte + encoded[at + 1 :]
        for other in (changed, encoded[:at], encoded + b"\0\0"):
            assert outcome(decoder.decode, other) == outcome(command.decode, other)
            assert outcome(lenient.decode, other) == outcome(decode_leniently, other)


def test_what_is_known_again_is_a_message_of_its_own() -> None:
    decoder = Decoder()
    requests = [CEchoRQ(message_id=number, affected_sop_class_uid="1.2") for number in (1, 2)]
    first, second = (decoder.decode(command.encode(request)) for request in requests)
    assert (first.message_id, second.message_id) == (1, 2)


def element(tag: int, value: bytes) -> bytes:
    return struct.pack("<HHL", 0, tag, len(value)) + value


ELEMENTS = {
    "length": element(0x0000, b"\x38\0\0\0"),
    "uid": element(0x0002, b"1.2\0"),
    "field": element(0x0100, b"\x30\0"),
    "id": element(0x0110, b"\7\0"),
    "type": element(0x0800, b"\1\1"),
    "unknown": element(0x5110, b"\7\0"),
}
ELEMENTS |= {  # what looks like a message ID in the usual place, and is in a value
    "id in a value": element(0x5110, b"\0\0" + ELEMENTS["id"]),
    "all in a value": element(0x5110, b"\4\0\0\0" + ELEMENTS["uid"] + ELEMENTS["field"] + ELEMENTS["id"]),
    "all in a uid": element(0x0002, (ELEMENTS["field"] + ELEMENTS["id"]).ljust(256, b"1")),
}
USUAL = ("length", "uid", "field", "id", "type")


@pytest.mark.parametrize(
    "names",
    [
        USUAL,
        ("length", "type", "field", "id"),
        ("uid", "length", "field", "id", "type"),
        ("length", "uid", "field", "unknown", "id", "type"),
        ("length", "uid", "unknown", "field", "id", "type"),
        ("length", "uid", "id", "field", "type"),
        ("length", "uid", "unknown", "id", "field", "type"),
        ("length", "uid", "id in a value", "field", "id", "type"),
        ("all in a value", "uid", "field", "id", "type"),
        ("length", "all in a uid", "field", "id", "type"),
        ("unknown", "uid", "field", "id", "type"),
    ],
)
def test_a_message_id_is_looked_for_where_it_is_and_nowhere_else(names: tuple[str, ...]) -> None:
    data = b"".join(ELEMENTS[name] for name in names)
    others = [data[:at] + other + data[at + 1 :] for at in range(len(data)) for other in (b"", b"\0", b"\2", b"\xff")]
    others += [data[:at] for at in range(len(data))]
    decoder = Decoder()
    for other in others:
        decoder.decode(data)
        assert outcome(decoder.decode, other) == outcome(command.decode, other)


STORE = {
    "length": element(0x0000, b"\x52\0\0\0"),
    "uid": element(0x0002, b"1.2\0"),
    "field": element(0x0100, b"\1\0"),
    "answer": element(0x0100, b"\1\x80"),
    "id": element(0x0110, b"\7\0"),
    "answered id": element(0x0120, b"\7\0"),
    "priority": element(0x0700, b"\0\0"),
    "type": element(0x0800, b"\1\0"),
    "status": element(0x0900, b"\0\0"),
    "instance": element(0x1000, b"1.23"),
    "short instance": element(0x1000, b"1."),
    "instances": element(0x1000, b"1.2\\3\0"),
    "originator": element(0x1031, b"\7\0"),
}
STORE["instance in a value"] = element(0x5110, b"\0\0" + STORE["instance"])
REQUEST, RESPONSE = ("length", "uid", "field", "id"), ("length", "uid", "answer", "answered id")


@pytest.mark.parametrize(
    "names",
    [
        (*REQUEST, "priority", "type", "instance"),
        (*REQUEST, "type", "instance"),
        (*REQUEST, "priority", "type", "instance", "originator"),
        (*REQUEST, "priority", "type", "instance in a value"),
        (*REQUEST, "type", "originator", "instance"),
        (*RESPONSE, "type", "status", "instance"),
        (*RESPONSE, "status", "type", "instances"),
        (*RESPONSE, "type", "status", "short instance", "instance"),
        (*RESPONSE, "type", "short instance", "instance", "status"),
        ("length", "status", "answer", "answered id", "type", "short instance", "instance"),
    ],
)
def test_the_uid_of_an_instance_is_looked_for_where_it_is_and_nowhere_else(names: tuple[str, ...]) -> None:
    data = b"".join(STORE[name] for name in names)
    others = [data[:at] + other + data[at + 1 :] for at in range(len(data)) for other in (b"", b"\0", b"\\", b"\x10")]
    others += [data[:at] for at in range(len(data))]
    others += [data[:-8] + element(0x1000, uid)[4:] for uid in (b"", b"\0", b"1.234\0", b"1\\2", b"1.2.3.4 ")]
    decoder, lenient = Decoder(), Decoder([])
    for other in others:
        lenient.decode(data)
        assert outcome(lenient.decode, other) == outcome(decode_leniently, other)
        if outcome(decoder.decode, data) == outcome(lenient.decode, data):
            assert outcome(decoder.decode, other) == outcome(command.decode, other)


def test_an_instance_has_its_own_uid_of_its_own_length() -> None:
    encoder, decoder = Encoder(), Decoder()
    for uid in ("1.2", "1.2.3", "1.2", "1" * 64):
        fields = {"affected_sop_class_uid": "1.2", "affected_sop_instance_uid": uid}
        for message in (
            CStoreRQ(message_id=1, **fields),
            CStoreRSP(message_id_being_responded_to=1, status=0, **fields),
        ):
            encoded = encoder.encode(message)
            assert encoded == command.encode(message)
            assert decoder.decode(encoded) == message


@pytest.mark.parametrize("uid", ["", None, "\u0100", 7])
def test_a_uid_that_is_none_is_encoded_as_if_nothing_was_remembered(uid: object) -> None:
    for make in (
        lambda uid: CStoreRQ(message_id=1, affected_sop_class_uid="1.2", affected_sop_instance_uid=uid),
        lambda uid: CStoreRSP(message_id_being_responded_to=1, status=0, affected_sop_instance_uid=uid),
    ):
        encoder, results = Encoder(), []
        encoder.encode(make("1.2.3"))
        for encode in (encoder.encode, command.encode):
            try:
                results.append(encode(make(uid)))
            except LocalProtocolError as error:
                results.append(str(error))
        assert results[0] == results[1]


def test_a_list_that_has_changed_is_encoded_as_it_is() -> None:
    encoder, tags = Encoder(), [0x00100010]
    response = CFindRSP(message_id_being_responded_to=1, affected_sop_class_uid="1.2", status=0, offending_element=tags)
    first = encoder.encode(response)
    tags.append(0x00100020)
    assert encoder.encode(response) == command.encode(response) != first


@pytest.mark.parametrize("message_id", [-1, 0x10000, None, "1"])
def test_a_message_id_that_is_none_is_still_an_error(message_id: object) -> None:
    encoder = Encoder()
    encoder.encode(CEchoRQ(message_id=1, affected_sop_class_uid="1.2"))
    with pytest.raises(LocalProtocolError, match="message_id"):
        encoder.encode(CEchoRQ(message_id=message_id, affected_sop_class_uid="1.2"))
