"""Composite SOP instances that are sent or received: from a file or a data set, or from a peer."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Awaitable, Callable
from inspect import iscoroutinefunction
from pathlib import Path
from typing import TypeAlias

from pydicom.dataset import Dataset

from aiodimse import datasets
from aiodimse.aio.files import clean_up_off_loop, off_loop, pieces_off_loop, read_off_loop
from aiodimse.config import Limits
from aiodimse.datasets import FileHead, Head
from aiodimse.dimse.fragments import Buffer
from aiodimse.errors import DatasetEncodeError, DatasetTooLarge
from aiodimse.record import record
from aiodimse.services.finishing import finish
from aiodimse.services.streams import close, collect, expect_instance, read_beginning

InstanceSource: TypeAlias = "str | os.PathLike[str] | ReferencedFile | Dataset | Instance"
BeforeName: TypeAlias = Callable[[Path, bytes], Awaitable[None] | None]
AfterName: TypeAlias = Callable[[Path, os.stat_result], object]
AfterRound: TypeAlias = Callable[[], object]

_SMALL = 1 << 18
"""The length in bytes up to which the whole file is read when it is opened."""
_PIECE = 1 << 20
"""The number of bytes of a larger file that are read at a time."""
_HELD = 1 << 20
"""The length in bytes up to which a data set is re-encoded in memory."""
_DECODED = 3
"""The number of copies in memory of a data set that is decoded and re-encoded: as read, as values, and as written."""
ONE_HOP = 1 << 20
"""The length in bytes up to which a save uses a thread once. A longer data set is written in batches of this length."""


class Instance:
    """A SOP instance that can be sent, saved, streamed, decoded or discarded."""

    reads_once = False
    """Whether its bytes can be read only once, since they are not kept."""

    limits: Limits = Limits()
    """The limits of the association that sends it. Their dataset_in_memory and dataset_elements bound dataset()."""

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
        """Open the instance in a DICOM Part 10 file. Only the first bytes are read.

        Args:
            path: The file.
            sop_instance_uid: The SOP Instance UID that the file must have; None: any.

        Returns:
            The instance. The file is opened again when it is sent or read. If another file has its name by then, that
            raises InstanceConflict or OSError.

        Raises:
            NotDICOM: The file is not a DICOM file.
            InstanceConflict: The file holds another instance.
            OSError: The file cannot be read.

        Cancellation: leaves nothing behind.
        """
        head = await read_off_loop(datasets.read_head, Path(path))
        expect_instance(head.sop_instance_uid, sop_instance_uid)
        return FileInstance(head)

    @staticmethod
    async def from_part10(
        chunks: AsyncIterable[Buffer], *, sop_instance_uid: str | None = None, study_instance_uid: str | None = None
    ) -> Instance:
        """Read an instance from a DICOM file that arrives in chunks, such as the body of an HTTP response.

        Args:
            chunks: The bytes of the file, in pieces of any size. They are read as they are sent or saved, so that a
                slow peer makes their source wait. If the iterator has aclose(), it is called at the end.
            sop_instance_uid: The SOP Instance UID that the file must have; None: any.
            study_instance_uid: The study to which the instance must belong; None: any. If it is given, the data set is
                read up to its Series Instance UID (0020,000E), at most 16 MiB.

        Returns:
            The instance, as soon as its head has been read; the data set may still be arriving. It can be read once, by
            one of c_store, save(), stream(), part10() and dataset(). A second read raises RuntimeError.

        Raises:
            NotDICOM: The bytes are not a DICOM file.
            InstanceConflict: It is another instance, or does not belong to the study.
            Exception: What the iterable raises.

        Cancellation: closes the source of the chunks.

        Example:
            instance = await aiodimse.Instance.from_part10(response.aiter_bytes())
            await association.c_store(instance)
        """
        return await StreamedInstance.read(chunks, sop_instance_uid, study_instance_uid)

    @staticmethod
    def from_dataset(dataset: Dataset) -> Instance:
        """Make an instance from a pydicom Dataset. It is encoded in its own transfer syntax when it is sent.

        Args:
            dataset: A Dataset with SOPClassUID and SOPInstanceUID.

        Returns:
            The instance, to be sent.
        """
        return DatasetInstance(dataset)

    def stream(self) -> AsyncIterator[Buffer]:
        """Yield the encoded data set piece by piece, in bounded memory."""
        raise NotImplementedError

    async def part10(self, *, check_identity: bool = True) -> AsyncIterator[Buffer]:
        """Yield the bytes of a DICOM Part 10 file: preamble, file meta information, and the data set as it is.

        This is for an object store, an HTTP body or a pipe. Memory is bounded as for stream().

        Args:
            check_identity: Whether to refuse a data set whose SOP Class UID (0008,0016) or SOP Instance UID (0008,0018)
                differs from that of the instance.

        Yields:
            The bytes of the file, beginning with the head.

        Raises:
            InstanceConflict: The data set is another instance. At most its first 64 KiB have been yielded by then, and
                have to be removed wherever they were written, as after any other exception.
            DatasetDecodeError: The data set begins with an element that no data set may have, as in save().

        Cancellation: as for stream().

        Example:
            await bucket.put(key, request.part10())
        """
        uids = (self.sop_class_uid, self.sop_instance_uid) if check_identity else None
        beginning: datasets.Beginning | None = datasets.Beginning(self.transfer_syntax, uids)
        source_ae_title = self._source_ae_title()
        yield datasets.file_meta(
            self.sop_class_uid, self.sop_instance_uid, self.transfer_syntax, source_ae_title=source_ae_title
        )
        stream = self.stream()
        try:
            async for piece in stream:
                if beginning is not None and not beginning.feed((piece,)):
                    beginning = None
                yield piece
            if beginning is not None:
                beginning.end()
        finally:
            await close(stream)

    async def dataset(self) -> Dataset:
        """Decode the data set, completely in memory.

        Raises:
            DatasetDecodeError: It cannot be decoded.
        """
        raise NotImplementedError

    async def save(
        self,
        folder: str | os.PathLike[str],
        name: str | os.PathLike[str] | None = None,
        *,
        durable: bool = True,
        check_identity: bool = True,
        before_name: BeforeName | None = None,
        after_name: AfterName | None = None,
        after_round: AfterRound | None = None,
    ) -> Path:
        """Write a DICOM Part 10 file into a folder, with the data set as it is.

        The file appears complete or not at all (temporary file, fsync, rename, fsync of the folder). A path stands for
        one instance: the data set must be the instance to be saved. An existing file of that name is replaced only by
        the same instance (SOP class, SOP instance, study, series and patient ID are equal) with a data set that can be
        read to its end. A data set that cannot be read is saved under a new name, but replaces nothing.

        Args:
            folder: The folder, which must exist.
            name: The name of the file, relative to the folder. Missing folders in it are made. None: a name made from
                the SOP Instance UID, which cannot lead out of the folder.
            durable: Whether file and folder are flushed to the disk (fsync).
            check_identity: Whether to refuse a data set whose SOP Class UID (0008,0016) or SOP Instance UID (0008,0018)
                differs from that of the instance.
            before_name: Called once with the complete temporary file and the first encoded bytes of the data set (64
                KiB at most), before the file gets its name. An async function is awaited; a plain function runs in the
                thread that writes the file, may block, and saves two changes of thread; other files that are saved
                to the folder at the same time may wait for it. If it raises, the file is removed, and the
                exception is passed on. With this hook an existing file is always replaced: the hook
                decides.
            after_name: Called once with the path of the file and its status, after the file got its name and, if
                durable, is on the disk. It runs in the thread that wrote the file, and may block. If it raises, the
                exception is passed on, and the file stays. An index can use it to learn of the file without another
                change of thread.
            after_round: Called once after `after_name` of all files that are saved at the same time and therefore
                finished together, in the same thread. An index can write with it what `after_name` told, in one
                transaction for several files. If it raises, the exception is passed on, and the file stays.

        Returns:
            The path of the file.

        Raises:
            InstanceConflict: The data set is another instance, or the existing file stays.
            DatasetDecodeError: The data set begins with an element of group 0000, 0002 or FFFE, which no data set has:
                it could be taken for file meta information (PS3.10 7.1). Beyond that, only the identity is checked.
            ValueError: The name leads out of the folder.
            OSError: The file cannot be written.

        Cancellation: leaves nothing behind. It waits for the step on the disk that is under way.

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
        batches = self._batches()
        try:
            async for batch in batches:
                if held:  # the last batch is written together with the end of the save
                    await off_loop(writer.write, *held)
                held = batch
            if before_name is None or not iscoroutinefunction(before_name):
                may_replace = before_name is not None
                rest = datasets.Finish(writer, held, before_name, after_name, after_round, may_replace=may_replace)
                held = []
                return await finish(folder, rest)
            await before_name(await off_loop(writer.complete, *held), writer.beginning)
            return await off_loop(writer.commit, may_replace=True, after_name=after_name, after_round=after_round)
        except BaseException:
            held = batch = []  # the exception must not keep the bytes
            try:
                await close(batches)
            finally:
                if writer.has_begun:
                    await clean_up_off_loop(writer.rollback)
            raise

    async def _batches(self) -> AsyncIterator[list[Buffer]]:
        """Yield the data set in lists of pieces. Each list is large enough to be worth a change of thread."""
        batch: list[Buffer] = []
        size = 0
        stream = self.stream()
        try:
            async for piece in stream:
                batch.append(piece)
                size += len(piece)
                if size >= ONE_HOP:
                    yield batch
                    batch, size = [], 0
            if batch:
                yield batch
        finally:
            await close(stream)

    def _source_ae_title(self) -> str | None:
        return None

    async def discard(self) -> None:
        """Read no more of the data set. The response to the peer is Success."""

    async def encoded(self, transfer_syntax: str) -> Buffer | AsyncIterator[Buffer]:
        """Return the data set encoded in a transfer syntax: streamed if it is stored so, otherwise re-encoded.

        A data set that cannot be encoded raises here, before a message has begun that could then only end with A-ABORT.
        A file that cannot be opened raises when its first piece is read.

        Args:
            transfer_syntax: The UID of the transfer syntax.

        Returns:
            The bytes, or an iterator over their pieces.

        Raises:
            DatasetEncodeError: The data set cannot be encoded, or is not re-encoded in that transfer syntax: aiodimse
                re-encodes between Implicit, Explicit and Deflated Little Endian.
        """
        if transfer_syntax == self.transfer_syntax:
            return self.stream()
        if not datasets.can_transcode(self.transfer_syntax, transfer_syntax):
            raise DatasetEncodeError(f"{self.transfer_syntax} is not re-encoded as {transfer_syntax}")
        dataset = await self.dataset()
        return await read_off_loop(datasets.encode_dataset, dataset, transfer_syntax)

    def held_to_send(self, transfer_syntax: str) -> int:
        """Return about how many bytes `encoded` keeps in memory, including its result. 0: it is streamed.

        Args:
            transfer_syntax: As for `encoded`.
        """
        return 0 if transfer_syntax == self.transfer_syntax else self.held_to_decode()

    def held_to_decode(self) -> int:
        """Return about how many bytes `dataset` keeps in memory. For streams it is the limit."""
        return self.limits.dataset_in_memory

    def held_to_recompress(self) -> int:
        """Return about how many bytes `recompressible` has in memory; 0 for a file, which is read as it is needed."""
        return self.held_to_send("")

    async def recompressible(self) -> bytes | FileHead:
        """Return what its pixels are read from for another compression: the head of its file, or the whole data set.

        Raises DatasetTooLarge if that exceeds Limits.dataset_in_memory.
        """
        return await collect(self.stream(), self.limits.dataset_in_memory)


