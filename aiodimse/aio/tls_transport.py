"""A transport that does TLS over another transport by ssl.MemoryBIO, in either role.

asyncio's own TLS transport keeps a buffer of 256 KiB for each connection, closes without the alert that tells the peer
why, and uses no other clock than that of the loop. Here the buffers of OpenSSL hold one record, an alert is written
before the transport is closed, and a close is as without TLS: close_notify and FIN close our direction, while the other
direction is read to its end.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import deque
from contextlib import suppress
from typing import Any

from aiodimse.aio.signals import fail
from aiodimse.aio.tls_records import RECORD, Records


class TLSTransport(asyncio.Transport, asyncio.Protocol):
    """The transport of a protocol that knows nothing of TLS, and the protocol of the transport that carries TLS.

    Args:
        carrier: The open transport that carries the records. It is paused, or has not read anything yet.
        context: The certificates and the versions of TLS.
        server_hostname: The name that the certificate of the peer must have; None for the side that accepts.
    """

    def __init__(self, carrier: asyncio.Transport, context: ssl.SSLContext, server_hostname: str | None) -> None:
        super().__init__()
        self._carrier = carrier
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_side=server_hostname is None, server_hostname=server_hostname
        )
        self._handshake: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._protocol: asyncio.Protocol | None = None
        self._early: list[bytes] = []
        """Plaintext that came before there was a protocol."""
        self._late: deque[memoryview] = deque()
        """Plaintext that OpenSSL does not accept before the peer has sent something (renegotiation in TLS 1.2)."""
        self._is_secure = self._is_ended = self._is_lost = self._is_closing = False
        self._is_said = False
        """Our direction is closed: no byte may follow."""
        self._error: Exception | None = None
        self._records = Records()
        carrier.set_protocol(self)

    async def shake_hands(self, first: bytes = b"") -> None:
        """Do the handshake. The caller sets the deadline.

        Args:
            first: The bytes that the peer has sent before.

        Raises:
            ssl.SSLError: The peers do not agree. The alert that says so has been written.
            ConnectionError: The connection was closed.

        Cancellation: The handshake does not go on. The caller closes the transport below.
        """
        self._step()
        if first:
            self.data_received(first)
        if not self._carrier.is_closing():
            self._carrier.resume_reading()
        await self._handshake

    def hand_over(self, protocol: asyncio.Protocol) -> None:
        """Connect a protocol, and give it what has been received since the handshake.

        Args:
            protocol: The protocol.
        """
        self._protocol = protocol
        protocol.connection_made(self)
        for piece in self._early:
            protocol.data_received(piece)
        self._early.clear()
        if self._is_lost:
            asyncio.get_running_loop().call_soon(protocol.connection_lost, self._error)
        elif self._is_ended:
            self._end()

    # --- from the transport below -------------------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """Decrypt what was received, a few records at a time, because the buffers of OpenSSL never shrink."""
        plain: list[bytes] = []
        try:
            for piece, ended in self._records.cut(data):
                self._incoming.write(piece)
                was_secure, before = self._is_secure, len(plain)
                if not was_secure:
                    self._step()
                if self._is_secure:
                    self._decrypt(plain)  # OpenSSL gives the data of at most one record at a time
                if was_secure and self._records.are_too_empty(ended, len(plain) - before):
                    raise ssl.SSLError("the peer sends TLS records without data")
        except ssl.SSLError as error:
            self._deliver(plain)
            self._fail(error)
            return
        self._flush()
        self._deliver(plain)
        if self._late and not self._is_said:
            late, self._late = self._late, deque()
            for each in late:
                self._encrypt(each)
        if self._is_ended:
            self._end()

    def eof_received(self) -> bool:
        """Take note that the peer has closed its side. With or without close_notify it is Evt17 to DICOM."""
        self._is_ended = True
        if not self._is_secure:
            fail(self._handshake, ConnectionResetError())
            return False
        if self._protocol is None:
            return True
        return bool(self._protocol.eof_received())

    def connection_lost(self, error: Exception | None) -> None:
        """Take note that the transport below is gone."""
        self._is_lost = self._is_closing = True
        self._error = self._error or (error and error.with_traceback(None))
        if not self._is_secure:
            fail(self._handshake, self._error or ConnectionResetError())
        if self._protocol is not None:
            self._protocol.connection_lost(self._error)

    def pause_writing(self) -> None:
        """Pass on that the transport below wants no more bytes."""
        if self._protocol is not None:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        """Pass on that the transport below wants bytes again."""
        if self._protocol is not None:
            self._protocol.resume_writing()

    # --- between ------------------------------------------------------------------------------------------------------

    def _step(self) -> None:
        """Go on with the handshake as far as the received bytes allow."""
        if self._handshake.done():  # it has failed, or nobody waits for it any more
            return
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
        except ssl.SSLError as error:
            self._flush()  # the alert
            fail(self._handshake, error)
        else:
            self._flush()
            self._is_secure = True
            self._handshake.set_result(None)

    def _decrypt(self, plain: list[bytes]) -> None:
        read = self._tls.read
        try:
            while not self._is_ended:
                piece = read(RECORD)
                if piece:
                    plain.append(piece)
                else:  # close_notify
                    self._is_ended = True
        except ssl.SSLWantReadError:
            return
        except ssl.SSLZeroReturnError:  # close_notify, after ours
            self._is_ended = True

    def _deliver(self, plain: list[bytes]) -> None:
        if not plain:
            return
        data = plain[0] if len(plain) == 1 else b"".join(plain)
        if self._protocol is None:
            self._early.append(data)
        elif not self._is_lost:
            self._protocol.data_received(data)

    def _end(self) -> None:
        """Tell the protocol that the peer has closed its side, and close if the protocol does not object."""
        if self._protocol is not None and not self._is_lost and not self._protocol.eof_received():
            self.close()

    def _encrypt(self, data: memoryview) -> None:
        if self._late:
            self._late.append(data)
            return
        records: list[bytes] = []
        try:
            while data:
                data = data[self._tls.write(data[:RECORD]) :]
                records.append(self._outgoing.read())  # at once, so that the buffer holds one record
        except ssl.SSLWantReadError:
            records.append(self._outgoing.read())
            self._late.append(data)
        except ssl.SSLError as error:
            self._fail(error)
            return
        self._carrier.write(records[0] if len(records) == 1 else b"".join(records))

    def _flush(self) -> None:
        if self._outgoing.pending:
            records = self._outgoing.read()
            if not self._is_said and not self._carrier.is_closing():
                self._carrier.write(records)

    def _fail(self, error: ssl.SSLError) -> None:
        """Close because the peer has violated TLS. The alert is sent if the socket takes it at once."""
        self._error = self._error or (error and error.with_traceback(None))
        self._flush()
        self.abort()

    def _notify_close(self) -> None:
        """Send close_notify (RFC 8446 6.1)."""
        if self._is_secure:
            with suppress(ssl.SSLError):  # it wants to read that of the peer, which may come or not
                self._tls.unwrap()
            self._flush()

    # --- asyncio.Transport --------------------------------------------------------------------------------------------

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """Encrypt and send bytes."""
        if not self._is_closing and not self._is_said:
            self._encrypt(memoryview(data))

    def writelines(self, list_of_data: Any) -> None:
        """Encrypt and send buffers as one, because a record of its own for a header of 6 bytes takes 22 more."""
        self.write(b"".join(list_of_data))

    def can_write_eof(self) -> bool:
        """Return whether our direction can be closed alone."""
        return self._carrier.can_write_eof()

    def write_eof(self) -> None:
        """Close our direction. What the peer still sends is read."""
        if not self._is_said:
            self._notify_close()
            self._is_said = True
        self._carrier.write_eof()

    def close(self) -> None:
        """Close when everything is written."""
        if not self._is_closing and not self._is_said:
            self._notify_close()
        self._is_closing = self._is_said = True
        self._carrier.close()

    def abort(self) -> None:
        """Close now. What is not written yet is lost."""
        self._is_closing = True
        self._carrier.abort()

    def is_closing(self) -> bool:
        """Return whether it is closed, or about to be."""
        return self._is_closing or self._carrier.is_closing()

    def pause_reading(self) -> None:
        """Stop reading. TCP tells the peer."""
        self._carrier.pause_reading()

    def resume_reading(self) -> None:
        """Read again."""
        self._carrier.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Set the numbers of encrypted bytes at which the protocol is told to pause and to go on."""
        self._carrier.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        """Return the number of bytes that wait to be sent."""
        return self._carrier.get_write_buffer_size() + sum(map(len, self._late))

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Replace the protocol."""
        self._protocol = protocol  # type: ignore[assignment]

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol."""
        assert self._protocol is not None
        return self._protocol

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return "peercert" and "ssl_object" of TLS, and anything else of the transport below."""
        if name == "peercert":
            return self._tls.getpeercert()
        if name == "ssl_object":
            return self._tls
        return self._carrier.get_extra_info(name, default)
