"""The roof, service class user: connect() and Association."""

from __future__ import annotations

import os
import ssl as ssl_module
from collections.abc import Generator, Iterable, Sequence
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING

from pydicom.dataset import Dataset

from aiodimse import instances
from aiodimse.aio.clock import Clock
from aiodimse.aio.connection import Connection
from aiodimse.aio.network import TCP, Network
from aiodimse.aio.opening import open_association
from aiodimse.aio.performer import Incoming
from aiodimse.aio.setup import Setup
from aiodimse.aio.wire import Trace
from aiodimse.association import Negotiated, PresentationContext, fill_with_storage, propose
from aiodimse.association.negotiation import MAX_CONTEXTS, several
from aiodimse.config import Limits, Timeouts
from aiodimse.dimse import messages
from aiodimse.errors import LocalProtocolError, NoAcceptedContext
from aiodimse.metrics import Metrics
from aiodimse.pdu import AcceptedContext, AssociateRQ, CommonExtendedNegotiation, UserIdentityRequest
from aiodimse.services import normalized, storage, verification
from aiodimse.services.contexts import contexts_for_instances
from aiodimse.services.instance import InstanceSource
from aiodimse.services.query import Find
from aiodimse.services.request import Peer
from aiodimse.services.response import EncodedDataset, Response
from aiodimse.services.retrieve import Get, Move

if TYPE_CHECKING:
    from aiodimse.services.provider import Provider
    from aiodimse.services.served import Serving

Identifier = Dataset | EncodedDataset


