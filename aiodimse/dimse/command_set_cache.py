"""The codec of `command` for one association, which knows again what came or went before but for its message ID.

Echoes, and the ten thousand pending responses of a C-FIND, are such command sets. What is remembered is one command set
each way, by all its bytes or values, and whatever is not like it goes to `command`: 0.5 us to decode a C-FIND-RSP again
and 3.0 to look through it; 0.35 to encode it again and 1.5.
"""

from __future__ import annotations

from collections.abc import Callable, MutableSequence
from operator import attrgetter
from struct import Struct
from struct import error as StructError
from typing import Any

from aiodimse.dimse import command
from aiodimse.dimse.messages import CEchoRQ, CEchoRSP, CFindRQ, CFindRSP, Message

_NUMBER = Struct("<H")
_REQUEST_ID, _RESPONSE_ID = "message_id", "message_id_being_responded_to"
_REPEATED: dict[type[Message], str] = {
    CEchoRQ: _REQUEST_ID,
    CEchoRSP: _RESPONSE_ID,
    CFindRQ: _REQUEST_ID,
    CFindRSP: _RESPONSE_ID,
}
"""What comes again, and where it has its message ID. The others name instances, or count."""

_VALUES: dict[type[Message], Callable[[Message], tuple[Any, ...]]] = {
    each: attrgetter(*(field for field in command.fields_of(each) if field != name)) for each, name in _REPEATED.items()
}
"""The values of all other fields."""

_GROUP_LENGTH_HEAD, _COMMAND_FIELD_HEAD = b"\0\0\0\0\4\0\0\0", b"\0\0\0\1\2\0\0\0"
_MESSAGE_ID_HEADS = (b"\0\0\x10\1\2\0\0\0", b"\0\0\x20\1\2\0\0\0")


def _message_id_at(data: bytes) -> int | None:
    """Where the message ID is, if the elements before it are the usual: group length, a UID, Command Field."""
    at = data[16] + 38
    if (
        data[:8] == _GROUP_LENGTH_HEAD
        and data[17:20] == b"\0\0\0"
        and data[at - 18 : at - 10] == _COMMAND_FIELD_HEAD
        and data[at - 8 : at] in _MESSAGE_ID_HEADS
    ):
        return at
    return None


class Decoder:
    """`command.decode` for what one peer sends."""

    __slots__ = ("_after", "_at", "_before", "_class", "_fields", "_id_field", "_length", "_tolerated")

    def __init__(self, tolerated: MutableSequence[Any] | None = None) -> None:
        self._tolerated = tolerated
        self._class: type[Message] = Message
        self._fields: dict[str, Any] = {}
        self._id_field = ""
        self._length = -1
        self._at = 0
        self._before = self._after = b""

    def decode(self, data: bytes | memoryview) -> Message:
        """As `command.decode`, with what is tolerated put where the constructor was told."""
        if data.__class__ is not bytes:
            data = bytes(data)
        at = self._at
        if len(data) == self._length and data[:at] == self._before and data[at + 2 :] == self._after:
            fields = self._fields
            fields[self._id_field] = data[at] | data[at + 1] << 8
            return self._class(**fields)
        message_class, fields = command.decode_fields(data, self._tolerated)
        if (id_field := _REPEATED.get(message_class)) and (found := _message_id_at(data)):
            self._class, self._fields, self._id_field = message_class, fields, id_field
            self._length, self._at, self._before, self._after = len(data), found, data[:found], data[found + 2 :]
        return message_class(**fields)


class Encoder:
    """`command.encode` for what one of ours sends."""

    __slots__ = ("_after", "_before", "_class", "_values")

    def __init__(self) -> None:
        self._class: type[Message] = Message
        self._values: tuple[Any, ...] = ()
        self._before = self._after = b""

    def encode(self, message: Message) -> bytes:
        """As `command.encode`."""
        message_class = message.__class__
        id_field = _REPEATED.get(message_class)
        if id_field is None:
            return command.encode(message)
        values = _VALUES[message_class](message)
        if message_class is self._class and values == self._values:
            try:
                return self._before + _NUMBER.pack(getattr(message, id_field)) + self._after
            except StructError:
                return command.encode(message)  # which says what is wrong with it
        data = command.encode(message)
        if (at := _message_id_at(data)) and list not in map(type, values):  # a list may change
            self._class, self._values, self._before, self._after = message_class, values, data[:at], data[at + 2 :]
        return data
