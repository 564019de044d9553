"""Specific Character Set (0008,0005): text from the bytes of a value, and the bytes of a value from text.

Both directions follow the code extensions of PS3.5 6.1.2.5. An escape sequence designates a set of characters as G0
(codes 21 to 7E) or as G1 (codes A0 to FF). The delimiters of PS3.5 6.1.2.5.3 restore the sets of value 1 of
(0008,0005). pydicom's own decoder leaves some escape sequences in the text, its encoder writes some wrongly, and both
warn about everything that they do not know. Here bytes that stand for no character become U+FFFD without a warning.

There are three leniencies, so that the text of other implementations can be read:

- Value 1 may be a term of two-byte characters, and the prefix "ISO_IR" may stand for "ISO 2022 IR". The characters of
  IR 149 and 58 are then expected without an escape sequence. Those of IR 87 and 159 need one, since they cannot be
  distinguished from ASCII.
- Bytes of G1 for which no set is designated are read as Latin-1, also if (0008,0005) is absent. In that case Latin-1 is
  written too, so that what was read can be sent on (STRICT_DEFAULT does not do this).
- Bytes under an unknown term are preserved: they are read as Latin-1, and written as Latin-1 under the same term.

>>> yamada = lookup(["", "ISO 2022 IR 87"]).encode("Yamada=山田", "PN")
>>> yamada
b'Yamada=\\x1b$B;3ED\\x1b(B'
>>> lookup("\\\\ISO 2022 IR 87").decode(yamada, "PN")
'Yamada=山田'
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from pydicom.charset import default_encoding, python_encoding

from aiodimse.errors import DatasetEncodeError
from aiodimse.standard.character_set import ASCII, EXTENSIONS, ROMAJI, WITHOUT_EXTENSIONS, CodeElement

_LONGEST: Final = 512
"""The number of characters of (0008,0005) that are read: 30 terms, of which the standard needs at most seven."""

_MISSPELLED: Final = re.compile(r"ISO[ _-](2022[ _-])?(?:IR[ _-])?(\d+)")
_SYNONYMS: Final = {"": "ISO_IR 6", "ISO 2022 GBK": "GBK"}

_BY_NUMBER: Final = {element.number: element for element in EXTENSIONS}
_BY_ESCAPE: Final = {element.escape: element for element in (ASCII, ROMAJI, *EXTENSIONS)}
_ESCAPE: Final = re.compile(b"|".join(re.escape(escape) for escape in _BY_ESCAPE))

# PS3.5 6.1.2.5.3: the delimiters that end the effect of escape sequences. They depend on the VR: in LT, ST and UT a
# backslash is part of the text (PS3.5 6.2), and only PN has components.
_CONTROLS: Final = "".join(map(chr, (*range(0x1B), *range(0x1C, 0x20))))
_DELIMITERS: Final = {"PN": _CONTROLS + "\\^=", **dict.fromkeys(("LT", "ST", "UT"), _CONTROLS)}
_DELIMITERS_OF_OTHERS: Final = _CONTROLS + "\\"


def _run_pattern(delimiters: str) -> re.Pattern[bytes]:
    """Match what is decoded together: bytes up to an escape sequence, or up to and including a delimiter."""
    delimiters_class = re.escape(delimiters).encode()
    return re.compile(rb"[^\x1b" + delimiters_class + rb"]*([" + delimiters_class + rb"])?")


_RUNS: Final = {vr: _run_pattern(delimiters) for vr, delimiters in _DELIMITERS.items()}
_RUNS_OF_OTHERS: Final = _run_pattern(_DELIMITERS_OF_OTHERS)
_PAIRS: Final = re.compile(rb"[\x21-\x7e]+")
_BETWEEN_PAIRS: Final = re.compile(rb"([\x00-\x1a\x1c-\x1f])|[\x20\x7f-\xff]+")
_TO_G1: Final = bytes(code | 0x80 for code in range(256))


class NotInCharacterSet(DatasetEncodeError):
    """A character is not in the Specific Character Set."""

    def __init__(self, message: str = "a character is not in the Specific Character Set of the data set") -> None:
        super().__init__(message)


class CharacterSet:
    """The character set of one Specific Character Set (0008,0005), made by `lookup`."""

    __slots__ = ("codecs", "is_default", "terms")

    has_escapes: bool = False
    """Whether an ESC in a value may begin an escape sequence. If not, ASCII bytes are ASCII text."""

    def __init__(self, terms: tuple[str, ...], python_codecs: tuple[str, ...]) -> None:
        self.terms: tuple[str, ...] = terms
        """The defined terms, with misspellings corrected. "ISO_IR 6" is the default repertoire."""
        self.codecs: tuple[str, ...] = python_codecs
        """The name of this character set in pydicom: names of Python codecs, one for each term."""
        self.is_default: bool = terms == ("ISO_IR 6",)
        """Whether it is the default repertoire, for which (0008,0005) may be absent (PS3.5 6.1.2.1)."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__.lstrip('_')} {chr(92).join(self.terms)}>"

    def __reduce__(self) -> tuple[object, ...]:
        return lookup, ("\\".join(self.terms),)

    def decode(self, value: bytes, vr: str = "LO") -> str:
        """Decode a value, or several separated by backslashes. Any bytes are accepted.

        Args:
            value: The bytes as they are encoded, with their padding.
            vr: The VR of the element. It determines which delimiters end the effect of an escape sequence.

        Returns:
            The text, with U+FFFD for bytes that stand for no character.
        """
        raise NotImplementedError

    def encode(self, text: str, vr: str = "LO") -> bytes:
        """Encode a value, or several separated by backslashes, without padding.

        Args:
            text: The text.
            vr: The VR of the element, as for `decode`.

        Returns:
            The bytes, with the escape sequences of PS3.5 6.1.2.5 if there are any.

        Raises:
            DatasetEncodeError: A character is not in this character set.
        """
        raise NotImplementedError

    def can_encode(self, text: str) -> bool:
        """Return whether all characters are in this set. `encode` accepts more for the default repertoire: Latin-1."""
        raise NotImplementedError


