"""Transfer syntaxes by their PS3.6 keywords, with what a reader has to know of their encoding (PS3.5 10, A)."""

from __future__ import annotations

from typing import Any


class TransferSyntax(str):
    """A Transfer Syntax UID: a str with the properties of its encoding."""

    __slots__ = ("deflated", "encapsulated", "implicit", "keyword", "little_endian", "retired")

    keyword: str
    """PS3.6 keyword, the name of the row."""
    implicit: bool
    """Whether it is Implicit VR; all others are Explicit VR."""
    little_endian: bool
    """Whether it is little endian: all are, except the retired Explicit VR Big Endian."""
    deflated: bool
    """Whether the whole data set is one Deflate stream (PS3.5 A.5)."""
    encapsulated: bool
    """Whether Pixel Data is a sequence of fragments (PS3.5 A.4)."""
    retired: bool
    """Whether the standard has retired it."""

    def __new__(
        cls,
        uid: str,
        *,
        implicit: bool = False,
        little_endian: bool = True,
        deflated: bool = False,
        encapsulated: bool = False,
        retired: bool = False,
    ) -> TransferSyntax:
        """Make a row. The end of this module sets its keyword."""
        self = super().__new__(cls, uid)
        self.keyword = ""
        self.implicit, self.little_endian, self.deflated = implicit, little_endian, deflated
        self.encapsulated, self.retired = encapsulated, retired
        return self

    def __getnewargs__(self) -> tuple[Any, ...]:
        return (str(self),)  # for copy and pickle, which restore the slots afterward


def _explicit(uid: str) -> TransferSyntax:
    return TransferSyntax(uid)


def _deflated(uid: str) -> TransferSyntax:
    return TransferSyntax(uid, deflated=True)


def _encapsulated(uid: str) -> TransferSyntax:
    return TransferSyntax(uid, encapsulated=True)


def _retired(uid: str) -> TransferSyntax:
    return TransferSyntax(uid, encapsulated=True, retired=True)


# fmt: off
# Native data sets (PS3.5 A.1, A.2, A.5; A.3 is retired)
ImplicitVRLittleEndian: TransferSyntax         = TransferSyntax("1.2.840.10008.1.2", implicit=True)
ExplicitVRLittleEndian: TransferSyntax         = _explicit("1.2.840.10008.1.2.1")
DeflatedExplicitVRLittleEndian: TransferSyntax = _deflated("1.2.840.10008.1.2.1.99")
ExplicitVRBigEndian: TransferSyntax            = TransferSyntax("1.2.840.10008.1.2.2", little_endian=False, retired=True)

# Compressed Pixel Data in fragments (A.4)
EncapsulatedUncompressedExplicitVRLittleEndian: TransferSyntax = _encapsulated("1.2.840.10008.1.2.1.98")
JPEGBaseline8Bit: TransferSyntax                               = _encapsulated("1.2.840.10008.1.2.4.50")
JPEGExtended12Bit: TransferSyntax                              = _encapsulated("1.2.840.10008.1.2.4.51")
JPEGLossless: TransferSyntax                                   = _encapsulated("1.2.840.10008.1.2.4.57")
JPEGLosslessSV1: TransferSyntax                                = _encapsulated("1.2.840.10008.1.2.4.70")
JPEGLSLossless: TransferSyntax                                 = _encapsulated("1.2.840.10008.1.2.4.80")
JPEGLSNearLossless: TransferSyntax                             = _encapsulated("1.2.840.10008.1.2.4.81")
JPEG2000Lossless: TransferSyntax                               = _encapsulated("1.2.840.10008.1.2.4.90")
JPEG2000: TransferSyntax                                       = _encapsulated("1.2.840.10008.1.2.4.91")
JPEG2000MCLossless: TransferSyntax                             = _encapsulated("1.2.840.10008.1.2.4.92")
JPEG2000MC: TransferSyntax                                     = _encapsulated("1.2.840.10008.1.2.4.93")
MPEG2MPML: TransferSyntax                                      = _encapsulated("1.2.840.10008.1.2.4.100")
MPEG2MPMLF: TransferSyntax                                     = _encapsulated("1.2.840.10008.1.2.4.100.1")
MPEG2MPHL: TransferSyntax                                      = _encapsulated("1.2.840.10008.1.2.4.101")
MPEG2MPHLF: TransferSyntax                                     = _encapsulated("1.2.840.10008.1.2.4.101.1")
MPEG4HP41: TransferSyntax                                      = _encapsulated("1.2.840.10008.1.2.4.102")
MPEG4HP41F: TransferSyntax                                     = _encapsulated("1.2.840.10008.1.2.4.102.1")
MPEG4HP41BD: TransferSyntax                                    = _encapsulated("1.2.840.10008.1.2.4.103")
MPEG4HP41BDF: TransferSyntax                                   = _encapsulated("1.2.840.10008.1.2.4.103.1")
MPEG4HP422D: TransferSyntax                                    = _encapsulated("1.2.840.10008.1.2.4.104")
MPEG4HP422DF: TransferSyntax                                   = _encapsulated("1.2.840.10008.1.2.4.104.1")
MPEG4HP423D: TransferSyntax                                    = _encapsulated("1.2.840.10008.1.2.4.105")
MPEG4HP423DF: TransferSyntax                                   = _encapsulated("1.2.840.10008.1.2.4.105.1")
MPEG4HP42STEREO: TransferSyntax                                = _encapsulated("1.2.840.10008.1.2.4.106")
MPEG4HP42STEREOF: TransferSyntax                               = _encapsulated("1.2.840.10008.1.2.4.106.1")
HEVCMP51: TransferSyntax                                       = _encapsulated("1.2.840.10008.1.2.4.107")
HEVCM10P51: TransferSyntax                                     = _encapsulated("1.2.840.10008.1.2.4.108")
HTJ2KLossless: TransferSyntax                                  = _encapsulated("1.2.840.10008.1.2.4.201")
HTJ2KLosslessRPCL: TransferSyntax                              = _encapsulated("1.2.840.10008.1.2.4.202")
HTJ2K: TransferSyntax                                          = _encapsulated("1.2.840.10008.1.2.4.203")
RLELossless: TransferSyntax                                    = _encapsulated("1.2.840.10008.1.2.5")

