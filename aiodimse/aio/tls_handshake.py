"""The TLS handshake on a transport connection, in either role and by our own clock; and why one failed, in words."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import cast

from aiodimse.aio.signals import Signal
from aiodimse.aio.tls_transport import TLSTransport
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
"""What OpenSSL calls it -> what it means to who reads the log."""


def explain(error: BaseException) -> str:
    """Why TLS failed; OpenSSL's own name for it stands in brackets, to be searched for."""
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
    """Why a connection ended between the handshake and the answer to our A-ASSOCIATE-RQ.

    In TLS 1.3 the requestor's handshake is done before the acceptor has seen its certificate (RFC 8446 2), so that a
    refusal comes as an alert afterwards, and from some as no more than the end.
    """
    if isinstance(error, ssl.SSLError):
        return explain(error)
    return "the peer closed the connection right after the handshake; it may have refused our certificate, or miss one"


class PendingHandshake(asyncio.Protocol):
    """An open socket until its handshake begins, and the handle to end it by.

    Args:
        opened: Called when the connection is open; to begin the handshake.
    """

    def __init__(self, opened: Callable[[PendingHandshake], object] | None = None) -> None:
        self._opened = opened
        self.transport: asyncio.Transport | None = None
        self.first: bytes = b""
        """What the peer has sent already; then reading stops until the handshake goes on."""
        self._said = Signal()
        self._is_ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open."""
        # uvloop's transports are no subclass of asyncio.Transport.
        self.transport = cast(asyncio.Transport, transport)
        if self._opened is not None:
            self._opened(self)

    def data_received(self, data: bytes) -> None:
        """The peer begins."""
        self.first += data
        if self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()
        self._said.wake()

    def eof_received(self) -> bool:
        """The peer says nothing any more."""
        self._is_ended = True
        self._said.wake()
        return False

    def connection_lost(self, error: Exception | None) -> None:
        """The peer has gone."""
        self._is_ended = True
        self._said.wake()

    async def spoken_to(self) -> None:
        """Wait until the peer has begun its handshake: one that is silent costs no more than its socket.

        Raises:
            TLSError: It has gone.
        """
        while not self.first and not self._is_ended:
            await self._said.wait()
        if self._is_ended:
            raise TLSError(explain(ConnectionResetError())) from ConnectionResetError()

    def drop(self) -> None:
        """Close now."""
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
    """Do the handshake on an open transport. Then the connection takes over.

    Args:
        transport: The transport; a call that fails or is cancelled closes it.
        make_connection: Makes the protocol that takes over.
        context: Certificates and versions.
        first: What the peer has sent already.
        server_hostname: Whose certificate is expected; None for the side that accepts.

    Raises:
        TLSError: The peers do not agree, or the connection has gone.
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
    """Return what a handshake ends with that takes longer than so many seconds."""
    return AssociationTimeout("connect", f"the TLS handshake took longer than {timeout} s")
