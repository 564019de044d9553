"""Walks over the tags, VRs and lengths of a data set (PS3.5 7), without recursion and without reading values.

pydicom silently accepts truncated values, and follows nesting as deep as its stack allows. The data of a peer is
therefore walked first. If a value does not end inside what encloses it, or an item or a sequence is not closed, the
walk raises DatasetDecodeError. Each step takes at least eight bytes or closes something, so that the time is linear in
the length. Elements and items are counted, because decoding one takes ten times as long as the walk, and thirty times
the memory of its eight bytes.
"""

from collections.abc import Iterator
from typing import Final, NamedTuple, TypeAlias

from aiodimse.datasets.element_headers import (
    ENCODINGS,
    ITEM,
    ITEM_DELIMITATION,
    ITEMS,
    NO_ELEMENT,
    PLAIN,
    SEQUENCE_DELIMITATION,
    SHORTEST,
    UNDEFINED_LENGTH,
    Encoding,
    Header,
    ReadItemHeader,
    tag_name,
)
from aiodimse.errors import DatasetDecodeError, DatasetTooLarge
from aiodimse.standard import transfer_syntax

UNCOUNTED: Final = 1 << 62
"""As a limit: more elements than any data set has."""

# Groups that a data set must not have, at any depth: of command elements (PS3.7 6.3), file meta elements (PS3.10 7.1)
# and delimiters. With file meta elements inside the data set, two readers may take one object for two.
FOREIGN_GROUPS: Final = frozenset((0x0000, 0x0002, 0xFFFE))
DROPPED_GROUPS: Final = frozenset((0x0000, 0x0002))
"""The groups whose elements some programs leave in a data set. The walk accepts them; our readers and writers drop
them."""
_BEHIND_DROPPED: Final = 0x00030000
"""The first tag after those of DROPPED_GROUPS."""

_new_tuple: Final = tuple.__new__  # The constructor of TopElement takes twice as long.


class TopElement(NamedTuple):
    """An element of the top level. Offsets count from the start of the data."""

    tag: int
    vr: str | None
    """The VR as encoded; None in Implicit VR."""
    length: int
    """The length as encoded: UNDEFINED_LENGTH, or stop - start."""
    start: int
    """The offset of the value."""
    stop: int
    """The offset after the value; for an undefined length, that of the Sequence Delimitation Item."""
    is_writable: bool = True
    """Whether its items may be written as they are: no value in them has an odd length, and no element has one of
    DROPPED_GROUPS."""


def walk(
    data: bytes | memoryview, transfer_syntax_uid: str, *, max_depth: int = 64, max_elements: int = UNCOUNTED
) -> None:
    """Check that data is one complete data set. NULs after the last element are padding.

    Args:
        data: The encoded data set; of a deflated one the inflated bytes.
        transfer_syntax_uid: Its transfer syntax.
        max_depth: See `top_elements`.
        max_elements: See `top_elements`.

    Raises:
        DatasetDecodeError: It is damaged, or the transfer syntax is not known.
        DatasetTooLarge: It has more elements.
    """
    row = known_syntax(transfer_syntax_uid)
    for _ in top_elements(data, row.implicit, row.little_endian, max_depth=max_depth, max_elements=max_elements):
        pass


def known_syntax(uid: str) -> transfer_syntax.TransferSyntax:
    """Return the row of a transfer syntax.

    Raises:
        DatasetDecodeError: It is private: nothing is known of its encoding.
    """
    row = transfer_syntax.lookup(uid)
    if row is None:
        raise DatasetDecodeError("the transfer syntax is not one of the standard's")
    return row


