"""Reading a folder of DICOM files into headers: which files there are, and what is in them. Synchronous; `Archive` runs
it in a thread, a batch at a time."""

from __future__ import annotations

import io
import os
import stat
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import Any

from pydicom import Dataset
from pydicom.datadict import tag_for_keyword
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset, read_file_meta_info, read_partial
from pydicom.uid import DeflatedExplicitVRLittleEndian

from .attributes import character_set_of, decode
from .index import Header
from .models import ATTRIBUTES, UNIQUE, Level

_TAGS = [tag for keywords in ATTRIBUTES.values() for keyword in keywords if (tag := tag_for_keyword(keyword))]
_LAST = max(_TAGS)

_GROUP_LENGTH_END = 144  # preamble, prefix and (0002,0000), PS3.10 7.1
_MAX_INFLATED = 1 << 24

MAX_READS = 16384
"""For one header. Most take some hundred, an ECG with all its annotations 2,300."""


class NotAnObject(ValueError):
    """A DICOM file that is no object of a study: a DICOMDIR, or without one of the UIDs that it would be found by."""


@dataclass(slots=True)
class ScanReport:
    """What a scan has seen so far."""

    files: int = 0
    """Files looked at, and folders that the system would not let us read: the sum of the next six."""
    indexed: int = 0
    """Objects that can be found now."""
    duplicates: int = 0
    """Files of an object that another file holds too."""
    not_dicom: int = 0
    """Files without a DICOM Part 10 header."""
    not_objects: int = 0
    """DICOM files without the UIDs of an object, its series and its study."""
    damaged: int = 0
    """DICOM files whose header could not be read."""
    unreadable: int = 0
    """Files and folders that the system would not let us read."""
    forgotten: int = 0
    """Objects of an earlier scan whose files have gone, or hold something else now."""

    def __str__(self) -> str:
        indexed = f"{self.indexed} of {self.files} files indexed"
        skipped = (
            (self.duplicates, "of an object seen before"),
            (self.not_dicom, "not DICOM"),
            (self.not_objects, "without the UIDs of an object"),
            (self.damaged, "damaged"),
            (self.unreadable, "unreadable"),
        )
        words = ", ".join(f"{count} {word}" for count, word in skipped if count)
        indexed = f"{indexed}; skipped: {words}" if words else indexed
        return f"{indexed}; forgotten: {self.forgotten}" if self.forgotten else indexed


def read_header(path: str | os.PathLike[str]) -> Header:
    """Read what is kept of one file. Raises OSError, NotAnObject, pydicom's InvalidDicomError for what is not DICOM,
    and anything at all for a header that is damaged."""
    dataset = _read(Path(path))
    levels = {level: decode(dataset, keywords) for level, keywords in ATTRIBUTES.items()}
    header = Header(Path(path), levels, character_set_of(dataset))
    missing = [UNIQUE[level] for level in (Level.STUDY, Level.SERIES, Level.IMAGE) if not header.unique(level)]
    if missing:
        raise NotAnObject("no " + ", ".join(missing))
    return header


def _read(path: Path) -> Dataset:
    with _Bounded(path.open("rb", buffering=0)) as file:
        # File meta is read once more only where it may say so.
        if DeflatedExplicitVRLittleEndian.encode() in file.peek(1024):
            meta = read_file_meta_info(path)
            if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
                inflated = _inflated(path, _GROUP_LENGTH_END + meta.FileMetaInformationGroupLength)
                return _bounded(inflated, lambda source: read_dataset(source, False, True, **_READING))
        return _bounded(file, lambda source: read_partial(source, **_READING))


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


def walk(directory: Path, report: ScanReport) -> Iterator[Path]:
    """All regular files below, in the order of their names; links are followed, each folder is entered once. Names that
    begin with a dot are left out: among them are the files that C-STORE is still writing."""
    entered: set[tuple[int, int]] = set()
    waiting = [directory]
    while waiting:
        path = waiting.pop()
        try:
            status = path.stat()
            if stat.S_ISDIR(status.st_mode):
                if (status.st_dev, status.st_ino) not in entered:
                    entered.add((status.st_dev, status.st_ino))
                    waiting += sorted((each for each in path.iterdir() if not each.name.startswith(".")), reverse=True)
            elif stat.S_ISREG(status.st_mode):  # a pipe would make us wait for ever
                yield path
        except OSError:  # no permission, a broken link, a link to itself
            report.files += 1
            report.unreadable += 1


class Scanner:
    """Reads a folder in batches. Of two files of one object, the one that C-STORE named after its UID counts, else the
    first."""

    def __init__(self, directory: Path) -> None:
        self.report = ScanReport()
        self._paths = walk(directory, self.report)
        self.seen: set[str] = set()
        """SOP Instance UIDs."""

    def batch(self, seconds: float = 0.1) -> list[Header] | None:
        """The headers of the files that can be read in about so many seconds; None at the end."""
        until, headers, report = monotonic() + seconds, [], self.report
        for path in self._paths:
            report.files += 1
            try:
                header = read_header(path)
            except OSError:
                report.unreadable += 1
            except InvalidDicomError:
                report.not_dicom += 1
            except NotAnObject:
                report.not_objects += 1
            except Exception:
                # pydicom raises whatever it stumbles over, and one bad file of many must not end the scan.
                report.damaged += 1
            else:
                if self._is_new(header):
                    headers.append(header)
            if monotonic() >= until:
                return headers
        return headers or None

    def _is_new(self, header: Header) -> bool:
        uid = header.unique(Level.IMAGE)
        if uid not in self.seen:
            self.seen.add(uid)
            self.report.indexed += 1
            return True
        self.report.duplicates += 1
        return bool(header.path.stem == uid)
