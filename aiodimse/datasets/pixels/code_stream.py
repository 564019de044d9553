"""What the code stream of a compressed frame says of its own size, which decides how much memory its decoder takes.

A frame of a hundred bytes may say that it has 65,535 rows of 65,535 pixels. Only the headers are read.
"""

from __future__ import annotations

from itertools import pairwise
from struct import error as StructError
from struct import unpack_from
from typing import Final, NamedTuple

from pydicom import Dataset

from aiodimse.standard import transfer_syntax as syntaxes

_JPEG: Final = frozenset(
    (syntaxes.JPEGBaseline8Bit, syntaxes.JPEGExtended12Bit, syntaxes.JPEGLossless, syntaxes.JPEGLosslessSV1)
)
_JPEG_LS: Final = frozenset((syntaxes.JPEGLSLossless, syntaxes.JPEGLSNearLossless))
_JPEG_2000: Final = frozenset(
    (
        syntaxes.JPEG2000Lossless,
        syntaxes.JPEG2000,
        syntaxes.HTJ2KLossless,
        syntaxes.HTJ2KLosslessRPCL,
        syntaxes.HTJ2K,
    )
)

_SIZES: Final = ("BitsAllocated", "Rows", "Columns", "SamplesPerPixel")

_START, _START_OF_SCAN, _FILL = 0xD8, 0xDA, 0xFF
_FRAMES_OF_JPEG: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""SOF0 to SOF15, without DHT, JPG and DAC (ISO 10918-1 Table B.1)."""
_FRAME_OF_JPEG_LS: Final = frozenset((0xF7,))
"""SOF55 (ISO 14495-1 C.1.1)."""
_ALONE: Final = frozenset((0x01, *range(0xD0, 0xD8)))
"""Markers without a length: TEM, and RST0 to RST7."""
_SIZ: Final = b"\xff\x4f\xff\x51"
"""SOC, and the SIZ marker that comes next (ISO 15444-1 A.4.1, A.5.1)."""
_RLE_HEADER: Final = 64
_RLE_SEGMENTS: Final = 15
_RLE_NOTHING: Final = 128
_JP2: Final = b"\0\0\0\x0cjP  \r\n\x87\n"
"""The first box of a JP2 file (ISO 15444-1 I.5.1). PS3.5 A.4.4 does not allow it, but there are such frames."""


class CodeStream(NamedTuple):
    """The size of a frame, as its code stream says it."""

    rows: int
    columns: int
    samples: int
    """The number of components, which Samples per Pixel is."""
    bits: int
    """Of a sample; of the largest one if they differ."""

    @property
    def values(self) -> int:
        """The number of all samples."""
        return self.rows * self.columns * self.samples


def read_code_stream(transfer_syntax: str, frame: bytes) -> CodeStream | None:
    """Read what a frame says of its size.

    Args:
        transfer_syntax: The transfer syntax of the instance.
        frame: One frame, without its item header.

    Returns:
        The size; None if frames of this transfer syntax do not say it: those that are native, RLE or video.

    Raises:
        ValueError: The frame is not what the transfer syntax says, or its header is damaged.
    """
    try:
        if transfer_syntax in _JPEG:
            return _jpeg(frame, _FRAMES_OF_JPEG)
        if transfer_syntax in _JPEG_LS:
            return _jpeg(frame, _FRAME_OF_JPEG_LS)
        if transfer_syntax in _JPEG_2000:
            return _jpeg_2000(frame)
    except (StructError, IndexError):
        raise ValueError("the header of a compressed frame ends early") from None
    return None


def check_frame(dataset: Dataset, frame: bytes) -> None:
    """Check that a compressed frame has the size of which its instance speaks, before it is decoded.

    A decoder takes the memory that the code stream asks for: a frame of a hundred bytes may ask for gigabytes. Frames
    of JPEG, JPEG-LS and JPEG 2000 say their size. Those of RLE do not, so their runs are counted: they may inflate to
    twice the size that the instance says, and not to 64 times their own. For others nothing is checked.

    Args:
        dataset: The instance, with its file meta information.
        frame: The frame, as `pydicom.encaps.get_frame` and `aiodimse.dicomweb.read_frame` return it.

    Raises:
        ValueError: The frame has other rows, columns or samples, or more bits than are allocated; or it is not what its
            transfer syntax says; or the instance does not say the size.

    Example:
        ```python
        dataset = dicomweb.read_metadata(path)
        media_type, frame = dicomweb.read_frame(path, 1)
        aiodimse.check_frame(dataset, frame)
        ```
    """
    transfer_syntax = str(dataset.file_meta.TransferSyntaxUID)
    found = read_code_stream(transfer_syntax, frame)
    if found is None and transfer_syntax != syntaxes.RLELossless:
        return
    try:
        allocated, *sizes = (int(dataset[keyword].value) for keyword in _SIZES)
    except (AttributeError, KeyError, TypeError):
        raise ValueError("the instance does not say how large its frames are") from None
    if found is None:
        rows, columns, samples = sizes
        _check_run_lengths(frame, segments=samples * allocated // 8, values=rows * columns)
    elif [found.rows, found.columns, found.samples] != sizes or found.bits > allocated:
        raise ValueError("a compressed frame has another size than its instance says")


def _check_run_lengths(frame: bytes, *, segments: int, values: int) -> None:
    """Check what the segments of an RLE frame inflate to (PS3.5 G.3, G.5). Takes 0.1 us for each run.

    Args:
        frame: The frame.
        segments: The number of its segments, one for each byte of each sample.
        values: The bytes of a segment when it is inflated.
    """
    if len(frame) < _RLE_HEADER:
        raise ValueError("the header of a compressed frame ends early")
    number, *offsets = unpack_from("<16L", frame)
    starts = [*offsets[:number], len(frame)]
    if number != segments or number > _RLE_SEGMENTS or starts[0] != _RLE_HEADER or sorted(set(starts)) != starts:
        raise ValueError("the header of an RLE frame is damaged, or of other pixels than its instance says")
    for start, end in pairwise(starts):
        # At worst each byte is a run of its own, which takes two; a byte pads the segment. 128 stands for no byte.
        if end - start > 2 * values + 2 or _inflated(frame, start, end, 2 * values) > 2 * values:
            raise ValueError("a compressed frame has another size than its instance says")


def _inflated(frame: bytes, at: int, end: int, most: int) -> int:
    """Count the bytes to which a segment inflates, up to a little more than `most`."""
    size = 0
    while at < end and size <= most:
        control = frame[at]
        if control < _RLE_NOTHING:
            size += control + 1
            at += control + 2
        elif control > _RLE_NOTHING:
            size += 257 - control
            at += 2
        else:
            at += 1
    return size


def _jpeg(frame: bytes, wanted: frozenset[int]) -> CodeStream:
    """Read the frame header of JPEG (ISO 10918-1 B.2.2) or JPEG-LS (ISO 14495-1 C.2.2)."""
    if frame[:2] != bytes((_FILL, _START)):
        raise ValueError("a frame is not the JPEG that its transfer syntax says")
    at = 2
    while True:
        if frame[at] != _FILL:
            raise ValueError("the header of a JPEG frame is damaged")
        while frame[at] == _FILL:
            at += 1
        marker, at = frame[at], at + 1
        if marker in wanted:
            bits, rows, columns, samples = unpack_from(">BHHB", frame, at + 2)
            return CodeStream(rows, columns, samples, bits)
        if marker == _START_OF_SCAN or marker in _FRAMES_OF_JPEG or marker in _FRAME_OF_JPEG_LS:
            raise ValueError("a JPEG frame has not the frame header that its transfer syntax says")
        if marker not in _ALONE:
            (length,) = unpack_from(">H", frame, at)
            at += length


def _jpeg_2000(frame: bytes) -> CodeStream:
    """Read the SIZ marker segment (ISO 15444-1 A.5.1)."""
    at = _contiguous_code_stream(frame) if frame.startswith(_JP2) else 0
    if frame[at : at + 4] != _SIZ:
        raise ValueError("a frame is not the JPEG 2000 that its transfer syntax says")
    right, bottom, left, top = unpack_from(">LLLL", frame, at + 8)
    (samples,) = unpack_from(">H", frame, at + 40)
    depths = frame[at + 42 : at + 42 + 3 * samples : 3]
    if len(depths) < samples or not samples or right <= left or bottom <= top:
        raise ValueError("the header of a JPEG 2000 frame is damaged")
    return CodeStream(bottom - top, right - left, samples, max((depth & 0x7F) + 1 for depth in depths))


def _contiguous_code_stream(frame: bytes) -> int:
    """Return where the code stream begins in a JP2 file (ISO 15444-1 I.4, I.5.4)."""
    at = 0
    while True:
        length, kind = unpack_from(">L4s", frame, at)
        head = 8
        if length == 1:
            (length,) = unpack_from(">Q", frame, at + 8)
            head = 16
        if kind == b"jp2c":
            return at + head
        if kind == b"jp2h" and b"pclr" in frame[at : at + length]:
            raise ValueError("a JPEG 2000 frame has a palette, of which PS3.5 knows nothing")
        if length < head:  # 0: up to the end of the file
            raise ValueError("a JP2 file has no code stream")
        at += length
