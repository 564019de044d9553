"""Reads the attributes that the index keeps from an encoded data set, and no more bytes than that needs (PS3.5 7).

pydicom makes an object of every element and item, which takes a millisecond for a small header and 12 s for 100,000
empty items. This reader passes over what is not kept, and limits how much of it there may be.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from struct import Struct
from typing import NamedTuple, TypeAlias

from .dictionary import keyword_and_vr
from .plain_elements import LONG_VRS, SHORT_VRS, Place, PlainElements

MAX_ELEMENTS = 32768
"""The most elements and items of sequences before the last one that is kept. Most headers have a hundred, an ECG with
all its annotations a thousand."""
_CHUNK = 1 << 16
"""How many bytes are read at once."""
_LONGEST = 1 << 20
"""The longest value that is kept, in bytes; a longer one counts as empty."""
_KEPT_DEPTH = 8
"""The deepest nesting of sequences whose items are kept."""
_DEPTH = 64
"""The deepest nesting of sequences that are passed over."""

_UNDEFINED = 0xFFFFFFFF
_ITEM, _END_OF_ITEM, _END_OF_SEQUENCE = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD

_OPEN = frozenset((b"", b"OB", b"OW", b"SQ", b"UN"))
"""VRs whose length may be undefined."""

More: TypeAlias = Callable[[int, int], bytes]
"""Returns up to that many bytes from a position of the data set."""


class Unreadable(ValueError):
    """The data set cannot be read any further: it is cut off, or damaged."""


class TooMuch(ValueError):
    """There are too many elements, items or nested sequences before the last element that is kept."""


class Encoding(NamedTuple):
    """How elements are encoded."""

    implicit: bool
    little_endian: bool


_PLAIN = Encoding(implicit=False, little_endian=True)
"""The encoding of `PlainElements`."""
_IN_UNKNOWN = Encoding(implicit=True, little_endian=True)
"""The encoding of a sequence in a value of VR UN (PS3.5 6.2.2)."""


class Elements:
    """The kept elements of a data set or of an item, encoded; of a sequence, its items.

    Args:
        little_endian: The byte order of the values.
    """

    __slots__ = ("little_endian", "values")

    def __init__(self, little_endian: bool) -> None:
        self.little_endian: bool = little_endian
        self.values: dict[int, bytes | tuple[Elements, ...]] = {}


class Reading:
    """Reads one data set from its first byte.

    Args:
        data: The first bytes of the data set.
        encoding: How it is encoded.
        more: Returns bytes after them; None if there are none.
    """

    def __init__(self, data: bytes, encoding: Encoding, more: More | None = None) -> None:
        self._data, self._base, self._more = data, 0, more
        self._encoding = encoding
        self._left = MAX_ELEMENTS
        self.elements: Elements = Elements(encoding.little_endian)
        """The elements kept so far."""
        self.reached: int = 0
        """The highest tag of the data set whose element was read to its end."""
        self.disordered: set[int] = set()
        """Tags that came twice, or after a higher one (PS3.5 7.1)."""

    def read(
        self, wanted: Collection[int], is_behind: Callable[[int], bool], plain: PlainElements | None = None
    ) -> None:
        """Read the data set.

        Args:
            wanted: The tags of the elements to keep.
            is_behind: Whether no wanted tag follows this tag.
            plain: Reads the plain elements that have these tags, faster; None: they are read as all others.

        Raises:
            Unreadable: The data set cannot be read; `elements` has what came before.
            TooMuch: It has too many elements.
        """
        pos = 0
        if self._encoding != _PLAIN:
            plain = None
        while (at := self._at(pos, 8)) >= 0:
            if plain is not None:
                place = plain.read(self._data, Place(at, self.reached, self._left), self.elements.values)
                pos += place.at - at
                self.reached, self._left = place.reached, place.left
                if (at := self._at(pos, 8)) < 0:
                    break
            tag, vr, length, start = self._element(pos, at, self._encoding)
            if is_behind(tag):
                self.reached = max(self.reached, tag)
                return
            if tag == 0 and length == 0:
                return  # NULs that fill up a disk block
            if tag >> 16 == 0xFFFE:
                raise Unreadable("a delimiter outside of a sequence")
            if tag in wanted:
                self.elements.values[tag], pos = self._kept(tag, vr, length, start, self._encoding, 0)
            else:
                pos = self._passed(vr, length, start, self._encoding, 0)
            if tag > self.reached:
                self.reached = tag
            else:
                self.disordered.add(tag)
        if pos != self._base + len(self._data):
            raise Unreadable("an element is cut off")

    # --- bytes --------------------------------------------------------------------------------------------------------

    def _at(self, pos: int, size: int) -> int:
        """Return where in the data that many bytes of a position are; -1 if there are fewer. It cannot go back."""
        at = pos - self._base
        if at + size <= len(self._data):
            return at
        if self._more is not None:
            self._data, self._base = self._more(pos, max(size, _CHUNK)), pos
            if size <= len(self._data):
                return 0
        return -1

    def _bytes(self, pos: int, size: int) -> bytes:
        at = self._at(pos, size)
        if at < 0:
            raise Unreadable("a value is cut off")
        return self._data[at : at + size]

    def _behind(self, start: int, length: int) -> int:
        """Return the position after a value, which has to be complete."""
        stop = start + length
        if stop - self._base > len(self._data) and self._at(stop - 1, 1) < 0:
            raise Unreadable("a value is cut off")
        return stop

    # --- elements -----------------------------------------------------------------------------------------------------

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise TooMuch("too many elements and items before the last that is kept")

    def _element(self, pos: int, at: int, encoding: Encoding) -> tuple[int, bytes, int, int]:
        """Return tag, VR and length of an element or item, and where its value begins; without a VR, b""."""
        self._count()
        head, short, long = _LITTLE if encoding.little_endian else _BIG
        group, element, length = head(self._data, at)
        tag = group << 16 | element
        if encoding.implicit or group == 0xFFFE:
            return tag, b"", length, pos + 8
        vr = self._data[at + 4 : at + 6]
        if vr in SHORT_VRS:
            return tag, vr, short(self._data, at + 6)[0], pos + 8
        if vr not in LONG_VRS:
            raise Unreadable("a VR that does not exist")
        return tag, vr, long(self._bytes(pos + 8, 4), 0)[0], pos + 12

    def _kept(
        self, tag: int, vr: bytes, length: int, start: int, encoding: Encoding, depth: int
    ) -> tuple[bytes | tuple[Elements, ...], int]:
        """Return the value of an element, and where the next one begins."""
        known = keyword_and_vr(tag)
        is_sequence = known is not None and known[1] == "SQ" and vr in _OPEN and depth < _KEPT_DEPTH
        if not is_sequence and length == _UNDEFINED:
            return b"", self._passed(vr, length, start, encoding, depth)
        if length == _UNDEFINED:
            items: list[Elements] = []
            stop = self._sequence(start, None, _inside(vr, encoding), depth, items)
            return tuple(items), stop
        if length > _LONGEST:
            return b"", self._behind(start, length)
        value = self._bytes(start, length)
        return self._items_of(value, _inside(vr, encoding), depth) if is_sequence else value, start + length

    def _passed(self, vr: bytes, length: int, start: int, encoding: Encoding, depth: int) -> int:
        """Return where the next element begins."""
        if length != _UNDEFINED:
            return self._behind(start, length)
        if vr not in _OPEN:
            raise Unreadable("a value of undefined length that is no sequence")
        return self._sequence(start, None, _inside(vr, encoding), depth, None)

    # --- sequences ----------------------------------------------------------------------------------------------------

    def _items_of(self, value: bytes, encoding: Encoding, depth: int) -> tuple[Elements, ...]:
        """Return the items of a sequence of defined length; none if it is damaged, and reading continues after it."""
        inner, items = Reading(value, encoding), list[Elements]()
        inner._left = self._left
        try:
            inner._sequence(0, len(value), encoding, depth, items)
        except Unreadable:
            items.clear()
        self._left = inner._left
        return tuple(items)

    def _sequence(
        self, pos: int, stop: int | None, encoding: Encoding, depth: int, items: list[Elements] | None
    ) -> int:
        """Read items to their end (None: a delimiter) into the list, if there is one. Return the end."""
        if depth >= _DEPTH:
            raise TooMuch(f"more than {_DEPTH} nested sequences")
        while stop is None or pos < stop:
            tag, _, length, start = self._element(pos, self._header_at(pos), encoding)
            if tag == _END_OF_SEQUENCE and stop is None:
                return start
            if tag != _ITEM:
                raise Unreadable("something else where an item must be")
            if items is None and length != _UNDEFINED:
                pos = self._behind(start, length)
                continue
            item = None if items is None else Elements(encoding.little_endian)
            if items is not None and item is not None:
                items.append(item)
            pos = self._item(start, None if length == _UNDEFINED else start + length, encoding, depth + 1, item)
        return pos

    def _item(self, pos: int, stop: int | None, encoding: Encoding, depth: int, item: Elements | None) -> int:
        """Read elements to their end (None: a delimiter) into the item, if there is one. Return the end."""
        while stop is None or pos < stop:
            tag, vr, length, start = self._element(pos, self._header_at(pos), encoding)
            if tag == _END_OF_ITEM and stop is None:
                return start
            if tag >> 16 == 0xFFFE:
                raise Unreadable("a delimiter where an element must be")
            if item is not None and keyword_and_vr(tag) is not None:
                item.values[tag], pos = self._kept(tag, vr, length, start, encoding, depth)
            else:
                pos = self._passed(vr, length, start, encoding, depth)
        if stop is not None and pos > stop:
            raise Unreadable("a value goes past the end of its item")
        return pos

    def _header_at(self, pos: int) -> int:
        at = self._at(pos, 8)
        if at < 0:
            raise Unreadable("a sequence is cut off")
        return at


def _inside(vr: bytes, encoding: Encoding) -> Encoding:
    return _IN_UNKNOWN if vr == b"UN" else encoding


def _structs(order: str) -> tuple[Callable[[bytes, int], tuple[int, ...]], ...]:
    return tuple(Struct(order + each).unpack_from for each in ("HHL", "H", "L"))


_LITTLE, _BIG = _structs("<"), _structs(">")