class Association:
    """An association that we asked for. Made by connect(); every operation of it is a method."""

    def __init__(self, serving: Serving | None = None) -> None:
        self._serving = serving
        self._connection: Connection | None = None
        self._provider: Provider | None = None
        self._peer: Peer | None = None
        self._retrieval: Get | None = None

    def __repr__(self) -> str:
        return f"<Association {self._connection!r}>"

    # --- Observer of the connection -----------------------------------------------------------------------------------

    def connection_made(self) -> None:
        """The A-ASSOCIATE-RQ is on its way."""

    def association_requested(self, rq: AssociateRQ) -> None:
        """Never: the machine of a requestor takes no request."""

    def association_established(self, negotiated: Negotiated) -> None:
        """Remember whom we talk to."""
        self._peer = Peer(None, negotiated)
        if self._serving is not None:
            self._provider = self._serving.provider(self._peer)

    def request_received(self, incoming: Incoming) -> None:
        """A request of the peer: a sub-operation of our C-GET, or one for the handlers that connect() was given."""
        if isinstance(incoming.operation.request, messages.CStoreRQ):
            retrieval = self._retrieval
            if (
                retrieval is not None
                and retrieval.is_running
                and (retrieval.is_iterated or retrieval.is_left or self._provider is None)
            ):
                retrieval.offer(incoming)
                return
        if self._provider is not None:
            self._provider.handle(incoming)
            return
        response = incoming.operation.request.response(0x0122)
        incoming.connection.tasks.spawn(incoming.respond(response), "aiodimse refuse")

    def association_ended(self, error: BaseException) -> None:
        """Whoever waits has been told by the connection."""

    def connection_lost(self) -> None:
        """Nothing is left to be done."""

    # --- what was agreed ----------------------------------------------------------------------------------------------

    @property
    def connection(self) -> Connection:
        """For this library's own floors."""
        assert self._connection is not None
        return self._connection

    @property
    def negotiated(self) -> Negotiated:
        """What both sides agreed on."""
        negotiated = self.connection.engine.negotiated
        assert negotiated is not None
        return negotiated

    @property
    def contexts(self) -> tuple[AcceptedContext, ...]:
        """The accepted presentation contexts."""
        return tuple(self.negotiated.contexts.values())

    # --- services -----------------------------------------------------------------------------------------------------

    async def c_echo(self) -> Response:
        """C-ECHO (PS3.7 9.1.5). Never raises on a status."""
        return await verification.c_echo(self.connection)

    async def c_store(
        self,
        instance: InstanceSource,
        *,
        priority: int = 0,
        move_originator_ae_title: str | None = None,
        move_originator_message_id: int | None = None,
    ) -> Response:
        """C-STORE one instance (PS3.7 9.1.1): a path, a pydicom Dataset, or an Instance. Never raises on a status.

        Goes in the context with the stored transfer syntax, else is re-encoded between Implicit, Explicit and Deflated
        Little Endian. Raises NoAcceptedContext, NotDICOM, OSError before anything is sent; AssociationError as soon as
        the association has ended, for the stream of the instance is cancelled and closed then. Cancelled in the middle
        of the message it aborts the association: half a message cannot be taken back. A file that a disk does not give
        keeps a thread of the library's pool, and nobody else.
        """
        return await storage.c_store(
            self.connection,
            instance,
            priority=priority,
            move_originator_ae_title=move_originator_ae_title,
            move_originator_message_id=move_originator_message_id,
        )

    def c_find(self, identifier: Identifier, sop_class_uid: str, *, priority: int = 0) -> Find:
        """C-FIND (PS3.7 9.1.2): to be entered, iterated, awaited, or collected."""
        return Find(self.connection, identifier, sop_class_uid, priority=priority)

    def c_get(self, identifier: Identifier, sop_class_uid: str, *, priority: int = 0) -> Get:
        """C-GET (PS3.7 9.1.3). One at a time: sub-operations carry no mark of their C-GET.

        Raises LocalProtocolError while another one runs.
        """
        assert self._peer is not None
        retrieval = Get(
            self.connection, identifier, sop_class_uid, priority=priority, peer=self._peer, on_start=self._retrieve
        )
        self._check_no_other(retrieval)
        return retrieval

    def _check_no_other(self, retrieval: Get) -> None:
        other = self._retrieval
        if other is not None and other is not retrieval and (other.is_running or other.is_starting):
            raise LocalProtocolError("another C-GET runs on this association")

    def _retrieve(self, retrieval: Get) -> None:
        self._check_no_other(retrieval)
        self._retrieval = retrieval

    def c_move(self, identifier: Identifier, sop_class_uid: str, *, destination: str, priority: int = 0) -> Move:
        """C-MOVE to the AE title `destination` (PS3.7 9.1.4)."""
        return Move(self.connection, identifier, sop_class_uid, destination=destination, priority=priority)

    async def n_event_report(
        self, sop_class_uid: str, sop_instance_uid: str, event_type_id: int, dataset: Identifier | None = None
    ) -> Response:
        """N-EVENT-REPORT (PS3.7 10.1.1)."""
        request = messages.NEventReportRQ(
            message_id=0,
            affected_sop_class_uid=sop_class_uid,
            affected_sop_instance_uid=sop_instance_uid,
            event_type_id=event_type_id,
        )
        return await normalized.invoke(self.connection, request, dataset)

    async def n_get(self, sop_class_uid: str, sop_instance_uid: str, attributes: Iterable[int] = ()) -> Response:
        """N-GET (PS3.7 10.1.2); no attributes: all."""
        request = messages.NGetRQ(
            message_id=0,
            requested_sop_class_uid=sop_class_uid,
            requested_sop_instance_uid=sop_instance_uid,
            attribute_identifier_list=tuple(map(int, attributes)) or None,
        )
        return await normalized.invoke(self.connection, request, None)

    async def n_set(self, sop_class_uid: str, sop_instance_uid: str, dataset: Identifier) -> Response:
        """N-SET (PS3.7 10.1.3)."""
        request = messages.NSetRQ(
            message_id=0, requested_sop_class_uid=sop_class_uid, requested_sop_instance_uid=sop_instance_uid
        )
        return await normalized.invoke(self.connection, request, dataset)

    async def n_action(
        self, sop_class_uid: str, sop_instance_uid: str, action_type_id: int, dataset: Identifier | None = None
    ) -> Response:
        """N-ACTION (PS3.7 10.1.4)."""
        request = messages.NActionRQ(
            message_id=0,
            requested_sop_class_uid=sop_class_uid,
            requested_sop_instance_uid=sop_instance_uid,
            action_type_id=action_type_id,
        )
        return await normalized.invoke(self.connection, request, dataset)

    async def n_create(
        self, sop_class_uid: str, sop_instance_uid: str | None = None, dataset: Identifier | None = None
    ) -> Response:
        """N-CREATE (PS3.7 10.1.5); without an instance UID the peer chooses one."""
        request = messages.NCreateRQ(
            message_id=0, affected_sop_class_uid=sop_class_uid, affected_sop_instance_uid=sop_instance_uid
        )
        return await normalized.invoke(self.connection, request, dataset)

    async def n_delete(self, sop_class_uid: str, sop_instance_uid: str) -> Response:
        """N-DELETE (PS3.7 10.1.6)."""
        request = messages.NDeleteRQ(
            message_id=0, requested_sop_class_uid=sop_class_uid, requested_sop_instance_uid=sop_instance_uid
        )
        return await normalized.invoke(self.connection, request, None)

    # --- the end ------------------------------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """The association is established and has not ended."""
        return self.connection.is_open

    async def release(self) -> None:
        """A-RELEASE, and wait for the connection to close. Operations that were left are waited for first.

        Raises AssociationTimeout with phase release. Nothing happens where the association has ended. A cancelled
        release aborts.
        """
        connection = self.connection
        try:
            await connection.invoker.settled()
            await connection.release()
        except BaseException:
            connection.abort()
            raise
        await connection.close()

    def abort(self) -> None:
        """A-ABORT at once. Operations under way raise AssociationAborted."""
        self.connection.abort()

    async def wait_closed(self) -> None:
        """Wait until the transport connection is gone. A cancelled wait changes nothing: a watcher may come and go."""
        await self.connection.wait_closed()


