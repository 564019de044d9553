"""Joins fragments to command sets and data sets, and cuts these into fragments (PS3.8 E.1, E.2; PS3.7 6.3.1).

A message is a command set, and a data set if Command Data Set Type says so. Its fragments come in order, in one
presentation context, and no fragments of other messages come in between.
"""

from collections.abc import MutableSequence
from dataclasses import field
from typing import Any, TypeAlias

from aiodimse.config import Limits
from aiodimse.dimse.command_set_cache import Decoder
from aiodimse.dimse.messages import Message
from aiodimse.errors import CommandDecodeError, LocalProtocolError, RemoteProtocolError
from aiodimse.pdu.pdus import COMMAND, LAST, P_DATA_TF, PDATA_HEADER, PDV_HEADER_LENGTH, pdata_header
from aiodimse.pdu.reader import DataPiece
from aiodimse.record import record

Buffer: TypeAlias = bytes | memoryview

_COPIED_BELOW = 1024
"""Pieces shorter than this are copied together: a view takes about 200 bytes, and keeps in memory what it is a view
of."""


# --- in ---------------------------------------------------------------------------------------------------------------


@record
class Command:
    """A message whose command set is complete. If it has a data set, the pieces of it follow until one has is_last."""

    context_id: int
    message: Message
    size: int = field(default=0, compare=False)
    """The length of the command set in bytes."""


Arrived: TypeAlias = Command | DataPiece
"""A message, or a piece of the data set of the last one."""


def append_piece(pieces: MutableSequence[Buffer], piece: Buffer) -> None:
    """Append a piece to others. Small pieces are joined, so that their cost in memory is close to their length."""
    if len(piece) < _COPIED_BELOW and pieces and len(pieces[-1]) < _COPIED_BELOW:
        pieces[-1] = b"".join((pieces[-1], piece))
    else:
        pieces.append(piece)


class Joiner:
    """Makes messages of the pieces that PDUReader returns. After it has raised it is not used again: the association is
    aborted."""

    def __init__(self, limits: Limits, tolerated: MutableSequence[Any] | None = None) -> None:
        """tolerated: gets a `Tolerated` for each leniency that is used; None: none may be used."""
        self._limit, self._most_empty = limits.command_set, limits.empty_fragments
        self._decode = Decoder(tolerated).decode
        self.context_id: int | None = None
        """The presentation context of the message that is under way; None between messages."""
        self._command = bytearray()
        self._data_set_due = False
        # The number of empty fragments, and of the messages that had ended when they were counted.
        self._empty, self._empty_in = 0, 0
        self.ended: int = 0
        """How many messages have ended."""

    def accept(self, piece: DataPiece) -> Arrived | None:
        """Take a piece, and return what it completes: a command set, or itself if it is of a data set; None if more has
        to come.

        Raises:
            CommandDecodeError: The command set cannot be decoded.
            RemoteProtocolError: A fragment is out of place.
        """
        context_id = piece.context_id
        if self.context_id is not None and context_id != self.context_id:
            raise RemoteProtocolError(f"a fragment in context {context_id} within a message in {self.context_id}")
        if piece.is_command:
            if self._data_set_due:
                raise RemoteProtocolError("a command fragment where a data set is due")
            return self._accept_command(context_id, piece)
        if not self._data_set_due:
            raise RemoteProtocolError("a data fragment that no command set has announced")
        if piece.is_last:
            self.context_id, self._data_set_due = None, False
            self.ended += 1
        elif not piece.data:
            self._count_empty()
            return None
        return piece

    def _accept_command(self, context_id: int, piece: DataPiece) -> Command | None:
        data = piece.data
        if len(self._command) + len(data) > self._limit:
            raise CommandDecodeError(f"a command set over {self._limit} bytes")
        if self._command or not piece.is_last:
            self.context_id = context_id
            self._command += data
            if not piece.is_last:
                if not data:
                    self._count_empty()
                return None
            data = bytes(self._command)
            self._command = bytearray()
        message = self._decode(data)
        self._data_set_due = message.has_data_set
        if message.has_data_set:
            self.context_id = context_id
        else:
            self.context_id = None
            self.ended += 1
        return Command(context_id, message, len(data))

    def _count_empty(self) -> None:
        """Count an empty fragment that is not the last of its command set or data set."""
        if self._empty_in != self.ended:
            self._empty, self._empty_in = 0, self.ended
        self._empty += 1
        if self._empty > self._most_empty:
            raise RemoteProtocolError(f"more than {self._most_empty} empty fragments in a message")


