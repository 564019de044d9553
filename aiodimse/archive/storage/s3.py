"""A storage in a bucket of an S3-compatible object store. It needs obstore (extra `s3`).

Nothing is written to a local disk. A C-STORE streams into a multipart upload, which is completed after the archive has
decided to keep the instance. A retrieval streams out of the bucket.
"""

from __future__ import annotations

import asyncio
import errno
import io
import os
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store
from pydicom import Dataset

import aiodimse

from ..header import header_in
from ..index import Entry, Header
from ..threads import in_thread
from .hashed import hashed_name
from .interface import Arrived, Arriving, Found, Stamp, StorageAway, is_whole

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult, ReadableFile
    from obstore.store import ClientConfig, RetryConfig

_BEGINNING = 1 << 20
"""Bytes of an object that are read to find its header."""
_SILENCE = timedelta(seconds=20)
"""How long the store may send nothing. The whole of an object has no deadline: the peer decides how fast it is sent."""
_RETRIES = timedelta(seconds=30)
"""How long a request is repeated. With the last silence, it fails before Timeouts.response of the peer."""
_UNLIMITED = timedelta(days=7)
_PIECE = 1 << 18
_READ_AHEAD = 1 << 16
"""Bytes that are read at once where only the heads of elements are looked at."""
_SECONDS_FOR_PIECE = 50.0
"""How long a piece of an object may take that the store sends slowly."""
_ADDRESS = re.compile(r"\b[A-Z]+ (https?://[^\s?]+).* - (?:HTTP error: |Server returned non-2xx status code: )?(.+)")
"""An error of obstore: the method, the address, how often it tried for how long, and what went wrong."""
_METADATA = "//169.254.169.254/"
"""Where the machines of a cloud ask for the keys of their role. obstore asks there if it is given no key."""
_ENDPOINT = re.compile(r"https?://[!-~]+")
_SECONDS_TO_ABORT = 5.0
"""How long a C-STORE that is cancelled waits until its upload is aborted."""
_SECONDS_TO_GO_ON = 45.0
"""How long a C-STORE waits for the store before it needs more of the object, and how long for all that is left to do
when it has the whole of it. Several requests may hang in that time, each until its own limit."""


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
        _check_endpoint(options.get("endpoint"))
        try:
            self._store = S3Store.from_url(url, client_options=client, retry_config=retries, **options)
        except BaseError as error:
            raise ValueError(f"the bucket cannot be used: {_first_line(error)}") from None

    async def open(self) -> None:
        """See `Storage.open`: check that the bucket answers."""
        try:
            # In a thread of ours: that of an async function still has to wake the event loop afterward. If the program
            # ends meanwhile, it has no interpreter left, and the process is aborted.
            await in_thread(next, obstore.list(self._store, chunk_size=1), None)
        except BaseError as error:
            raise OSError(errno.EIO, f"the bucket does not answer: {_why(error)}") from None

    def walk(self) -> Iterator[Found]:
        """See `Storage.walk`. Each folder is listed by itself, so that a million keys are never in memory together."""
        waiting = [""]
        while waiting:
            folder = waiting.pop()
            with _os_errors():
                listed = obstore.list_with_delimiter(self._store, folder or None)
            yield Found(folder, {each["path"]: _stamp(each) for each in listed["objects"]})
            waiting += reversed(listed["common_prefixes"])

    async def tidy(self, folder: str) -> None:
        """See `Storage.tidy`. An incomplete upload is not visible, and rules of the store remove it."""

    def read(self, location: str) -> Header:
        """See `Storage.read`."""
        with _os_errors():  # a bucket that is away has no damaged objects
            meta = obstore.head(self._store, location)
            length = min(_BEGINNING, meta["size"])
            beginning = bytes(obstore.get_range(self._store, location, start=0, length=length)) if length else b""
        return asyncio.run(_header_of(beginning, location, _stamp(meta)))  # in a thread, which has no event loop

    def is_whole(self, location: str) -> bool:
        """See `Storage.is_whole`."""
        with _os_errors():
            file = obstore.open_reader(self._store, location, buffer_size=_READ_AHEAD)
            return is_whole(cast("BinaryIO", _OpenObject(file)))

    def stamp(self, location: str) -> Stamp | None:
        """See `Storage.stamp`."""
        try:
            with _os_errors():
                return _stamp(obstore.head(self._store, location))
        except FileNotFoundError:
            return None

    def check(self) -> None:
        """See `Storage.check`. There is nothing to check: saving into a bucket that is gone fails."""

    def free_bytes(self) -> None:
        """See `Storage.free_bytes`. A bucket does not report it."""

    def remove(self, location: str) -> None:
        """See `Storage.remove`."""
        with suppress(FileNotFoundError), _os_errors():
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
        with _os_errors():
            async with asyncio.timeout(_SECONDS_TO_GO_ON) as limit:
                await _Upload(self._store, request, arriving, limit).put(location)
                stamp = _stamp(await obstore.head_async(self._store, location))
        await in_thread(_keep, arriving, stamp)

    def payload(self, entry: Entry) -> aiodimse.InstanceSource:
        """See `Storage.payload`."""
        return _StoredInstance(self._store, entry)

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


