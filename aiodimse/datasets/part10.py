"""DICOM files (PS3.10 7): reading their head and their data set as bytes. Saving one is saving.py."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import BinaryIO, Final, Self

from aiodimse.datasets.dataset import first_uids
from aiodimse.datasets.encoding import encoding_of
from aiodimse.datasets.file_meta import SOP_CLASS_UID, SOP_INSTANCE_UID, TRANSFER_SYNTAX_UID
from aiodimse.datasets.walk import LONG_VRS
from aiodimse.errors import InstanceConflict, NotDICOM
from aiodimse.record import Record
from aiodimse.standard.transfer_syntax import lookup

PIECE_SIZE: Final = 128 * 1024

_PREFIX_END: Final = 132
_GROUP_LENGTH_SIZE: Final = 12
_FIRST_READ: Final = 64 * 1024
_MAX_META: Final = 1 << 20
"""Private Information (0002,0102) may be large; over this a file is not worth its memory."""

_short_head: Final = Struct("<HH2sH")
_long_head: Final = Struct("<HH2s2xL")
_implicit_head: Final = Struct("<HHL")


# --- reading ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False, repr=False)
class FileHead(Record):
    """What a store needs to know of a file before it sends it."""

    path: Path
    """The file."""
    sop_class_uid: str
    """SOP Class UID (0008,0016)."""
    sop_instance_uid: str
    """SOP Instance UID (0008,0018)."""
    transfer_syntax: str
    """The UID of the transfer syntax in which the data set is."""
    data_offset: int
    """Where the data set begins, in bytes: after preamble, prefix and group 0002."""
    size: int
    """Of the data set alone, in bytes."""


class PartTenReader:
    """An open file: its head, then its data set in pieces. The first read of the disk serves both.

    Raises NotDICOM, with one line that names the path, and OSError.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._left: memoryview | None
        path = Path(path)
        if not stat.S_ISREG(path.stat().st_mode):  # asked first: to open a FIFO waits for its writer
            raise NotDICOM(f"{path}: not a regular file")
        self._file: BinaryIO = path.open("rb")
        try:
            self.head, first = _read_head(path, self._file, os.fstat(self._file.fileno()).st_size)
        except BaseException:
            self._file.close()
            raise
        self._left, self._unread = first, self.head.size

    def read(self, size: int) -> bytes:
        """At most size bytes, b"" at the end of the data set. OSError where the file has become shorter meanwhile."""
        size = min(size, self._unread)
        if not size:
            return b""
        data = b""
        if self._left is not None:
            data = bytes(self._left[:size])
            self._left = self._left[size:] if len(self._left) > size else None
        while len(data) < size:
            more = self._file.read(size - len(data))
            if not more:
                raise _became_shorter(self.head.path)
            data = data + more if data else more
        self._unread -= size
        return data

    def pieces(self, piece_size: int = PIECE_SIZE) -> Iterator[bytes]:
        """What is left of the data set; the file is closed at its end, or when the iterator is."""
        with self:
            while piece := self.read(piece_size):
                yield piece

    def close(self) -> None:
        self._left = None
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _became_shorter(path: Path) -> OSError:
    return OSError(errno.EIO, "the file became shorter while it was read", str(path))


def read_head(path: str | os.PathLike[str]) -> FileHead:
    """Read what a store needs to know of a file: what instance it holds, and in which transfer syntax.

    Args:
        path: A DICOM file (PS3.10 7.1), also one without preamble, without file meta information, or with a wrong Group
            Length (0002,0000).

    Returns:
        The head. Its UIDs are those of the data set, and those of the file meta information where the data set has none
        at its beginning.

    Raises:
        NotDICOM: The file is none, or its data set is not encoded as its transfer syntax says. One line that names the
            path.
        OSError: It cannot be read.
    """
    with PartTenReader(path) as reader:
        return reader.head


def reopen(head: FileHead) -> PartTenReader:
    """Open the file whose head was read before.

    Raises InstanceConflict where its name belongs to another instance by now, or to the same one in another transfer
    syntax; OSError where it is shorter by now, and as PartTenReader does.
    """
    reader = PartTenReader(head.path)
    now = reader.head
    if (now.sop_class_uid, now.sop_instance_uid, now.transfer_syntax) != (
        head.sop_class_uid,
        head.sop_instance_uid,
        head.transfer_syntax,
    ):
        reader.close()
        raise InstanceConflict("the file holds another instance than when it was opened")
    if now.size < head.size:
        reader.close()
        raise _became_shorter(head.path)
    return reader


def open_pieces(head: FileHead, piece_size: int = PIECE_SIZE) -> Iterator[bytes]:
    """The data set of a file in pieces; the file is opened at the first one and closed at the end or on close().

    Raises as reopen() before the first piece; OSError where the file becomes shorter behind it.
    """
    yield from reopen(head).pieces(piece_size)


