"""Reading what is kept of a file: its header, and no more of it than that takes. Synchronous."""

from __future__ import annotations

import io
import os
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydicom import Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.filereader import read_dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

import aiodimse

from .attributes import Budget, character_set_of, decode, decode_ascii
from .index import Header
from .models import ATTRIBUTES, UNIQUE, Level
from .one_level import BY_STORAGE, MODELS

_KEPT = (*ATTRIBUTES.values(), *(model.keywords for model in MODELS))
_TAGS = [tag_for_keyword(keyword) or 0 for keywords in _KEPT for keyword in keywords]
_LAST = max(_TAGS)

_MAX_INFLATED = 1 << 24

MAX_READS = 16384
"""For one header. Most take some hundred, an ECG with all its annotations 2,300."""


class NotAnObject(ValueError):
    """A DICOM file that is no object of a study: a DICOMDIR, or without one of the UIDs that it would be found by."""


class DamagedHeader(ValueError):
    """A header that cannot be read as far as it says which series and study the object belongs to."""


def read_header(path: str | os.PathLike[str], location: str | None = None) -> Header:
    """Read what is kept of one file.

    Args:
        path: The file.
        location: What the index is to call it; the path itself where it is not given.

    Raises:
        OSError: The system does not let us read it.
        NotAnObject: It has not the UIDs that an object is found by.
        aiodimse.NotDICOM: It is not DICOM, or its data set is not in its transfer syntax.
        DamagedHeader: It cannot be read as far as its series.
        Exception: Anything at all, for a header that is damaged.
    """
    path = Path(path)
    status = path.stat()
    dataset, transfer_syntax = _read(path)
    where = str(path) if location is None else location
    return replace(header_of(dataset, where, transfer_syntax), size=status.st_size, modified=status.st_mtime_ns)


def header_in(data: bytes, transfer_syntax: str, location: str, size: int = 0, modified: int = 0) -> Header:
    """Read what is kept of an object from the first bytes of its data set.

    Args:
        data: The first bytes, encoded.
        transfer_syntax: The UID of the one that they are in.
        location: What the index is to call it.
        size: Of the whole file.
        modified: When the file was last written, in nanoseconds.

    Raises:
        NotAnObject: It has not the UIDs that an object is found by.
        DamagedHeader: It cannot be read as far as its series.
        Exception: Anything at all, for a header that is damaged.
    """
    identity = aiodimse.read_identity(data, transfer_syntax)
    if identity is None:
        raise DamagedHeader("it ends, or cannot be followed, before Series Instance UID")
    if transfer_syntax == DeflatedExplicitVRLittleEndian:
        data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data[:_MAX_INFLATED], _MAX_INFLATED)
    implicit = transfer_syntax == ImplicitVRLittleEndian
    little_endian = transfer_syntax != ExplicitVRBigEndian
    source = _Bounded(io.BytesIO(data))
    dataset = _bounded(source, lambda source: read_dataset(source, implicit, little_endian, **_READING))
    return replace(header_of(dataset, location, transfer_syntax), size=size, modified=modified)


