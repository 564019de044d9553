"""Reads the header of an object: the attributes that the index keeps, and no more bytes than they need. It blocks."""

from __future__ import annotations

import os
import zlib
from dataclasses import replace
from pathlib import Path

from pydicom import Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

import aiodimse
from aiodimse import charsets

from .attributes import Source, character_set_of, decode, decode_ascii, decode_groups
from .budget import Budget, cost_of
from .elements import Encoding, More, Reading, Unreadable
from .index import Header
from .models import ATTRIBUTES, UNIQUE, Level
from .one_level import BY_STORAGE, MODELS
from .plain_elements import PlainElements

_CHARACTER_SET = 0x00080005
_KEPT = (*ATTRIBUTES.values(), *(model.keywords for model in MODELS))
_TAGS = frozenset((_CHARACTER_SET, *(tag_for_keyword(keyword) or 0 for keywords in _KEPT for keyword in keywords)))
_LAST = max(_TAGS)
_ABOVE = (Level.PATIENT, Level.STUDY, Level.SERIES)
_KEPT_ABOVE = tuple(ATTRIBUTES[level] for level in _ABOVE)
"""What is kept above the level of images. It is decoded at once, since all objects of a series have it in common."""
_CONTENT, _CONTOURS, _BEHIND_CONTOURS = 0x0040A730, 0x30060010, 0x300A0000
"""Content Sequence of a report (PS3.3 C.17.3); the contours of a structure set, and what follows them."""
_IDENTIFYING = frozenset(tag_for_keyword(keyword) or 0 for keyword in UNIQUE.values())
_SERIES_INSTANCE_UID = 0x0020000E

_DEFLATED = frozenset(("1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.4.95", "1.2.840.10008.1.2.4.205"))
"""Transfer syntaxes of deflated data sets."""
_OF_THE_STANDARD = "1.2.840.10008."
"""The prefix of the UIDs of PS3.6. Those of private transfer syntaxes have another."""
_BEGINNING = 1 << 16
"""The first bytes of a data set, which contain nearly every header."""
_MAX_INFLATED = 1 << 24
_LAST_TIME = (1 << 63) - 1
"""2262-04-11 in nanoseconds since 1970, the last time that a database has. Files may be of the year 2300."""


class NotAnObject(ValueError):
    """A DICOM file that is not an object of a study: a DICOMDIR, or a file without the UIDs to find it by."""


class DamagedHeader(ValueError):
    """A header that cannot be read as far as the UIDs of the series and study."""


def read_header(path: str | os.PathLike[str], location: str | None = None) -> Header:
    """Read the header of one file.

    Args:
        path: The file.
        location: The name of the file in the index; None: the path.

    Raises:
        OSError: The file cannot be read.
        NotAnObject: It lacks a UID by which objects are found.
        aiodimse.NotDICOM: It is not DICOM, or its data set is not in its transfer syntax.
        DamagedHeader: It cannot be read as far as its series.
        TooMuch: There are too many elements before the last one that is kept.
    """
    path = Path(path)
    # read_head() also serves to send files, so every object that is indexed can be sent.
    head = aiodimse.read_head(path)
    with path.open("rb", buffering=0) as file:
        status = os.fstat(file.fileno())

        def more(pos: int, size: int) -> bytes:
            file.seek(head.data_offset + pos)
            return file.read(size)

        where = str(path) if location is None else location
        header = header_in(more(0, _BEGINNING), head.transfer_syntax, where, more=more)
    return header.stamped(status.st_size, modified_of(status))


def modified_of(status: os.stat_result) -> int:
    """Return when a file was last written, in nanoseconds, as an index has it.

    Args:
        status: What the system says of the file.
    """
    return min(status.st_mtime_ns, _LAST_TIME)


