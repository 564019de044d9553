"""Reads and changes the attributes that describe the pixels of a data set (PS3.3 C.7.6.3, PS3.5 8.2)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException
from pydicom.sequence import Sequence

from aiodimse.config import Limits
from aiodimse.datasets.element_headers import UNDEFINED_LENGTH
from aiodimse.datasets.pixels.jobs import Frame, PixelFormat
from aiodimse.datasets.reading import items_of, shallow_copy
from aiodimse.errors import DatasetEncodeError

_OFFSET_TABLES: Final = (0x7FE00001, 0x7FE00002, 0x7FE00003)
"""Extended Offset Table, Extended Offset Table Lengths, Encapsulated Pixel Data Value Total Length."""
_PIXEL_DATA: Final = 0x7FE00010
_PIXEL_DATA_BYTES: Final = b"\xe0\x7f\x10\x00"

_AFTER_DECODING: Final = {"YBR_FULL_422": "YBR_FULL", "YBR_PARTIAL_422": "YBR_FULL"}
"""Photometric Interpretation after decoding: a decoder gives every pixel a chrominance of its own."""


def pixel_format(dataset: Dataset, limits: Limits) -> PixelFormat:
    """Return the format of the pixels as the data set describes it.

    Args:
        dataset: A data set, or an item such as that of an icon.
        limits: dataset_in_memory bounds the size of a frame.

    Raises:
        DatasetEncodeError: Attributes are missing or invalid, or no codec supports the format.
    """

    def number(keyword: str, otherwise: int | None = None) -> int:
        with suppress(BytesLengthException):
            value = dataset.get(keyword)
            if value is None and otherwise is not None:
                return otherwise
            if isinstance(value, int) and 0 <= value <= 0xFFFF:
                return value
        raise DatasetEncodeError(f"{keyword} is missing, or is not a number")

    samples = number("SamplesPerPixel", 1)
    allocated = number("BitsAllocated")
    form = PixelFormat(
        rows=number("Rows"),
        columns=number("Columns"),
        samples_per_pixel=samples,
        photometric_interpretation=str(dataset.get("PhotometricInterpretation", "") or ""),
        planar_configuration=number("PlanarConfiguration", 0) if samples > 1 else 0,
        bits_allocated=allocated,
        bits_stored=number("BitsStored", allocated),
        pixel_representation=number("PixelRepresentation", 0),
    )
    is_sound = (
        form.rows
        and form.columns
        and samples in (1, 3, 4)
        and allocated in (8, 16, 32)
        and 0 < form.bits_stored <= allocated
        and form.pixel_representation in (0, 1)
        and form.planar_configuration in (0, 1)
        and form.photometric_interpretation
    )
    if not is_sound:
        raise DatasetEncodeError("pixels of a kind that can be neither decoded nor encoded")
    if form.frame_size > limits.dataset_in_memory:
        raise DatasetEncodeError(f"a frame of over {limits.dataset_in_memory} bytes")
    return form


def number_of_frames(dataset: Dataset) -> int:
    """Return Number of Frames (0028,0008); 1 if it is missing.

    Raises:
        DatasetEncodeError: It is not a positive number.
    """
    try:
        number = int(dataset.get("NumberOfFrames") or 1)
    except (TypeError, ValueError, BytesLengthException):
        number = 0
    if number < 1:
        raise DatasetEncodeError("NumberOfFrames is not a positive number")
    return number


def describe_pixels(dataset: Dataset, form: PixelFormat, frame: Frame) -> None:
    """Change the attributes to those of the converted frames.

    Args:
        dataset: The data set, which is changed.
        form: The format before the conversion.
        frame: One of the converted frames.
    """
    photometric = frame.photometric_interpretation
    photometric = _AFTER_DECODING.get(photometric, photometric)
    if photometric != form.photometric_interpretation:
        dataset.PhotometricInterpretation = photometric
    if form.samples_per_pixel > 1 and form.planar_configuration:
        dataset.PlanarConfiguration = 0
    stored = min(frame.bits_stored, frame.bits_allocated)
    if (frame.bits_allocated, stored) != (form.bits_allocated, form.bits_stored):
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = frame.bits_allocated, stored, stored - 1
    for tag in _OFFSET_TABLES:
        if tag in dataset:
            del dataset[tag]


def with_nested_pixels(dataset: Dataset, decode: Callable[[Dataset, bytes], DataElement]) -> Dataset:
    """Return a data set in which the encapsulated pixels of items are decoded. As a rule these are icons.

    Args:
        dataset: The data set, which is not changed.
        decode: Takes an item and its encapsulated Pixel Data; changes the item, and returns the new element.
    """
    out = dataset
    for key, element in list(dataset.items()):
        if not _may_hold_pixels(element):
            continue
        items = []
        for item in items_of(element, dataset):
            copy = with_nested_pixels(shallow_copy(item, lambda _: False), decode)
            pixels = copy.get_item(_PIXEL_DATA)
            if pixels is not None and (
                pixels.length == UNDEFINED_LENGTH if isinstance(pixels, RawDataElement) else pixels.is_undefined_length
            ):
                value: Any = pixels.value
                copy[_PIXEL_DATA] = decode(copy, value)
            items.append(copy)
        if out is dataset:
            out = shallow_copy(dataset, lambda _: False)
        out[key] = DataElement(key, "SQ", Sequence(items))
    return out


def _may_hold_pixels(element: DataElement | RawDataElement) -> bool:
    if isinstance(element, RawDataElement):
        return element.VR in ("SQ", None) and _PIXEL_DATA_BYTES in (element.value or b"")
    return element.VR == "SQ"
