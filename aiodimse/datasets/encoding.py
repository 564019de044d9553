"""Recognizes the encoding of a data set by its first element, for files without file meta information."""

from __future__ import annotations

from struct import Struct
from typing import Final

from aiodimse.datasets.element_headers import LONG_VRS, SHORT_VRS
from aiodimse.standard.transfer_syntax import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    TransferSyntax,
)

_little: Final = Struct("<HH").unpack_from
_big: Final = Struct(">HH").unpack_from


def encoding_of(data: bytes | memoryview) -> TransferSyntax | None:
    """Determine from the first bytes of a data set which of the three encodings of PS3.5 7.1 it has.

    Args:
        data: The first bytes; eight are enough.

    Returns:
        Explicit VR Little Endian, Explicit VR Big Endian or Implicit VR Little Endian; None if there are fewer than
        eight bytes. Implicit VR has nothing to recognize it by, so it is assumed for whatever is not Explicit VR.
    """
    if len(data) < 8:
        return None
    vr = bytes(data[4:6])
    if vr not in SHORT_VRS and vr not in LONG_VRS:
        return ImplicitVRLittleEndian
    # A data set begins with a low group. Read in the wrong byte order, 0008 is 0800.
    return ExplicitVRLittleEndian if _little(data)[0] <= _big(data)[0] else ExplicitVRBigEndian
