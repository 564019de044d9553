"""Converts between pydicom data sets and the decoded text on which matching works.

Values are read from raw elements where possible. pydicom's own conversion warns about values that do not fit their VR,
and its warnings quote them, so a patient's name or birth date could end up in a log.
"""

from __future__ import annotations

import struct
from collections.abc import Container, Iterable
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias

from pydicom import DataElement, Dataset, config
from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

from aiodimse import charsets

from .elements import Elements, keyword_and_vr
from .matching import BASELINE, Attributes, Key, Rules, Value, matching_items

Source: TypeAlias = Dataset | Elements
"""A data set, or the elements that were read from an encoded one."""

_TEXT = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})  # encoded in the Specific Character Set, PS3.5 6.1.2.3
_UNSPLIT = frozenset({"LT", "ST", "UR", "UT"})  # a backslash is part of the text
_ASCII = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI", "UR"})
_BINARY = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "UV": "Q", "SV": "q"}
_DEPTH = 8  # of nested sequences that are read into text
_LONGEST = 65534
"""The longest value that is read, in bytes. A longer one does not fit its VR (PS3.5 6.2), unless it is a list of UIDs
in a key."""

_SHORT = 64
"""The longest value in bytes that is remembered: a UID (PS3.5 9.1)."""
_REMEMBERED = 1024
"""The bytes of all attributes of a level that are remembered together."""
_PLAIN = frozenset((bytes, type(None)))
"""What has no items."""

MAX_KEPT = 16384
"""The number of characters that are kept of one object."""
_MOST_VALUES = 256
_LONGEST_KEPT = 256
"""The longest value that is kept, in characters, of VRs that allow fewer. Many descriptions are longer than allowed."""
_LENGTHS = {"LT": 10240, "PN": 768, "ST": 4096, "UC": 1024, "UR": 1024, "UT": 10240}
"""The longest value that is kept, in characters, of VRs that allow more (PS3.5 6.2)."""

MAX_BYTES = 16384
"""The largest size of the keys of an Identifier in bytes, without lists of UIDs. An honest Identifier has some hundred
bytes. The worst one of this size takes milliseconds for each entity that it is matched against."""
MAX_UIDS = 65535
"""The most UIDs in a list of UIDs. The counters of a retrieval cannot count more."""


class KeysRefused(ValueError):
    """An Identifier asks for what is not allowed. `tag` is the key; `is_too_much`: a smaller one would be allowed."""

    def __init__(self, comment: str, tag: int, *, is_too_much: bool) -> None:
        self.comment: str = comment
        self.tag: int = tag
        self.is_too_much: bool = is_too_much
        super().__init__(comment)


def decode(
    source: Source,
    keywords: Iterable[str],
    budget: Budget | None = None,
    charset: charsets.CharacterSet | None = None,
) -> dict[str, Value]:
    """Return the attributes that a data set has, as text.

    Args:
        source: The data set, or the elements that were read from it.
        keywords: The attributes that are asked for.
        budget: How much may be kept. What exceeds it is left out.
        charset: The character set of the data set, for those who ask several times. None: it is looked up.

    Returns:
        The values by keyword. An attribute without a value is ().
    """
    charset = charset_of(source) if charset is None else charset
    known = _known(tuple(keywords))
    if isinstance(source, Elements):
        encoded = tuple(map(source.values.get, known.tags))
        if _are_short(encoded):
            found, cost = _decode_short(known, encoded, charset, "<" if source.little_endian else ">")
            if budget is None or budget.take(cost):
                return found.copy()
    return _decode_one_by_one(source, known, budget, charset)


class _Known(NamedTuple):
    """Attributes that are in the dictionary."""

    keywords: tuple[str, ...]
    tags: tuple[int, ...]
    vrs: tuple[str, ...]


@lru_cache(maxsize=64)
def _known(keywords: tuple[str, ...]) -> _Known:
    there = [keyword for keyword in keywords if _tag_and_vr(keyword)[1] is not None]
    tags, vrs = zip(*map(_tag_and_vr, there), strict=True) if there else ((), ())
    return _Known(tuple(there), tags, vrs)


def _are_short(encoded: tuple[Any, ...]) -> bool:
    """Return whether these values have no items, and are not too many bytes to be remembered."""
    return _PLAIN.issuperset(map(type, encoded)) and sum(map(len, filter(None, encoded))) <= _REMEMBERED


