"""Every compressed file among pydicom's test files, and their pixels by pydicom's own decoders."""

from __future__ import annotations

import functools
import logging
import warnings
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from aiodimse import datasets
from aiodimse.datasets.pixels.syntaxes import DECODED
from aiodimse.errors import NotDICOM

DATA = Path(pydicom.__file__).parent / "data"
FILES = DATA / "test_files"

UNREADABLE = {"JPEG2000-embedded-sequence-delimiter.dcm"}
"""Nothing decodes it."""
NO_FILE = {"SC_rgb_jpeg.dcm"}
"""Not encoded as it says: it is refused by name (docs/how-to/send-files.md)."""


def _is_compressed(path: Path) -> bool:
    try:
        return datasets.read_head(path).transfer_syntax in DECODED and "PixelData" in pydicom.dcmread(path)
    except (OSError, NotDICOM):
        return False


@functools.cache
def compressed_files() -> list[Path]:
    """Those that can be sent."""
    return [path for path in sorted(DATA.rglob("*.dcm")) if _is_compressed(path) and path.name not in UNREADABLE]


@functools.cache
def pixels(path: Path) -> Any:
    """By pydicom, with the decoders that it prefers; None where it has none that reads this file."""
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return pydicom.dcmread(path).pixel_array
        except RuntimeError:
            return None


def pixels_of(data: bytes, transfer_syntax: str) -> tuple[Dataset, Any]:
    """The data set, and its pixels by pydicom."""
    dataset = datasets.decode_dataset(data, transfer_syntax)
    dataset.file_meta = datasets.file_meta_dataset("1.2.3", "1.2.3.4", transfer_syntax)
    buffer = BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pydicom.dcmwrite(buffer, dataset, enforce_file_format=True)
        read = pydicom.dcmread(BytesIO(buffer.getvalue()))
        return read, read.pixel_array


def is_equal(found: Any, wanted: Any) -> bool:
    """Shapes and values."""
    return found.shape == wanted.shape and bool(np.array_equal(found.astype(np.int64), wanted.astype(np.int64)))
