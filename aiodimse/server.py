"""The roof, service class provider: Server, its handler decorators and hooks, and listening."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl as ssl_module
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field, replace
from types import TracebackType
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from aiodimse.aio.acceptor import AcceptedObserver, Acceptor
from aiodimse.aio.admission import Admission
from aiodimse.aio.clock import Clock
from aiodimse.aio.endpoint import Endpoint
from aiodimse.aio.network import TCP, Network
from aiodimse.aio.performer import PerformedOperation
from aiodimse.aio.settings import Settings
from aiodimse.aio.transport import Trace
from aiodimse.association import (
    NO_REASON_GIVEN,
    Negotiated,
    TitlePolicy,
    answer,
    check_titles,
    narrow,
)
from aiodimse.config import Limits, Timeouts
from aiodimse.errors import AssociationRejected, LocalProtocolError
from aiodimse.metrics import Metrics
from aiodimse.pdu import AssociateAC, AssociateRJ, AssociateRQ, UserIdentityRequest, UserIdentityResponse
from aiodimse.record import Record
from aiodimse.services.provider.decorators import HandlerDecorators
from aiodimse.services.provider.dispatch import Authorize, Provider
from aiodimse.services.provider.handler_run import describe
from aiodimse.services.provider.registry import HandlerRegistry
from aiodimse.services.request import Peer
from aiodimse.standard.reason import REJECT_REASON, REJECT_RESULT

_log = logging.getLogger("aiodimse.server")

Hook = TypeVar("Hook", bound=Callable[..., Any])


class _HooksTooLate(Exception):
    """Timeouts.authenticate has passed; a TimeoutError may be a hook's own."""


@dataclass(frozen=True, eq=False, repr=False)
class AssociationRequest(Record):
    """What an on_associate or authenticate hook sees of an association that is asked for."""

    rq: AssociateRQ
    address: tuple[str, int] | None
    tls_certificate: Any = None
    _endpoint: Endpoint | None = field(default=None, repr=False, compare=False)

    def logger(self, logger: logging.Logger) -> logging.LoggerAdapter[logging.Logger] | logging.Logger:
        """This logger, for lines about this association: they begin with it, and have it as fields."""
        return logger if self._endpoint is None else self._endpoint.logger(logger)

    @property
    def calling_ae_title(self) -> str:
        """Who asks."""
        return self.rq.calling_ae_title

    @property
    def called_ae_title(self) -> str:
        """Who is asked."""
        return self.rq.called_ae_title

    @property
    def user_identity(self) -> UserIdentityRequest | None:
        """What the peer says of itself."""
        return self.rq.user_information.user_identity


