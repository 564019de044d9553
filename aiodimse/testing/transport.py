"""Transport connections in memory: two asyncio.Transports, joined back to back, that behave like TCP.

The event loop delivers bytes in order, joined and divided as TCP may do it. Each direction has some bytes in flight, as
sockets do. Beyond that they wait in the writer's buffer, whose limits tell its protocol to pause. FIN comes after the
last byte. abort() while bytes are unread resets the other side, as closing a socket does.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

Receiver = asyncio.Protocol | asyncio.BufferedProtocol

Split = Callable[[int], int]
"""Returns how many of the available bytes, at least one, are delivered at a time."""

IN_FLIGHT = 1 << 18
"""The default number of bytes that a direction takes before the buffer of its writer fills."""
_MOST = 1 << 18  # the most that asyncio reads from a socket at a time


class _Pipe:
    """One direction of a connection."""

    def __init__(self, loop: asyncio.AbstractEventLoop, in_flight: int, split: Split | None) -> None:
        self.loop, self.in_flight, self.split = loop, in_flight, split
        self.writer: MemoryTransport
        self.reader: MemoryTransport
        self.size = 0
        self.fin = self.reset = False
        self._chunks: deque[memoryview] = deque()
        self._scheduled = self._fin_delivered = False

    @property
    def waiting(self) -> int:
        """The bytes that wait in the writer's buffer."""
        return max(0, self.size - self.in_flight)

    def put(self, data: bytes) -> None:
        self._chunks.append(memoryview(data))
        self.size += len(data)
        self.schedule()

    def cut(self) -> None:
        """Drop what is not in flight."""
        kept = self._pop(min(self.size, self.in_flight))
        self._chunks.clear()
        self.size = 0
        if kept:
            self.put(kept)

    def schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self.loop.call_soon(self._run)

    def _take(self) -> bytes:
        most = min(self.size, _MOST)
        return self._pop(max(1, min(most, self.split(most))) if self.split is not None else most)

    def _pop(self, count: int) -> bytes:
        self.size -= count
        parts: list[memoryview] = []
        while count:
            head = self._chunks.popleft()
            if len(head) > count:
                self._chunks.appendleft(head[count:])
                head = head[:count]
            parts.append(head)
            count -= len(head)
        return b"".join(parts)

    def _run(self) -> None:
        self._scheduled = False
        reader, writer = self.reader, self.writer
        if reader.is_gone:
            if self.size:
                self._chunks.clear()
                self.size = 0
                writer.lose(ConnectionResetError("Connection reset by peer"))
            return
        if not reader.is_reading():
            return
        if self.reset:
            reader.lose(ConnectionResetError("Connection reset by peer"))
        elif self.size:
            data = self._take()
            reader.take(data)
            writer.drained()
            if self.size or self.fin:
                self.schedule()
        elif self.fin and not self._fin_delivered:
            self._fin_delivered = True
            reader.take_fin()


