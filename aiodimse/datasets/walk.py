"""A walk over the tags, VRs and lengths of a data set (PS3.5 7), without recursion and without looking at values.

pydicom alone accepts truncated values in silence and follows nesting as deep as its stack goes. What comes from a peer
is therefore walked first: it ends exactly at its end, with every item and sequence closed, or it is a
DatasetDecodeError. Each step takes eight bytes or closes something, so the time is linear in the length; elements and
items are counted, for what they become in Python takes thirty times their eight bytes and ten times the walk's time.
"""

from collections.abc import Callable, Iterator
from functools import lru_cache
from struct import Struct
from typing import Any, Final, NamedTuple, TypeAlias

from pydicom.datadict import dictionary_has_tag, dictionary_VR, masks

from aiodimse.errors import DatasetDecodeError, DatasetTooLarge
from aiodimse.standard import transfer_syntax

UNDEFINED_LENGTH: Final = 0xFFFFFFFF
UNCOUNTED: Final = 1 << 62
"""More elements than there can be."""
SHORTEST: Final = 8
"""Bytes that an element or item takes at least (PS3.5 7.1)."""

ITEM: Final = 0xFFFEE000
ITEM_DELIMITATION: Final = 0xFFFEE00D
SEQUENCE_DELIMITATION: Final = 0xFFFEE0DD

# Groups with no place in a data set, at any depth: command elements (PS3.7 6.3), file meta elements (PS3.10 7.1), stray
# delimiters. A second file meta there is how one object comes to mean two things to two readers.
FOREIGN_GROUPS: Final = frozenset((0x0000, 0x0002, 0xFFFE))
DROPPED_GROUPS: Final = frozenset((0x0000, 0x0002))
"""Those whose elements some writers leave in a data set. They are walked over, and dropped by who reads or writes."""

# PS3.5 Tables 7.1-1 and 7.1-2: which VRs have a length of two bytes and which two reserved bytes and a length of four.
# A VR that is in neither is refused: one cannot know where its value ends, and pydicom would guess.
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


_Unpack: TypeAlias = Callable[[bytes | memoryview, int], tuple[Any, ...]]


def _unpackers(order: str) -> tuple[_Unpack, _Unpack, _Unpack]:
    """Tag and four-byte length; tag, VR and two-byte length; a four-byte length alone."""
    return Struct(order + "HHL").unpack_from, Struct(order + "HH2sH").unpack_from, Struct(order + "L").unpack_from


_LITTLE: Final = _unpackers("<")
_BIG: Final = _unpackers(">")


class TopElement(NamedTuple):
    """An element of the top level, as the walk found it. Offsets are those of the data that were walked."""

    tag: int
    vr: str | None
    """As encoded; None in Implicit VR."""
    length: int
    """As encoded: UNDEFINED_LENGTH, or stop - start."""
    start: int
    """Where the value begins."""
    stop: int
    """Where it ends; for an undefined length, before the Sequence Delimitation Item."""
    is_writable: bool = True
    """Whether its items may be written as they are: no value in them has an odd length, and no element has one of
    DROPPED_GROUPS."""


class _Frame(NamedTuple):
    """What the walk is inside of. Kept for what encloses it, while it is inside something else."""

    is_sequence: bool
    bound: int
    """Nothing in it may go past this: its own end, or the end of what encloses it."""
    is_open: bool
    """Its length is undefined: a delimitation item ends it."""
    implicit: bool


def walk(
    data: bytes | memoryview, transfer_syntax_uid: str, *, max_depth: int = 64, max_elements: int = UNCOUNTED
) -> None:
    """Raise DatasetDecodeError unless data is one whole, sound data set.

    max_depth, max_elements: as top_elements. Of a deflated data set this takes the inflated bytes. NULs behind the last
    element are padding; elements of group 0000 and 0002 are sound where they are.
    """
    row = known_syntax(transfer_syntax_uid)
    for _ in top_elements(data, row.implicit, row.little_endian, max_depth=max_depth, max_elements=max_elements):
        pass


