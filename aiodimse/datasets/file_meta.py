"""The file meta information that we write (PS3.10 7.1)."""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from typing import Final

from aiodimse.association.answering import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from aiodimse.errors import DatasetEncodeError

# Elements of group 0002
SOP_CLASS_UID: Final = 0x0002
SOP_INSTANCE_UID: Final = 0x0003
TRANSFER_SYNTAX_UID: Final = 0x0010

_short_head: Final = Struct("<HH2sH")
_long_head: Final = Struct("<HH2s2xL")


def file_meta(
    sop_class_uid: str,
    sop_instance_uid: str,
    transfer_syntax: str,
    *,
    source_ae_title: str | None = None,
) -> bytes:
    """Encode preamble, prefix and group 0002 (PS3.10 7.1). The preamble is zeros, so it contains nothing of a peer.

    Args:
        sop_class_uid: Media Storage SOP Class UID.
        sop_instance_uid: Media Storage SOP Instance UID.
        transfer_syntax: Transfer Syntax UID.
        source_ae_title: Source Application Entity Title; None: there is none.

    Raises:
        DatasetEncodeError: A value does not fit in its element.
    """
    elements = b"".join(
        (
            _long_head.pack(2, 0x0001, b"OB", 2) + b"\0\1",
            _known_element(SOP_CLASS_UID, b"UI", sop_class_uid),
            _meta_element(SOP_INSTANCE_UID, b"UI", sop_instance_uid),
            _known_element(TRANSFER_SYNTAX_UID, b"UI", transfer_syntax),
            _known_element(0x0012, b"UI", IMPLEMENTATION_CLASS_UID),
            _known_element(0x0013, b"SH", IMPLEMENTATION_VERSION_NAME),
            _known_element(0x0016, b"AE", source_ae_title),
        )
    )
    group_length = _short_head.pack(2, 0x0000, b"UL", 4) + len(elements).to_bytes(4, "little")
    return bytes(128) + b"DICM" + group_length + elements


def _meta_element(element: int, vr: bytes, value: str | None) -> bytes:
    if value is None:
        return b""
    data = value.encode("latin-1", "replace")
    if len(data) & 1:
        data += b"\0" if vr == b"UI" else b" "
    if len(data) > 0xFFFF:
        raise DatasetEncodeError(f"(0002,{element:04X}) of {len(data)} bytes")
    return _short_head.pack(2, element, vr, len(data)) + data


_known_element = lru_cache(64)(_meta_element)
"""Encodes an element that many files have in common."""
