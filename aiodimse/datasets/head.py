"""Reads the head of a DICOM file (PS3.10 7.1) from its first bytes.

The head says where the data set begins, in which transfer syntax it is, and which instance it is.
"""

from __future__ import annotations

from struct import Struct
from typing import Final, NamedTuple

from aiodimse.datasets.element_headers import LONG_VRS
from aiodimse.datasets.encoding import encoding_of
from aiodimse.datasets.file_meta import SOP_CLASS_UID, SOP_INSTANCE_UID, TRANSFER_SYNTAX_UID
from aiodimse.datasets.identity import SOP_CLASS_UID as CLASS
from aiodimse.datasets.identity import SOP_INSTANCE_UID as INSTANCE
from aiodimse.datasets.identity import UIDS, Reach, first_values
from aiodimse.errors import NotDICOM
from aiodimse.standard.transfer_syntax import lookup

_PREFIX_END: Final = 132
_GROUP_LENGTH_SIZE: Final = 12
_MAX_META: Final = 1 << 20
"""The largest file meta information that is read, in bytes. Private Information (0002,0102) may be large, but not
larger."""
_UIDS_WITHIN: Final = 1 << 16
"""The number of bytes of the data set that are searched for its UIDs."""

_short_head: Final = Struct("<HH2sH")
_long_head: Final = Struct("<HH2s2xL")
_implicit_head: Final = Struct("<HHL")


class Head(NamedTuple):
    """What the first bytes of a file say about it."""

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax: str
    data_offset: int


def parse_head(name: object, buffer: bytes, *, is_all: bool, size: int | None = None) -> Head | None:
    """Read the head of a file from its first bytes.

    Args:
        name: The name of the file in errors: its path.
        buffer: The first bytes.
        is_all: Whether these are all bytes of the file.
        size: The size of the whole file in bytes, if it is known.

    Returns:
        The head; None if more bytes are needed. The file meta information, at most 1 MiB, and 64 KiB of the data set
        are always enough.

    Raises:
        NotDICOM: The file is not a DICOM file, or its data set is not encoded as its transfer syntax says.
    """
    if len(buffer) < _PREFIX_END and not is_all:
        return None
    start = _start_of_meta(buffer)
    found: dict[int, bytes] = {}
    offset: int | None = 0
    if start is not None:
        found, offset = _parse_meta(name, buffer, start, is_all)
    if offset is None:
        if is_all or len(buffer) > _MAX_META:
            raise NotDICOM(f"{name}: not a DICOM file (file meta information is cut off)")
        return None
    data = memoryview(buffer)[offset:]
    if len(data) < 8 and not is_all:
        return None
    # Group Length may be wrong if a data set follows. If none follows, the file was cut off.
    if start is not None and not len(data):
        left = (len(buffer) if size is None else size) - start - _GROUP_LENGTH_SIZE
        if int.from_bytes(found.get(0, b""), "little") > left:
            raise NotDICOM(f"{name}: not a DICOM file (file meta information is cut off)")
    return _head(name, found, offset, data, is_all, has_meta=start is not None)


def _start_of_meta(buffer: bytes) -> int | None:
    """Return the offset of the file meta information; None if there is none.

    It comes after preamble and prefix (PS3.10 7.1), or at 0 in a file without a preamble.
    """
    if buffer[_PREFIX_END - 4 : _PREFIX_END] == b"DICM":
        return _PREFIX_END
    return 0 if buffer[:2] == b"\2\0" and buffer[3:4] == b"\0" else None


def _head(
    name: object, meta: dict[int, bytes], offset: int, data: memoryview, is_all: bool, *, has_meta: bool
) -> Head | None:
    sop_class, sop_instance, said = (
        meta.get(element, b"").decode("latin-1").strip(" \0")
        for element in (SOP_CLASS_UID, SOP_INSTANCE_UID, TRANSFER_SYNTAX_UID)
    )
    transfer_syntax = _transfer_syntax(name, said, data) if has_meta else encoding_of(data) or ""
    # If they differ, the UIDs of the data set are used, as its receiver does: pydicom's rtplan.dcm has another SOP
    # Instance UID in its file meta information, and Orthanc 1.10.1 answers a C-STORE with that one with 0xA900.
    inside, reach = first_values(data[:_UIDS_WITHIN], transfer_syntax, UIDS, _UIDS_WITHIN)
    if reach is not Reach.PASSED and not is_all and len(data) < _UIDS_WITHIN:
        return None
    if not has_meta and len(inside) < 2:  # nothing else shows which instance this is, or that it is a data set at all
        raise NotDICOM(f"{name}: not a DICOM file (no DICM prefix)")
    sop_class, sop_instance = inside.get(CLASS) or sop_class, inside.get(INSTANCE) or sop_instance
    if not sop_class or not sop_instance:
        raise NotDICOM(f"{name}: no SOP {'Instance' if sop_class else 'Class'} UID")
    return Head(sop_class, sop_instance, transfer_syntax, offset)


def _transfer_syntax(name: object, said: str, data: memoryview) -> str:
    """Determine the transfer syntax of the data set by its first element.

    Some programs write wrong file meta information. An uncompressed data set can be sent in its actual encoding.
    Compressed pixels in Implicit VR are no transfer syntax of the standard: a receiver cannot read what follows them,
    and some receivers wait for more data forever.
    """
    row, found = lookup(said), encoding_of(data)
    if not said:
        if found is None:
            raise NotDICOM(f"{name}: not a DICOM file (no Transfer Syntax UID)")
        return found
    if row is None or row.deflated or found is None:
        return said
    actual = lookup(found)
    assert actual is not None
    if (actual.implicit, actual.little_endian) == (row.implicit, row.little_endian) or not _has_uids(data, found):
        return said
    if row.encapsulated:
        raise NotDICOM(f"{name}: its data set is not encoded as its transfer syntax says")
    return found


def _has_uids(data: memoryview, transfer_syntax: str) -> bool:
    return len(first_values(data[:_UIDS_WITHIN], transfer_syntax, UIDS, _UIDS_WITHIN)[0]) == 2


def _parse_meta(name: object, buffer: bytes, pos: int, is_all: bool) -> tuple[dict[int, bytes], int | None]:
    """Return the elements of group 0002, and the offset after them; None if the buffer ends before that.

    Group Length (0002,0000) is not used: pydicom's no_meta_group_length.dcm has none, and in other files it is wrong.
    """
    found: dict[int, bytes] = {}
    while len(buffer) - pos >= 8:
        group, element, vr, length = _short_head.unpack_from(buffer, pos)
        if group != 0x0002:
            return found, pos
        start = pos + 8
        if not (vr.isalpha() and vr.isupper()):
            # PS3.10 7.1 requires Explicit VR, but some old writers use Implicit VR.
            *_, length = _implicit_head.unpack_from(buffer, pos)
        elif vr in LONG_VRS:
            if len(buffer) - pos < 12:
                return found, None
            *_, length = _long_head.unpack_from(buffer, pos)
            start += 4
        if length > _MAX_META:
            raise NotDICOM(f"{name}: not a DICOM file (file meta information is over {_MAX_META} bytes)")
        pos = start + length
        found[element] = buffer[start:pos]
    return found, pos if pos == len(buffer) and is_all else None
