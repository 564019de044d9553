"""Finds the pixels of an encoded data set and its frames, without reading them (PS3.5 A.4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from struct import unpack
from typing import Final, Protocol

from aiodimse.config import Limits
from aiodimse.datasets.element_headers import ITEM, SEQUENCE_DELIMITATION, UNDEFINED_LENGTH
from aiodimse.datasets.walk import top_elements
from aiodimse.errors import DatasetDecodeError, DatasetTooLarge
from aiodimse.record import record
from aiodimse.standard.transfer_syntax import TransferSyntax

PIXEL_DATA: Final = 0x7FE00010
_FIRST_READ: Final = 1 << 16
_END_OF_IMAGE: Final = b"\xff\xd9"
_WITHIN_LAST: Final = 10
"""The number of bytes at the end of a fragment in which the end-of-image marker is searched: padding may follow it."""


class Source(Protocol):
    """An encoded data set, of which any part can be read."""

    @property
    def size(self) -> int:
        """The size of the data set in bytes."""

    def read_at(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from an offset; fewer at the end of the data set."""


class InMemory:
    """A data set that is in memory."""

    def __init__(self, data: bytes) -> None:
        """Take the bytes."""
        self._data = data
        self.size: int = len(data)

    def read_at(self, offset: int, size: int) -> bytes:
        """Return a copy of these bytes."""
        return self._data[offset : offset + size]


@record(frozen=True)
class Layout:
    """A data set, divided at its Pixel Data."""

    head: bytes
    """The elements before Pixel Data."""
    start: int
    """Where the value of Pixel Data begins; the end of the data set if there is none."""
    length: int | None
    """The length of the value in bytes; None if there is no Pixel Data; UNDEFINED_LENGTH if it is in fragments."""


def find_pixels(source: Source, row: TransferSyntax, limits: Limits) -> Layout:
    """Read the beginning of a data set up to Pixel Data (7FE0,0010).

    Args:
        source: The data set, which must not be deflated.
        row: Its transfer syntax.
        limits: dataset_in_memory, dataset_depth and dataset_elements bound what comes before the pixels.

    Raises:
        DatasetDecodeError: The data set is damaged before its pixels.
    """
    size = _FIRST_READ
    while True:
        data = source.read_at(0, min(size, source.size))
        end, error = 0, None
        try:
            for tag, _, length, _, stop, _ in top_elements(
                data,
                row.implicit,
                row.little_endian,
                max_depth=limits.dataset_depth,
                max_elements=limits.dataset_elements,
            ):
                if tag >= PIXEL_DATA:
                    break
                end = stop + (8 if length == UNDEFINED_LENGTH else 0)
        except DatasetTooLarge:
            raise
        except DatasetDecodeError as found:
            error = found.with_traceback(None)  # whose frames would keep this one, and all frames of pixels below it
        head = data[end : end + 12]
        group, element = unpack("<HH" if row.little_endian else ">HH", head[:4]) if len(head) >= 4 else (0, 0)
        if group << 16 | element == PIXEL_DATA and len(head) == 12:
            order = "<L" if row.little_endian else ">L"
            length, start = unpack(order, head[4:8] if row.implicit else head[8:12])[0], 8 if row.implicit else 12
            return Layout(data[:end], end + start, length)
        if group << 16 | element > PIXEL_DATA or (error is None and len(data) == source.size):
            return Layout(data[:end], end, None)
        if len(data) == source.size:
            assert error is not None
            try:
                raise error
            finally:
                error = None
        if size > limits.dataset_in_memory:
            raise DatasetTooLarge(f"over {limits.dataset_in_memory} bytes come before the pixels")
        size *= 4


@record(frozen=True)
class Fragments:
    """The fragments of encapsulated Pixel Data."""

    offsets: tuple[int, ...]
    """The Basic Offset Table: where frames begin, relative to the first fragment. It may be empty."""
    items: tuple[tuple[int, int], ...]
    """The offset of each fragment in the data set, and its length."""
    end: int
    """The offset after the Sequence Delimitation Item."""


def read_fragments(source: Source, start: int, limits: Limits) -> Fragments:
    """Step from one fragment to the next to the end of Pixel Data, without reading them.

    Args:
        source: The data set.
        start: Where the value of Pixel Data begins.
        limits: dataset_elements bounds the number of fragments.

    Raises:
        DatasetDecodeError: The fragments are not properly delimited.
    """
    items: list[tuple[int, int]] = []
    pos = start
    while True:
        head = source.read_at(pos, 8)
        if len(head) < 8:
            raise DatasetDecodeError("encapsulated pixel data is not closed", offset=pos)
        group, element, length = unpack("<HHL", head)
        tag, pos = group << 16 | element, pos + 8
        if tag == SEQUENCE_DELIMITATION and not length and items:
            break
        if tag != ITEM or length > source.size - pos:
            raise DatasetDecodeError("no fragment where one must be", offset=pos - 8)
        items.append((pos, length))
        pos += length
        if len(items) > limits.dataset_elements:
            raise DatasetTooLarge(f"more than {limits.dataset_elements} fragments")
    table = source.read_at(*items[0])
    return Fragments(unpack(f"<{len(table) // 4}L", table[: len(table) // 4 * 4]), tuple(items[1:]), pos)


def frames_of(source: Source, found: Fragments, number: int) -> list[Sequence[tuple[int, int]]]:
    """Determine the fragments of each frame.

    Args:
        source: The data set. The ends of fragments are read if nothing else separates the frames.
        found: Its fragments.
        number: Number of Frames (0028,0008).

    Raises:
        DatasetDecodeError: The frames cannot be separated, or their number is another one.
    """
    items = found.items
    if len(items) == number:
        return [(item,) for item in items]
    if number == 1 and items:
        return [items]
    frames = _by_offsets(found, number) or list(_by_markers(source, items))
    if len(frames) != number or not all(frames):
        raise DatasetDecodeError(f"{len(items)} fragments, which are not {number} frames")
    return frames


def _by_offsets(found: Fragments, number: int) -> list[Sequence[tuple[int, int]]] | None:
    """Divide the fragments by the offset table. None: it is not theirs, and so their frames would not be whole."""
    if len(found.offsets) != number or not found.items or found.offsets[0]:
        return None
    at = {item[0]: index for index, item in enumerate(found.items)}
    first = found.items[0][0]
    starts = [at.get(first + offset) for offset in found.offsets]
    bounds = [start for start in starts if start is not None]
    if len(bounds) < number or any(a >= b for a, b in pairwise(bounds)):
        return None
    return [found.items[a:b] for a, b in pairwise([*bounds, len(found.items)])]


def _by_markers(source: Source, items: Sequence[tuple[int, int]]) -> Iterator[Sequence[tuple[int, int]]]:
    frame: list[tuple[int, int]] = []
    for start, length in items:
        frame.append((start, length))
        tail = min(length, _WITHIN_LAST)
        if _END_OF_IMAGE in source.read_at(start + length - tail, tail):
            yield frame
            frame = []
    if frame:
        yield frame
