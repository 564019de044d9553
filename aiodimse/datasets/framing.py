"""Checks whether the data set in a file is complete: each element is inside what encloses it, the last ends the file.

walk.py proves the same for bytes in memory, down to every nested element. This module steps from one element to the
next in a file of any size. It does not look inside values of defined length, and has only a window of the file in
memory.
"""

from __future__ import annotations

import zlib
from typing import BinaryIO, Final, Literal, TypeAlias

from aiodimse.datasets.element_headers import (
    ITEM,
    ITEM_DELIMITATION,
    LONG_VRS,
    SEQUENCE_DELIMITATION,
    SHORT_VRS,
    UNDEFINED_LENGTH,
)
from aiodimse.datasets.walk import known_syntax
from aiodimse.errors import DatasetDecodeError

_WINDOW: Final = 1 << 16
MAX_STEPS: Final = 1 << 20
"""The number of elements, items and fragments that are checked, which takes about a second. A file with more is not
known to be complete."""
_MAX_DEPTH: Final = 64
_MAX_INFLATED: Final = 1 << 30
_ALWAYS_INFLATED: Final = 1 << 26
_INFLATED_RATIO: Final = 32
"""A deflated data set is inflated up to so many times its size, but at least to 64 MiB, which takes 0.2 s. Pixels
deflate to a third; a mebibyte of a hostile peer inflates to a gibibyte."""


class _NotKnown(DatasetDecodeError):
    """Finding out would take too much work."""


def is_whole(
    file: BinaryIO,
    offset: int,
    size: int,
    transfer_syntax: str,
    *,
    max_steps: int = MAX_STEPS,
    if_unknown: bool = False,
) -> bool:
    """Return whether a data set is consistent to its end.

    Args:
        file: An open file. Its position is changed.
        offset: Where the data set begins.
        size: The size of the data set in bytes.
        transfer_syntax: The UID of its transfer syntax.
        max_steps: How many elements, items and fragments may be checked.
        if_unknown: What is returned if it would take more steps, or too much inflating, to find out.

    Returns:
        True if the last element ends exactly at the end. False if it does not, and for a private transfer syntax.

    Raises:
        OSError: The file cannot be read.
    """
    try:
        row = known_syntax(transfer_syntax)
        if row.deflated:
            return _inflates(file, offset, size)
        _Hops(file, offset, size, row.implicit, row.little_endian).to_the_end(max_steps)
    except _NotKnown:
        return if_unknown
    except DatasetDecodeError:
        return False
    return True


def _inflates(file: BinaryIO, offset: int, size: int) -> bool:
    """Return whether a deflated data set (PS3.5 A.5) ends properly. Its content is not checked."""
    inflater, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
    most = min(_MAX_INFLATED, max(_ALWAYS_INFLATED, _INFLATED_RATIO * size))
    file.seek(offset)
    try:
        while size and not inflater.eof:
            data = file.read(min(_WINDOW, size))
            if not data:
                return False
            size -= len(data)
            while data and not inflater.eof:
                total += len(inflater.decompress(data, 1 << 20))
                if total > most:
                    raise _NotKnown("it inflates to too much")
                data = inflater.unconsumed_tail
    except zlib.error:
        return False
    return inflater.eof


_Order: TypeAlias = Literal["little", "big"]


class _Hops:
    """One pass over the elements of a data set in a file."""

    def __init__(self, file: BinaryIO, offset: int, size: int, implicit: bool, little_endian: bool) -> None:
        self._file, self._offset, self._size = file, offset, size
        self._implicit = implicit
        self._order: _Order = "little" if little_endian else "big"
        self._window, self._at = b"", 0
        """The bytes of the file that are in memory, and their offset in the data set."""

    def to_the_end(self, max_steps: int) -> None:
        """Go from element to element to the end. Raise DatasetDecodeError if the lengths are not consistent."""
        pos, steps = 0, 0
        # What encloses the current element, if of undefined length: whether it is a sequence, whether what surrounds it
        # is in Implicit VR, and the byte order there.
        inside: list[tuple[bool, bool, _Order]] = []
        implicit = self._implicit
        while pos < self._size or inside:
            steps += 1
            if steps > max_steps or len(inside) > 2 * _MAX_DEPTH:
                raise _NotKnown("more elements than are looked at", offset=pos)
            if not inside and self._is_padding(pos):
                return
            tag = self._number(pos, 2) << 16 | self._number(pos + 2, 2)
            if inside and tag == (SEQUENCE_DELIMITATION if inside[-1][0] else ITEM_DELIMITATION):
                _, implicit, self._order = inside.pop()
                pos += 8
            elif inside and inside[-1][0]:
                if tag != ITEM:
                    raise DatasetDecodeError("no item where one must be", offset=pos)
                pos, is_open = self._behind(pos + 8, self._number(pos + 4, 4))
                if is_open:
                    inside.append((False, implicit, self._order))
            else:
                vr, start, length = self._head(pos, implicit)
                pos, is_open = self._behind(start, length)
                if is_open:
                    inside.append((True, implicit, self._order))
                    if vr == "UN":  # PS3.5 6.2.2: its content is in Implicit VR Little Endian
                        implicit, self._order = True, "little"
        if pos != self._size:
            raise DatasetDecodeError("the data set is cut off", offset=pos)

    def _is_padding(self, pos: int) -> bool:
        """Return whether only NULs follow. Some writers fill a block with them, or make an odd length even."""
        left = self._size - pos
        return left < _WINDOW and not any(self._bytes(pos, min(left, 8))) and not any(self._bytes(pos, left))

    def _head(self, pos: int, implicit: bool) -> tuple[str | None, int, int]:
        """Return the VR of the current element, the offset of its value, and its length."""
        if implicit:
            return None, pos + 8, self._number(pos + 4, 4)
        code = self._bytes(pos + 4, 2)
        if (vr := SHORT_VRS.get(code)) is not None:
            return vr, pos + 8, self._number(pos + 6, 2)
        if (vr := LONG_VRS.get(code)) is None:
            raise DatasetDecodeError("an unknown VR", offset=pos)
        return vr, pos + 12, self._number(pos + 8, 4)

    def _behind(self, start: int, length: int) -> tuple[int, bool]:
        """Return the offset of what comes next: after the value, or inside it if its length is undefined."""
        if length == UNDEFINED_LENGTH:
            return start, True
        if length > self._size - start:
            raise DatasetDecodeError("a value goes past the end", offset=start)
        return start + length, False

    def _number(self, pos: int, size: int) -> int:
        return int.from_bytes(self._bytes(pos, size), self._order)

    def _bytes(self, pos: int, size: int) -> bytes:
        if pos + size > self._size:
            raise DatasetDecodeError("the data set is cut off", offset=pos)
        start = pos - self._at
        if start < 0 or start + size > len(self._window):
            self._file.seek(self._offset + pos)
            self._window = self._file.read(min(_WINDOW, self._size - pos))
            self._at, start = pos, 0
            if len(self._window) < size:
                raise DatasetDecodeError("the file is cut off", offset=pos)
        return self._window[start : start + size]
