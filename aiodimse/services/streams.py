"""Streams of the bytes of an instance: closing them, collecting them, and reading the head of a file from them."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aiodimse import datasets
from aiodimse.datasets import Head
from aiodimse.dimse.fragments import Buffer
from aiodimse.errors import DatasetTooLarge, InstanceConflict


async def close(stream: object) -> None:
    """Close a stream if it can be closed."""
    if (aclose := getattr(stream, "aclose", None)) is not None:
        await aclose()


async def collect(stream: AsyncIterator[Buffer], most: int) -> bytes:
    """Read a stream to its end, close it, and return its bytes.

    Raises:
        DatasetTooLarge: There are more than `most`.
    """
    pieces: list[Buffer] = []
    size = 0
    try:
        async for piece in stream:
            size += len(piece)
            if size > most:
                raise DatasetTooLarge(f"the data set is over {most} bytes")
            pieces.append(piece)
        return b"".join(pieces)
    finally:
        pieces.clear()  # otherwise an exception that is kept would keep the bytes
        await close(stream)


async def read_beginning(
    stream: AsyncIterator[Buffer], sop_instance_uid: str | None, study_instance_uid: str | None
) -> tuple[Head, bytes]:
    """Read a DICOM file up to its data set, or up to where the study of the data set is known.

    Args:
        stream: The bytes of the file. The rest stays in the stream.
        sop_instance_uid: The instance that it must be; None: any.
        study_instance_uid: The study to which it must belong; None: any.

    Returns:
        The head of the file, and the first bytes of its data set.

    Raises:
        NotDICOM: The bytes are not a DICOM file.
        InstanceConflict: It is another instance, or does not belong to the study.
    """
    buffer, next_look = bytearray(), 0
    while True:
        chunk = await anext(stream, None)
        buffer += chunk or b""
        if chunk is not None and len(buffer) < next_look:
            continue
        next_look = len(buffer) + len(buffer) // 4  # the head is parsed from the start each time
        head = datasets.parse_head("the stream", bytes(buffer), is_all=chunk is None)
        if head is not None:
            break
    expect_instance(head.sop_instance_uid, sop_instance_uid)
    beginning = bytes(buffer[head.data_offset :])
    if study_instance_uid is not None:
        beginning = await _in_study(beginning, head.transfer_syntax, stream, study_instance_uid)
    return head, beginning


async def _in_study(beginning: bytes, transfer_syntax: str, rest: AsyncIterator[Buffer], study: str) -> bytes:
    """Read on until the study is known, and return everything that was read.

    Raises:
        InstanceConflict: It belongs to another study.
    """
    buffer, next_look = bytearray(beginning), 0
    while True:
        if len(buffer) >= next_look:
            next_look = 2 * len(buffer)
            identity = datasets.read_identity(bytes(buffer), transfer_syntax)
            if identity is not None and identity.series_instance_uid:
                break
        chunk = await anext(rest, None)
        if chunk is None or len(buffer) > datasets.MAX_BEGINNING:
            identity = datasets.read_identity(bytes(buffer), transfer_syntax)
            break
        buffer += chunk
    if identity is None or identity.study_instance_uid != study:
        raise InstanceConflict("the instance is not of the study that was asked for")
    return bytes(buffer)


def expect_instance(found: str, sop_instance_uid: str | None) -> None:
    """Raise InstanceConflict if a file holds another instance than it must; None: it may hold any."""
    if sop_instance_uid is not None and found != sop_instance_uid:
        raise InstanceConflict("the file holds another instance than was asked for")