@lru_cache(maxsize=512)
def _decode_short(
    known: _Known, encoded: tuple[bytes | None, ...], charset: charsets.CharacterSet, order: str
) -> tuple[dict[str, Value], int | None]:
    """Decode values without items, and tell what they cost. The objects of a series have the same of most levels."""
    found: dict[str, Value] = {}
    total: int | None = 0
    for keyword, vr, data in zip(known.keywords, known.vrs, encoded, strict=True):
        if data is not None:
            found[keyword], cost = _with_cost(data, vr, charset, order)
            total = None if cost is None or total is None else total + cost
    return found, total


def _decode_one_by_one(
    source: Source, known: _Known, budget: Budget | None, charset: charsets.CharacterSet
) -> dict[str, Value]:
    there: Any = source.values if isinstance(source, Elements) else source
    found: dict[str, Value] = {}
    for keyword, tag, vr in zip(*known, strict=True):
        if tag in there:
            value = _value(source, tag, vr, charset, 0)
            if budget is None or budget.take(_cost(vr, value)):
                found[keyword] = value
    return found


@lru_cache(maxsize=1024)
def _tag_and_vr(keyword: str) -> tuple[int, str | None]:
    tag = tag_for_keyword(keyword) or 0
    return tag, _vr(tag) if tag else None


class Budget:
    """Limits how much is kept of one object, since it stays in memory and is sent in each response.

    Args:
        characters: The largest number of characters of all values together.
    """

    def __init__(self, characters: int = MAX_KEPT) -> None:
        self._left = characters
        self.is_exceeded: bool = False
        """Whether an attribute was left out."""

    def take(self, cost: int | None) -> bool:
        """Count an attribute, if there is room for it. Return whether it is kept.

        Args:
            cost: What it costs; None: it is too long to be kept.
        """
        if cost is None or cost > self._left:
            self.is_exceeded = True
            return False
        self._left -= cost
        return True


def _cost(vr: str, value: Value) -> int | None:
    """Return the cost of a value: its characters, and a constant for each part of it.

    Returns:
        The cost; None if the value is longer than any honest one.
    """
    if len(value) > _MOST_VALUES:
        return None
    cost, longest = 0, _LENGTHS.get(vr, _LONGEST_KEPT)
    for each in value:
        if isinstance(each, str):
            if len(each) > longest:
                return None
            cost += len(each) + 8
            continue
        for keyword, inner in each.items():
            inner_cost = _cost(_tag_and_vr(keyword)[1] or "UN", inner)
            if inner_cost is None:
                return None
            cost += inner_cost + 16
        cost += 32
    return cost


def keys_of(identifier: Dataset, wanted: Container[str] | None = None) -> list[Key]:
    """Return the key attributes of an Identifier, in the order of their tags.

    The keyword of a private or unknown attribute is its tag, "(gggg,eeee)".

    Args:
        identifier: The Identifier.
        wanted: The keywords whose values are read; None: all. Other keys have no value, and the VR UN.

    Raises:
        KeysRefused: The Identifier asks for what is not allowed.
    """
    return _Keys(wanted).of(identifier, charsets.DEFAULT, 0)


def character_set_of(dataset: Source) -> tuple[str, ...]:
    """Return Specific Character Set (0008,0005); () if it means the default repertoire."""
    values = decode_ascii(dataset, 0x00080005)
    return () if charsets.lookup(values).is_default else values


def charset_of(dataset: Source, inherited: charsets.CharacterSet = charsets.DEFAULT) -> charsets.CharacterSet:
    """Return the character set of a data set. An item without one has that of the data set around it (PS3.5 7.5.3)."""
    values = decode_ascii(dataset, 0x00080005)
    return charsets.lookup(values) if any(values) else inherited


def decode_ascii(dataset: Source, tag: int) -> tuple[str, ...]:
    """Return the values of an attribute of VR CS; none if they are longer than any meaningful ones."""
    if isinstance(dataset, Elements):
        encoded = dataset.values.get(tag)
        if not isinstance(encoded, bytes) or len(encoded) > 512:
            return ()
        return _from_bytes(encoded, "CS", charsets.DEFAULT, "<")
    element = dataset.get_item(BaseTag(tag), keep_deferred=True)
    if element is None or (isinstance(element.value, bytes) and len(element.value) > 512):
        return ()
    return tuple(str(value) for value in _value(dataset, BaseTag(tag), "CS", charsets.DEFAULT, 0))


# --- text -> data set -------------------------------------------------------------------------------------------------


