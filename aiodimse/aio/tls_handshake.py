"""TLS on a transport connection, in either role and by our own clock; and what is wrong with one that fails, in words.

asyncio would do the handshake inside create_server, but then it tells nobody of one that fails, and a connection that
is still in its handshake could not be counted, logged or dropped.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import cast

from aiodimse.aio.clock import Clock
from aiodimse.aio.transport import TransportConnection
from aiodimse.errors import AssociationTimeout, TLSError

_NO_DEADLINE_OF_ASYNCIO = 86400.0
"""start_tls wants a number and knows no Clock; ours comes first."""

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
    refusal comes as an alert afterwards; asyncio's acceptors close without one.
    """
    if isinstance(error, ssl.SSLError):
        return explain(error)
    return "the peer closed the connection right after the handshake; it may have refused our certificate, or miss one"


class PendingHandshake(asyncio.Protocol):
    """An open socket until its handshake begins, and the handle to end it by."""

    def __init__(self, opened: Callable[[PendingHandshake], object] | None = None) -> None:
        """opened: called when the connection is open; to begin the handshake."""
        self._opened = opened
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is open."""
        # uvloop's transports are no subclass of asyncio.Transport.
        self.transport = cast(asyncio.Transport, transport)
        if self._opened is not None:
            self._opened(self)

    def drop(self) -> None:
        """Close now."""
        if self.transport is not None:
            self.transport.abort()


class _Between(asyncio.Protocol):
    """Keeps what arrives between the end of the handshake and the moment its task goes on."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._ended = False

    def data_received(self, data: bytes) -> None:
        self._pieces.append(data)

    def eof_received(self) -> bool:
        self._ended = True
        return False

    def hand_over(
        self, transport: asyncio.Transport, carrier: asyncio.Transport, connection: TransportConnection
    ) -> None:
        transport.set_protocol(connection)
        connection.carrier = carrier
        connection.connection_made(transport)
        for piece in self._pieces:
            connection.data_received(piece)
        if self._ended:
            connection.eof_received()


async def start_tls(
    transport: asyncio.Transport,
    make_connection: Callable[[], TransportConnection],
    context: ssl.SSLContext,
    *,
    clock: Clock,
    timeout: float | None,
    server_hostname: str | None = None,
) -> None:
    """The handshake on an open transport; as server where no server_hostname is given. Then the connection takes over.

    Raises TLSError, and AssociationTimeout with phase connect where it takes longer than `timeout` seconds. A call that
    fails or is cancelled closes the transport.
    """
    between = _Between()

    def late() -> AssociationTimeout:
        return AssociationTimeout("connect", f"the TLS handshake took longer than {timeout} s")

    try:
        if transport.is_closing():  # dropped already: asyncio 3.11 would wait for a handshake that never ends
            raise TLSError(explain(ConnectionResetError()))
        async with clock.deadline(clock.after(timeout), late):
            secured = await asyncio.get_running_loop().start_tls(
                transport,
                between,
                context,
                server_side=server_hostname is None,
                server_hostname=server_hostname,
                ssl_handshake_timeout=_NO_DEADLINE_OF_ASYNCIO,
            )
        if secured is None:  # the connection was dropped meanwhile: asyncio then says neither yes nor no
            raise TLSError(explain(ConnectionResetError()))
    except (AssociationTimeout, TLSError):
        transport.abort()
        raise
    except OSError as error:  # ssl.SSLError is one
        transport.abort()
        raise TLSError(explain(error)) from error
    except BaseException:
        transport.abort()
        raise
    between.hand_over(secured, transport, make_connection())
