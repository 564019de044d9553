"""Bodies of responses, written piece by piece: multipart/related (PS3.18 8.6.1.2) and JSON arrays."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from typing import Any, TypeVar

import aiodimse

_T = TypeVar("_T")


def multipart(
    of_parts: str, parts: AsyncIterable[tuple[str, bytes | AsyncIterable[bytes | memoryview]]]
) -> tuple[str, AsyncGenerator[bytes, None]]:
    """Write a multipart/related body.

    Args:
        of_parts: The media type of the parts as a whole, such as application/dicom.
        parts: The media type of each part, and its bytes or an iterator over them; closed at the end.

    Returns:
        The Content-Type of the response, and the pieces of its body: none at all where there is no part. The boundary
        is another one each time, so that no stored instance can contain it.

    Cancellation: Cancelling or closing the iteration closes the parts.
    """
    boundary = secrets.token_hex(16)
    return f'multipart/related; type="{of_parts}"; boundary={boundary}', _multipart(boundary, parts)


async def _multipart(
    boundary: str, parts: AsyncIterable[tuple[str, bytes | AsyncIterable[bytes | memoryview]]]
) -> AsyncGenerator[bytes, None]:
    is_empty = True
    try:
        async for media_type, data in parts:
            is_empty = False
            yield f"\r\n--{boundary}\r\nContent-Type: {media_type}\r\n\r\n".encode()
            if isinstance(data, bytes):
                yield data
                continue
            try:
                async for piece in data:
                    yield bytes(piece)
            finally:
                await _close(data)
        if not is_empty:
            yield f"\r\n--{boundary}--\r\n".encode()
    finally:
        await _close(parts)


async def whole_instances(
    instances: AsyncIterable[aiodimse.Instance],
) -> AsyncGenerator[tuple[str, AsyncIterator[bytes | memoryview]], None]:
    """Yield the parts of a WADO-RS response with whole instances, for `multipart`.

    Args:
        instances: Instances, for example those of a C-GET. The iterator is closed at the end.

    Yields:
        The media type of each instance, and its Part 10 file as a stream.

    Cancellation: closes the instances, as closing the generator does.
    """
    try:
        async for instance in instances:
            yield f"application/dicom; transfer-syntax={instance.transfer_syntax}", instance.part10()
    finally:
        await _close(instances)


async def whole_file(instances: AsyncIterable[aiodimse.Instance]) -> AsyncGenerator[bytes, None]:
    """Yield the DICOM file of one instance, for a response of application/dicom.

    Args:
        instances: The instance, for example that of a C-GET. If there are more, nothing of them is sent. The iterator
            is closed at the end.

    Yields:
        Pieces of the Part 10 file; nothing if there is no instance.

    Cancellation: closes the instances, as closing the generator does.
    """
    try:
        is_first = True
        async for instance in instances:
            if is_first:
                async for piece in instance.part10():
                    yield bytes(piece)
            is_first = False
    finally:
        await _close(instances)


async def page(items: AsyncIterable[_T], offset: int, limit: int) -> AsyncGenerator[_T, None]:
    """Yield some of the matches of a search, by the query parameters offset and limit (PS3.18 8.3.4.4).

    Args:
        items: All matches. They are closed at the end, so that those after the last one of the page are not asked for.
        offset: How many are left out, from 0 on.
        limit: The most that are yielded, from 0 on.

    Cancellation: closes the items, as closing the generator does.
    """
    number = 0
    try:
        async for item in items:
            number += 1
            if offset < number <= offset + limit:
                yield item
            if number >= offset + limit:
                break
    finally:
        await _close(items)


async def begun(items: AsyncGenerator[_T, None]) -> tuple[_T, AsyncGenerator[_T, None]]:
    """Wait for the first item of a response, so that a failure before it can have its own status.

    Args:
        items: The pieces or parts of the body.

    Returns:
        The first item, and a generator of all items with it, which closes `items` at its end or when it is closed.

    Raises:
        StopAsyncIteration: There is no item.
        Exception: What `items` raises.

    Cancellation: ends `items`, as a cancelled generator does.
    """
    first = await anext(items)

    async def all_items() -> AsyncGenerator[_T, None]:
        try:
            yield first  # taken below: a generator that has not begun would close nothing
            yield first
            async for item in items:
                yield item
        finally:
            await items.aclose()

    found = all_items()
    await anext(found)
    return first, found


async def json_array(texts: AsyncIterable[str]) -> AsyncGenerator[bytes, None]:
    """Write a JSON array.

    Args:
        texts: The elements, each as JSON. The iterator is closed at the end.

    Yields:
        Pieces of the body; nothing if there are no elements.

    Cancellation: closes the texts, as closing the generator does.
    """
    before = "["
    try:
        async for text in texts:
            yield (before + text).encode()
            before = ","
        if before == ",":
            yield b"]"
    finally:
        await _close(texts)


async def _close(source: Any) -> None:
    if (close := getattr(source, "aclose", None)) is not None:
        await close()
