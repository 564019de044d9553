"""Composite SOP instances on their way: from a file or a data set to the peer, or from the peer to a consumer."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from pydicom.dataset import Dataset

from aiodimse import datasets
from aiodimse.aio.files import off_loop, pieces_off_loop, read_off_loop
from aiodimse.aio.inbox import Inbox
from aiodimse.aio.log import AssociationLogger
from aiodimse.config import Limits
from aiodimse.datasets import FileHead
from aiodimse.errors import DatasetDecodeError, DatasetEncodeError, DatasetTooLarge, InstanceConflict
from aiodimse.record import Record
from aiodimse.services.decoding import decoded

_log = AssociationLogger(logging.getLogger("aiodimse.storage"), None)

Buffer = bytes | memoryview
InstanceSource: TypeAlias = "str | os.PathLike[str] | ReferencedFile | Dataset | Instance"
BeforeName: TypeAlias = Callable[[Path, bytes], Awaitable[None]]

_SMALL = 1 << 18
"""A file of so many bytes is read in the trip that opens it."""
_PIECE = 1 << 20
"""Bytes read from a larger file in one trip."""
_HELD = 1 << 20
"""A data set up to so many bytes is re-encoded in memory."""
ONE_HOP = 1 << 20
"""A save is one trip to the file pool up to this many bytes, and a batch of a longer one holds as many."""


class Instance:
    """A SOP instance whose bytes can be read once: sent, saved, streamed, decoded or discarded."""

    def __init__(self, sop_class_uid: str, sop_instance_uid: str, transfer_syntax: str) -> None:
        self.sop_class_uid = sop_class_uid
        """SOP Class UID."""
        self.sop_instance_uid = sop_instance_uid
        """SOP Instance UID."""
        self.transfer_syntax = transfer_syntax
        """The UID of the transfer syntax in which it is encoded."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.sop_class_uid} {self.sop_instance_uid}>"

    @staticmethod
    async def open(path: str | os.PathLike[str], *, sop_instance_uid: str | None = None) -> Instance:
        """Open the instance in a DICOM Part 10 file; its first bytes alone are read.

        Args:
            path: The file.
            sop_instance_uid: The SOP Instance UID that the file has to hold; None for whichever it holds.

        Returns:
            The instance. The file is opened again when it is sent or read; where another file has its name by then,
            that raises InstanceConflict or OSError.

        Raises:
            NotDICOM: The file is no DICOM file.
            InstanceConflict: It holds another instance.
            OSError: It cannot be read.

        Cancellation: a cancelled open leaves nothing behind.
        """
        return FileInstance(_expected(await read_off_loop(datasets.read_head, Path(path)), sop_instance_uid))

    @staticmethod
    def from_dataset(dataset: Dataset) -> Instance:
        """The instance that a pydicom Dataset holds; it is encoded in its own transfer syntax when it is sent."""
        return DatasetInstance(dataset)

    def stream(self) -> AsyncIterator[Buffer]:
        """The encoded data set, piece by piece, in bounded memory."""
        raise NotImplementedError

    async def dataset(self) -> Dataset:
        """The decoded data set, wholly in memory. Raises DatasetDecodeError."""
        raise NotImplementedError

    async def save(
        self,
        folder: str | os.PathLike[str],
        name: str | os.PathLike[str] | None = None,
        *,
        durable: bool = True,
        check_identity: bool = True,
        before_name: BeforeName | None = None,
    ) -> Path:
        """Write a DICOM Part 10 file into a folder, the data set as it is.

        The file appears whole or not at all (temporary file, fsync, rename, fsync of the folder), and a path has one
        identity: the data set has to be the instance that is to be saved, and a file of that name is replaced only by
        the same instance (SOP class, SOP instance, study, series and patient ID are equal) with a data set that can be
        read to its end. What cannot be read is kept under a new name, and replaces nothing.

        Args:
            folder: Where the file goes; it must exist.
            name: The name of the file, relative to the folder; folders in it are made where they are missing. None: a
                name that comes from the SOP Instance UID and cannot leave the folder.
            durable: False leaves the fsync of file and folder out.
            check_identity: False takes a data set whose SOP Class UID (0008,0016) or SOP Instance UID (0008,0018) is
                another one than the instance's.
            before_name: Awaited once with the whole temporary file, and the first bytes of the data set as they are
                encoded (64 KiB at most), before the file gets its name. Whatever it raises goes on, and the file is
                removed. With it a file that has the name is replaced whatever it is: the hook decides.

        Returns:
            The path of the file.

        Raises:
            InstanceConflict: The data set is another instance, or what is stored under the name stays.
            DatasetDecodeError: The data set begins with an element of group 0000, 0002 or FFFE, which no data set has:
                it could pass for file meta information (PS3.10 7.1). Else only what tells the instance is looked at.
            ValueError: The name leads out of the folder.
            OSError: The file cannot be written.

        Cancellation: a cancelled save leaves nothing behind. It waits for the step that is under way on the disk.

        Example:
            path = await instance.save("incoming")
        """
        writer = datasets.PartTenWriter(
            folder,
            self.sop_class_uid,
            self.sop_instance_uid,
            self.transfer_syntax,
            name=name,
            source_ae_title=self._source_ae_title(),
            durable=durable,
            check_identity=check_identity,
            keep_beginning=before_name is not None,
        )
        held: list[Buffer] = []
        try:
            async for batch in self._batches():
                if held:  # the last batch is written in the trip that ends the save
                    await off_loop(writer.write, *held)
                held = batch
            if before_name is None:
                return await off_loop(writer.finish, *held)
            await before_name(await off_loop(writer.complete, *held), writer.beginning)
            return await off_loop(writer.commit, may_replace=True)
        except BaseException:
            await off_loop(writer.rollback)
            raise

    async def _batches(self) -> AsyncIterator[list[Buffer]]:
        """The data set in lists of pieces that are worth a trip to the file pool each."""
        batch: list[Buffer] = []
        size = 0
        async for piece in self.stream():
            batch.append(piece)
            size += len(piece)
            if size >= ONE_HOP:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def _source_ae_title(self) -> str | None:
        return None

    async def discard(self) -> None:
        """Be done with it without reading it; the peer is told Success."""

    async def encoded(self, transfer_syntax: str) -> Buffer | AsyncIterator[Buffer]:
        """The data set encoded in this transfer syntax: streamed where it is its own, else re-encoded in memory.

        What cannot be encoded is found out here, before a message has begun that could then only end in A-ABORT; what
        cannot be opened, when the invoker reads the first piece. Raises DatasetEncodeError, also where this is no
        re-encoding between Implicit, Explicit and Deflated Little Endian.
        """
        if transfer_syntax == self.transfer_syntax:
            return self.stream()
        if not datasets.can_transcode(self.transfer_syntax, transfer_syntax):
            raise DatasetEncodeError(f"{self.transfer_syntax} is not re-encoded as {transfer_syntax}")
        dataset = await self.dataset()
        return await read_off_loop(datasets.encode_dataset, dataset, transfer_syntax)