def element(key: Key, value: Value, rules: Rules = BASELINE) -> DataElement:
    """Make one element of a response from text. No value raises an error."""
    tag = tag_for_keyword(key.keyword)
    assert tag is not None  # supported keys have keywords of the dictionary
    if key.vr == "SQ":
        if key.item:
            value = matching_items(key, value, rules)
        items = [_item(key, each, rules) for each in value if not isinstance(each, str)]
        return DataElement(tag, "SQ", items)
    texts = [each for each in value if isinstance(each, str)]
    number = float if key.vr in ("FL", "FD") else int if key.vr in _BINARY else str
    converted = [number(text) for text in texts if text or len(texts) > 1]
    content = converted[0] if len(converted) == 1 else converted or None
    try:
        return DataElement(tag, key.vr, content, validation_mode=config.IGNORE)
    except (ValueError, TypeError, OverflowError):
        # A value that does not fit its VR, such as an IS of "1.5", is returned as the file has it.
        return DataElement(tag, key.vr, content, already_converted=True)


def _item(key: Key, attributes: Attributes, rules: Rules) -> Dataset:
    asked = key.item or tuple(Key(keyword, _vr(tag_for_keyword(keyword) or 0) or "UN") for keyword in attributes)
    item = Dataset()
    for each in asked:
        if tag_for_keyword(each.keyword) is not None:
            item.add(element(each, attributes.get(each.keyword, ()), rules))
    return item


# --- data set -> text -------------------------------------------------------------------------------------------------


class _Keys:
    """Reads the keys of one Identifier, and refuses too many."""

    def __init__(self, wanted: Container[str] | None) -> None:
        self._wanted = wanted
        self._bytes_left = MAX_BYTES

    def of(self, dataset: Dataset, inherited: charsets.CharacterSet, depth: int) -> list[Key]:
        charset = charset_of(dataset, inherited)
        # Group lengths are retired and say nothing (PS3.5 7.2).
        return [self._key(dataset, tag, charset, depth) for tag in sorted(dataset.keys(), key=int) if tag & 0xFFFF]

    def _key(self, dataset: Dataset, tag: BaseTag, charset: charsets.CharacterSet, depth: int) -> Key:
        keyword = keyword_for_tag(tag) if dictionary_has_tag(tag) else ""
        if not keyword or (depth == 0 and self._wanted is not None and keyword not in self._wanted):
            return Key(keyword or f"({tag >> 16:04X},{tag & 0xFFFF:04X})", "UN")
        vr = _vr(tag) or "UN"
        self._count(dataset.get_item(tag, keep_deferred=True), tag, vr)
        if vr == "SQ":
            if depth == _DEPTH:
                raise KeysRefused(f"more than {_DEPTH} sequences in each other", tag, is_too_much=True)
            items = _items(dataset, tag)
            # PS3.4 C.2.2.2.6 requires one item. A key that is not understood must not match everything.
            if items is None or len(items) > 1:
                raise KeysRefused(f"{keyword}: not one item", tag, is_too_much=False)
            return Key(keyword, vr, item=tuple(self.of(items[0], charset, depth + 1)) if items else ())
        texts = _value_of(dataset, tag, vr, charset, depth)
        return Key(keyword, vr, tuple(text for text in texts if isinstance(text, str)))

    def _count(self, element: object, tag: int, vr: str) -> None:
        """Count a key before its value is read.

        What is inside a sequence is counted together with it, since a parsed sequence has no bytes to count.
        """
        value = (element.value or b"") if isinstance(element, RawDataElement) else b""
        if vr == "UI" and value.count(b"\\") >= MAX_UIDS:
            raise KeysRefused(f"more than {MAX_UIDS} UIDs", tag, is_too_much=True)
        self._bytes_left -= 8 if vr == "UI" else 8 + len(value)
        if self._bytes_left < 0:
            raise KeysRefused(f"more than {MAX_BYTES} bytes of keys", tag, is_too_much=True)


def _vr(tag: int) -> str | None:
    """Return the VR of the dictionary; None for a private attribute.

    The VR that a peer claims is not used, since it could turn matching off.
    """
    try:
        vr = dictionary_VR(tag)
    except KeyError:
        return None
    return vr if len(vr) == 2 else vr.partition(" ")[0]  # "US or SS"


def _items(dataset: Dataset, tag: BaseTag) -> Sequence | None:
    """Return the items of a sequence; None if the value is not a sequence."""
    try:
        value = dataset[tag].value
    except Exception:  # pydicom raises many kinds of errors for a bad value
        return None
    return value if isinstance(value, Sequence) else None if value else Sequence()


def _value(source: Source, tag: int, vr: str, charset: charsets.CharacterSet, depth: int) -> Value:
    if isinstance(source, Elements):
        return _encoded_value(source, tag, vr, charset)
    return _value_of(source, BaseTag(tag), vr, charset, depth)


