"""The service class provider: Server, its handler decorators and hooks, and Listening."""

from __future__ import annotations

import asyncio
import socket
import ssl as ssl_module
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import TracebackType
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from aiodimse.aio.acceptor import Acceptor
from aiodimse.aio.admission import Admission
from aiodimse.aio.environment import Environment
from aiodimse.aio.network import Network
from aiodimse.aio.one_loop import OneLoop
from aiodimse.aio.settings import EndIdle, Settings
from aiodimse.aio.transport import Trace
from aiodimse.association import TitlePolicy
from aiodimse.association.negotiation import check_ae_title, operations_window_of
from aiodimse.config import Limits, Timeouts
from aiodimse.errors import LocalProtocolError
from aiodimse.metrics import Metrics
from aiodimse.pdu import AssociateAC, AssociateRJ, AssociateRQ
from aiodimse.services.association import ProviderAssociation
from aiodimse.services.open_moves import OpenMoves
from aiodimse.services.provider.accepted import AcceptedAssociation
from aiodimse.services.provider.decorators import HandlerDecorators
from aiodimse.services.provider.dispatch import Provider
from aiodimse.services.provider.handler_check import check_hook
from aiodimse.services.provider.handler_types import (
    AssociateHook,
    AssociationEndHook,
    AuthenticateHook,
    AuthorizeHook,
)
from aiodimse.services.provider.policy import AcceptancePolicy
from aiodimse.services.provider.registry import HandlerRegistry

Authorize = TypeVar("Authorize", bound=AuthorizeHook)
Authenticate = TypeVar("Authenticate", bound=AuthenticateHook)
OnAssociate = TypeVar("OnAssociate", bound=AssociateHook)
OnAssociationEnd = TypeVar("OnAssociationEnd", bound=AssociationEndHook)


