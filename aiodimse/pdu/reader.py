"""Turns a stream of bytes into PDUs, in a bounded buffer (PS3.8 9.3.1).

The parts of a P-DATA-TF are handed on as their bytes arrive; any other PDU is handed on when it is whole. The reader
holds the bytes that were fed and not yet asked for, and at most one PDU that is not P-DATA-TF. The length of that PDU
is checked as soon as its header is there.
"""

import struct
from collections import deque
from dataclasses import field
from typing import TypeAlias

from aiodimse.config import Limits
from aiodimse.errors import PDUDecodeError
from aiodimse.pdu import pdus
from aiodimse.pdu.overhead import FRAGMENT, SMALL_FRAGMENT, Overhead
from aiodimse.pdu.pdus import COMMAND, HEADER_LENGTH, LAST, P_DATA_TF, PDV_HEADER_LENGTH
from aiodimse.record import record

_PDU_HEADER = struct.Struct(">BxI")
_PDV_HEADER = struct.Struct(">IBB")
_BOTH_HEADERS = struct.Struct(">BxIIBB")

_TINY = SMALL_FRAGMENT + 2  # It includes the context ID and the message control header.

_OTHER_PROTOCOLS = {0x15: "TLS", 0x16: "TLS"}
"""Protocols whose first byte is not a PDU-type: TLS begins with an alert or a handshake record (RFC 8446 5.1)."""


@record
class DataHeader:
    """The six bytes of the header of a P-DATA-TF have arrived. Its PDVs follow as DataPieces."""

    length: int
    """PDU-length: the number of bytes after the header."""

    def __str__(self) -> str:
        return f"P-DATA-TF of {self.length} bytes"


@record
class DataPiece:
    """A PDV, or the part of one that has arrived.

    It is not frozen: one is made for each PDV, and a frozen one takes four times as long to make.
    """

    context_id: int
    is_command: bool
    is_last: bool
    """Whether this piece ends the last fragment of its command set or data set (PS3.8 E.2)."""
    data: bytes | memoryview = field(repr=False)

    def __str__(self) -> str:
        kind = "command" if self.is_command else "data"
        return f"{kind}{' last' if self.is_last else ''} in {self.context_id}, {len(self.data)} bytes"


Received: TypeAlias = (
    pdus.AssociateRQ
    | pdus.AssociateAC
    | pdus.AssociateRJ
    | pdus.ReleaseRQ
    | pdus.ReleaseRP
    | pdus.Abort
    | DataHeader
    | DataPiece
    | PDUDecodeError
)
"""What PDUReader.next() returns. It never returns a PDataTF."""