class FileInstance(Instance):
    """An instance in a file."""

    def __init__(self, head: FileHead, data: bytes | None = None) -> None:
        """Take the head of a file, and in `data` the whole data set if it has been read already."""
        super().__init__(head.sop_class_uid, head.sop_instance_uid, head.transfer_syntax)
        self.head = head
        self._data = data

    def stream(self) -> AsyncIterator[Buffer]:
        """Yield the data set from the file, which is read in a thread."""
        if self._data is not None:
            return _at_hand(self._data)
        return pieces_off_loop(datasets.open_pieces(self.head, _PIECE))

    async def encoded(self, transfer_syntax: str) -> Buffer | AsyncIterator[Buffer]:
        """See `Instance.encoded`. A small data set is in memory; a large or deflated one is re-encoded piece by piece.

        The file of a large one is read twice: the first time to check that it can be re-encoded.

        Args:
            transfer_syntax: The UID of the transfer syntax.
        """
        if self._data is not None and transfer_syntax == self.transfer_syntax:
            return self._data
        other = transfer_syntax != self.transfer_syntax and datasets.can_transcode(
            self.transfer_syntax, transfer_syntax
        )
        if not other or not self._is_re_encoded_in_pieces:
            return await super().encoded(transfer_syntax)
        await read_off_loop(datasets.check_transcoded, self.head, transfer_syntax)
        return pieces_off_loop(datasets.open_transcoded(self.head, transfer_syntax))

    def held_to_send(self, transfer_syntax: str) -> int:
        """See `Instance.held_to_send`. A large data set is re-encoded or decompressed piece by piece.

        Args:
            transfer_syntax: As for `encoded`.
        """
        is_streamed = transfer_syntax == self.transfer_syntax or self._is_re_encoded_in_pieces
        return 0 if is_streamed else self.held_to_decode()

    @property
    def _is_re_encoded_in_pieces(self) -> bool:
        # A deflated data set of a mebibyte may inflate to a gibibyte.
        return datasets.most_inflated(self.head.size, self.transfer_syntax, self.limits) > _HELD

    def held_to_decode(self) -> int:
        """See `Instance.held_to_decode`. Of a deflated data set it is the most that it may inflate to."""
        return _DECODED * datasets.most_inflated(self.head.size, self.transfer_syntax, self.limits)

    def held_to_recompress(self) -> int:
        """See `Instance.held_to_recompress`."""
        return 0 if self._data is None else len(self._data)

    async def recompressible(self) -> bytes | FileHead:
        """See `Instance.recompressible`. The file is read when it is needed."""
        return self.head if self._data is None else self._data

    async def dataset(self) -> Dataset:
        """Decode the data set of the file.

        Raises:
            DatasetTooLarge: It exceeds Limits.dataset_in_memory.
        """
        if self.head.size > self.limits.dataset_in_memory:
            raise DatasetTooLarge(f"the data set is over {self.limits.dataset_in_memory} bytes")
        return await read_off_loop(datasets.read_file, self.head, self.limits)


