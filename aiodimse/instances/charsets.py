"""Specific Character Set (0008,0005) to Python encodings, and text to bytes, in silence.

pydicom warns about a defined term it does not know, and logs it, each time it meets it; and it takes the term for the
name of any Python codec. A peer writes these terms, so here an unknown one means the default repertoire and no more.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from pydicom.charset import (
    STAND_ALONE_ENCODINGS,
    custom_encoders,
    default_encoding,
    encode_string,
    python_encoding,
)

from aiodimse.errors import DatasetEncodeError

DEFAULT: Final[tuple[str, ...]] = (default_encoding,)

_MISSPELT = re.compile(r"ISO[ _-](2022[ _-])?IR[ _-](\d+)")

_LONGEST: Final = 512
"""Characters of a (0008,0005) that is looked at, and remembered: 30 terms, where the standard has use for seven."""

# Encodings that write ASCII as ASCII when they come first. ISO 2022 ones are left to pydicom.
_ASCII_COMPATIBLE: Final = frozenset(
    {default_encoding, "latin_1", "iso8859_2", "iso8859_3", "iso8859_4", "UTF8", "GB18030", "GBK", "GB2312"}
    | {f"iso_ir_{number}" for number in (126, 127, 138, 144, 148, 166)}
)


def encodings_from_bytes(value: bytes) -> tuple[str, ...]:
    """The Python encodings for an encoded value of (0008,0005)."""
    return _encodings(value.decode("latin-1")) if len(value) <= _LONGEST else DEFAULT


def encodings_from_terms(terms: str | Sequence[str] | None) -> tuple[str, ...]:
    """The Python encodings for the defined terms of PS3.3 C.12.1.1.2, as pydicom maps them."""
    if not terms:
        return DEFAULT
    joined = terms if isinstance(terms, str) else "\\".join(map(str, terms))
    return _encodings(joined) if len(joined) <= _LONGEST else DEFAULT


@lru_cache(maxsize=256)
def _encodings(joined: str) -> tuple[str, ...]:
    terms = [term.strip(" \0") for term in joined.split("\\")]
    first = _encoding(terms[0])
    if terms[0] in STAND_ALONE_ENCODINGS:  # PS3.3 C.12.1.1.2: no code extensions beside these
        return (first,)
    return (first, *(_encoding(term) for term in terms[1:] if term not in STAND_ALONE_ENCODINGS))


def _encoding(term: str) -> str:
    if term in python_encoding:
        return python_encoding[term]
    if match := _MISSPELT.fullmatch(term):
        right = f"ISO 2022 IR {match[2]}" if match[1] else f"ISO_IR {match[2]}"
        return python_encoding.get(right, default_encoding)
    return default_encoding


def keeps_ascii_in(encodings: tuple[str, ...]) -> bool:
    """Whether ASCII text is itself in these encodings, as it is in all but some of ISO 2022."""
    return encodings[0] in _ASCII_COMPATIBLE


def encode_text(value: str, encodings: tuple[str, ...]) -> bytes:
    """Text in the first of these encodings, or with the code extensions of PS3.5 6.1.2.5.

    Raises DatasetEncodeError for a character that none of them has: pydicom would write a question mark.
    """
    if value.isascii() and keeps_ascii_in(encodings):
        return value.encode("ascii")
    _check_encodable(value, encodings)
    return encode_string(value, encodings)


def _check_encodable(value: str, encodings: tuple[str, ...]) -> None:
    for character in set(value):
        if not any(_has(encoding, character) for encoding in encodings):
            raise DatasetEncodeError("a character is not in the Specific Character Set of the data set")


@lru_cache(maxsize=4096)
def _has(encoding: str, character: str) -> bool:
    try:
        if encoding in custom_encoders:
            custom_encoders[encoding](character)
        else:
            character.encode(encoding)
    except UnicodeError:
        return False
    return True