class Server(HandlerDecorators):
    """Handlers, hooks, and the sockets on which they are served.

    A server may listen on several sockets, and be given to connect(handlers=) as well.

    Examples:
        >>> server = aiodimse.Server(ae_title="PACS")
        >>> @server.on_c_store
        ... async def store(request: aiodimse.StoreRequest) -> int:
        ...     await request.save("/data/dicom")
        ...     return 0x0000
        >>> async with server.listen("0.0.0.0", 11112) as listening:
        ...     await listening.serve_forever()
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
        metrics: Metrics | None = None,
        trace: Trace | None = None,
        environment: Environment | None = None,
        strict: bool = False,
        end_idle: EndIdle = "abort",
        transcode: bool = True,
    ) -> None:
        """Make a server without handlers. Nothing is opened.

        Args:
            ae_title: Our AE title. Other called AE titles are rejected with 1/1/7, unless accept_called allows them.
            accept_called: Called AE titles that are accepted beside ours: True for all, one, several, or a function. If
                the function raises, the association is rejected with 1/1/1.
            accept_calling: Calling AE titles that are accepted; None: all. Others are rejected with 1/1/3.
            limits: Bounds on what peers can make us hold. Those on connections and associations count over all
                listenings of the server. None: `Limits()`.
            timeouts: Every deadline. None: `Timeouts()`.
            operations_window: The most operations that may be open at once, if the peer asks for more than one
                (PS3.7 D.3.3.3): as in connect() the number for those that we invoke and the number for those that we
                perform, or one number for both.
            any_storage: Whether the C-STORE handler for all SOP classes also gets those that are not known.
            metrics: Its methods are called when associations and operations end. None: nothing is counted.
            trace: Sees the bytes of every association, as in connect().
            environment: The clock and the network, for tests; and how TCP acknowledges.
            strict: Whether to use none of the leniencies of docs/reference/leniencies.md.
            end_idle: How an association ends that was idle for `Timeouts.idle`, or for `Timeouts.drain_idle` while the
                server is being left: by A-ABORT, or by A-RELEASE-RQ, which some peers do not expect from an acceptor.
            transcode: Whether C-GET and C-MOVE decompress or losslessly recompress an instance whose compression the
                peer does not accept (extra `codecs`). Otherwise its sub-operation fails.

        Raises:
            LocalProtocolError: The AE title or the operations window is not valid.
        """
        check_ae_title(ae_title)
        self._ae_title = ae_title
        self._settings = Settings(
            limits or Limits(),
            timeouts or Timeouts(),
            environment or Environment(),
            trace,
            metrics,
            end_idle,
            strict=strict,
            transcode=transcode,
        )
        registry = HandlerRegistry()
        registry.any_storage = any_storage
        super().__init__(registry)
        self._policy = AcceptancePolicy(
            registry,
            self._settings.limits,
            ae_title=ae_title,
            accept_called=accept_called,
            accept_calling=accept_calling,
            operations_window=operations_window_of(operations_window),
            strict=strict,
        )
        self._admission: WeakKeyDictionary[asyncio.AbstractEventLoop, Admission] = WeakKeyDictionary()

    @property
    def ae_title(self) -> str:
        """The AE title of the server."""
        return self._ae_title

    @property
    def open_moves(self) -> OpenMoves:
        """Our C-MOVEs whose instances are sent to this server, for `c_move(receiver=)`."""
        return self._policy.open_moves

    @property
    def environment(self) -> Environment:
        """The clock and the network of its associations."""
        return self._settings.environment

    @property
    def limits(self) -> Limits:
        """The bounds on what peers can make us hold."""
        return self._settings.limits

    @property
    def timeouts(self) -> Timeouts:
        """The deadlines, in seconds."""
        return self._settings.timeouts

    @property
    def end_idle(self) -> EndIdle:
        """How an idle association is ended: "abort" or "release"."""
        return self._settings.end_idle

    @property
    def is_strict(self) -> bool:
        """Whether the server uses none of the leniencies of docs/reference/leniencies.md."""
        return self._settings.strict

    # --- hooks --------------------------------------------------------------------------------------------------------

    def authorize(self, hook: Authorize) -> Authorize:
        """Decorate the hook that decides whether a request may be performed: `async def authorize(request) -> bool`.

        It is called before the handler of every request. Its data set is decoded by then, except that of a C-STORE.

        Args:
            hook: The function.

        Returns:
            The hook itself. If it returns something false or raises, the response is 0124, Not authorized. If it raises
            DIMSEFailure, the response has the status of that.

        Raises:
            TypeError: It is not an `async def` with one parameter.
        """
        check_hook("authorize", hook, ("request",))
        self._policy.authorize = hook
        return hook

    def authenticate(self, hook: Authenticate) -> Authenticate:
        """Decorate the hook for user identity negotiation (PS3.7 D.3.3.7): `async def authenticate(identity, request)`.

        identity is None if the peer sent none. Secrets are not logged.

        Args:
            hook: The function.

        Returns:
            The hook itself. If it returns something false, the association is rejected with 1/2/1. Bytes are the server
            response (Kerberos, SAML, JWT), which is sent if the peer asked for one. An exception rejects as for
            on_associate.

        Raises:
            TypeError: It is not an `async def` with two parameters.
        """
        check_hook("authenticate", hook, ("identity", "request"))
        self._policy.authenticate = hook
        return hook

    def on_associate(self, hook: OnAssociate) -> OnAssociate:
        """Decorate the hook that accepts an association, or a part of it: `async def on_associate(request)`.

        Args:
            hook: The function.

        Returns:
            The hook itself. If it returns None, the association is accepted; if it returns SOP class UIDs or
            presentation context IDs, only with these. To reject, it raises AssociationRejected(result, source, reason).
            Any other exception, and numbers that PS3.8 9.3.4 does not have, reject with 1/1/1; a hook that takes longer
            than Timeouts.authenticate rejects with 2/1/1.

        Raises:
            TypeError: It is not an `async def` with one parameter.
        """
        check_hook("on_associate", hook, ("request",))
        self._policy.on_associate = hook
        return hook

    def on_association_end(self, hook: OnAssociationEnd) -> OnAssociationEnd:
        """Decorate `async def ended(association, error)`, which is called once for each association that was accepted.

        association is the object that handlers have as request.association. error is None after a release; otherwise it
        says what ended the association: AssociationAborted or AssociationTimeout. What the hook raises is logged.

        Args:
            hook: The function.

        Returns:
            The hook itself.

        Raises:
            TypeError: It is not an `async def` with two parameters.
        """
        check_hook("on_association_end", hook, ("association", "error"))
        self._policy.on_association_end = hook
        return hook

    # --- for the rest of the library ----------------------------------------------------------------------------------

    def answer_at_once(self, rq: AssociateRQ) -> AssociateAC | AssociateRJ:
        """Return the answer to an A-ASSOCIATE-RQ without asking a hook.

        Args:
            rq: The request.
        """
        return self._policy.answer_at_once(rq)

    def provider(self, association: ProviderAssociation) -> Provider:
        """Make the object that performs the requests of one association.

        Args:
            association: The association, as the handlers see it.
        """
        return self._policy.provider(association)

    # --- listening ----------------------------------------------------------------------------------------------------

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
        """Listen on a socket: `async with server.listen("127.0.0.1", 0) as listening`. The block opens it.

        Args:
            host: An address or a host name; None: every address of this machine.
            port: 104 or 11112 as a rule; 0: any that is free (`listening.port`).
            ssl: A context from tls.server_context(), for DICOM over TLS; None: no TLS.
            sock: A bound socket, instead of host and port.
            reuse_port: Whether other processes may listen on the same port, if the system allows it (SO_REUSEPORT).
            network: The network, for tests; None: that of the server's environment.
        """
        settings = self._settings
        if network is not None:
            settings = replace(settings, environment=replace(settings.environment, network=network))
        return Listening(partial(self._acceptor, settings), host, port, ssl=ssl, sock=sock, reuse_port=reuse_port)

    def _acceptor(self, settings: Settings) -> Acceptor:
        """Make the acceptor of one listening. The limits count over all listenings on this event loop."""
        admission = self._admission.setdefault(asyncio.get_running_loop(), Admission(settings.limits, settings.clock))
        return Acceptor(partial(AcceptedAssociation, self._policy), settings, admission)


class Listening:
    """A Server on a socket. Leaving its block closes it as `close` does; an exception or a second cancellation aborts
    the associations."""

    def __init__(
        self,
        make_acceptor: Callable[[], Acceptor],
        host: str | None,
        port: int,
        *,
        ssl: ssl_module.SSLContext | None,
        sock: socket.socket | None,
        reuse_port: bool,
    ) -> None:
        self._make_acceptor, self._host, self._port = make_acceptor, host, port
        self._ssl, self._sock, self._reuse_port = ssl, sock, reuse_port
        self._acceptor: Acceptor | None = None
        self._one_loop = OneLoop("a listening")

    async def __aenter__(self) -> Listening:
        self._one_loop.check()
        self._acceptor = self._make_acceptor()
        await self._acceptor.listen(self._host, self._port, ssl=self._ssl, sock=self._sock, reuse_port=self._reuse_port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._acceptor is not None
        if kind is None or issubclass(kind, asyncio.CancelledError):
            await self.close()
        else:
            self._acceptor.abort()
            await self._acceptor.shut()
            await self._acceptor.end()

    @property
    def sockets(self) -> tuple[Any, ...]:
        """The listening sockets."""
        return self._acceptor.sockets if self._acceptor is not None else ()

    @property
    def port(self) -> int:
        """The port of the first socket.

        Raises:
            LocalProtocolError: The socket is not open yet.
        """
        if not self.sockets:
            raise LocalProtocolError("not listening: async with server.listen(...) as listening opens the socket")
        port: int = self.sockets[0].getsockname()[1]
        return port

    @property
    def associations(self) -> tuple[ProviderAssociation, ...]:
        """The associations of this listening that are open."""
        observers = self._acceptor.observers if self._acceptor is not None else ()
        associations = (observer.association for observer in observers if isinstance(observer, AcceptedAssociation))
        return tuple(each for each in associations if each is not None and each.is_open)

    @property
    def is_draining(self) -> bool:
        """Whether no connection is accepted any more. Open associations may go on."""
        return self._acceptor is not None and self._acceptor.closing

    async def close(self) -> None:
        """Stop accepting, and wait until the associations have ended.

        They go on, also with new requests, until they end or have had no operation for `Timeouts.drain_idle`, and at
        most for `Timeouts.server_drain`; then they are aborted. Nothing happens before the socket is open.

        Raises:
            LocalProtocolError: It listens on another event loop.

        Cancellation: aborts what is left.
        """
        self._one_loop.check()
        if self._acceptor is not None:
            await self._acceptor.drain()

    async def wait_empty(self) -> None:
        """Wait until every connection is gone, and at most Timeouts.handler_close for tasks that handlers left.

        Raises:
            LocalProtocolError: It listens on another event loop.

        Cancellation: Nothing changes.
        """
        self._one_loop.check()
        if self._acceptor is not None:
            await self._acceptor.wait_empty()

    async def serve_forever(self) -> None:
        """Wait until cancelled.

        Raises:
            LocalProtocolError: The socket is not open: `async with` opens it.
        """
        if self._acceptor is None:
            raise LocalProtocolError("not listening yet: async with server.listen(...) as listening opens the socket")
        await asyncio.get_running_loop().create_future()
