"""The store associations of a C-MOVE to its destination, which are opened as instances need them (PS3.4 C.4.2.2.2)."""

from __future__ import annotations

import logging
import ssl as ssl_module
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from aiodimse.aio.endpoint import Endpoint
from aiodimse.aio.invoker import Invoker
from aiodimse.aio.opening import open_association
from aiodimse.aio.performer import PerformedOperation
from aiodimse.association import MAX_CONTEXTS, Negotiated, PresentationContext, propose
from aiodimse.association.answering import TRANSFER_SYNTAXES_NOT_SUPPORTED
from aiodimse.config import Timeouts
from aiodimse.errors import AssociationError, AssociationTimeout, NoAcceptedContext, ProtocolError
from aiodimse.pdu import AcceptedContext, AssociateRQ
from aiodimse.record import record
from aiodimse.services.contexts import contexts_to_send, is_proposed, store_context
from aiodimse.services.instance import Instance
from aiodimse.services.provider.budgets import Budgets
from aiodimse.standard import answers, sop_class
from aiodimse.standard.values import escaped

_log = logging.getLogger("aiodimse.retrieve")

_COMMON = 16
"""How many common storage SOP classes are proposed beside that of the first instance."""


@record(frozen=True)
class Destination:
    """A move destination: what a C-MOVE handler yields first.

    Example:
        >>> yield aiodimse.Destination("viewer.example", 104)
    """

    host: str
    """The host name or address."""
    port: int
    """The TCP port, 1 to 65535."""
    ae_title: str | None = None
    """The called AE title; None: the Move Destination of the request."""
    ssl: ssl_module.SSLContext | None = None
    """A context from tls.client_context(), for DICOM over TLS; None: no TLS."""
    timeouts: Timeouts | None = None
    """The deadlines of the store association; None: those of the server."""
    operations_window: int = 1
    """How many C-STORE operations to propose to have open at once (PS3.7 D.3.3.3)."""
    calling_ae_title: str | None = None
    """Our AE title on the store association; None: that of the server."""


class DestinationLost(AssociationError):
    """The destination is refused, rejects us, accepts no context, or has gone away a second time. It is not tried
    again."""


class _Silent:
    """The Observer of a store association, on which the peer only answers."""

    endpoint: Endpoint

    def connection_made(self) -> None: ...

    def association_requested(self, rq: AssociateRQ) -> None: ...

    def association_established(self, negotiated: Negotiated) -> Callable[[PerformedOperation], None]:
        return _refuse

    def association_ended(self, error: BaseException) -> None: ...

    def connection_lost(self) -> None: ...


def _refuse(performed: PerformedOperation) -> None:
    response = performed.operation.request.response(answers.SOP_CLASS_NOT_SUPPORTED)
    performed.channel.tasks.spawn(performed.respond(response), "aiodimse refuse")


