"""Instances that arrive: the data set of a C-STORE request, for a handler or for the user of a C-GET."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

from pydicom.dataset import Dataset

from aiodimse import datasets
from aiodimse.aio.channel import Channel
from aiodimse.aio.inbox import Inbox
from aiodimse.dimse.fragments import Buffer
from aiodimse.errors import DatasetDecodeError, DatasetTooLarge, InstanceConflict
from aiodimse.services.decoding import decoded
from aiodimse.services.instance import AfterName, AfterRound, BeforeName, Instance


class ArrivingInstance(Instance):
    """An instance that a C-STORE request brings. Its data set may still be arriving.

    It can be read once, by one of save(), dataset(), stream() and discard(), since its bytes are not kept. A second
    read raises RuntimeError, except that dataset() may be called again, and discard() at any time. To have the instance
    in a file and examine it, save() it and read the file.

    It belongs to the event loop of its association: on another one, or in another thread, each of them raises
    LocalProtocolError. Only a data set that has been decoded may go anywhere.
    """

    reads_once = True

    def __init__(
        self,
        sop_class_uid: str,
        sop_instance_uid: str,
        transfer_syntax: str,
        inbox: Inbox,
        *,
        channel: Channel,
        source_ae_title: str | None = None,
    ) -> None:
        super().__init__(sop_class_uid, sop_instance_uid, transfer_syntax)
        self._inbox = inbox
        self._channel, self._limits = channel, channel.limits
        self._source = source_ae_title
        self.save_error: OSError | None = None
        """Why save() failed. The response is then "Out of resources"."""
        self.conflict: InstanceConflict | None = None
        """Why save() was refused. The response is then "Data Set does not match SOP Class"."""
        self.decode_error: DatasetDecodeError | None = None
        """Why dataset() failed."""
        self._decoded: Dataset | None = None
        """What dataset() has returned."""
        self._in_use = False
        """Whether a save() or dataset() has begun and has not yet succeeded."""

    def _source_ae_title(self) -> str | None:
        return self._source

    @property
    def is_consumed(self) -> bool:
        """Whether it has been saved, decoded, streamed to its end, or discarded."""
        return self._inbox.consumed and not self._in_use

    def _begin(self) -> Inbox:
        self._channel.one_loop.check()
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

    def _batches(self) -> AsyncIterator[list[Buffer]]:
        return _Batches(self._inbox, self._limits.max_pdu_length)  # save() and dataset() have called _begin().

    def stream(self) -> AsyncIterator[Buffer]:
        """Yield the data set as it arrives. A slow reader makes the peer wait. A second call raises RuntimeError."""
        return self._stream()

    async def dataset(self) -> Dataset:
        """Decode the data set, with its file meta information. A second call returns the same object.

        Raises:
            DatasetDecodeError: It cannot be decoded.
            DatasetTooLarge: It exceeds Limits.dataset_in_memory or Limits.dataset_elements.
        """
        if self._decoded is not None:
            return self._decoded
        pieces: list[Buffer] = []
        size = 0
        self._begin()
        self._in_use = True
        try:
            async for batch in self._batches():
                size += sum(map(len, batch))
                if size > self._limits.dataset_in_memory:
                    self.decode_error = DatasetTooLarge(f"the data set is over {self._limits.dataset_in_memory} bytes")
                    raise self.decode_error
                pieces += batch
            data = b"".join(pieces)
        finally:
            batch = []
            pieces.clear()  # otherwise an exception that is kept would keep the bytes; the same is done below
        try:
            dataset = await decoded(datasets.decode_dataset, data, self.transfer_syntax, self._channel)
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
        after_name: AfterName | None = None,
        after_round: AfterRound | None = None,
    ) -> Path:
        """Write a DICOM file into a folder while the data set arrives. See `Instance.save`.

        Args:
            folder: The folder, which must exist.
            name: The path of the file in the folder. None: a name made from the SOP Instance UID.
            durable: Whether the file and the folder are flushed to the disk before this returns.
            check_identity: Whether the data set must be the instance that the request names.
            before_name: Awaited or called with the temporary file before it gets its name.
            after_name: Called with the file and its status after it got its name, in the thread that wrote it.
            after_round: Called after `after_name` of all files that are finished together.

        Returns:
            The path of the file.

        Raises:
            OSError: The file cannot be written. If the handler raises it, the response is 0xA700.
            InstanceConflict: The data set or the stored file is another instance than the request names. If the handler
                raises it, the response is 0xA900.
            DatasetDecodeError: The data set begins with an element that no data set may have. If the handler raises it,
                the response is 0xC210.
            ValueError: The name leads out of the folder.

        Cancellation: nothing is left on the disk. The rest of the data set is received and dropped.
        """
        self._begin()
        self._in_use = True
        try:
            path = await super().save(
                folder,
                name,
                durable=durable,
                check_identity=check_identity,
                before_name=before_name,
                after_name=after_name,
                after_round=after_round,
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
        """Read no more of the data set. The rest is received and dropped.

        Raises:
            LocalProtocolError: Its association belongs to another event loop.
        """
        self._channel.one_loop.check()
        self._inbox.touched = self._inbox.consumed = True
        self._in_use = False
        self._inbox.drop()


class _Batches(AsyncIterator[list[Buffer]]):
    """A data set as it arrives, in lists of pieces. It is no generator, since the event loop keeps a list of those."""

    def __init__(self, inbox: Inbox, size: int) -> None:
        """size: the least number of bytes of a list, except for the last one."""
        self._inbox, self._size = inbox, size

    async def __anext__(self) -> list[Buffer]:
        if batch := await self._inbox.gather(self._size):
            return batch
        raise StopAsyncIteration
