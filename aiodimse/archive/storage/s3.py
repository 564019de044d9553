"""A storage in a bucket of an S3-compatible object store. It needs obstore (extra `s3`).

Nothing is written to a local disk. A C-STORE streams into a multipart upload, which is completed after the archive has
decided to keep the instance. A retrieval streams out of the bucket.
"""

from __future__ import annotations

import asyncio
import errno
import io
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store

import aiodimse

from ..header import header_in
from ..index import Entry, Header
from ..threads import in_thread
from .hashed import hashed_name
from .interface import Arriving, Found, Stamp, is_whole
from .s3_errors import check_endpoint, first_line, os_errors, why
from .s3_instance import StoredInstance
from .s3_upload import BEGINNING, Upload

if TYPE_CHECKING:
    from obstore import ReadableFile
    from obstore.store import ClientConfig, RetryConfig

_SILENCE = timedelta(seconds=20)
"""How long the store may send nothing. The whole of an object has no deadline: the peer decides how fast it is sent."""
_RETRIES = timedelta(seconds=30)
"""How long a request is repeated. With the last silence, it fails before Timeouts.response of the peer."""
_UNLIMITED = timedelta(days=7)
_READ_AHEAD = 1 << 16
"""Bytes that are read at once where only the heads of elements are looked at."""


class S3Storage:
    """A bucket, or the keys with a prefix in one. A location is a key without the prefix.

    The credentials are those of the environment: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_ENDPOINT, AWS_REGION.

    Args:
        url: s3://BUCKET or s3://BUCKET/PREFIX.
        options: Options for obstore's S3Store that replace those of the environment, for example endpoint.

    Raises:
        ValueError: The URL or an option is wrong.
    """

    def __init__(self, url: str, **options: Any) -> None:
        client: ClientConfig = {
            "timeout": _UNLIMITED,
            "read_timeout": _SILENCE,
            "connect_timeout": _SILENCE,
            "allow_http": True,
        }
        retries: RetryConfig = {"retry_timeout": _RETRIES}
        check_endpoint(options.get("endpoint"))
        try:
            self._store = S3Store.from_url(url, client_options=client, retry_config=retries, **options)
        except BaseError as error:
            raise ValueError(f"the bucket cannot be used: {first_line(error)}") from None

    async def open(self) -> None:
        """See `Storage.open`: check that the bucket answers."""
        try:
            # In a thread of ours: that of an async function still has to wake the event loop afterward. If the program
            # ends meanwhile, it has no interpreter left, and the process is aborted.
            await in_thread(next, obstore.list(self._store, chunk_size=1), None)
        except BaseError as error:
            raise OSError(errno.EIO, f"the bucket does not answer: {why(error)}") from None

    def walk(self) -> Iterator[Found]:
        """See `Storage.walk`. Each folder is listed by itself, so that a million keys are never in memory together."""
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            with os_errors():
                listed = obstore.list_with_delimiter(self._store, folder or None)
            yield Found(folder, {each["path"]: _stamp(each) for each in listed["objects"]})
            waiting += reversed(listed["common_prefixes"])

    async def tidy(self, folder: str) -> None:
        """See `Storage.tidy`. An incomplete upload is not visible, and rules of the store remove it."""

    def read(self, location: str) -> Header:
        """See `Storage.read`."""
        with os_errors():  # a bucket that is away has no damaged objects
            meta = obstore.head(self._store, location)
            length = min(BEGINNING, meta["size"])
            beginning = bytes(obstore.get_range(self._store, location, start=0, length=length)) if length else b""
        return asyncio.run(_header_of(beginning, location, _stamp(meta)))  # in a thread, which has no event loop

    def is_whole(self, location: str) -> bool:
        """See `Storage.is_whole`."""
        with os_errors():
            file = obstore.open_reader(self._store, location, buffer_size=_READ_AHEAD)
            return is_whole(cast("BinaryIO", _OpenObject(file)))

    def stamp(self, location: str) -> Stamp | None:
        """See `Storage.stamp`."""
        try:
            with os_errors():
                return _stamp(obstore.head(self._store, location))
        except FileNotFoundError:
            return None

    def check(self) -> None:
        """See `Storage.check`. There is nothing to check: saving into a bucket that is gone fails."""

    def free_bytes(self) -> None:
        """See `Storage.free_bytes`. A bucket does not report it."""

    def remove(self, location: str) -> None:
        """See `Storage.remove`."""
        with suppress(FileNotFoundError), os_errors():
            obstore.delete(self._store, location)

    def location_for(self, sop_instance_uid: str) -> str:
        """See `Storage.location_for`."""
        return hashed_name(sop_instance_uid)

    async def save(self, request: aiodimse.StoreRequest, location: str, arriving: Arriving, *, durable: bool) -> None:
        """See `Storage.save`. An upload that ends with an exception is aborted, so that none of its parts remain.

        The time that the peer takes to send is not limited here, but that which the store takes is.

        Cancellation: waits up to 5 seconds for the store to abort the upload. The rules of the store remove the parts
        of one that was not aborted.
        """
        with os_errors():
            stamp = _stamp(await Upload(self._store, request, arriving).put(location))
        await in_thread(_keep, arriving, stamp)

    def payload(self, entry: Entry) -> aiodimse.InstanceSource:
        """See `Storage.payload`."""
        return StoredInstance(self._store, entry)

    def is_named_after(self, location: str, sop_instance_uid: str) -> bool:
        """See `Storage.is_named_after`."""
        return location == hashed_name(sop_instance_uid)


class _OpenObject(io.RawIOBase):
    """An object of the bucket as an open file.

    Args:
        file: What obstore has opened. Its pieces are no bytes of Python.
    """

    def __init__(self, file: ReadableFile) -> None:
        self._file = file

    def readinto(self, buffer: Any) -> int:
        """Read into a buffer (see io.RawIOBase)."""
        data = bytes(self._file.read(len(buffer)))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Go to another position (see io.RawIOBase)."""
        return self._file.seek(offset, whence)


async def _header_of(data: bytes, location: str, stamp: Stamp) -> Header:
    async def chunks() -> AsyncIterator[bytes]:
        yield data

    instance = await aiodimse.Instance.from_part10(chunks())
    beginning = bytearray()
    try:
        async for piece in instance.stream():
            beginning.extend(piece)
    except (aiodimse.AiodimseError, OSError):
        pass  # only the beginning was read, so the data set is cut off
    header = header_in(bytes(beginning), instance.transfer_syntax, location)
    return header.stamped(stamp.size, stamp.modified)


def _stamp(meta: Any) -> Stamp:
    # Whole seconds: stores list objects with milliseconds, but answer a HEAD without them.
    return Stamp(meta["size"], int(meta["last_modified"].timestamp()) * 1_000_000_000)


def _keep(arriving: Arriving, stamp: Stamp) -> None:
    arriving.keep(stamp)
    arriving.write()
