"""Where audit messages go: a file, or a collector that speaks syslog over TLS (RFC 5424, RFC 5425; PS3.15 A.6, A.7)."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl as ssl_module
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

import aiodimse

# Facility 10, security and authorization; severity 5, normal but significant (PS3.15 A.6).
_PRIORITY = 10 * 8 + 5
_MESSAGE_ID = "DICOM+RFC3881"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def frame(xml: bytes, time: datetime, *, app_name: str = "aiodimse", host: str | None = None) -> bytes:
    """Make a syslog message (RFC 5424 6).

    Args:
        xml: The audit message.
        time: When the event happened, with a time zone.
        app_name: The name of the application. Only printable ASCII without spaces is kept, 48 characters at most.
        host: The name of this machine; by default the name that the system has.

    Returns:
        The bytes, without a line end.
    """
    stamp = time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    parts = (
        f"<{_PRIORITY}>1",
        stamp,
        _printable(host or socket.gethostname(), 255),
        _printable(app_name, 48),
        str(os.getpid()),
        _MESSAGE_ID,
        "-",
    )
    return " ".join(parts).encode("ascii") + b" " + _BYTE_ORDER_MARK + xml


def _printable(text: str, most: int) -> str:
    return "".join(character for character in text if "!" <= character <= "~")[:most] or "-"


class Sink(Protocol):
    """Takes syslog messages. It may be slow, since only the task of the audit trail waits for it."""

    async def write(self, messages: Sequence[bytes]) -> None:
        """Write all messages, or raise. After an error the trail writes all of them again."""

    async def close(self) -> None:
        """Release what the sink holds open."""


class FileSink:
    """Writes each message to a line of a file. The file is opened for each batch, so it may be rotated by renaming it.

    Args:
        path: The file. If it does not exist, it is created so that only its owner may read it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = Path(path)
        self._threads = aiodimse.Threads(1, "aiodimse-audit")
        self._is_in_line: bool | None = None
        """Whether the file ends in the middle of a message: the disk was full, or a process was killed. None before the
        first write."""

    async def write(self, messages: Sequence[bytes]) -> None:
        """Append the messages, in a thread. If the last write ended in the middle of a line, a new line begins."""
        await self._threads.run(self._append, b"".join(message + b"\n" for message in messages))

    def _append(self, data: bytes) -> None:
        if self._is_in_line is None:
            self._is_in_line = self._ends_in_line()
        if self._is_in_line:
            data = b"\n" + data
        file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            while data:
                written = os.write(file, data)
                self._is_in_line = data[written - 1 : written] != b"\n"
                data = data[written:]
        finally:
            os.close(file)

    def _ends_in_line(self) -> bool:
        if not self._path.is_file():  # a pipe, for example, cannot be looked into
            return False
        try:
            with self._path.open("rb") as file:
                file.seek(-1, os.SEEK_END)
                return file.read() != b"\n"
        except OSError:  # it is empty, or may only be written
            return False

    async def close(self) -> None:
        """Let the thread end. The file is not kept open."""
        await self._threads.close()


class SyslogTLS:
    """A collector that speaks syslog over TLS (RFC 5425).

    Args:
        host: The name of the collector.
        port: Its port; RFC 5425 assigns 6514.
        ssl: The context, for example of `aiodimse.tls.client_context`. None connects without TLS, which is only for a
            collector on this machine.
        timeout: The time limit in seconds for a connection, and for each batch.
    """

    def __init__(
        self, host: str, port: int = 6514, *, ssl: ssl_module.SSLContext | None, timeout: float = 10.0
    ) -> None:
        self._host, self._port, self._ssl, self._timeout = host, port, ssl, timeout
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        """The open connection."""

    async def write(self, messages: Sequence[bytes]) -> None:
        """Send each message with its length before it (RFC 5425 4.3), on the open connection or on a new one.

        Cancellation: the connection is closed.

        Raises:
            OSError: The collector cannot be reached, or the connection was lost.
            TimeoutError: The collector did not take the messages in time.
        """
        try:
            async with asyncio.timeout(self._timeout):
                writer = await self._connection()
                writer.writelines(b"%d %b" % (len(message), message) for message in messages)
                await writer.drain()
        except BaseException:
            self._drop()
            raise

    async def _connection(self) -> asyncio.StreamWriter:
        if self._streams is not None:
            reader, writer = self._streams
            if not (writer.is_closing() or reader.at_eof()):
                return writer
            self._drop()  # the collector restarts: what is written into this connection is lost without an error
        self._streams = await asyncio.open_connection(self._host, self._port, ssl=self._ssl)
        return self._streams[1]

    def _drop(self) -> None:
        if self._streams is not None:
            self._streams[1].transport.abort()
            self._streams = None

    async def close(self) -> None:
        """Close the connection, within the timeout."""
        streams, self._streams = self._streams, None
        if streams is None:
            return
        _, writer = streams
        writer.close()
        try:
            async with asyncio.timeout(self._timeout):
                await writer.wait_closed()
        except (OSError, TimeoutError):
            writer.transport.abort()