class _OneCodec(CharacterSet):
    """A character set without code extensions for which Python has a codec."""

    __slots__ = ("_codec", "_repertoire")

    def __init__(self, terms: tuple[str, ...], python_codecs: tuple[str, ...], codec: str, repertoire: str) -> None:
        """Take the codec, and in `repertoire` the codec of the characters that the standard allows when writing."""
        super().__init__(terms, python_codecs)
        self._codec, self._repertoire = codec, repertoire

    def decode(self, value: bytes, vr: str = "LO") -> str:
        return value.decode(self._codec, "replace")

    def encode(self, text: str, vr: str = "LO") -> bytes:
        try:
            return text.encode(self._codec)
        except UnicodeError:
            raise NotInCharacterSet from None

    def can_encode(self, text: str) -> bool:
        try:
            text.encode(self._repertoire)
        except UnicodeError:
            return False
        return True


class _Extended(CharacterSet):
    """A character set with code extensions (PS3.5 6.1.2.4), or ISO_IR 13, for whose G1 Python has no codec."""

    __slots__ = ("_elements", "_g0", "_g1")

    has_escapes = True

    def __init__(self, terms: tuple[str, ...], python_codecs: tuple[str, ...]) -> None:
        super().__init__(terms, python_codecs)
        first, *_ = elements = [_element(term) for term in terms]
        self._g0 = ROMAJI if first is not None and first.number == 13 else ASCII
        self._g1 = None if first is None or first.is_g0 else first
        self._elements = tuple(element for element in elements if element is not None)

    def decode(self, value: bytes, vr: str = "LO") -> str:
        if b"\x1b" not in value:
            return _decode_run(value, self._g1)
        run = _RUNS.get(vr, _RUNS_OF_OTHERS)
        g0, g1, pos, text = self._g0, self._g1, 0, []
        while pos < len(value):
            if designation := _ESCAPE.match(value, pos):
                element = _BY_ESCAPE[designation[0]]
                g0, g1 = (element, g1) if element.is_g0 else (g0, element)
                pos = designation.end()
                continue
            if value[pos] == 0x1B:  # not an escape sequence of the standard, so it stays in the text
                text.append("\x1b")
                pos += 1
                continue
            if g0.width == 2 and (pairs := _PAIRS.match(value, pos)):
                # The first byte of a pair without the second is ASCII: some writers do not switch back before a
                # delimiter.
                pos = pairs.end() - (pairs.end() - pos) % 2
                text.append(_decode_pairs(value[pairs.start() : pos], g0))
                if pos < pairs.end():
                    g0 = self._g0
                continue
            piece = (_BETWEEN_PAIRS if g0.width == 2 else run).match(value, pos)
            assert piece is not None  # both patterns match any byte that is not ESC and can be left here
            text.append(_decode_run(piece[0], g1))
            if piece[1]:
                # A G1 that value 1 does not name stays designated, since some writers do not repeat the escape
                # sequence.
                g0, g1 = self._g0, self._g1 or g1
            pos = piece.end()
        return "".join(text)

    def encode(self, text: str, vr: str = "LO") -> bytes:
        if text.isascii() and "\x1b" not in text:
            return text.encode("ascii")
        delimiters = _DELIMITERS.get(vr, _DELIMITERS_OF_OTHERS)
        out = bytearray()
        g0, g1 = self._g0, self._g1
        for character in text:
            if character < "\x80":
                if g0 is not self._g0:
                    out += self._g0.escape
                    g0 = self._g0
                if character in delimiters:
                    out += self._back(g1)
                    g1 = self._g1
                elif character == "\x1b":
                    raise NotInCharacterSet
                out.append(ord(character))
                continue
            element, code = self._code(character, g0, g1)
            if element.is_g0:
                if g0 is not element:
                    out += element.escape
                    g0 = element
            else:
                if g0 is not self._g0:
                    out += self._g0.escape
                    g0 = self._g0
                if g1 is not element:
                    out += element.escape
                    g1 = element
            out += code
        if g0 is not self._g0:
            out += self._g0.escape
        # G1 may stay designated: nothing uses it after this, and DCMTK 3.6.7 takes the sequence that switches back for
        # text.
        return bytes(out)

    def can_encode(self, text: str) -> bool:
        return all(
            character != "\x1b" if character < "\x80" else any(_code_in(each, character) for each in self._elements)
            for character in set(text)
        )

    def _back(self, g1: CodeElement | None) -> bytes:
        """Return the escape sequence that restores the G1 of value 1. If it has none, any may stay (PS3.5 Annex I)."""
        return self._g1.escape if self._g1 is not None and g1 is not self._g1 else b""

    def _code(self, character: str, g0: CodeElement, g1: CodeElement | None) -> tuple[CodeElement, bytes]:
        """Return a set that has a character, and the code of the character in it. Designated sets are preferred."""
        for element in (g1, g0, *self._elements):
            if element is not None and (code := _code_in(element, character)):
                return element, code
        raise NotInCharacterSet