def known_syntax(uid: str) -> transfer_syntax.TransferSyntax:
    """The row of a transfer syntax; of a private one nothing is known, so that nothing can be read in it."""
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
    """Walk data, from the element at pos on, and yield the elements of the top level, each when it is complete.

    Args:
        data: The encoded data set, deflated ones inflated.
        implicit: Whether it is encoded in Implicit VR.
        little_endian: Its byte order.
        max_depth: How deep sequences may nest.
        max_elements: How many elements, items and fragments there may be from pos on, at any depth. Delimiters are not
            counted.
        pos: Where to begin.
        open_item: Whether an item of undefined length begins at pos instead of a data set. Its delimiter is then the
            last that is yielded, and the walk ends behind it.

    Yields:
        The elements, those of DROPPED_GROUPS too. Who stops early has proven only what was yielded.

    Raises:
        DatasetDecodeError: The data set is not sound.
        DatasetTooLarge: It has more elements.
    """
    head, vr_head, long_length = _LITTLE if little_endian else _BIG
    is_sequence, bound, is_open = False, len(data), open_item
    enclosing: list[_Frame] = []
    left = max_elements
    top_tag, top_vr, top_length, top_start = 0, None, 0, 0  # the top-level element that the frames are inside of
    writable = True
    padding = -1  # where the NULs at the end of data begin, once it was looked for
    while True:
        if pos == bound:  # the end of this frame, if it has a length
            if is_open:
                raise DatasetDecodeError(f"{_kind(is_sequence)} of undefined length is not closed", offset=pos)
            if not enclosing:
                return
            is_sequence, bound, is_open, implicit = enclosing.pop()
            if not enclosing:
                yield TopElement(top_tag, top_vr, top_length, top_start, pos, writable)
            continue
        if bound - pos < 8:
            if not enclosing and not is_open and not any(data[pos:]):
                return  # of a data set that was padded to an even length, or to a block of a disk
            raise DatasetDecodeError("truncated element header", offset=pos)
        group, element, length = head(data, pos)
        tag = group << 16 | element

        if is_sequence:
            if tag == ITEM:
                if (left := left - 1) < 0:
                    raise _too_many(max_elements, pos)
                start = pos + 8
                if length == UNDEFINED_LENGTH:
                    stop, opens = bound, True
                else:
                    stop, opens = _end(start, length, bound, tag, pos), False
                enclosing.append(_Frame(is_sequence, bound, is_open, implicit))
                is_sequence, bound, is_open = False, stop, opens
                pos = start
            elif tag == SEQUENCE_DELIMITATION and is_open and length == 0:
                is_sequence, bound, is_open, implicit = enclosing.pop()
                if not enclosing:
                    yield TopElement(top_tag, top_vr, top_length, top_start, pos, writable)
                pos += 8
            else:
                raise DatasetDecodeError(f"{tag_name(tag)} where an item must be", offset=pos)
            continue

        if tag == ITEM_DELIMITATION and is_open and length == 0:
            if not enclosing:
                yield TopElement(tag, None, 0, pos + 8, pos + 8)
                return
            is_sequence, bound, is_open, implicit = enclosing.pop()
            pos += 8
            continue
        if (left := left - 1) < 0:
            raise _too_many(max_elements, pos)
        if group in FOREIGN_GROUPS:
            if tag == 0 and not enclosing and not is_open:
                if padding < 0:
                    padding = len(bytes(data).rstrip(b"\0"))
                if pos >= padding:
                    return
            if group not in DROPPED_GROUPS:
                raise DatasetDecodeError(f"{tag_name(tag)} inside a data set", offset=pos)
            writable = False

        vr: str | None
        start = pos + 8
        if implicit:
            vr = None
            opens = length == UNDEFINED_LENGTH
            known = vr_in_dictionary(tag)
            nests = known == "SQ" or opens
            if opens and known not in ("SQ", "UN", None):
                raise DatasetDecodeError(f"undefined length of {tag_name(tag)}, which is no sequence", offset=pos)
        else:
            _, _, code, length = vr_head(data, pos)
            opens = False
            vr = SHORT_VRS.get(code)
            if vr is None:
                vr = LONG_VRS.get(code)
                if vr is None:
                    raise DatasetDecodeError(f"unknown VR of {tag_name(tag)}", offset=pos)
                if bound - pos < 12:
                    raise DatasetDecodeError("truncated element header", offset=pos)
                (length,) = long_length(data, start)
                start += 4
                opens = length == UNDEFINED_LENGTH
            nests = vr == "SQ" or (opens and vr == "UN")

        if nests:
            if len(enclosing) >= 2 * max_depth:  # a sequence and its item are two frames
                raise DatasetDecodeError(f"sequences nested deeper than {max_depth}", offset=pos)
            if not enclosing:
                top_tag, top_vr, top_length, top_start, writable = tag, vr, length, start, True
            stop = bound if opens else _end(start, length, bound, tag, pos)
            enclosing.append(_Frame(is_sequence, bound, is_open, implicit))
            # PS3.5 6.2.2: what is in a UN of undefined length is encoded in Implicit VR
            is_sequence, bound, is_open, implicit = True, stop, opens, implicit or vr == "UN"
            pos = start
            continue

        if opens:
            if vr not in ("OB", "OW"):
                raise DatasetDecodeError(f"undefined length of {tag_name(tag)}, which is no sequence", offset=pos)
            stop, fragments = _end_of_fragments(data, start, bound, head, left)
            if (left := left - fragments) < 0:
                raise _too_many(max_elements, start)
            pos = stop + 8
        else:
            stop = pos = _end(start, length, bound, tag, pos)
        if not enclosing:
            yield TopElement(tag, vr, length, start, stop)
        elif length & 1 and not opens:
            writable = False


