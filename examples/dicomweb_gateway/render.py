"""Rendering: one frame, with its window applied, as an image."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.pixels.utils import pixel_array

from aiodimse import dicomweb


def rendered(path: Path, number: int, media_type: str, window: tuple[float, float, str] | None) -> bytes:
    """Return one frame as image/png or image/jpeg, with this window instead of its own.

    Only this frame is read, and a deflated file is inflated no further than to its end, and up to 256 MiB.
    """
    dataset = dicomweb.read_one_frame(path, number)
    pixels = pixel_array(dataset)
    if dataset.SamplesPerPixel == 1:
        if window is not None:
            dataset.WindowCenter, dataset.WindowWidth, dataset.VOILUTFunction = window
        values = apply_voi_lut(apply_modality_lut(pixels, dataset), dataset, prefer_lut=window is None).astype(
            np.float32
        )
        low, high = values.min(), values.max()
        if "WindowCenter" in dataset and (window or "VOILUTSequence" not in dataset):  # its ends are black and white
            center, width = (np.atleast_1d(dataset[name].value)[0] for name in ("WindowCenter", "WindowWidth"))
            low, high = apply_voi_lut(np.array([center - 9 * width, center + 9 * width]), dataset, prefer_lut=False)
        pixels = (values - low) * (255 / (high - low or 1))
        if dataset.PhotometricInterpretation == "MONOCHROME1":
            pixels = 255 - pixels
    out = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(out, "PNG" if media_type == "image/png" else "JPEG", quality=90)
    return out.getvalue()
