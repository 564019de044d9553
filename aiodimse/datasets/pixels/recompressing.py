"""Sends a data set with its pixels in another compression or in none: frame by frame, in bounded memory.

There are two rounds. The first converts every frame, so that a frame that cannot be decoded is found before anything is
sent. It keeps the converted frames if they are small enough; otherwise the second round converts them again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from struct import pack
from typing import Final, TypeAlias

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from aiodimse.config import Limits
from aiodimse.datasets.dataset import decode_dataset, transcode
from aiodimse.datasets.deflating import deflated_pieces
from aiodimse.datasets.element_headers import ITEM, SEQUENCE_DELIMITATION, UNDEFINED_LENGTH
from aiodimse.datasets.part10 import FileHead, reopen
from aiodimse.datasets.pixels.attributes import (
    describe_pixels,
    number_of_frames,
    pixel_format,
    with_nested_pixels,
)
from aiodimse.datasets.pixels.jobs import Frame, FrameJob, PixelFormat
from aiodimse.datasets.pixels.layout import InMemory, Layout, Source, find_pixels, frames_of, read_fragments
from aiodimse.datasets.pixels.lossy import is_lossy, mark_lossy
from aiodimse.datasets.walk import known_syntax
from aiodimse.datasets.writing import write_dataset
from aiodimse.errors import DatasetEncodeError, DatasetTooLarge
from aiodimse.standard import transfer_syntax as syntaxes

Convert: TypeAlias = Callable[[FrameJob, bytes], Frame]
"""Converts one frame. Raises DatasetEncodeError if that fails."""

HELD: Final = 32 << 20
"""Bytes of converted frames that are kept from the first round to the second. A single frame is always kept."""
_UNDER_WAY: Final = 6
"""Frames in memory where frames are not kept: the first one, the one under way, and the one that is sent, each as it
was read and as it was converted."""
_LONGEST: Final = 0xFFFFFFFE
"""The largest defined length of a value (PS3.5 7.1)."""
_SUBSAMPLED: Final = ("_422", "_420")
_FLOAT_PIXELS: Final = (0x7FE00008, 0x7FE00009)


class Recompression:
    """The conversion of one instance from one transfer syntax to another."""

    def __init__(
        self, source: bytes | FileHead, transfer_syntax: str, target: str, *, limits: Limits, convert: Convert
    ) -> None:
        """Prepare the conversion. Nothing is read yet.

        Args:
            source: The encoded data set, or the head of its file.
            transfer_syntax: The UID of its transfer syntax.
            target: The UID of the wanted transfer syntax, for which can_recompress must be true.
            limits: dataset_in_memory, dataset_depth and dataset_elements are used.
            convert: Decodes and encodes a frame. It may take long.
        """
        self._source, self._limits, self._convert = source, limits, convert
        self._read, self._write = known_syntax(transfer_syntax), known_syntax(target)
        read = self._read
        is_plain = read.little_endian and not read.deflated and not read.encapsulated
        self._plain = read if is_plain else syntaxes.ExplicitVRLittleEndian
        self.frames: int = 0
        """The number of frames that were converted in the first round."""
        self._held: list[bytes] | None = []
        self._lengths: list[int] = []
        self._total = 0
        self._bits = self._stored = 0
        self._head = b""
        self._tail = b""

    def size_in_memory(self) -> int:
        """Return about how many bytes of frames the conversion will have in memory at once, as the data set says.

        What a data set lies about does not matter: a frame is no larger than dataset_in_memory, and no more than `HELD`
        bytes of frames are kept.

        Raises:
            DatasetEncodeError, DatasetDecodeError, OSError, NotDICOM, InstanceConflict: As `check`.
        """
        with self._opened() as source:
            layout = find_pixels(source, self._plain, self._limits)
            if layout.length is None:
                return 0
            dataset = decode_dataset(layout.head, self._plain, limits=self._limits)
            frame, number = pixel_format(dataset, self._limits).frame_size, number_of_frames(dataset)
        if number == 1:
            return 2 * frame
        if frame * number <= HELD:
            return 2 * frame * number + 2 * frame  # all of them once more, as they are joined to be sent
        return (HELD if self._write.encapsulated else 0) + _UNDER_WAY * frame

    # --- the first round ----------------------------------------------------------------------------------------------

    def check(self) -> Iterator[bool]:
        """Convert every frame, and determine what the data set will say about its pixels.

        Yields:
            True after each frame.

        Raises:
            DatasetEncodeError: The data set cannot be sent in the target transfer syntax.
            DatasetDecodeError: The data set is damaged.
            OSError, NotDICOM, InstanceConflict: As `reopen` raises them, for a file.
        """
        with self._opened() as source:
            layout = find_pixels(source, self._plain, self._limits)
            dataset = decode_dataset(layout.head, self._plain, limits=self._limits)
            dataset = with_nested_pixels(dataset, self._decode_icon)
            if any(tag in dataset for tag in _FLOAT_PIXELS) and self._write.encapsulated:
                raise DatasetEncodeError("floating point pixels have no compression")
            tail_start = layout.start
            if layout.length is not None:
                form, frames, tail_start = self._plan(source, layout, dataset)
                number = number_of_frames(dataset)
                if not self._write.encapsulated and number > 1 and number * form.frame_size > HELD:
                    self._held = None
                first: tuple[bytes, Frame] | None = None
                for data in frames:
                    frame = self._converted(form, data)
                    if first is None:
                        first = data, frame
                    self._take(frame, first[1], form)
                    yield True
                assert first is not None
                describe_pixels(dataset, form, replace(first[1], bits_stored=self._stored))
                if self._read.encapsulated and is_lossy(self._read, first[0]):
                    native = len(self._lengths) * first[1].bits_allocated * form.frame_size // form.bits_allocated
                    mark_lossy(dataset, self._read, native / max(1, tail_start - layout.start))
            elif self._write.encapsulated:
                raise DatasetEncodeError("without pixels, and the transfer syntax is for compressed ones")
            self._finish(source, dataset, layout, tail_start)

    def _finish(self, source: Source, dataset: Dataset, layout: Layout, tail_start: int) -> None:
        """Encode what comes before and after the pixels."""
        self._head = self._written(dataset)
        if layout.length is not None:
            self._head += self._beginning_of_pixels()
        behind = source.size - tail_start
        if behind > self._limits.dataset_in_memory:
            raise DatasetTooLarge(f"over {self._limits.dataset_in_memory} bytes come behind the pixels")
        tail = decode_dataset(source.read_at(tail_start, behind), self._plain, limits=self._limits)
        self._tail = self._end_of_pixels(layout) + self._written(tail)

    def _plan(self, source: Source, layout: Layout, dataset: Dataset) -> tuple[PixelFormat, Iterator[bytes], int]:
        """Return the format of the frames, the frames, and the offset of what follows them."""
        form, number = pixel_format(dataset, self._limits), number_of_frames(dataset)
        assert layout.length is not None
        if layout.length == UNDEFINED_LENGTH:
            found = read_fragments(source, layout.start, self._limits)
            pieces = frames_of(source, found, number)
            return form, (b"".join(source.read_at(*item) for item in frame) for frame in pieces), found.end
        size, end = form.frame_size, layout.start + layout.length
        if self._read.encapsulated or form.photometric_interpretation.endswith(_SUBSAMPLED):
            raise DatasetEncodeError("Pixel Data does not have the form that its transfer syntax says")
        if number * size > layout.length or end > source.size:
            raise DatasetEncodeError(f"Pixel Data has {layout.length} bytes for {number} frames of {size}")
        return form, (source.read_at(layout.start + at * size, size) for at in range(number)), end

    def _converted(self, form: PixelFormat, data: bytes) -> Frame:
        frame = self._convert(FrameJob(self._read, self._write, form), data)
        if not self._write.encapsulated:
            size = form.frame_size // (form.bits_allocated // 8) * (frame.bits_allocated // 8)
            if len(frame.data) != size:
                raise DatasetEncodeError(f"a frame of {len(frame.data)} bytes where {size} were expected")
        return frame

    def _take(self, frame: Frame, first: Frame, form: PixelFormat) -> None:
        """Record the length of a frame, and keep the frame unless that would be too much."""
        said = (frame.photometric_interpretation, frame.bits_allocated)
        if said != (first.photometric_interpretation, first.bits_allocated):
            raise DatasetEncodeError("frames that differ in their photometric interpretation or depth")
        length = self._length(frame)
        self._lengths.append(length)
        self._total += length
        self._bits, self._stored = frame.bits_allocated, max(self._stored, frame.bits_stored)
        self.frames += 1
        if self._held is not None:
            self._held.append(frame.data)
            if self.frames > 1 and self._total > HELD:
                self._held = None
        if not self._write.encapsulated and self._total > _LONGEST:
            raise DatasetEncodeError("decompressed, the pixels are over 4 GiB")

    def _length(self, frame: Frame) -> int:
        """Return the length with which a frame is written: a fragment has an even length (PS3.5 A.4)."""
        return len(frame.data) + (len(frame.data) % 2 if self._write.encapsulated else 0)

    def _decode_icon(self, item: Dataset, value: bytes) -> DataElement:
        """Decode the pixels of an icon, which has the compression of the image (PS3.3 F.7)."""
        source, form = InMemory(value + pack("<HHL", 0xFFFE, 0xE0DD, 0)), pixel_format(item, self._limits)
        (pieces,) = frames_of(source, read_fragments(source, 0, self._limits), 1)
        data = b"".join(source.read_at(*piece) for piece in pieces)
        frame = self._convert(FrameJob(self._read, syntaxes.ExplicitVRLittleEndian, form), data)
        describe_pixels(item, form, frame)
        return DataElement(0x7FE00010, "OW" if frame.bits_allocated > 8 else "OB", frame.data)

    # --- the second round ---------------------------------------------------------------------------------------------

    def pieces(self) -> Iterator[bytes]:
        """Yield the data set in the target transfer syntax. check() must have run to its end.

        Raises:
            DatasetEncodeError, OSError: The source has changed, or a codec failed that worked in the first round.
        """
        plain = self._plain_pieces()
        return deflated_pieces(plain) if self._write.deflated else plain

    def at_hand(self) -> bytes | None:
        """Return the whole data set if all its frames were kept; otherwise None."""
        return b"".join(self.pieces()) if self._held is not None else None

    def _plain_pieces(self) -> Iterator[bytes]:
        yield self._head
        for number, data in enumerate(self._frames_again()):
            if self._write.encapsulated:
                yield pack("<HHL", ITEM >> 16, ITEM & 0xFFFF, self._lengths[number])
                yield data + b"\0" * (len(data) % 2)
            else:
                yield data
        if self._tail:
            yield self._tail

    def _frames_again(self) -> Iterator[bytes]:
        if self._held is not None:
            while self._held:
                yield self._held.pop(0)
            return
        with self._opened() as source:
            layout = find_pixels(source, self._plain, self._limits)
            dataset = decode_dataset(layout.head, self._plain, limits=self._limits)
            form, frames, _ = self._plan(source, layout, dataset)
            for number, data in enumerate(frames):
                frame = self._converted(form, data)
                if self._length(frame) != self._lengths[number]:
                    raise DatasetEncodeError("a frame has another length the second time")
                yield frame.data

    # --- in bytes -----------------------------------------------------------------------------------------------------

    def _opened(self) -> AbstractContextManager[Source]:
        source = self._source
        if isinstance(source, FileHead) and self._read.little_endian and not self._read.deflated:
            return reopen(source)
        return nullcontext(InMemory(self._in_memory(source)))

    def _in_memory(self, source: bytes | FileHead) -> bytes:
        """Return the bytes of the source. Deflated and Big Endian data sets become Explicit VR Little Endian."""
        if isinstance(source, FileHead):
            if source.size > self._limits.dataset_in_memory:
                raise DatasetTooLarge(f"the data set is over {self._limits.dataset_in_memory} bytes")
            source = b"".join(reopen(source).pieces(1 << 20))
        if self._read.encapsulated or self._plain == self._read:
            return source
        return bytes(transcode(source, self._read, self._plain, limits=self._limits))

    def _written(self, dataset: Dataset) -> bytes:
        row = self._write
        return b"".join(
            write_dataset(
                dataset, implicit=row.implicit, little_endian=row.little_endian, encapsulated=row.encapsulated
            )
        )

    def _beginning_of_pixels(self) -> bytes:
        if self._write.encapsulated:
            return pack("<HH2s2xL", 0x7FE0, 0x0010, b"OB", UNDEFINED_LENGTH) + self._offset_table()
        total = self._total + self._total % 2
        if self._write.implicit:
            return pack("<HHL", 0x7FE0, 0x0010, total)
        return pack("<HH2s2xL", 0x7FE0, 0x0010, b"OW" if self._bits > 8 else b"OB", total)

    def _offset_table(self) -> bytes:
        """Return the Basic Offset Table (PS3.5 A.4). It is empty if an offset would be too large."""
        offsets, at = [], 0
        for length in self._lengths:
            offsets.append(at)
            at += 8 + length
        if offsets[-1] > 0xFFFFFFFF:
            offsets = []
        return pack("<HHL", ITEM >> 16, ITEM & 0xFFFF, 4 * len(offsets)) + pack(f"<{len(offsets)}L", *offsets)

    def _end_of_pixels(self, layout: Layout) -> bytes:
        if layout.length is None:
            return b""
        if self._write.encapsulated:
            return pack("<HHL", SEQUENCE_DELIMITATION >> 16, SEQUENCE_DELIMITATION & 0xFFFF, 0)
        return b"\0" * (self._total % 2)
