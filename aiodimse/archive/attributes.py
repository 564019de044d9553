"""Converts between pydicom data sets and the decoded text on which matching works.

Values are read from raw elements where possible. pydicom's own conversion warns about values that do not fit their VR,
and its warnings quote them, so a patient's name or birth date could end up in a log.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Any, TypeAlias

from pydicom import DataElement, Dataset, config
from pydicom.datadict import dictionary_has_tag, keyword_for_tag, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag

from aiodimse import charsets

from .budget import Budget, cost_of
from .dictionary import keyword_and_vr, tag_and_vr, vr_of
from .elements import Elements
from .matching import BASELINE, Attributes, Key, Rules, Value, matching_items
from .texts import ASCII, BINARY, TEXT, split, text_of, texts_and_costs

Source: TypeAlias = Dataset | Elements
"""A data set, or the elements that were read from an encoded one."""

_DEPTH = 8
"""The deepest nesting of sequences that are read into text."""

_REMEMBERED = 2048
"""The bytes of all attributes that are remembered together."""
_WITHOUT_ITEMS = frozenset((bytes,))
"""The type of an encoded value that is no sequence."""
_TEXT, _COST = itemgetter(0), itemgetter(1)
"""Take from what `texts_and_costs` returns for one value."""

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
    (found,) = decode_groups(source, (tuple(keywords),), budget, charset_of(source) if charset is None else charset)
    return found


def decode_groups(
    source: Source, groups: tuple[tuple[str, ...], ...], budget: Budget | None, charset: charsets.CharacterSet
) -> tuple[dict[str, Value], ...]:
    """Return the attributes that a data set has of each group of keywords, as text. See `decode`."""
    if isinstance(source, Elements):
        known = _known_in(tuple(source.values), groups)
        encoded = tuple(map(source.values.__getitem__, known.tags))
        if _are_short(encoded):
            found, cost = _decode_short(known, encoded, charset, "<" if source.little_endian else ">")
            if budget is None or budget.take(cost):
                return tuple(map(dict.copy, found))
    return tuple(_decode_one_by_one(source, keywords, budget, charset) for keywords in groups)


@dataclass(frozen=True, slots=True, eq=False)
class _Known:
    """Groups of attributes that are in the dictionary, and what it says of all of them. It is compared by identity."""

    groups: tuple[tuple[str, ...], ...]
    tags: tuple[int, ...]
    vrs: tuple[str, ...]


@lru_cache(maxsize=256)
def _known_in(tags: tuple[int, ...], groups: tuple[tuple[str, ...], ...]) -> _Known:
    """Return the attributes of which a data set has the tags. The objects of a series have the same ones."""
    there = [[each for each in _known(keywords) if each[1] in tags] for keywords in groups]
    return _Known(
        tuple(tuple(keyword for keyword, _, _ in group) for group in there),
        tuple(tag for group in there for _, tag, _ in group),
        tuple(vr for group in there for _, _, vr in group),
    )


@lru_cache(maxsize=64)
def _known(keywords: tuple[str, ...]) -> tuple[tuple[str, int, str], ...]:
    """Return keyword, tag and VR of the attributes that are in the dictionary."""
    there = ((keyword, *tag_and_vr(keyword)) for keyword in keywords)
    return tuple((keyword, tag, vr) for keyword, tag, vr in there if vr is not None)


def _are_short(encoded: tuple[Any, ...]) -> bool:
    """Return whether these values have no items, and are not too many bytes to be remembered."""
    return _WITHOUT_ITEMS.issuperset(map(type, encoded)) and sum(map(len, encoded)) <= _REMEMBERED


@lru_cache(maxsize=256)
def _decode_short(
    known: _Known, encoded: tuple[bytes, ...], charset: charsets.CharacterSet, order: str
) -> tuple[tuple[dict[str, Value], ...], float]:
    """Decode values without items, and tell what they cost. The objects of a series have nearly all in common."""
    decoded = texts_and_costs(encoded, known.vrs, charset, order)
    texts = map(_TEXT, decoded)
    return tuple(dict(zip(keywords, texts, strict=False)) for keywords in known.groups), sum(map(_COST, decoded))


def _decode_one_by_one(
    source: Source, keywords: tuple[str, ...], budget: Budget | None, charset: charsets.CharacterSet
) -> dict[str, Value]:
    there: Any = source.values if isinstance(source, Elements) else source
    found: dict[str, Value] = {}
    for keyword, tag, vr in _known(keywords):
        if tag in there:
            value = _value(source, tag, vr, charset, 0)
            if budget is None or budget.take(cost_of(vr, value)):
                found[keyword] = value
    return found


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
        return text_of(encoded, "CS", charsets.DEFAULT, "<")
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
    number = float if key.vr in ("FL", "FD") else int if key.vr in BINARY else str
    try:
        converted = [number(text) for text in texts if text or len(texts) > 1]
    except ValueError:  # The answer of a program: no binary VR can hold this text.
        converted = []
    content = converted[0] if len(converted) == 1 else converted or None
    try:
        return DataElement(tag, key.vr, content, validation_mode=config.IGNORE)
    except (ValueError, TypeError, OverflowError):
        # A value that does not fit its VR, such as an IS of "1.5", is returned as the file has it.
        return DataElement(tag, key.vr, content, already_converted=True)


def _item(key: Key, attributes: Attributes, rules: Rules) -> Dataset:
    asked = key.item or tuple(Key(keyword, vr_of(tag_for_keyword(keyword) or 0) or "UN") for keyword in attributes)
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
        vr = vr_of(tag) or "UN"
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
        return () if vr == "SQ" else text_of(encoded, vr, charset, "<" if source.little_endian else ">")
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
                each_vr, keyword = vr_of(each), keyword_for_tag(each)
                if each_vr is not None and keyword and each.element != 0:
                    texts[keyword] = _value_of(item, each, each_vr, inner, depth + 1)
            found.append(texts)
        return tuple(found)
    raw: object = dataset.get_item(tag, keep_deferred=True)  # otherwise pydicom converts an empty element
    if isinstance(raw, RawDataElement):
        return text_of(raw.value or b"", vr, charset, "<" if raw.is_little_endian else ">")
    value = getattr(raw, "value", None)
    return text_of(value, vr, charset, "<") if isinstance(value, bytes) else _from_python(value, vr)


def _from_python(value: object, vr: str) -> tuple[str, ...]:
    if value is None or isinstance(value, Sequence) or vr not in TEXT | ASCII | BINARY.keys() | {"AT"}:
        return ()
    if isinstance(value, MultiValue | list | tuple):
        return tuple(text for each in value for text in (_from_python(each, vr) or ("",)))
    if vr == "AT" and isinstance(value, int):
        return (f"{value:08X}",)
    # DS and IS keep the text that they were made from. PersonName also has an original_string, but it is bytes.
    return split(str(getattr(value, "original_string", value) if vr in ("DS", "IS") else value), vr)
