"""What a rendered frame is made of: an instance with this frame alone, and the window of the URL. Synchronous."""

from __future__ import annotations

import math
import os
from typing import Final

from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian

import aiodimse

from .files import read_frame, read_metadata

_MOST_SAMPLES: Final = 1 << 26
_FUNCTIONS: Final = {"linear": "LINEAR", "linear-exact": "LINEAR_EXACT", "sigmoid": "SIGMOID"}


def window(text: str) -> tuple[float, float, str]:
    """Read the query parameter window of a request for a rendered frame (PS3.18 8.3.5.1.4).

    Args:
        text: Center, width and function, with commas between. The function is linear, linear-exact or sigmoid; it may
            be left out, and is linear then.

    Returns:
        Window Center (0028,1050), Window Width (0028,1051) and VOI LUT Function (0028,1056).

    Raises:
        ValueError: It is no window, or the width is too small for the function (PS3.3 C.11.2.1.2 and C.11.2.1.3).

    Example:
        ```python
        assert dicomweb.window("40,400") == (40.0, 400.0, "LINEAR")
        ```
    """
    try:
        center, width, function = [*text.split(","), "linear"][: max(3, text.count(",") + 1)]
        found = float(center), float(width), _FUNCTIONS[function]
    except (KeyError, ValueError):
        raise ValueError("a window is center,width or center,width,function: linear, linear-exact or sigmoid") from None
    least = 1 if function == "linear" else math.ulp(0)
    if not (math.isfinite(found[0]) and least <= found[1] < math.inf):
        raise ValueError("no window has this center and width")
    return found


def read_one_frame(path: str | os.PathLike[str], number: int, *, max_samples: int = _MOST_SAMPLES) -> Dataset:
    """Read an instance as if it had only this frame, to decode it with pydicom. The rest of the file is not read.

    Args:
        path: A DICOM file.
        number: The frame, from 1.
        max_samples: The largest number of samples (rows x columns x samples per pixel) of a frame. Whoever renders it
            needs up to 16 bytes for each, and a compressed frame of a few bytes may have any number of them.

    Returns:
        The attributes before Pixel Data, and the Pixel Data of this frame.

    Raises:
        NoSuchFrame: The instance has no such frame. It is a ValueError.
        ValueError: The frame is too large; its code stream has another size than the instance says; or as `read_frame`.
        OSError: The file cannot be read.
        InvalidDicomError: The file is not a DICOM file, according to pydicom.
    """
    dataset = read_metadata(path)
    _, frame = read_frame(path, number)
    if dataset.Rows * dataset.Columns * dataset.SamplesPerPixel > max_samples:
        raise ValueError("the frame is too large to be rendered")
    aiodimse.check_frame(dataset, frame)
    dataset.NumberOfFrames = 1
    is_encapsulated = dataset.file_meta.TransferSyntaxUID.is_encapsulated
    if is_encapsulated:
        frame = encapsulate([frame])
    else:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        frame += b"\0" * (len(frame) % 2)
    if "PixelRepresentation" in dataset or dataset.BitsAllocated < 32:  # integers (PS3.3 C.7.6.3, C.7.6.24)
        dataset.add_new("PixelData", "OB" if is_encapsulated or dataset.BitsAllocated <= 8 else "OW", frame)
        dataset["PixelData"].is_undefined_length = is_encapsulated
    elif dataset.BitsAllocated == 32:
        dataset.FloatPixelData = frame
    else:
        dataset.DoubleFloatPixelData = frame
    return dataset