class _Upload:
    """An upload of the Part 10 file of a C-STORE while it arrives.

    Args:
        store: The store.
        request: The request.
        arriving: Who decides whether the upload is completed.
        limit: Ends the upload. It does not run while the peer is waited for.
    """

    def __init__(
        self, store: S3Store, request: aiodimse.StoreRequest, arriving: Arriving, limit: asyncio.Timeout
    ) -> None:
        self._store = store
        self._request, self._arriving, self._limit = request, arriving, limit
        self._reading: asyncio.Task[Any] | None = None
        self._is_given_up = False

    async def put(self, location: str) -> None:
        """Upload it. If this is cancelled, obstore is told by an error of what it reads: only then it aborts."""
        putting = asyncio.ensure_future(obstore.put_async(self._store, location, self._chunks()))
        try:
            await asyncio.shield(putting)
        except asyncio.CancelledError:
            self._is_given_up = True
            if self._reading is not None:
                self._reading.cancel()
            await asyncio.wait([putting], timeout=_SECONDS_TO_ABORT)
            if not putting.cancel() and not putting.cancelled():
                putting.exception()  # retrieved, so that asyncio does not log it
            raise

    async def _chunks(self) -> AsyncIterator[bytes]:
        self._go_on()
        syntax = self._request.transfer_syntax
        beginning, size = bytearray(), 0
        digest = None
        file = self._request.part10()
        head = bytes(await anext(file))  # the preamble and the file meta information
        self._wait_for_store()
        yield head
        self._go_on()
        async for piece in file:
            size += len(piece)
            room = _BEGINNING - len(beginning)
            beginning.extend(piece[:room])
            if digest is not None:
                digest.update(piece)
            elif size - len(piece) <= _BEGINNING < size and not await in_thread(_has_header, bytes(beginning), syntax):
                # It can be compared only by its digest, since nobody keeps the whole of it. No other object needs one.
                digest = sha256(beginning)
                digest.update(piece[room:])
            self._wait_for_store()
            yield bytes(piece)
            self._go_on()
        self._wait_for_store()
        arrived = Arrived(bytes(beginning), syntax)
        if size == len(beginning):
            arrived = replace(
                arrived,
                is_whole=lambda: is_whole(io.BytesIO(head + beginning)),
                is_at=lambda location: _is_at(self._store, syntax, sha256(beginning).digest(), location),
            )
        elif digest is not None:
            arrived = replace(arrived, is_at=partial(_is_at, self._store, syntax, digest.digest()))
        await in_thread(self._arriving.decide, arrived)

    def _go_on(self) -> None:
        """Note the task in which obstore asks for the next piece; it has a new one for each."""
        self._reading = asyncio.current_task()
        if self._is_given_up:
            raise InterruptedError("the upload is given up")
        self._limit.reschedule(None)

    def _wait_for_store(self) -> None:
        self._limit.reschedule(asyncio.get_running_loop().time() + _SECONDS_TO_GO_ON)


