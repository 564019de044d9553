"""Reads a deflated data set as a file, without inflating more of it than is asked for."""

from __future__ import annotations

import io
import zlib
from typing import BinaryIO, Final

_PIECE: Final = 1 << 16
_KEPT: Final = 1 << 20
"""The bytes before the current position that may be read again. pydicom goes back by a few KiB at most."""
_MOST_READS: Final = 1 << 20
"""The number of reads, of which each element and each item takes at least one, and about 1 KiB as pydicom has it."""


class Inflated(io.RawIOBase):
    """The inflated bytes of a file from its current position on. It can be read forward, and a little backward.

    Args:
        file: The file.
        most: The largest number of bytes that are inflated.
    """

    def __init__(self, file: BinaryIO, most: int) -> None:
        self._file, self._most = file, most
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS)
        self._waiting = b""
        """Bytes of the file that are not inflated yet."""
        self._window = bytearray()
        """Inflated bytes around the current position."""
        self._begin = self._at = self._reads = 0
        self.failure: ValueError | None = None
        """Why a read failed. pydicom raises another error in its place if that happens in a sequence."""

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True: forward to any place, and backward to what is kept."""
        return True

    def tell(self) -> int:
        """Return the current position."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position. What lies between is inflated and dropped.

        Raises:
            ValueError: It is too far back, or more would be inflated than may be.
        """
        if whence == io.SEEK_END:
            raise ValueError("the end of a deflated data set is not known")
        target = offset if whence == io.SEEK_SET else self._at + offset
        if target < self._begin:
            raise ValueError("the place in the deflated data set is no longer kept")
        while target > self._end and self._inflate():
            self._at = self._end
            self._forget()
        self._at = min(target, self._end)
        return self._at

    def read(self, size: int = -1) -> bytes:
        """Read at most `size` bytes, fewer only at the end.

        Raises:
            ValueError: The deflated data set is corrupt, or more would be inflated than may be.
        """
        self._reads += 1
        if self._reads > _MOST_READS:
            raise self._failed("the deflated data set has too many elements")
        while (size < 0 or self._end - self._at < size) and self._inflate():
            pass
        begin = self._at - self._begin
        with memoryview(self._window) as window:
            data = bytes(window[begin:] if size < 0 else window[begin : begin + size])
        self._at += len(data)
        self._forget()
        return data

    @property
    def _end(self) -> int:
        """Return the position behind the bytes that have been inflated."""
        return self._begin + len(self._window)

    def _inflate(self) -> bool:
        """Inflate one more piece. Return False at the end."""
        if self._inflater.eof:
            return False
        piece = self._waiting or self._file.read(_PIECE)
        try:
            out = self._inflater.decompress(piece, _PIECE)
        except zlib.error:
            raise self._failed("the deflated data set is corrupt") from None
        self._waiting = self._inflater.unconsumed_tail
        if self._end + len(out) > self._most:
            raise self._failed(f"the deflated data set inflates to more than {self._most} bytes")
        self._window += out
        return bool(piece or out)

    def _failed(self, why: str) -> ValueError:
        self.failure = ValueError(why)
        return self.failure

    def _forget(self) -> None:
        """Drop what lies too far back."""
        if (surplus := self._at - self._begin - _KEPT) > _KEPT:
            del self._window[:surplus]
            self._begin += surplus