def header_in(data: bytes, transfer_syntax: str, location: str, *, more: More | None = None) -> Header:
    """Read the header of an object from the first bytes of its data set.

    Args:
        data: The first bytes, encoded.
        transfer_syntax: The UID of their transfer syntax.
        location: The name of the file in the index.
        more: Returns bytes after them; None if there are none.

    Raises:
        NotAnObject: It lacks a UID by which objects are found.
        DamagedHeader: It cannot be read as far as its series.
        TooMuch: There are too many elements before the last one that is kept.
    """
    if not transfer_syntax.startswith(_OF_THE_STANDARD):
        raise DamagedHeader("it is in a private transfer syntax")
    if transfer_syntax in _DEFLATED:
        data, more = _inflated(data, more), None
    encoding = Encoding(transfer_syntax == ImplicitVRLittleEndian, transfer_syntax != ExplicitVRBigEndian)
    reading, is_whole = Reading(data, encoding, more), True
    try:
        reading.read(_TAGS, _is_behind, _PLAIN)
    except Unreadable:
        is_whole = False
    # A header that ends before its series UID may contain only a part of a UID, which is another UID.
    if not is_whole and reading.reached < _SERIES_INSTANCE_UID:
        raise DamagedHeader("it ends, or cannot be followed, before Series Instance UID")
    if not reading.disordered.isdisjoint(_IDENTIFYING):
        # Readers that stop at the first larger tag, and readers that do not, would see two different instances.
        raise DamagedHeader("its elements are not in order")
    header = _header_of(reading.elements, location, transfer_syntax)
    return header if is_whole else replace(header, is_partial=True)


def header_of(dataset: Dataset, location: str, transfer_syntax: str = "") -> Header:
    """Make the header of an object from its data set.

    Args:
        dataset: The data set, or the beginning of it.
        location: The name of the file in the index.
        transfer_syntax: The UID of the transfer syntax in which it is stored, if that is known.

    Raises:
        NotAnObject: It lacks a UID by which objects are found.
    """
    return _header_of(dataset, location, transfer_syntax)


def _header_of(source: Source, location: str, transfer_syntax: str) -> Header:
    (sop_class_uid,) = decode_ascii(source, 0x00080016)[:1] or ("",)
    model = BY_STORAGE.get(sop_class_uid)
    character_set = character_set_of(source)
    budget, charset = Budget(), charsets.lookup(character_set)
    if model is None:
        levels = dict(zip(_ABOVE, decode_groups(source, _KEPT_ABOVE, budget, charset), strict=True))
        levels[Level.IMAGE] = decode(source, ATTRIBUTES[Level.IMAGE], budget, charset)
        if budget.is_exceeded:
            # The unique keys precede all others, because without them nothing is found.
            budget = Budget()
            levels = {level: decode(source, (UNIQUE[level],), budget, charset) for level in Level}
            for level, keywords in ATTRIBUTES.items():
                levels[level].update(decode(source, keywords[1:], budget, charset))
    else:
        levels = {Level.IMAGE: decode(source, model.keywords, budget, charset)}
    if (patient_id := levels.get(Level.PATIENT, {}).get("PatientID")) and len(patient_id) > 1:
        # Patient ID has one value (PS3.6): the backslash of "DOMAIN\\name" is not a delimiter, or patients would merge.
        whole = ("\\".join(map(str, patient_id)),)
        if budget.take(cost_of("LO", whole)):
            levels[Level.PATIENT]["PatientID"] = whole
        else:  # as one that is as long without a backslash
            del levels[Level.PATIENT]["PatientID"]
    header = Header(
        location,
        levels,
        character_set,
        transfer_syntax,
        model="" if model is None else model.name,
        is_partial=budget.is_exceeded,
    )
    needed = (Level.STUDY, Level.SERIES, Level.IMAGE) if model is None else (Level.IMAGE,)
    missing = [UNIQUE[level] for level in needed if not header.unique(level)]
    if missing:
        raise NotAnObject("no " + ", ".join(missing))
    return header


def _inflated(data: bytes, more: More | None) -> bytes:
    """Return the beginning of a deflated data set, since 1 MiB may inflate to one GiB."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    found = bytearray()
    pos = 0
    while data and not inflater.eof and len(found) < _MAX_INFLATED:
        try:
            found += inflater.decompress(data, _MAX_INFLATED - len(found))
        except zlib.error:
            raise DamagedHeader("it cannot be inflated") from None
        pos += len(data)
        if more is None or pos >= _MAX_INFLATED:
            break
        data = more(pos, _BEGINNING)
    return bytes(found)


def _is_behind(tag: int) -> bool:
    """Return whether nothing that is kept has this tag or a later one. What follows is the content of a report, the
    contours of a structure set, or the frames of an enhanced object."""
    return tag > _LAST or tag == _CONTENT or _CONTOURS <= tag < _BEHIND_CONTOURS


_PLAIN = PlainElements(_TAGS, _is_behind)
"""Remembers the runs of plain elements of all objects."""