# Added after edition 2024c, the last that pydicom 3.0 knows
JPEGXLLossless: TransferSyntax                = _encapsulated("1.2.840.10008.1.2.4.110")
JPEGXLJPEGRecompression: TransferSyntax       = _encapsulated("1.2.840.10008.1.2.4.111")
JPEGXL: TransferSyntax                        = _encapsulated("1.2.840.10008.1.2.4.112")
DeflatedImageFrameCompression: TransferSyntax = _encapsulated("1.2.840.10008.1.2.8.1")

# Pixel data elsewhere, which a Pixel Data Provider URL names (A.6, A.7)
JPIPReferenced: TransferSyntax             = _explicit("1.2.840.10008.1.2.4.94")
JPIPReferencedDeflate: TransferSyntax      = _deflated("1.2.840.10008.1.2.4.95")
JPIPHTJ2KReferenced: TransferSyntax        = _explicit("1.2.840.10008.1.2.4.204")
JPIPHTJ2KReferencedDeflate: TransferSyntax = _deflated("1.2.840.10008.1.2.4.205")

# Retired JPEG processes
JPEGExtended35: TransferSyntax                         = _retired("1.2.840.10008.1.2.4.52")
JPEGSpectralSelectionNonHierarchical68: TransferSyntax = _retired("1.2.840.10008.1.2.4.53")
JPEGSpectralSelectionNonHierarchical79: TransferSyntax = _retired("1.2.840.10008.1.2.4.54")
JPEGFullProgressionNonHierarchical1012: TransferSyntax = _retired("1.2.840.10008.1.2.4.55")
JPEGFullProgressionNonHierarchical1113: TransferSyntax = _retired("1.2.840.10008.1.2.4.56")
JPEGLosslessNonHierarchical15: TransferSyntax          = _retired("1.2.840.10008.1.2.4.58")
JPEGExtendedHierarchical1618: TransferSyntax           = _retired("1.2.840.10008.1.2.4.59")
JPEGExtendedHierarchical1719: TransferSyntax           = _retired("1.2.840.10008.1.2.4.60")
JPEGSpectralSelectionHierarchical2022: TransferSyntax  = _retired("1.2.840.10008.1.2.4.61")
JPEGSpectralSelectionHierarchical2123: TransferSyntax  = _retired("1.2.840.10008.1.2.4.62")
JPEGFullProgressionHierarchical2426: TransferSyntax    = _retired("1.2.840.10008.1.2.4.63")
JPEGFullProgressionHierarchical2527: TransferSyntax    = _retired("1.2.840.10008.1.2.4.64")
JPEGLosslessHierarchical28: TransferSyntax             = _retired("1.2.840.10008.1.2.4.65")
JPEGLosslessHierarchical29: TransferSyntax             = _retired("1.2.840.10008.1.2.4.66")

# Not for presentation contexts: PS3.22 streams, mail, XML, and an obsolete file format
SMPTEST211020UncompressedProgressiveActiveVideo: TransferSyntax = _explicit("1.2.840.10008.1.2.7.1")
SMPTEST211020UncompressedInterlacedActiveVideo: TransferSyntax  = _explicit("1.2.840.10008.1.2.7.2")
SMPTEST211030PCMDigitalAudio: TransferSyntax                    = _explicit("1.2.840.10008.1.2.7.3")
RFC2557MIMEEncapsulation: TransferSyntax                        = TransferSyntax("1.2.840.10008.1.2.6.1", retired=True)
XMLEncoding: TransferSyntax                                     = TransferSyntax("1.2.840.10008.1.2.6.2", retired=True)
Papyrus3ImplicitVRLittleEndian: TransferSyntax                  = TransferSyntax("1.2.840.10008.1.20", implicit=True, retired=True)
# fmt: on

_BY_UID: dict[str, TransferSyntax] = {}
for _name, _row in list(globals().items()):
    if isinstance(_row, TransferSyntax):
        _row.keyword = _name
        _BY_UID[_row] = _row

ALL: tuple[TransferSyntax, ...] = tuple(_BY_UID.values())
"""Every transfer syntax of PS3.6."""
NETWORK: tuple[TransferSyntax, ...] = ALL[: ALL.index(SMPTEST211020UncompressedProgressiveActiveVideo)]
"""Those that a presentation context can have: a storage provider accepts these where it keeps data sets unchanged."""
DEFAULT_PROPOSED: tuple[TransferSyntax, ...] = (ExplicitVRLittleEndian, ImplicitVRLittleEndian)
"""The default of a proposed context, in this order. It has to contain Implicit VR Little Endian (PS3.5 10.1)."""
IDENTIFIERS: tuple[TransferSyntax, ...] = (*DEFAULT_PROPOSED, DeflatedExplicitVRLittleEndian)
"""Those that a query provider accepts, because it can read and write Identifiers in them."""


def lookup(uid: str) -> TransferSyntax | None:
    """Return the row of a UID; None for a private or unknown one."""
    return _BY_UID.get(uid)


def keyword(uid: str) -> str:
    """Return the keyword of a transfer syntax, as a label: "other" for a private or unknown one."""
    row = lookup(uid)
    return row.keyword if row is not None else "other"