class StoreAssociations:
    """The association to one destination, for one C-MOVE: one after the other, never two at once.

    It counts against Limits.associations_per_destination; where others have taken all of those, the C-MOVE waits.

    When an instance needs a context that was not proposed, the association is released and the next one proposes it
    with all that came before. Held open beside it, the first would keep a peer that serves one association at a time
    (storescp of DCMTK without --fork) from ever accepting the second.
    """

    def __init__(
        self,
        destination: Destination,
        performed: PerformedOperation,
        *,
        ae_title: str,
        called_ae_title: str,
        budgets: Budgets,
        waits: Callable[[Awaitable[bool]], Awaitable[bool]],
    ) -> None:
        """Open nothing yet.

        Args:
            destination: Where to; it may have deadlines of its own.
            performed: The C-MOVE. The set-up is its server's.
            ae_title: Who we are to the destination.
            called_ae_title: The Move Destination of the request.
            budgets: Those of the server.
            waits: Awaits what C-CANCEL shall interrupt.
        """
        self._destination, self._performed = destination, performed
        self._ae_title, self._called = ae_title, destination.ae_title or called_ae_title
        self._place = budgets.destinations.place(destination.host, destination.port)
        self._waits = waits
        channel = performed.channel
        timeouts = destination.timeouts or channel.timeouts
        self._settings = replace(channel.settings, timeouts=timeouts, parent=channel.name)
        self._endpoint: Endpoint | None = None
        self._losses = 0  # How many associations were lost while they were in use.
        self._kinds: list[tuple[str, str]] = []  # The SOP classes and transfer syntaxes so far, the newest first.

    async def context_for(
        self, instance: Instance, finish: Callable[[], Awaitable[None]]
    ) -> tuple[Invoker, AcceptedContext]:
        """The association and context that carry this instance. finish waits for the sub-operations under way, where
        another association has to be opened.

        Raises NoAcceptedContext where the destination does not take it, DestinationLost where it takes nothing more.
        """
        kind = (instance.sop_class_uid, instance.transfer_syntax)
        if self._endpoint is not None and (gone := self._endpoint.error) is not None:
            if not self.survives(self._endpoint.invoker, gone):
                raise DestinationLost("the destination has gone") from gone
            await finish()
        if self._endpoint is not None:
            negotiated = self._endpoint.engine.negotiated
            assert negotiated is not None
            was_asked = self._was_asked(negotiated, kind)
            try:  # as it is stored, if need be on another association; else in another compression, or in none
                transcode = was_asked and self._settings.transcode
                return self._endpoint.invoker, store_context(negotiated, *kind, transcode=transcode)
            except NoAcceptedContext:
                if was_asked:
                    raise
            await finish()
            await self.release()
        if kind not in self._kinds:
            self._kinds.insert(0, kind)
        endpoint = await self._open()
        assert endpoint.engine.negotiated is not None
        context = store_context(endpoint.engine.negotiated, *kind, transcode=self._settings.transcode)
        return endpoint.invoker, context

    def _was_asked(self, negotiated: Negotiated, kind: tuple[str, str]) -> bool:
        """Whether the destination was asked for all that this kind of instance could go in."""
        if kind in self._kinds:
            return True
        uid, transfer_syntax = kind
        if self._settings.transcode and (uid, TRANSFER_SYNTAXES_NOT_SUPPORTED) in negotiated.refused.values():
            return False  # it takes the SOP class: perhaps in a lossless compression
        return is_proposed(negotiated, PresentationContext(uid, (transfer_syntax,)))

    def survives(self, invoker: Invoker, error: BaseException) -> bool:
        """Say whether the rest can be sent although this association was lost: on another one, but only after the first
        loss.

        A destination that has not answered in time is not tried again.
        """
        endpoint = self._endpoint
        if endpoint is not None and endpoint.invoker is invoker:
            self.abort()
            self._endpoint, self._losses = None, self._losses + (2 if isinstance(error, AssociationTimeout) else 1)
            if self._losses == 1:
                log = self._performed.logger(_log)
                log.warning("%s: the destination has gone; once more for the rest", self._performed.operation.request)
        return self._losses <= 1

    async def _open(self) -> Endpoint:
        window = self._destination.operations_window
        rq = propose(
            _contexts(self._kinds, self._settings.transcode),
            ae_title=self._ae_title,
            called_ae_title=self._called,
            limits=self._settings.limits,
            operations_window=(window, 1),
        )
        where = f"{escaped(self._called)} at {escaped(self._destination.host)}:{self._destination.port}"
        await self._wait_for_place(where)
        try:
            endpoint = await open_association(
                self._destination.host,
                self._destination.port,
                rq,
                _Silent(),
                settings=self._settings,
                ssl=self._destination.ssl,
            )
        except BaseException as error:
            self._place.leave()
            # ValueError: the host name is not valid.
            if isinstance(error, (AssociationError, ProtocolError, OSError, ValueError)):
                raise DestinationLost(f"no association with {where}: {error}") from error
            raise
        self._endpoint = endpoint
        assert endpoint.engine.negotiated is not None
        if not (contexts := endpoint.engine.negotiated.contexts):
            raise DestinationLost(f"{where} accepts no presentation context")
        log, request = self._performed.logger(_log), self._performed.operation.request
        log.info("%s: stores over %s with %s, %d contexts", request, endpoint.name, where, len(contexts))
        return endpoint

    async def _wait_for_place(self, where: str) -> None:
        """Wait until the destination has fewer associations than it may have."""
        channel, seconds = self._performed.channel, self._settings.timeouts.destination_place
        if not self._place.is_free:
            log, request = self._performed.logger(_log), self._performed.operation.request
            log.info("%s: waits for another association with %s to end", request, where)
        try:
            is_there = await self._waits(self._place.enter(channel.clock, seconds))
        except BaseException:
            self._place.leave()
            raise
        if not is_there:
            raise DestinationLost(f"other associations with {where} did not end within {seconds} s")

    async def release(self) -> None:
        """Release the association. An error is only logged."""
        if self._endpoint is None:
            return
        try:
            await self._endpoint.release()
        except AssociationError as error:
            self._endpoint.logger(_log).info("releasing the store association: %s", error)
        finally:
            self._place.leave()
        self._endpoint = None

    def abort(self) -> None:
        """Abort the association."""
        if self._endpoint is not None:
            self._endpoint.abort()
            self._place.leave()


def _contexts(kinds: Sequence[tuple[str, str]], transcode: bool) -> list[PresentationContext]:
    """What these need, and common storage classes with it: a few at first, all of them where a few did not do."""
    contexts = contexts_to_send(kinds, transcode=transcode)[:MAX_CONTEXTS]
    needed = {uid for uid, _ in kinds}
    for uid in sop_class.GET_STORAGE_RANKED if len(kinds) > 1 else sop_class.GET_STORAGE_RANKED[:_COMMON]:
        if len(contexts) >= MAX_CONTEXTS:
            break
        if uid not in needed:
            contexts.append(PresentationContext(uid))
    return contexts
