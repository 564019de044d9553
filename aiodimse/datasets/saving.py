"""Saves a DICOM file (PS3.10 7) completely or not at all, under a name that stands for one instance."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Final, Self, TypeAlias

from aiodimse.datasets.beginning import Beginning
from aiodimse.datasets.file_meta import file_meta
from aiodimse.datasets.naming import (
    Folder,
    Naming,
    flush_folders,
    forget_folders,
    make_folders,
    relative_name,
    safe_file_name,
    within,
)
from aiodimse.datasets.unfinished import lock_file, unfinished_name

BeforeName: TypeAlias = Callable[[Path, bytes], object]
"""Called with a complete file that does not have its name yet, and the beginning of its data set."""
AfterName: TypeAlias = Callable[[Path, os.stat_result], object]
"""Called with a file that has its name, and its status."""
AfterRound: TypeAlias = Callable[[], object]
"""Called when all files that are finished together have their names."""
_FLUSHED_EARLY: Final = 1 << 19
"""The bytes of a file that is still being written that begin their way to the disk together. The flush of 256 MiB then
takes 1 ms at the end instead of 120, and writing them 30 ms more (virtual disk, written at 500 MB/s)."""
KEPT_BEGINNING: Final = 1 << 16
"""The number of bytes at the beginning of a data set that a writer keeps for the hook that decides on its name."""


class PartTenWriter:
    """A file that is being saved: written under a temporary name beside its target, and renamed when it is complete.

    The constructor does not touch the disk; the first write does. Any step may raise OSError, after which nothing is
    left of the file. Two associations that save the same UID at once write two files, and the target is one of them,
    complete. As a context manager it rolls back unless it was committed.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        sop_class_uid: str,
        sop_instance_uid: str,
        transfer_syntax: str,
        *,
        name: str | os.PathLike[str] | None = None,
        source_ae_title: str | None = None,
        durable: bool = True,
        check_identity: bool = True,
        keep_beginning: bool = False,
    ) -> None:
        """Prepare the file.

        Args:
            directory: The folder, which must exist.
            sop_class_uid: The SOP Class UID, for the file meta information.
            sop_instance_uid: The SOP Instance UID, for the file meta information and the name of the file.
            transfer_syntax: The UID of the transfer syntax of the data set.
            name: Another name, relative to the folder. Missing folders in it are made.
            source_ae_title: Source Application Entity Title (0002,0016).
            durable: Whether commit() returns only after file and name have been flushed to the disk (fsync of both).
            check_identity: Whether to refuse a data set that has another SOP Class UID or SOP Instance UID.
            keep_beginning: Whether to keep the first 64 KiB of the data set in `beginning`.

        Raises:
            ValueError: The name leads out of the folder.
            DatasetEncodeError: A value is longer than its element can hold.
        """
        self._fd = -1
        self._durable = durable
        own_name = safe_file_name(sop_instance_uid)
        # These are strings: pathlib would take a fifth of a small save. The one path is for the hooks and the caller.
        self._root = os.fspath(directory)
        *self._below, name = (own_name,) if name is None else relative_name(name)
        prefix = within(self._root, *self._below)
        self._directory = prefix or os.curdir
        self._unfinished = unfinished_name(own_name)
        self._target, self._temporary = prefix + name, prefix + self._unfinished
        self.path: Path = Path(self._target)
        """The path of the file after commit()."""
        self._start: bytes | None = file_meta(
            sop_class_uid, sop_instance_uid, transfer_syntax, source_ae_title=source_ae_title
        )
        uids = (sop_class_uid.strip(" \0"), sop_instance_uid.strip(" \0")) if check_identity else None
        self._beginning: Beginning | None = Beginning(transfer_syntax, uids)
        self._kept = bytearray() if keep_beginning else None
        self._size = self._flushing = 0
        """The bytes that were written to the file, and how many of them are on their way to the disk."""
        self._written: os.stat_result | None = None
        self._created = self._ended = self._complete = False
        self._made_folders: list[str] = []

    # --- the data set -------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        try:
            if self._below:
                self._made_folders = make_folders(self._root, self._below)
            self._fd = os.open(self._temporary, flags, 0o666)
        except FileNotFoundError:
            if not self._below:
                raise
            forget_folders(self._root, self._below)  # The folders were removed while or after they were made.
            self._made_folders = make_folders(self._root, self._below)
            self._fd = os.open(self._temporary, flags, 0o666)
        self._created = True
        lock_file(self._fd)

    def write(self, *pieces: bytes | memoryview) -> None:
        """Append to the data set. Several pieces are written with one system call.

        Raises:
            DatasetDecodeError: The data set begins with an element of group 0000, 0002 or FFFE, which no data set has.
            InstanceConflict: The data set has another SOP Class UID or SOP Instance UID.
            OSError: The file cannot be written.
        """
        if self._ended or self._complete:
            raise ValueError("write to a file that is complete, committed or rolled back")
        try:
            self._write(pieces)
        except BaseException:
            self.rollback()
            raise

    def _write(self, pieces: Sequence[bytes | memoryview]) -> None:
        if self._beginning is not None and not self._beginning.feed(pieces):
            self._beginning = None
        if self._kept is not None:
            self._keep(self._kept, pieces)
        if self._fd < 0:
            self._open()
        if self._start is not None:
            start, self._start = self._start, None
            pieces = (start, *pieces)
        self._size += _write_all(self._fd, pieces)
        if self._size - self._flushing >= _FLUSHED_EARLY:
            self._begin_flush()

    @staticmethod
    def _keep(kept: bytearray, pieces: Sequence[bytes | memoryview]) -> None:
        for piece in pieces:
            if len(kept) >= KEPT_BEGINNING:
                break
            kept += piece[: KEPT_BEGINNING - len(kept)]

    @property
    def beginning(self) -> bytes:
        """The first bytes of the data set, at most 64 KiB; b"" if they are not kept."""
        return bytes(self._kept or b"")

    # --- the file -----------------------------------------------------------------------------------------------------

    def complete(self, *pieces: bytes | memoryview) -> Path:
        """Write the last pieces of the data set. Return the temporary path of the file, which is then complete.

        If durable, the file has been flushed to the disk. Raises as write().
        """
        try:
            self._write_last(pieces)
            self._flush()
        except BaseException:
            self.rollback()
            raise
        return self._temporary_path

    def _write_last(self, pieces: Sequence[bytes | memoryview]) -> None:
        self.write(*pieces)
        if self._beginning is not None:
            self._beginning.end()

    def _begin_flush(self) -> None:
        """Have Linux begin to write to the disk what was written to the file, so that its flush has less to wait for.

        Linux does so for pages that are said not to be needed, and keeps those that are not on the disk yet. To other
        systems it is a hint that they may ignore.
        """
        if self._durable and hasattr(os, "posix_fadvise"):
            start, self._flushing = self._flushing, self._size
            with suppress(OSError):
                os.posix_fadvise(self._fd, start, self._size - start, os.POSIX_FADV_DONTNEED)

    def _flush(self) -> None:
        if self._durable:
            os.fsync(self._fd)
        self._written = os.fstat(self._fd)
        fd, self._fd = self._fd, -1
        os.close(fd)  # On network file systems this may report an error of an earlier write.
        self._complete = True

    def _naming(self, *, may_replace: bool) -> Naming:
        self._ended = True
        assert self._written is not None
        return Naming(self._temporary, self._target, self._written, may_replace=may_replace)

    def commit(
        self,
        *,
        may_replace: bool = False,
        after_name: AfterName | None = None,
        after_round: AfterRound | None = None,
    ) -> Path:
        """Give the complete file its name. If durable, the name has been flushed to the disk.

        An existing file of that name is replaced only by a complete data set of the same instance, unless the caller
        has decided with may_replace. After InstanceConflict and OSError nothing is left of the new file. after_name is
        then called with the file and its status, and after_round after it. If one raises, the exception is passed on,
        and the file stays.
        """
        if not self._complete:
            self.complete()
        file = Finish(self, (), None, after_name, after_round, may_replace=may_replace)
        _name([file])
        return file.result()

    @property
    def has_begun(self) -> bool:
        """Whether part of the file is on the disk."""
        return self._created

    @property
    def _temporary_path(self) -> Path:
        return self.path.with_name(self._unfinished)  # in half the time of Path(self._temporary)

    def finish(
        self,
        *pieces: bytes | memoryview,
        before_name: BeforeName | None = None,
        after_name: AfterName | None = None,
        after_round: AfterRound | None = None,
    ) -> Path:
        """Write the last pieces of the data set, and commit(). See `finish_together`."""
        file = Finish(self, pieces, before_name, after_name, after_round, may_replace=before_name is not None)
        finish_together([file])
        return file.result()

    def rollback(self) -> None:
        """Remove what was written. After commit() or an earlier rollback() this does nothing."""
        self._ended = True
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with suppress(OSError):
                os.close(fd)
        if self._created:
            with suppress(OSError):
                os.unlink(self._temporary)  # noqa: PTH108
        # Where a disk is not mounted any more, each refused object would leave folders. Those in use are not empty.
        while self._made_folders:
            with suppress(OSError):
                os.rmdir(self._made_folders.pop())  # noqa: PTH106

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.rollback()


