"""Reads and writes the fields of PDUs and their items (PS3.8 9.3, PS3.7 D.3.3): big endian, with lengths of 16 bits.

A `Cursor` reads. It never leaves its bounds, and its errors say at which offset it stood. The functions below it write.
No other file has an offset or a struct format in it, except for the two headers of P-DATA-TF, which must be fast.
"""

from __future__ import annotations

from collections.abc import Iterator

from aiodimse.errors import LocalProtocolError, PDUDecodeError
from aiodimse.standard import leniency
from aiodimse.standard.leniency import Leniency, Tolerated
from aiodimse.standard.values import AE_TITLE_LENGTH, UID_LENGTH, trimmed_ae_title

PADDING = b" \0"
"""What is stripped from AE titles and UIDs. The standard pads AE titles with spaces and UIDs with nothing (PS3.8 9.3.2,
F.1); some peers pad either with NUL, and UIDs with spaces."""

MAX_ITEMS = 8192
"""The most items and sub-items in one PDU: enough for 128 contexts with every transfer syntax, and more than other
items need. Each item costs time on the event loop, so they are counted before they are decoded."""
MAX_ITEMS_OF_KIND = 512
"""The most items of the PDU itself, and the most sub-items of its user information: one for each of 128 contexts in
each of three kinds, and some of other kinds."""


class Reading:
    """The state that all cursors over one PDU share: how many items may still come, and what was tolerated."""

    __slots__ = ("items_left", "strict", "tolerated")

    def __init__(self, strict: bool = False) -> None:
        self.strict: bool = strict
        self.items_left: int = MAX_ITEMS
        self.tolerated: dict[Leniency, Tolerated] = {}
        """The first case of each leniency."""

    def tolerate(self, row: Leniency, error: PDUDecodeError) -> None:
        """Record an error that is tolerated, or raise it if strict."""
        if self.strict:
            raise error
        self.tolerated.setdefault(row, Tolerated(row, str(error)))


class Cursor:
    """A position in a PDU, between the bounds of one item. Offsets are counted from the start of the PDU."""

    __slots__ = ("_data", "_end", "_name", "_start", "at", "reading")

    def __init__(self, data: bytes, start: int, end: int, name: str, reading: Reading) -> None:
        self._data, self._start, self._end, self._name = data, start, end, name
        self.reading: Reading = reading
        self.at: int = start

    @property
    def left(self) -> int:
        """How many bytes are left."""
        return self._end - self.at

    def error(self, message: str, field: str, offset: int | None = None, reason: int = 6) -> PDUDecodeError:
        """Make the error for a field that is not valid, at the current offset or another one."""
        where = self.at if offset is None else offset
        return PDUDecodeError(f"{self._name}: {message}", field=field, offset=where, reason=reason)

    # --- fields ---

    def take(self, size: int, field: str) -> bytes:
        """Read a number of bytes."""
        if size > self.left:
            raise self.error(f"{size} bytes needed, {self.left} left", field)
        start = self.at
        self.at += size
        return self._data[start : self.at]

    def whole(self) -> bytes:
        """Return all bytes of the item, whatever has been read of it."""
        return self._data[self._start : self._end]

    def rest(self) -> bytes:
        """Read all bytes that are left."""
        return self.take(self.left, "")

    def u8(self, field: str) -> int:
        """Read a number of one byte."""
        return self.take(1, field)[0]

    def u16(self, field: str) -> int:
        """Read a number of two bytes."""
        return int.from_bytes(self.take(2, field), "big")

    def u32(self, field: str) -> int:
        """Read a number of four bytes."""
        return int.from_bytes(self.take(4, field), "big")

    def text(self, size: int, field: str) -> str:
        """Read a field of text, without spaces at its ends, which are not significant (PS3.8 9.3.2).

        The standard allows ISO 646 only. Some peers send letters of their language; Latin-1 decodes any byte.
        """
        return self.take(size, field).strip(PADDING).decode("latin-1")

    def ae_title(self, field: str) -> str:
        """Read an AE title, which is padded with spaces (PS3.8 9.3.2). If a peer has a NUL in it, the title ends
        there."""
        start = self.at
        text = self.take(AE_TITLE_LENGTH, field).decode("latin-1")
        if text.partition("\0")[2].strip(" \0"):
            if self.reading.strict:
                return text.strip(" \0")
            self.reading.tolerate(leniency.AE_TITLE_AFTER_NUL, self.error("bytes behind a NUL", field, start))
        return trimmed_ae_title(text)

    def uid(self, size: int, field: str) -> str:
        """Read a UID of at most 64 ASCII characters, without its padding. Its syntax is not checked here."""
        start = self.at
        raw = self.take(size, field).strip(PADDING)
        if len(raw) > UID_LENGTH:
            raise self.error(f"{len(raw)} characters, a UID has {UID_LENGTH} at most", field, start)
        if not raw.isascii():
            raise self.error("not ASCII", field, start)
        return raw.decode("ascii")

    # --- items ---

    def items(self, names: dict[int, str], most: int = MAX_ITEMS) -> Iterator[tuple[int, Cursor]]:
        """Yield the type and a cursor over the value of each item up to the end. More than `most` items are an
        error."""
        for item_type, start, stop in self.spans(names, most):
            yield item_type, self.item(item_type, start, stop, names)

    def spans(self, names: dict[int, str], most: int = MAX_ITEMS) -> Iterator[tuple[int, int, int]]:
        """Yield the type, the start and the end of the value of each item. It is what `items` does, without the
        cursors."""
        data, end, reading = self._data, self._end, self.reading
        at = self.at
        while at < end:
            self.at = at
            if end - at < 4:
                raise self.error(f"{end - at} bytes left, an item header takes 4", "Item-length")
            most -= 1
            reading.items_left -= 1
            if most < 0 or reading.items_left < 0:
                raise self.error("more items than there can be", "Item-type")
            item_type, start = data[at], at + 4  # and a reserved byte
            at = start + (data[at + 2] << 8 | data[at + 3])
            if at > end:
                item = self.item(item_type, start, at, names)
                raise item.error(f"{at - start} bytes announced, {end - start} left", "Item-length", start - 2)
            self.at = at
            yield item_type, start, at

    def item(self, item_type: int, start: int, stop: int, names: dict[int, str]) -> Cursor:
        """Return a cursor over the value of an item."""
        return Cursor(self._data, start, stop, names.get(item_type) or f"item {item_type:02X}H", self.reading)

    def between(self, start: int, stop: int) -> bytes:
        """Return the bytes between two offsets."""
        return self._data[start:stop]

    def done(self) -> None:
        """Check that the item ends here. Bytes that are left are padding, which the standard does not allow."""
        if self.left:
            error = self.error(f"{self.left} bytes more than its fields", "Item-length", self._start - 2)
            self.reading.tolerate(leniency.ASSOCIATE_SUB_ITEM_PADDING, error)