def top_elements(
    data: bytes | memoryview,
    implicit: bool,
    little_endian: bool,
    *,
    max_depth: int = 64,
    max_elements: int = UNCOUNTED,
    pos: int = 0,
    open_item: bool = False,
) -> Iterator[TopElement]:
    """Walk over data, from the element at pos on, and yield each element of the top level that is complete.

    Args:
        data: The encoded data set; of a deflated one the inflated bytes.
        implicit: Whether it is encoded in Implicit VR.
        little_endian: Its byte order.
        max_depth: How deep sequences may nest.
        max_elements: How many elements, items and fragments there may be from pos on, at any depth. Delimiters are not
            counted.
        pos: Where to begin.
        open_item: Whether an item of undefined length begins at pos instead of a data set. Its delimiter is then
            yielded as the last element.

    Yields:
        The elements, also those of DROPPED_GROUPS. A caller that stops early has checked only what was yielded.

    Raises:
        DatasetDecodeError: The data set is damaged.
        DatasetTooLarge: It has more elements.
    """
    encoding = ENCODINGS[implicit, little_endian]
    read_header, bound, left = encoding.read_header, len(data), max_elements
    padding = -1  # the offset of the NULs at the end of data; -1: it was not looked for yet
    while pos != bound:
        if bound - pos < SHORTEST:
            if open_item or any(data[pos:]):
                raise _truncated(pos)
            return  # The data set was padded to an even length, or to a block of a disk.
        header = read_header(data, pos, bound)
        tag, vr, length, start, kind = header
        if tag == 0 and not open_item:
            if padding < 0:
                padding = len(bytes(data).rstrip(b"\0"))
            if pos >= padding:
                return
        if kind == NO_ELEMENT:
            if tag != ITEM_DELIMITATION or length != 0 or not open_item:
                raise _misplaced(tag, pos)
            yield TopElement(tag, vr, length, start, start)
            return
        if (left := left - 1) < 0:
            raise _too_many(max_elements, pos)
        if kind == PLAIN:
            stop = start + length
            if stop > bound:
                raise _too_long(tag, pos)
            yield _new_tuple(TopElement, (tag, vr, length, start, stop, True))
            pos = stop
        elif kind == ITEMS:
            nested = _Nested(data, max_depth, max_elements, left)
            pos = nested.pass_sequence(header, pos, bound, encoding)
            left = nested.left
            stop = pos - SHORTEST if length == UNDEFINED_LENGTH else pos
            yield TopElement(tag, vr, length, start, stop, nested.is_writable)
        else:
            stop, fragments = _end_of_fragments(data, start, bound, encoding.read_item_header, left)
            if (left := left - fragments) < 0:
                raise _too_many(max_elements, start)
            yield TopElement(tag, vr, length, start, stop)
            pos = stop + SHORTEST
    if open_item:
        raise _not_closed("an item", pos)


_Frame: TypeAlias = tuple[bool, int, bool, Encoding]
"""A sequence or an item in which the walk is: whether it is a sequence; the offset where it must have ended (its own
end, or that of what encloses it); whether its length is undefined, so that a delimitation item ends it; its encoding. A
named tuple would take twice as long."""


