"""An object that comes by C-STORE and goes into a bucket."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import obstore
from obstore.store import S3Store

import aiodimse

from ..header import header_in
from ..threads import in_thread
from .interface import Arrived, Arriving, is_whole
from .s3_errors import os_errors
from .s3_instance import PIECE

if TYPE_CHECKING:
    from obstore import ObjectMeta

BEGINNING = 1 << 20
"""Bytes of an object that are read to find its header."""
_SECONDS_TO_ABORT = 5.0
"""How long a C-STORE that is cancelled waits until its upload is aborted."""
_SECONDS_TO_GO_ON = 45.0
"""How long a C-STORE waits for the store before it needs more of the object, and how long for all that is left to do
when it has the whole of it. Several requests may hang in that time, each until its own limit."""


class Upload:
    """An upload of the Part 10 file of a C-STORE while it arrives.

    Args:
        store: The store.
        request: The request.
        arriving: Who decides whether the upload is completed.
    """

    def __init__(self, store: S3Store, request: aiodimse.StoreRequest, arriving: Arriving) -> None:
        self._store, self._request, self._arriving = store, request, arriving
        self._limit = asyncio.timeout(_SECONDS_TO_GO_ON)
        """Ends the upload. It does not run while the peer is waited for."""
        self._reading: asyncio.Task[Any] | None = None
        self._is_given_up = False

    async def put(self, location: str) -> ObjectMeta:
        """Upload it.

        Args:
            location: Where.

        Returns:
            What the store says of the object.

        Raises:
            BaseError: The store fails.
            TimeoutError: It does not answer.

        Cancellation: waits up to 5 seconds for the store to abort the upload.
        """
        async with self._limit:
            await self._put(location)
            return await obstore.head_async(self._store, location)

    async def _put(self, location: str) -> None:
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
            room = BEGINNING - len(beginning)
            beginning.extend(piece[:room])
            if digest is not None:
                digest.update(piece)
            elif size - len(piece) <= BEGINNING < size and not await in_thread(_has_header, bytes(beginning), syntax):
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
        for piece in obstore.get(store, location).stream(min_chunk_size=PIECE):
            yield bytes(piece)

    async def compared() -> bool:
        stored, found = await aiodimse.Instance.from_part10(pieces()), sha256()
        async for piece in stored.stream():
            found.update(piece)
        return stored.transfer_syntax == transfer_syntax and found.digest() == digest

    try:
        with os_errors():
            return asyncio.run(compared())  # in a thread, which has no event loop
    except aiodimse.AiodimseError:
        return False  # it is no DICOM file
