"""Decodes encoded values to text, and remembers short ones."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import repeat

from aiodimse import charsets

from .budget import cost_of

TEXT = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
"""VRs whose text is encoded in the Specific Character Set (PS3.5 6.1.2.3)."""
ASCII = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI", "UR"})
"""VRs with text of the default repertoire."""
_UNSPLIT = frozenset({"LT", "ST", "UR", "UT"})
"""VRs in which a backslash is part of the text."""
BINARY = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "UV": "Q", "SV": "q"}
"""VRs with binary numbers, and how `struct` calls these."""
_LONGEST = 65534
"""The longest value that is read, in bytes. A longer one does not fit its VR (PS3.5 6.2), unless it is a list of UIDs
in a key."""

_SHORT = 64
"""The longest value in bytes that is remembered: a UID (PS3.5 9.1)."""


def text_of(data: bytes, vr: str, charset: charsets.CharacterSet, order: str) -> tuple[str, ...]:
    """Return the text of a value.

    Args:
        data: The encoded value.
        vr: The VR of the dictionary.
        charset: How its text is encoded.
        order: "<" for Little Endian, ">" for Big Endian.

    Returns:
        Its values, without padding; () if it is empty, longer than fits its VR, or of a VR that has no text.
    """
    return _remembered(data, vr, charset, order)[0] if len(data) <= _SHORT else _decoded(data, vr, charset, order)


def texts_and_costs(
    encoded: Sequence[bytes], vrs: Iterable[str], charset: charsets.CharacterSet, order: str
) -> list[tuple[tuple[str, ...], float]]:
    """Return the text of each value, and what it costs. See `text_of`."""
    decode = _remembered if max(map(len, encoded), default=0) <= _SHORT else _text_and_cost
    return list(map(decode, encoded, vrs, repeat(charset), repeat(order)))


def _decoded(data: bytes, vr: str, charset: charsets.CharacterSet, order: str) -> tuple[str, ...]:
    if len(data) > _LONGEST and vr != "UI":
        return ()
    if vr in TEXT:
        text = charset.decode(data, vr)
    elif vr in ASCII:
        text = data.decode("latin_1")
    elif vr in BINARY:
        size = struct.calcsize(BINARY[vr])
        numbers = struct.unpack(f"{order}{len(data) // size}{BINARY[vr]}", data[: len(data) // size * size])
        return tuple(str(number) for number in numbers)
    elif vr == "AT":
        halves = struct.unpack(f"{order}{len(data) // 4 * 2}H", data[: len(data) // 4 * 4])
        return tuple(f"{a:04X}{b:04X}" for a, b in zip(halves[::2], halves[1::2], strict=True))
    else:
        return ()
    return split(text, vr)


def _text_and_cost(data: bytes, vr: str, charset: charsets.CharacterSet, order: str) -> tuple[tuple[str, ...], float]:
    if len(data) <= _SHORT:
        return _remembered(data, vr, charset, order)
    value = _decoded(data, vr, charset, order)
    return value, cost_of(vr, value)


@lru_cache(maxsize=8192)
def _remembered(data: bytes, vr: str, charset: charsets.CharacterSet, order: str) -> tuple[tuple[str, ...], float]:
    """Return the text and the cost of a value that comes again and again, and the same strings each time.

    A folder has "ORIGINAL", or the UID of one SOP class, a hundred thousand times, and the objects of a series have
    most of what is kept of them in common. sys.intern is not used, since Python 3.12.0 to 3.12.5 never frees interned
    strings, and peers send these texts.
    """
    value = _decoded(data, vr, charset, order)
    return value, cost_of(vr, value)


def split(text: str, vr: str) -> tuple[str, ...]:
    """Split a text into its values, and remove padding and insignificant spaces (PS3.5 6.2)."""
    if vr in _UNSPLIT:
        text = text.rstrip("\0 ")
        return (text,) if text else ()
    if "\\" not in text:
        text = text.strip("\0 ")
        return (text,) if text else ()
    values = tuple(value.strip("\0 ") for value in text.split("\\"))
    return values if any(values) else ()
