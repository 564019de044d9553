"""The frames of encapsulated Pixel Data (PS3.5 A.4), also where its offset table is damaged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from os import SEEK_END
from struct import pack, unpack
from typing import BinaryIO, Final

from aiodimse.config import Limits
from aiodimse.datasets.element_headers import ITEM, SEQUENCE_DELIMITATION
from aiodimse.datasets.pixels.layout import Source, frames_of, read_fragments
from aiodimse.errors import DatasetDecodeError

_HEAD: Final = 8
_CLOSING: Final = pack("<HHL", SEQUENCE_DELIMITATION >> 16, SEQUENCE_DELIMITATION & 0xFFFF, 0)
_MANY: Final = 1024
"""Up to so many frames, all fragments are visited for one. A visit takes some 3 us."""
_BESIDE: Final = 8
"""The number of entries that are compared at each place."""


class EncapsulatedFrames:
    """The frames of a value of encapsulated Pixel Data, each read when it is asked for.

    An offset table may be damaged, or made for other fragments. Where it is not that of the fragments, it is not used:
    a frame is then a fragment, or ends with the end-of-image marker of JPEG. Of more than 1,024 frames not all entries
    are compared with the fragments, but those near the frame, the first and the last, besides the order of all.

    Args:
        pixels: The value, or a file that stands at its beginning. The file must stay open.
        number: Number of Frames (0028,0008).

    Raises:
        DatasetDecodeError: The value has no fragments.
        OSError: The file cannot be read.

    Example:
        ```python
        frames = aiodimse.EncapsulatedFrames(dataset.PixelData, int(dataset.NumberOfFrames))
        first = frames[0]
        ```
    """

    def __init__(self, pixels: bytes | BinaryIO, number: int) -> None:
        self._source: Source = _Value(pixels) if isinstance(pixels, bytes) else _File(pixels)
        self._number = number
        self._frames: list[Sequence[tuple[int, int]]] | None = None
        size = self._item_at(0)
        if size is None:
            raise DatasetDecodeError("encapsulated pixel data without fragments", offset=0)
        self._first = _HEAD + size
        self._offsets: tuple[int, ...] = ()
        if size == 4 * number and number > _MANY:
            offsets = unpack(f"<{number}L", self._source.read_at(_HEAD, size))
            if not offsets[0] and all(a < b for a, b in pairwise(offsets)):
                self._offsets = offsets

    def __len__(self) -> int:
        """Return the number of frames."""
        return self._number

    def __getitem__(self, index: int) -> bytes:
        """Return a frame, without the headers of its fragments.

        Args:
            index: The number of the frame, from 0.

        Raises:
            IndexError: There is no such frame.
            DatasetDecodeError: The frames cannot be separated.
            OSError: The file cannot be read.
        """
        if not 0 <= index < self._number:
            raise IndexError(f"{self._number} frames")
        pieces: Sequence[tuple[int, int]] | None = self._by_offset(index)
        if pieces is None:
            if self._frames is None:
                self._frames = frames_of(self._source, read_fragments(self._source, 0, Limits()), self._number)
            pieces = self._frames[index]
        return b"".join(self._source.read_at(*piece) for piece in pieces)

    def __iter__(self) -> Iterator[bytes]:
        """Yield the frames."""
        return (self[index] for index in range(self._number))

    def _by_offset(self, index: int) -> list[tuple[int, int]] | None:
        """Return the fragments of a frame by the offset table; None: it is not that of the fragments."""
        if not self._offsets or not all(self._begins_item(each) for each in self._compared(index)):
            return None
        pos = self._first + self._offsets[index]
        end = self._first + self._offsets[index + 1] if index + 1 < self._number else None
        pieces: list[tuple[int, int]] = []
        while pos != end:
            size = self._item_at(pos)
            if size is None:
                is_last = end is None and self._source.read_at(pos, _HEAD) == _CLOSING
                return pieces if is_last else None
            pieces.append((pos + _HEAD, size))
            pos += _HEAD + size
            if end is not None and pos > end:
                return None
        return pieces

    def _compared(self, index: int) -> tuple[int, ...]:
        offsets = self._offsets
        return offsets[:_BESIDE] + offsets[max(0, index - _BESIDE) : index + _BESIDE] + offsets[-_BESIDE:]

    def _begins_item(self, offset: int) -> bool:
        return self._item_at(self._first + offset) is not None

    def _item_at(self, pos: int) -> int | None:
        """Return the length of the item that begins at this position; None: none does."""
        head = self._source.read_at(pos, _HEAD)
        if len(head) < _HEAD:
            return None
        group, element, size = unpack("<HHL", head)
        return size if group << 16 | element == ITEM and size <= self._source.size - pos - _HEAD else None


class _Value:
    """A value in memory, which may lack its Sequence Delimitation Item."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.size: int = len(data) + _HEAD

    def read_at(self, offset: int, size: int) -> bytes:
        """Return bytes from an offset. Behind the value comes what closes it."""
        end = len(self._data)
        return self._data[offset : offset + size] if offset < end else _CLOSING[offset - end :][:size]


class _File:
    """A file from its present position to its end."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._start = file, file.tell()
        self.size: int = file.seek(0, SEEK_END) - self._start

    def read_at(self, offset: int, size: int) -> bytes:
        """Return bytes from an offset."""
        self._file.seek(self._start + offset)
        return self._file.read(size)