def _read_head(path: Path, file: BinaryIO, size: int) -> tuple[FileHead, memoryview]:
    """The head, and what was read of the data set on the way."""
    buffer = file.read(_FIRST_READ)
    start = _start_of_meta(buffer)
    if start is None:
        return _head_without_meta(path, buffer, size), memoryview(buffer)
    while True:
        found, offset = _parse_meta(path, buffer, start)
        if offset is not None:
            break
        more = file.read(_FIRST_READ) if len(buffer) < _MAX_META else b""
        if not more:
            raise NotDICOM(f"{path}: not a DICOM file (file meta information is cut off)")
        buffer += more
    data = memoryview(buffer)[offset:]
    # Group Length may be wrong where a data set follows; where none does, the file has been cut off.
    if not len(data) and int.from_bytes(found.get(0, b""), "little") > size - start - _GROUP_LENGTH_SIZE:
        raise NotDICOM(f"{path}: not a DICOM file (file meta information is cut off)")
    sop_class, sop_instance, transfer_syntax = (
        found.get(element, b"").decode("latin-1").strip(" \0")
        for element in (SOP_CLASS_UID, SOP_INSTANCE_UID, TRANSFER_SYNTAX_UID)
    )
    transfer_syntax = _transfer_syntax(path, transfer_syntax, data)
    # Where the two differ the data set is believed, as its receiver will: pydicom's rtplan.dcm has another SOP Instance
    # UID in its file meta, and Orthanc 1.10.1 answers a C-STORE under that one with 0xA900.
    inside = first_uids(data, transfer_syntax)
    sop_class, sop_instance = inside[0] or sop_class, inside[1] or sop_instance
    if not sop_class or not sop_instance:
        raise NotDICOM(f"{path}: no SOP {'Instance' if sop_class else 'Class'} UID")
    return FileHead(path, sop_class, sop_instance, transfer_syntax, offset, max(size - offset, 0)), data


def _start_of_meta(buffer: bytes) -> int | None:
    """Where file meta information begins: behind preamble and prefix (PS3.10 7.1), or where a file has no preamble, at
    once. None where there is neither."""
    if buffer[_PREFIX_END - 4 : _PREFIX_END] == b"DICM":
        return _PREFIX_END
    return 0 if buffer[:2] == b"\2\0" and buffer[3:4] == b"\0" else None


def _head_without_meta(path: Path, buffer: bytes, size: int) -> FileHead:
    """The head of a file that is a data set and nothing else, as older programs wrote them. It has to say what it is:
    nobody else does."""
    transfer_syntax = encoding_of(buffer) or ""
    sop_class, sop_instance = first_uids(buffer, transfer_syntax)
    if not sop_class or not sop_instance:
        raise NotDICOM(f"{path}: not a DICOM file (no DICM prefix)")
    return FileHead(path, sop_class, sop_instance, transfer_syntax, 0, size)


def _transfer_syntax(path: Path, said: str, data: memoryview) -> str:
    """The transfer syntax in which the data set is, by its first element.

    Some programs write file meta information that is not true. A data set that is not compressed can be sent as what it
    is. Compressed pixels in Implicit VR are no transfer syntax of the standard: whoever is sent them cannot read on
    behind them, and some wait for more for ever.
    """
    row, found = lookup(said), encoding_of(data)
    if not said:
        if found is None:
            raise NotDICOM(f"{path}: not a DICOM file (no Transfer Syntax UID)")
        return found
    if row is None or row.deflated or found is None:
        return said
    actual = lookup(found)
    assert actual is not None
    if (actual.implicit, actual.little_endian) == (row.implicit, row.little_endian) or not all(first_uids(data, found)):
        return said
    if row.encapsulated:
        raise NotDICOM(f"{path}: its data set is not encoded as its transfer syntax says")
    return found


def _parse_meta(path: Path, buffer: bytes, pos: int) -> tuple[dict[int, bytes], int | None]:
    """The elements of group 0002 and where it ends; None while the buffer does not reach there.

    Group Length (0002,0000) does not say where: pydicom's no_meta_group_length.dcm has none, others have a wrong one.
    """
    found: dict[int, bytes] = {}
    while len(buffer) - pos >= 8:
        group, element, vr, length = _short_head.unpack_from(buffer, pos)
        if group != 0x0002:
            return found, pos
        start = pos + 8
        if not (vr.isalpha() and vr.isupper()):
            # PS3.10 7.1 asks for Explicit VR; some old writers did not hear it
            *_, length = _implicit_head.unpack_from(buffer, pos)
        elif vr in LONG_VRS:
            if len(buffer) - pos < 12:
                return found, None
            *_, length = _long_head.unpack_from(buffer, pos)
            start += 4
        if length > _MAX_META:
            raise NotDICOM(f"{path}: not a DICOM file (file meta information is over {_MAX_META} bytes)")
        pos = start + length
        found[element] = buffer[start:pos]
    return found, pos if pos == len(buffer) and len(buffer) < _FIRST_READ else None