class Connect:
    """What connect() returns: to be awaited, or entered."""

    def __init__(self, open_it: _Open) -> None:
        self._open = open_it
        self._association: Association | None = None

    def __await__(self) -> Generator[object, None, Association]:
        return self._open.open().__await__()

    async def __aenter__(self) -> Association:
        self._association = await self._open.open()
        return self._association

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """A-RELEASE; A-ABORT on cancellation, and where the body raised with an operation open."""
        association = self._association
        assert association is not None
        connection = association.connection
        if kind is not None and (not issubclass(kind, Exception) or connection.invoker.has_open_operations):
            connection.abort()
            await connection.close()
            return
        if not connection.is_open:
            await connection.close()
            return
        await association.release()


class _Open:
    """The arguments of connect(), checked."""

    def __init__(
        self,
        host: str,
        port: int,
        rq: AssociateRQ,
        *,
        setup: Setup,
        ssl: ssl_module.SSLContext | None,
        serving: Serving | None,
    ) -> None:
        self.host, self.port, self.rq = host, port, rq
        self.setup, self.ssl, self.serving = setup, ssl, serving

    async def open(self) -> Association:
        """Connect; raises NoAcceptedContext where no context was accepted."""
        association = Association(self.serving)
        connection = association._connection = await open_association(
            self.host,
            self.port,
            self.rq,
            association,
            setup=self.setup,
            ssl=self.ssl,
        )
        negotiated = connection.engine.negotiated
        assert negotiated is not None
        if association._peer is not None and connection.wire.transport is not None:
            association._peer.address = connection.wire.peer_address
            association._peer.tls_certificate = connection.wire.transport.get_extra_info("peercert")
        if not negotiated.contexts:
            await connection.release()
            raise NoAcceptedContext(
                f"{self.host}:{self.port} accepts none of the presentation contexts",
                negotiated.answers(),
                negotiated=negotiated,
            )
        return association


