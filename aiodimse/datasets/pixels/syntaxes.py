"""Which compressed transfer syntaxes can be decoded and encoded, and the packages that are needed."""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from typing import Final

from aiodimse.datasets.dataset import RE_ENCODED
from aiodimse.standard import transfer_syntax as syntaxes

EXTRA: Final = "aiodimse[codecs]"
"""The extra to install."""
_PACKAGES: Final = ("numpy", "imagecodecs")

DECODED: Final = (
    syntaxes.EncapsulatedUncompressedExplicitVRLittleEndian,
    syntaxes.JPEGBaseline8Bit,
    syntaxes.JPEGExtended12Bit,
    syntaxes.JPEGLossless,
    syntaxes.JPEGLosslessSV1,
    syntaxes.JPEGLSLossless,
    syntaxes.JPEGLSNearLossless,
    syntaxes.JPEG2000Lossless,
    syntaxes.JPEG2000,
    syntaxes.HTJ2KLossless,
    syntaxes.HTJ2KLosslessRPCL,
    syntaxes.HTJ2K,
    syntaxes.RLELossless,
)
"""Compressed transfer syntaxes whose frames are decoded. Video is not: its frames depend on each other."""

ENCODED: Final = (
    syntaxes.JPEGLosslessSV1,
    syntaxes.JPEGLossless,
    syntaxes.JPEGLSLossless,
    syntaxes.JPEG2000Lossless,
    syntaxes.HTJ2KLossless,
    syntaxes.RLELossless,
)
"""Transfer syntaxes in which frames are encoded. Each of them is lossless by definition."""

LOSSY_METHODS: Final[dict[str, str]] = {
    syntaxes.JPEGBaseline8Bit: "ISO_10918_1",
    syntaxes.JPEGExtended12Bit: "ISO_10918_1",
    syntaxes.JPEGLSNearLossless: "ISO_14495_1",
    syntaxes.JPEG2000: "ISO_15444_1",
    syntaxes.HTJ2K: "ISO_15444_15",
}
"""Lossy Image Compression Method (0028,2114) of the transfer syntaxes that may be lossy (PS3.3 C.7.6.1.1.5.1)."""
MAY_BE_LOSSLESS: Final[frozenset[str]] = frozenset((syntaxes.JPEG2000, syntaxes.HTJ2K))
"""Those of them that may also be lossless; the code stream says which."""


def can_recompress(source: str, target: str) -> bool:
    """Return whether pixels can be converted from one transfer syntax to another without changing a value.

    Args:
        source: The UID of the transfer syntax of an instance.
        target: The UID of the transfer syntax that a peer accepts. Explicit VR Big Endian is retired, and never is one.
    """
    if source == target or target == syntaxes.ExplicitVRBigEndian:
        return False
    if source in DECODED:
        return target in RE_ENCODED or target in ENCODED
    return source in RE_ENCODED and target in ENCODED


@cache
def has_codecs() -> bool:
    """Return whether the packages of the extra are installed. They are not imported here."""
    return all(find_spec(name) is not None for name in _PACKAGES)
