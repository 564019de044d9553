"""Reads what a handler yields or returns as a status and a payload (docs/topics/query-retrieve.md)."""

from __future__ import annotations

import inspect
import operator
import os
from dataclasses import field
from typing import Any

from pydicom.dataset import Dataset

from aiodimse.aio.words import kind
from aiodimse.dimse import messages
from aiodimse.errors import AiodimseError
from aiodimse.record import record
from aiodimse.services.instance import Instance, ReferencedFile
from aiodimse.services.response import EncodedDataset, Reply
from aiodimse.standard import answers
from aiodimse.standard.values import is_uid

_PAYLOADS = (Dataset, EncodedDataset, Instance, ReferencedFile, str, os.PathLike)
# The elements that a status Dataset may contain beside Status (0000,0900), with the attribute of a Reply and the field
# of the response for each.
_STATUS_ELEMENTS = (
    ("ErrorComment", "error_comment", "error_comment"),
    ("ErrorID", "error_id", "error_id"),
    ("OffendingElement", "offending_elements", "offending_element"),
    ("AffectedSOPInstanceUID", "sop_instance_uid", "affected_sop_instance_uid"),
    ("AttributeIdentifierList", "attributes", "attribute_identifier_list"),
)
_TAGS = frozenset(("offending_element", "attribute_identifier_list"))
_MOST_TAGS = 8192
"""The most tags in an element of a response: 32 KiB, half of the largest command set that we accept ourselves."""


class InvalidResult(AiodimseError):
    """A handler returned or yielded something that cannot be sent. The peer gets `status` instead."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


@record
class HandlerResult:
    """A status, further fields of the response, and its payload."""

    status: int
    payload: Any = field(default=None, repr=False)
    fields: dict[str, Any] = field(default_factory=dict, repr=False)

    def apply(self, response: messages.Response) -> None:
        """Write the further fields into a response, if its message has them (PS3.7 9.3, 10.3)."""
        for name, value in self.fields.items():
            if hasattr(response, name):
                setattr(response, name, value)


def as_int(value: object) -> int | None:
    """Return a value as an int, by operator.index; None if it is not an int, or is a bool."""
    if isinstance(value, bool):
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type]
    except Exception:  # usually TypeError, but the value is the handler's own
        return None


def has_status(dataset: Dataset) -> bool:
    """Return whether a Dataset has Status (0000,0900)."""
    return (0x0000, 0x0900) in dataset


def read_status(value: object) -> HandlerResult:
    """Read a status: an int, Status, Reply, or Dataset with (0000,0900).

    Raises:
        InvalidResult: It is none of these, or raises when it is read. The status is C001 or C002.
    """
    payload: Any = None
    fields: dict[str, Any] = {}
    if isinstance(value, Dataset):
        code = _read_dataset(value, fields)
    elif isinstance(value, Reply):
        code, payload = as_int(value.status), value.dataset
        for _, attribute, name in _STATUS_ELEMENTS:
            if (given := getattr(value, attribute)) not in (None, ()):
                fields[name] = checked_field(name, given, f"a Reply whose {attribute}")
    else:
        code = as_int(value)
    if code is None or not 0 <= code <= 0xFFFF:
        words = f"a status that is no int or Dataset: {type(value).__name__}{_hint(value)}"
        raise InvalidResult(answers.INVALID_STATUS, words)
    return HandlerResult(code, payload, fields)


def _read_dataset(dataset: Dataset, fields: dict[str, Any]) -> int | None:
    """Read the further fields of a status Dataset, and return its status."""
    try:
        if not has_status(dataset):
            raise InvalidResult(answers.NO_STATUS, "a status Dataset without Status (0000,0900)")
        code = as_int(dataset[0x0000, 0x0900].value)
        for keyword, _, name in _STATUS_ELEMENTS:
            if (element := dataset.get(keyword)) is not None:
                fields[name] = checked_field(name, element, f"a status Dataset whose {keyword}")
    except InvalidResult:
        raise
    except Exception as error:  # pydicom converts a value when it is read, and raises many kinds of exceptions
        raise InvalidResult(answers.INVALID_STATUS, f"a status Dataset that cannot be read: {kind(error)}") from None
    return code


def _hint(value: object) -> str:
    """Say what was probably forgotten."""
    if value is None:
        return ", perhaps for want of a `return 0x0000`"
    if inspect.isawaitable(value):
        return ", perhaps for want of an `await`"
    return "; a handler yields its answers one by one" if isinstance(value, list) else ""


def checked_field(name: str, value: Any, whose: str) -> Any:
    """Return a value as the field of a response has it.

    Args:
        name: The field.
        value: What a handler gave for it.
        whose: Whose value it is, for the log.

    Raises:
        InvalidResult: The field cannot have that value. The status is C002.
    """
    try:
        return _field(name, value)
    except Exception:  # most often TypeError or ValueError, but the value is the handler's own
        raise InvalidResult(answers.INVALID_STATUS, f"{whose} cannot be sent") from None


def _field(name: str, value: Any) -> Any:
    if name == "affected_sop_instance_uid":
        if not is_uid(str(value)):
            raise ValueError("no UID")
        return str(value)
    if name in _TAGS:
        tags = value if isinstance(value, (list, tuple)) or hasattr(value, "append") else (value,)
        if len(tags) > _MOST_TAGS:
            raise ValueError("too many tags")
        return tuple(_number(tag, 0xFFFFFFFF) for tag in tags)
    if name == "error_comment":
        return str(value)
    return _number(value, 0xFFFF)


def _number(value: Any, largest: int) -> int:
    number = int(value)
    if not 0 <= number <= largest:
        raise ValueError("out of range")
    return number


def read_yield(value: object) -> HandlerResult:
    """Read what a handler yielded: a pair (status, payload), a payload alone (which means Pending), or a status."""
    if isinstance(value, tuple):
        if len(value) != 2:
            raise InvalidResult(answers.INVALID_STATUS, f"a tuple of {len(value)}")
        yielded = read_status(value[0])
        yielded.payload = value[1]
        return yielded
    if isinstance(value, Dataset) and has_status(value):
        return read_status(value)
    if isinstance(value, _PAYLOADS):
        return HandlerResult(answers.PENDING, value)
    return read_status(value)
