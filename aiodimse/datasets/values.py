"""Converts encoded values to what pydicom has for them: text, names, UIDs and numbers in text.

pydicom checks each value of these VRs when it converts it. If a value is not valid, pydicom logs it together with the
value, which may be a patient's name; and it knows fewer character sets than charsets.py. Here nothing is checked, and a
number that is not valid remains text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from pydicom import config, valuerep
from pydicom.dataelem import DataElement
from pydicom.multival import MultiValue
from pydicom.uid import UID
from pydicom.valuerep import IS, PersonName

from aiodimse.datasets.charsets import CharacterSet
from aiodimse.errors import DatasetEncodeError


def uid_element(keyword: str, value: str | Sequence[str]) -> DataElement:
    """Make an element of UIDs that may come from a peer.

    `dataset.SOPInstanceUID = value` would warn of a UID that is not valid, quote it, and keep each text for ever, to
    warn once of each.

    Args:
        keyword: The keyword of an element with the VR UI.
        value: The UID or UIDs, which are not checked.
    """
    return DataElement(keyword, "UI", value, validation_mode=config.IGNORE)


def wants_pydicom() -> bool:
    """Return whether the program has made pydicom raise for invalid values, or call it back, so it must convert."""
    return config.settings.reading_validation_mode == config.RAISE or config.data_element_callback is not None


def _one_text(data: bytes, charset: CharacterSet) -> object:
    return charset.decode(data, "UT").rstrip("\0 ")


def _texts(data: bytes, charset: CharacterSet) -> object:
    values = [each.rstrip("\0 ") for each in charset.decode(data).split("\\")]
    return values[0] if len(values) == 1 else MultiValue(str, values)


def _names(data: bytes, charset: CharacterSet) -> object:
    data = data.rstrip(b"\0 ")
    texts = charset.decode(data, "PN").split("\\")
    if len(texts) == 1:
        return PersonName(texts[0], charset.codecs, data, config.IGNORE)
    return MultiValue(partial(_name, charset), texts)


def _name(charset: CharacterSet, text: str | PersonName) -> PersonName:
    """Make one of several names. Its bytes are encoded again, since the value cannot be split at backslash bytes."""
    if isinstance(text, PersonName):
        return text
    try:
        encoded = charset.encode(text, "PN")
    except DatasetEncodeError:
        encoded = None
    return PersonName(text, charset.codecs, encoded, config.IGNORE)


def _unchecked_uid(text: str) -> UID:
    return UID(text, config.IGNORE)


def _uids(data: bytes, _: CharacterSet) -> object:
    values = [_unchecked_uid(each) for each in data.decode("latin_1").rstrip("\0 ").split("\\")]
    return values[0] if len(values) == 1 else MultiValue(_unchecked_uid, values)


def _integers(data: bytes, _: CharacterSet) -> object:
    text = data.decode("latin_1")
    return None if config.use_IS_numpy else _numbers(text.rstrip("\0 "), IS, text)


def _decimals(data: bytes, _: CharacterSet) -> object:
    text = data.decode("latin_1")
    return None if config.use_DS_numpy else _numbers(text.strip().rstrip("\0 "), valuerep.DSclass, text)


def _numbers(text: str, kind: Callable[..., object], otherwise: str) -> object:
    try:
        values = [kind(each, validation_mode=config.IGNORE) for each in text.split("\\")]
    except (ValueError, TypeError, ArithmeticError):  # decimal raises a subclass of ArithmeticError
        values, kind = [each.rstrip("\0 ") for each in otherwise.split("\\")], str
    return values[0] if len(values) == 1 else MultiValue(kind, values)


CONVERTERS: Final[dict[str, Callable[[bytes, CharacterSet], object]]] = {
    **dict.fromkeys(("LT", "ST", "UT"), _one_text),
    **dict.fromkeys(("LO", "SH", "UC"), _texts),
    "DS": _decimals,
    "IS": _integers,
    "PN": _names,
    "UI": _uids,
}
"""The converters by VR. One that returns None leaves the value to pydicom."""
