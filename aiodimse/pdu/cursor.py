"""The alphabet: all that PS3.8 9.3 and PS3.7 D.3.3 write their fields with. Big endian, lengths of 16 bits.

Reading is a Cursor, which never leaves its bounds and says in its errors where it stood; writing is the functions
below it. No file above this one has an offset or a struct format in it, but for the two headers of P-DATA-TF that must
be quick.
"""

from __future__ import annotations

from collections.abc import Iterator

from aiodimse.errors import LocalProtocolError, PDUDecodeError
from aiodimse.standard import leniency
from aiodimse.standard.leniency import Leniency, Tolerated
from aiodimse.standard.values import AE_TITLE_LENGTH, UID_LENGTH, trimmed_ae_title

PADDING = b" \0"
"""Standard: trailing spaces for AE titles, nothing for UIDs (PS3.8 9.3.2, F.1). Peers send NUL in both, and spaces
after UIDs."""

MAX_ITEMS = 8192
"""Items and sub-items in one PDU: 128 contexts with every transfer syntax there is, and what else one can have. Each
takes time on the event loop, so they are counted before they are looked at."""
MAX_ITEMS_OF_KIND = 512
"""Items of the PDU itself, and sub-items of the user information: one for each of 128 contexts in each of three kinds,
and some of others."""


class Reading:
    """What the cursors over one PDU share: how many items may still come, and what was tolerated."""

    __slots__ = ("items_left", "strict", "tolerated")

    def __init__(self, strict: bool = False) -> None:
        self.strict: bool = strict
        self.items_left: int = MAX_ITEMS
        self.tolerated: dict[Leniency, Tolerated] = {}
        """The first case of each leniency."""

    def tolerate(self, row: Leniency, error: PDUDecodeError) -> None:
        """Go on in spite of this error, or raise it where nothing is tolerated."""
        if self.strict:
            raise error
        self.tolerated.setdefault(row, Tolerated(row, str(error)))


class Cursor:
    """A place in a PDU, between the bounds of one item. Offsets are from the start of the PDU."""

    __slots__ = ("_data", "_end", "_name", "_start", "at", "reading")

    def __init__(self, data: bytes, start: int, end: int, name: str, reading: Reading) -> None:
        self._data, self._start, self._end, self._name = data, start, end, name
        self.reading: Reading = reading
        self.at: int = start

    @property
    def left(self) -> int:
        return self._end - self.at

    def error(self, message: str, field: str, offset: int | None = None, reason: int = 6) -> PDUDecodeError:
        where = self.at if offset is None else offset
        return PDUDecodeError(f"{self._name}: {message}", field=field, offset=where, reason=reason)

    # --- fields ---

    def take(self, size: int, field: str) -> bytes:
        if size > self.left:
            raise self.error(f"{size} bytes needed, {self.left} left", field)
        start = self.at
        self.at += size
        return self._data[start : self.at]

    def whole(self) -> bytes:
        """All of the item, whatever of it has been read."""
        return self._data[self._start : self._end]

    def rest(self) -> bytes:
        return self.take(self.left, "")

    def u8(self, field: str) -> int:
        return self.take(1, field)[0]

    def u16(self, field: str) -> int:
        return int.from_bytes(self.take(2, field), "big")

    def u32(self, field: str) -> int:
        return int.from_bytes(self.take(4, field), "big")

    def text(self, size: int, field: str) -> str:
        """ISO 646 in the standard; some peers put their national letters in, and Latin-1 makes something of any byte.
        Spaces at both ends are not significant (PS3.8 9.3.2)."""
        return self.take(size, field).strip(PADDING).decode("latin-1")

    def ae_title(self, field: str) -> str:
        """An AE title. PS3.8 9.3.2 pads it with spaces; where a peer has a NUL it ends there."""
        start = self.at
        text = self.take(AE_TITLE_LENGTH, field).decode("latin-1")
        if text.partition("\0")[2].strip(" \0"):
            if self.reading.strict:
                return text.strip(" \0")
            self.reading.tolerate(leniency.AE_TITLE_AFTER_NUL, self.error("bytes behind a NUL", field, start))
        return trimmed_ae_title(text)

    def uid(self, size: int, field: str) -> str:
        """At most 64 ASCII characters after padding is gone; what they spell is a question for the floors above."""
        start = self.at
        raw = self.take(size, field).strip(PADDING)
        if len(raw) > UID_LENGTH:
            raise self.error(f"{len(raw)} characters, a UID has {UID_LENGTH} at most", field, start)
        if not raw.isascii():
            raise self.error("not ASCII", field, start)
        return raw.decode("ascii")

    # --- items ---

    def items(self, names: dict[int, str], most: int = MAX_ITEMS) -> Iterator[tuple[int, Cursor]]:
        """Every item up to the end, no more than `most`: its type, and a cursor over its value."""
        for item_type, start, stop in self.spans(names, most):
            yield item_type, self.item(item_type, start, stop, names)

    def spans(self, names: dict[int, str], most: int = MAX_ITEMS) -> Iterator[tuple[int, int, int]]:
        """As `items`, with where its value begins and ends in place of a cursor."""
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
        """A cursor over the value of an item."""
        return Cursor(self._data, start, stop, names.get(item_type) or f"item {item_type:02X}H", self.reading)

    def between(self, start: int, stop: int) -> bytes:
        """The bytes between two places."""
        return self._data[start:stop]

    def done(self) -> None:
        """The value ends here: what is left of an item is padding that it should not have."""
        if self.left:
            error = self.error(f"{self.left} bytes more than its fields", "Item-length", self._start - 2)
            self.reading.tolerate(leniency.ASSOCIATE_SUB_ITEM_PADDING, error)


# --- writing ----------------------------------------------------------------------------------------------------------


def number(value: int, size: int, field: str) -> bytes:
    try:
        return value.to_bytes(size, "big")
    except OverflowError:
        raise LocalProtocolError(f"{field}: {value} does not fit in {size} bytes") from None


def u8(value: int, field: str) -> bytes:
    return number(value, 1, field)


def u16(value: int, field: str) -> bytes:
    return number(value, 2, field)


def u32(value: int, field: str) -> bytes:
    return number(value, 4, field)


def text(value: str, field: str, size: int | None = None) -> bytes:
    """Latin-1, so that what was read can be written again; filled with spaces to size where one is given."""
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
    """Unpadded, as PS3.8 F.1 asks, though data sets pad theirs."""
    if len(value) > UID_LENGTH or not value.isascii():
        raise LocalProtocolError(f"{field}: {value!r} is not a UID")
    return value.encode("ascii")


def fixed(value: bytes, size: int, field: str) -> bytes:
    if len(value) != size:
        raise LocalProtocolError(f"{field}: {len(value)} bytes instead of {size}")
    return value


def sized(value: bytes, field: str) -> bytes:
    """A field after its length."""
    return u16(len(value), f"{field}-length") + value


def item(item_type: int, *parts: bytes) -> bytes:
    value = b"".join(parts)
    return u8(item_type, "Item-type") + b"\0" + sized(value, f"item {item_type:02X}H")
