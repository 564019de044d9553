"""STOW-RS as C-STORE: reads instances from a multipart body while it arrives, and makes the response (PS3.18 10.5)."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from pydicom import DataElement, Dataset, config

import aiodimse

from .media_types import choose_media_type
from .query import to_json

_REFERENCED: Final = (("ReferencedSOPClassUID", "sop_class_uid"), ("ReferencedSOPInstanceUID", "sop_instance_uid"))
_TYPE: Final = 'multipart/related; type="application/dicom"'
_PART_BEGINS, _PART_ENDS = object(), object()

_OUT_OF_RESOURCES: Final = range(0xA700, 0xA800)
_FAILURES: Final[tuple[tuple[type[Exception], int, int], ...]] = (
    # The first that fits; Failure Reason (PS3.18 Table I.2-2, PS3.4 Table B.2-1); the HTTP status if all failed so
    (aiodimse.NotDICOM, 0xC000, 400),
    (EOFError, 0x0110, 400),  # the body ended in the part
    (aiodimse.InstanceConflict, 0xA900, 409),
    (aiodimse.NoAcceptedContext, 0x0122, 409),
    (TimeoutError, 0x0110, 504),
    (aiodimse.AiodimseError, 0x0110, 502),
    (OSError, 0x0110, 502),
)


class UnsupportedMediaType(ValueError):
    """The Content-Type of a request is not the one that is read. The answer is 415."""


@dataclass(frozen=True)
class StoreAnswer:
    """The response to a STOW-RS request."""

    status: int
    """The HTTP status: 200 if all instances were stored, 202 if only some were, or one with a Warning. If none was: 400
    if they are not DICOM or the body ended early, 503 if the archive has no room, 502 or 504 if it could not be asked;
    409 if it does not take them, or for different reasons."""
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
        UnsupportedMediaType: The header is not multipart/related with a boundary. It is a ValueError.
        ValueError: The body is not multipart.
        Exception: What the body raises.

    Cancellation: nothing is left behind; the body belongs to the caller.
    """
    from python_multipart.multipart import MultipartParser, parse_options_header

    kind, options = parse_options_header(content_type)
    if kind != b"multipart/related" or not options.get(b"boundary"):
        raise UnsupportedMediaType("the body has to be multipart/related, with a boundary")
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
        UnsupportedMediaType: The header is not multipart/related with parts of application/dicom. It is a ValueError.
        ValueError: The body is not multipart, or has no parts, or more than `most`; what has been stored stays.
        Exception: What the body raises; what has been stored stays.

    Cancellation: ends an open C-STORE together with its association. Instances stored before remain stored.
    """
    if choose_media_type(content_type, [_TYPE]) is None:
        raise UnsupportedMediaType("the parts of the body have to be application/dicom")
    stored: list[Dataset] = []
    failed: list[Dataset] = []
    statuses: set[int] = set()
    watched = _Watched(body)
    async for part in parts(watched, content_type):
        if len(stored) + len(failed) == most:
            raise ValueError(f"the body has more than {most} parts")
        item, status = await _outcome(part, store_instance, study_instance_uid)
        watched.raise_failure()
        (failed if "FailureReason" in item else stored).append(item)
        statuses.add(status)
    watched.raise_failure()
    if not statuses:
        raise ValueError("the body has no parts")
    answer = Dataset()
    if stored:
        answer.RetrieveURL = root if study_instance_uid is None else f"{root}/studies/{study_instance_uid}"
        answer.ReferencedSOPSequence = stored
    if failed:
        answer.FailedSOPSequence = failed
    return StoreAnswer(_status_of_all(statuses), to_json(answer))


class _Watched:
    """The pieces of a body. It keeps the error with which the body failed."""

    def __init__(self, body: AsyncIterable[bytes]) -> None:
        self._pieces = aiter(body)
        self._failure: Exception | None = None

    def __aiter__(self) -> _Watched:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._pieces)
        except StopAsyncIteration:
            raise
        except Exception as error:
            self._failure = error
            raise

    def raise_failure(self) -> None:
        """Raise the error with which the body failed. It would be taken for one of the archive, or for the end."""
        if self._failure is not None:
            raise self._failure


def _status_of_all(statuses: set[int]) -> int:
    """Return the HTTP status for those of all instances (PS3.18 Table 10.5.3-1)."""
    if len(statuses) == 1:
        return statuses.pop()
    return 202 if statuses & {200, 202} else 409


async def _outcome(
    part: AsyncIterable[bytes],
    store_instance: Callable[[aiodimse.Instance], Awaitable[aiodimse.Response]],
    study_instance_uid: str | None,
) -> tuple[Dataset, int]:
    """Return an item of Referenced or Failed SOP Sequence, and its HTTP status.

    An item of the latter has a Failure Reason.
    """
    item = Dataset()
    try:
        instance = await aiodimse.Instance.from_part10(part, study_instance_uid=study_instance_uid)
        for keyword, uid in _REFERENCED:
            # Not checked: pydicom would log a UID that is not valid.
            item.add(DataElement(keyword, "UI", getattr(instance, uid), validation_mode=config.IGNORE))
        status = (await store_instance(instance)).status
        if status.category is aiodimse.Category.FAILURE:
            item.FailureReason = int(status)
            return item, 503 if int(status) in _OUT_OF_RESOURCES else 409
        if status:
            item.WarningReason = int(status)
            return item, 202
    except (aiodimse.AiodimseError, EOFError, OSError) as error:
        item.FailureReason, failed = next(row[1:] for row in _FAILURES if isinstance(error, row[0]))
        return item, failed
    return item, 200
