"""The transport connection of one association: an asyncio.Protocol that reads, writes, waits for room and notices
stalls."""

from __future__ import annotations

import asyncio
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Protocol, cast

from aiodimse.aio.clock import Clock, TimerHandle
from aiodimse.aio.hooks import HookCall
from aiodimse.aio.log import Adapter
from aiodimse.aio.signals import Signal

_TCP_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)  # Linux
_TCP_INFO: int | None = getattr(socket, "TCP_INFO", None)  # Linux
_BYTES_ACKED = struct.Struct("=120xQ")  # tcpi_bytes_acked in struct tcp_info, since Linux 4.1
_KEEPALIVE = (("TCP_KEEPIDLE", 60), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 6))
"""Seconds of silence before the first probe, seconds between two probes, and how many of them may stay unanswered: a
peer that is gone is noticed after two minutes. Linux would wait 7200 s for the first, and firewalls forget a silent
connection before that."""
_WRITELINES = sys.version_info >= (3, 12)  # Before Python 3.12, writelines joins all buffers.

Tap = Callable[[str, bytes | memoryview], None]
"""Sees the bytes of one connection as they are read and written.

It is called with the direction, ">" from the association requestor or "<" from the acceptor, and the bytes; with b""
when that direction has ended. If it raises, that is logged and it is not called any more.
"""
Trace = Callable[[str], Tap]
"""Makes the Tap of each new connection. It is called with our role, "requestor" or "acceptor"."""


def peer_address(transport: asyncio.BaseTransport) -> tuple[str, int] | None:
    """Return the IP address and port of the peer of a transport; None if it has none."""
    name = transport.get_extra_info("peername")
    return (str(name[0]), int(name[1])) if isinstance(name, tuple) and len(name) >= 2 else None


class TransportUser(Protocol):
    """What a TransportConnection tells of its connection."""

    def transport_connected(self) -> None:
        """Take note that the connection is open."""

    def transport_received(self, data: bytes) -> None:
        """Take bytes that were received."""

    def transport_stalled(self) -> None:
        """Take note that the peer takes too few bytes."""

    def transport_closed(self) -> None:
        """Take note that the peer has closed the connection."""

    def transport_lost(self) -> None:
        """Take note that the connection is gone."""


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
        self.is_reading: bool = True
        self.high_water = 1 << 16
        """The number of waiting bytes above which the transport wants no more."""
        self.can_write: bool = False
        """Whether the transport wants more bytes (PS3.8 says nothing about back-pressure; TCP does)."""
        self._socket: Any = None
        self._closed = False
        self.error: Exception | None = None
        """The error that the transport connection ended with; None if it just ended."""
        self.on_room: Callable[[], None] | None = None
        """Called when the transport wants bytes again."""
        self._room = Signal()
        self._written = 0  # Bytes given to the transport since the start.
        self._stall_timer: TimerHandle | None = None
        self._at_arm = (0, 0, 0)  # The bytes drained, written and acknowledged when the timer was set.
        self._tap: Tap | None = None
        self._ways = "><"
        """The directions of what we send and of what we receive."""

    def tap(self, trace: Trace | None, role: str, log: Adapter) -> None:
        """Let a trace see all bytes from now on. If it raises, it sees no more of this connection."""
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
        """Keep the transport, and turn Nagle's algorithm off, with which a small message waits for an
        acknowledgment."""
        # uvloop's transports are no subclass of asyncio.Transport.
        self.transport = transport = cast(asyncio.Transport, transport)
        transport.set_write_buffer_limits(high=self.high_water)
        self.can_write = True
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            with suppress(OSError):  # The peer has reset the connection, and the loop has not told us yet.
                self._set_options(sock)
        self._owner.transport_connected()

    def _set_options(self, sock: Any) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE:
            if (option := getattr(socket, name, None)) is not None:  # macOS has no TCP_KEEPIDLE
                sock.setsockopt(socket.IPPROTO_TCP, option, value)
        if self._quick_ack and _TCP_QUICKACK is not None:
            sock.setsockopt(socket.IPPROTO_TCP, _TCP_QUICKACK, 1)
            self._socket = sock

    def data_received(self, data: bytes) -> None:
        """Hand the bytes up. If no answer was written to them, acknowledge them at once.

        DCMTK and Orthanc write a PDU in two pieces with Nagle's algorithm on. The second piece waits for the
        acknowledgment of the first, which Linux delays by 44 ms unless TCP_QUICKACK is set each time. An answer carries
        the acknowledgment with it, which saves a packet and a system call: 13 us of an echo.
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
        """Take note that the peer has closed its side. For DICOM that is the end of the transport connection
        (Evt17)."""
        self._close(None)
        transport = self.transport
        if transport is not None and self.backlog:
            transport.abort()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Take note that the transport is gone. No more calls follow."""
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
            self.error = error if error is None else error.with_traceback(None)  # it knows frames that write
            self.can_write = False
            self._owner.transport_closed()
            self._room.wake()

    def pause_writing(self) -> None:
        """Take note that the transport wants no more bytes."""
        self.can_write = False

    def resume_writing(self) -> None:
        """Take note that the transport wants bytes again."""
        self.can_write = not self._closed
        self._room.wake()
        if self.on_room is not None:
            self.on_room()

    # --- for the connection -------------------------------------------------------------------------------------------

    def write(self, buffers: Sequence[bytes | memoryview]) -> None:
        """Give buffers to the transport.

        If the connection is lost while a message is written without a pause, the loop has not told us yet, and asyncio
        would log a warning for each further write.
        """
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
        """The IP address and port of the peer; None if the transport has none."""
        return None if self.transport is None else peer_address(self.transport)

    @property
    def backlog(self) -> int:
        """The number of bytes that wait in this process for the peer to take some."""
        return 0 if self.transport is None else self.transport.get_write_buffer_size()

    async def room(self) -> None:
        """Wait until the transport wants bytes, or is gone.

        Cancellation: Nothing changes.
        """
        while not self.can_write and not self._closed:
            await self._room.wait()

    def pause_reading(self) -> None:
        """Stop reading. TCP tells the peer."""
        if self.is_reading and self.transport is not None and not self.transport.is_closing():
            self.is_reading = False
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        if not self.is_reading and self.transport is not None and not self.transport.is_closing():
            self.is_reading = True
            self.transport.resume_reading()

    def finish(self) -> None:
        """Send FIN after what is written, and go on reading. A transport that has no half-close is closed."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        if transport.can_write_eof():
            try:
                transport.write_eof()
            except OSError:  # The peer has reset the connection, and the loop has not told us yet.
                transport.abort()
                return
            self.resume_reading()
        else:
            transport.close()

    def drop(self) -> None:
        """Close the connection now. What is not written yet is lost."""
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
        # All bytes that waited then have been taken, or enough of them; or enough were acknowledged, and the kernel
        # does not ask for more yet.
        if self._written - waiting >= min(written, drained + least) or self._acknowledged() - acknowledged >= least:
            self._watch(stall)
        else:
            self._owner.transport_stalled()

    def _acknowledged(self) -> int:
        """Return how many bytes the peer's TCP has acknowledged since the start; always 0 if the system does not say.

        Linux wakes a writer when a third of the socket's buffer is free, which takes minutes on a slow link.
        """
        sock = self.transport.get_extra_info("socket") if self.transport is not None else None
        if sock is None or _TCP_INFO is None:
            return 0
        try:
            info = sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, _BYTES_ACKED.size)
            return int(_BYTES_ACKED.unpack(info)[0])
        except (OSError, struct.error):
            return 0