class Server(HandlerDecorators):
    """Handlers, and the sockets on which they are served.

    ae_title: who we are; another called AE title is rejected 1/1/7 unless accept_called allows it: True, a title,
    several, or a function. accept_calling restricts callers (1/1/3). A function that raises rejects (1/1/1). strict: no
    leniency of docs/reference/leniencies.md.
    operations_window: how many operations at once a peer may have open, where it asks for more than one. any_storage:
    SOP classes that are not known are stored by the C-STORE handler that is registered for all. limits: those on
    connections and associations count over all listenings of the server. metrics, quick_ack, trace: as in connect(),
    for every association. clock, network: for tests (aiodimse.testing).
    """

    def __init__(
        self,
        *,
        ae_title: str = "AIODIMSE",
        accept_called: TitlePolicy | None = None,
        accept_calling: TitlePolicy | None = None,
        limits: Limits | None = None,
        timeouts: Timeouts | None = None,
        operations_window: int | tuple[int, int] = 16,
        any_storage: bool = False,
        strict: bool = False,
        metrics: Metrics | None = None,
        trace: Trace | None = None,
        quick_ack: bool = True,
        clock: Clock | None = None,
        network: Network = TCP,
    ) -> None:
        self.ae_title = ae_title
        self.settings = Settings(
            limits or Limits(),
            timeouts or Timeouts(),
            clock or Clock(),
            network,
            trace,
            metrics,
            quick_ack,
            strict=strict,
        )
        self._accept_called, self._accept_calling = accept_called, accept_calling
        window = operations_window
        self._window = (window, window) if isinstance(window, int) else window
        self._admission: WeakKeyDictionary[asyncio.AbstractEventLoop, Admission] = WeakKeyDictionary()
        super().__init__(HandlerRegistry())
        self._registry.any_storage = any_storage
        self._authorize: Authorize | None = None
        self._authenticate: Callable[..., Awaitable[Any]] | None = None
        self._on_associate: Callable[[AssociationRequest], Awaitable[Any]] | None = None

    # --- hooks --------------------------------------------------------------------------------------------------------

    def authorize(self, hook: Hook) -> Hook:
        """Decorate `async def authorize(request) -> bool`: may it run? Otherwise it is answered 0124."""
        self._authorize = hook
        return hook

    def authenticate(self, hook: Hook) -> Hook:
        """Decorate `async def authenticate(identity, request)` for user identity negotiation (PS3.7 D.3.3.7).

        identity is None where the peer sent none. A false answer rejects; True accepts; bytes accept and are the server
        response (Kerberos, SAML, JWT) where the peer asked for one. Secrets are not logged.
        """
        self._authenticate = hook
        return hook

    def on_associate(self, hook: Hook) -> Hook:
        """Decorate `async def on_associate(request)`: None accepts; a collection of SOP class UIDs or presentation
        context IDs accepts no more than those; raise AssociationRejected(result, source, reason) to reject.

        A hook that raises anything else, or numbers that PS3.8 9.3.4 does not have, is answered 1/1/1; one that takes
        longer than Timeouts.authenticate 2/1/1.
        """
        self._on_associate = hook
        return hook

    # --- for the floors below and the other half of the roof ----------------------------------------------------------

    def provider(self, peer: Peer) -> Provider:
        """What answers the requests of this peer."""
        return Provider(self._registry, peer, ae_title=self.ae_title, authorize=self._authorize)

    def answer(self, rq: AssociateRQ, identity: UserIdentityResponse | None = None) -> AssociateAC | AssociateRJ:
        """The answer to an A-ASSOCIATE-RQ, as far as no hook has a say."""
        return answer(
            rq,
            self._registry.offer(),
            ae_title=self.ae_title,
            accept_called=self._accept_called,
            accept_calling=self._accept_calling,
            limits=self.settings.limits,
            operations_window=self._window,
            user_identity_response=identity,
            strict=self.settings.strict,
        )

    @property
    def has_hooks(self) -> bool:
        """Whether an association has to wait for an answer of the application."""
        return self._authenticate is not None or self._on_associate is not None

    async def decide(self, request: AssociationRequest) -> AssociateAC | AssociateRJ:
        """The answer to an A-ASSOCIATE-RQ, with the hooks. Raises what they raise but for AssociationRejected."""
        rq = request.rq
        rejected = check_titles(
            rq, self.ae_title, accept_called=self._accept_called, accept_calling=self._accept_calling
        )
        if rejected is not None:
            return rejected
        response: UserIdentityResponse | None = None
        try:
            if self._authenticate is not None:
                verdict = await self._authenticate(request.user_identity, request)
                if verdict is None or verdict is False:
                    return NO_REASON_GIVEN
                response = UserIdentityResponse(verdict if isinstance(verdict, bytes) else b"")
            ac = self.answer(rq, response)
            if self._on_associate is not None and isinstance(ac, AssociateAC):
                keep = await self._on_associate(request)
                if keep is not None:
                    ac = _narrowed(rq, ac, keep)
        except AssociationRejected as error:
            return self._rejection(request, error)
        return ac

    def _rejection(self, request: AssociationRequest, error: AssociationRejected) -> AssociateRJ:
        if error.result in REJECT_RESULT and (error.source, error.reason) in REJECT_REASON:
            return AssociateRJ(error.result, error.source, error.reason)
        numbers = f"{error.result}/{error.source}/{error.reason}"
        request.logger(_log).error("a hook rejects with %s, which PS3.8 9.3.4 does not have: 1/1/1 it is", numbers)
        return NO_REASON_GIVEN

    # --- listening ----------------------------------------------------------------------------------------------------

    def _admission_here(self) -> Admission:
        """Those of all its listenings on the event loop that runs: what its Limits count."""
        return self._admission.setdefault(asyncio.get_running_loop(), Admission(self.settings.limits))

    def listen(
        self,
        host: str | None = None,
        port: int = 0,
        *,
        ssl: ssl_module.SSLContext | None = None,
        sock: socket.socket | None = None,
        reuse_port: bool = False,
        network: Network | None = None,
    ) -> Listening:
        """A listening socket, to be entered: `async with server.listen("127.0.0.1", 0) as listening`."""
        return Listening(
            self, host, port, ssl=ssl, sock=sock, reuse_port=reuse_port, network=network or self.settings.network
        )


def _narrowed(rq: AssociateRQ, ac: AssociateAC, keep: Collection[object]) -> AssociateAC:
    if isinstance(keep, (str, bytes)) or not isinstance(keep, Collection):
        raise TypeError("an on_associate hook returns None, or a collection of SOP class UIDs or context IDs")
    return narrow(rq, ac, lambda context: context.context_id in keep or context.abstract_syntax in keep)


