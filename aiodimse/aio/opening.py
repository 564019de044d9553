"""Opens an association: DNS, TCP, TLS and ACSE within one deadline. connect() and C-MOVE use it."""

from __future__ import annotations

import asyncio
import ssl as ssl_module
from dataclasses import replace
from functools import partial
from typing import NoReturn, Protocol

from aiodimse.aio import tls_handshake
from aiodimse.aio.endpoint import Endpoint
from aiodimse.aio.hooks import how
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
    """Connect, propose, and wait for the peer's answer. A call that fails leaves no socket behind.

    Args:
        host: The name or the IP address of the peer.
        port: Its port.
        rq: The A-ASSOCIATE-RQ.
        observer: What is told of the association.
        settings: The settings of the association.
        ssl: The certificates and versions of TLS; None: without TLS.

    Raises:
        AssociationRejected: The peer rejects the association.
        AssociationAborted: The peer aborts or closes instead of answering, or its answer breaks the protocol.
        AssociationTimeout: With the phase "connect" or "negotiation": Timeouts.connect or Timeouts.tls_handshake.
        TLSError: One of the peers refuses the TLS of the other.
        OSError: The host does not resolve, or the connection is refused.

    Cancellation: The connection is closed.
    """
    clock, timeouts = settings.clock, settings.timeouts
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
                await settings.network.connect(lambda: endpoint.connection, host, port)
            else:
                await _connect_tls(settings, handshake, endpoint.connection, host, port, ssl)
            phase = "negotiation"
            await asyncio.shield(endpoint.established)
    except AssociationRejected as error:
        endpoint.abort()
        endpoint.connection.drop()
        meaning = f"{error.meaning}; {rq.calling_ae_title!r} called {rq.called_ae_title!r} at {host}:{port}"
        raise AssociationRejected(error.result, error.source, error.reason, meaning) from error
    except AssociationAborted as error:
        if error.source is not None:
            await endpoint.close()  # The A-ABORT was sent or received: ARTIM bounds this wait.
        _explain(error, f"{host}:{port}", endpoint.connection.error, over_tls=ssl is not None)
    except BaseException as error:
        if phase == "negotiation":  # Before that, the event loop has closed the transport.
            endpoint.abort()
        elif handshake.transport is not None and isinstance(error, (TLSError, AssociationTimeout)):
            _report_failure(endpoint, handshake, error)
        endpoint.connection.drop()  # The event loop may end before the peer closes: leave no socket to it.
        raise
    return endpoint


def _report_failure(
    endpoint: Endpoint, handshake: tls_handshake.PendingHandshake, error: TLSError | AssociationTimeout
) -> None:
    """Tell the metrics of a TLS handshake that failed."""
    if endpoint.metrics is not None:
        measured = replace(endpoint.measured, peer_address=handshake.peer_address)
        endpoint.metrics.association_failed(measured, how(error))


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
    settings: Settings,
    handshake: tls_handshake.PendingHandshake,
    connection: TransportConnection,
    host: str,
    port: int,
    context: ssl_module.SSLContext,
) -> None:
    """Connect, and do the TLS handshake within Timeouts.tls_handshake."""
    await settings.network.connect(lambda: handshake, host, port)
    assert handshake.transport is not None
    clock, timeout = settings.clock, settings.timeouts.tls_handshake
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
