"""Checks the beginning of a data set that is written to a file after our file meta information (PS3.10 7.1)."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Final, Literal

from aiodimse.datasets.identity import SOP_CLASS_UID, SOP_INSTANCE_UID, UIDS, Reach, first_values
from aiodimse.datasets.walk import FOREIGN_GROUPS
from aiodimse.errors import DatasetDecodeError, InstanceConflict
from aiodimse.standard.transfer_syntax import ExplicitVRLittleEndian, lookup

_FILE_META: Final = b"\x02\x00"
"""Group 0002 in a file. File meta information is Little Endian, whatever the data set is."""
_FIRST_CHECK: Final = 1024
"""The number of bytes after which the UIDs are first looked for. Nearly always they are within these."""
_MOST: Final = 1 << 16
"""The number of bytes that are searched for the UIDs. After these a data set is saved without having been compared."""


class Beginning:
    """Examines the first bytes of a data set as they are written, in pieces of any size.

    Elements of group 0002 at the beginning would continue our file meta information, and would then describe the file
    instead of ours. Later ones cannot, because a reader's file meta information ends with the first element of another
    group. decode_dataset refuses those too; a save, which may write a gigabyte as it is, does not search for them.

    The SOP Class UID and SOP Instance UID in the data set must be those under which it is saved: a path stands for one
    instance.
    """

    def __init__(self, transfer_syntax: str, uids: tuple[str, str] | None) -> None:
        """Compare with `uids`, the expected SOP Class UID and SOP Instance UID. None: the UIDs are not compared."""
        # The byte order of a private transfer syntax is unknown. Little Endian is assumed, since nearly all have it.
        row = lookup(transfer_syntax)
        self._order: Literal["little", "big"] = "little" if row is None or row.little_endian else "big"
        self._deflated = row is not None and row.deflated
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS) if self._deflated else None
        # A deflated data set is compared after it has been inflated.
        self._transfer_syntax = ExplicitVRLittleEndian if self._deflated else transfer_syntax
        self._uids = uids
        self._stored = b""
        """The first two bytes as they were received."""
        self._encoded = bytearray()
        """The first bytes of the data set, inflated if it is deflated."""
        self._next_check = _FIRST_CHECK
        self._group_is_known = False

    def feed(self, pieces: Iterable[bytes | memoryview]) -> bool:
        """Take the next bytes, and return whether more are needed.

        Raises:
            DatasetDecodeError: The data set begins with an element that no data set may have.
            InstanceConflict: The data set is of another SOP class or instance.
        """
        for piece in pieces:
            view = memoryview(piece)
            while len(view):
                size = max(_FIRST_CHECK, len(self._encoded))
                if not self._take(view[:size]):
                    return False
                view = view[size:]
        return True

    def end(self) -> None:
        """Compare what was received, because nothing more follows. Raises as `feed` does."""
        self._compare()

    def _take(self, piece: memoryview) -> bool:
        """Take some bytes, and return whether more are needed."""
        if len(self._stored) < 2:
            self._stored += bytes(piece[: 2 - len(self._stored)])
        if not self._deflated:
            self._encoded += piece[: _MOST - len(self._encoded)]
        # Deflated data may begin with any number of empty blocks, which inflate to no bytes.
        elif self._inflater is not None:
            self._inflate(self._inflater, piece)
        if not self._group_is_known:
            self._check_group()
        is_over = len(self._encoded) >= _MOST or (self._deflated and self._inflater is None)
        if not is_over and (not self._group_is_known or len(self._encoded) < self._next_check):
            return self._uids is not None or not self._group_is_known
        self._next_check = 2 * len(self._encoded)
        return not self._compare() and not is_over

    def _inflate(self, inflater: zlib._Decompress, piece: bytes | memoryview) -> None:
        try:
            self._encoded += inflater.decompress(piece, _MOST - len(self._encoded))
        except zlib.error:  # the data set is saved as it is, since no reader will find a group in it
            self._inflater = None
        if inflater.eof:
            self._inflater = None

    def _check_group(self) -> None:
        # This is also checked in deflated data, since a reader of file meta information inflates nothing.
        if self._stored == _FILE_META:
            raise DatasetDecodeError("the data set begins with group 0002", offset=0)
        if len(self._encoded) >= 2:
            group = int.from_bytes(self._encoded[:2], self._order)
            if group in FOREIGN_GROUPS:
                raise DatasetDecodeError(f"the data set begins with group {group:04X}", offset=0)
            self._group_is_known = True

    def _compare(self) -> bool:
        """Return whether the UIDs have been compared, or the walk has passed the place where they would be."""
        if self._uids is None:
            return True
        found, reach = first_values(bytes(self._encoded), self._transfer_syntax, UIDS, _MOST)
        inside = found.get(SOP_CLASS_UID, ""), found.get(SOP_INSTANCE_UID, "")
        if any(uid and uid != expected for uid, expected in zip(inside, self._uids, strict=True)):
            raise InstanceConflict("the data set is not the instance that the command names")
        return reach is Reach.PASSED
