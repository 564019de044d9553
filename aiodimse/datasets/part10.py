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
    """The head of a file: what a store needs to know before it sends the file."""

    path: Path
    """The file."""
    sop_class_uid: str
    """SOP Class UID (0008,0016)."""
    sop_instance_uid: str
    """SOP Instance UID (0008,0018)."""
    transfer_syntax: str
    """The UID of the transfer syntax of the data set."""
    data_offset: int
    """Where the data set begins, in bytes: after the preamble, the prefix and group 0002."""
    size: int
    """The size of the data set alone, in bytes."""


class PartTenReader:
    """An open file: its head, and then its data set in pieces. One first read of the disk serves both.

    Raises:
        NotDICOM: The file is not a DICOM file. The text is one line that names the path.
        OSError: The file cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._left: memoryview | None
        path = Path(path)
        # This is checked before opening, since opening a FIFO would wait for its writer.
        if not stat.S_ISREG(path.stat().st_mode):
            raise NotDICOM(f"{path}: not a regular file")
        self._file: BinaryIO = path.open("rb")
        try:
            self._stamp = self._size_and_time()
            head, first = _read_head(path, self._file, self._stamp[0])
        except BaseException:
            self._file.close()
            raise
        self.head: FileHead = head
        self._left, self._unread = first, head.size

    def read(self, size: int) -> bytes:
        """Read at most `size` bytes; b"" at the end of the data set.

        Raises:
            OSError: The file has become shorter, or somebody has written to it since it was opened. The latter is known
                before the last bytes are returned: they may be those of another instance than the first.
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
        if not self._unread and self._size_and_time() != self._stamp:
            raise OSError(errno.EIO, "the file was written to while it was read", str(self.head.path))
        return data

    def _size_and_time(self) -> tuple[int, int]:
        status = os.fstat(self._file.fileno())
        return status.st_size, status.st_mtime_ns

    def pieces(self, piece_size: int = PIECE_SIZE) -> Iterator[bytes]:
        """Yield the rest of the data set. The file is closed at the end, or when the iterator is closed."""
        with self:
            while piece := self.read(piece_size):
                yield piece

    @property
    def size(self) -> int:
        """The length of the data set in bytes."""
        return self.head.size

    def read_at(self, offset: int, size: int) -> bytes:
        """Read bytes of the data set from an offset, fewer at its end. Do not combine it with read() or pieces()."""
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
    """Read the head of a file: which instance it holds, and in which transfer syntax.

    Args:
        path: A DICOM file (PS3.10 7.1). It may lack the preamble or the file meta information, or have a wrong Group
            Length (0002,0000).

    Returns:
        The head. Its UIDs are those of the data set, or those of the file meta information if the data set has none at
        its beginning.

    Raises:
        NotDICOM: The file is not a DICOM file, or its data set is not encoded as its transfer syntax says. The text is
            one line that names the path.
        OSError: The file cannot be read.
    """
    with PartTenReader(path) as reader:
        return reader.head


def head_of(file: BinaryIO) -> FileHead:
    """Read the head of an open file, whose position is changed. Raises as `read_head` does; no text names the file."""
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    head, _ = _read_head(Path("an open file"), file, size)
    return head


def reopen(head: FileHead) -> PartTenReader:
    """Open a file whose head was read before.

    Raises:
        InstanceConflict: The path now holds another instance, or the same one in another transfer syntax.
        OSError: The file has become shorter, or cannot be read.
        NotDICOM: The file is no longer a DICOM file.
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
    """Yield the data set of a file in pieces. The file is opened for the first and closed at the end or on close().

    Raises as reopen() before the first piece, and OSError if the file becomes shorter after that.
    """
    yield from reopen(head).pieces(piece_size)


def _read_head(path: Path, file: BinaryIO, size: int) -> tuple[FileHead, memoryview]:
    """Read the head. Return it with the bytes of the data set that were read at the same time."""
    buffer = b""
    while True:
        more = file.read(_FIRST_READ)
        buffer += more
        head = parse_head(path, buffer, is_all=len(buffer) >= size or not more, size=size)
        if head is not None:
            uids = head.sop_class_uid, head.sop_instance_uid
            data = memoryview(buffer)[head.data_offset :]
            return FileHead(path, *uids, head.transfer_syntax, head.data_offset, max(size - head.data_offset, 0)), data
