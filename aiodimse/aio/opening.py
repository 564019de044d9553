"""Opening an association: DNS, TCP, TLS and ACSE under one deadline. Used by connect() and by C-MOVE."""

from __future__ import annotations

import asyncio
import ssl as ssl_module
from functools import partial
from typing import NoReturn, Protocol

from aiodimse.aio import tls_handshake
from aiodimse.aio.clock import Clock
from aiodimse.aio.endpoint import Endpoint
from aiodimse.aio.network import Network
from aiodimse.aio.observer import Observer
from aiodimse.aio.settings import Settings
from aiodimse.aio.transport import TransportConnection
from aiodimse.errors import AssociationAborted, AssociationRejected, AssociationTimeout, TLSError
from aiodimse.pdu import AssociateRQ


class RequestedObserver(Observer, Protocol):
    """An Observer that is given the endpoint of its association before anything else happens."""

    endpoint: Endpoint


async def open_association(
    host: str,
    port: int,
    rq: AssociateRQ,
    observer: RequestedObserver,
    *,
    settings: Settings,
    ssl: ssl_module.SSLContext | None = None,
) -> Endpoint:
    """Connect, propose, and wait for the peer's answer.

    Raises AssociationRejected, AssociationAborted, AssociationTimeout with phase connect or negotiation, TLSError where
    either side refuses the other's TLS, and OSError where the address does not resolve or the connection is refused. A
    cancelled or failed call leaves no socket.
    """
    clock, timeouts, network = settings.clock, settings.timeouts, settings.network
    endpoint = observer.endpoint = Endpoint("requestor", observer, settings)
    endpoint.engine.associate(rq, clock.now())
    phase, handshake = "connect", tls_handshake.PendingHandshake()

    def late() -> AssociationTimeout:
        if phase == "negotiation":
            what = "answer the A-ASSOCIATE-RQ"
        else:
            what = "take the connection" if handshake.transport is None else "end the TLS handshake"
        return AssociationTimeout(phase, f"{host}:{port} did not {what} within {timeouts.connect} s")

    try:
        async with clock.deadline(clock.after(timeouts.connect), late):
            if ssl is None:
                await network.connect(lambda: endpoint.connection, host, port)
            else:
                await _connect_tls(
                    network, handshake, endpoint.connection, host, port, ssl, clock, timeouts.tls_handshake
                )
            phase = "negotiation"
            await asyncio.shield(endpoint.established)
    except AssociationRejected as error:
        endpoint.abort()
        endpoint.connection.drop()
        meaning = f"{error.meaning}; {rq.calling_ae_title!r} called {rq.called_ae_title!r} at {host}:{port}"
        raise AssociationRejected(error.result, error.source, error.reason, meaning) from error
    except AssociationAborted as error:
        if error.source is not None:
            await endpoint.close()  # The A-ABORT is sent, or the peer's has come: ARTIM bounds this wait.
        _explain(error, f"{host}:{port}", endpoint.connection.error, over_tls=ssl is not None)
    except BaseException:
        if phase == "negotiation":  # before, the transport is still the event loop's, which has closed it
            endpoint.abort()
        endpoint.connection.drop()  # the loop may end before such a peer closes: the socket must not outlive the call
        raise
    return endpoint


def _explain(aborted: AssociationAborted, where: str, lost: Exception | None, *, over_tls: bool) -> NoReturn:
    """Raise what it means that the association ended before the peer accepted or rejected it.

    Args:
        aborted: How it ended.
        where: Host and port of the peer.
        lost: How the transport connection was lost, if by an error.
        over_tls: Whether TLS was used.
    """
    if aborted.source is not None:
        if aborted.by_peer or aborted.source != 2:
            raise aborted
        what = "does not speak DICOM" if aborted.reason == 1 else "breaks the protocol"
        if looks_like := getattr(aborted.__cause__, "looks_like", ""):
            what = f"answers with {looks_like}, which this association was not told to use"
        meaning = f"{where} {what}: {aborted.meaning}"
        raise AssociationAborted(aborted.source, aborted.reason, by_peer=False, meaning=meaning) from aborted
    if over_tls:
        raise TLSError(f"no association with {where}: {tls_handshake.late_refusal(lost)}") from lost
    meaning = f"{where} closed the connection instead of answering the A-ASSOCIATE-RQ; does it want TLS?"
    raise AssociationAborted(None, None, meaning=meaning) from aborted


async def _connect_tls(
    network: Network,
    handshake: tls_handshake.PendingHandshake,
    connection: TransportConnection,
    host: str,
    port: int,
    context: ssl_module.SSLContext,
    clock: Clock,
    timeout: float | None,
) -> None:
    await network.connect(lambda: handshake, host, port)
    assert handshake.transport is not None
    try:
        async with clock.deadline(clock.after(timeout), partial(tls_handshake.too_slow, timeout)):
            await tls_handshake.start_tls(handshake.transport, lambda: connection, context, server_hostname=host)
    except AssociationTimeout as error:
        raise AssociationTimeout("connect", f"no association with {host}:{port}: {error}") from error
    except TLSError as error:
        why = str(error)
        if isinstance(error.__cause__, ConnectionError):  # No alert gave a reason.
            why += "; it may refuse our certificate, or miss one, or not speak our TLS versions and cipher suites"
        raise TLSError(f"no association with {host}:{port}: {why}") from error.__cause__
