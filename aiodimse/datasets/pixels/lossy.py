"""Determines whether a compression is lossy, and marks data sets: an image that was once lossy remains so."""

from __future__ import annotations

from typing import Final

from pydicom.dataset import Dataset

from aiodimse.datasets.pixels.syntaxes import LOSSY_METHODS, MAY_BE_LOSSLESS

_CODING_STYLE: Final = 0xFF52
_START_OF_TILE: Final = 0xFF90
_SIZE: Final = b"\xff\x4f\xff\x51"
_MOST_MARKERS: Final = 64


def is_lossy(transfer_syntax: str, frame: bytes) -> bool:
    """Return whether this compression is known to be lossy.

    Args:
        transfer_syntax: The UID of the transfer syntax.
        frame: The first frame. Its code stream is examined if the transfer syntax allows both.
    """
    if transfer_syntax not in LOSSY_METHODS:
        return False
    return transfer_syntax not in MAY_BE_LOSSLESS or _is_irreversible(frame)


def mark_lossy(dataset: Dataset, transfer_syntax: str, ratio: float) -> None:
    """Mark a data set as lossily compressed, if it is not marked yet (PS3.3 C.7.6.1.1.5).

    While the pixels are compressed, the transfer syntax alone may tell it. After decompression nothing else would.

    Args:
        dataset: The data set, which is changed.
        transfer_syntax: The UID of the lossy transfer syntax.
        ratio: The size of the pixels divided by the size of their compressed form.
    """
    if str(dataset.get("LossyImageCompression", "") or "") == "01":
        return
    dataset.LossyImageCompression = "01"
    dataset.LossyImageCompressionRatio = f"{ratio:.2f}"
    dataset.LossyImageCompressionMethod = LOSSY_METHODS[transfer_syntax]


def _is_irreversible(frame: bytes) -> bool:
    """Return whether a JPEG 2000 code stream uses the irreversible transformation (ISO 15444-1 A.6.1)."""
    pos = frame.find(_SIZE, 0, 4096) + 2  # the code stream may be in a JP2 file, although PS3.5 8.2.4 forbids it
    for _ in range(_MOST_MARKERS if pos >= 2 else 0):
        marker, length = int.from_bytes(frame[pos : pos + 2], "big"), int.from_bytes(frame[pos + 2 : pos + 4], "big")
        if marker == _CODING_STYLE:
            return frame[pos + 13 : pos + 14] == b"\0"
        if marker == _START_OF_TILE or marker < 0xFF00:
            break
        pos += 2 + length
    return False