class _Nested:
    """The part of a walk that is inside a sequence of the top level.

    Args:
        data: See `top_elements`.
        max_depth: See `top_elements`.
        max_elements: The limit that errors name.
        left: How many elements, items and fragments may still follow.
    """

    __slots__ = ("_data", "_frames", "_max_depth", "_max_elements", "is_writable", "left")

    def __init__(self, data: bytes | memoryview, max_depth: int, max_elements: int, left: int) -> None:
        self._data, self._max_depth, self._max_elements = data, max_depth, max_elements
        self._frames: list[_Frame] = []
        self.left: int = left
        self.is_writable: bool = True
        """See TopElement."""

    def pass_sequence(self, header: Header, pos: int, bound: int, encoding: Encoding) -> int:
        """Walk over a sequence, whose header is at pos, and return the offset after it."""
        frames = self._frames
        pos = self._enter_sequence(header, pos, bound, encoding)
        while frames:
            is_sequence, bound, is_open, encoding = frames[-1]
            if is_sequence:
                pos = self._pass_items(pos, bound, is_open, encoding)
            else:
                pos = self._pass_elements(pos, bound, is_open, encoding)
        return pos

    # Each step enters a frame or leaves its own, and returns the offset at which the next step begins.

    def _enter_sequence(self, header: Header, pos: int, bound: int, encoding: Encoding) -> int:
        if len(self._frames) >= 2 * self._max_depth:  # A sequence and its item are two frames.
            raise DatasetDecodeError(f"sequences nested deeper than {self._max_depth}", offset=pos)
        tag, vr, length, start, _ = header
        is_open = length == UNDEFINED_LENGTH
        if is_open and vr == "UN":  # What is in it is encoded in Implicit VR Little Endian (PS3.5 6.2.2).
            encoding = ENCODINGS[True, True]
        stop = bound if is_open else _end(start, length, bound, tag, pos)
        self._frames.append((True, stop, is_open, encoding))
        return start

    def _pass_items(self, pos: int, bound: int, is_open: bool, encoding: Encoding) -> int:
        """Pass empty items, and enter the first that is not."""
        data, left, read_header = self._data, self.left, encoding.read_item_header
        while pos != bound:
            if bound - pos < SHORTEST:
                raise _truncated(pos)
            group, element, length = read_header(data, pos)
            tag, start = group << 16 | element, pos + SHORTEST
            if tag == SEQUENCE_DELIMITATION and length == 0 and is_open:
                pos, is_open = start, False
                break
            if tag != ITEM:
                raise DatasetDecodeError(f"{tag_name(tag)} where an item must be", offset=pos)
            if (left := left - 1) < 0:
                raise _too_many(self._max_elements, pos)
            if length:
                opens = length == UNDEFINED_LENGTH
                stop = bound if opens else _end(start, length, bound, tag, pos)
                self._frames.append((False, stop, opens, encoding))
                self.left = left
                return start
            pos = start
        return self._leave("a sequence", pos, is_open, left)

    def _pass_elements(self, pos: int, bound: int, is_open: bool, encoding: Encoding) -> int:
        """Pass the elements of an item, and enter the first that is a sequence."""
        data, left, read_header = self._data, self.left, encoding.read_header
        while pos != bound:
            if bound - pos < SHORTEST:
                raise _truncated(pos)
            header = read_header(data, pos, bound)
            tag, _, length, start, kind = header
            if kind == NO_ELEMENT:
                if tag != ITEM_DELIMITATION or length != 0 or not is_open:
                    raise _misplaced(tag, pos)
                pos, is_open = start, False
                break
            if (left := left - 1) < 0:
                raise _too_many(self._max_elements, pos)
            if tag < _BEHIND_DROPPED and tag >> 16 in DROPPED_GROUPS:
                self.is_writable = False
            if kind == PLAIN:
                stop = start + length
                if stop > bound:
                    raise _too_long(tag, pos)
                if length & 1:
                    self.is_writable = False
                pos = stop
            elif kind == ITEMS:
                self.left = left
                return self._enter_sequence(header, pos, bound, encoding)
            else:
                stop, fragments = _end_of_fragments(data, start, bound, encoding.read_item_header, left)
                if (left := left - fragments) < 0:
                    raise _too_many(self._max_elements, start)
                pos = stop + SHORTEST
        return self._leave("an item", pos, is_open, left)

    def _leave(self, what: str, pos: int, is_open: bool, left: int) -> int:
        if is_open:
            raise _not_closed(what, pos)
        self.left = left
        self._frames.pop()
        return pos


def _end_of_fragments(
    data: bytes | memoryview, pos: int, bound: int, read_header: ReadItemHeader, most: int
) -> tuple[int, int]:
    """Walk over the fragments of encapsulated pixel data (PS3.5 A.4).

    Returns:
        The offset of the Sequence Delimitation Item after them, and their number. If there are more than `most`, the
        walk stops after one more.
    """
    fragments = 0
    while fragments <= most:
        if bound - pos < SHORTEST:
            raise DatasetDecodeError("encapsulated pixel data is not closed", offset=pos)
        group, element, length = read_header(data, pos)
        tag = group << 16 | element
        if tag == SEQUENCE_DELIMITATION and length == 0:
            return pos, fragments
        if tag != ITEM or length == UNDEFINED_LENGTH:
            raise DatasetDecodeError(f"{tag_name(tag)} where a fragment must be", offset=pos)
        pos = _end(pos + SHORTEST, length, bound, tag, pos)
        fragments += 1
    return pos, fragments


def _end(start: int, length: int, bound: int, tag: int, pos: int) -> int:
    """Return the offset after a value.

    Raises:
        DatasetDecodeError: It does not end inside what encloses it.
    """
    if length > bound - start:
        raise _too_long(tag, pos)
    return start + length


def _too_long(tag: int, pos: int) -> DatasetDecodeError:
    return DatasetDecodeError(f"length of {tag_name(tag)} goes past what encloses it", offset=pos)


def _too_many(most: int, pos: int) -> DatasetTooLarge:
    return DatasetTooLarge(f"more than {most} elements", offset=pos)


def _truncated(pos: int) -> DatasetDecodeError:
    return DatasetDecodeError("truncated element header", offset=pos)


def _misplaced(tag: int, pos: int) -> DatasetDecodeError:
    if tag == 0:  # NULs that are not the end of the data.
        return DatasetDecodeError(f"unknown VR of {tag_name(tag)}", offset=pos)
    return DatasetDecodeError(f"{tag_name(tag)} inside a data set", offset=pos)


def _not_closed(what: str, pos: int) -> DatasetDecodeError:
    return DatasetDecodeError(f"{what} of undefined length is not closed", offset=pos)
