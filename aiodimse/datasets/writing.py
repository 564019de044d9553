"""Encodes data sets. The bytes are those of pydicom's write_dataset, apart from the differences listed below.

pydicom's function is not used, because it decodes and re-encodes every value if the encoding changes, with warnings
that quote values (patient data in a log); it changes the Dataset that it is given; and it takes 200 us for a plain
C-FIND identifier of 16 elements, for which this module takes 12 us. Here values that are still encoded are copied and
only their headers are written anew, plain values are encoded in a short way, and pydicom's writers encode the others.

The intended differences from pydicom are:

- An ambiguous VR that nothing resolves is written as US or OW (vrs.py) instead of failing.
- Text is encoded by charsets.py. A character that the Specific Character Set lacks is an error instead of a question
  mark. If the caller allows it, the whole data set is written in Unicode instead.
- Elements of groups 0000 and 0002 are left out, and values of odd length are padded, in items too.
- An element that no reader of Implicit VR could read is left out, with a warning: it is a sequence by the dictionary,
  which such a reader has to use, and not in the data set, or the other way round.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import lru_cache
from struct import Struct, pack
from typing import Any, Final

from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import writers
from pydicom.uid import UID
from pydicom.valuerep import CUSTOMIZABLE_CHARSET_VR, EXPLICIT_VR_LENGTH_32

from aiodimse.datasets import charsets
from aiodimse.datasets.charsets import CharacterSet
from aiodimse.datasets.element_headers import UNDEFINED_LENGTH, vr_in_dictionary
from aiodimse.datasets.plain_values import PLAIN, PlainEncoder
from aiodimse.datasets.reading import DecodedDataset, each_item, read_as
from aiodimse.datasets.vrs import AMBIGUOUS_VRS, PADDING, WORD_SIZES, concrete_vr, implicit_vr, swapped
from aiodimse.errors import DatasetDecodeError, DatasetEncodeError

_log = logging.getLogger("aiodimse.datasets")

_SPECIFIC_CHARACTER_SET: Final = 0x00080005
_PIXEL_DATA: Final = 0x7FE00010
_ITEM: Final = (b"\xfe\xff\x00\xe0", b"\xff\xfe\xe0\x00")
_SEQUENCE_DELIMITATION: Final = b"\xfe\xff\xdd\xe0\0\0\0\0"
_SEQUENCE_DELIMITATION_BIG: Final = b"\xff\xfe\xe0\xdd\0\0\0\0"
_INTEGERS: Final = {
    "SL": (4, True), "SS": (2, True), "SV": (8, True), "UL": (4, False), "US": (2, False), "UV": (8, False)
}  # fmt: skip


def write_dataset(
    dataset: Dataset,
    *,
    implicit: bool,
    little_endian: bool,
    encapsulated: bool = False,
    default: CharacterSet = charsets.DEFAULT,
    character_set: CharacterSet | None = None,
) -> list[bytes]:
    """Encode a data set into buffers that are not joined, so that Pixel Data is not copied.

    Args:
        dataset: The data set, which is not changed.
        implicit: Whether to write Implicit VR.
        little_endian: Whether to write Little Endian; otherwise Big Endian.
        encapsulated: Whether Pixel Data has to be encapsulated (PS3.5 A.4). Otherwise it must not be.
        default: What the default repertoire means: DEFAULT or STRICT_DEFAULT.
        character_set: The character set for all text, and for Specific Character Set; None: that of the data set.

    Raises:
        DatasetEncodeError: The data set cannot be encoded. The text names tags, never values.
    """
    try:
        return _writer(implicit, little_endian, encapsulated, default, character_set).dataset(dataset, default, ())
    except RecursionError:
        raise DatasetEncodeError("the data set is nested too deep") from None


class _Scope:
    """The character set of a data set or item, and whether encoded text in it can be copied."""

    __slots__ = ("around", "charset", "declared", "source", "stays")

    def __init__(
        self,
        dataset: Dataset,
        declared: CharacterSet,
        forced: CharacterSet | None,
        around: tuple[Dataset, ...],
    ) -> None:
        self.around = (dataset, *around)
        self.source = read_as(dataset)
        self.declare(declared, forced)

    def declare(self, declared: CharacterSet, forced: CharacterSet | None) -> None:
        self.declared, self.charset = declared, forced or declared
        source = self.source or declared
        self.stays = source is self.charset or _is_same(source, self.charset)
        """Whether text that is still encoded is already in the character set to be written."""


class _Writer:
    __slots__ = (
        "default", "encapsulated", "forced", "implicit", "little_endian", "long_head", "plain_head", "short_head"
    )  # fmt: skip

    def __init__(
        self,
        implicit: bool,
        little_endian: bool,
        encapsulated: bool,
        default: CharacterSet,
        forced: CharacterSet | None,
    ) -> None:
        self.implicit, self.little_endian, self.encapsulated = implicit, little_endian, encapsulated
        self.default, self.forced = default, forced
        order = "<" if little_endian else ">"
        self.short_head = Struct(order + ("HHL" if implicit else "HH2sH")).pack
        self.long_head = Struct(order + ("HHL" if implicit else "HH2s2xL")).pack
        self.plain_head = Struct("<4sL" if implicit else "<6sH").pack

    def dataset(self, dataset: Dataset, inherited: CharacterSet, enclosing: tuple[Dataset, ...]) -> list[bytes]:
        """Encode a data set or item. `inherited` is the character set of what encloses it (PS3.5 7.5.3)."""
        out: list[bytes] = []
        scope = _Scope(dataset, inherited, self.forced, enclosing)
        quick = self.little_endian and not scope.charset.has_escapes  # ASCII text is then the same in the character set
        # Sorted as int, since a BaseTag compares in Python.
        elements = sorted(zip(map(int, dataset.keys()), dataset.items(), strict=True))
        if self.forced is not None and not enclosing and _SPECIFIC_CHARACTER_SET not in dataset:
            added = DataElement(_SPECIFIC_CHARACTER_SET, "CS", "")
            elements = sorted([*elements, (_SPECIFIC_CHARACTER_SET, (added.tag, added))])
        for tag, (key, element) in elements:
            try:
                if type(element) is DataElement and quick and (plain := self._plain(tag, element, scope.charset)):
                    out += plain
                    continue
                if is_left_out(tag):
                    continue
                if tag == _SPECIFIC_CHARACTER_SET:
                    named = charsets.lookup(element.value)
                    scope.declare(self.default if named.is_default else named, self.forced)
                    quick = self.little_endian and not scope.charset.has_escapes
                    if self.forced is not None:
                        if not enclosing:
                            self._add(out, tag, "CS", "\\".join(self.forced.terms).encode(), False, top=True)
                        continue
                if isinstance(element, RawDataElement) and element.value is None and element.length:
                    element = dataset[key]  # pydicom left its value in the file
                if isinstance(element, RawDataElement):
                    vr, encoded, opens = self._raw(tag, element, scope)
                else:
                    vr, encoded, opens = self._element(tag, element, scope)
                self._add(out, tag, vr, encoded, opens, top=not enclosing)
            except DatasetEncodeError as error:
                if str(error)[:1] == "(":
                    raise
                raise type(error)(f"{key}: {error}") from None
            except (RecursionError, MemoryError):
                raise
            except Exception as error:  # the kind of error depends on the VR, and its text may quote the value
                raise DatasetEncodeError(f"{key}: a value that its VR cannot have ({type(error).__name__})") from None
        return out

    def _plain(self, tag: int, element: DataElement, charset: CharacterSet) -> tuple[bytes, bytes] | None:
        """Encode an element of the kinds that identifiers consist of; None for any other.

        It must be Little Endian, and ASCII text the same in this character set. It takes 0.4 us; `_element` and `_add`,
        which handle everything, take 0.6 us.
        """
        plain = _plain_head(tag, element.VR, self.implicit)
        if plain is None or element.is_undefined_length:
            return None
        head, pad, encode = plain
        value: Any = element.value
        if (type(value) is str or type(value) is UID) and value.isascii():
            encoded = value.encode()
            if len(encoded) & 1:
                encoded += pad
        elif value is None:
            encoded = b""
        elif (found := encode(value, charset)) is not None:
            encoded = found + pad if len(found) & 1 else found
        else:
            return None
        if len(encoded) > 0xFFFF:
            return None
        return self.plain_head(head, len(encoded)), encoded

    def _add(self, out: list[bytes], tag: int, vr: str, encoded: bytes, opens: bool, *, top: bool) -> None:
        if self.implicit and not self._is_readable(tag, vr, encoded, opens):
            warn_of_unreadable(tag, vr)
            return
        pad = b""
        if len(encoded) & 1 and not opens:
            pad = PADDING.get(vr or vr_in_dictionary(tag) or "UN", b"\0")
        length = UNDEFINED_LENGTH if opens else len(encoded) + len(pad)
        if opens and vr != "SQ":
            if not self.encapsulated:
                raise DatasetEncodeError("encapsulated, and the transfer syntax is not")
            if encoded[:4] not in _ITEM:
                raise DatasetEncodeError("not encapsulated, though its length is undefined (PS3.5 A.4)")
        elif tag == _PIXEL_DATA and self.encapsulated and top:
            raise DatasetEncodeError("not encapsulated, and the transfer syntax is (PS3.5 A.4)")
        if self.implicit:
            out.append(self.short_head(tag >> 16, tag & 0xFFFF, length))
        elif vr in EXPLICIT_VR_LENGTH_32:
            out.append(self.long_head(tag >> 16, tag & 0xFFFF, vr.encode(), length))
        elif length > 0xFFFF:
            # PS3.5 6.2.2: a value too long for its VR becomes UN, for example a Failed SOP Instance UID List of 1,100
            out.append(self.long_head(tag >> 16, tag & 0xFFFF, b"UN", length))
        else:
            out.append(self.short_head(tag >> 16, tag & 0xFFFF, vr.encode(), length))
        out.append(encoded)
        if pad:
            out.append(pad)
        if opens:
            out.append(_SEQUENCE_DELIMITATION if self.little_endian else _SEQUENCE_DELIMITATION_BIG)

    @staticmethod
    def _is_readable(tag: int, vr: str, encoded: bytes, opens: bool) -> bool:
        """Return whether a reader of Implicit VR, which has only the dictionary, finds the end and items of a value."""
        known = vr_in_dictionary(tag)
        if vr == "SQ":
            return known in ("SQ", "UN", None)
        return known != "SQ" or not encoded or (vr == "UN" and _has_items(encoded))

    def _raw(self, tag: int, raw: RawDataElement, scope: _Scope) -> tuple[str, bytes, bool]:
        """Return the VR and the value of an element that is still encoded, and whether its length is undefined."""
        value, opens = raw.value or b"", raw.length == UNDEFINED_LENGTH
        same_order = raw.is_little_endian == self.little_endian
        vr = raw.VR
        if vr is None:
            vr = implicit_vr(tag, scope.around[0])
            if vr in AMBIGUOUS_VRS:
                vr = concrete_vr(vr, tag, scope.around, from_implicit=True)
        if vr == "SQ":
            same = scope.stays and same_order and raw.is_implicit_VR == self.implicit
            if same and isinstance(scope.around[0], DecodedDataset):  # only of our own it is known what is in them
                return vr, value, opens
            # One item at a time: a sequence may have ten thousand, each of which is ten objects.
            items = each_item(value, raw.is_implicit_VR, raw.is_little_endian, scope.source or scope.declared)
            try:
                return vr, self._items(items, scope), opens
            except DatasetDecodeError:
                if vr_in_dictionary(tag) == "SQ":
                    raise DatasetEncodeError("a sequence that does not hold items") from None
                return "UN", value, False
        if not scope.stays and vr in CUSTOMIZABLE_CHARSET_VR and not (value.isascii() and b"\x1b" not in value):
            text = (scope.source or scope.declared).decode(value, vr)
            return vr, scope.charset.encode(text.rstrip("\0 "), vr), False
        if not same_order and not opens and vr in WORD_SIZES:
            value = swapped(value, WORD_SIZES[vr])
        return vr, value, opens

    def _element(self, tag: int, element: DataElement, scope: _Scope) -> tuple[str, bytes, bool]:
        vr, value = element.VR, element.value
        opens = element.is_undefined_length
        if vr == "SQ":
            return vr, self._items(value or (), scope), opens
        if vr in AMBIGUOUS_VRS:
            if tag == _PIXEL_DATA and opens:
                vr = "OB"
            else:
                vr = concrete_vr(vr, tag, scope.around, from_implicit=bool(scope.around[0].original_encoding[0]))
            if not isinstance(value, bytes):
                element = DataElement(element.tag, vr, value, already_converted=True)
        kind = type(value)
        if value is None or (kind is str and not value):
            return vr, b"", opens
        if plain := PLAIN.get(vr):
            encoded = plain(value, scope.charset)
            if encoded is not None:
                return vr, encoded, opens
        elif kind is int and (integer := _INTEGERS.get(vr)):
            return vr, value.to_bytes(integer[0], "little" if self.little_endian else "big", signed=integer[1]), opens
        elif kind is bytes:  # words, or an ambiguous US or SS that was never decoded
            came_in = scope.around[0].original_encoding[1]
            if came_in not in (None, self.little_endian) and vr in WORD_SIZES and not opens:
                value = swapped(value, WORD_SIZES[vr])
            return vr, value, opens
        return vr, self._general(vr, element, scope.charset), opens

    def _general(self, vr: str, element: DataElement, charset: CharacterSet) -> bytes:
        """Encode a value with pydicom's writer for its VR."""
        if element.is_empty:
            return b""
        buffer = DicomBytesIO()
        buffer.is_little_endian, buffer.is_implicit_VR = self.little_endian, self.implicit
        write, parameter = writers[vr]  # type: ignore[index]
        if parameter is not None:
            write(buffer, element, parameter)  # type: ignore[operator]
        elif vr in CUSTOMIZABLE_CHARSET_VR:
            write(buffer, element, encodings=list(charset.codecs))  # type: ignore[operator]
        else:
            write(buffer, element)  # type: ignore[operator]
        return buffer.getvalue()

    def _items(self, items: Iterable[Dataset], scope: _Scope) -> bytes:
        out: list[bytes] = []
        for item in items:
            content = b"".join(self.dataset(item, scope.declared, scope.around))
            opens = bool(getattr(item, "is_undefined_length_sequence_item", False))
            order = "<" if self.little_endian else ">"
            out.append(pack(order + "HHL", 0xFFFE, 0xE000, UNDEFINED_LENGTH if opens else len(content)))
            out.append(content)
            if opens:
                out.append(pack(order + "HHL", 0xFFFE, 0xE00D, 0))
        return b"".join(out)


