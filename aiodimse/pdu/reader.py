"""The bounded buffer that turns a byte stream into PDUs (PS3.8 9.3.1).

P-DATA-TF is handed on as its bytes arrive; of the other PDUs nothing is seen until they are whole. What is held is at
most what was fed and not asked for yet, and one PDU that is not P-DATA-TF, whose length is checked on its header.
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

_TINY = SMALL_FRAGMENT + 2  # with its context ID and message control header

_OTHER_PROTOCOLS = {0x15: "TLS", 0x16: "TLS"}
"""What begins with a byte that is no PDU-type: an alert and a handshake record (RFC 8446 5.1)."""


@record
class DataHeader:
    """The six bytes of a P-DATA-TF header are in; its PDVs follow as DataPieces."""

    length: int
    """PDU-length: the bytes that follow the header."""

    def __str__(self) -> str:
        return f"P-DATA-TF of {self.length} bytes"


@record
class DataPiece:
    """A PDV, or the part of one that has arrived. Not frozen: it is made once per PDV, and frozen costs four times as
    much."""

    context_id: int
    is_command: bool
    is_last: bool
    """This piece ends the last fragment of its command or data set (PS3.8 E.2)."""
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
"""What PDUReader.next() returns; PDataTF is never among it."""


class PDUReader:
    """feed() it bytes and ask next() until it says None.

    Bytes in are cut where they come, so the same conversation gives the same items, pieces of one PDV joined, however
    it is split. After a PDUDecodeError framing is lost: what follows is discarded and next() says None for ever.
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
        """The longest P-DATA-TF variable field that is taken; 0 is no limit."""
        self._associate_pdu_length = limits.associate_pdu_length
        self._strict = strict
        self._overhead = overhead or Overhead(limits)
        self._broken = False
        # the chunk that is being read, and those fed after it
        self._chunk, self._at, self._end = b"", 0, 0
        self._later: deque[bytes] = deque()
        self._later_size = 0
        # the first part of a header or body that no chunk has whole
        self._held = bytearray()
        # between PDUs: empty; in a PDU that is not P-DATA-TF: its header
        self._header = b""
        self.in_pdu: bool = False
        """Whether a PDU had begun and was not at its end when next() said None."""
        # in a P-DATA-TF: its PDU-length, what of it comes after the current PDV, what of this one's data is to come
        self._pdu_length = self._pdu_left = self._pdv_left = 0
        self._context_id = self._control = 0

    @property
    def buffered(self) -> int:
        """Bytes held."""
        return self._end - self._at + self._later_size + len(self._held) + len(self._header)

    def feed(self, data: bytes) -> None:
        """Takes bytes that will not change: pieces are views of them."""
        if self._at < self._end or self._later:
            self._later.append(data)
            self._later_size += len(data)
        elif not self._broken:
            self._chunk, self._at, self._end = data, 0, len(data)

    def next(self, *, whole: bool = False) -> Received | None:
        """The next PDU, or part of a P-DATA-TF; None where more bytes are needed for it.

        Args:
            whole: A P-DATA-TF that is here with all its bytes and is one PDV is given without a DataHeader before it:
                for a caller that would do nothing at the header. 1.0 us where the two take 1.6.
        """
        if self._at == self._end and not (self._pdu_left or (self._later and self._advance())):
            self._chunk, self._at, self._end = b"", 0, 0  # so that who is idle pins none
            self.in_pdu = bool(self._pdv_left or self._header or self._held)
            return None
        if whole and (piece := self._whole_pdv()) is not None:
            return piece
        item = self._next()
        if item is None:
            self.in_pdu = bool(self._pdv_left or self._pdu_left or self._header or self._held)
        return item

    def _whole_pdv(self) -> DataPiece | None:
        """A P-DATA-TF that the chunk has all of and that is one PDV; None for anything else."""
        chunk, start = self._chunk, self._at
        if self._end - start <= _BOTH_HEADERS.size or self._pdv_left or self._pdu_left or self._header or self._held:
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
                    # a peer that speaks another protocol may not say six bytes before it waits for us
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
        """What the chunk has of the current PDV: a view, or a copy where a small piece would pin a large chunk."""
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
        """The next size bytes, None while they are not all there. Each byte is looked at once, however it comes."""
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
        """To the next chunk with something in it; the one that is spent is let go, so that idle readers pin none."""
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
        """Drop what is held and whatever comes: the connection is gone."""
        self._break()

    def _break(self) -> None:
        self._broken = True
        self._chunk, self._at, self._end = b"", 0, 0
        self._later.clear()
        self._held.clear()
        self._header = b""
        self._later_size = self._pdu_left = self._pdv_left = 0
