"""Where a C-MOVE sends: store associations to the move destination, opened as instances need them (PS3.4 C.4.2.2.2)."""

from __future__ import annotations

import logging
import ssl as ssl_module
from dataclasses import dataclass

from aiodimse.aio.clock import Clock
from aiodimse.aio.connection import Connection
from aiodimse.aio.network import TCP, Network
from aiodimse.aio.opening import open_association
from aiodimse.aio.performer import Incoming
from aiodimse.association import Negotiated, PresentationContext, propose
from aiodimse.config import Limits, Timeouts
from aiodimse.errors import AssociationError, NoAcceptedContext
from aiodimse.pdu import AcceptedContext, AssociateRQ
from aiodimse.services.contexts import LITTLE_ENDIAN_PAIR, contexts_for_instances, store_context
from aiodimse.services.instance import Instance
from aiodimse.standard import sop_class

_log = logging.getLogger("aiodimse.retrieve")

_MAX_CONTEXTS = 128


@dataclass(frozen=True, slots=True)
class Destination:
    """A move destination.

    ae_title: the called AE title, the Move Destination of the request when None; timeouts: the server's when None;
    operations_window: how many C-STORE to propose to have open at once.
    """

    host: str
    port: int
    ae_title: str | None = None
    ssl: ssl_module.SSLContext | None = None
    timeouts: Timeouts | None = None
    operations_window: int = 1


class DestinationLost(AssociationError):
    """The destination refuses, rejects, accepts nothing, or has gone: it is not tried again."""


class _Silent:
    """The Observer of a store association: whoever is at the other end only answers."""

    def connection_made(self) -> None: ...

    def association_requested(self, rq: AssociateRQ) -> None: ...

    def association_established(self, negotiated: Negotiated) -> None: ...

    def request_received(self, incoming: Incoming) -> None:
        response = incoming.operation.request.response(0x0122)
        incoming.connection.tasks.spawn(incoming.respond(response), "aiodimse refuse")

    def association_ended(self, error: BaseException) -> None: ...

    def connection_lost(self) -> None: ...


class StoreAssociations:
    """The associations to one destination, for one C-MOVE."""

    def __init__(
        self,
        destination: Destination,
        *,
        ae_title: str,
        called_ae_title: str,
        limits: Limits,
        timeouts: Timeouts,
        clock: Clock,
        network: Network = TCP,
    ) -> None:
        self._destination = destination
        self._ae_title, self._called = ae_title, destination.ae_title or called_ae_title
        self._limits, self._timeouts, self._clock = limits, destination.timeouts or timeouts, clock
        self._network = network
        self._connections: list[Connection] = []

    async def context_for(self, instance: Instance) -> tuple[Connection, AcceptedContext]:
        """The association and context that carry this instance, opened where no open one proposed it.

        Raises NoAcceptedContext where the destination does not take it, DestinationLost where it takes nothing more.
        """
        refusal: NoAcceptedContext | None = None
        for connection in self._connections:
            if connection.error is not None:
                raise DestinationLost("the destination has gone") from connection.error
            negotiated = connection.engine.negotiated
            assert negotiated is not None
            try:
                return connection, store_context(negotiated, instance.sop_class_uid, instance.transfer_syntax)
            except NoAcceptedContext as error:
                if (instance.sop_class_uid, instance.transfer_syntax) in _proposed(negotiated):
                    refusal = error
        if refusal is not None:
            raise refusal
        connection = await self._open(instance)
        assert connection.engine.negotiated is not None
        return connection, store_context(connection.engine.negotiated, instance.sop_class_uid, instance.transfer_syntax)

    async def _open(self, instance: Instance) -> Connection:
        window = self._destination.operations_window
        rq = propose(
            _contexts(instance),
            ae_title=self._ae_title,
            called_ae_title=self._called,
            limits=self._limits,
            operations_window=(window, 1),
        )
        where = f"{self._destination.host}:{self._destination.port}"
        try:
            connection = await open_association(
                self._destination.host,
                self._destination.port,
                rq,
                _Silent(),
                limits=self._limits,
                timeouts=self._timeouts,
                clock=self._clock,
                ssl=self._destination.ssl,
                network=self._network,
            )
        except (AssociationError, OSError) as error:
            raise DestinationLost(f"no association with {self._called} at {where}: {error}") from error
        self._connections.append(connection)
        assert connection.engine.negotiated is not None
        if not connection.engine.negotiated.contexts:
            raise DestinationLost(f"{self._called} at {where} accepts no presentation context")
        return connection

    async def release(self) -> None:
        """Release all of them; what goes wrong then is only logged."""
        for connection in self._connections:
            try:
                await connection.release()
            except AssociationError as error:
                _log.info("releasing the store association: %s", error)

    def abort(self) -> None:
        """Abort all of them."""
        for connection in self._connections:
            connection.abort()


def _proposed(negotiated: Negotiated) -> set[tuple[str, str]]:
    return {(c.abstract_syntax, syntax) for c in negotiated.rq.contexts for syntax in c.transfer_syntaxes}


def _contexts(instance: Instance) -> list[PresentationContext]:
    """What this instance needs, and the common storage classes with it."""
    contexts = contexts_for_instances([(instance.sop_class_uid, instance.transfer_syntax)])
    for uid in sop_class.GET_STORAGE_RANKED:
        if len(contexts) >= _MAX_CONTEXTS:
            break
        if uid != instance.sop_class_uid:
            contexts.append(PresentationContext(uid, LITTLE_ENDIAN_PAIR))
    return contexts