class PDUReader:
    """Reads PDUs: give it bytes with feed(), then call next() until it returns None.

    The bytes may be cut anywhere. The same conversation gives the same items however it is cut, once the pieces of each
    PDV are joined. After a PDUDecodeError the boundaries of PDUs are lost: all further bytes are discarded, and next()
    returns None.
    """

    __slots__ = (
        "_associate_pdu_length",
        "_at",
        "_broken",
        "_chunk",
        "_context_id",
        "_control",
        "_end",
        "_header",
        "_held",
        "_later",
        "_later_size",
        "_overhead",
        "_pdu_left",
        "_pdu_length",
        "_pdv_left",
        "_strict",
        "in_pdu",
        "max_pdu_length",
    )

    def __init__(self, limits: Limits, *, strict: bool = False, overhead: Overhead | None = None) -> None:
        self.max_pdu_length: int = limits.max_pdu_length
        """The longest P-DATA-TF variable field that is accepted; 0 means no limit."""
        self._associate_pdu_length = limits.associate_pdu_length
        self._strict = strict
        self._overhead = overhead or Overhead(limits)
        self._broken = False
        # The chunk that is being read, and the chunks that were fed after it.
        self._chunk, self._at, self._end = b"", 0, 0
        self._later: deque[bytes] = deque()
        self._later_size = 0
        # The first part of a header or body that spans several chunks.
        self._held = bytearray()
        # The header of the current PDU, if that is not a P-DATA-TF; empty between PDUs.
        self._header = b""
        self.in_pdu: bool = False
        """Whether a PDU had begun and was not complete when next() returned."""
        # In a P-DATA-TF: its PDU-length, the bytes of it after the current PDV, and the bytes still to come of that
        # PDV.
        self._pdu_length = self._pdu_left = self._pdv_left = 0
        self._context_id = self._control = 0

    @property
    def buffered(self) -> int:
        """The number of bytes held."""
        return self._end - self._at + self._later_size + len(self._held) + len(self._header)

    def feed(self, data: bytes) -> None:
        """Add bytes. They must not change any more, since the pieces that are handed out are views of them."""
        if self._at < self._end or self._later:
            self._later.append(data)
            self._later_size += len(data)
        elif not self._broken:
            self._chunk, self._at, self._end = data, 0, len(data)

    def next(self, *, whole: bool = False) -> Received | None:
        """Return the next PDU, or the next part of a P-DATA-TF; None if more bytes are needed.

        Args:
            whole: Whether a P-DATA-TF that has arrived completely and has one PDV is returned without a DataHeader
                before it, for a caller that has nothing to do at the header. It takes 1.0 us, where the two calls take
                1.6.
        """
        if self._at == self._end and not (self._pdu_left or (self._later and self._advance())):
            self._chunk, self._at, self._end = b"", 0, 0  # An idle reader keeps no chunk in memory.
            self.in_pdu = bool(self._pdv_left or self._header or self._held)
            return None
        if whole and not self.in_pdu and (piece := self._whole_pdv()) is not None:
            return piece
        item = self._next()
        self.in_pdu = bool(self._pdv_left or self._pdu_left or self._header or self._held)
        return item

    def _whole_pdv(self) -> DataPiece | None:
        """Return the PDV of a P-DATA-TF that is complete in the current chunk and has one PDV; None for anything
        else. No PDU has begun."""
        chunk, start = self._chunk, self._at
        if self._end - start <= _BOTH_HEADERS.size:
            return None
        pdu_type, length, size, context_id, control = _BOTH_HEADERS.unpack_from(chunk, start)
        stop = start + HEADER_LENGTH + length
        if pdu_type != P_DATA_TF or size != length - 4 or size <= 2 or stop > self._end:
            return None
        if size < _TINY and not control & LAST and not self._overhead.is_within(FRAGMENT):
            return None
        if length > self.max_pdu_length > 0:
            return None
        self._at = stop
        start += _BOTH_HEADERS.size
        data = chunk[start:stop] if size * 4 < len(chunk) else memoryview(chunk)[start:stop]
        return DataPiece(context_id, control & COMMAND != 0, control & LAST != 0, data)

    def _next(self) -> Received | None:
        while True:
            if self._pdv_left:
                return self._piece()
            if self._pdu_left:
                if self._pdu_left < PDV_HEADER_LENGTH:
                    return self._pdv_fault(f"{self._pdu_left} bytes left, a PDV takes {PDV_HEADER_LENGTH}")
                head = self._gather(PDV_HEADER_LENGTH)
                if head is None:
                    return None
                size, self._context_id, self._control = _PDV_HEADER.unpack(head)
                if not 2 <= size <= self._pdu_left - 4:
                    return self._pdv_fault(f"PDV of {size} bytes, {self._pdu_left - 4} left")
                self._pdu_left -= size + 4
                self._pdv_left = size - 2
                if size < _TINY and not self._control & LAST and not self._overhead.is_within(FRAGMENT):
                    return self._pdv_fault("too many tiny fragments", reason=0)
                if size == 2:
                    control = self._control
                    return DataPiece(self._context_id, control & COMMAND != 0, control & LAST != 0, b"")
            elif self._header:
                body = self._gather(self._pdu_length)
                return None if body is None else self._whole(body)
            else:
                head = self._gather(HEADER_LENGTH)
                if head is None:
                    # A peer that speaks another protocol may wait for us after fewer than six bytes.
                    return self._unknown(self._held[0]) if self._held and self._held[0] not in pdus.NAMES else None
                pdu_type, length = _PDU_HEADER.unpack(head)
                if fault := self._header_fault(pdu_type, length):
                    return fault
                self._pdu_length = length
                if pdu_type == P_DATA_TF:
                    self._pdu_left = length
                    return DataHeader(length)
                self._header = head

    # --- parts of a PDU ---

    def _header_fault(self, pdu_type: int, length: int) -> PDUDecodeError | None:
        limit = self.max_pdu_length if pdu_type == P_DATA_TF else self._associate_pdu_length
        if pdu_type not in pdus.NAMES:
            return self._unknown(pdu_type)
        fault = pdus.length_fault(pdu_type, length)
        if not fault and length > limit > 0:
            fault = f"{length} bytes, {limit} at most"
        return self._broke(f"{pdus.NAMES[pdu_type]}: {fault}", "PDU-length", 2) if fault else None

    def _whole(self, body: bytes) -> Received:
        header, self._header = self._header, b""
        try:
            pdu = pdus.decode(header + body, strict=self._strict)
        except PDUDecodeError as error:
            self._break()
            return error
        assert not isinstance(pdu, pdus.PDataTF)
        return pdu

    def _piece(self) -> DataPiece | None:
        """Return what the current chunk has of the current PDV.

        It is a view, or a copy if it is small: a small view would keep a large chunk in memory.
        """
        if self._at == self._end and not self._advance():
            return None
        chunk, start = self._chunk, self._at
        stop = min(start + self._pdv_left, self._end)
        size = stop - start
        self._at = stop
        self._pdv_left -= size
        data = chunk[start:stop] if size * 4 < len(chunk) else memoryview(chunk)[start:stop]
        control = self._control
        return DataPiece(self._context_id, control & COMMAND != 0, control & LAST != 0 and not self._pdv_left, data)

    # --- bytes ---

    def _gather(self, size: int) -> bytes | None:
        """Return the next `size` bytes; None until they have all arrived. No byte is copied twice, however the bytes
        are cut."""
        start, held = self._at, self._held
        if not held and self._end - start >= size:
            self._at = start + size
            return self._chunk[start : self._at]
        while len(held) < size:
            if self._at == self._end and not self._advance():
                return None
            start = self._at
            self._at = min(start + size - len(held), self._end)
            held += self._chunk[start : self._at]
        data = bytes(held)
        held.clear()
        return data

    def _advance(self) -> bool:
        """Go to the next chunk that is not empty, and forget the one that has been read."""
        while self._later:
            self._chunk = self._later.popleft()
            self._at, self._end = 0, len(self._chunk)
            self._later_size -= self._end
            if self._end:
                return True
        self._chunk, self._at, self._end = b"", 0, 0
        return False

    # --- faults ---

    def _pdv_fault(self, message: str, reason: int = 6) -> PDUDecodeError:
        offset = HEADER_LENGTH + self._pdu_length - self._pdu_left
        return self._broke(f"{pdus.NAMES[P_DATA_TF]}: {message}", "Item-length", offset, reason)

    def _unknown(self, pdu_type: int) -> PDUDecodeError:
        guess = _OTHER_PROTOCOLS.get(pdu_type, "")
        words = f" ({guess} begins so)" if guess else ""
        return self._broke(f"{pdu_type:02X}H is none of the seven{words}", "PDU-type", 0, reason=1, looks_like=guess)

    def _broke(self, message: str, field: str, offset: int, reason: int = 6, looks_like: str = "") -> PDUDecodeError:
        self._break()
        return PDUDecodeError(message, field=field, offset=offset, reason=reason, looks_like=looks_like)

    def discard(self) -> None:
        """Drop what is held and what is still fed, since the connection is gone."""
        self._break()

    def _break(self) -> None:
        self._broken = True
        self._chunk, self._at, self._end = b"", 0, 0
        self._later.clear()
        self._held.clear()
        self._header = b""
        self._later_size = self._pdu_left = self._pdv_left = 0
