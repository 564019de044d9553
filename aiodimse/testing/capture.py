"""Replays recorded conversations: text files with one PDU per line, as `>` (from the requestor) or `<`, then hex."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Literal, TypeAlias, cast

from aiodimse.config import Limits, Timeouts
from aiodimse.dimse.fragments import Joiner
from aiodimse.dimse.messages import CCancelRQ, Message, Request, Response
from aiodimse.dimse.operations import DatasetReceived, Performed, RequestReceived
from aiodimse.engine import Engine, EngineEvent
from aiodimse.errors import RemoteProtocolError
from aiodimse.pdu import (
    PDU,
    Abort,
    AssociateAC,
    AssociateRJ,
    AssociateRQ,
    DataPiece,
    PDataTF,
    ReleaseRP,
    ReleaseRQ,
    decode,
)
from aiodimse.testing.engines import Cut, whole
from aiodimse.testing.peer import PeerClosed, ScriptedPeer

Side: TypeAlias = Literal[">", "<"]
"""">": the requestor, "<": the acceptor."""
Capture: TypeAlias = list[tuple[Side, bytes]]


def read_capture(path: str | os.PathLike[str]) -> Capture:
    """Read the PDUs of a conversation, in order.

    Args:
        path: A text file with one PDU on each line: `>` or `<`, then hex. Lines that begin with `#` are ignored. The
            option `--trace FILE` of the command line writes such files.

    Returns:
        Pairs of the sender of a PDU and its bytes.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file does not have this format.
    """
    found: Capture = []
    for number, line in enumerate(Path(path).read_text().splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        try:
            side, data = words
            pdu = bytes.fromhex(data)
        except ValueError:
            side = ""
        if side not in (">", "<"):
            raise ValueError(f"line {number} is not a PDU: > or <, then hex")
        found.append((cast(Side, side), pdu))
    return found


def _turns(capture: Capture) -> Iterable[tuple[Side, list[bytes]]]:
    for side, lines in itertools.groupby(capture, lambda line: line[0]):
        yield side, [data for _, data in lines]


# --- without an event loop --------------------------------------------------------------------------------------------


def replay(capture: Capture | str | os.PathLike[str], side: Side, *, cut: Cut = whole) -> list[EngineEvent]:
    """Have an Engine replay one side of a recorded conversation, and return its events.

    The engine receives what the other side sent, and is asked to do what its own side did: the same requests with the
    same message IDs, and the same responses. Fragments of one data set are joined, so the events do not depend on the
    cut. Recordings of real peers can be replayed, and damaged ones too: an engine raises nothing for what it receives,
    and is asked for nothing after the association has ended.

    Args:
        capture: The conversation, or the path of one (see `read_capture`).
        side: The side of the engine: ">" the requestor, "<" the acceptor.
        cut: Divides the bytes that the engine receives.

    Returns:
        The events, in order.
    """
    if isinstance(capture, (str, os.PathLike)):
        capture = read_capture(capture)
    player = _Player(side)
    for which, lines in _turns(capture):
        if which == side:
            for line in lines:
                player.do(decode(line))
        else:
            player.hear(b"".join(lines), cut)
    return player.events


class _Player:
    def __init__(self, side: Side) -> None:
        limits = Limits(max_pdu_length=0)
        self.engine = Engine("requestor" if side == ">" else "acceptor", limits=limits, timeouts=Timeouts())
        self.events: list[EngineEvent] = []
        self._joiner = Joiner(limits)
        self._message: tuple[int, Message] | None = None
        self._data: list[bytes] = []
        self._performed: dict[int, Performed] = {}
        if side == "<":
            self.engine.transport_connected(0.0)

    def hear(self, data: bytes, cut: Cut) -> None:
        for piece in cut(data):
            self.engine.receive_data(piece, 0.0)
            self.collect()

    def collect(self) -> None:
        while (event := self.engine.next_event()) is not None:
            last = self.events[-1] if self.events else None
            if isinstance(event, RequestReceived):
                self._performed[event.operation.message_id] = event.operation
            if isinstance(event, DatasetReceived):
                event.data = bytes(event.data)
                if isinstance(last, DatasetReceived) and last.operation is event.operation and not last.is_last:
                    last.data, last.is_last = bytes(last.data) + event.data, event.is_last
                    continue
            self.events.append(event)

    def do(self, pdu: PDU) -> None:
        """Have the engine send what this side sent, by the primitive for it; nothing if its state does not allow it."""
        engine, state = self.engine, self.engine.machine.state
        match pdu:
            case AssociateRQ():
                engine.associate(pdu, 0.0)
                engine.transport_connected(0.0)
            case AssociateAC() if state == 3:
                engine.accept(pdu, 0.0)
            case AssociateRJ() if state == 3:
                engine.reject(pdu, 0.0)
            case ReleaseRQ() if state == 6:
                engine.release(0.0)
            case ReleaseRP() if state in (8, 9, 12):
                engine.respond_release(0.0)
            case Abort():
                engine.abort(0.0, pdu.source, pdu.reason)
            case PDataTF() if engine.can_send:
                for pdv in pdu.pdvs:
                    self._do_fragment(DataPiece(pdv.context_id, pdv.is_command, pdv.is_last, bytes(pdv.data)))
        self.collect()

    def _do_fragment(self, piece: DataPiece) -> None:
        try:
            arrived = self._joiner.accept(piece)
        except RemoteProtocolError:  # an engine would not send this command set
            self._joiner, arrived = Joiner(Limits()), None
        if arrived is None:
            return
        if isinstance(arrived, DataPiece):
            self._data.append(bytes(arrived.data))
            if arrived.is_last and self._message is not None:
                self._send(*self._message, b"".join(self._data))
        elif arrived.message.has_data_set:
            self._message, self._data = (arrived.context_id, arrived.message), []
        else:
            self._send(arrived.context_id, arrived.message, None)

    def _send(self, context_id: int, message: Message, data: bytes | None) -> None:
        engine = self.engine
        self._message = None
        assert engine.negotiated is not None
        if context_id not in engine.negotiated.contexts:
            return
        if isinstance(message, CCancelRQ):
            operation = engine.router.invoked.get(message.message_id_being_responded_to)
            if operation is not None and (cancel := engine.router.cancel(operation)) is not None:
                engine.send(context_id, cancel)
        elif isinstance(message, Request):
            if engine.router.has_room:
                engine.router._last_id = message.message_id - 1  # the next one is that of the recording
                engine.invoke(context_id, message)
                engine.send(context_id, message, data)
        elif isinstance(message, Response):
            performed = self._performed.get(message.message_id_being_responded_to)
            if performed is not None and performed.is_open:
                engine.respond(performed, message, data)


# --- on a connection --------------------------------------------------------------------------------------------------


async def play(capture: Capture | str | os.PathLike[str], side: Side, peer: ScriptedPeer) -> list[PDU]:
    """Replay one side of a recorded conversation on a connection, and return the answers.

    After each turn as many PDUs are read as the other side of the recording sent, or fewer if the connection ends.

    Args:
        capture: The conversation, or the path of one (see `read_capture`).
        side: The side to replay: ">" the requestor, "<" the acceptor.
        peer: The connection to play it on.

    Returns:
        The PDUs that were received.

    Raises:
        TimeoutError: A PDU did not arrive within a minute of real time.
    """
    if isinstance(capture, (str, os.PathLike)):
        capture = read_capture(capture)
    heard: list[PDU] = []
    try:
        for which, lines in _turns(capture):
            if which == side:
                peer.send(*lines)
            else:
                for _ in lines:
                    heard.append(await peer.read())  # noqa: PERF401  # keeps what was read before an end
    except PeerClosed:
        pass
    return heard
