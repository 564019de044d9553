"""Rendering: one frame, with its window applied, as an image."""

from __future__ import annotations

import io
import math
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.pixels.utils import pixel_array
from pydicom.uid import ExplicitVRLittleEndian

import aiodimse
from aiodimse import dicomweb

MOST_SAMPLES = 1 << 26
"""The largest number of samples of a frame that is rendered, such as 8,192 x 8,192 of gray. Each takes up to 16 bytes
meanwhile, and a compressed frame of a few bytes may have any number. Its own header must say the same."""


FUNCTIONS = {"linear": "LINEAR", "linear-exact": "LINEAR_EXACT", "sigmoid": "SIGMOID"}


def window_of(text: str | None) -> tuple[float, float, str] | None:
    """Read the query parameter window (PS3.18 8.3.5.1.4): center, width and function, which may be left out.

    Raises ValueError if it is none.
    """
    if text is None:
        return None
    try:
        center, width, function = [*text.split(","), "linear"][: max(3, text.count(",") + 1)]
        found = float(center), float(width), FUNCTIONS[function]
    except (KeyError, ValueError):
        raise ValueError("a window is center,width or center,width,function: linear, linear-exact or sigmoid") from None
    least = 1 if function == "linear" else math.ulp(0)  # PS3.3 C.11.2.1.2 and C.11.2.1.3
    if not (math.isfinite(found[0]) and least <= found[1] < math.inf):
        raise ValueError("no window has this center and width")
    return found


def rendered(path: Path, number: int, media_type: str, window: tuple[float, float, str] | None) -> bytes:
    """Return one frame as image/png or image/jpeg, with this window instead of its own.

    Only this frame is read, and a deflated file is inflated no further than to its end, and up to 256 MiB.
    """
    dataset = one_frame(path, number)
    pixels = pixel_array(dataset)
    if dataset.SamplesPerPixel == 1:
        if window is not None:
            dataset.WindowCenter, dataset.WindowWidth, dataset.VOILUTFunction = window
        values = apply_voi_lut(apply_modality_lut(pixels, dataset), dataset, prefer_lut=window is None)
        values = values.astype(np.float32)
        low, high = float(values.min()), float(values.max())
        pixels = (values - low) * (255 / (high - low or 1))
        if dataset.PhotometricInterpretation == "MONOCHROME1":
            pixels = 255 - pixels
    out = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(out, "PNG" if media_type == "image/png" else "JPEG", quality=90)
    return out.getvalue()


def one_frame(path: Path, number: int) -> Dataset:
    """Read an instance as if it had only this frame.

    Raises ValueError if there is none, if it is too large, or if its code stream says another size than the instance.
    """
    dataset = dicomweb.read_metadata(path)
    _, frame = dicomweb.read_frame(path, number)
    if dataset.Rows * dataset.Columns * dataset.SamplesPerPixel > MOST_SAMPLES:
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
