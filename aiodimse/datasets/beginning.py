"""How a data set may begin that goes into a file behind our file meta information (PS3.10 7.1)."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Final, Literal

from aiodimse.datasets.walk import FOREIGN_GROUPS
from aiodimse.errors import DatasetDecodeError
from aiodimse.standard.transfer_syntax import lookup

_FILE_META: Final = b"\x02\x00"
"""Group 0002 as readers of files see it: file meta information is Little Endian, whatever follows."""


class Beginning:
    """Looks at the group of the first element as the bytes of a data set go by, however they are cut.

    Elements of group 0002 there would go on where ours end, and say what the file is instead of us. Further on they
    cannot: a reader's file meta information is over with the first element of another group. decode_dataset refuses
    them there too; a save, which keeps a gigabyte as it came, does not walk it.
    """

    def __init__(self, transfer_syntax: str) -> None:
        row = lookup(transfer_syntax)  # of a private one nothing is known: Little Endian, as nearly all are
        self._order: Literal["little", "big"] = "little" if row is None or row.little_endian else "big"
        self._deflated = row is not None and row.deflated
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS) if self._deflated else None
        self._stored = self._encoded = b""  # the first two bytes, as they come and of what they hold

    def look(self, pieces: Iterable[bytes | memoryview]) -> bool:
        """Whether more must be seen. Raises DatasetDecodeError where the data set begins as none may."""
        for piece in pieces:
            if len(self._stored) < 2:
                self._stored += bytes(piece[: 2 - len(self._stored)])
            if self._inflater is not None and len(self._encoded) < 2:
                self._inflate(self._inflater, piece)
        if not self._deflated:
            self._encoded = self._stored
        if self._stored == _FILE_META:  # deflated too: a reader of file meta information inflates nothing
            raise DatasetDecodeError("the data set begins with group 0002", offset=0)
        if len(self._encoded) == 2:
            group = int.from_bytes(self._encoded, self._order)
            if group in FOREIGN_GROUPS:
                raise DatasetDecodeError(f"the data set begins with group {group:04X}", offset=0)
        return len(self._stored) < 2 or (self._inflater is not None and len(self._encoded) < 2)

    def _inflate(self, inflater: zlib._Decompress, piece: bytes | memoryview) -> None:
        try:
            self._encoded += inflater.decompress(piece, 2 - len(self._encoded))
        except zlib.error:  # kept as it came: nobody will find a group in it
            self._inflater = None
        if inflater.eof:
            self._inflater = None
