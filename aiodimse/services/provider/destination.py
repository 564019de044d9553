"""The store associations of a C-MOVE to its destination. They are opened as instances need them (PS3.4 C.4.2.2.2)."""

from __future__ import annotations

import logging
import ssl as ssl_module
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from aiodimse.aio.endpoint import Endpoint
from aiodimse.aio.invoker import Invoker
from aiodimse.aio.opening import open_association
from aiodimse.aio.performer import PerformedOperation
from aiodimse.aio.words import unreachable
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
"""The number of common storage SOP classes that are proposed beside that of the first instance."""


@record(frozen=True)
class Destination:
    """A move destination: the first item that a C-MOVE handler yields.

    Examples:
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
    """The number of C-STORE operations to propose to have open at a time (PS3.7 D.3.3.3)."""
    calling_ae_title: str | None = None
    """Our AE title on the store association; None: that of the server."""


class DestinationLost(AssociationError):
    """The destination cannot be reached, rejects us, accepts no context, or was lost twice. It is not tried again."""


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
    performed.respond_later(performed.operation.request.response(answers.SOP_CLASS_NOT_SUPPORTED))


class StoreAssociations:
    """The associations to the destination of one C-MOVE: one after another, never two at a time.

    They count against Limits.associations_per_destination. If other C-MOVEs use all of those, this one waits.

    If an instance needs a context that was not proposed, the association is released, and the next one proposes it
    together with all earlier ones. If the first association stayed open, a peer that serves one association at a time
    (storescp of DCMTK without --fork) would never accept the second.
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
        """Prepare the associations. None is opened yet.

        Args:
            destination: The destination. It may have timeouts of its own.
            performed: The C-MOVE. The settings of its server are used.
            ae_title: Our AE title at the destination.
            called_ae_title: The Move Destination of the request.
            budgets: The budgets of the server.
            waits: Awaits something that C-CANCEL may interrupt.
        """
        self._destination, self._performed = destination, performed
        self._ae_title, self._called = ae_title, destination.ae_title or called_ae_title
        self._place = budgets.destinations.place(destination.host, destination.port)
        self._waits = waits
        channel = performed.channel
        timeouts = destination.timeouts or channel.timeouts
        self._settings = replace(channel.settings, timeouts=timeouts, parent=channel.name)
        self._endpoint: Endpoint | None = None
        self._losses = 0  # the number of associations that were lost while they were in use
        self._kinds: list[tuple[str, str]] = []  # the SOP classes and transfer syntaxes so far, the newest first

    async def context_for(
        self, instance: Instance, finish: Callable[[], Awaitable[None]]
    ) -> tuple[Invoker, AcceptedContext]:
        """Return an association and a context that can carry an instance.

        Args:
            instance: The instance.
            finish: Waits for the sub-operations under way. It is called before another association is opened.

        Raises:
            NoAcceptedContext: The destination does not accept the instance.
            DestinationLost: The destination accepts nothing more.
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
            try:  # as it is stored if possible, if necessary on another association; else in another compression
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
        """Return whether the destination was already offered every context that could carry this kind of instance."""
        if kind in self._kinds:
            return True
        uid, transfer_syntax = kind
        if self._settings.transcode and (uid, TRANSFER_SYNTAXES_NOT_SUPPORTED) in negotiated.refused.values():
            return False  # it supports the SOP class, perhaps in a lossless compression
        return is_proposed(negotiated, PresentationContext(uid, (transfer_syntax,)))

    def survives(self, invoker: Invoker, error: BaseException) -> bool:
        """Return whether the remaining instances can be sent although this association was lost.

        They are sent on another association, but only after the first loss. A destination that did not answer in time
        is not tried again.
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
                why = unreachable(error) if isinstance(error, OSError) else error
                raise DestinationLost(f"no association with {where}: {why}") from error
            raise
        self._endpoint = endpoint
        assert endpoint.engine.negotiated is not None
        if not (contexts := endpoint.engine.negotiated.contexts):
            raise DestinationLost(f"{where} accepts no presentation context")
        log, request = self._performed.logger(_log), self._performed.operation.request
        log.info("%s: stores over %s with %s, %d contexts", request, endpoint.name, where, len(contexts))
        return endpoint

    async def _wait_for_place(self, where: str) -> None:
        """Wait until the destination has fewer associations than allowed."""
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
    """Return the needed contexts and common storage contexts: a few at first, all if the few were not enough."""
    contexts = contexts_to_send(kinds, transcode=transcode)[:MAX_CONTEXTS]
    needed = {uid for uid, _ in kinds}
    for uid in sop_class.GET_STORAGE_RANKED if len(kinds) > 1 else sop_class.GET_STORAGE_RANKED[:_COMMON]:
        if len(contexts) >= MAX_CONTEXTS:
            break
        if uid not in needed:
            contexts.append(PresentationContext(uid))
    return contexts
