"""Rendering: one frame, with its window applied, as an image."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image
from pydicom import dcmread
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
from pydicom.pixels.utils import pixel_array


def rendered(path: Path, number: int, media_type: str, window: str | None) -> bytes:
    """Return one frame as image/png or image/jpeg; window: "center,width" instead of its own (PS3.18 8.3.5.1.4)."""
    dataset = dcmread(path, stop_before_pixels=True)
    pixels = pixel_array(path, index=number - 1)
    if dataset.SamplesPerPixel == 1:
        if window is not None:
            dataset.WindowCenter, dataset.WindowWidth = window.split(",")[:2]
        values = apply_voi_lut(apply_modality_lut(pixels, dataset), dataset).astype(np.float32)
        low, high = float(values.min()), float(values.max())
        pixels = (values - low) * (255 / (high - low or 1))
        if dataset.PhotometricInterpretation == "MONOCHROME1":
            pixels = 255 - pixels
    out = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(out, "PNG" if media_type == "image/png" else "JPEG", quality=90)
    return out.getvalue()
