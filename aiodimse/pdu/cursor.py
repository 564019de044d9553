"""The alphabet: all that PS3.8 9.3 and PS3.7 D.3.3 write their fields with. Big endian, lengths of 16 bits.

Reading is a Cursor, which never leaves its bounds and says in its errors where it stood; writing is the functions
below it. No file above this one has an offset or a struct format in it, but for the two headers of P-DATA-TF that must
be quick.
"""

from __future__ import annotations

from collections.abc import Iterator

from aiodimse.errors import LocalProtocolError, PDUDecodeError

PADDING = b" \0"
"""Standard: trailing spaces for AE titles, nothing for UIDs (PS3.8 9.3.2, F.1). Peers send NUL in both, and spaces
after UIDs."""

UID_LENGTH = 64
AE_TITLE_LENGTH = 16

MAX_ITEMS = 16384
"""Items and sub-items in one PDU, more than 128 contexts with every transfer syntax there is; a mebibyte of empty ones
would hold an event loop for half a second."""


class Cursor:
    """A place in a PDU, between the bounds of one item. Offsets are from the start of the PDU."""

    __slots__ = ("_budget", "_data", "_end", "_name", "_start", "at")

    def __init__(self, data: bytes, start: int, end: int, name: str, budget: list[int] | None = None) -> None:
        self._data, self._start, self._end, self._name = data, start, end, name
        self._budget = [MAX_ITEMS] if budget is None else budget
        self.at = start

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

    def items(self, names: dict[int, str]) -> Iterator[tuple[int, Cursor]]:
        """Every item up to the end: its type, and a cursor over its value."""
        while self.left:
            if self.left < 4:
                raise self.error(f"{self.left} bytes left, an item header takes 4", "Item-length")
            if self._budget[0] == 0:
                raise self.error(f"more than {MAX_ITEMS} items", "Item-type")
            self._budget[0] -= 1
            item_type = self.u8("Item-type")
            self.at += 1  # reserved
            size = self.u16("Item-length")
            name = names.get(item_type) or f"item {item_type:02X}H"
            item = Cursor(self._data, self.at, self.at + size, name, self._budget)
            if size > self.left:
                raise item.error(f"{size} bytes announced, {self.left} left", "Item-length", self.at - 2)
            self.at += size
            yield item_type, item

    def done(self) -> None:
        """The value ends here: an item longer than its fields is as wrong as one that is shorter."""
        if self.left:
            raise self.error(f"{self.left} bytes more than its fields", "Item-length", self._start - 2)


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