def _end_of_fragments(data: bytes | memoryview, pos: int, bound: int, head: _Unpack, most: int) -> tuple[int, int]:
    """The offset of the Sequence Delimitation Item after the fragments of encapsulated pixel data (PS3.5 A.4), and how
    many there are; where they are more than `most`, at least one more."""
    fragments = 0
    while fragments <= most:
        if bound - pos < 8:
            raise DatasetDecodeError("encapsulated pixel data is not closed", offset=pos)
        group, element, length = head(data, pos)
        tag = group << 16 | element
        if tag == SEQUENCE_DELIMITATION and length == 0:
            return pos, fragments
        if tag != ITEM or length == UNDEFINED_LENGTH:
            raise DatasetDecodeError(f"{tag_name(tag)} where a fragment must be", offset=pos)
        pos = _end(pos + 8, length, bound, tag, pos)
        fragments += 1
    return pos, fragments


def _too_many(most: int, pos: int) -> DatasetTooLarge:
    return DatasetTooLarge(f"more than {most} elements", offset=pos)


def _end(start: int, length: int, bound: int, tag: int, pos: int) -> int:
    """The offset after a value of this length, which must lie inside what encloses it."""
    if length > bound - start:
        raise DatasetDecodeError(f"length of {tag_name(tag)} goes past what encloses it", offset=pos)
    return start + length


_REPEATING: Final = [
    (mask, frozenset(value for value, other in masks.values() if other == mask))
    for mask in {mask for _, mask in masks.values()}
]
"""Tags like (60xx,3000): which bits of a tag are looked at, and what they may be."""


@lru_cache(maxsize=8192)
def vr_in_dictionary(tag: int) -> str | None:
    # pydicom takes 8 us to say that it does not know a private tag, and 25 for any other: a peer can send 130,000
    """Return the VR of a tag by the dictionary of pydicom; None for a private or unknown one."""
    if not dictionary_has_tag(tag) and not any(tag & mask in values for mask, values in _REPEATING):
        return None
    try:
        return str(dictionary_VR(tag))
    except KeyError:
        return None


def _kind(is_sequence: bool) -> str:
    return "a sequence" if is_sequence else "an item"


def tag_name(tag: int) -> str:
    """As (0010,0020)."""
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