class FileInstance(Instance):
    """An instance in a file."""

    def __init__(self, head: FileHead, data: bytes | None = None) -> None:
        """data: the whole data set, where it has been read already."""
        super().__init__(head.sop_class_uid, head.sop_instance_uid, head.transfer_syntax)
        self.head = head
        self._data = data

    def stream(self) -> AsyncIterator[Buffer]:
        """The data set from the file, read off the event loop."""
        if self._data is not None:
            return _at_hand(self._data)
        return pieces_off_loop(datasets.open_pieces(self.head, _PIECE))

    async def encoded(self, transfer_syntax: str) -> Buffer | AsyncIterator[Buffer]:
        """As Instance.encoded; a data set that has been read is at hand, and a large one re-encoded as it goes by.

        The file of a large one is read twice: first to find out whether it can be re-encoded.
        """
        if self._data is not None and transfer_syntax == self.transfer_syntax:
            return self._data
        other = transfer_syntax != self.transfer_syntax and datasets.can_transcode(
            self.transfer_syntax, transfer_syntax
        )
        if not other or self.head.size <= _HELD:
            return await super().encoded(transfer_syntax)
        await read_off_loop(datasets.check_transcoded, self.head, transfer_syntax)
        return pieces_off_loop(datasets.open_transcoded(self.head, transfer_syntax))

    async def dataset(self) -> Dataset:
        """The decoded data set of the file."""
        return await read_off_loop(datasets.read_file, self.head)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class ReferencedFile(Record):
    """A file and the SOP instance that it has to hold, for a handler to yield and for c_store.

    A sub-operation fails where the file holds another instance; its UID is then in the Failed SOP Instance UID List.

    Example:
        yield 0xFF00, aiodimse.ReferencedFile(path, sop_instance_uid=uid)
    """

    path: str | os.PathLike[str]
    """The file."""
    sop_instance_uid: str
    """The SOP Instance UID of its data set."""