def _has_items(value: bytes) -> bool:
    """Return whether the value of an element with the VR UN contains items."""
    try:
        for _ in each_item(value, True, True, charsets.DEFAULT):
            pass
    except DatasetDecodeError:
        return False
    return True


@lru_cache(maxsize=1024)
def _is_same(source: CharacterSet, target: CharacterSet) -> bool:
    """Return whether the bytes of one set can be copied to the other. pydicom may have misread the source alike."""
    return target.codecs == source.codecs or charsets.codecs_by_pydicom(target.terms) == source.codecs


@lru_cache(maxsize=16)
def _writer(
    implicit: bool, little_endian: bool, encapsulated: bool, default: CharacterSet, forced: CharacterSet | None
) -> _Writer:
    return _Writer(implicit, little_endian, encapsulated, default, forced)


@lru_cache(maxsize=4096)
def _plain_head(tag: int, vr: str, implicit: bool) -> tuple[bytes, bytes, PlainEncoder] | None:
    """Return, for an element of text with a length of two bytes, its header up to the length, its padding and encoder.

    The header is Little Endian. None for any other element.
    """
    encode = PLAIN.get(vr)
    if encode is None or vr in EXPLICIT_VR_LENGTH_32:
        return None
    if tag in (_SPECIFIC_CHARACTER_SET, _PIXEL_DATA) or is_left_out(tag):
        return None
    if implicit and vr_in_dictionary(tag) == "SQ":
        return None
    head = pack("<HH", tag >> 16, tag & 0xFFFF) + (b"" if implicit else vr.encode())
    return head, PADDING[vr], encode


def warn_of_unreadable(tag: int, vr: str) -> None:
    """Log that an element is not written, because Implicit VR cannot express it."""
    _log.warning(
        "(%04X,%04X) is left out: it came as %s, and no reader of Implicit VR could read that",
        tag >> 16, tag & 0xFFFF, vr,
    )  # fmt: skip


def is_left_out(tag: int) -> bool:
    """Return whether a tag is never written: command elements, file meta elements and Group Length (PS3.5 7.2)."""
    return tag < 0x00030000 or (tag & 0xFFFF == 0 and tag > 0x0006FFFF)
