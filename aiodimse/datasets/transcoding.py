"""Re-encodes a data set in another transfer syntax while it streams, in bounded memory (PS3.5 A).

This is for data sets that are too large for memory. Like the writer it changes headers and byte order, pads values of
odd length, drops elements of groups 0000 and 0002, and leaves out what no reader of Implicit VR could read. Unlike the
writer it does not know the length of a sequence before its end, so sequences and items get an undefined length
(PS3.5 7.5.1).
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from struct import Struct, pack
from typing import Final, NamedTuple

from pydicom.dataelem import RawDataElement
from pydicom.tag import BaseTag
from pydicom.valuerep import EXPLICIT_VR_LENGTH_32

from aiodimse.config import Limits
from aiodimse.datasets import charsets
from aiodimse.datasets.deflating import deflated_pieces, inflated_pieces
from aiodimse.datasets.element_headers import (
    ITEM,
    ITEM_DELIMITATION,
    LONG_VRS,
    SEQUENCE_DELIMITATION,
    SHORT_VRS,
    UNDEFINED_LENGTH,
    tag_name,
    vr_in_dictionary,
)
from aiodimse.datasets.part10 import FileHead, reopen
from aiodimse.datasets.reading import DecodedDataset, new_dataset, read_items
from aiodimse.datasets.vrs import AMBIGUOUS_VRS, PADDING, WORD_SIZES, concrete_vr, implicit_vr, swapped
from aiodimse.datasets.walk import DROPPED_GROUPS, FOREIGN_GROUPS, known_syntax
from aiodimse.datasets.writing import is_left_out, warn_of_unreadable
from aiodimse.errors import DatasetDecodeError, DatasetEncodeError
from aiodimse.standard.transfer_syntax import TransferSyntax

PIECE: Final = 1 << 18
"""Bytes of a value that are read and passed on at a time."""
_GATHER: Final = 1 << 16
"""Bytes of small elements that are passed on together."""
_LARGEST_UNKNOWN: Final = 1 << 20
"""The largest UN, in bytes, that is examined for items."""
_REMEMBERED: Final = 64
"""The largest value, in bytes, that is kept because other VRs depend on it: Pixel Representation, a private creator."""
_MOST_REMEMBERED: Final = 4096
_UNBOUNDED: Final = 1 << 62

_SAYS_VR: Final = frozenset((0x00280100, 0x00280103, 0x00283002))

_DEFAULT_LIMITS: Final = Limits()


def transcode_pieces(
    pieces: Iterable[bytes],
    source: TransferSyntax,
    target: TransferSyntax,
    *,
    size: int,
    limits: Limits = _DEFAULT_LIMITS,
) -> Iterator[bytes]:
    """Re-encode a data set piece by piece.

    Args:
        pieces: The encoded data set, divided anywhere.
        source: The row of its transfer syntax. Source and target must be in dataset.RE_ENCODED.
        target: The row of the wanted transfer syntax.
        size: The size of the encoded data set in bytes. With Limits.deflate_ratio it bounds the inflated size.
        limits: Limits.dataset_depth bounds the nesting.

    Yields:
        Pieces of at most some PIECE bytes.

    Raises:
        DatasetDecodeError: The data set is damaged. What comes before the damage has been yielded.
        DatasetEncodeError: The data set has an element that the target does not allow.
    """
    if source.deflated:
        pieces = inflated_pieces(pieces, max_size=size * limits.deflate_ratio)
    changed = _Transcoder(_Source(pieces), source, target, limits.dataset_depth).run()
    return deflated_pieces(changed) if target.deflated else changed


def open_transcoded(head: FileHead, transfer_syntax: str, *, limits: Limits = _DEFAULT_LIMITS) -> Iterator[bytes]:
    """Yield the pieces of a file as open_pieces does, re-encoded. Also raises what transcode_pieces raises."""
    rows = known_syntax(head.transfer_syntax), known_syntax(transfer_syntax)
    with reopen(head) as reader:
        yield from transcode_pieces(reader.pieces(PIECE), *rows, size=head.size, limits=limits)


def check_transcoded(head: FileHead, transfer_syntax: str, *, limits: Limits = _DEFAULT_LIMITS) -> None:
    """Re-encode a whole file, to raise now what open_transcoded would raise after its first piece."""
    for _ in open_transcoded(head, transfer_syntax, limits=limits):
        pass


class _Source:
    """The bytes of the data set that follow, and the number of bytes that were read."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._held = memoryview(b"")
        self.position = 0

    def at_most(self, size: int) -> bytes:
        """Return up to `size` of the next bytes; none only at the end of the data set."""
        while not self._held:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._held = memoryview(piece)
        taken, self._held = self._held[:size], self._held[size:]
        self.position += len(taken)
        return bytes(taken)

    def exactly(self, size: int) -> bytes:
        """Return the next `size` bytes; fewer only at the end of the data set."""
        taken = self.at_most(size)
        if len(taken) == size:
            return taken
        gathered = bytearray(taken)
        while len(gathered) < size and (more := self.at_most(size - len(gathered))):
            gathered += more
        return bytes(gathered)