@record(frozen=True)
class ReferencedFile:
    """A file, and the SOP instance that it must hold. A handler may yield it, and c_store accepts it.

    If the file holds another instance, the sub-operation fails, and the UID is in the Failed SOP Instance UID List.

    Example:
        yield 0xFF00, aiodimse.ReferencedFile(path, sop_instance_uid=uid)
    """

    path: str | os.PathLike[str]
    """The path of the file."""
    sop_instance_uid: str
    """The SOP Instance UID that its data set must have."""


async def _at_hand(data: bytes) -> AsyncIterator[Buffer]:
    yield data


def open_file(path: str | os.PathLike[str], sop_instance_uid: str | None = None) -> FileInstance:
    """Open a file, and read its file meta information and first piece together.

    A small file is then completely read (docs/topics/flow.md).
    """
    with datasets.PartTenReader(path) as reader:
        head = reader.head
        expect_instance(head.sop_instance_uid, sop_instance_uid)
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
        """Yield the data set, encoded in its own transfer syntax, in one piece."""
        return self._stream()

    async def encoded(self, transfer_syntax: str) -> Buffer | AsyncIterator[Buffer]:
        """See `Instance.encoded`. The data set is one piece.

        Args:
            transfer_syntax: The UID of the transfer syntax.
        """
        if transfer_syntax == self.transfer_syntax:
            return await read_off_loop(datasets.encode_stored, self._dataset)
        return await super().encoded(transfer_syntax)

    def held_to_send(self, transfer_syntax: str) -> int:
        """See `Instance.held_to_send`. Only the encoding counts, since the data set belongs to the application.

        Args:
            transfer_syntax: As for `encoded`.
        """
        return datasets.size_of_values(self._dataset)

    def held_to_decode(self) -> int:
        """See `Instance.held_to_decode`."""
        return 0

    async def dataset(self) -> Dataset:
        """Return the data set from which it was made."""
        return self._dataset


