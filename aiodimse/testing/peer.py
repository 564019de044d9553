"""A peer that does what a test says, PDU by PDU, right or wrong."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeVar, cast

from aiodimse.aio.network import Network
from aiodimse.association import Offer, PresentationContext, SOPClassSupport, answer_request, propose
from aiodimse.config import Limits
from aiodimse.dimse import command
from aiodimse.dimse.fragments import Fragmenter
from aiodimse.dimse.messages import Message
from aiodimse.pdu import PDU, AssociateAC, AssociateRQ, PDataTF, decode, encode

P = TypeVar("P")

PATIENCE = 60.0
"""Seconds of real time after which a wait fails, so that a hanging test shows where it hangs."""


class PeerClosed(AssertionError):
    """The connection ended where the script expected a PDU."""


class ScriptedPeer(asyncio.Protocol):
    """One end of a connection. It sends nothing on its own.

    Args:
        arrivals: The queue to which it adds itself when it is connected.

    Examples:
        >>> peer = await ScriptedPeer.call(network, listening.port)  # toward a Server
        >>> await peer.associate([sop_class.Verification])
        >>> peer.send_message(1, CEchoRQ(message_id=7, affected_sop_class_uid=sop_class.Verification))
        >>> context_id, response, data = await peer.read_message()

        >>> peers = await ScriptedPeer.listen(network, 104)  # toward connect(..., port=104)
        >>> peer = await peers.get()
        >>> rq = await peer.accept()
    """

    def __init__(self, arrivals: asyncio.Queue[ScriptedPeer] | None = None) -> None:
        self._arrivals = arrivals
        self.transport: asyncio.Transport | None = None
        self.received: list[PDU] = []
        """Every PDU that was read."""
        self.raw: bytearray = bytearray()
        """Every byte that was received."""
        self.eof: bool = False
        """Whether the other side has sent FIN."""
        self.lost: bool = False
        """Whether the connection is gone."""
        self.error: Exception | None = None
        self.keep_open: bool = False
        """Whether to stay open when the other side sends FIN."""
        self._pdus: deque[bytes] = deque()
        self._buffer = bytearray()
        self._waiter: asyncio.Future[None] | None = None

    @classmethod
    async def call(cls, network: Network, port: int, host: str = "memory") -> ScriptedPeer:
        """Connect to a Server that listens.

        Args:
            network: The network of the Server's `Environment`.
            port: The port.
            host: The host.
        """
        peer = cls()
        await network.connect(lambda: peer, host, port)
        return peer

    @classmethod
    async def listen(cls, network: Network, port: int) -> asyncio.Queue[ScriptedPeer]:
        """Listen on a port.

        Args:
            network: The network.
            port: The port.

        Returns:
            A queue that gets a peer for each connection.
        """
        peers: asyncio.Queue[ScriptedPeer] = asyncio.Queue()

        await network.listen(lambda: cls(peers), None, port, sock=None, reuse_port=False)
        return peers

    # --- asyncio.Protocol ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport (see asyncio.Protocol).

        Args:
            transport: The transport.
        """
        self.transport = cast(
            asyncio.Transport, transport
        )  # the type of uvloop's transport is not an asyncio.Transport
        if self._arrivals is not None:
            self._arrivals.put_nowait(self)
        self._wake()

    def data_received(self, data: bytes) -> None:
        """Split what was received into PDUs (see asyncio.Protocol).

        Args:
            data: The received bytes.
        """
        self.raw += data
        buffer = self._buffer
        buffer += data
        while len(buffer) >= 6 and len(buffer) >= (end := 6 + int.from_bytes(buffer[2:6], "big")):
            self._pdus.append(bytes(buffer[:end]))
            del buffer[:end]
        self._wake()

    def eof_received(self) -> bool:
        """Note that the other side has sent FIN (see asyncio.Protocol)."""
        self.eof = True
        self._wake()
        return self.keep_open

    def connection_lost(self, error: Exception | None) -> None:
        """Note that the connection is gone (see asyncio.Protocol).

        Args:
            error: The reason; None: it was closed.
        """
        self.lost, self.error = True, error
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def until(self, true: Callable[[], bool]) -> None:
        """Wait until a condition is true.

        Args:
            true: The condition. It is checked whenever something arrives.

        Raises:
            TimeoutError: It did not become true within `PATIENCE` seconds of real time.
        """
        async with asyncio.timeout(PATIENCE):
            while not true():
                self._waiter = asyncio.get_running_loop().create_future()
                await self._waiter

    # --- the script ---------------------------------------------------------------------------------------------------

    def send(self, *what: PDU | bytes) -> None:
        """Write PDUs, or bytes as they are.

        Args:
            *what: The PDUs or bytes, in order.
        """
        assert self.transport is not None
        self.transport.write(b"".join(w if isinstance(w, bytes) else encode(w) for w in what))

    async def read(self) -> PDU:
        """Read the next PDU.

        Raises:
            PeerClosed: The connection ended before it.
            TimeoutError: Nothing arrived within `PATIENCE` seconds of real time.
        """
        await self.until(lambda: bool(self._pdus) or self.eof or self.lost)
        if not self._pdus:
            raise PeerClosed(f"closed after {self.received}")
        pdu = decode(self._pdus.popleft())
        self.received.append(pdu)
        return pdu

    async def expect(self, kind: type[P]) -> P:
        """Read the next PDU, and check its type.

        Args:
            kind: Its class, such as `AssociateAC`.

        Raises:
            AssertionError: The PDU has another type.
        """
        pdu = await self.read()
        assert isinstance(pdu, kind), f"{pdu} where {kind.__name__} was expected"
        return pdu

    async def read_to_end(self) -> list[PDU]:
        """Read every PDU up to the end of the connection."""
        found: list[PDU] = []
        while True:
            try:
                found.append(await self.read())
            except PeerClosed:
                return found

    @property
    def has_pdu(self) -> bool:
        """Whether a whole PDU waits to be read."""
        return bool(self._pdus)

    async def closed(self) -> None:
        """Wait for the end of the connection, by FIN or otherwise."""
        await self.until(lambda: self.eof or self.lost)

    def finish(self) -> None:
        """Send FIN."""
        assert self.transport is not None
        self.transport.write_eof()

    def abort_transport(self) -> None:
        """Drop the connection."""
        assert self.transport is not None
        self.transport.abort()

    def stop_reading(self) -> None:
        """Stop reading, like a peer that hangs."""
        assert self.transport is not None
        self.transport.pause_reading()

    def go_on_reading(self) -> None:
        """Read again."""
        assert self.transport is not None
        self.transport.resume_reading()

    # --- associations and messages ------------------------------------------------------------------------------------

    async def associate(
        self,
        contexts: Sequence[str | PresentationContext],
        *,
        called: str = "AIODIMSE",
        calling: str = "SCRIPTED",
        operations_window: tuple[int, int] = (1, 1),
    ) -> AssociateAC:
        """Propose an association, and read the A-ASSOCIATE-AC.

        Args:
            contexts: The presentation contexts; their IDs are 1, 3, 5 and so on.
            called: The called AE title.
            calling: The calling AE title.
            operations_window: The numbers of operations proposed: invoked, performed.

        Returns:
            The A-ASSOCIATE-AC.

        Raises:
            AssertionError: The answer is another PDU.
        """
        rq = propose(
            contexts,
            ae_title=calling,
            called_ae_title=called,
            limits=Limits(),
            operations_window=operations_window,
        )
        self.send(rq)
        return await self.expect(AssociateAC)

    async def accept(self, *, operations_window: tuple[int, int] = (1, 1)) -> AssociateRQ:
        """Read the A-ASSOCIATE-RQ, and accept all its contexts in the proposed roles.

        Args:
            operations_window: The largest numbers of operations to answer.

        Returns:
            The A-ASSOCIATE-RQ.
        """
        rq = await self.expect(AssociateRQ)
        offer = Offer({c.abstract_syntax: SOPClassSupport(scu=True) for c in rq.contexts}, any_storage_as_scu=True)
        reply = answer_request(rq, offer, limits=Limits(), operations_window=operations_window)
        self.send(reply)
        return rq

    def send_message(
        self, context_id: int, message: Message, data: bytes | None = None, *, max_pdu_length: int = 16384
    ) -> None:
        """Write a whole message, in fragments.

        Args:
            context_id: The presentation context.
            message: The command set. This sets whether a data set follows.
            data: The encoded data set; None: there is none.
            max_pdu_length: The length of the largest PDU, as the other side announced it.
        """
        message.has_data_set = data is not None
        fragmenter = Fragmenter(max_pdu_length, context_id)
        buffers = list(fragmenter.command(command.encode(message)))
        if data is not None:
            buffers += fragmenter.feed(data)
            buffers += fragmenter.finish()
        self.send(b"".join(buffers))

    async def read_message(self) -> tuple[int, Message, bytes | None]:
        """Read the next message.

        Returns:
            The context ID, the command set, and the data set if it has one.

        Raises:
            AssertionError: Something else arrived.
            PeerClosed: The connection ended before the message.
        """
        context_id, data = await self._half(is_command=True)
        message = command.decode(data)
        if not message.has_data_set:
            return context_id, message, None
        return context_id, message, (await self._half(is_command=False))[1]

    async def _half(self, *, is_command: bool) -> tuple[int, bytes]:
        parts: list[bytes | memoryview] = []
        while True:
            for pdv in (await self.expect(PDataTF)).pdvs:
                assert pdv.is_command == is_command, "a command where data was expected, or the other way round"
                parts.append(pdv.data)
                if pdv.is_last:
                    return pdv.context_id, b"".join(parts)
