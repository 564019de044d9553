"""DICOM files (PS3.10 7): reading their head and their data set as bytes, and saving one whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from struct import Struct
from typing import BinaryIO, Final, Self

from aiodimse.association.answering import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from aiodimse.datasets.beginning import Beginning
from aiodimse.datasets.dataset import first_uids
from aiodimse.datasets.unfinished import hold, unfinished_name
from aiodimse.errors import DatasetEncodeError, NotDICOM
from aiodimse.record import Record

PIECE_SIZE: Final = 128 * 1024

_PREFIX_END: Final = 132
_GROUP_LENGTH_END: Final = _PREFIX_END + 12
_FIRST_READ: Final = 64 * 1024
_MAX_META: Final = 1 << 20
"""Private Information (0002,0102) may be large; over this a file is not worth its memory."""

# Elements of group 0002
_SOP_CLASS_UID: Final = 0x0002
_SOP_INSTANCE_UID: Final = 0x0003
_TRANSFER_SYNTAX_UID: Final = 0x0010

_LONG_VRS: Final = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)
_short_head: Final = Struct("<HH2sH")
_long_head: Final = Struct("<HH2s2xL")
_implicit_head: Final = Struct("<HHL")


# --- reading ----------------------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False, repr=False)
class FileHead(Record):
    """What a store needs to know of a file before it sends it."""

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax: str
    data_offset: int
    """Where the data set begins, after preamble, prefix and group 0002."""
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
                raise OSError(errno.EIO, "the file became shorter while it was read", str(self.head.path))
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


def read_head(path: str | os.PathLike[str]) -> FileHead:
    """The head of a file. Raises NotDICOM, with one line that names the path, and OSError."""
    with PartTenReader(path) as reader:
        return reader.head


def open_pieces(head: FileHead, piece_size: int = PIECE_SIZE) -> Iterator[bytes]:
    """The data set of a file in pieces; the file is opened at the first one and closed at the end or on close()."""
    with head.path.open("rb") as file:
        file.seek(head.data_offset)
        unread = head.size
        while unread:
            piece = file.read(min(piece_size, unread))
            if not piece:
                raise OSError(errno.EIO, "the file became shorter while it was read", str(head.path))
            unread -= len(piece)
            yield piece


def _read_head(path: Path, file: BinaryIO, size: int) -> tuple[FileHead, memoryview]:
    """The head, and what was read of the data set on the way."""
    buffer = file.read(_FIRST_READ)
    if len(buffer) < _PREFIX_END or buffer[128:_PREFIX_END] != b"DICM":
        raise NotDICOM(f"{path}: not a DICOM file (no DICM prefix)")
    while True:
        found, offset = _parse_meta(path, buffer)
        if offset is not None:
            break
        more = file.read(_FIRST_READ) if len(buffer) < _MAX_META else b""
        if not more:
            raise NotDICOM(f"{path}: not a DICOM file (file meta information is cut off)")
        buffer += more
    if int.from_bytes(found.get(0, b""), "little") > size - _GROUP_LENGTH_END:
        raise NotDICOM(f"{path}: not a DICOM file (file meta information is cut off)")
    data = memoryview(buffer)[offset:]
    sop_class, sop_instance, transfer_syntax = (
        found.get(element, b"").decode("latin-1").strip(" \0")
        for element in (_SOP_CLASS_UID, _SOP_INSTANCE_UID, _TRANSFER_SYNTAX_UID)
    )
    if not transfer_syntax:
        raise NotDICOM(f"{path}: not a DICOM file (no Transfer Syntax UID)")
    # Where the two differ the data set is believed, as its receiver will: pydicom's rtplan.dcm has another SOP Instance
    # UID in its file meta, and Orthanc 1.10.1 answers a C-STORE under that one with 0xA900.
    inside = first_uids(data, transfer_syntax)
    sop_class, sop_instance = inside[0] or sop_class, inside[1] or sop_instance
    if not sop_class or not sop_instance:
        raise NotDICOM(f"{path}: no SOP {'Instance' if sop_class else 'Class'} UID")
    return FileHead(path, sop_class, sop_instance, transfer_syntax, offset, max(size - offset, 0)), data


def _parse_meta(path: Path, buffer: bytes) -> tuple[dict[int, bytes], int | None]:
    """The elements of group 0002 and where it ends; None while the buffer does not reach there.

    Group Length (0002,0000) does not say where: pydicom's no_meta_group_length.dcm has none, others have a wrong one.
    """
    found: dict[int, bytes] = {}
    pos = _PREFIX_END
    while len(buffer) - pos >= 8:
        group, element, vr, length = _short_head.unpack_from(buffer, pos)
        if group != 0x0002:
            return found, pos
        start = pos + 8
        if not (vr.isalpha() and vr.isupper()):
            # PS3.10 7.1 asks for Explicit VR; some old writers did not hear it
            *_, length = _implicit_head.unpack_from(buffer, pos)
        elif vr in _LONG_VRS:
            if len(buffer) - pos < 12:
                return found, None
            *_, length = _long_head.unpack_from(buffer, pos)
            start += 4
        if length > _MAX_META:
            raise NotDICOM(f"{path}: not a DICOM file (file meta information is over {_MAX_META} bytes)")
        pos = start + length
        found[element] = buffer[start:pos]
    return found, pos if pos == len(buffer) and len(buffer) < _FIRST_READ else None


# --- writing ----------------------------------------------------------------------------------------------------------


def file_meta(
    sop_class_uid: str,
    sop_instance_uid: str,
    transfer_syntax: str,
    *,
    source_ae_title: str | None = None,
    sending_ae_title: str | None = None,
    receiving_ae_title: str | None = None,
) -> bytes:
    """Preamble, prefix and group 0002 (PS3.10 7.1). The preamble is zeros: nothing of a peer's goes there.

    Raises DatasetEncodeError for a value that no element can hold.
    """
    elements = b"".join(
        (
            _long_head.pack(2, 0x0001, b"OB", 2) + b"\0\1",
            _meta_element(_SOP_CLASS_UID, b"UI", sop_class_uid),
            _meta_element(_SOP_INSTANCE_UID, b"UI", sop_instance_uid),
            _meta_element(_TRANSFER_SYNTAX_UID, b"UI", transfer_syntax),
            _meta_element(0x0012, b"UI", IMPLEMENTATION_CLASS_UID),
            _meta_element(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME),
            _meta_element(0x0016, b"AE", source_ae_title),
            _meta_element(0x0017, b"AE", sending_ae_title),
            _meta_element(0x0018, b"AE", receiving_ae_title),
        )
    )
    group_length = _short_head.pack(2, 0x0000, b"UL", 4) + len(elements).to_bytes(4, "little")
    return bytes(128) + b"DICM" + group_length + elements


def _meta_element(element: int, vr: bytes, value: str | None) -> bytes:
    if value is None:
        return b""
    data = value.encode("latin-1", "replace")
    if len(data) & 1:
        data += b"\0" if vr == b"UI" else b" "
    if len(data) > 0xFFFF:
        raise DatasetEncodeError(f"(0002,{element:04X}) of {len(data)} bytes")
    return _short_head.pack(2, element, vr, len(data)) + data


_UID = re.compile(r"[0-9]+(?:\.[0-9]+)*")


def safe_file_name(sop_instance_uid: str) -> str:
    """The name that an instance is saved under, whoever sent it: THE one place where a peer's UID becomes a name.

    A UID of digits and dots, 64 at most (PS3.5 9.1), is its own name. Anything else is named by its SHA-256: never a
    path, never a device, never hidden, and the same each time.
    """
    if len(sop_instance_uid) <= 64 and _UID.fullmatch(sop_instance_uid):
        return f"{sop_instance_uid}.dcm"
    digest = hashlib.sha256(sop_instance_uid.encode("utf-8", "surrogatepass")).hexdigest()
    return f"invalid-uid-{digest[:40]}.dcm"


class PartTenWriter:
    """A file being saved: written beside its target under a name of its own, and renamed when it is whole.

    Making one touches no disk, the first write does. Any step may raise OSError; by then nothing of the file is left.
    Two associations that save the same UID at once write two files, and the target is one of them, whole. As a context
    manager it rolls back unless it was committed.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        sop_class_uid: str,
        sop_instance_uid: str,
        transfer_syntax: str,
        *,
        source_ae_title: str | None = None,
        durable: bool = True,
    ) -> None:
        """durable: commit() returns when the disk has file and name (fsync of both), not when the kernel has them."""
        self._fd = -1
        self._durable = durable
        name = safe_file_name(sop_instance_uid)
        # Plain strings: pathlib would be a fifth of a small save.
        self._directory = os.fspath(directory)
        self._target = os.path.join(self._directory, name)  # noqa: PTH118
        self._temporary = os.path.join(self._directory, unfinished_name(name))  # noqa: PTH118
        self._start: bytes | None = file_meta(
            sop_class_uid, sop_instance_uid, transfer_syntax, source_ae_title=source_ae_title
        )
        self._beginning: Beginning | None = Beginning(transfer_syntax)
        self._created = self._ended = False

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        self._fd = os.open(self._temporary, flags, 0o666)
        self._created = True
        hold(self._fd)

    def write(self, *pieces: bytes | memoryview) -> None:
        """Add to the data set. Several pieces are one call.

        DatasetDecodeError where the data set begins with an element that no data set has: of group 0000, 0002 or FFFE.
        """
        if self._ended:
            raise ValueError("write to a file that is committed or rolled back")
        try:
            if self._beginning is not None and not self._beginning.look(pieces):
                self._beginning = None
            if self._fd < 0:
                self._open()
            if self._start is not None:
                start, self._start = self._start, None
                pieces = (start, *pieces)
            _write_all(self._fd, pieces)
        except BaseException:
            self.rollback()
            raise

    def commit(self) -> Path:
        """Give the whole file its name; if durable, on the disk. An earlier one of the same UID is replaced."""
        self.write()
        self._ended = True
        # To be taken away again if its directory cannot be synced; not where an earlier one has been replaced by then.
        new: os.stat_result | None = None
        renamed = False
        try:
            if self._durable:
                os.fsync(self._fd)
                if not os.path.lexists(self._target):
                    new = os.fstat(self._fd)
            fd, self._fd = self._fd, -1
            os.close(fd)  # may report an error of writing on network file systems
            os.replace(self._temporary, self._target)  # noqa: PTH105
            renamed = True
            if self._durable:
                _fsync_directory(self._directory)
        except BaseException:
            self.rollback()
            if renamed and new is not None:
                _unlink_own(self._target, new)
            raise
        return self.path

    @property
    def path(self) -> Path:
        """What the file is called once it is committed."""
        return Path(self._target)

    def finish(self, *pieces: bytes | memoryview) -> Path:
        """The last of the data set, and commit(), in one call."""
        self.write(*pieces)
        return self.commit()

    def rollback(self) -> None:
        """Leave nothing behind. Harmless after commit() and when called twice."""
        self._ended = True
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with suppress(OSError):
                os.close(fd)
        if self._created:
            with suppress(OSError):
                os.unlink(self._temporary)  # noqa: PTH108

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.rollback()


def _write_all(fd: int, pieces: tuple[bytes | memoryview, ...]) -> None:
    """write(2) may take less than it is given, and writev(2) takes at most IOV_MAX buffers."""
    if not hasattr(os, "writev"):
        pieces = (b"".join(pieces),)
    left = [memoryview(piece).cast("B") for piece in pieces if len(piece)]
    first = 0
    while first < len(left):
        if len(left) - first == 1 or not hasattr(os, "writev"):
            written = os.write(fd, left[first])
        else:
            written = os.writev(fd, left[first : first + 512])
        while first < len(left) and written >= len(left[first]):
            written -= len(left[first])
            first += 1
        if written:
            left[first] = left[first][written:]


def _fsync_directory(directory: str) -> None:
    if os.name != "posix":
        return  # elsewhere a directory cannot be opened, and the rename is durable by other means or not at all
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _unlink_own(path: str, written: os.stat_result) -> None:
    """Remove what we renamed to path, but not what another association has put there since."""
    with suppress(OSError):
        now = os.lstat(path)
        if (now.st_dev, now.st_ino) == (written.st_dev, written.st_ino):
            os.unlink(path)  # noqa: PTH108
