"""What a worker process is asked to do, and its answer: one frame each."""

from __future__ import annotations

from aiodimse.record import record


@record(frozen=True)
class PixelFormat:
    """The layout of pixel values in an uncompressed frame: color by pixel, little endian (PS3.3 C.7.6.3)."""

    rows: int
    columns: int
    samples_per_pixel: int
    photometric_interpretation: str
    planar_configuration: int
    """That of the source; 0 if there is one sample per pixel."""
    bits_allocated: int
    bits_stored: int
    pixel_representation: int

    @property
    def frame_size(self) -> int:
        """Bytes of one frame."""
        return self.rows * self.columns * self.samples_per_pixel * self.bits_allocated // 8


@record(frozen=True)
class FrameJob:
    """Decode a frame, encode it, or decode and then encode it."""

    source: str
    """The UID of the transfer syntax of the frame."""
    target: str
    """The UID of the wanted transfer syntax; Explicit VR Little Endian for every uncompressed one."""
    format: PixelFormat


@record(frozen=True)
class Frame:
    """A converted frame."""

    data: bytes
    photometric_interpretation: str
    bits_allocated: int
    """Bits Allocated of the pixels. It is more than requested if the code stream has more bits."""
    bits_stored: int
    """Bits Stored of the pixels. It is that of the data set unless the code stream has more bits."""
