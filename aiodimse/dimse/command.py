"""Encodes messages as command sets, and decodes them (PS3.7 6.3.1): Implicit VR Little Endian, group length first, tags
ascending, even lengths.

Both directions use one layout for each message class, made from the fields of the class and the rows of `elements.py`.
Decoding any bytes gives a message or raises CommandDecodeError, whose text names elements and never values. It
tolerates a wrong order, group length or padding, text that is too long, and unknown elements, since nothing depends on
them.
"""

import dataclasses
from collections.abc import Callable, MutableSequence
from struct import Struct
from struct import error as StructError
from typing import Any, NamedTuple, Self

from aiodimse.dimse.elements import BY_FIELD, DATA_SET, NO_DATA_SET, Element
from aiodimse.dimse.messages import MESSAGES, RESPONSE_BIT, Message, Priority, UnknownRequest, UnknownResponse
from aiodimse.errors import CommandDecodeError, LocalProtocolError
from aiodimse.standard import leniency
from aiodimse.standard.leniency import Tolerated
from aiodimse.standard.values import is_ae_title, trimmed_ae_title

# The tag is two little endian shorts, group and element. Read as one little endian long, the element is the upper half.
_HEADER = Struct("<LL")
_NUMBER_ELEMENT = Struct("<LLH")
_GROUP_LENGTH = Struct("<HHLL")
_NUMBER = Struct("<H")
_TAG = Struct("<HH")

_HIGHEST_PRIORITY = max(Priority)
_MAX_ERROR_COMMENT = 64  # The longest LO value in characters (PS3.5 6.2), which here are bytes.
# Without Specific Character Set there is only ISO 646 (PS3.5 6.1.2.1), and a backslash would separate two values.
_COMMENT_BYTES = bytes(0x2F if byte == 0x5C else byte if 0x20 <= byte < 0x7F else 0x20 for byte in range(256))


# --- one layout for each message class --------------------------------------------------------------------------------


class _Row(NamedTuple):
    key: int  # the tag as _HEADER reads it
    field: str
    vr: str
    required: bool  # its field has no default
    element: Element

    @classmethod
    def of(cls, field: str, required: bool) -> Self:
        element = BY_FIELD[field]
        return cls(element.tag << 16, field, element.vr, required, element)


_COMMAND_FIELD = _Row.of("command_field", True)
_DATA_SET_TYPE = _Row.of("has_data_set", True)
_AE_TITLES = tuple(_Row.of(element.field, False) for element in BY_FIELD.values() if element.vr == "AE")


def _layout(message_class: type[Message]) -> tuple[_Row, ...]:
    """Return the fields of a message class in the order of their tags. Command Field is left out if it is constant, and
    so is Command Data Set Type."""
    rows = [
        _Row.of(field.name, field.default is dataclasses.MISSING)
        for field in dataclasses.fields(message_class)
        if field.name != "has_data_set"
    ]
    return tuple(sorted(rows))


_LAYOUTS = {each: _layout(each) for each in (*MESSAGES.values(), UnknownRequest, UnknownResponse)}


def fields_of(message_class: type[Message]) -> tuple[str, ...]:
    """Return the names of the fields that vary in messages of a class."""
    return (*(row.field for row in _LAYOUTS[message_class]), _DATA_SET_TYPE.field)


# --- encoding ---------------------------------------------------------------------------------------------------------


def _write_number(key: int, value: int) -> bytes:
    return _NUMBER_ELEMENT.pack(key, 2, value)


def _write_data_set_type(key: int, has_data_set: bool) -> bytes:
    return _NUMBER_ELEMENT.pack(key, 2, DATA_SET if has_data_set else NO_DATA_SET)


def padded_uid(value: str) -> bytes:
    """Encode a UID. It is not checked: a response repeats the UIDs of its request, whatever they are."""
    data = value.encode("latin-1")
    return data + b"\0" if len(data) & 1 else data


def _write_uid(key: int, value: str) -> bytes:
    data = padded_uid(value)
    return _HEADER.pack(key, len(data)) + data


def _write_ae_title(key: int, value: str) -> bytes:
    value = value.strip(" ")
    if value and not is_ae_title(value):
        raise ValueError("not an AE title (PS3.5 6.2)")
    data = value.encode("ascii")
    if len(data) & 1:
        data += b" "
    return _HEADER.pack(key, len(data)) + data