class _Reader(NamedTuple):
    """How headers are read in one byte order."""

    little_endian: bool
    head: Callable[[bytes], tuple[int, int, int]]
    vr_head: Callable[[bytes], tuple[bytes, int]]
    length: Callable[[bytes], tuple[int]]


def _reader(little_endian: bool) -> _Reader:
    order = "<" if little_endian else ">"
    structs = Struct(order + "HHL"), Struct(order + "4x2sH"), Struct(order + "L")
    return _Reader(little_endian, *(struct.unpack for struct in structs))


class _Frame(NamedTuple):
    """The data set, sequence or item that is being read."""

    is_sequence: bool
    end: int | None
    """The offset of its end; None if a delimiter or the end of the data set ends it."""
    bound: int
    """The offset that nothing in it may exceed: its own end, or that of what encloses it."""
    implicit: bool
    reader: _Reader
    """Reads headers in the byte order of its content."""
    is_written: bool
    around: tuple[DecodedDataset, ...]
    """The data set or item, then those that enclose it, each with the elements on which the VRs of others depend."""


class _Transcoder:
    """Reads elements one after another, and writes each before it reads the next."""

    def __init__(self, source: _Source, read: TransferSyntax, write: TransferSyntax, max_depth: int) -> None:
        self._source, self._read, self._write, self._max_depth = source, read, write, max_depth
        self._order = "<" if write.little_endian else ">"
        self._out = bytearray()

    def run(self) -> Iterator[bytes]:
        source = self._source
        read = self._read
        around = (new_dataset(read.implicit, read.little_endian),)
        frame = _Frame(False, None, _UNBOUNDED, read.implicit, _reader(read.little_endian), True, around)
        enclosing: list[_Frame] = []
        while True:
            if frame.end is not None and source.position == frame.end:
                self._close(frame)
                frame = enclosing.pop()
                continue
            head = source.exactly(8)
            if len(head) < 8 and not enclosing and not any(head):
                break  # after it there may be a NUL, which makes the length even
            if len(head) < 8 or source.position > frame.bound:
                raise self._error("truncated element header")
            group, element, length = frame.reader.head(head)
            tag = group << 16 | element
            delimiter = SEQUENCE_DELIMITATION if frame.is_sequence else ITEM_DELIMITATION
            inner: _Frame | None = None
            if tag == delimiter and enclosing and frame.end is None and not length:
                self._close(frame)
                frame = enclosing.pop()
            elif frame.is_sequence:
                inner = self._item(tag, length, frame)
            elif enclosing or any(head):  # NULs at the end of a data set are padding
                inner = yield from self._element(tag, head, frame)
            if inner is not None:
                enclosing.append(frame)
                frame = inner
                if len(enclosing) > 2 * self._max_depth:  # a sequence and its item are two frames
                    raise self._error(f"sequences nested deeper than {self._max_depth}")
            if len(self._out) >= _GATHER:
                yield self._gathered()
        if self._out:
            yield self._gathered()

    def _item(self, tag: int, length: int, frame: _Frame) -> _Frame:
        if tag != ITEM:
            raise self._error(f"{tag_name(tag)} where an item must be")
        if frame.is_written:
            self._out += pack(self._order + "HHL", ITEM >> 16, ITEM & 0xFFFF, UNDEFINED_LENGTH)
        around = (new_dataset(frame.implicit, frame.reader.little_endian), *frame.around)
        return self._inside(length, frame, tag)._replace(is_sequence=False, around=around)

    def _element(self, tag: int, head: bytes, frame: _Frame) -> Generator[bytes, None, _Frame | None]:
        """Write an element. For a sequence write its header, and return the frame of its content."""
        if tag >> 16 in FOREIGN_GROUPS and tag >> 16 not in DROPPED_GROUPS:
            raise self._error(f"{tag_name(tag)} inside a data set")
        vr, length = self._vr_and_length(tag, head, frame)
        is_written = frame.is_written and not is_left_out(tag)
        if vr == "SQ" or (vr == "UN" and length == UNDEFINED_LENGTH):
            if is_written and self._write.implicit and vr_in_dictionary(tag) not in ("SQ", "UN", None):
                is_written = self._leave_out(tag, "SQ")
            if is_written:
                self._header(tag, "SQ", UNDEFINED_LENGTH)
            inner = self._inside(length, frame, tag)._replace(is_sequence=True, is_written=is_written)
            if vr == "UN":  # PS3.5 6.2.2: what is in a UN of undefined length is in Implicit VR Little Endian
                inner = inner._replace(implicit=True, reader=_reader(True))
            return inner
        if length == UNDEFINED_LENGTH:
            if vr in ("OB", "OW"):
                raise DatasetEncodeError(f"{tag_name(tag)}: encapsulated, and the transfer syntax is not")
            raise self._error(f"undefined length of {tag_name(tag)}, which is no sequence")
        self._inside(length, frame, tag)
        beginning = b""
        if self._write.implicit and is_written and length and vr_in_dictionary(tag) == "SQ":
            beginning = self._source.exactly(min(length, _LARGEST_UNKNOWN)) if vr == "UN" else b""
            is_written = (len(beginning) == length and _holds_items(beginning)) or self._leave_out(tag, vr)
        elif length <= _REMEMBERED and (tag in _SAYS_VR or _is_creator(tag)):
            beginning = self._source.exactly(length)
            self._remember(tag, vr, beginning, frame)
        if is_written:
            self._header(tag, vr, length + length % 2)
        yield from self._value(vr, length, beginning, frame._replace(is_written=is_written))
        return None

    def _value(self, vr: str, length: int, beginning: bytes, frame: _Frame) -> Iterator[bytes]:
        """Write a value. `beginning` is the part that was read already."""
        swaps, is_written = frame.reader.little_endian != self._write.little_endian, frame.is_written
        word = WORD_SIZES.get(vr, 1) if swaps else 1
        left = length
        while left:
            piece = beginning or self._source.exactly(min(left, PIECE))
            beginning = b""
            if not piece or (len(piece) < min(left, PIECE)):
                raise self._error("the data set ends in a value")
            left -= len(piece)
            if is_written:
                self._out += swapped(piece, word) if word > 1 else piece
                if len(self._out) >= _GATHER:
                    yield self._gathered()
        if is_written and length % 2:
            self._out += PADDING.get(vr, b"\0")

    def _vr_and_length(self, tag: int, head: bytes, frame: _Frame) -> tuple[str, int]:
        """Return the VR to write, as far as it can be determined, and the length of the value."""
        if not frame.implicit:
            code, length = frame.reader.vr_head(head)
            if code in SHORT_VRS:
                return SHORT_VRS[code], length
            if code not in LONG_VRS:
                raise self._error(f"unknown VR of {tag_name(tag)}")
            rest = self._source.exactly(4)
            if len(rest) < 4:
                raise self._error("truncated element header")
            return LONG_VRS[code], frame.reader.length(rest)[0]
        length = frame.reader.head(head)[2]
        known = vr_in_dictionary(tag)
        if known == "SQ" or (length == UNDEFINED_LENGTH and known in ("UN", None)):
            return "SQ", length
        vr = implicit_vr(tag, frame.around[0])
        if vr == "SQ":
            return "UN", length  # a private sequence: its content stays in Implicit VR
        if vr in AMBIGUOUS_VRS:
            vr = concrete_vr(vr, tag, frame.around, from_implicit=True)
        return vr, length

    def _inside(self, length: int, frame: _Frame, tag: int) -> _Frame:
        """Return the frame for a value of this length that begins here."""
        if length == UNDEFINED_LENGTH:
            return frame._replace(end=None)
        end = self._source.position + length
        if end > frame.bound:
            raise self._error(f"length of {tag_name(tag)} goes past what encloses it")
        return frame._replace(end=end, bound=end)

    def _remember(self, tag: int, vr: str, value: bytes, frame: _Frame) -> None:
        dataset, key = frame.around[0], BaseTag(tag)
        if len(dataset) < _MOST_REMEMBERED:
            dataset[key] = RawDataElement(key, vr, len(value), value, 0, frame.implicit, frame.reader.little_endian)

    def _header(self, tag: int, vr: str, length: int) -> None:
        if self._write.implicit:
            self._out += pack(self._order + "HHL", tag >> 16, tag & 0xFFFF, length)
        elif vr in EXPLICIT_VR_LENGTH_32 or length > 0xFFFF:  # PS3.5 6.2.2: a value too long for its VR becomes UN
            code = vr if vr in EXPLICIT_VR_LENGTH_32 else "UN"
            self._out += pack(self._order + "HH2s2xL", tag >> 16, tag & 0xFFFF, code.encode(), length)
        else:
            self._out += pack(self._order + "HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), length)

    def _close(self, frame: _Frame) -> None:
        if frame.is_written:
            tag = SEQUENCE_DELIMITATION if frame.is_sequence else ITEM_DELIMITATION
            self._out += pack(self._order + "HHL", tag >> 16, tag & 0xFFFF, 0)

    def _gathered(self) -> bytes:
        out, self._out = bytes(self._out), bytearray()
        return out

    def _error(self, words: str) -> DatasetDecodeError:
        return DatasetDecodeError(words, offset=self._source.position)

    def _leave_out(self, tag: int, vr: str) -> bool:
        warn_of_unreadable(tag, vr)
        return False


def _is_creator(tag: int) -> bool:
    return bool(tag & 0x10000) and 0x10 <= tag & 0xFFFF <= 0xFF


def _holds_items(value: bytes) -> bool:
    try:
        read_items(value, True, True, charsets.DEFAULT)
    except DatasetDecodeError:
        return False
    return True
