"""Deflates and inflates data sets (PS3.5 A.5), whole or in pieces."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from struct import pack
from typing import Final

from aiodimse.config import Limits
from aiodimse.errors import DatasetDecodeError, DatasetTooLarge
from aiodimse.standard.transfer_syntax import lookup

_PIECE: Final = 1 << 18
_LONGEST_TRAILER: Final = 9


def inflate(data: bytes | memoryview, *, max_size: int, max_ratio: int) -> bytes:
    """Inflate a data set.

    Args:
        data: The deflated data set.
        max_size: The largest number of bytes after inflating.
        max_ratio: The largest ratio of inflated to deflated bytes.

    Raises:
        DatasetDecodeError: The deflated data set is corrupt or not complete.
        DatasetTooLarge: The inflated data set is too large.
    """
    bound = min(max_size, len(data) * max_ratio)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        out = inflater.decompress(data, bound + 1)
    except zlib.error:
        raise _corrupt() from None
    if len(out) > bound:
        raise _too_large(bound)
    if not inflater.eof:
        raise _truncated()
    _check_trailer(inflater.unused_data, zlib.crc32(out), len(out))
    return out


def most_inflated(size: int, transfer_syntax: str, limits: Limits) -> int:
    """Return how many bytes a data set of this encoded size may have in memory, once it is inflated.

    Args:
        size: The encoded size in bytes.
        transfer_syntax: The UID of its transfer syntax. Unless that is deflated, the result is the size.
        limits: dataset_in_memory, inflated_in_memory and deflate_ratio bound what is inflated.
    """
    row = lookup(transfer_syntax)
    if row is None or not row.deflated:
        return size
    return max(size, min(limits.dataset_in_memory, limits.inflated_in_memory, size * limits.deflate_ratio))


def deflate(data: bytes) -> bytes:
    """Deflate a data set, and pad it to an even length."""
    return b"".join(deflated_pieces([data]))


def inflated_pieces(pieces: Iterable[bytes], *, max_size: int) -> Iterator[bytes]:
    """Inflate a data set piece by piece. See `inflate`."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    size, checksum, trailer, is_over = 0, 0, b"", False
    for piece in pieces:
        if is_over:
            trailer = (trailer + piece)[: _LONGEST_TRAILER + 1]
            continue
        waiting, is_held_back = piece, False  # the inflater may have more output without more input
        while waiting or is_held_back:
            try:
                out = inflater.decompress(waiting, _PIECE)
            except zlib.error:
                raise _corrupt() from None
            waiting = inflater.unconsumed_tail
            is_held_back = len(out) == _PIECE
            size += len(out)
            if size > max_size:
                raise _too_large(max_size)
            checksum = zlib.crc32(out, checksum)
            is_over = inflater.eof
            if is_over:
                waiting, is_held_back = b"", False
                trailer = inflater.unused_data[: _LONGEST_TRAILER + 1]
            yield out
    if not is_over:
        raise _truncated()
    _check_trailer(trailer, checksum, size)


def deflated_pieces(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Deflate a data set piece by piece. See `deflate`."""
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    size = 0
    for piece in pieces:
        if out := deflater.compress(piece):
            size += len(out)
            yield out
    last = deflater.flush()
    yield last + b"\0" * ((size + len(last)) % 2)


def _check_trailer(trailer: bytes, checksum: int, size: int) -> None:
    # PS3.5 A.5: a deflated data set is padded to even length with a NULL. DCTOOL 1.00 (PixelMed) also leaves the end of
    # a gzip file there, CRC and length, as in pydicom's image_dfl.dcm; over the network a NULL may follow that.
    gzip = pack("<LL", checksum, size & 0xFFFFFFFF)
    if trailer not in (b"", b"\0", gzip, gzip + b"\0"):
        raise DatasetDecodeError("something follows the deflated data set")


def _corrupt() -> DatasetDecodeError:
    return DatasetDecodeError("the deflated data set is corrupt")


def _truncated() -> DatasetDecodeError:
    return DatasetDecodeError("the deflated data set is truncated")


def _too_large(most: int) -> DatasetTooLarge:
    return DatasetTooLarge(f"the deflated data set is larger than {most} bytes")
