"""Reads WADO-RS metadata and frames from a file, in no more memory than the result needs. Synchronous.

A deflated file may inflate to a thousand times its size, so only what is needed of it is inflated, up to a limit.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from struct import unpack
from typing import BinaryIO, Final, cast

from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset, read_file_meta_info
from pydicom.tag import BaseTag
from pydicom.uid import UID, ExplicitVRLittleEndian

import aiodimse

from .inflating import Inflated

_LONGEST: Final = 1 << 20
_MOST_INFLATED: Final = 256 << 20
_UNDEFINED: Final = 0xFFFFFFFF
_PIXELS: Final = ((0x7FE0, 0x0010), (0x7FE0, 0x0008), (0x7FE0, 0x0009))
"""Pixel Data, Float Pixel Data, Double Float Pixel Data. An instance has one of them (PS3.3 C.7.6.3, C.7.6.24)."""
_SIZES: Final = ("BitsAllocated", "Rows", "Columns", "SamplesPerPixel")
_WORDS: Final = {"OW": 2, "OF": 4, "OD": 8}
_MEDIA_TYPES: Final = {  # PS3.18 Table 8.7.3-5
    "1.2.840.10008.1.2.4.50": "image/jpeg",
    "1.2.840.10008.1.2.4.51": "image/jpeg",
    "1.2.840.10008.1.2.4.57": "image/jpeg",
    "1.2.840.10008.1.2.4.70": "image/jpeg",
    "1.2.840.10008.1.2.4.80": "image/jls",
    "1.2.840.10008.1.2.4.81": "image/jls",
    "1.2.840.10008.1.2.4.90": "image/jp2",
    "1.2.840.10008.1.2.4.91": "image/jp2",
    "1.2.840.10008.1.2.4.201": "image/jphc",
    "1.2.840.10008.1.2.4.202": "image/jphc",
    "1.2.840.10008.1.2.4.203": "image/jphc",
    "1.2.840.10008.1.2.5": "image/dicom-rle",
}


class NoSuchFrame(ValueError):
    """The instance has no frame of this number, or no frames at all. The text names no value of the instance."""


def read_metadata(path: str | os.PathLike[str], *, max_inflated: int = _MOST_INFLATED) -> Dataset:
    """Read what WADO-RS calls the metadata of an instance: its attributes without bulk data (PS3.18 10.4.1.1.2).

    Args:
        path: A DICOM file.
        max_inflated: The largest number of bytes that are inflated of a deflated data set.

    Returns:
        The attributes before Pixel Data, without values of more than a MiB, for `to_json`.

    Raises:
        ValueError: The file is damaged; or its data set is deflated, and has a million elements, or exceeds
            `max_inflated` before its Pixel Data.
        OSError: The file cannot be read.
        InvalidDicomError: The file is not a DICOM file, according to pydicom.
    """
    with _telling_of_damage(), Path(path).open("rb") as file:
        _, dataset, _ = _before_pixels(file, max_inflated)
    # Deferred values were not read. A read sequence has no length any more; an undefined length is that of a sequence.
    for element in list(dataset.values()):
        if _LONGEST < getattr(element, "length", 0) < _UNDEFINED:
            del dataset[element.tag]
    return dataset


def read_frame(path: str | os.PathLike[str], number: int, *, max_inflated: int = _MOST_INFLATED) -> tuple[str, bytes]:
    """Read one frame of an image as it is stored (PS3.18 10.4.1.1.6).

    Args:
        path: A DICOM file.
        number: The frame, from 1.
        max_inflated: The largest number of bytes that are inflated of a deflated data set, from its first byte to the
            end of the frame.

    Returns:
        Its media type with the transfer syntax (PS3.18 8.7.3), and its bytes. Native pixel data are
        application/octet-stream in little endian; a frame of single bits begins at the first bit.

    Raises:
        NoSuchFrame: The instance has no such frame. It is a ValueError.
        ValueError: The instance does not say where the frame is; the file is damaged; or its data set is deflated, and
            has a million elements, or exceeds `max_inflated`.
        OSError: The file cannot be read.
        InvalidDicomError: The file is not a DICOM file, according to pydicom.
    """
    with _telling_of_damage(), Path(path).open("rb") as file:
        content, dataset, syntax = _before_pixels(file, max_inflated)
        count = _number_of_frames(dataset)
        if not 0 < number <= count:
            raise NoSuchFrame(f"the instance has {count} frames")
        vr, length = _enter_pixels(content, dataset)
        if syntax.is_encapsulated:
            media_type = _MEDIA_TYPES.get(syntax, "application/octet-stream")
            return f"{media_type}; transfer-syntax={syntax}", aiodimse.EncapsulatedFrames(file, count)[number - 1]
        if content is file:
            length = min(length, os.fstat(file.fileno()).st_size - file.tell())
        word = 1 if syntax.is_little_endian else _word_size(vr, dataset)
        data = _native_frame(content, dataset, number, length=length, word=word)
        return f"application/octet-stream; transfer-syntax={ExplicitVRLittleEndian}", data


@contextmanager
def _telling_of_damage() -> Iterator[None]:
    """Raise ValueError in place of the many kinds of errors that pydicom raises, whose texts may quote values."""
    try:
        yield
    except (OSError, ValueError, InvalidDicomError):
        raise
    except Exception as error:
        raise ValueError(f"the file is damaged ({type(error).__name__})") from error


def _before_pixels(file: BinaryIO, max_inflated: int) -> tuple[BinaryIO, Dataset, UID]:
    """Read the attributes before Pixel Data, where the file that is returned stands then; values of a MiB are skipped.

    The file is `file` itself, or what is in it when inflated.
    """
    meta = read_file_meta_info(file.name)
    syntax = UID(str(meta.get("TransferSyntaxUID", "")))
    if not syntax.is_deflated:
        whole = dcmread(file, stop_before_pixels=True, defer_size=_LONGEST)
        return file, whole, whole.file_meta.TransferSyntaxUID
    try:
        file.seek(aiodimse.read_head(file.name).data_offset)
    except aiodimse.NotDICOM as error:
        raise InvalidDicomError(str(error)) from None
    inflated = Inflated(file, max_inflated)
    content = cast("BinaryIO", inflated)
    try:
        dataset = read_dataset(content, False, True, stop_when=_is_pixels, defer_size=_LONGEST)
    except Exception:
        if inflated.failure is None:
            raise
    if inflated.failure is not None:
        raise inflated.failure
    dataset.file_meta = FileMetaDataset(meta)
    return content, dataset, syntax


def _is_pixels(tag: BaseTag, vr: str | None, length: int) -> bool:
    return (tag.group, tag.element) in _PIXELS


def _number_of_frames(dataset: Dataset) -> int:
    try:
        return int(dataset.get("NumberOfFrames") or 1) if "Rows" in dataset else 0
    except TypeError:
        raise ValueError("the number of frames is no number") from None


def _enter_pixels(file: BinaryIO, dataset: Dataset) -> tuple[str, int]:
    """Read the header of Pixel Data, before which the file stands; return its VR and length (PS3.5 7.1)."""
    implicit, little_endian = dataset.original_encoding
    order = "<" if little_endian else ">"
    head = file.read(8 if implicit else 12)
    if len(head) == (8 if implicit else 12):
        group, element = unpack(f"{order}HH", head[:4])
        (length,) = unpack(f"{order}L", head[-4:])
        if (group, element) in _PIXELS:
            return "OW" if implicit else head[4:6].decode("latin_1"), length
    raise NoSuchFrame("the instance has no Pixel Data, and no frames")


def _word_size(vr: str, dataset: Dataset) -> int:
    """The size in bytes of what has the byte order of the transfer syntax."""
    return max(_WORDS.get(vr, 1), int(dataset.get("BitsAllocated") or 0) // 8)


def _native_frame(pixels: BinaryIO, dataset: Dataset, number: int, *, length: int, word: int) -> bytes:
    """Read a frame that is not compressed, in little endian. `pixels` stands at the beginning of the value."""
    bits = _bits_of_a_frame(dataset)
    # Frames of single bits may begin within a byte (PS3.5 8.1.1), and those of bytes within a word.
    first_bit = (number - 1) * bits
    first, last = first_bit // 8, -(-(first_bit + bits) // 8)
    begin, end = first - first % word, last + -last % word
    if end <= length:
        pixels.seek(begin, io.SEEK_CUR)
        data = pixels.read(end - begin)
    if end > length or len(data) < end - begin:
        raise ValueError("Pixel Data is shorter than its rows, columns and frames say")
    data = _swapped(data, word)[first - begin : last - begin]
    if bits % 8 == 0:
        return data
    value = int.from_bytes(data, "little") >> first_bit % 8
    return (value & (1 << bits) - 1).to_bytes(-(-bits // 8), "little")


def _bits_of_a_frame(dataset: Dataset) -> int:
    try:
        allocated, *sizes = (int(dataset[keyword].value) for keyword in _SIZES)
        subsampled = dataset.PhotometricInterpretation == "YBR_FULL_422"
    except (AttributeError, KeyError, TypeError):
        raise ValueError("the instance does not say how large its frames are") from None
    if min(allocated, *sizes) < 1:  # a VR that has a sign may stand in the file
        raise ValueError("the frames of the instance have no size")
    if allocated != 1 and allocated % 8:
        raise ValueError(f"frames of {allocated} bits allocated are not read")
    bits = math.prod(sizes) * allocated
    return bits // 3 * 2 if subsampled else bits


def _swapped(data: bytes, word: int) -> bytes:
    """Reverse the bytes of each word."""
    if word == 1:
        return data
    out = bytearray(len(data))
    for at in range(word):
        out[at::word] = data[word - 1 - at :: word]
    return bytes(out)
