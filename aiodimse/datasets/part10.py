"""Reads DICOM files (PS3.10 7): their head, and their data set as bytes. Saving is in saving.py."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, Self

from aiodimse.datasets.head import parse_head
from aiodimse.errors import InstanceConflict, NotDICOM
from aiodimse.record import record

PIECE_SIZE: Final = 128 * 1024

_FIRST_READ: Final = 64 * 1024


@record
class FileHead:
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
        # This is checked first, since opening a FIFO would wait for its writer.
        if not stat.S_ISREG(path.stat().st_mode):
            raise NotDICOM(f"{path}: not a regular file")
        self._file: BinaryIO = path.open("rb")
        try:
            head, first = _read_head(path, self._file, os.fstat(self._file.fileno()).st_size)
        except BaseException:
            self._file.close()
            raise
        self.head: FileHead = head
        self._left, self._unread = first, head.size

    def read(self, size: int) -> bytes:
        """Read at most `size` bytes; b"" at the end of the data set.

        Raises:
            OSError: The file has become shorter meanwhile.
        """
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
        """Yield what is left of the data set. The file is closed at the end, or when the iterator is closed."""
        with self:
            while piece := self.read(piece_size):
                yield piece

    @property
    def size(self) -> int:
        """The length of the data set in bytes."""
        return self.head.size

    def read_at(self, offset: int, size: int) -> bytes:
        """Read bytes of the data set from an offset on, fewer at its end. It must not be mixed with read() and
        pieces()."""
        self._file.seek(self.head.data_offset + offset)
        return self._file.read(max(0, min(size, self.head.size - offset)))

    def close(self) -> None:
        """Close the file."""
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
    """Read the head, and return also the bytes of the data set that were read with it."""
    buffer = b""
    while True:
        more = file.read(_FIRST_READ)
        buffer += more
        head = parse_head(path, buffer, is_all=len(buffer) >= size or not more, size=size)
        if head is not None:
            uids = head.sop_class_uid, head.sop_instance_uid
            data = memoryview(buffer)[head.data_offset :]
            return FileHead(path, *uids, head.transfer_syntax, head.data_offset, max(size - head.data_offset, 0)), data
