"""Determines the VR of an element whose encoding does not have it (PS3.5 A.1, 6.2.2) or has one of two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from pydicom.datadict import private_dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset

from aiodimse.datasets.element_headers import vr_in_dictionary

AMBIGUOUS_VRS: Final = frozenset({"US or SS", "OB or OW", "US or OW", "US or SS or OW"})

PADDING: Final = {
    **dict.fromkeys(
        ("AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UR", "UT"), b" "
    ),
    "UI": b"\0",
}
"""What pads a value of odd length, by VR. VRs that are not listed are padded with a NUL (PS3.5 6.2)."""

WORD_SIZES: Final = {
    **dict.fromkeys(("AT", "OW", "SS", "US"), 2),
    **dict.fromkeys(("FL", "OF", "OL", "SL", "UL"), 4),
    **dict.fromkeys(("FD", "OD", "OV", "SV", "UV"), 8),
}
"""The size of words that the byte order affects, by VR (PS3.5 7.3). Values of other VRs are the same in both."""

_PIXEL_REPRESENTATION = 0x00280103
_BITS_ALLOCATED = 0x00280100
_LUT_DESCRIPTOR = 0x00283002
_LUT_DATA = 0x00283006
_PIXEL_DATA = 0x7FE00010
_WAVEFORM_BITS_ALLOCATED = 0x54001004


def implicit_vr(tag: int, dataset: Dataset) -> str:
    """Return the VR of an element that was encoded in Implicit VR. It may be one of AMBIGUOUS_VRS."""
    known = vr_in_dictionary(tag)
    if known is not None:
        return known if known != "NONE" else "UN"
    if tag & 0x10000:
        if 0x0010 <= tag & 0xFFFF < 0x0100:
            return "LO"  # PS3.5 7.8.1: a private creator
        creator = dataset.get_item(tag & 0xFFFF0000 | (tag & 0xFFFF) >> 8)
        if creator is not None and creator.value:
            name = creator.value
            text = name.decode("latin-1").strip(" \0") if isinstance(name, bytes) else str(name)
            try:
                return private_dictionary_VR(tag, text)
            except KeyError:
                pass
        return "UN"
    return "UL" if tag & 0xFFFF == 0 else "UN"


def concrete_vr(vr: str, tag: int, around: Sequence[Dataset], *, from_implicit: bool) -> str:
    """Choose a VR for one of AMBIGUOUS_VRS. `around` is the data set of the element, and then what encloses that."""
    if vr == "US or SS":
        for dataset in around:
            signed = _integer(dataset, _PIXEL_REPRESENTATION)
            if signed is None:
                signed = getattr(dataset, "_pixel_rep", None)  # pydicom notes here what it read in the parent
            if signed is not None:
                return "SS" if signed else "US"
        return "US"
    if vr == "US or OW":  # PS3.3 C.11.1.1.1: a LUT with one entry is a US
        return "US" if tag == _LUT_DATA and _integer(around[0], _LUT_DESCRIPTOR) == 1 else "OW"
    if vr == "OB or OW" and not from_implicit:  # PS3.5 A.2; in Implicit VR it is always OW (PS3.5 A.1)
        bits_tag = {_PIXEL_DATA: _BITS_ALLOCATED, 0x5400: _WAVEFORM_BITS_ALLOCATED}.get(
            tag if tag == _PIXEL_DATA else tag >> 16
        )
        bits = _integer(around[0], bits_tag) if bits_tag else None
        return "OB" if bits is not None and bits <= 8 else "OW"
    return "OW"


def _integer(dataset: Dataset, tag: int) -> int | None:
    """Return the first value of a US element, without decoding the element in its Dataset."""
    element: Any = dataset.get_item(tag)
    if element is None or element.value is None:
        return None
    value = element.value
    if isinstance(element, RawDataElement):
        return int.from_bytes(value[:2], "little" if element.is_little_endian else "big") if len(value) >= 2 else None
    if isinstance(value, int):
        return int(value)
    try:
        return int(value[0])
    except (TypeError, ValueError, LookupError):
        return None


def swapped(value: bytes, size: int) -> bytes:
    """Return the value in the other byte order. Bytes at the end that are no whole word stay as they are."""
    whole = len(value) // size * size
    out = bytearray(value)
    for at in range(size):
        out[at:whole:size] = value[size - 1 - at : whole : size]
    return bytes(out)