class _Accepted(AcceptedObserver):
    """One accepted connection."""

    def __init__(self, server: Server, acceptor: Acceptor) -> None:
        self._server, self._acceptor = server, acceptor
        self._identity: UserIdentityRequest | None = None
        self._asking: asyncio.Task[None] | None = None

    @property
    def _address(self) -> tuple[str, int] | None:
        return self.endpoint.peer_address

    def connection_made(self) -> None:
        """Somebody has come in."""
        self._acceptor.enter(self.endpoint)

    def association_requested(self, rq: AssociateRQ) -> None:
        """Answer at once, or when the hooks have been asked."""
        address = self._address
        rejected = self._acceptor.admit(self.endpoint, address[0] if address else "")
        if rejected is not None:
            self.endpoint.reject(rejected)
        elif self._server.has_hooks:
            self._asking = self.endpoint.tasks.spawn(self._ask(rq), "aiodimse associate")
        else:
            try:
                reply = self._server.answer(rq)
            except Exception as error:
                reply = self._no_answer(error)
            self._reply(reply)

    async def _ask(self, rq: AssociateRQ) -> None:
        server, endpoint = self._server, self.endpoint
        request = AssociationRequest(rq, self._address, endpoint.peer_certificate, endpoint)
        clock, seconds = server.settings.clock, server.settings.timeouts.authenticate
        reply: AssociateAC | AssociateRJ
        try:
            async with clock.deadline(clock.after(seconds), _HooksTooLate):
                reply = await server.decide(request)
            self._identity = None if server._authenticate is None else request.user_identity
        except _HooksTooLate:
            endpoint.logger(_log).warning("the hooks took longer than %s s: rejecting", seconds)
            reply = replace(NO_REASON_GIVEN, result=2)
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as error:
            task = asyncio.current_task()
            if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
                raise  # the task itself: the loop is closing
            reply = self._no_answer(error)
        if endpoint.error is None:
            self._reply(reply)

    def _no_answer(self, error: BaseException) -> AssociateRJ:
        self.endpoint.logger(_log).error("a hook raised %s: rejecting", describe(error))
        return NO_REASON_GIVEN

    def _reply(self, reply: AssociateAC | AssociateRJ) -> None:
        if isinstance(reply, AssociateAC):
            try:
                self.endpoint.accept(reply)
            except LocalProtocolError as error:  # nothing was sent: a server response of 64 KiB fits in no PDU
                self.endpoint.logger(_log).error("the A-ASSOCIATE-AC cannot be encoded: %s", error)
                reply = NO_REASON_GIVEN
        if isinstance(reply, AssociateRJ):
            self.endpoint.logger(_log).info("rejecting: %s", reply)
            self.endpoint.reject(reply)

    def association_established(self, negotiated: Negotiated) -> Callable[[PerformedOperation], None]:
        """Requests can come."""
        peer = Peer(self._address, negotiated, self._identity, self.endpoint.peer_certificate)
        accepted, proposed = len(negotiated.contexts), len(negotiated.rq.contexts)
        self.endpoint.logger(_log).info("association: %d of %d presentation contexts", accepted, proposed)
        return self._server.provider(peer).handle

    def association_ended(self, error: BaseException) -> None:
        """Make place for another. A hook that is still asked is cancelled: nobody waits for its answer."""
        if self._asking is not None and self._asking is not asyncio.current_task():
            self._asking.cancel()
        self._acceptor.leave(self.endpoint)
        self.endpoint.logger(_log).info("association ended: %s", error)

    def connection_lost(self) -> None:
        """Nothing is left."""
        self._acceptor.gone(self.endpoint)


class Listening:
    """A Server on a socket. Leaving drains: running operations end within Timeouts.server_drain, then are aborted; an
    exception or a second cancellation aborts at once."""

    def __init__(
        self,
        server: Server,
        host: str | None,
        port: int,
        *,
        ssl: ssl_module.SSLContext | None,
        sock: socket.socket | None,
        reuse_port: bool,
        network: Network,
    ) -> None:
        self._server, self._host, self._port = server, host, port
        self._ssl, self._sock, self._reuse_port, self._network = ssl, sock, reuse_port, network
        self._acceptor: Acceptor | None = None

    async def __aenter__(self) -> Listening:
        server = self._server
        self._acceptor = Acceptor(
            lambda acceptor: _Accepted(server, acceptor),
            replace(server.settings, network=self._network),
            server._admission_here(),
        )
        await self._acceptor.listen(self._host, self._port, ssl=self._ssl, sock=self._sock, reuse_port=self._reuse_port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._acceptor is not None
        if kind is None or issubclass(kind, asyncio.CancelledError):
            await self._acceptor.drain()
        else:
            self._acceptor.abort()
            await self._acceptor.shut()
            await self._acceptor.wait_empty()

    @property
    def sockets(self) -> tuple[Any, ...]:
        """The listening sockets."""
        return self._acceptor.sockets if self._acceptor is not None else ()

    @property
    def port(self) -> int:
        """The port of the first socket; LocalProtocolError before it is open."""
        if not self.sockets:
            raise LocalProtocolError("not listening")
        port: int = self.sockets[0].getsockname()[1]
        return port

    @property
    def associations(self) -> int:
        """Associations at this moment, of this listening."""
        return self._acceptor.associations if self._acceptor is not None else 0

    async def serve_forever(self) -> None:
        """Wait until cancelled."""
        await asyncio.get_running_loop().create_future()
