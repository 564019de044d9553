"""Encodes values of the kinds that are common in identifiers, by their VR. `writing` encodes the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from pydicom.multival import MultiValue
from pydicom.uid import UID
from pydicom.valuerep import IS, PersonName

from aiodimse.datasets.charsets import CharacterSet

PlainEncoder: TypeAlias = Callable[[Any, CharacterSet], bytes | None]
"""Returns a value encoded and not padded; None for a value of another kind than is common."""


def _string(value: Any, _: CharacterSet) -> bytes | None:
    if type(value) is not str and type(value) is not UID:
        if type(value) is not MultiValue:
            return None
        value = "\\".join(value)
    return bytes(value.encode("latin-1"))


def _date_or_time(value: Any, _: CharacterSet) -> bytes | None:
    return value.encode("latin-1") if type(value) is str else None


def _number_string(value: Any, _: CharacterSet) -> bytes | None:
    text = "\\".join(_digits(one) for one in value) if type(value) is MultiValue else _digits(value)
    return text.encode("latin-1")


def _digits(value: Any) -> str:
    if type(value) is IS and "original_string" not in vars(value):
        return int.__repr__(value)  # the same as IS.__str__, in a quarter of the time
    # The text that the number was read from is written unchanged.
    original = getattr(value, "original_string", None)
    return original if original is not None else str(value)


def _text(value: Any, charset: CharacterSet) -> bytes | None:
    if type(value) is str:
        return charset.encode(value)
    if isinstance(value, MultiValue | list | tuple) and all(type(one) is str for one in value):
        return charset.encode("\\".join(value))
    return None


def _long_text(value: Any, charset: CharacterSet) -> bytes | None:
    if isinstance(value, MultiValue | list | tuple) and all(type(one) is str for one in value):
        value = "\\".join(value)  # these VRs have one value, in which backslashes are part of the text (PS3.5 6.2)
    return charset.encode(value, "UT") if type(value) is str else None


def _person_name(value: Any, charset: CharacterSet) -> bytes | None:
    if type(value) is PersonName:
        return _name(value, charset)
    if type(value) is MultiValue and all(type(one) is PersonName for one in value):
        names = [_original(one, charset) for one in value]
        if None not in names:
            return b"\\".join(names)  # type: ignore[arg-type]
        return charset.encode("\\".join(map(str, value)), "PN")
    return None


def _name(value: PersonName, charset: CharacterSet) -> bytes:
    original = _original(value, charset)
    return charset.encode(str(value), "PN") if original is None else original


def _original(value: PersonName, charset: CharacterSet) -> bytes | None:
    """Return a name as it was read, if it was read in this character set and pydicom has not changed it wrongly."""
    original = value.original_string
    if original is None or value.encodings != charset.codecs:
        return None
    return original if value._components is None or charset.decode(original, "PN") == str(value) else None


PLAIN: Final[Mapping[str, PlainEncoder]] = {
    **dict.fromkeys(("AE", "AS", "CS", "UI", "UR"), _string),
    **dict.fromkeys(("DA", "DT", "TM"), _date_or_time),
    **dict.fromkeys(("DS", "IS"), _number_string),
    **dict.fromkeys(("LO", "SH", "UC"), _text),
    **dict.fromkeys(("LT", "ST", "UT"), _long_text),
    "PN": _person_name,
}
"""The encoders by VR. A VR that is not here has none."""
