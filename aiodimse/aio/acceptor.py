"""Accepts connections: one Acceptor for each listening of a server. `admission.py` has the limits common to all."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl as ssl_module
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

from aiodimse.aio import tls_handshake
from aiodimse.aio.admission import Admission, Newcomer
from aiodimse.aio.clock import Clock
from aiodimse.aio.endpoint import Endpoint
from aiodimse.aio.hooks import how, never_raising
from aiodimse.aio.listener import TCPListener
from aiodimse.aio.log import AssociationLogger
from aiodimse.aio.network import Listener, Network, ProtocolFactory
from aiodimse.aio.observer import Observer
from aiodimse.aio.settings import Settings
from aiodimse.aio.tasks import Tasks
from aiodimse.aio.transport import TransportConnection
from aiodimse.aio.words import address_words
from aiodimse.association import LOCAL_LIMIT_EXCEEDED
from aiodimse.config import Limits, Timeouts
from aiodimse.errors import AssociationTimeout, TLSError
from aiodimse.metrics import MeasuredAssociation
from aiodimse.pdu import AssociateRJ

_logger = logging.getLogger("aiodimse.acceptor")
_log = AssociationLogger(_logger, None)

_NEXT_TIMER = 1e-9
"""Seconds. asyncio.sleep(0) would not use a timer."""


class AcceptedObserver(Observer):
    """An Observer that is made for each connection."""

    endpoint: Endpoint


class Acceptor:
    """Every connection of one listening, from accept to the end.

    Args:
        make_observer: Makes the observer of each connection.
        settings: The settings of every association.
        admission: The limits, common to all listenings of a server.
    """

    def __init__(
        self, make_observer: Callable[[Acceptor], AcceptedObserver], settings: Settings, admission: Admission
    ) -> None:
        self._settings = settings
        self._metrics = never_raising(settings.metrics, _log)
        self.limits: Limits = settings.limits
        self.timeouts: Timeouts = settings.timeouts
        self.clock: Clock = settings.clock
        self.network: Network = settings.network
        self.closing: bool = False
        self._listener: Listener | None = None
        self._make_observer = make_observer
        self._admission = admission
        self._handshakes: set[tls_handshake.PendingHandshake] = set()
        self._handshake_tasks = Tasks()
        self._all: dict[Endpoint, AcceptedObserver] = {}
        self._left: list[Tasks] = []
        """Tasks that go on though their connection is gone: a handler in its finally block, or the release of the
        store association of a C-MOVE."""
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._all)

    @property
    def observers(self) -> tuple[AcceptedObserver, ...]:
        """The observers of all open connections of this listening."""
        return tuple(self._all.values())

    def new_connection(self) -> TransportConnection:
        """Make the protocol for one accepted socket."""
        observer = self._make_observer(self)
        endpoint = observer.endpoint = Endpoint("acceptor", observer, self._settings)
        return endpoint.connection

    def enter(self, observer: AcceptedObserver) -> None:
        """Take in a connection that is open, with TLS after the handshake."""
        endpoint = observer.endpoint
        self._all[endpoint] = observer
        self._wait_for_request(endpoint, endpoint.connection.drop)

    def _count(self) -> None:
        if isinstance(self._listener, TCPListener):
            self._listener.count(len(self._all) + len(self._handshakes))

    def _wait_for_request(self, newcomer: Newcomer, drop: Callable[[], None]) -> None:
        self._empty.clear()
        self._count()
        self._admission.wait_for_request(newcomer, drop)
        if self.closing:
            drop()

    def _new_handshake(self, context: ssl_module.SSLContext) -> tls_handshake.PendingHandshake:
        """Make the protocol for one accepted socket until its TLS handshake is done."""

        def opened(handshake: tls_handshake.PendingHandshake) -> None:
            self._handshakes.add(handshake)
            self._wait_for_request(handshake, handshake.drop)
            self._handshake_tasks.spawn(
                self._shake_hands(handshake, context),
                "aiodimse TLS handshake",
                partial(self._drop_if_cancelled, handshake),
            )

        return tls_handshake.PendingHandshake(opened)

    async def _shake_hands(self, handshake: tls_handshake.PendingHandshake, context: ssl_module.SSLContext) -> None:
        transport = handshake.transport
        assert transport is not None
        timeout = self.timeouts.tls_handshake

        def make_connection() -> TransportConnection:
            self._admission.forget(handshake)  # From now on the connection is counted.
            return self.new_connection()

        try:
            async with self.clock.deadline(self.clock.after(timeout), partial(tls_handshake.too_slow, timeout)):
                await handshake.spoken_to()
                async with self._admission.handshake(handshake):
                    await tls_handshake.start_tls(transport, make_connection, context, first=handshake.first)
        except (TLSError, AssociationTimeout) as error:
            self._report_failure(handshake.peer_address, error)
            handshake.drop()
        finally:
            self._end_handshake(handshake)

    def _report_failure(self, address: tuple[str, int] | None, error: TLSError | AssociationTimeout) -> None:
        """Report a handshake that failed to the log and the metrics."""
        # Load balancers and port scans connect and close without a word. An operator can do nothing about that.
        level = logging.INFO if isinstance(error.__cause__, ConnectionError | None) else logging.WARNING
        peer = "?" if address is None else address_words(address)
        _log.log(level, "no TLS with %s: %s", peer, error, extra={"peer": peer})
        if self._metrics is not None:
            self._metrics.association_failed(MeasuredAssociation("acceptor", "", "", address), how(error))

    def _end_handshake(self, handshake: tls_handshake.PendingHandshake) -> None:
        self._admission.forget(handshake)
        self._handshakes.discard(handshake)
        self._check_empty()

    def _drop_if_cancelled(self, handshake: tls_handshake.PendingHandshake, task: asyncio.Task[Any]) -> None:
        """Drop a handshake whose task was cancelled, perhaps before it began."""
        if task.cancelled():
            handshake.drop()
            self._end_handshake(handshake)

    def admit(self, endpoint: Endpoint, peer: str) -> AssociateRJ | None:
        """Count an association. Return the rejection if a limit does not allow it, or the server is being left."""
        return LOCAL_LIMIT_EXCEEDED if self.closing or not self._admission.admit(endpoint, peer) else None

    def leave(self, endpoint: Endpoint) -> None:
        """Take note that an association has ended. Its connection may still be open."""
        self._admission.leave(endpoint)

    def gone(self, endpoint: Endpoint) -> None:
        """Take note that a transport connection is gone."""
        self._admission.forget(endpoint)
        self._all.pop(endpoint, None)
        self._left = [tasks for tasks in (*self._left, endpoint.tasks) if len(tasks)]
        self._check_empty()

    def _check_empty(self) -> None:
        self._count()
        if not self._all and not self._handshakes:
            self._empty.set()

    async def listen(
        self,
        host: str | None,
        port: int,
        *,
        ssl: ssl_module.SSLContext | None,
        sock: socket.socket | None,
        reuse_port: bool,
    ) -> None:
        """Open the listening sockets: one, or one for each address of the host.

        Args:
            host: See `Server.listen`.
            port: See `Server.listen`.
            ssl: The certificates and versions of TLS; None: without TLS.
            sock: A socket that listens already, instead of host and port.
            reuse_port: Whether other processes may listen on the same port.
        """
        factory: ProtocolFactory = self.new_connection
        if ssl is not None:
            factory = partial(self._new_handshake, ssl)
        listener = await self.network.listen(factory, host, port, sock=sock, reuse_port=reuse_port)
        if isinstance(listener, TCPListener):
            listener.on_exhausted = self._admission.make_room
        self._listener = listener

    @property
    def sockets(self) -> tuple[Any, ...]:
        """The listening sockets; none before `listen` and after `shut`."""
        return tuple(self._listener.sockets) if self._listener is not None else ()

    async def shut(self) -> None:
        """Close the listening sockets.

        asyncio makes the transport of an accepted socket in the next turn of its loop, and never closes the socket if
        its listener was closed meanwhile (python/cpython#109564). A timer runs after the transports of the turn before
        were made, and before this turn accepts more.

        Cancellation: The sockets are closed at once.
        """
        self.closing = True
        try:
            await asyncio.sleep(_NEXT_TIMER)
        finally:
            if self._listener is not None:
                self._listener.close()
        await asyncio.sleep(0)  # What was accepted arrives, and is dropped.

    async def drain(self) -> None:
        """Close the listening sockets, and wait for the associations to end.

        After Timeouts.server_drain, or if the task is cancelled, the associations that are left are aborted.
        """
        self.closing = True
        for endpoint in list(self._all):
            endpoint.drain()
        ours: list[Newcomer] = [*self._all, *self._handshakes]
        for drop in [self._admission.pending[newcomer] for newcomer in ours if newcomer in self._admission.pending]:
            drop()
        try:
            async with self.clock.deadline(self.clock.after(self.timeouts.server_drain), TimeoutError):
                await self.shut()
                await self._empty.wait()
        except TimeoutError:
            _log.warning("%d associations did not end within %s s", len(self._all), self.timeouts.server_drain)
        finally:
            self.abort()
        await self.end()

    async def wait_empty(self) -> None:
        """Wait until every connection is gone, and then at most Timeouts.handler_close for the tasks that go on."""
        await self._empty.wait()
        with suppress(TimeoutError):
            async with self.clock.deadline(self.clock.after(self.timeouts.handler_close), TimeoutError):
                for tasks in self._left:
                    await tasks.wait()

    async def end(self) -> None:
        """Wait as `wait_empty` does, and leave behind what has not ended by then, so that the program can end."""
        await self.wait_empty()
        if number := sum(tasks.leave_behind() for tasks in self._left):
            seconds = self.timeouts.handler_close
            _log.warning("%d handlers did not end within %s s: they are left behind", number, seconds)

    def abort(self) -> None:
        """End every association and every handshake now."""
        self.closing = True
        for endpoint in list(self._all):
            endpoint.abort()
            endpoint.connection.drop()
        for handshake in list(self._handshakes):
            handshake.drop()
