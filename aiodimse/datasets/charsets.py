"""Specific Character Set (0008,0005) to Python encodings, and text from bytes and to them, in silence.

pydicom warns about a defined term it does not know, and logs it, each time it meets it; and it takes the term for the
name of any Python codec. It warns of each escape sequence that it does not know, of which a value may hold a million. A
peer writes these, so here an unknown term means the default repertoire and no more, and bytes that are no text U+FFFD.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from pydicom.charset import (
    CODES_TO_ENCODINGS,
    STAND_ALONE_ENCODINGS,
    custom_encoders,
    default_encoding,
    encode_string,
    handled_encodings,
    python_encoding,
)

from aiodimse.errors import DatasetEncodeError

DEFAULT: Final[tuple[str, ...]] = (default_encoding,)

_MISSPELT = r"ISO[ _-](2022[ _-])?IR[ _-](\d+)"

_PIECE: Final = re.compile(rb"^[^\x1b]+|\x1b[^\x1b]*")
_DELIMITER: Final = re.compile(rb"[\n\f\r=\\^]")
"""What ends the effect of an escape sequence (PS3.5 6.1.2.5.3)."""

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
    if match := re.fullmatch(_MISSPELT, term):
        right = f"ISO 2022 IR {match[2]}" if match[1] else f"ISO_IR {match[2]}"
        return python_encoding.get(right, default_encoding)
    return default_encoding


def keeps_ascii_in(encodings: tuple[str, ...]) -> bool:
    """Whether ASCII text is itself in these encodings, as it is in all but some of ISO 2022."""
    return encodings[0] in _ASCII_COMPATIBLE


def decode_text(value: bytes, encodings: Sequence[str]) -> str:
    """The text in these encodings, whatever the bytes are; escape sequences of others mean nothing (PS3.5 6.1.2.5)."""
    if b"\x1b" not in value:
        return value.decode(encodings[0], errors="replace")
    return "".join([_decode_piece(piece, encodings) for piece in _PIECE.findall(value)])


def _decode_piece(piece: bytes, encodings: Sequence[str]) -> str:
    length = 4 if piece.startswith((b"\x1b$(", b"\x1b$)")) else 3
    encoding = CODES_TO_ENCODINGS.get(piece[:length])
    if encoding is None or (encoding != default_encoding and encoding not in encodings):
        return piece.decode(encodings[0], errors="replace")
    if encoding in handled_encodings:  # Python's codec wants the escape sequence
        return piece.decode(encoding, errors="replace")
    end = match.start() if (match := _DELIMITER.search(piece, length)) else len(piece)
    return piece[length:end].decode(encoding, errors="replace") + piece[end:].decode(encodings[0], errors="replace")


def can_encode(text: str, encodings: Sequence[str]) -> bool:
    """Whether each character is in one of these encodings."""
    return all(any(_has(encoding, character) for encoding in encodings) for character in set(text))


def encode_text(value: str, encodings: tuple[str, ...]) -> bytes:
    """Text in the first of these encodings, or with the code extensions of PS3.5 6.1.2.5.

    Raises DatasetEncodeError for a character that none of them has: pydicom would write a question mark.
    """
    if value.isascii() and keeps_ascii_in(encodings):
        return value.encode("ascii")
    if not can_encode(value, encodings):
        raise DatasetEncodeError("a character is not in the Specific Character Set of the data set")
    return encode_string(value, encodings)


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
