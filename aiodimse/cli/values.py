"""Formats data sets for people and for programs. Nothing that a peer sends may control the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from math import isfinite
from typing import Any

from pydicom import Dataset
from pydicom.datadict import keyword_for_tag
from pydicom.multival import MultiValue

import aiodimse

_SHORT = 128
"""The most bytes that a cell has in hexadecimal: a Record Key."""


def printable(text: str) -> str:
    """Replace control characters, which could rewrite the screen."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def cell(dataset: Dataset, path: tuple[int, ...]) -> str:
    """Format one attribute for a table."""
    for sequence in path[:-1]:
        items = _value(dataset, sequence)
        if not isinstance(items, list) or not items or not isinstance(items[0], Dataset):
            return ""
        dataset = items[0]
    return _text(_value(dataset, path[-1]))


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        if value and isinstance(value[0], Dataset):
            return f"{len(value)} item{'s' if len(value) > 1 else ''}"
        return "\\".join(_text(each) for each in value)
    if isinstance(value, bytes):
        return value.hex() if len(value) <= _SHORT else f"{len(value)} bytes"
    return printable(str(value))


def document(dataset: Dataset) -> dict[str, Any]:
    """Return a data set for programs: a mapping of keyword (or tag) to value, list of values, or None."""
    return {
        keyword_for_tag(tag) or f"({tag.group:04X},{tag.element:04X})": _json(_value(dataset, tag))
        for tag in sorted(dataset.keys())
        if tag.element != 0
    }


def dicom_json(dataset: Dataset) -> dict[str, Any]:
    """Return a data set in the DICOM JSON Model (PS3.18 F.2), without bulk data.

    Values that do not fit their VR are left out. JSON is UTF-8, so the Specific Character Set is made to say so.
    """
    content: dict[str, Any] = dataset.to_json_dict(suppress_invalid_tags=True)
    if "00080005" in content:
        content["00080005"] = {"vr": "CS", "Value": ["ISO_IR 192"]}
    finite: dict[str, Any] = _finite(content)
    return finite


def _finite(content: Any) -> Any:
    """Write NaN and the infinities as text (PS3.18 F.2.3), since JSON has no number for them."""
    match content:
        case dict():
            return {key: _finite(value) for key, value in content.items()}
        case list():
            return [_finite(value) for value in content]
        case float() if not isfinite(content):
            return "NaN" if content != content else "Infinity" if content > 0 else "-Infinity"
    return content


def _json(value: Any) -> Any:
    match value:
        case None:
            return None
        case float() | Decimal():
            return float(value) if isfinite(value) else str(value)  # JSON has no NaN
        case int():
            return int(value)
        case bytes():
            return value.hex()
        case Dataset():
            return document(value)
        case list():
            return [_json(each) for each in value]
    return str(value)


def _value(dataset: Dataset, tag: int) -> Any:
    """Return a value as pydicom reads it. If it does not fit its VR, return its bytes as text."""
    if tag not in dataset:
        return None
    try:
        value = dataset[tag].value
    except Exception:  # pydicom raises many kinds of errors for a bad value; its text is good enough here
        raw = getattr(dataset.get_item(tag), "value", None)
        return raw.decode("latin-1").rstrip("\0 ") if isinstance(raw, bytes) else None
    if isinstance(value, MultiValue | list | tuple) or type(value).__name__ == "Sequence":
        return list(value)
    return None if value == "" else value


def status(value: aiodimse.Status) -> dict[str, Any]:
    """Return a status as a mapping, for a document."""
    return {"code": int(value), "category": value.category.name, "meaning": value.meaning}


def tags(offending: Iterable[int]) -> str:
    """Return the keywords of Offending Elements."""
    return ", ".join(keyword_for_tag(tag) or f"({tag >> 16:04X},{tag & 0xFFFF:04X})" for tag in offending)


def outcome(response: aiodimse.Response) -> str:
    """Describe the final status, with what the peer says about it."""
    words = str(response.status)
    if response.offending_elements:
        words += f"; offending element {tags(response.offending_elements)}"
    if response.error_comment:
        words += f"; the peer says: {printable(response.error_comment)}"
    return words