class _StoredInstance(aiodimse.Instance):
    """An object of the bucket, which is requested when it is sent."""

    def __init__(self, store: S3Store, entry: Entry) -> None:
        super().__init__(entry.sop_class_uid, entry.sop_instance_uid, entry.transfer_syntax)
        self._store, self._location = store, entry.location

    async def _opened(self) -> aiodimse.Instance:
        """Request the object. Raises aiodimse.InstanceConflict if it is another instance than was asked for."""
        with _os_errors():
            response = await obstore.get_async(self._store, self._location)
        return await aiodimse.Instance.from_part10(self._pieces(response), sop_instance_uid=self.sop_instance_uid)

    async def _pieces(self, response: GetResult) -> AsyncGenerator[bytes, None]:
        """Yield the object, and ask again for the rest where the store is lost in the middle of it.

        obstore repeats a request, too, but only in the first seconds after it: too few for a peer that is slow. The
        rest is that of the same object, as its ETag says. The store that sends no piece at all is not asked again.
        """
        at, size, e_tag = 0, response.meta["size"], response.meta["e_tag"]
        with _os_errors():
            while True:
                began = at
                pieces = aiter(response.stream(min_chunk_size=_PIECE))
                try:
                    while (piece := await _next(pieces)) is not None:
                        at += len(piece)
                        yield piece
                    return
                except (BaseError, TimeoutError):
                    if at == began or at >= size or not e_tag:
                        raise
                rest: GetOptions = {"range": {"offset": at}, "if_match": e_tag}
                response = await obstore.get_async(self._store, self._location, options=rest)

    async def _stream(self) -> AsyncIterator[bytes | memoryview]:
        async for piece in (await self._opened()).stream():
            yield piece

    def stream(self) -> AsyncIterator[bytes | memoryview]:
        """Return the encoded data set as a stream out of the bucket."""
        return self._stream()

    async def dataset(self) -> Dataset:
        """Return the decoded data set."""
        return await (await self._opened()).dataset()

    async def encoded(self, transfer_syntax: str) -> Any:
        """Encode as Instance.encoded does. Opening here shows whether it can be sent before its message begins."""
        return await (await self._opened()).encoded(transfer_syntax)


async def _next(pieces: AsyncIterator[Any]) -> bytes | None:
    """Return the next piece; None: there are no more.

    Raises:
        TimeoutError: The store sends too few bytes for one, although it sends some.
    """
    async with asyncio.timeout(_SECONDS_FOR_PIECE):
        piece = await anext(pieces, None)
    return None if piece is None else bytes(piece)


def _has_header(beginning: bytes, transfer_syntax: str) -> bool:
    """Return whether a data set has a header that can be read. Blocks."""
    try:
        header_in(beginning, transfer_syntax, "")
    except Exception:  # as where the object is decided on
        return False
    return True


def _is_at(store: S3Store, transfer_syntax: str, digest: bytes, location: str) -> bool:
    """Return whether a location has a data set with a digest. Blocks."""

    async def pieces() -> AsyncIterator[bytes]:
        for piece in obstore.get(store, location).stream(min_chunk_size=_PIECE):
            yield bytes(piece)

    async def compared() -> bool:
        stored, found = await aiodimse.Instance.from_part10(pieces()), sha256()
        async for piece in stored.stream():
            found.update(piece)
        return stored.transfer_syntax == transfer_syntax and found.digest() == digest

    try:
        with _os_errors():
            return asyncio.run(compared())  # in a thread, which has no event loop
    except aiodimse.AiodimseError:
        return False  # it is no DICOM file


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


@contextmanager
def _os_errors() -> Iterator[None]:
    """Raise what obstore raises as StorageAway, an OSError, which says of a folder, too, that it does not answer.

    The text of an error has the key of the object in it, so only its type is given.
    """
    try:
        yield
    except (BaseError, TimeoutError) as error:
        raise StorageAway(errno.EIO, f"the bucket does not answer ({type(error).__name__})") from None


def _check_endpoint(option: str | None) -> None:
    """Refuse an address of the store that is none. obstore panics at the first request to one."""
    names = ("AWS_ENDPOINT", "AWS_ENDPOINT_URL")
    given = {"endpoint": option} if option else {name: os.environ.get(name) for name in names}
    for name, value in given.items():
        if value and not _ENDPOINT.fullmatch(value):
            raise ValueError(
                f"the bucket cannot be used: {name} is not an address like https://store.example: {value!r}"
            )


def _first_line(error: BaseError) -> str:
    return str(error).partition("\n")[0]


def _why(error: BaseError) -> str:
    """Return the address and what went wrong, without what obstore says of its tries, and the XML of the store."""
    line = _first_line(error).partition(": <")[0]
    found = _ADDRESS.search(line)
    where = f"{found[1]}: {found[2]}" if found else line
    if _METADATA in where:
        return f"AWS_ACCESS_KEY_ID is not set, and no cloud has a key for this machine ({where})"
    return where


def _stamp(meta: Any) -> Stamp:
    # Whole seconds: stores list objects with milliseconds, but answer a HEAD without them.
    return Stamp(meta["size"], int(meta["last_modified"].timestamp()) * 1_000_000_000)


def _keep(arriving: Arriving, stamp: Stamp) -> None:
    arriving.keep(stamp)
    arriving.write()
