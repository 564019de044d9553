"""What the tests of this floor share: messages from hypothesis, and the command sets of the captures."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from aiodimse.dimse.elements import BY_FIELD
from aiodimse.dimse.messages import MESSAGES, RESPONSE_BIT, Message, UnknownRequest, UnknownResponse

CAPTURES = sorted((Path(__file__).parent.parent / "data" / "captures").glob("*.dul"))
MESSAGE_CLASSES = [*MESSAGES.values(), UnknownRequest, UnknownResponse]

_UNKNOWN: dict[type[Message], list[int]] = {
    UnknownRequest: [code for code in range(RESPONSE_BIT) if code not in MESSAGES],
    UnknownResponse: [code for code in range(RESPONSE_BIT, 0x10000) if code not in MESSAGES],
}
_PRINTABLE = [chr(code) for code in range(0x20, 0x7F) if code != 0x5C]


def _text(longest: int) -> st.SearchStrategy[str]:
    return st.text(_PRINTABLE, max_size=longest).map(lambda text: text.strip(" "))


_BY_VR: dict[str, st.SearchStrategy[Any]] = {
    "US": st.integers(0, 0xFFFF),
    "UI": st.text("0123456789.", max_size=64),
    "AE": _text(16),
    "LO": _text(64),
    "AT": st.lists(st.integers(0, 0xFFFFFFFF), max_size=5).map(tuple),
}


def messages_of(message_class: type[Message]) -> st.SearchStrategy[Message]:
    """Messages as decoding makes them: an empty optional text or list is None."""
    fields: dict[str, st.SearchStrategy[Any]] = {}
    for field in dataclasses.fields(message_class):
        element = BY_FIELD[field.name]
        if field.name == "has_data_set":
            fields[field.name] = st.booleans()
        elif field.default is dataclasses.MISSING:
            fields[field.name] = _BY_VR[element.vr]
        elif field.default is None:
            fields[field.name] = st.none() | _BY_VR[element.vr].map(lambda value: None if value in ("", ()) else value)
        else:
            fields[field.name] = _BY_VR[element.vr]
    if message_class in _UNKNOWN:
        fields["command_field"] = st.sampled_from(_UNKNOWN[message_class])
    return st.builds(message_class, **fields)


def messages() -> st.SearchStrategy[Message]:
    return st.sampled_from(MESSAGE_CLASSES).flatmap(messages_of)


def pdvs(capture: Path) -> Iterator[tuple[str, int, int, bytes]]:
    """Direction, context ID, message control header and data of every PDV in a capture (PS3.8 9.3.5)."""
    for line in capture.read_text().splitlines():
        direction, digits = line.split()
        data = bytes.fromhex(digits)
        offset = 6
        while data[0] == 4 and offset < len(data):
            length, context_id, control = struct.unpack_from(">LBB", data, offset)
            yield direction, context_id, control, data[offset + 6 : offset + 4 + length]
            offset += 4 + length


def command_sets(capture: Path) -> list[bytes]:
    """Every command set in a capture; all of them were sent in one fragment."""
    return [data for _, _, control, data in pdvs(capture) if control == 3]