def _expected(head: FileHead, sop_instance_uid: str | None) -> FileHead:
    if sop_instance_uid is not None and head.sop_instance_uid != sop_instance_uid:
        raise InstanceConflict("the file holds another instance than was asked for")
    return head


async def _at_hand(data: bytes) -> AsyncIterator[Buffer]:
    yield data


def _open(path: str | os.PathLike[str], sop_instance_uid: str | None = None) -> FileInstance:
    """Open, file meta information and first piece in one go; a file of one piece is then read (docs/topics/flow.md)."""
    with datasets.PartTenReader(path) as reader:
        head = _expected(reader.head, sop_instance_uid)
        return FileInstance(head, reader.read(_SMALL) if head.size <= _SMALL else None)


class DatasetInstance(Instance):
    """An instance in memory."""

    def __init__(self, dataset: Dataset) -> None:
        uids = datasets.dataset_uids(dataset)
        super().__init__(*uids)
        self._dataset = dataset

    async def _stream(self) -> AsyncIterator[Buffer]:
        yield await read_off_loop(datasets.encode_stored, self._dataset)

    def stream(self) -> AsyncIterator[Buffer]:
        """The data set, encoded in its own transfer syntax in one piece."""
        return self._stream()

    async def encoded(self, transfer_syntax: str) -> Buffer | AsyncIterator[Buffer]:
        """As Instance.encoded; in one piece always."""
        if transfer_syntax == self.transfer_syntax:
            return await read_off_loop(datasets.encode_stored, self._dataset)
        return await super().encoded(transfer_syntax)

    async def dataset(self) -> Dataset:
        """The data set that it was made from."""
        return self._dataset