def header_of(dataset: Dataset, location: str, transfer_syntax: str = "") -> Header:
    """Take what is kept of an object from its data set.

    Args:
        dataset: The data set, or the beginning of it.
        location: What the index is to call it.
        transfer_syntax: The UID of the one that it is stored in, where that is known.

    Raises:
        NotAnObject: It has not the UIDs that an object is found by.
    """
    (sop_class_uid,) = decode_ascii(dataset, 0x00080016)[:1] or ("",)
    model = BY_STORAGE.get(sop_class_uid)
    budget = Budget()
    if model is None:
        # The unique keys before all others: without them nothing is found.
        levels = {level: decode(dataset, [UNIQUE[level]], budget) for level in Level}
        for level, keywords in ATTRIBUTES.items():
            levels[level].update(decode(dataset, keywords[1:], budget))
    else:
        levels = {Level.IMAGE: decode(dataset, model.keywords, budget)}
    if (patient_id := levels.get(Level.PATIENT, {}).get("PatientID")) and len(patient_id) > 1:
        # Patient ID has one value (PS3.6): the backslash of "DOMAIN\\name" is no delimiter, or two patients become one.
        levels[Level.PATIENT]["PatientID"] = ("\\".join(map(str, patient_id)),)
    header = Header(
        location,
        levels,
        character_set_of(dataset),
        transfer_syntax,
        model="" if model is None else model.name,
        is_partial=budget.is_exceeded,
    )
    needed = (Level.STUDY, Level.SERIES, Level.IMAGE) if model is None else (Level.IMAGE,)
    missing = [UNIQUE[level] for level in needed if not header.unique(level)]
    if missing:
        raise NotAnObject("no " + ", ".join(missing))
    return header


def _read(path: Path) -> tuple[Dataset, str]:
    """The header, and the transfer syntax. It is found by the reader that sends files: what is indexed can be sent."""
    head = aiodimse.read_head(path)
    # One that cannot be walked as far as its series may say less than it said: half of a UID is another UID.
    identity = aiodimse.file_identity(path)
    if identity is None:
        raise DamagedHeader("it ends, or cannot be followed, before Series Instance UID")
    if head.transfer_syntax == DeflatedExplicitVRLittleEndian:
        source = _inflated(path, head.data_offset)
        dataset = _bounded(source, lambda source: read_dataset(source, False, True, **_READING))
    else:
        implicit = head.transfer_syntax == ImplicitVRLittleEndian
        little_endian = head.transfer_syntax != ExplicitVRBigEndian
        with _Bounded(path.open("rb", buffering=0)) as file:
            file.seek(head.data_offset)
            dataset = _bounded(file, lambda source: read_dataset(source, implicit, little_endian, **_READING))
    for keyword, uid in (
        ("SOPInstanceUID", identity.sop_instance_uid),
        ("StudyInstanceUID", identity.study_instance_uid),
        ("SeriesInstanceUID", identity.series_instance_uid),
    ):
        if str(dataset.get(keyword) or uid) != uid:
            raise DamagedHeader("its elements are not in order")
    return dataset, head.transfer_syntax


def _inflated(path: Path, offset: int) -> _Bounded:
    """The beginning of a deflated data set: 1 MiB may become one GiB."""
    with path.open("rb") as file:
        file.seek(offset)
        deflated = file.read(_MAX_INFLATED)
    return _Bounded(io.BytesIO(zlib.decompressobj(-zlib.MAX_WBITS).decompress(deflated, _MAX_INFLATED)))


def _bounded(source: _Bounded, read: Callable[[_Bounded], Dataset]) -> Dataset:
    try:
        return read(source)
    except OSError:
        if source.left < 0:  # pydicom says this of whatever is raised while it reads an item
            raise _TooLong from None
        raise


class _Bounded(io.BufferedReader):
    """A file that is read so many times and no more. pydicom makes an object of each item of a sequence on its way,
    asked for or not: 100,000 empty ones, 800 KB of a file, took 12 s."""

    left = MAX_READS

    def read(self, size: int | None = -1) -> bytes:
        self.left -= 1
        if self.left < 0:
            raise _TooLong
        return super().read(size)


class _TooLong(ValueError):
    def __init__(self) -> None:
        super().__init__("too many elements and items before the last that is kept")


def _is_behind(tag: int, _vr: str | None, _length: int) -> bool:
    """Whether nothing that is kept comes from here on: of a report its content, of a structure set its contours, of an
    enhanced object its frames."""
    return tag > _LAST or tag == 0x0040A730 or 0x30060010 <= tag < 0x300A0000


_READING: dict[str, Any] = {"stop_when": _is_behind, "specific_tags": list(_TAGS)}
