"""--trace: write a conversation as text, one PDU in hex on each line.

`>` marks a PDU of the association requestor, `<` one of the acceptor. Unless the user asks for it, what may say
something about a patient is left out: data sets (Identifiers are data sets too) and the fields of a user identity. A
line of which something was left out is still a valid PDU, with the lengths of what remains; a line with `#` before it
says what was left out.
"""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

from aiodimse import pdu
from aiodimse.aio.transport import Tap
from aiodimse.cli.failures import system_words
from aiodimse.errors import PDUDecodeError

_HEADER, _FIXED = 6, 74
"""Where the AE titles of an A-ASSOCIATE-RQ are: behind the header, and before its items (PS3.8 9.3.2)."""
_ASSOCIATE_RQ, _P_DATA_TF = 0x01, 0x04
_KNOWN_TYPES = range(0x01, 0x08)
_LONGEST = 1 << 26
"""The longest PDU in bytes. After a greater length the boundaries of PDUs are lost, so the rest is not split."""


def _created(path: Path) -> TextIO:
    """Open a file for writing, which only its owner may read if it is new."""
    return open(path, "w", encoding="ascii", buffering=1, opener=lambda name, flags: os.open(name, flags, 0o600))


class TraceFile:
    """A Trace: the first association is written to the file, the next to one with -2 before its suffix, and so on.

    Args:
        path: The first file.
        data: Whether to write data sets and user identities, which are patient data and secrets.

    Raises:
        OSError: The first file cannot be written.
    """

    def __init__(self, path: Path, *, data: bool = False) -> None:
        self._path, self._data = path, data
        self._count = 0
        self._first: TextIO | None = _created(path)

    def __call__(self, role: str) -> Tap:
        """Make the tap of the next association."""
        self._count += 1
        file, self._first = self._first, None
        try:
            if file is None:
                path = self._path.with_stem(f"{self._path.stem}-{self._count}")
                file = _created(path)
        except OSError as error:
            print(f"aiodimse: no trace of association {self._count}: {system_words(error)}", file=sys.stderr)
        return Conversation(file, data=self._data)

    def close(self) -> None:
        """Close the first file if no association has used it."""
        if self._first is not None:
            self._first.close()


class Conversation:
    """A Tap that splits both directions into PDUs and writes each of them once it is complete.

    If the file cannot be written, the trace ends and the association goes on.
    """

    def __init__(self, file: TextIO | None, *, data: bool) -> None:
        self._file, self._data = file, data
        self._buffers = {">": bytearray(), "<": bytearray()}
        self._lost: set[str] = set()
        self._ended: set[str] = set()

    def __call__(self, way: str, data: bytes | memoryview) -> None:
        """Take bytes of one direction; no bytes: the direction has ended."""
        if self._file is None:
            return
        try:
            self._take(way, data)
        except OSError as error:
            print(f"aiodimse: the trace ends here: {system_words(error)}", file=sys.stderr)
            self._close()

    def _take(self, way: str, data: bytes | memoryview) -> None:
        buffer = self._buffers[way]
        buffer += data
        while way not in self._lost and len(buffer) >= _HEADER:
            end = _HEADER + int.from_bytes(buffer[2:_HEADER], "big")
            if buffer[0] not in _KNOWN_TYPES or end > _LONGEST:
                self._lost.add(way)
            elif len(buffer) < end:
                break
            else:
                self._write(way, bytes(buffer[:end]))
                del buffer[:end]
        if buffer and (way in self._lost or not data):
            self._write_rest(way, bytes(buffer), "not a PDU" if way in self._lost else "cut off")
            buffer.clear()
        if not data:
            self._ended.add(way)
            if len(self._ended) == 2:
                self._close()

    def _write(self, way: str, data: bytes) -> None:
        assert self._file is not None
        if not self._data:
            data, missing = without_data(data)
            if missing:
                self._file.write(f"# {missing} left out of the next line\n")
        self._file.write(f"{way} {data.hex()}\n")

    def _write_rest(self, way: str, data: bytes, why: str) -> None:
        """Write bytes that are no whole PDU. Since they may belong to a data set, they are written with data only."""
        assert self._file is not None
        self._file.write(f"# {why}: {len(data)} bytes {way}{f' {data.hex()}' if self._data else ''}\n")

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def without_data(data: bytes) -> tuple[bytes, str]:
    """Return a PDU without what may say something about a patient, and a description of what was left out."""
    if data[0] == _P_DATA_TF:
        return _without_data_sets(data)
    if data[0] == _ASSOCIATE_RQ:
        return _without_secrets(data)
    return data, ""


def _without_data_sets(data: bytes) -> tuple[bytes, str]:
    kept, missing, at = bytearray(), 0, _HEADER
    while at + 6 <= len(data):
        end = at + 4 + int.from_bytes(data[at : at + 4], "big")
        if end < at + 6 or end > len(data):
            break
        if data[at + 5] & 1:  # the fragment is of a command set (PS3.8 E.2)
            kept += data[at:end]
        else:
            missing += end - at - 6
            kept += (2).to_bytes(4, "big") + data[at + 4 : at + 6]
        at = end
    missing += len(data) - at
    return data[:2] + len(kept).to_bytes(4, "big") + kept, f"{missing} bytes of data set" if missing else ""


def _without_secrets(data: bytes) -> tuple[bytes, str]:
    """Hide user identities, and what may be one: items of an unknown type, and all items where one does not decode."""
    try:
        rq = pdu.decode(data)
    except PDUDecodeError:
        kept, missing = data[_HEADER:_FIXED], len(data[_FIXED:])
        words = f"{missing} bytes that do not decode" if missing else ""
        return data[:2] + len(kept).to_bytes(4, "big") + kept, words
    assert isinstance(rq, pdu.AssociateRQ)
    sub_items, unknown = rq.user_information.sub_items, rq.unknown_items
    if not any(isinstance(item, pdu.UserIdentityRequest | pdu.UnknownItem) for item in (*sub_items, *unknown)):
        return data, ""
    user_information = pdu.UserInformation(tuple(map(_hidden, sub_items)))
    hidden = replace(rq, user_information=user_information, unknown_items=tuple(map(_hidden, unknown)))
    return pdu.encode(hidden), "the user identity"


def _hidden(item: Any) -> Any:
    """Return the item with stars where a user identity has names and passcodes."""
    if isinstance(item, pdu.UserIdentityRequest):
        return replace(item, primary=b"*" * len(item.primary), secondary=b"*" * len(item.secondary))
    if isinstance(item, pdu.UnknownItem):
        return replace(item, data=b"*" * len(item.data))
    return item
