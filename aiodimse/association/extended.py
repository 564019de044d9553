"""SOP class extended negotiation of the query and retrieve services, typed: named booleans <-> bytes (PS3.4 C.5)."""

from dataclasses import astuple, fields
from typing import TypeAlias, TypeVar

from aiodimse.record import record
from aiodimse.standard import extended as rows
from aiodimse.standard import sop_class

_T = TypeVar("_T", bound="_Flags")


class _Flags:
    """One byte a field, in their order; 1 is support or use, a byte that is missing is 0."""

    __slots__ = ()

    def __bytes__(self) -> bytes:
        return bytes(astuple(self))  # type: ignore[call-overload]

    @classmethod
    def from_bytes(cls: type[_T], info: bytes) -> _T:
        """The flags in service-class-application-information of any length; what is beyond the fields is ignored."""
        return cls(*(bool(byte) for byte in info[: len(fields(cls))]))  # type: ignore[arg-type]


@record(frozen=True)
class ExtendedQuery(_Flags):
    """C-FIND: seven bytes (PS3.4 C.5.1)."""

    relational: bool = False
    """Relational queries: keys of any level, and no unique key of the levels above demanded."""
    date_time: bool = False
    """A date range and a time range together are one range of date-times."""
    fuzzy_names: bool = False
    """Fuzzy semantic matching of person names."""
    timezone: bool = False
    """Times are adjusted by Timezone Offset From UTC."""
    enhanced_multi_frame: bool = False
    """The query/retrieve view: enhanced multi-frame images beside or instead of what they were converted from."""
    empty_value_matching: bool = False
    """A key of two quotation marks matches an empty value."""
    multiple_value_matching: bool = False
    """Several values in a key must all be matched (PS3.4 C.2.2.2.8)."""


@record(frozen=True)
class ExtendedRetrieve(_Flags):
    """C-GET and C-MOVE: two bytes. Composite Instance Root Retrieve uses the second alone (PS3.4 Y)."""

    relational: bool = False
    """Relational retrieval: no unique key of the levels above demanded."""
    enhanced_multi_frame: bool = False
    """As for a query."""


Extended: TypeAlias = bytes | ExtendedQuery | ExtendedRetrieve
"""Service-class-application-information, typed or as it is on the wire."""


def typed(uid: str, info: bytes) -> Extended:
    """Service-class-application-information of a SOP class as its booleans; as bytes where it has no such, or is a
    class that we do not know. Bytes that always have one value say nothing: their booleans are False."""
    row = sop_class.lookup(uid)
    if row is None or not any(byte.agreed for byte in rows.fields(row)):
        return info
    flags = ExtendedQuery if "C-FIND" in row.commands else ExtendedRetrieve
    return flags.from_bytes(_with(info, dict.fromkeys(rows.fixed(row), 0)))


def encoded(uid: str, extended: Extended) -> bytes:
    """What we offer or support as service-class-application-information: bytes as they are, booleans as far as the SOP
    class defines them."""
    if isinstance(extended, bytes):
        return extended
    info, row = bytes(extended), sop_class.lookup(uid)
    if row is None or not (defined := rows.fields(row)):
        return info
    return _with(info[: defined[-1].position + 1], rows.fixed(row))


def both(uid: str, offered: bytes, ours: bytes) -> bytes:
    """The answer to an offer: byte by byte what both sides support, never longer than the offer.

    Where the bytes are statements and not agreements, as for storage (PS3.4 B.3.1), the acceptor's own. Bytes that the
    service class does not define are 0; of a class that we do not know all may be defined.
    """
    ours = ours[: len(offered)].ljust(len(offered), b"\0")
    row = sop_class.lookup(uid)
    defined = {byte.position: byte.agreed for byte in rows.fields(row)} if row is not None else {}
    if row is None or not defined:
        return bytes(a & b for a, b in zip(offered, ours, strict=True))
    answer = bytearray(len(offered))
    for index, agreed in defined.items():
        if index < len(offered):
            answer[index] = offered[index] & ours[index] if agreed else ours[index]
    return _with(answer, rows.fixed(row))


def _with(info: bytes | bytearray, values: dict[int, int]) -> bytes:
    """The same bytes with other values at some places, as far as there are these places."""
    changed = bytearray(info)
    for position, value in values.items():
        if position < len(changed):
            changed[position] = value
    return bytes(changed)