class ArrivingInstance(Instance):
    """An instance that a C-STORE request brings, perhaps still arriving. It can be read once: its bytes are not kept.

    One of save(), dataset(), stream() and discard(); RuntimeError for another one after it, but dataset() may be asked
    again, and discard() whenever. To have it in a file and look at it, save() first, then read the file.
    """

    def __init__(
        self,
        sop_class_uid: str,
        sop_instance_uid: str,
        transfer_syntax: str,
        inbox: Inbox,
        *,
        limits: Limits,
        source_ae_title: str | None = None,
    ) -> None:
        super().__init__(sop_class_uid, sop_instance_uid, transfer_syntax)
        self._inbox = inbox
        self._limits = limits
        self._source = source_ae_title
        self._decoded: Dataset | None = None
        self._in_use = False
        """A save or dataset() has begun and has not come to its good end."""
        self.save_error: OSError | None = None
        """Why a save failed: the peer is told Out of resources."""
        self.conflict: InstanceConflict | None = None
        """Why a save was refused: the peer is told Data Set does not match SOP Class."""
        self.decode_error: DatasetDecodeError | None = None
        """Why dataset() failed."""

    def _source_ae_title(self) -> str | None:
        return self._source

    @property
    def is_consumed(self) -> bool:
        """It has been saved, decoded, streamed to its end, or discarded."""
        return self._inbox.consumed and not self._in_use

    def _begin(self) -> Inbox:
        if self._inbox.touched:
            raise RuntimeError(
                "the data set has been read, and its bytes are not kept: "
                "to have it in a file and look at it, save() first, then read the file"
            )
        return self._inbox

    async def _stream(self) -> AsyncIterator[Buffer]:
        inbox = self._begin()
        while (piece := await inbox.get()) is not None:
            yield piece

    async def _batches(self) -> AsyncIterator[list[Buffer]]:
        inbox = self._begin()
        while batch := await inbox.gather(self._limits.max_pdu_length):
            yield batch

    def stream(self) -> AsyncIterator[Buffer]:
        """The data set as it arrives; reading slowly slows the peer down. RuntimeError the second time."""
        return self._stream()

    async def dataset(self) -> Dataset:
        """The decoded data set with its file meta information; the second call returns the same one.

        Raises DatasetDecodeError where it does not decode; DatasetTooLarge over Limits.dataset_in_memory or
        Limits.dataset_elements.
        """
        if self._decoded is not None:
            return self._decoded
        pieces: list[Buffer] = []
        size = 0
        self._begin()
        self._in_use = True
        async for batch in self._batches():
            size += sum(map(len, batch))
            if size > self._limits.dataset_in_memory:
                pieces.clear()  # else the exception, which is remembered, keeps them; and so below
                self.decode_error = DatasetTooLarge(f"the data set is over {self._limits.dataset_in_memory} bytes")
                raise self.decode_error
            pieces += batch
        data = b"".join(pieces)
        pieces.clear()
        try:
            dataset = await decoded(datasets.decode_dataset, data, self.transfer_syntax, self._limits)
        except DatasetDecodeError as error:
            self.decode_error = error
            raise
        finally:
            del data
        dataset.file_meta = datasets.file_meta_dataset(self.sop_class_uid, self.sop_instance_uid, self.transfer_syntax)
        self._decoded, self._in_use = dataset, False
        return dataset

    async def save(
        self,
        folder: str | os.PathLike[str],
        name: str | os.PathLike[str] | None = None,
        *,
        durable: bool = True,
        check_identity: bool = True,
        before_name: BeforeName | None = None,
    ) -> Path:
        """Write a file as Instance.save does, the bytes as they are received.

        What it raises decides on the answer, where the handler lets it go on: OSError 0xA700, InstanceConflict 0xA900,
        DatasetDecodeError 0xC210. The rest of the data set is read and dropped then.
        """
        self._begin()
        self._in_use = True
        try:
            path = await super().save(
                folder, name, durable=durable, check_identity=check_identity, before_name=before_name
            )
        except OSError as error:
            self.save_error = error
            raise
        except InstanceConflict as error:
            self.conflict = error
            raise
        except DatasetDecodeError as error:
            self.decode_error = error
            raise
        self._in_use = False
        return path

    async def discard(self) -> None:
        """Be done with it; what still comes is read and dropped."""
        self._inbox.touched = self._inbox.consumed = True
        self._in_use = False
        self._inbox.drop()


async def instance_of(source: InstanceSource) -> Instance:
    """The Instance for what a caller hands over. Raises NotDICOM, InstanceConflict, OSError, TypeError,
    DatasetEncodeError."""
    if isinstance(source, Instance):
        return identified(source)
    if isinstance(source, Dataset):
        return identified(DatasetInstance(source))
    if isinstance(source, (str, os.PathLike)):
        return identified(await read_off_loop(_open, source))
    if isinstance(source, ReferencedFile):
        return identified(await read_off_loop(_open, source.path, source.sop_instance_uid))
    raise TypeError(f"an instance is a path, a ReferencedFile, a Dataset or an Instance, not {type(source).__name__}")


def identified(instance: Instance) -> Instance:
    """The same; raises DatasetEncodeError where it does not say what it is: C-STORE has to (PS3.7 9.1.1.1)."""
    for uid, what in ((instance.sop_class_uid, "SOP Class UID"), (instance.sop_instance_uid, "SOP Instance UID")):
        if not uid or not uid.isascii():
            raise DatasetEncodeError(f"an instance without a {what}")
    return instance


async def remove_unfinished(directory: str | os.PathLike[str], *, older_than: float = 600.0) -> int:
    """Remove what saves into this folder left when their process was killed; returns how many files that were.

    An unfinished file has a hidden name, `.UID.dcm.0123456789abcdef.part`, and is no instance: nothing of it has been
    acknowledged. What another process is saving stays: it holds a lock on the file, and where the file system has no
    locks, a save under way has bytes more often than every older_than seconds. Folders below are not looked into. To be
    called when a program starts; Archive does. Raises OSError where the folder cannot be listed.
    """
    removed = await off_loop(datasets.remove_unfinished, directory, older_than)
    if removed:
        _log.info("removed %d unfinished files that a killed process left", removed)
    return removed
