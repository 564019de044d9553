"""The TLS handshake on a transport connection, in either role; and the words for why a handshake failed."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import cast

from aiodimse.aio.signals import Signal
from aiodimse.aio.tls_transport import TLSTransport
from aiodimse.aio.transport import peer_address
from aiodimse.errors import AssociationTimeout, TLSError

_MEANINGS = {
    "WRONG_VERSION_NUMBER": "the peer does not speak TLS",
    "HTTP_REQUEST": "the peer speaks HTTP",
    "HTTPS_PROXY_REQUEST": "the peer speaks HTTP",
    "RECORD_LAYER_FAILURE": "the peer does not speak TLS",
    "BAD_RECORD_TYPE": "the peer does not speak TLS",
    "UNSUPPORTED_PROTOCOL": "no common TLS version: we speak 1.2 and up",
    "NO_PROTOCOLS_AVAILABLE": "no common TLS version",
    "VERSION_TOO_LOW": "the peer offers no TLS version that we speak",
    "TLSV1_ALERT_PROTOCOL_VERSION": "the peer does not speak our TLS versions",
    "NO_SHARED_CIPHER": "no common cipher suite",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "the peer refuses: no common cipher suite, or it wants a certificate",
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": "the peer shows no certificate",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the peer wants a certificate of ours",
    "TLSV1_ALERT_UNKNOWN_CA": "the peer does not know the authority of our certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the peer finds our certificate expired",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "the peer refuses our certificate",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the peer refuses our certificate",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "the peer cannot use our certificate",
    "TLSV1_ALERT_DECRYPT_ERROR": "the peer could not verify our signature",
    "TLSV1_ALERT_INSUFFICIENT_SECURITY": "the peer finds our keys or cipher suites too weak",
}
"""The meaning of the reasons that OpenSSL gives, for the reader of the log."""


def explain(error: BaseException) -> str:
    """Return in words why TLS failed, with OpenSSL's own name for it in brackets, so that it can be searched for."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the peer's certificate is not accepted: {error.verify_message.rstrip('.')}"
    if isinstance(error, ssl.SSLError):
        reason = error.reason or str(error)
        meaning = _MEANINGS.get(reason)
        return f"{meaning} ({reason})" if meaning else reason
    if isinstance(error, ConnectionError):
        return "the peer closed the connection during the handshake"
    return str(error) or type(error).__name__


def late_refusal(error: Exception | None) -> str:
    """Return in words why a connection ended between the handshake and the answer to our A-ASSOCIATE-RQ.

    In TLS 1.3 the requestor's handshake ends before the acceptor has seen its certificate (RFC 8446 2). A refusal
    therefore comes afterward as an alert, and some peers only close the connection.
    """
    if isinstance(error, ssl.SSLError):
        return explain(error)
    return "the peer closed the connection right after the handshake; it may have refused our certificate, or miss one"


class PendingHandshake(asyncio.Protocol):
    """The protocol of an open transport connection until its TLS handshake begins.

    Args:
        opened: Called with this object when the connection is open, to begin the handshake.
    """

    def __init__(self, opened: Callable[[PendingHandshake], object] | None = None) -> None:
        self._opened = opened
        self.transport: asyncio.Transport | None = None
        self.peer_address: tuple[str, int] | None = None
        self.first: bytes = b""
        """The first bytes that the peer has sent. Reading is then paused until the handshake begins."""
        self._said = Signal()
        self._is_ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport, and call `opened`."""
        # uvloop's transports are no subclass of asyncio.Transport.
        self.transport = cast(asyncio.Transport, transport)
        self.peer_address = peer_address(transport)
        if self._opened is not None:
            self._opened(self)

    def data_received(self, data: bytes) -> None:
        """Keep the first bytes, and pause reading."""
        self.first += data
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()
        self._said.wake()

    def eof_received(self) -> bool:
        """Take note that the peer has closed its side."""
        self._is_ended = True
        self._said.wake()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """Take note that the connection is gone."""
        self._is_ended = True
        self._said.wake()

    async def spoken_to(self) -> None:
        """Wait for the first bytes of the peer, so that a silent peer takes no more than its socket.

        The caller sets the deadline.

        Raises:
            TLSError: The connection was closed.

        Cancellation: Nothing changes.
        """
        while not self.first and not self._is_ended:
            await self._said.wait()
        if self._is_ended:
            raise TLSError(explain(ConnectionResetError())) from ConnectionResetError()

    def drop(self) -> None:
        """Close the connection now."""
        if self.transport is not None:
            self.transport.abort()


async def start_tls(
    transport: asyncio.Transport,
    make_connection: Callable[[], asyncio.Protocol],
    context: ssl.SSLContext,
    *,
    first: bytes = b"",
    server_hostname: str | None = None,
) -> None:
    """Do the TLS handshake on an open transport, and then connect a protocol to it. The caller sets the deadline.

    Args:
        transport: The transport.
        make_connection: Makes the protocol, once the handshake has succeeded.
        context: The certificates and the versions of TLS.
        first: The bytes that the peer has sent before.
        server_hostname: The name that the certificate of the peer must have; None for the side that accepts.

    Raises:
        TLSError: The peers do not agree, or the connection was closed. The transport is closed.

    Cancellation: The transport is closed.
    """
    try:
        if transport.is_closing():  # dropped already
            raise ConnectionResetError
        secured = TLSTransport(transport, context, server_hostname)
        await secured.shake_hands(first)
        secured.hand_over(make_connection())
    except OSError as error:  # ssl.SSLError is one
        transport.abort()
        raise TLSError(explain(error)) from error
    except BaseException:
        transport.abort()
        raise


def too_slow(timeout: float | None) -> AssociationTimeout:
    """Return the error of a handshake that takes longer than this number of seconds."""
    return AssociationTimeout("connect", f"the TLS handshake took longer than {timeout} s")