class MemoryTransport(asyncio.Transport):
    """One end of a connection, made by `memory_connection`. start_tls adds TLS to it, as to asyncio's own transports.

    Args:
        out: The direction that it writes to.
        into: The direction that it reads from.
        extra: The results of get_extra_info.
    """

    _start_tls_compatible = True
    """asyncio checks this. Its TLS then needs a BufferedProtocol and _force_close. uvloop accepts only its own
    transports."""

    def __init__(self, out: _Pipe, into: _Pipe, extra: Mapping[str, Any]) -> None:
        super().__init__(extra)
        self._out, self._into = out, into
        out.writer = into.reader = self
        self._protocol: Receiver | None = None
        self._reading = True
        self._closing = self._eof_written = self._write_paused = False
        self._low, self._high = 1 << 14, 1 << 16
        self.is_gone: bool = False
        """Whether it is closed, and connection_lost was called or is about to be."""

    # --- for the pipes ------------------------------------------------------------------------------------------------

    def start(self, protocol: Receiver) -> None:
        """Call connection_made, and begin to deliver bytes.

        Args:
            protocol: The protocol of this end.
        """
        self._protocol = protocol
        protocol.connection_made(self)
        self._into.schedule()

    def take(self, data: bytes) -> None:
        """Deliver bytes to the protocol.

        Args:
            data: The bytes.
        """
        protocol = self._protocol
        assert protocol is not None
        if isinstance(protocol, asyncio.Protocol):
            protocol.data_received(data)
            return
        while data:
            buffer = memoryview(protocol.get_buffer(len(data)))
            count = min(len(buffer), len(data))
            buffer[:count] = data[:count]
            protocol.buffer_updated(count)
            data = data[count:]

    def take_fin(self) -> None:
        """Tell the protocol that the other side has sent its last byte."""
        assert self._protocol is not None
        if not self._protocol.eof_received():
            self.close()

    def drained(self) -> None:
        """Continue after the other side has taken bytes."""
        if self._write_paused and self._out.waiting <= self._low:
            self._write_paused = False
            assert self._protocol is not None
            if not self.is_gone:
                self._protocol.resume_writing()
        if self._closing and not self._out.waiting:
            self.lose(None)

    def lose(self, error: Exception | None) -> None:
        """End the connection, and tell the protocol.

        Args:
            error: Why; None for a proper end.
        """
        if self.is_gone:
            return
        self.is_gone = self._closing = True
        if error is None:
            self._out.fin = True
        self._out.schedule()
        self._into.schedule()  # whatever still arrives finds no reader
        assert self._protocol is not None
        self._out.loop.call_soon(self._protocol.connection_lost, error)

    # --- asyncio.Transport --------------------------------------------------------------------------------------------

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol."""
        assert self._protocol is not None
        return self._protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Replace the protocol.

        Args:
            protocol: The protocol.
        """
        assert isinstance(protocol, Receiver)
        self._protocol = protocol

    def is_reading(self) -> bool:
        """Return whether it is neither paused nor closing."""
        return self._reading and not self._closing and self._protocol is not None

    def pause_reading(self) -> None:
        """Stop delivering, FIN and reset included."""
        self._reading = False

    def resume_reading(self) -> None:
        """Deliver again."""
        self._reading = True
        self._into.schedule()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the limits of the buffer for what is not in flight yet.

        Args:
            high: Bytes above which the protocol is told to pause; by default four times `low`, or 64 KiB.
            low: Bytes at which the protocol is told to continue; by default a quarter of `high`.
        """
        self._high = high if high is not None else 4 * low if low is not None else 1 << 16
        self._low = low if low is not None else self._high // 4

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return the low and the high limit."""
        return self._low, self._high

    def get_write_buffer_size(self) -> int:
        """Return the number of bytes that are not in flight yet."""
        return self._out.waiting

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send bytes. After close or abort this does nothing, as with asyncio's transports.

        Args:
            data: The bytes, which are copied.
        """
        if self._eof_written:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self._closing or not data:
            return
        self._out.put(bytes(data))
        if self._out.waiting > self._high and not self._write_paused:
            self._write_paused = True
            assert self._protocol is not None
            self._protocol.pause_writing()

    def can_write_eof(self) -> bool:
        """Return True, since TCP supports it."""
        return True

    def write_eof(self) -> None:
        """Send FIN after everything that was written."""
        if not self._closing:
            self._eof_written = self._out.fin = True
            self._out.schedule()

    def is_closing(self) -> bool:
        """Return whether close() or abort() was called, or the connection is gone."""
        return self._closing

    def close(self) -> None:
        """Send FIN, and call connection_lost after everything written is in flight. Nothing more is read."""
        if self._closing:
            return
        self._closing = True
        if not self._out.waiting:
            self.lose(None)

    def abort(self) -> None:
        """Close at once. What is not in flight is lost. If bytes of the other side are unread, it is reset."""
        self._force_close(None)

    def _force_close(self, error: Exception | None) -> None:
        """Close at once, because TLS has failed if there is an error: asyncio's TLS calls this."""
        if self.is_gone:
            return
        self._out.cut()
        if self._into.size:
            self._out.reset = True
        self._out.fin = True
        self.lose(error)

    def reset(self) -> None:
        """Close at once with a reset instead of FIN, like a machine that lost its power and came back."""
        self._out.reset = True
        self.abort()


def memory_connection(
    loop: asyncio.AbstractEventLoop,
    *,
    names: tuple[tuple[str, int], tuple[str, int]] = (("127.0.0.1", 1), ("127.0.0.1", 2)),
    in_flight: int = IN_FLIGHT,
    split: Split | None = None,
) -> tuple[MemoryTransport, MemoryTransport]:
    """Make the two ends of a connection. Call `start` of each with its protocol.

    Args:
        loop: The event loop that delivers.
        names: The address of each end, as the other end sees it.
        in_flight: The number of bytes that a direction takes before its writer has to wait.
        split: Returns how many of the available bytes are delivered at a time.

    Returns:
        The two ends.
    """
    there, back = _Pipe(loop, in_flight, split), _Pipe(loop, in_flight, split)
    one = MemoryTransport(there, back, {"sockname": names[0], "peername": names[1]})
    other = MemoryTransport(back, there, {"sockname": names[1], "peername": names[0]})
    return one, other
