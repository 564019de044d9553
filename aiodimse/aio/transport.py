"""The transport end of one association: an asyncio.Protocol that reads, writes, waits for room and notices stalls."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

from aiodimse.aio.clock import Clock, TimerHandle
from aiodimse.aio.hooks import HookCall
from aiodimse.aio.log import Adapter
from aiodimse.aio.signals import Signal

_TCP_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)  # Linux
_TCP_INFO: int | None = getattr(socket, "TCP_INFO", None)  # Linux
_BYTES_ACKED = struct.Struct("=120xQ")  # tcpi_bytes_acked in struct tcp_info, since Linux 4.1
_KEEPALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 6))
"""Seconds of silence before the first probe, seconds between two, and how many stay unanswered before the peer is gone:
two minutes in all. Linux waits 7200 s for the first; firewalls forget a silent connection before that."""
_WRITELINES = sys.version_info >= (3, 12)  # before, writelines joins everything

Tap = Callable[[str, bytes | memoryview], None]
"""Sees what one connection carries: way (">" from the association requestor, "<" from the acceptor) and bytes, as they
are read and written; no bytes when that way has come to its end. One that raises is logged, and sees no more."""
Trace = Callable[[str], Tap]
"""Asked for the Tap of each new connection; the argument is our role, "requestor" or "acceptor"."""


class TransportUser(Protocol):
    """Who listens to a TransportConnection."""

    def transport_connected(self) -> None: ...

    def transport_received(self, data: bytes) -> None: ...

    def transport_stalled(self) -> None: ...

    def transport_closed(self) -> None: ...

    def transport_lost(self) -> None: ...


class TransportConnection(asyncio.Protocol):
    """Bytes to and from one transport connection."""

    def __init__(
        self, owner: TransportUser, clock: Clock, *, write_stall: float | None, min_rate: int, quick_ack: bool = True
    ) -> None:
        self._owner = owner
        self._clock = clock
        self._write_stall, self._min_rate = write_stall, min_rate
        self._quick_ack = quick_ack
        self.transport: asyncio.Transport | None = None
        self.carrier: asyncio.Transport | None = None
        """With TLS the transport below it, where up to 64 KiB may wait that `transport` knows nothing of."""
        self.is_reading: bool = True
        self.high_water = 1 << 16
        """Bytes waiting above which the transport wants no more."""
        self.can_write: bool = False
        """Whether the transport wants more bytes (PS3.8 says nothing about back-pressure; TCP does)."""
        self._socket: Any = None
        self._closed = False
        self.error: Exception | None = None
        """What the transport died of, where it did not just end."""
        self.on_room: Callable[[], None] | None = None
        """Called when the transport wants bytes again."""
        self._room = Signal()
        self._written = 0  # bytes given to the transport since the start
        self._stall_timer: TimerHandle | None = None
        self._at_arm = (0, 0, 0)  # bytes drained, written and acknowledged when that was set
        self._tap: Tap | None = None
        self._ways = "><"
        """Sent, received."""

    def tap(self, trace: Trace | None, role: str, log: Adapter) -> None:
        """Let a trace see all bytes from now on. One that raises sees no more of this connection."""
        if trace is not None:
            self._ways = "><" if role == "requestor" else "<>"
            self._hook = HookCall(log, "a trace, which is told no more of this connection,")
            with self._hook:
                self._tap = trace(role)

    def _show(self, way: str, data: bytes | memoryview) -> None:
        tap, self._tap = self._tap, None
        if tap is not None:
            with self._hook:
                tap(way, data)
                self._tap = tap

    # --- asyncio.Protocol ---------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport over; small messages must not wait for the acknowledgment of the last (Nagle)."""
        # uvloop's transports are no subclass of asyncio.Transport.
        self.transport = transport = cast(asyncio.Transport, transport)
        transport.set_write_buffer_limits(high=self.high_water)
        self.can_write = True
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in _KEEPALIVE:
                if (option := getattr(socket, name, None)) is not None:  # macOS has no TCP_KEEPIDLE
                    sock.setsockopt(socket.IPPROTO_TCP, option, value)
            if self._quick_ack and _TCP_QUICKACK is not None:
                self._socket = sock
                sock.setsockopt(socket.IPPROTO_TCP, _TCP_QUICKACK, 1)
        self._owner.transport_connected()

    def data_received(self, data: bytes) -> None:
        """Hand the bytes up; what they did not cause an answer to is acknowledged at once.

        DCMTK and Orthanc write a PDU in two pieces with Nagle's algorithm on; the second waits for the acknowledgment
        of the first, which Linux delays by 44 ms unless TCP_QUICKACK is set anew. An answer carries the acknowledgment
        with it: a packet and a system call less, 13 us of an echo.
        """
        if self._tap is not None:
            self._show(self._ways[1], data)
        written = self._written
        self._owner.transport_received(data)
        if self._socket is not None and self._written == written:
            try:
                self._socket.setsockopt(socket.IPPROTO_TCP, _TCP_QUICKACK, 1)
            except OSError:
                self._socket = None

    def eof_received(self) -> bool:
        """The peer has closed its side: for DICOM that is the end of the transport connection (Evt17)."""
        self._close(None)
        transport = self.transport
        if transport is not None and self.backlog:
            transport.abort()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """The transport is gone; no more calls follow."""
        self._close(error)
        if self._stall_timer is not None:
            self._stall_timer.cancel()
            self._stall_timer = None
        self._socket = None
        for way in self._ways:
            self._show(way, b"")
        self._owner.transport_lost()

    def _close(self, error: Exception | None) -> None:
        if not self._closed:
            self._closed = True
            self.error = error
            self.can_write = False
            self._owner.transport_closed()
            self._room.wake()

    def pause_writing(self) -> None:
        """The transport holds as much as it wants to."""
        self.can_write = False

    def resume_writing(self) -> None:
        """The transport has room again."""
        self.can_write = not self._closed
        self._room.wake()
        if self.on_room is not None:
            self.on_room()

    # --- for the connection -------------------------------------------------------------------------------------------

    def write(self, buffers: Sequence[bytes | memoryview]) -> None:
        """Give buffers to the transport. One that broke has not told us yet while a message is written without a wait,
        and asyncio logs a warning for each write to it."""
        transport = self.transport
        if transport is None or self._closed or transport.is_closing():
            return
        if self._tap is not None:
            for buffer in buffers:
                self._show(self._ways[0], buffer)
        if len(buffers) == 1:
            self._written += len(buffers[0])
            transport.write(buffers[0])
        else:
            self._written += sum(map(len, buffers))
            if _WRITELINES:
                transport.writelines(buffers)
            else:
                for buffer in buffers:
                    transport.write(buffer)
        if self._stall_timer is None and self._write_stall is not None and self.backlog:
            self._watch(self._write_stall)

    @property
    def peer_address(self) -> tuple[str, int] | None:
        """IP address and port of the peer; None where the transport has none."""
        name = self.transport.get_extra_info("peername") if self.transport is not None else None
        return (str(name[0]), int(name[1])) if isinstance(name, tuple) and len(name) >= 2 else None

    @property
    def backlog(self) -> int:
        """Bytes that wait in this process for the peer to take some."""
        if self.transport is None:
            return 0
        waiting = self.transport.get_write_buffer_size()
        return waiting if self.carrier is None else waiting + self.carrier.get_write_buffer_size()

    async def room(self) -> None:
        """Wait until the transport wants bytes, or is gone; a cancelled wait changes nothing."""
        while not self.can_write and not self._closed:
            await self._room.wait()

    def pause_reading(self) -> None:
        """Stop reading; TCP tells the peer."""
        if self.is_reading and self.transport is not None and not self.transport.is_closing():
            self.is_reading = False
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if not self.is_reading and self.transport is not None and not self.transport.is_closing():
            self.is_reading = True
            self.transport.resume_reading()

    def finish(self) -> None:
        """Send FIN after what is written, and go on reading; TLS has no half-close and is closed."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        if transport.can_write_eof():
            try:
                transport.write_eof()
            except OSError:  # the peer has reset the connection, and the loop has not told us yet
                transport.abort()
                return
            self.resume_reading()
        else:
            transport.close()

    def drop(self) -> None:
        """Close now; what is not written yet is lost."""
        if self.transport is not None:
            self.transport.abort()

    # --- stalls -------------------------------------------------------------------------------------------------------

    def _watch(self, stall: float) -> None:
        self._at_arm = self._written - self.backlog, self._written, self._acknowledged()
        self._stall_timer = self._clock.call_at(self._clock.now() + stall, self._check_stall)

    def _check_stall(self) -> None:
        self._stall_timer = None
        stall, waiting = self._write_stall, self.backlog
        if self._closed or stall is None or not waiting:
            return
        drained, written, acknowledged = self._at_arm
        least = max(stall * self._min_rate, 1)
        # All that waited then has gone, or enough; or enough has arrived, and the kernel does not ask for more yet.
        if self._written - waiting >= min(written, drained + least) or self._acknowledged() - acknowledged >= least:
            self._watch(stall)
        else:
            self._owner.transport_stalled()

    def _acknowledged(self) -> int:
        """Bytes that the peer's TCP has acknowledged since the start; always 0 where the system does not say.

        Linux wakes a writer when a third of the socket's buffer is free: on a slow link that takes minutes.
        """
        sock = self.transport.get_extra_info("socket") if self.transport is not None else None
        if sock is None or _TCP_INFO is None:
            return 0
        try:
            info = sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _BYTES_ACKED.size)
            return int(_BYTES_ACKED.unpack(info)[0])
        except (OSError, struct.error):
            return 0
