"""An object of a bucket that is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TYPE_CHECKING, Any

import obstore
from obstore.exceptions import BaseError
from obstore.store import S3Store
from pydicom import Dataset

import aiodimse

from ..index import Entry
from .s3_errors import os_errors

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult

PIECE = 1 << 18
"""Bytes that are asked of the store at a time."""
_SECONDS_FOR_PIECE = 50.0
"""How long a piece of an object may take that the store sends slowly."""


class StoredInstance(aiodimse.Instance):
    """An object of the bucket, which is requested when it is sent."""

    def __init__(self, store: S3Store, entry: Entry) -> None:
        super().__init__(entry.sop_class_uid, entry.sop_instance_uid, entry.transfer_syntax)
        self._store, self._location = store, entry.location

    async def _opened(self) -> aiodimse.Instance:
        """Request the object. Raises aiodimse.InstanceConflict if it is another instance than was asked for."""
        with os_errors():
            response = await obstore.get_async(self._store, self._location)
        return await aiodimse.Instance.from_part10(self._pieces(response), sop_instance_uid=self.sop_instance_uid)

    async def _pieces(self, response: GetResult) -> AsyncGenerator[bytes, None]:
        """Yield the object, and ask again for the rest where the store is lost in the middle of it.

        obstore repeats a request, too, but only in the first seconds after it: too few for a peer that is slow. The
        rest is that of the same object, as its ETag says. The store that sends no piece at all is not asked again.
        """
        at, size, e_tag = 0, response.meta["size"], response.meta["e_tag"]
        with os_errors():
            while True:
                began = at
                pieces = aiter(response.stream(min_chunk_size=PIECE))
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
