"""Two engines joined in memory: a whole association without an event loop."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from aiodimse.association import (
    AcceptedConfirmation,
    CloseTransport,
    DropTransport,
    Offer,
    PresentationContext,
    RequestedIndication,
    Role,
    SOPClassSupport,
    answer_request,
    propose,
)
from aiodimse.config import Limits, Timeouts
from aiodimse.engine import Engine, EngineEvent
from aiodimse.pdu import AssociateRJ, AssociateRQ

Cut = Callable[[bytes], Iterable[bytes]]
"""Divides bytes into the pieces in which they are received."""


def whole(data: bytes) -> Iterable[bytes]:
    """Leave bytes in one piece.

    Args:
        data: The bytes.
    """
    return (data,)


def byte_by_byte(data: bytes) -> Iterable[bytes]:
    """Divide bytes into pieces of one.

    Args:
        data: The bytes.
    """
    return (data[at : at + 1] for at in range(len(data)))


class EnginePair:
    """A requestor and an acceptor with a connection between them, without an event loop.

    Events are collected by role, in order. If an engine emits CloseTransport or DropTransport, its connection is
    closed. The acceptor answers the A-ASSOCIATE-RQ at once.

    Args:
        contexts: The presentation contexts that are proposed.
        offer: What the acceptor accepts; by default every context that is proposed.
        limits: The limits of both engines.
        timeouts: The timeouts of both engines.
        operations_window: The numbers of operations that each may invoke and perform at a time.
        cut: Divides the bytes between them.

    Examples:
        >>> pair = EnginePair([sop_class.Verification])
        >>> pair.connect()
        >>> request = CEchoRQ(message_id=0, affected_sop_class_uid="1.2.840.10008.1.1")
        >>> invoked = pair.requestor.invoke(1, request)
        >>> pair.requestor.send(1, request)
        >>> pair.carry()
        >>> print(pair.events["acceptor"][-1].operation.request)
        C-ECHO-RQ 1
    """

    def __init__(
        self,
        contexts: Sequence[str | PresentationContext],
        *,
        offer: Offer | None = None,
        limits: Limits | None = None,
        timeouts: Timeouts | None = None,
        operations_window: tuple[int, int] = (1, 1),
        cut: Cut = whole,
    ) -> None:
        self.now: float = 0.0
        self.limits: Limits = limits or Limits()
        self.timeouts: Timeouts = timeouts or Timeouts()
        self.cut: Cut = cut
        self.rq: AssociateRQ = propose(
            contexts,
            ae_title="REQUESTOR",
            called_ae_title="ACCEPTOR",
            limits=self.limits,
            operations_window=operations_window,
        )
        self._window = operations_window
        support = {context.abstract_syntax: SOPClassSupport(scu=True) for context in self.rq.contexts}
        self._offer = offer or Offer(support, any_storage_as_scu=True)
        self.requestor: Engine = Engine("requestor", limits=self.limits, timeouts=self.timeouts)
        self.acceptor: Engine = Engine("acceptor", limits=self.limits, timeouts=self.timeouts)
        self.events: dict[Role, list[EngineEvent]] = {"requestor": [], "acceptor": []}
        self.sent: dict[Role, list[bytes]] = {"requestor": [], "acceptor": []}
        """What each side wrote, in the buffers in which it was written."""
        self._engines: dict[Role, Engine] = {"requestor": self.requestor, "acceptor": self.acceptor}
        self._finished: dict[Role, bool] = {"requestor": False, "acceptor": False}  # whether it has closed its end
        self._told: dict[Role, bool] = {"requestor": False, "acceptor": False}  # whether it was told of the close

    def connect(self) -> None:
        """Open the transport connection and negotiate."""
        self.requestor.associate(self.rq, self.now)
        self.requestor.transport_connected(self.now)
        self.acceptor.transport_connected(self.now)
        self.carry()

    def carry(self) -> None:
        """Carry bytes in both directions, and events into `events`, until nothing more comes."""
        while any([self._carry("requestor", "acceptor"), self._carry("acceptor", "requestor")]):
            pass

    def _carry(self, side: Role, other: Role) -> bool:
        engine = self._engines[side]
        moved = self._collect(side)
        data = b"".join(engine.data_to_send())
        if data:
            moved = True
            self.sent[side].append(data)
            if not self._told[other]:
                self._receive(other, data)
        if self._finished[side] and not self._told[other]:
            self._told[other] = True
            self._engines[other].transport_closed(self.now)
        return moved

    def _receive(self, side: Role, data: bytes) -> None:
        engine = self._engines[side]
        for piece in self.cut(data):
            engine.receive_data(piece, self.now)
            self._collect(side)

    def _collect(self, side: Role) -> bool:
        engine = self._engines[side]
        moved = False
        while (event := engine.next_event()) is not None:
            moved = True
            self.events[side].append(event)
            if isinstance(event, (CloseTransport, DropTransport)):
                self._finished[side] = True
            if isinstance(event, RequestedIndication):
                reply = answer_request(event.rq, self._offer, limits=self.limits, operations_window=self._window)
                if isinstance(reply, AssociateRJ):
                    engine.reject(reply, self.now)
                else:
                    engine.accept(reply, self.now)
        return moved

    def elapse(self, seconds: float) -> None:
        """Let time pass, deadline by deadline.

        Args:
            seconds: How much time.
        """
        until = self.now + seconds
        while True:
            deadlines = [d for engine in self._engines.values() if (d := engine.deadline) is not None]
            if not deadlines or min(deadlines) > until:
                break
            self.now = max(self.now, min(deadlines))
            for engine in self._engines.values():
                engine.handle_timeout(self.now)
            self.carry()
        self.now = until

    @property
    def is_established(self) -> bool:
        """Whether both sides have an association."""
        return any(isinstance(event, AcceptedConfirmation) for event in self.events["requestor"])