# --- several files ----------------------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class Finish:
    """A file that has to be finished: the rest of its data set, and who has a say in it.

    before_name is called with the complete file and the beginning of its data set before the file gets its name. If it
    raises, nothing is left of the file. The flush to the disk is awaited after that: what is refused costs no fsync. If
    after_name or after_round raises, the file stays.
    """

    writer: PartTenWriter
    pieces: Sequence[bytes | memoryview] = field(repr=False)
    before_name: BeforeName | None = None
    after_name: AfterName | None = None
    after_round: AfterRound | None = None
    may_replace: bool = False
    """Whether an existing file is replaced without looking at it, since before_name has decided."""
    error: BaseException | None = field(default=None, init=False)
    """Why it was not finished."""

    def result(self) -> Path:
        """Return the path of the file, or raise what happened to it, once: an error that is kept would keep itself, and
        the bytes that its frames hold."""
        error, self.error = self.error, None
        if error is not None:
            try:
                raise error
            finally:
                del error
        return self.writer.path

    def step(self, step: Callable[[], object]) -> None:
        """Take one step, unless an earlier one failed."""
        if self.error is None:
            try:
                step()
            except BaseException as error:
                self.writer.rollback()
                self.error = error

    def decide(self) -> None:
        """Write the rest of the data set, and call before_name while it is on its way to the disk."""
        self.writer._write_last(self.pieces)
        self.pieces = ()
        if self.before_name is not None:
            self.writer._begin_flush()
            self.before_name(self.writer._temporary_path, self.writer.beginning)


