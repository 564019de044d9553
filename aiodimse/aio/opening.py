"""Opening an association: DNS, TCP, TLS and ACSE under one deadline. Used by connect() and by C-MOVE."""

from __future__ import annotations

import asyncio
import ssl as ssl_module

from aiodimse.aio.clock import Clock
from aiodimse.aio.connection import Connection, Observer
from aiodimse.aio.network import TCP, Network
from aiodimse.aio.wire import Trace
from aiodimse.config import Limits, Timeouts
from aiodimse.errors import AssociationAborted, AssociationTimeout
from aiodimse.pdu import AssociateRQ


async def open_association(
    host: str,
    port: int,
    rq: AssociateRQ,
    observer: Observer,
    *,
    limits: Limits,
    timeouts: Timeouts,
    clock: Clock,
    ssl: ssl_module.SSLContext | None = None,
    trace: Trace | None = None,
    network: Network = TCP,
) -> Connection:
    """Connect, propose, and wait for the peer's answer.

    Raises AssociationRejected, AssociationAborted, AssociationTimeout with phase connect or negotiation, and OSError
    where the address does not resolve or the connection is refused. A cancelled or failed call leaves no socket.
    """
    connection = Connection("requestor", observer, limits=limits, timeouts=timeouts, clock=clock, network=network)
    connection.wire.tap(trace, "requestor")
    connection.engine.associate(rq, clock.now())
    phase = "connect"

    def late() -> AssociationTimeout:
        what = "did not answer the A-ASSOCIATE-RQ" if phase == "negotiation" else "did not take the connection"
        return AssociationTimeout(phase, f"{host}:{port} {what} within {timeouts.connect} s")

    try:
        async with clock.deadline(clock.after(timeouts.connect), late):
            await network.connect(
                lambda: connection.wire, host, port, ssl=ssl, handshake_timeout=timeouts.tls_handshake
            )
            phase = "negotiation"
            await asyncio.shield(connection.established)
    except AssociationAborted as error:
        if error.source is None:
            raise AssociationAborted(
                None, None, meaning=f"{host}:{port} closed the connection instead of answering the A-ASSOCIATE-RQ"
            ) from error
        raise
    except BaseException:
        if connection.wire.transport is not None:
            connection.abort()
        raise
    return connection