def _write_comment(key: int, value: str) -> bytes:
    # The comment is often the text of an exception: characters that LO does not allow are replaced, and are no error.
    data = value.encode("ascii", "replace").translate(_COMMENT_BYTES).strip(b" ")[:_MAX_ERROR_COMMENT]
    if len(data) & 1:
        data += b" "
    return _HEADER.pack(key, len(data)) + data


def _write_tags(key: int, tags: tuple[int, ...]) -> bytes:
    data = b"".join([_TAG.pack(tag >> 16, tag & 0xFFFF) for tag in tags])
    return _HEADER.pack(key, len(data)) + data


_WRITERS: dict[str, Callable[[int, Any], bytes]] = {
    "US": _write_number,
    "UI": _write_uid,
    "AE": _write_ae_title,
    "LO": _write_comment,
    "AT": _write_tags,
}


class _Step(NamedTuple):
    write: Callable[[int, Any], bytes]
    key: int
    field: str
    write_empty: bool  # 0 is a number like others, and what is required is there even when empty
    required: bool


def _steps(message_class: type[Message]) -> tuple[_Step, ...]:
    """Return the layout in the form that `encode` uses, with the two elements that `_layout` leaves out."""
    rows = sorted({*_LAYOUTS[message_class], _COMMAND_FIELD, _DATA_SET_TYPE})
    return tuple(
        _Step(
            _write_data_set_type if row is _DATA_SET_TYPE else _WRITERS[row.vr],
            row.key,
            row.field,
            row.required or row.vr == "US",
            row.required,
        )
        for row in rows
    )


_STEPS = {each: _steps(each) for each in _LAYOUTS}


def encode(message: Message) -> bytes:
    """Encode the command set of a message. An optional text or list that is empty is left out, as None is.

    Raises:
        LocalProtocolError: A value does not fit in its element. An Error Comment is shortened instead.
    """
    parts: list[bytes] = []
    field = ""
    try:
        for write, key, field, write_empty, required in _STEPS[message.__class__]:
            value = getattr(message, field)
            if value or (write_empty and value is not None):
                parts.append(write(key, value))
            elif required:
                raise TypeError("missing")
    except (StructError, TypeError, ValueError, AttributeError) as error:
        raise LocalProtocolError(f"{message.name}: {field} cannot be encoded: {error}") from None
    body = b"".join(parts)
    return _GROUP_LENGTH.pack(0, 0, 4, len(body)) + body


# --- decoding ---------------------------------------------------------------------------------------------------------


def decode(data: bytes | memoryview) -> Message:
    """Decode a command set, without any of the leniencies of `standard/leniency.py`.

    An element that is absent or empty has the default of its field. A required text is then "", so that the request can
    be answered.

    Raises:
        CommandDecodeError: The elements do not fill the bytes exactly; one comes twice; one that the message has is not
            of the length of its VR; or Command Field, Command Data Set Type, the message ID or Status is missing. The
            reason is 2 (unexpected PDU) for a response of an unknown kind, which answers no request of ours.
    """
    message_class, fields = decode_fields(data)
    return message_class(**fields)


