"""SOP class extended negotiation of the query and retrieve services: bytes as named booleans (PS3.4 C.5)."""

from dataclasses import astuple, fields
from typing import TypeAlias, TypeVar

from aiodimse.record import record
from aiodimse.standard import extended as rows
from aiodimse.standard import sop_class

_T = TypeVar("_T", bound="_Flags")


class _Flags:
    """One byte for each field, in the order of the fields. 1 means support or use; a missing byte means 0."""

    __slots__ = ()

    def __bytes__(self) -> bytes:
        return bytes(astuple(self))  # type: ignore[call-overload]

    @classmethod
    def from_bytes(cls: type[_T], info: bytes) -> _T:
        """Read the flags from service-class-application-information of any length.

        Args:
            info: The bytes, one for each field. Bytes behind the last field are ignored.
        """
        return cls(*(bool(byte) for byte in info[: len(fields(cls))]))  # type: ignore[arg-type]


@record(frozen=True)
class ExtendedQuery(_Flags):
    """The extended negotiation of a C-FIND SOP class: seven bytes (PS3.4 C.5.1)."""

    relational: bool = False
    """Relational queries: keys of any level, without the Unique Keys of the levels above."""
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
    """The extended negotiation of a C-GET or C-MOVE SOP class: two bytes. Composite Instance Root Retrieve uses only
    the second (PS3.4 Y)."""

    relational: bool = False
    """Relational retrieval: the Unique Keys of the levels above may be left out."""
    enhanced_multi_frame: bool = False
    """The query/retrieve view, as in ExtendedQuery."""


Extended: TypeAlias = bytes | ExtendedQuery | ExtendedRetrieve
"""Service-class-application-information: as booleans, or as the bytes of the wire."""


def typed(uid: str, info: bytes) -> Extended:
    """Decode service-class-application-information.

    Returns:
        Booleans, or the bytes if the SOP class is unknown or its bytes are not booleans. A byte that has one fixed
        value in every negotiation carries no information: its boolean is False.
    """
    row = sop_class.lookup(uid)
    if row is None or not any(byte.agreed for byte in rows.fields(row)):
        return info
    flags = ExtendedQuery if "C-FIND" in row.commands else ExtendedRetrieve
    return flags.from_bytes(_with(info, dict.fromkeys(rows.fixed_bytes(row), 0)))


def encoded(uid: str, extended: Extended) -> bytes:
    """Encode service-class-application-information. Bytes stay as they are; of booleans those are encoded that the SOP
    class defines."""
    if isinstance(extended, bytes):
        return extended
    info, row = bytes(extended), sop_class.lookup(uid)
    if row is None or not (defined := rows.fields(row)):
        return info
    return _with(info[: defined[-1].position + 1], rows.fixed_bytes(row))


def both(uid: str, offered: bytes, ours: bytes) -> bytes:
    """Return the answer to an offer: byte by byte what both sides support, and never more bytes than were offered.

    If a byte is a statement and not an agreement, as for storage (PS3.4 B.3.1), the answer has the acceptor's own
    value. Bytes that the service class does not define are 0. Of an unknown class all bytes may be defined.
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
    return _with(answer, rows.fixed_bytes(row))


def _with(info: bytes | bytearray, values: dict[int, int]) -> bytes:
    """Return the same bytes with other values at some positions, as far as these positions exist."""
    changed = bytearray(info)
    for position, value in values.items():
        if position < len(changed):
            changed[position] = value
    return bytes(changed)