def _decode_run(value: bytes, g1: CodeElement | None) -> str:
    """Decode bytes for which G0 is ASCII."""
    if g1 is None:
        return value.decode("latin_1")
    if g1.prefix:
        return codecs.charmap_decode(value, "replace", _charmap(g1))[0]
    return value.decode(g1.codec, "replace")


def _decode_pairs(pairs: bytes, g0: CodeElement) -> str:
    codes = pairs.translate(_TO_G1)
    if g0.prefix:
        codes = b"".join([g0.prefix + codes[at : at + 2] for at in range(0, len(codes), 2)])
    return codes.decode(g0.codec, "replace")


@lru_cache(maxsize=4)
def _charmap(element: CodeElement) -> str:
    """Return the characters for all 256 codes of a one-byte set whose codec needs a prefix; U+FFFE for unused codes."""
    upper = [(element.prefix + bytes((code,))).decode(element.codec, "replace") for code in range(0xA0, 0x100)]
    return "".join(map(chr, range(0xA0))) + "".join(each if len(each) == 1 else "\ufffe" for each in upper)


@lru_cache(maxsize=8192)
def _code_in(element: CodeElement, character: str) -> bytes:
    """Return the code of a character in a set; b"" if it has none."""
    try:
        code = character.encode(element.codec)
    except UnicodeError:
        return b""
    code = code.removeprefix(element.prefix) if code.startswith(element.prefix) else b""
    if len(code) != element.width or min(code) < 0xA0:
        return b""
    return bytes(each & 0x7F for each in code) if element.is_g0 else code


# --- defined terms ----------------------------------------------------------------------------------------------------