# --- writing ----------------------------------------------------------------------------------------------------------


def number(value: int, size: int, field: str) -> bytes:
    """Encode a number in a number of bytes."""
    try:
        return value.to_bytes(size, "big")
    except OverflowError:
        raise LocalProtocolError(f"{field}: {value} does not fit in {size} bytes") from None


def u8(value: int, field: str) -> bytes:
    """Encode a number in one byte."""
    return number(value, 1, field)


def u16(value: int, field: str) -> bytes:
    """Encode a number in two bytes."""
    return number(value, 2, field)


def u32(value: int, field: str) -> bytes:
    """Encode a number in four bytes."""
    return number(value, 4, field)


def text(value: str, field: str, size: int | None = None) -> bytes:
    """Encode text in Latin-1, so that what `Cursor.text` has read can be written again. Pad it with spaces to `size`,
    if that is given."""
    try:
        raw = value.encode("latin-1")
    except UnicodeEncodeError:
        raise LocalProtocolError(f"{field}: {value!r} cannot be encoded") from None
    if size is None:
        return raw
    if len(raw) > size:
        raise LocalProtocolError(f"{field}: {value!r} is longer than {size} characters")
    return raw.ljust(size)


def uid(value: str, field: str) -> bytes:
    """Encode a UID. It is not padded (PS3.8 F.1), unlike the UIDs of data sets."""
    if len(value) > UID_LENGTH or not value.isascii():
        raise LocalProtocolError(f"{field}: {value!r} is not a UID")
    return value.encode("ascii")


def fixed(value: bytes, size: int, field: str) -> bytes:
    """Return a value, which must have this length."""
    if len(value) != size:
        raise LocalProtocolError(f"{field}: {len(value)} bytes instead of {size}")
    return value


def sized(value: bytes, field: str) -> bytes:
    """Encode a field that follows its own length."""
    return u16(len(value), f"{field}-length") + value


def item(item_type: int, *parts: bytes) -> bytes:
    """Encode an item: its type, its length, and its value in parts."""
    value = b"".join(parts)
    return u8(item_type, "Item-type") + b"\0" + sized(value, f"item {item_type:02X}H")
