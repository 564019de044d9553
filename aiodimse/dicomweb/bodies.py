"""Bodies of responses, written piece by piece: multipart/related (PS3.18 8.6.1.2) and JSON arrays."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from typing import Any, Final

import aiodimse

_BOUNDARY: Final = "aiodimse-part-7f2c91d04be6"


def content_type(of_parts: str) -> str:
    """The Content-Type of what `multipart` makes.

    Args:
        of_parts: The media type of the parts, such as application/dicom.

    Returns:
        The value of the header, with the boundary.
    """
    return f'multipart/related; type="{of_parts}"; boundary={_BOUNDARY}'


async def multipart(
    parts: AsyncIterable[tuple[str, bytes | AsyncIterable[bytes | memoryview]]],
) -> AsyncGenerator[bytes, None]:
    """Write a multipart/related body.

    Args:
        parts: The media type of each part, and its bytes or an iterator over them; closed at the end.

    Yields:
        Pieces of the body; none at all where there is no part.

    Cancellation: as closing it, it closes the parts.
    """
    is_empty = True
    try:
        async for media_type, data in parts:
            is_empty = False
            yield f"\r\n--{_BOUNDARY}\r\nContent-Type: {media_type}\r\n\r\n".encode()
            if isinstance(data, bytes):
                yield data
                continue
            try:
                async for piece in data:
                    yield bytes(piece)
            finally:
                await _close(data)
        if not is_empty:
            yield f"\r\n--{_BOUNDARY}--\r\n".encode()
    finally:
        await _close(parts)


async def whole_instances(
    instances: AsyncIterable[aiodimse.Instance],
) -> AsyncGenerator[tuple[str, AsyncIterator[bytes | memoryview]], None]:
    """The parts of a WADO-RS response with whole instances, for `multipart`.

    Args:
        instances: As of a C-GET; closed at the end.

    Yields:
        The media type and the Part 10 file of each, streamed.

    Cancellation: as closing it, it closes the instances.
    """
    try:
        async for instance in instances:
            yield f"application/dicom; transfer-syntax={instance.transfer_syntax}", instance.part10()
    finally:
        await _close(instances)


async def json_array(texts: AsyncIterable[str]) -> AsyncGenerator[bytes, None]:
    """Write a JSON array.

    Args:
        texts: Its elements, each as JSON; closed at the end.

    Yields:
        Pieces of the body; none at all where there is no element.

    Cancellation: as closing it, it closes the texts.
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