def finish_together(files: Sequence[Finish]) -> float:
    """Finish several files, each step for all of them: written, flushed, renamed, their folders flushed.

    The flush of the first file or folder takes much of the work of the others with it, and one thread gives up its turn
    far less often than one for each file. What goes wrong with one file concerns only that file.

    Args:
        files: The files. Afterwards `Finish.result` tells what became of each.

    Returns:
        How many seconds it waited for the disk.
    """
    for file in files:
        file.step(file.decide)
    began = monotonic()
    for file in files:
        file.step(file.writer._flush)
    waited = monotonic() - began
    return waited + _name(files)


def _name(files: Sequence[Finish]) -> float:
    """Give complete files their names, flush their folders, and call the hooks.

    Returns:
        How many seconds the folders took.
    """
    folders: dict[str, tuple[Folder, list[tuple[Finish, Naming]]]] = {}

    def give(file: Finish) -> None:
        path = file.writer._directory
        if path not in folders:
            folders[path] = Folder(path), []
        folder, named = folders[path]
        naming = file.writer._naming(may_replace=file.may_replace)
        naming.give(folder)
        named.append((file, naming))

    for file in files:
        file.step(partial(give, file))
    began = monotonic()
    for folder, named in folders.values():
        _flush_names(folder, named)
    waited = monotonic() - began
    for file in files:
        if file.after_name is not None and file.error is None:
            assert file.writer._written is not None
            file.step(partial(file.after_name, file.writer.path, file.writer._written))
    for file in files:
        if file.after_round is not None:
            file.step(file.after_round)
    return waited


def _flush_names(folder: Folder, named: Sequence[tuple[Finish, Naming]]) -> None:
    """Flush a folder, and those above it that are new, if a new name in it has to be durable; and close it."""
    try:
        with folder:
            durable = [file.writer for file, _ in named if file.writer._durable]
            if durable:
                folder.sync()
            for writer in durable:
                flush_folders(writer._root, writer._below)
    except BaseException as error:
        for file, naming in named:
            naming.take_back()
            file.error = error


def _write_all(fd: int, pieces: Sequence[bytes | memoryview]) -> int:
    """Write all buffers, and return their size.

    write(2) may take less than it is given, and writev(2) takes at most IOV_MAX buffers.
    """
    if not hasattr(os, "writev"):
        pieces = (b"".join(pieces),)
    left = [memoryview(piece).cast("B") for piece in pieces if len(piece)]
    size, first = sum(map(len, left)), 0
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
    return size
