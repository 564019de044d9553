"""Reads the bytes of associations beside them, and holds what is said against the rules that no side may break.

A `trace` for Server or connect. AssertionErrors are kept in .faults too, for they are raised inside the event loop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from aiodimse.config import Limits
from aiodimse.dimse.fragments import Command, Joiner
from aiodimse.dimse.messages import CCancelRQ, CFindRQ, CGetRQ, CMoveRQ, Message, Request, Response
from aiodimse.errors import PDUDecodeError
from aiodimse.pdu import Abort, DataPiece, PDUReader

MANY = (CFindRQ, CGetRQ, CMoveRQ)
PENDING = (0xFF00, 0xFF01)


@dataclass(eq=False)
class Said:
    """A request and what was answered."""

    request: Request
    expected: int | None = None
    """The number of sub-operations that its handler announced."""
    responses: list[Response] = field(default_factory=list)
    is_final: bool = False

    def counters(self, response: Response) -> list[int]:
        names = ("remaining", "completed", "failed", "warning")
        found = [getattr(response, f"number_of_{name}_suboperations", None) for name in names]
        return [number for number in found if number is not None]


class Conversation:
    """One association."""

    def __init__(self, faults: list[str]) -> None:
        self.faults = faults
        self.said: list[Said] = []
        self.open: dict[tuple[str, int], Said] = {}
        self.aborts: list[tuple[str, Abort]] = []
        self._ways = {way: (PDUReader(Limits()), Joiner(Limits())) for way in "><"}

    def __call__(self, way: str, data: bytes | memoryview) -> None:
        reader, joiner = self._ways[way]
        reader.feed(bytes(data))
        while (item := reader.next()) is not None:
            if isinstance(item, PDUDecodeError):
                self.faults.append(f"{way} {item}")
            elif isinstance(item, Abort):
                self.aborts.append((way, item))
                if len(self.aborts) > 2 or (self.aborts[0][0] == way and len(self.aborts) > 1):
                    self.faults.append(f"two A-ABORT in {way}")
            elif isinstance(item, DataPiece):
                arrived = joiner.accept(item)
                if isinstance(arrived, Command):
                    self._message(way, arrived.message)

    def _message(self, way: str, message: Message) -> None:
        if isinstance(message, Response):
            other = ">" if way == "<" else "<"
            said = self.open.get((other, message.message_id_being_responded_to))
            if said is None:
                self.faults.append(f"{message} answers nothing that is open")
                return
            said.responses.append(message)
            self._counters(said, message)
            if message.status not in PENDING or not isinstance(said.request, MANY):
                said.is_final = True
                del self.open[other, message.message_id_being_responded_to]
        elif isinstance(message, Request) and not isinstance(message, CCancelRQ):
            key = way, message.message_id
            if key in self.open:
                self.faults.append(f"{message}: its message ID is in use")
            said = self.open[key] = Said(message)
            self.said.append(said)

    def _counters(self, said: Said, response: Response) -> None:
        numbers = said.counters(response)
        if not isinstance(said.request, (CGetRQ, CMoveRQ)) or not numbers:
            return
        pending = response.status in PENDING
        if len(numbers) != (4 if pending or response.status == 0xFE00 else 3):
            self.faults.append(f"{len(numbers)} counters in {response}")
        if said.expected is not None and sum(numbers) != said.expected:
            self.faults.append(f"counters {numbers} of {response} are not {said.expected}")
        completed, failed, warning = numbers[-3:]
        sound: dict[int, Callable[[], bool]] = {
            0x0000: lambda: failed == warning == 0,
            0xA702: lambda: completed == warning == 0 and failed > 0,
            0xB000: lambda: failed + warning > 0 and completed + warning > 0,
            0xFF00: lambda: numbers[0] > 0,
        }
        if not sound.get(response.status, lambda: True)():
            self.faults.append(f"counters {numbers} under status {response.status:04X}")

    def find(self, message_id: int, way: str = ">") -> Said | None:
        """The open request with this message ID."""
        return self.open.get((way, message_id))


class Watcher:
    """Every association of a server."""

    def __init__(self) -> None:
        self.faults: list[str] = []
        self.conversations: list[Conversation] = []

    def trace(self, role: str) -> Conversation:
        conversation = Conversation(self.faults)
        if role == "acceptor":  # those that a C-MOVE opens are watched, and not looked up
            self.conversations.append(conversation)
        return conversation