def _encoded_value(source: Elements, tag: int, vr: str, charset: charsets.CharacterSet) -> Value:
    encoded = source.values[tag]
    if isinstance(encoded, bytes):
        return () if vr == "SQ" else _from_bytes(encoded, vr, charset, "<" if source.little_endian else ">")
    found: list[dict[str, Value]] = []
    for item in encoded:
        inner, texts = charset_of(item, charset), {}
        for each in item.values:
            known = keyword_and_vr(each)
            if known is not None:
                texts[known[0]] = _encoded_value(item, each, known[1], inner)
        found.append(texts)
    return tuple(found)


def _value_of(dataset: Dataset, tag: BaseTag, vr: str, charset: charsets.CharacterSet, depth: int) -> Value:
    if vr == "SQ":
        if depth >= _DEPTH:
            return ()
        found: list[dict[str, Value]] = []
        for item in _items(dataset, tag) or ():
            inner, texts = charset_of(item, charset), {}
            for each in item.keys():  # noqa: SIM118 - iterating a Dataset would convert its elements
                each_vr, keyword = _vr(each), keyword_for_tag(each)
                if each_vr is not None and keyword and each.element != 0:
                    texts[keyword] = _value_of(item, each, each_vr, inner, depth + 1)
            found.append(texts)
        return tuple(found)
    raw: object = dataset.get_item(tag, keep_deferred=True)  # otherwise pydicom converts an empty element
    if isinstance(raw, RawDataElement):
        return _from_bytes(raw.value or b"", vr, charset, "<" if raw.is_little_endian else ">")
    value = getattr(raw, "value", None)
    return _from_bytes(value, vr, charset, "<") if isinstance(value, bytes) else _from_python(value, vr)


def _from_bytes(data: bytes, vr: str, charset: charsets.CharacterSet, order: str) -> tuple[str, ...]:
    return _with_cost(data, vr, charset, order)[0]


def _with_cost(data: bytes, vr: str, charset: charsets.CharacterSet, order: str) -> tuple[tuple[str, ...], int | None]:
    """Return the text of a value, and what it costs."""
    if len(data) <= _SHORT:
        return _remembered(data, vr, charset, order)
    value = _from_any_bytes(data, vr, charset, order)
    return value, _cost(vr, value)


def _from_any_bytes(data: bytes, vr: str, charset: charsets.CharacterSet, order: str) -> tuple[str, ...]:
    if len(data) > _LONGEST and vr != "UI":
        return ()
    if vr in _TEXT:
        text = charset.decode(data, vr)
    elif vr in _ASCII:
        text = data.decode("latin_1")
    elif vr in _BINARY:
        size = struct.calcsize(_BINARY[vr])
        numbers = struct.unpack(f"{order}{len(data) // size}{_BINARY[vr]}", data[: len(data) // size * size])
        return tuple(str(number) for number in numbers)
    elif vr == "AT":
        halves = struct.unpack(f"{order}{len(data) // 4 * 2}H", data[: len(data) // 4 * 4])
        return tuple(f"{a:04X}{b:04X}" for a, b in zip(halves[::2], halves[1::2], strict=True))
    else:
        return ()
    return _split(text, vr)


def _from_python(value: object, vr: str) -> tuple[str, ...]:
    if value is None or vr not in _TEXT | _ASCII | _BINARY.keys() | {"AT"}:
        return ()
    if isinstance(value, MultiValue | list | tuple):
        return tuple(text for each in value for text in (_from_python(each, vr) or ("",)))
    if vr == "AT" and isinstance(value, int):
        return (f"{value:08X}",)
    # DS and IS keep the text that they were made from. PersonName also has an original_string, but it is bytes.
    return _split(str(getattr(value, "original_string", value) if vr in ("DS", "IS") else value), vr)


@lru_cache(maxsize=8192)
def _remembered(data: bytes, vr: str, charset: charsets.CharacterSet, order: str) -> tuple[tuple[str, ...], int | None]:
    """Do the same for a value that comes again and again, and return the same strings each time.

    A folder has "ORIGINAL", or the UID of one SOP class, a hundred thousand times, and the objects of a series have
    most of what is kept of them in common. sys.intern is not used, since Python 3.12.0 to 3.12.5 never frees interned
    strings, and peers send these texts.
    """
    value = _from_any_bytes(data, vr, charset, order)
    return value, _cost(vr, value)


def _split(text: str, vr: str) -> tuple[str, ...]:
    """Split a text into its values, and remove padding and insignificant spaces (PS3.5 6.2)."""
    if vr in _UNSPLIT:
        text = text.rstrip("\0 ")
        return (text,) if text else ()
    values = tuple(value.strip("\0 ") for value in text.split("\\"))
    return values if any(values) else ()
