"""What a worker process is asked for, and what it answers: one frame."""

from __future__ import annotations

from aiodimse.record import record


@record(frozen=True)
class PixelFormat:
    """How pixel values lie in a frame that is not compressed: color by pixel, little endian (PS3.3 C.7.6.3)."""

    rows: int
    columns: int
    samples_per_pixel: int
    photometric_interpretation: str
    planar_configuration: int
    """Of the source; 0 where there is one sample per pixel."""
    bits_allocated: int
    bits_stored: int
    pixel_representation: int

    @property
    def frame_size(self) -> int:
        """Bytes of one frame."""
        return self.rows * self.columns * self.samples_per_pixel * self.bits_allocated // 8


@record(frozen=True)
class FrameJob:
    """Decode a frame, or encode it, or one after the other."""

    source: str
    """The transfer syntax UID that the frame is in."""
    target: str
    """The one that it is wanted in; Explicit VR Little Endian for any that is not compressed."""
    format: PixelFormat


@record(frozen=True)
class Frame:
    """The frame as it is wanted."""

    data: bytes
    photometric_interpretation: str
    bits_allocated: int
    """Of the pixels: more than were asked for where the code stream has more."""
    bits_stored: int
    """Of the pixels: as the data set says, unless the code stream has more."""