# --- out --------------------------------------------------------------------------------------------------------------


def fragment_length(max_pdu_length: int) -> int:
    """Return the most bytes of a command set or data set that one P-DATA-TF carries. The number is even (PS3.8 E.1)."""
    return (max_pdu_length - PDV_HEADER_LENGTH) & ~1


class Fragmenter:
    """Cuts command sets and data sets into P-DATA-TF PDUs of one PDV each, for one presentation context.

    `max_pdu_length` is the most bytes after a PDU header, at least 8. If the peer announced 0, no limit (PS3.8 D.1.1),
    the caller chooses one. All methods return the buffers to be written, in order: 12 bytes of headers, then the bytes
    of the fragment, as views of what was fed, which must not change any more. Every fragment except the last is full,
    and all fragments of a data set have an even length (PS3.8 E.1). Only pieces under 1 KiB are copied.
    """

    def __init__(self, max_pdu_length: int, context_id: int) -> None:
        self.fragment_length: int = fragment_length(max_pdu_length)
        """The most bytes of a command set or data set that a fragment carries."""
        if self.fragment_length < 2:
            raise LocalProtocolError(f"a maximum PDU length of {max_pdu_length} leaves no room for a fragment")
        self._context_id = context_id
        self._full_header = pdata_header(context_id, False, False, self.fragment_length)
        # The last bytes that were fed, at most one full fragment. It is sent when more is fed, since the last fragment
        # has a flag.
        self._held: list[memoryview | bytearray] = []
        self._held_length = 0

    def command(self, data: bytes) -> list[Buffer]:
        """Cut a whole command set."""
        size, total = self.fragment_length, len(data)
        if total <= size:
            header = PDATA_HEADER.pack(
                P_DATA_TF, total + PDV_HEADER_LENGTH, total + 2, self._context_id, COMMAND | LAST
            )
            return [header, data]
        view = memoryview(data)
        buffers: list[Buffer] = []
        for start in range(0, total, size):
            part = view[start : start + size]
            buffers += (pdata_header(self._context_id, True, start + size >= total, len(part)), part)
        return buffers

    def feed(self, piece: Buffer) -> list[Buffer]:
        """Take the next bytes of the data set, of any length. Return all full fragments that are not the last."""
        view = memoryview(piece)
        if view.format != "B" or view.ndim != 1:
            view = view.cast("B")
        size, start, end = self.fragment_length, 0, len(view)
        buffers: list[Buffer] = []
        if self._held_length and self._held_length + end > size:
            start = size - self._held_length
            self._hold(view[:start])
            buffers += (self._full_header, *self._take())
        if size < _COPIED_BELOW and (count := (end - start - 1) // size) > 1:
            header, stop = self._full_header, start + count * size
            parts = [view[at : at + size] for at in range(start, stop, size)]
            buffers += (header, header.join(parts))
            start = stop
        while end - start > size:
            buffers += (self._full_header, view[start : start + size])
            start += size
        self._hold(view[start:])
        return buffers

    def finish(self) -> list[Buffer]:
        """Return the last fragment of the data set, which is empty if nothing was fed. After it the next message may
        follow.

        A NUL pads a data set of odd length, as deflated ones may have (PS3.5 A.5, PS3.8 E.1): DCMTK 3.6.7 (storescp)
        and Orthanc 1.10.1 abort the association at a fragment of odd length.
        """
        pad = self._held_length & 1
        header = pdata_header(self._context_id, False, True, self._held_length + pad)
        return [header, *self._take(), b"\0"] if pad else [header, *self._take()]

    def _hold(self, view: memoryview) -> None:
        self._held_length += len(view)
        if len(view) >= _COPIED_BELOW:
            self._held.append(view)
        elif self._held and type(self._held[-1]) is bytearray:
            self._held[-1] += view
        elif view:
            self._held.append(bytearray(view))

    def _take(self) -> list[Buffer]:
        held, self._held, self._held_length = self._held, [], 0
        return [memoryview(part) for part in held]
