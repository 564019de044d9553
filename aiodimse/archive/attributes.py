"""Between pydicom data sets and the decoded text that matching works on.

Values are read from the raw elements where there are any. pydicom's own conversion warns about values that do not fit
their VR, and its warnings quote them: a patient's name or birth date would end up in a log.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from sys import intern

from pydicom import DataElement, Dataset, config
from pydicom.charset import convert_encodings, decode_bytes
from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag
from pydicom.valuerep import TEXT_VR_DELIMS

from .matching import BASELINE, Attributes, Key, Rules, Value, matching_items

_TEXT = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})  # in the Specific Character Set, PS3.5 6.1.2.3
_UNSPLIT = frozenset({"LT", "ST", "UR", "UT"})  # a backslash is part of the text
_ASCII = frozenset({"AE", "AS", "CS", "DA", "DS", "DT", "IS", "TM", "UI", "UR"})
_BINARY = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d", "UV": "Q", "SV": "q"}
_DEPTH = 8  # of sequences that are read into text


def decode(dataset: Dataset, keywords: Iterable[str]) -> dict[str, Value]:
    """The attributes that the data set has, of those asked for, as text. An empty one is ()."""
    encodings = encodings_of(dataset)
    found: dict[str, Value] = {}
    for keyword in keywords:
        tag = tag_for_keyword(keyword)
        if tag is not None and tag in dataset:
            vr = _vr(BaseTag(tag), dataset)
            if vr is not None:
                found[keyword] = _value(dataset, BaseTag(tag), vr, encodings, 0)
    return found


def keys_of(identifier: Dataset) -> list[Key]:
    """The key attributes of an Identifier, in the order of their tags. The keyword of a private or unknown attribute
    is its tag, "(gggg,eeee)"."""
    return _keys(identifier, encodings_of(identifier), 0)


def character_set_of(dataset: Dataset) -> tuple[str, ...]:
    """Specific Character Set (0008,0005), its values as they are; () for the default repertoire."""
    values = decode_ascii(dataset, 0x00080005)
    return values if any(values) else ()


def encodings_of(dataset: Dataset, inherited: Sequence[str] = ("iso8859",)) -> list[str]:
    """The Python codecs of a data set; an item without a character set has that of its data set (PS3.5 7.5.3)."""
    names = character_set_of(dataset)
    return convert_encodings(list(names)) if names else list(inherited)


def decode_ascii(dataset: Dataset, tag: int) -> tuple[str, ...]:
    return tuple(str(v) for v in _value(dataset, BaseTag(tag), "CS", ["latin_1"], 0)) if tag in dataset else ()


# --- text -> data set -------------------------------------------------------------------------------------------------


def element(key: Key, value: Value, rules: Rules = BASELINE) -> DataElement:
    """One element of a response: what was asked for, from its text. Never raises because of a value."""
    tag = tag_for_keyword(key.keyword)
    assert tag is not None  # supported keys have keywords of the dictionary
    if key.vr == "SQ":
        if key.item:
            value = matching_items(key, value, rules)
        items = [_item(key, each, rules) for each in value if not isinstance(each, str)]
        return DataElement(tag, "SQ", items)
    texts = [each for each in value if isinstance(each, str)]
    converted = [int(t) if key.vr in ("US", "SS", "UL", "SL", "UV", "SV") else t for t in texts if t or len(texts) > 1]
    content = converted[0] if len(converted) == 1 else converted or None
    try:
        return DataElement(tag, key.vr, content, validation_mode=config.IGNORE)
    except (ValueError, TypeError, OverflowError):
        # An IS of "1.5" in somebody's file goes back as it came.
        return DataElement(tag, key.vr, content, already_converted=True)


def _item(key: Key, attributes: Attributes, rules: Rules) -> Dataset:
    asked = key.item or tuple(Key(keyword, dictionary_VR(keyword)) for keyword in attributes)
    item = Dataset()
    for each in asked:
        if tag_for_keyword(each.keyword) is not None:
            item.add(element(each, attributes.get(each.keyword, ()), rules))
    return item


# --- data set -> text -------------------------------------------------------------------------------------------------


def _keys(dataset: Dataset, encodings: Sequence[str], depth: int) -> list[Key]:
    keys = []
    for tag in sorted(dataset.keys()):
        if tag.element == 0:  # group lengths are retired and say nothing (PS3.5 7.2)
            continue
        vr = _vr(tag, dataset)
        keyword = keyword_for_tag(tag) or f"({tag.group:04X},{tag.element:04X})"
        if vr is None:
            keys.append(Key(keyword, "UN"))
        elif vr == "SQ":
            items = _items(dataset, tag) if depth < _DEPTH else []
            # C.2.2.2.6: the sequence has a single item.
            item = tuple(_keys(items[0], encodings_of(items[0], encodings), depth + 1)) if items else ()
            keys.append(Key(keyword, vr, item=item))
        else:
            texts = _value(dataset, tag, vr, encodings, depth)
            keys.append(Key(keyword, vr, tuple(t for t in texts if isinstance(t, str))))
    return keys


def _vr(tag: BaseTag, dataset: Dataset) -> str | None:
    """The VR of the dictionary, so that what a peer says of itself cannot turn matching off; None for private ones."""
    try:
        vr = dictionary_VR(tag)
    except KeyError:
        return None
    return vr if len(vr) == 2 else vr.partition(" ")[0]  # "US or SS"


def _items(dataset: Dataset, tag: BaseTag) -> list[Dataset]:
    try:
        value = dataset[tag].value
    except Exception:  # an item that pydicom cannot read holds nothing that could match
        return []
    return [item for item in value or () if isinstance(item, Dataset)] if not isinstance(value, bytes) else []


def _value(dataset: Dataset, tag: BaseTag, vr: str, encodings: Sequence[str], depth: int) -> Value:
    if vr == "SQ":
        if depth >= _DEPTH:
            return ()
        found: list[dict[str, Value]] = []
        for item in _items(dataset, tag):
            codecs, texts = encodings_of(item, encodings), {}
            for each in item.keys():  # noqa: SIM118 - iterating a Dataset would convert its elements
                each_vr, keyword = _vr(each, item), keyword_for_tag(each)
                if each_vr is not None and keyword and each.element != 0:
                    texts[keyword] = _value(item, each, each_vr, codecs, depth + 1)
            found.append(texts)
        return tuple(found)
    raw: object = dataset.get_item(tag)
    if isinstance(raw, RawDataElement):
        return _from_bytes(raw.value or b"", vr, encodings, "<" if raw.is_little_endian else ">")
    value = getattr(raw, "value", None)
    return _from_bytes(value, vr, encodings, "<") if isinstance(value, bytes) else _from_python(value, vr)


def _from_bytes(data: bytes, vr: str, encodings: Sequence[str], order: str) -> tuple[str, ...]:
    if vr in _TEXT:
        text = decode_bytes(data, encodings, TEXT_VR_DELIMS)
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
    # DS and IS keep the digits that they were made from; what a PersonName calls so are bytes.
    return _split(str(getattr(value, "original_string", value) if vr in ("DS", "IS") else value), vr)


def _split(text: str, vr: str) -> tuple[str, ...]:
    """The values, without the padding and the spaces that mean nothing (PS3.5 6.2)."""
    if vr in _UNSPLIT:
        text = text.rstrip("\0 ")
        return (text,) if text else ()
    # Interned: a folder says "ORIGINAL" or the same SOP Class UID a hundred thousand times.
    values = tuple(intern(value.strip("\0 ")) for value in text.split("\\"))
    return values if any(values) else ()