def decode_fields(
    data: bytes | memoryview, tolerated: MutableSequence[Any] | None = None
) -> tuple[type[Message], dict[str, Any]]:
    """Decode a command set into the class of its message and the fields.

    Args:
        data: The command set.
        tolerated: Gets a `Tolerated` for each leniency that is used; None: none may be used.

    Raises:
        CommandDecodeError: As `decode`.
    """
    data = data if data.__class__ is bytes else bytes(data)
    raw, second = _scan(data)
    command_field = _required_number(raw, _COMMAND_FIELD, tolerated)
    # An element that comes twice, or with several values, is tolerated only in responses: a request would be acted on.
    in_response = tolerated if command_field & RESPONSE_BIT else None
    if second is not None:
        if in_response is None:
            raise CommandDecodeError(f"the element at offset {second} comes twice")
        in_response.append(Tolerated(leniency.ELEMENT_TWICE, f"the one at offset {second}"))
    message_class = MESSAGES.get(command_field)
    if message_class is None:
        if command_field & RESPONSE_BIT:
            raise CommandDecodeError(f"a response with the unknown Command Field {command_field:04X}", reason=2)
        message_class = UnknownRequest
    fields: dict[str, Any] = {"has_data_set": _required_number(raw, _DATA_SET_TYPE, in_response) != NO_DATA_SET}
    several_values = in_response is not None and b"\\" in data
    for row in _LAYOUTS[message_class]:
        key, field, vr, required, _ = row
        if value := raw.get(key):
            if vr == "US":
                if len(value) != 2:
                    value = _one_value(row, value, in_response)
                (fields[field],) = _NUMBER.unpack(value)
            elif vr == "AT":
                if len(value) % 4:
                    raise _bad_length(row, value)
                fields[field] = tuple([group << 16 | element for group, element in _TAG.iter_unpack(value)])
            else:
                text = text_of(value)
                if several_values and vr == "UI" and "\\" in text:
                    tolerated.append(Tolerated(leniency.MORE_VALUES, _name(row)))  # type: ignore[union-attr]
                    text = text.partition("\\")[0].rstrip("\0 ")
                fields[field] = text
        elif required:
            if vr == "US":
                raise _missing(row)
            fields[field] = ""
    if tolerated is not None and in_response is None:
        _tolerate_in_request(fields, tolerated)
    return message_class, fields


def text_of(value: bytes) -> str:
    """Decode a text, of which nothing is checked: Latin-1 decodes any byte.

    PS3.5 6.2 pads UI with NUL and other texts with spaces; peers confuse the two.
    """
    return str(value.strip(b"\0 "), "latin-1")


def _tolerate_in_request(fields: dict[str, Any], tolerated: MutableSequence[Any]) -> None:
    """Tolerate an undefined priority, and bytes after a NUL in the one AE title that a request may have."""
    if fields.get("priority", 0) > _HIGHEST_PRIORITY:
        tolerated.append(Tolerated(leniency.PRIORITY, f"{fields['priority']}"))
        fields["priority"] = int(Priority.MEDIUM)
    for row in _AE_TITLES:
        if row.field in fields and "\0" in fields[row.field]:
            tolerated.append(Tolerated(leniency.AE_TITLE_AFTER_NUL, _name(row)))
            fields[row.field] = trimmed_ae_title(fields[row.field])


def _scan(data: bytes) -> tuple[dict[int, bytes], int | None]:
    """Return the values of all elements by tag (as `_Row.key`), and the offset of the first element that repeats
    another.

    The repetition is left out. Each value lies within the data.
    """
    elements: dict[int, bytes] = {}
    second: int | None = None
    offset, end = 0, len(data)
    read_header = _HEADER.unpack_from
    try:
        while offset < end:
            key, length = read_header(data, offset)
            start = offset + 8
            offset = start + length
            if offset > end:
                raise CommandDecodeError(f"the element at offset {start - 8} is cut off")
            if key not in elements:
                elements[key] = data[start:offset]
            elif second is None:
                second = start - 8
    except StructError:
        raise CommandDecodeError(f"the element at offset {offset} is cut off") from None
    return elements, second


def _required_number(raw: dict[int, bytes], row: _Row, tolerated: MutableSequence[Any] | None) -> int:
    value = raw.get(row.key)
    if not value:
        raise _missing(row)
    if len(value) != 2:
        if row is _COMMAND_FIELD and not value[1:2] >= b"\x80":  # no response
            raise _bad_length(row, value)
        value = _one_value(row, value, tolerated)
    return value[0] | value[1] << 8


def _one_value(row: _Row, value: bytes, tolerated: MutableSequence[Any] | None) -> bytes:
    """Return the first value of a US element that has several, if that is tolerated."""
    if tolerated is None or len(value) % 2:
        raise _bad_length(row, value)
    tolerated.append(Tolerated(leniency.MORE_VALUES, f"{_name(row)} of {len(value)} bytes"))
    return value[:2]


def _name(row: _Row) -> str:
    return f"{row.element.keyword} ({row.element.tag >> 16:04X},{row.element.tag & 0xFFFF:04X})"


def _missing(row: _Row) -> CommandDecodeError:
    return CommandDecodeError(f"{_name(row)} is missing")


def _bad_length(row: _Row, value: bytes) -> CommandDecodeError:
    return CommandDecodeError(f"{_name(row)} of {len(value)} bytes is no {row.vr}")
