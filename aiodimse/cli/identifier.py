"""The option -k Keyword=value: from the command line to an Identifier."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from pydicom import DataElement, Dataset, config
from pydicom.datadict import dictionary_VR, keyword_dict, keyword_for_tag, tag_for_keyword
from pydicom.valuerep import validate_value

_REALS = frozenset({"FL", "FD"})
_BINARY = frozenset({"OB", "OD", "OF", "OL", "OV", "OW", "UN"})
_PRIOR_RECORD_KEY, _MAXIMUM_NUMBER_OF_RECORDS = 0x0008041C, 0x00080429
_HEXADECIMAL = frozenset({_PRIOR_RECORD_KEY})
"""The attributes of a binary VR that take a value in a query."""
_ONLY_IN_REQUESTS = frozenset({_PRIOR_RECORD_KEY, _MAXIMUM_NUMBER_OF_RECORDS})
"""The attributes that say which page of a Repository Query is wanted (PS3.4 C.6.4.3)."""
_SIGNED = {"SS": 16, "SL": 32, "SV": 64}
_UNSIGNED = {"US": 16, "UL": 32, "UV": 64}
"""The bits of the numbers of each VR (PS3.5 6.2)."""
_INTEGERS = frozenset({*_SIGNED, *_UNSIGNED})
_SHOWN = 64
"""The most characters of a wrong value that a message repeats."""
_EXAMPLES = {"DA": " (20240131, 20240101-20240131)", "TM": " (1530, 080000-120000)"}
_TAG = re.compile(r"\(?([0-9A-Fa-f]{4}),?([0-9A-Fa-f]{4})\)?")


@dataclass(frozen=True, slots=True)
class Key:
    """One -k: the attribute, the sequences that it is in, and the value; None if only the attribute is named."""

    name: str
    path: tuple[int, ...]
    value: str | None = None


def key(text: str) -> Key:
    """Read the argument of -k: Keyword, Keyword=value, (gggg,eeee)=value, Sequence.Keyword=value.

    A Prior Record Key is written in hexadecimal.
    """
    name, equals, value = text.partition("=")
    path = tuple(_tag(part) for part in name.split("."))
    if 0x00080052 in path:
        raise argparse.ArgumentTypeError(f"{name}: use --level")
    vr = _vr(path[-1])
    for sequence, part in zip(path[:-1], name.split("."), strict=False):
        if _vr(sequence) != "SQ":
            raise argparse.ArgumentTypeError(f"{part} is not a sequence")
    if value and path[-1] in _HEXADECIMAL:
        _bytes(name, value)
    elif value and (vr == "SQ" or vr in _BINARY):
        raise argparse.ArgumentTypeError(f"{name}: an attribute of VR {vr} takes no value here")
    if value and vr in _INTEGERS | _REALS:
        try:
            _check_numbers(value, vr)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{name}: not a number of VR {vr}: {_cut(value)}") from None
    if value and vr not in _BINARY:
        _check_value(name, value, vr)
    names = ".".join(keyword_for_tag(tag) or f"({tag >> 16:04X},{tag & 0xFFFF:04X})" for tag in path)
    return Key(names, path, value if equals and value else None)


def is_same_in_all(key: Key) -> bool:
    """Return whether every match has the same value of this key: one UID, or nothing."""
    if key.path[-1] in _ONLY_IN_REQUESTS:
        return True
    return key.value is not None and _vr(key.path[-1]) == "UI" and "\\" not in key.value


def near(word: str, words: Iterable[str]) -> str:
    """Return "; did you mean ...?" if one of the words is almost this one, else ""."""
    by_lower = {each.lower(): each for each in words if each}
    found = [by_lower[each] for each in get_close_matches(word.lower(), by_lower, n=3, cutoff=0.7)]
    return f"; did you mean {' or '.join(found)}?" if found else ""


def _tag(part: str) -> int:
    found = tag_for_keyword(part) if part else None
    if found is None and (match := _TAG.fullmatch(part)):
        found = int(match[1] + match[2], 16)
        if not found >> 16 & 1 and _vr(found) == "UN":  # Private attributes have odd groups.
            found = None
    if found is None:
        raise argparse.ArgumentTypeError(f"no attribute {part!r}{near(part, keyword_dict)}")
    if found >> 16 <= 0x0002:
        raise argparse.ArgumentTypeError(f"{part}: an Identifier has no command elements and no file meta information")
    return int(found)


def _check_value(name: str, value: str, vr: str) -> None:
    """Check that the VR allows the value (PS3.5 6.2). Wild cards are allowed, and ranges of dates and times.

    The matching of ranges is that of PS3.4 C.2.2.2. Numbers are checked elsewhere.
    """
    if vr == "DT" or vr in _INTEGERS | _REALS:
        return
    for part in (value,) if vr in ("LT", "ST", "UT") else value.split("\\"):
        for each in part.split("-") if vr in ("DA", "TM") else (part,):
            if each and not set("*?") & set(each):
                try:
                    validate_value(vr, each, config.RAISE)
                except ValueError:
                    what = f"{name}: not a value of VR {vr}{_EXAMPLES.get(vr, '')}: {_cut(value)}"
                    raise argparse.ArgumentTypeError(what) from None


def _check_numbers(text: str, vr: str) -> None:
    """Raise ValueError for a text that has no numbers, or numbers that the VR cannot have."""
    for number in _numbers(text, vr):
        if vr in _SIGNED and not -(1 << _SIGNED[vr] - 1) <= number < 1 << _SIGNED[vr] - 1:
            raise ValueError(number)
        if vr in _UNSIGNED and not 0 <= number < 1 << _UNSIGNED[vr]:
            raise ValueError(number)


def _numbers(text: str, vr: str) -> list[int] | list[float]:
    parts = text.split("\\")
    return list(map(int, parts)) if vr in _INTEGERS else list(map(float, parts))


def _cut(value: str) -> str:
    """Return a value as a message repeats it."""
    return repr(value) if len(value) <= _SHOWN else f"{value[:_SHOWN]!r}... ({len(value)} characters)"


def _bytes(name: str, value: str) -> bytes:
    try:
        return bytes.fromhex(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{name}: not hexadecimal: {value!r}") from None


def _vr(tag: int) -> str:
    try:
        return dictionary_VR(tag).partition(" ")[0]  # "US or SS"
    except KeyError:
        return "UN"


def _converted(text: str, vr: str) -> object:
    if vr in _BINARY:
        return bytes.fromhex(text)
    if vr in _INTEGERS or vr in _REALS:
        numbers = _numbers(text, vr)
        return numbers[0] if len(numbers) == 1 else numbers
    values = text.split("\\")
    return text if len(values) == 1 else values


def identifier(level: str | None, keys: Iterable[Key], columns: Iterable[str] = ()) -> Dataset:
    """Make the Identifier for these keys. `columns` are keywords to ask for beside them."""
    dataset = Dataset()
    if level is not None:
        _put(dataset, 0x00080052, level)
    for keyword in columns:
        _put(dataset, int(tag_for_keyword(keyword) or 0), None)
    ascii_only = True
    for each in keys:
        inner = dataset
        for sequence in each.path[:-1]:
            if sequence not in inner or not inner[sequence].value:
                inner.add(DataElement(sequence, "SQ", [Dataset()]))
            inner = inner[sequence].value[0]
        _put(inner, each.path[-1], each.value)
        ascii_only = ascii_only and (each.value or "").isascii()
    if not ascii_only:
        _put(dataset, 0x00080005, "ISO_IR 192")
    return dataset


def _put(dataset: Dataset, tag: int, value: str | None) -> None:
    vr = _vr(tag)
    content: object = [] if vr == "SQ" else None if value is None else _converted(value, vr)
    # A range of dates is not a valid DA. A wrong value is sent as it is: how the peer answers it is worth seeing.
    dataset.add(DataElement(tag, vr, content, validation_mode=config.IGNORE))
