"""A scripted peer: it sends what a test tells it and reads what comes, with a deadline on every wait.

The deadline is for what never comes: no machine is so slow that it meets it.

    async with await ScriptedPeer.connect("127.0.0.1", port) as peer:
        await peer.associate([(1, VERIFICATION, [IMPLICIT_LE])])
        await peer.request(1, echo_rq(7))
        (response,) = await peer.responses(7)
        assert response.status == 0
        await peer.release()

    async with await ScriptedListener.open() as listener:
        peer = await listener.accept()
        await peer.accept()                           # reads the A-ASSOCIATE-RQ and accepts every context
        request = await peer.read_message()
        await peer.respond(request, 0x0000)

Every exception here is an AssertionError that carries the conversation so far, so a failed test shows it.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from scripted import wire
from scripted.wire import Context, Tag, Value

DEADLINE = 60.0
PENDING = frozenset({0xFF00, 0xFF01})


class ScriptedPeerError(AssertionError):
    """The peer did not do what the test waited for."""


class Closed(ScriptedPeerError):
    """The connection ended. reset: by RST, not by FIN. rest: the bytes of an unfinished PDU."""

    def __init__(self, message: str, *, reset: bool = False, rest: bytes = b"") -> None:
        super().__init__(message)
        self.reset, self.rest = reset, rest


class Aborted(ScriptedPeerError):
    """An A-ABORT came."""

    def __init__(self, source: int, reason: int, message: str) -> None:
        super().__init__(message)
        self.source, self.reason = source, reason


class Rejected(ScriptedPeerError):
    """An A-ASSOCIATE-RJ came."""

    def __init__(self, result: int, source: int, reason: int, message: str) -> None:
        super().__init__(message)
        self.result, self.source, self.reason = result, source, reason


class Silence(ScriptedPeerError):
    """Nothing came before the deadline."""


@dataclass(frozen=True)
class PDU:
    kind: int
    body: bytes

    @property
    def name(self) -> str:
        return wire.PDU_NAMES.get(self.kind, f"PDU {self.kind:02X}")

    def __str__(self) -> str:
        head = self.body[:40].hex()
        return f"{self.name} {len(self.body)} bytes {head}{'...' if len(self.body) > 40 else ''}"


class Message(dict[Tag, bytes]):
    """A command set as a plain dict, with its context and data set (None: none) and shorthands for what tests ask."""

    def __init__(self, context_id: int, elements: Mapping[Tag, bytes], data: bytes | None) -> None:
        super().__init__(elements)
        self.context_id, self.data = context_id, data

    def number(self, tag: Tag) -> int | None:
        return int.from_bytes(self[tag], "little") if tag in self else None

    def text(self, tag: Tag) -> str | None:
        return self[tag].decode("latin-1").rstrip("\0 ") if tag in self else None

    field = property(lambda self: self.number(wire.COMMAND_FIELD))
    message_id = property(lambda self: self.number(wire.MESSAGE_ID))
    responded_to = property(lambda self: self.number(wire.RESPONDED_TO))
    status = property(lambda self: self.number(wire.STATUS))
    sop_class = property(lambda self: self.text(wire.SOP_CLASS))
    instance = property(lambda self: self.text(wire.INSTANCE))
    comment = property(lambda self: self.text(wire.ERROR_COMMENT))

    @property
    def counters(self) -> tuple[int | None, int | None, int | None, int | None]:
        """Remaining, completed, failed, warning; None where absent."""
        tags = (wire.REMAINING, wire.COMPLETED, wire.FAILED, wire.WARNING)
        return tuple(self.number(tag) for tag in tags)  # type: ignore[return-value]

    @property
    def offending(self) -> list[Tag]:
        raw = self.get(wire.OFFENDING_ELEMENT, b"")
        return [struct.unpack_from("<HH", raw, at) for at in range(0, len(raw), 4)]

    def __str__(self) -> str:
        command = {f"{g:04x},{e:04x}": value.hex() for (g, e), value in self.items()}
        return f"context {self.context_id} {command} data {None if self.data is None else len(self.data)}"


class ScriptedPeer:
    """One end of one connection. timeout: the deadline of each wait, in seconds, where a call names no other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, timeout: float = DEADLINE) -> None:
        self.reader, self.writer, self.timeout = reader, writer, timeout
        self.trace: list[tuple[str, bytes]] = []
        """(">" sent or "<" received, bytes), a PDU each in what was received."""
        self.association: wire.Associate | None = None
        """The peer's A-ASSOCIATE-RQ or -AC."""
        self.limit = 16384
        """The maximum length of the peer, by which we fragment; 0: no limit."""
        self.stored: list[Message] = []
        """C-STORE-RQs that responses() answered."""
        self._next_id = 1
        self._pdvs: list[tuple[int, int, bytes]] = []

    @classmethod
    async def connect(cls, host: str, port: int, timeout: float = DEADLINE) -> ScriptedPeer:
        async with asyncio.timeout(timeout):
            reader, writer = await asyncio.open_connection(host, port)
        return cls(reader, writer, timeout)

    async def __aenter__(self) -> ScriptedPeer:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()

    def _tell(self, what: str) -> str:
        lines = [f"  {way} {data[:60].hex()}{'...' if len(data) > 60 else ''}" for way, data in self.trace[-20:]]
        return "\n".join([what, *lines])

    # --- bytes --------------------------------------------------------------------------------------------------------
    async def send(self, data: bytes, step: int | None = None) -> None:
        """Send bytes unchanged. step: the size of each write; the loop turns between two writes."""
        self.trace.append((">", data))
        async with asyncio.timeout(self.timeout):
            try:
                for at in range(0, len(data), step or max(len(data), 1)):
                    self.writer.write(data[at : at + step] if step else data)
                    await self.writer.drain()
                    await asyncio.sleep(0)
            except ConnectionError as error:
                raise Closed(self._tell(f"{error!r} while sending"), reset=True) from None

    async def read_pdu(self, timeout: float | None = None) -> PDU:
        """Return the next PDU of any kind. Raise Closed, or Silence after the deadline."""
        got = b""
        try:
            async with asyncio.timeout(self.timeout if timeout is None else timeout):
                got = await self.reader.readexactly(6)
                kind, _, length = struct.unpack(">BBI", got)
                body = await self.reader.readexactly(length)
        except TimeoutError:
            raise Silence(self._tell("the peer said nothing before the deadline")) from None
        except asyncio.IncompleteReadError as error:
            raise Closed(self._tell("the peer closed the connection"), rest=got + error.partial) from None
        except ConnectionError as error:
            raise Closed(self._tell(f"the connection broke: {error!r}"), reset=True) from None
        self.trace.append(("<", got + body))
        return PDU(kind, body)

    async def expect(self, kind: int, timeout: float | None = None) -> PDU:
        """Return the next PDU, which must be of this kind. A-ABORT and A-ASSOCIATE-RJ raise their own exceptions."""
        pdu = await self.read_pdu(timeout)
        if pdu.kind == kind:
            return pdu
        if pdu.kind == wire.A_ABORT:
            raise Aborted(pdu.body[2], pdu.body[3], self._tell(f"A-ABORT {pdu.body[2]}/{pdu.body[3]}"))
        if pdu.kind == wire.A_ASSOCIATE_RJ:
            result, source, reason = pdu.body[1:4]
            raise Rejected(result, source, reason, self._tell(f"A-ASSOCIATE-RJ {result}/{source}/{reason}"))
        raise ScriptedPeerError(self._tell(f"{pdu.name} where {wire.PDU_NAMES[kind]} was expected"))

    async def expect_abort(self, timeout: float | None = None) -> tuple[int, int]:
        """Return (source, reason) of the A-ABORT that comes next."""
        body = (await self.expect(wire.A_ABORT, timeout)).body
        return body[2], body[3]

    async def expect_reject(self, timeout: float | None = None) -> tuple[int, int, int]:
        """Return (result, source, reason) of the A-ASSOCIATE-RJ that comes next."""
        body = (await self.expect(wire.A_ASSOCIATE_RJ, timeout)).body
        return body[1], body[2], body[3]

    async def expect_close(self, timeout: float | None = None) -> float:
        """Wait for the end of the connection, and return the seconds that it took. Anything else raises."""
        began = time.monotonic()
        try:
            pdu = await self.read_pdu(timeout)
        except Closed as closed:
            if closed.rest:
                raise
            return time.monotonic() - began
        raise ScriptedPeerError(self._tell(f"{pdu.name} where the end of the connection was expected"))

    async def drain(self, timeout: float | None = None) -> list[PDU]:
        """Return all bytes until the peer closes."""
        found = []
        while True:
            try:
                found.append(await self.read_pdu(timeout))
            except Closed:
                return found

    async def close(self) -> None:
        """Close the connection, with FIN if nothing is unread."""
        self.writer.close()
        try:
            async with asyncio.timeout(self.timeout):
                await self.writer.wait_closed()
        except (ConnectionError, TimeoutError):
            self.writer.transport.abort()

    def shut(self) -> None:
        """Send FIN and keep reading."""
        self.writer.write_eof()

    def reset(self) -> None:
        """Close the connection with RST, as a machine does after a power failure."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    # --- association --------------------------------------------------------------------------------------------------
    async def associate(self, contexts: Iterable[Context], **more: object) -> wire.Associate:
        """Propose the contexts (wire.associate names what else) and return the peer's A-ASSOCIATE-AC."""
        await self.send(wire.associate_rq(contexts, **more))
        return self._take(await self.expect(wire.A_ASSOCIATE_AC))

    def _take(self, pdu: PDU) -> wire.Associate:
        self.association = wire.read_associate(pdu.body)
        self.limit = 16384 if self.association.max_length is None else self.association.max_length
        return self.association

    async def read_associate_rq(self) -> wire.Associate:
        return self._take(await self.expect(wire.A_ASSOCIATE_RQ))

    async def accept(self, results: Iterable[tuple[int, int, str]] | None = None, **more: object) -> wire.Associate:
        """As acceptor: read the A-ASSOCIATE-RQ unless that was done, answer with these context results (default: every
        context with its first transfer syntax, roles as proposed) and return the request."""
        rq = self.association or await self.read_associate_rq()
        if results is None:
            results = [(key, 0, transfer[0]) for key, (_, transfer) in rq.proposed.items()]
            more.setdefault("roles", rq.roles)
        await self.send(wire.associate_ac(results, **{"called": rq.called, "calling": rq.calling, **more}))
        return rq

    async def release(self, timeout: float | None = None) -> None:
        """Send A-RELEASE-RQ, read A-RELEASE-RP, and close."""
        await self.send(wire.RELEASE_RQ)
        await self.expect(wire.A_RELEASE_RP, timeout)
        await self.close()

    async def expect_release(self, timeout: float | None = None) -> None:
        """Read A-RELEASE-RQ, answer it and wait for the end of the connection."""
        await self.expect(wire.A_RELEASE_RQ, timeout)
        await self.send(wire.RELEASE_RP)
        await self.expect_close(timeout)

    # --- messages -----------------------------------------------------------------------------------------------------
    async def request(self, context_id: int, elements: Mapping[Tag, Value], data: bytes | None = None) -> int:
        """Send a request and return its Message ID, by default the next one."""
        if wire.MESSAGE_ID not in elements and wire.RESPONDED_TO not in elements:
            elements = {**elements, wire.MESSAGE_ID: self._next_id}
            self._next_id += 1
        await self.send(wire.message(context_id, elements, data, limit=self.limit))
        used = elements.get(wire.MESSAGE_ID, elements.get(wire.RESPONDED_TO, 0))
        return used if isinstance(used, int) else int.from_bytes(used[:2], "little")  # type: ignore[arg-type]

    async def cancel(self, context_id: int, message_id: int) -> None:
        await self.request(context_id, wire.cancel_rq(message_id))

    async def respond(
        self, to: Message, status: int, more: Mapping[Tag, Value] | None = None, data: bytes | None = None
    ) -> None:
        """Send a response to a request that was read, with further elements of its command set."""
        elements: dict[Tag, Value] = {wire.RESPONDED_TO: to.message_id, wire.STATUS: status}
        elements[wire.COMMAND_FIELD] = to.field | wire.RESPONSE
        for tag in (wire.SOP_CLASS, wire.INSTANCE):
            if tag in to:
                elements[tag] = to[tag]
        await self.send(wire.message(to.context_id, {**elements, **(more or {})}, data, limit=self.limit))

    async def read_message(self, timeout: float | None = None) -> Message:
        """Return the next complete message. Raise Aborted, Closed, Silence, or ScriptedPeerError for another PDU."""
        command = await self._half(1, None, timeout)
        elements = wire.read_command(command[1])
        data = None
        if elements.get(wire.DATA_SET_TYPE) != struct.pack("<H", wire.NO_DATA_SET):
            data = (await self._half(0, command[0], timeout))[1]
        return Message(command[0], elements, data)

    async def _half(self, command: int, context_id: int | None, timeout: float | None) -> tuple[int, bytes]:
        parts: list[bytes] = []
        while True:
            while not self._pdvs:
                self._pdvs = wire.read_pdvs((await self.expect(wire.P_DATA_TF, timeout)).body)
            found, control, data = self._pdvs.pop(0)
            context_id = found if context_id is None else context_id
            if (found, control & 1) != (context_id, command):
                raise ScriptedPeerError(self._tell(f"PDV of context {found}, control {control} inside another message"))
            parts.append(data)
            if control & 2:
                return context_id, b"".join(parts)

    async def responses(
        self,
        message_id: int,
        store: int | Callable[[Message], int | None] | None = None,
        timeout: float | None = None,
    ) -> list[Message]:
        """Return the responses to a request, up to the final one.

        store: how the C-STORE sub-operations of a C-GET that come meanwhile are answered: a status, or a function that
        gives one (None: no answer); they are kept in .stored. Anything else that comes raises.
        """
        found: list[Message] = []
        while not found or found[-1].status in PENDING:
            message = await self.read_message(timeout)
            if message.field == wire.C_STORE and store is not None:
                self.stored.append(message)
                status = store(message) if callable(store) else store
                if status is not None:
                    await self.respond(message, status)
            elif message.responded_to == message_id and message.field & wire.RESPONSE:
                found.append(message)
            else:
                raise ScriptedPeerError(self._tell(f"while waiting for responses to {message_id}: {message}"))
        return found


class ScriptedListener:
    """Listens on a free port of 127.0.0.1 and hands out a ScriptedPeer for each connection."""

    def __init__(self, timeout: float = DEADLINE) -> None:
        self.timeout = timeout
        self.peers: list[ScriptedPeer] = []
        self._arrived: asyncio.Queue[ScriptedPeer] = asyncio.Queue()
        self._server: asyncio.Server | None = None
        self.port = 0

    @classmethod
    async def open(cls, timeout: float = DEADLINE) -> ScriptedListener:
        self = cls(timeout)
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = ScriptedPeer(reader, writer, self.timeout)
        self.peers.append(peer)
        self._arrived.put_nowait(peer)

    async def accept(self, timeout: float | None = None) -> ScriptedPeer:
        """Return the next connection."""
        try:
            async with asyncio.timeout(self.timeout if timeout is None else timeout):
                return await self._arrived.get()
        except TimeoutError:
            raise Silence("nobody connected before the deadline") from None

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for peer in self.peers:
            await peer.close()

    async def __aenter__(self) -> ScriptedListener:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.close()
