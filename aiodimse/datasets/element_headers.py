"""The header of an element in each encoding (PS3.5 7.1): tag, VR and length; and the VR that the dictionary has."""

from collections.abc import Callable
from functools import lru_cache
from struct import Struct
from typing import Final, NamedTuple, TypeAlias

from pydicom.datadict import dictionary_has_tag, dictionary_VR, masks

from aiodimse.errors import DatasetDecodeError

UNDEFINED_LENGTH: Final = 0xFFFFFFFF
SHORTEST: Final = 8
"""The smallest number of bytes of an element or item (PS3.5 7.1)."""

ITEM: Final = 0xFFFEE000
ITEM_DELIMITATION: Final = 0xFFFEE00D
SEQUENCE_DELIMITATION: Final = 0xFFFEE0DD

_DELIMITERS: Final = 0xFFFE
"""The group of these three tags. They have no VR in any encoding (PS3.5 7.5)."""

# PS3.5 Tables 7.1-1 and 7.1-2: VRs with a length of two bytes, and VRs with two reserved bytes and a length of four. An
# unknown VR is refused: one cannot know where its value ends, and pydicom would guess.
SHORT_VRS: Final = {
    vr.encode(): vr
    for vr in (
        "AE", "AS", "AT", "CS", "DA", "DS", "DT", "FD", "FL", "IS", "LO",
        "LT", "PN", "SH", "SL", "SS", "ST", "TM", "UI", "UL", "US",
    )
}  # fmt: skip
LONG_VRS: Final = {
    vr.encode(): vr for vr in ("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "SV", "UC", "UN", "UR", "UT", "UV")
}

# What a header says about the value.
PLAIN: Final = 0
"""The value has a length, and contains no elements."""
ITEMS: Final = 1
"""The value is a sequence."""
FRAGMENTS: Final = 2
"""The value is encapsulated pixel data (PS3.5 A.4)."""
NO_ELEMENT: Final = 3
"""There is no element: it is an item or a delimiter, or there are eight NULs where a VR must be."""

Header: TypeAlias = tuple[int, str | None, int, int, int]
"""Tag, VR as encoded, length as encoded, offset of the value, and one of the four constants above. The VR is None in
Implicit VR, and if there is no element."""
ReadHeader: TypeAlias = Callable[[bytes | memoryview, int, int], Header]
"""Reads the header at an offset, where at least eight bytes must follow. The third argument is the offset that the
header may not exceed. Raises DatasetDecodeError."""
ReadItemHeader: TypeAlias = Callable[[bytes | memoryview, int], tuple[int, int, int]]
"""Reads group, element and length of an item or a delimiter at an offset."""


class Encoding(NamedTuple):
    """How headers are read. It is looked up once for many elements."""

    read_header: ReadHeader
    read_item_header: ReadItemHeader
    little_endian: bool


def _explicit(order: str) -> ReadHeader:
    read_short, read_length = Struct(order + "HH2sH").unpack_from, Struct(order + "L").unpack_from
    short_vr, long_vr = SHORT_VRS.get, LONG_VRS.get

    def read_header(data: bytes | memoryview, pos: int, bound: int) -> Header:
        group, element, code, length = read_short(data, pos)
        vr, tag = short_vr(code), group << 16 | element
        if vr is not None and group != _DELIMITERS:
            return tag, vr, length, pos + 8, PLAIN
        if group == _DELIMITERS or (tag == 0 and code == b"\0\0"):
            return tag, None, read_length(data, pos + 4)[0], pos + 8, NO_ELEMENT
        vr = long_vr(code)
        if vr is None:
            raise DatasetDecodeError(f"unknown VR of {tag_name(tag)}", offset=pos)
        if bound - pos < 12:
            raise DatasetDecodeError("truncated element header", offset=pos)
        (length,) = read_length(data, pos + 8)
        is_open = length == UNDEFINED_LENGTH
        if vr == "SQ" or (is_open and vr == "UN"):
            return tag, vr, length, pos + 12, ITEMS
        if is_open and vr not in ("OB", "OW"):
            raise _no_sequence(tag, pos)
        return tag, vr, length, pos + 12, FRAGMENTS if is_open else PLAIN

    return read_header


def _implicit(order: str) -> ReadHeader:
    read = Struct(order + "HHL").unpack_from

    def read_header(data: bytes | memoryview, pos: int, bound: int) -> Header:
        group, element, length = read(data, pos)
        tag = group << 16 | element
        if group == _DELIMITERS:
            return tag, None, length, pos + 8, NO_ELEMENT
        known = vr_in_dictionary(tag)
        is_open = length == UNDEFINED_LENGTH
        if is_open and known not in ("SQ", "UN", None):
            raise _no_sequence(tag, pos)
        return tag, None, length, pos + 8, ITEMS if is_open or known == "SQ" else PLAIN

    return read_header


def _encoding(order: str, read_header: ReadHeader) -> Encoding:
    return Encoding(read_header, Struct(order + "HHL").unpack_from, order == "<")


ENCODINGS: Final = {
    (True, True): _encoding("<", _implicit("<")),
    (False, True): _encoding("<", _explicit("<")),
    (True, False): _encoding(">", _implicit(">")),
    (False, False): _encoding(">", _explicit(">")),
}
"""The encodings by (implicit VR, little endian)."""


def _no_sequence(tag: int, pos: int) -> DatasetDecodeError:
    return DatasetDecodeError(f"undefined length of {tag_name(tag)}, which is no sequence", offset=pos)


_REPEATING: Final = [
    (mask, frozenset(value for value, other in masks.values() if other == mask))
    for mask in {mask for _, mask in masks.values()}
]
"""Repeating groups such as (60xx,3000): the mask for a tag, and the values that it may then have."""


@lru_cache(maxsize=8192)
def vr_in_dictionary(tag: int) -> str | None:
    # pydicom takes 8 us to say that it does not know a private tag, and 25 us for any other; a peer can send 130,000.
    """Return the VR of a tag by the dictionary of pydicom; None for a private or unknown one."""
    if not dictionary_has_tag(tag) and not any(tag & mask in values for mask, values in _REPEATING):
        return None
    try:
        return str(dictionary_VR(tag))
    except KeyError:
        return None


def tag_name(tag: int) -> str:
    """Return a tag as text, for example (0010,0020)."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