def lookup(terms: str | bytes | Sequence[str] | None) -> CharacterSet:
    """Return the character set that the values of (0008,0005) name. It is the same object each time.

    Args:
        terms: The defined terms of PS3.3 C.12.1.1.2, as a list, as text separated by backslashes, or encoded; None or
            nothing stands for the default repertoire.

    Returns:
        The character set. Misspelled terms are corrected, and unknown terms after value 1 are ignored. A value that is
        longer than any valid one is ignored completely.
    """
    if not terms:
        return DEFAULT
    if isinstance(terms, bytes):
        if len(terms) > _LONGEST:
            return DEFAULT
        terms = terms.decode("latin_1")
    joined = terms if isinstance(terms, str) else "\\".join(map(str, terms))
    return _lookup(joined) if len(joined) <= _LONGEST else DEFAULT


@lru_cache(maxsize=256)
def _lookup(joined: str) -> CharacterSet:
    first, *others = (_defined(term.strip(" \0")) for term in joined.split("\\"))
    if first in WITHOUT_EXTENSIONS:
        codec = WITHOUT_EXTENSIONS[first]
        return _OneCodec((first,), (python_encoding[first],), codec, codec)
    terms = (first, *(term for term in others if _element(term) is not None or term.endswith("IR 6")))
    python_codecs = tuple(_python_codec(term) for term in terms)
    element = _element(first)
    if (
        len(terms) > 1
        or first.startswith("ISO 2022")
        or (element is not None and (element.prefix or element.width > 1))
    ):
        return _Extended(terms, python_codecs)
    if element is not None:
        return _OneCodec(terms, python_codecs, element.codec, element.codec)
    if first == "ISO_IR 6":
        return _OneCodec(terms, python_codecs, "latin_1", "ascii")
    return _OneCodec(terms, python_codecs, "latin_1", "latin_1")  # an unknown term: the bytes are preserved


def _defined(term: str) -> str:
    """Return the spelling of a term in the standard; the term itself if it is not recognized."""
    term = _SYNONYMS.get(term, term)
    if match := _MISSPELLED.fullmatch(term):
        return f"ISO 2022 IR {match[2]}" if match[1] else f"ISO_IR {match[2]}"
    return term


def _element(term: str) -> CodeElement | None:
    """Return the set that a term adds to the default repertoire; None if it adds none, or is unknown."""
    match = _MISSPELLED.fullmatch(term)
    return _BY_NUMBER.get(int(match[2])) if match and len(match[2]) < 4 else None


def _python_codec(term: str) -> str:
    element = _element(term)
    if element is None:
        return python_encoding.get(term, default_encoding)
    return python_encoding.get(term) or python_encoding.get(f"ISO 2022 IR {element.number}", element.codec)


# --- pydicom's names for character sets -------------------------------------------------------------------------------


@lru_cache(maxsize=256)
def of_codecs(python_codecs: tuple[str, ...]) -> CharacterSet:
    """Return the character set of a Dataset that pydicom read, by its Dataset.original_character_set."""
    return _lookup("\\".join(_TERM_OF.get(codec, codec) for codec in python_codecs)) if python_codecs else DEFAULT


def codecs_by_pydicom(terms: Sequence[str]) -> tuple[str, ...]:
    """Return the codecs that pydicom uses for these terms. pydicom also accepts the name of any Python codec."""
    return tuple(_codec_by_pydicom(term) for term in terms)


def _codec_by_pydicom(term: str) -> str:
    if codec := python_encoding.get(term) or python_encoding.get(_defined(term)):
        return codec
    try:
        codecs.lookup(term)
    except (LookupError, ValueError):
        return default_encoding
    return term


_TERM_OF: Final = {
    **{element.codec: f"ISO_IR {element.number}" for element in EXTENSIONS if not element.prefix},
    **{codec: term for term, codec in python_encoding.items()},
    **{codec: term for term, codec in python_encoding.items() if term.startswith("ISO_IR") or term == "GBK"},
}
DEFAULT: Final = _lookup("ISO_IR 6")
"""The default repertoire, ISO 646 (PS3.5 6.1.1)."""
STRICT_DEFAULT: Final[CharacterSet] = _OneCodec(("ISO_IR 6",), (), "ascii", "ascii")
"""The default repertoire for text of our own. Nothing but ASCII can be encoded in it."""
UTF8: Final = _lookup("ISO_IR 192")
"""Unicode, which contains the characters of all others."""
