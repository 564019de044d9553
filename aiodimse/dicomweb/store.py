"""STOW-RS as C-STORE: reads instances from a multipart body while it arrives, and makes the response (PS3.18 10.5)."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from pydicom import DataElement, Dataset, config

import aiodimse

from .query import to_json

_REFERENCED: Final = (("ReferencedSOPClassUID", "sop_class_uid"), ("ReferencedSOPInstanceUID", "sop_instance_uid"))
_PART_BEGINS, _PART_ENDS = object(), object()

# Failure Reason (PS3.18 Table I.2-2, PS3.4 Table B.2-1)
_PROCESSING_FAILURE: Final = 0x0110
_SOP_CLASS_NOT_SUPPORTED: Final = 0x0122
_NOT_THE_STUDY: Final = 0xA900
_CANNOT_UNDERSTAND: Final = 0xC000


@dataclass(frozen=True)
class StoreAnswer:
    """The response to a STOW-RS request."""

    status: int
    """The HTTP status: 200, 202 if some instances were not stored, or 409 if none was."""
    body: str
    """DICOM JSON, application/dicom+json (PS3.18 Table 10.5.3-1)."""


async def parts(body: AsyncIterable[bytes], content_type: str) -> AsyncGenerator[AsyncGenerator[bytes, None], None]:
    """Split a multipart/related body into its parts while it arrives. This needs the extra `dicomweb`.

    Args:
        body: The bytes of the body, in pieces of any size. It is read as parts are read.
        content_type: The header of the request.

    Yields:
        An iterator over the bytes of each part. What was not read of a part is dropped before the next one. The
        iterator raises EOFError if the body ends inside its part.

    Raises:
        ValueError: The header or the body is not multipart/related.
        Exception: What the body raises.

    Cancellation: nothing is left behind; the body belongs to the caller.
    """
    from python_multipart.multipart import MultipartParser, parse_options_header

    kind, options = parse_options_header(content_type)
    if kind != b"multipart/related" or not options.get(b"boundary"):
        raise ValueError("the body has to be multipart/related, with a boundary")
    found: deque[object] = deque()
    parser = MultipartParser(
        options[b"boundary"],
        {
            "on_part_begin": lambda: found.append(_PART_BEGINS),
            "on_part_data": lambda data, start, end: found.append(data[start:end]),
            "on_part_end": lambda: found.append(_PART_ENDS),
        },
    )
    pieces = aiter(body)

    async def next_event() -> object:
        while not found:
            piece = await anext(pieces, None)
            if piece is None:
                raise EOFError("the body ends in the middle")
            parser.write(piece)
        return found.popleft()

    async def part() -> AsyncGenerator[bytes, None]:
        while (event := await next_event()) is not _PART_ENDS:
            if isinstance(event, bytes):
                yield event

    while True:
        try:
            event = await next_event()
        except EOFError:
            return
        if event is _PART_BEGINS:
            yield part()


async def store(
    body: AsyncIterable[bytes],
    content_type: str,
    store_instance: Callable[[aiodimse.Instance], Awaitable[aiodimse.Response]],
    *,
    root: str,
    study_instance_uid: str | None = None,
    most: int = 20_000,
) -> StoreAnswer:
    """Store the instances of a STOW-RS request one after another while they arrive. This needs the extra `dicomweb`.

    Args:
        body: The bytes of the body.
        content_type: The header of the request.
        store_instance: Stores one, as `Pool.c_store` does.
        root: The URL under which studies are, for Retrieve URL.
        study_instance_uid: The study that all have to belong to; None: any.
        most: The number of parts that one body may have. The answer, which has an item for each, is held in memory.

    Returns:
        The response. An error with one instance is in the item of that instance.

    Raises:
        ValueError: The header or the body are not multipart/related, or the body has more than `most` parts; what has
            been stored stays.
        Exception: What the body raises; what has been stored stays.

    Cancellation: ends an open C-STORE together with its association. Instances stored before remain stored.
    """
    stored: list[Dataset] = []
    failed: list[Dataset] = []
    async for part in parts(body, content_type):
        if len(stored) + len(failed) == most:
            raise ValueError(f"the body has more than {most} parts")
        item = await _outcome(part, store_instance, study_instance_uid)
        (failed if "FailureReason" in item else stored).append(item)
    answer = Dataset()
    if stored:
        answer.RetrieveURL = root if study_instance_uid is None else f"{root}/studies/{study_instance_uid}"
        answer.ReferencedSOPSequence = stored
    if failed:
        answer.FailedSOPSequence = failed
    return StoreAnswer(409 if not stored else 202 if failed else 200, to_json(answer))


async def _outcome(
    part: AsyncIterable[bytes],
    store_instance: Callable[[aiodimse.Instance], Awaitable[aiodimse.Response]],
    study_instance_uid: str | None,
) -> Dataset:
    """Return an item of Referenced or Failed SOP Sequence. An item of the latter has a Failure Reason."""
    item = Dataset()
    try:
        instance = await aiodimse.Instance.from_part10(part, study_instance_uid=study_instance_uid)
        for keyword, uid in _REFERENCED:
            # Not checked: pydicom would log a UID that is not valid.
            item.add(DataElement(keyword, "UI", getattr(instance, uid), validation_mode=config.IGNORE))
        status = (await store_instance(instance)).status
        if status.category is aiodimse.Category.FAILURE:
            item.FailureReason = int(status)
        elif status:
            item.WarningReason = int(status)
    except aiodimse.NotDICOM:
        item.FailureReason = _CANNOT_UNDERSTAND
    except aiodimse.InstanceConflict:
        item.FailureReason = _NOT_THE_STUDY
    except aiodimse.NoAcceptedContext:
        item.FailureReason = _SOP_CLASS_NOT_SUPPORTED
    except (aiodimse.AiodimseError, EOFError, OSError):
        item.FailureReason = _PROCESSING_FAILURE
    return item
