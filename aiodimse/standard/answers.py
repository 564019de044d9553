"""The statuses with which the library itself answers (PS3.7 C, PS3.4 B.2.3 and C.4), by name.

`status.py` has a row for each that says what it means to a reader.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

SUCCESS, CANCEL, PENDING = 0x0000, 0xFE00, 0xFF00
STILL_PENDING = frozenset((PENDING, 0xFF01))
"""The statuses after which more responses follow (PS3.7 C.1.3)."""
RESPONSE_LIMIT_REACHED = 0xB001
"""C-FIND of the Repository Query: there are more matches than the provider sends (PS3.4 C.4.1)."""

# --- a request that is refused before a handler sees it ---------------------------------------------------------------

INVALID_SOP_INSTANCE, NO_SUCH_SOP_CLASS = 0x0117, 0x0118
SOP_CLASS_NOT_SUPPORTED, NOT_AUTHORIZED = 0x0122, 0x0124
DUPLICATE_INVOCATION, UNRECOGNIZED_OPERATION, MISTYPED_ARGUMENT, RESOURCE_LIMITATION = 0x0210, 0x0211, 0x0212, 0x0213

# --- a handler that failed; the services that RAISED does not name answer PROCESSING_FAILURE --------------------------

PROCESSING_FAILURE = 0x0110
NO_STATUS, INVALID_STATUS = 0xC001, 0xC002
RAISED: Mapping[str, int] = MappingProxyType({"C-STORE": 0xC211, "C-FIND": 0xC311, "C-GET": 0xC411, "C-MOVE": 0xC511})
NOT_ENCODED = 0xC312
"""C-FIND: a match that does not encode."""
INVALID_NUMBER: Mapping[str, int] = MappingProxyType({"C-GET": 0xC413, "C-MOVE": 0xC513})
"""The handler yielded something that is not a number of sub-operations."""
NOTHING_YIELDED: Mapping[str, int] = MappingProxyType({"C-GET": 0xC413, "C-MOVE": 0xC514})
INVALID_DESTINATION, UNKNOWN_DESTINATION = 0xC515, 0xA801

# --- a data set that does not decode; the services that NOT_DECODED does not name answer MISTYPED_ARGUMENT ------------

NOT_DECODED: Mapping[str, int] = MappingProxyType(
    {"C-STORE": 0xC210, "C-FIND": 0xC310, "C-GET": 0xC410, "C-MOVE": 0xC510}
)

# --- resources, and sub-operations ------------------------------------------------------------------------------------

OUT_OF_RESOURCES = 0xA700
NOT_THE_INSTANCE = 0xA900
"""C-STORE: the data set is not the instance that the command set names."""
CANNOT_COUNT_MATCHES, CANNOT_PERFORM_SUBOPERATIONS = 0xA701, 0xA702
SOME_FAILED = 0xB000
TOO_LARGE: Mapping[str, int] = MappingProxyType(
    {"C-FIND": OUT_OF_RESOURCES, "C-GET": CANNOT_COUNT_MATCHES, "C-MOVE": CANNOT_COUNT_MATCHES}
)
"""A data set over the Limits; the services that this does not name answer RESOURCE_LIMITATION."""