def connect(
    host: str,
    port: int,
    *,
    contexts: Sequence[str | PresentationContext],
    ae_title: str = "AIODIMSE",
    called_ae_title: str = "ANY-SCP",
    storage: Iterable[str | PresentationContext] | None = None,
    max_pdu_length: int | None = None,
    timeouts: Timeouts | None = None,
    limits: Limits | None = None,
    ssl: ssl_module.SSLContext | None = None,
    user_identity: UserIdentityRequest | None = None,
    common_extended: Sequence[CommonExtendedNegotiation] = (),
    operations_window: int | tuple[int, int] = 1,
    handlers: Serving | None = None,
    metrics: Metrics | None = None,
    trace: Trace | None = None,
    quick_ack: bool = True,
    clock: Clock | None = None,
    network: Network = TCP,
) -> Connect:
    """Open an association: `async with aiodimse.connect(...) as association`, or await it.

    contexts: SOP class UIDs or PresentationContext; with a C-GET SOP class among them, what is left of 128 contexts is
    filled with storage SOP classes (or those of `storage`) in the role SCP. operations_window: (invoked, performed), or
    one number for both; proposed only when it is not 1. handlers: a Server whose handlers answer what the peer asks on
    this association. max_pdu_length: in bytes, what we take; it stands for the one of `limits`. metrics: is told of the
    association and of operations as they end. quick_ack: acknowledge at once what is read (Linux), which peers with
    Nagle's algorithm on wait for. trace: called with our
    role when the connection opens; what it returns is called with ">" (from the requestor) or "<", and the bytes that
    were read or written, b"" at the end. clock, network: for tests (aiodimse.testing).

    Raises, when awaited: AssociationRejected, AssociationAborted, AssociationTimeout, NoAcceptedContext where the peer
    accepts no context, OSError where it cannot be reached. Raises LocalProtocolError at once for more than 128
    contexts, and for a UID or an AE title that is none. A cancelled await leaves nothing behind.

    >>> async with aiodimse.connect("pacs.example", 11112, contexts=[sop_class.Verification]) as association:
    ...     response = await association.c_echo()
    """
    limits = limits or Limits()
    if max_pdu_length is not None:
        limits = replace(limits, max_pdu_length=max_pdu_length)
    window = (operations_window, operations_window) if isinstance(operations_window, int) else operations_window
    wanted = fill_with_storage(contexts, storage)
    if len(wanted) > MAX_CONTEXTS:
        raise LocalProtocolError(f"{len(wanted)} presentation contexts; an association has at most {MAX_CONTEXTS}")
    for title in (ae_title, called_ae_title):
        check_ae_title(title)
    rq = propose(
        wanted,
        ae_title=ae_title,
        called_ae_title=called_ae_title,
        limits=limits,
        operations_window=window,
        user_identity=user_identity,
        common_extended=common_extended,
    )
    return Connect(
        _Open(
            host,
            port,
            rq,
            setup=Setup(limits, timeouts or Timeouts(), clock or Clock(), network, trace, metrics, quick_ack),
            ssl=ssl,
            serving=handlers,
        )
    )


def check_ae_title(title: str) -> None:
    """Raise LocalProtocolError where this is no AE title (PS3.5 6.2: 1 to 16 characters, no control, no backslash)."""
    printable = title.isascii() and title.isprintable() and "\\" not in title
    if not (printable and title.strip(" ") and len(title) <= 16):
        raise LocalProtocolError(f"not an AE title (1 to 16 printable characters, no backslash): {title!r}")


def contexts_for(paths: Iterable[str | os.PathLike[str]]) -> list[PresentationContext]:
    """What to propose for sending these files: one context per SOP class and stored transfer syntax, and Explicit and
    Implicit Little Endian beside.

    Reads the file meta information of each file, here and now: for thousands of files `await
    asyncio.to_thread(aiodimse.contexts_for, paths)`. Raises NotDICOM, OSError.
    """
    heads = (instances.read_head(path) for path in several(paths, "paths"))
    return contexts_for_instances(dict.fromkeys((head.sop_class_uid, head.transfer_syntax) for head in heads))