class StreamedInstance(Instance):
    """An instance that arrives in pieces as a DICOM file. Its data set may still be arriving. It can be read once."""

    reads_once = True

    def __init__(self, head: Head, beginning: bytes, rest: AsyncIterator[Buffer]) -> None:
        """Take the head, the first bytes of the data set, and in `rest` the bytes after them."""
        super().__init__(head.sop_class_uid, head.sop_instance_uid, head.transfer_syntax)
        self._beginning, self._rest = beginning, rest
        self._touched = False

    @classmethod
    async def read(
        cls, chunks: AsyncIterable[Buffer], sop_instance_uid: str | None, study_instance_uid: str | None = None
    ) -> StreamedInstance:
        """Read the head from the stream, and if the study matters the beginning of the data set.

        Raises as `Instance.from_part10` does.
        """
        rest = aiter(chunks)
        try:
            head, beginning = await read_beginning(rest, sop_instance_uid, study_instance_uid)
        except BaseException:
            await close(rest)
            raise
        return cls(head, beginning, rest)

    async def _stream(self) -> AsyncGenerator[Buffer, None]:
        if self._touched:
            raise RuntimeError("the stream has been read, and its bytes are not kept")
        self._touched = True
        beginning, self._beginning = self._beginning, b""
        try:
            if beginning:
                yield beginning
            async for chunk in self._rest:
                yield chunk
        finally:
            await close(self._rest)

    def stream(self) -> AsyncIterator[Buffer]:
        """Yield the data set as it arrives. A second call raises RuntimeError."""
        return self._stream()

    async def dataset(self) -> Dataset:
        """Decode the data set, completely in memory.

        Raises:
            DatasetTooLarge: It exceeds Limits.dataset_in_memory.
        """
        data = await collect(self._stream(), self.limits.dataset_in_memory)
        dataset = await read_off_loop(datasets.decode_dataset, data, self.transfer_syntax, limits=self.limits)
        dataset.file_meta = datasets.file_meta_dataset(self.sop_class_uid, self.sop_instance_uid, self.transfer_syntax)
        return dataset

    async def discard(self) -> None:
        """Read no more of the data set, and close the source of its chunks."""
        self._touched, self._beginning = True, b""
        await close(self._rest)
