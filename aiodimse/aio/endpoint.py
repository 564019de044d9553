"""Our end of one association: its channel, the operations of both sides, its beginning and its end.

Nothing here decides what a request means. The floor above does, which listens as an Observer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from aiodimse.aio.channel import Channel
from aiodimse.aio.clock import TimerHandle
from aiodimse.aio.hooks import AssociationMetrics
from aiodimse.aio.invoker import Invoker
from aiodimse.aio.log import peer_words
from aiodimse.aio.observer import Observer
from aiodimse.aio.part import Part
from aiodimse.aio.performer import Performer
from aiodimse.aio.release import Release
from aiodimse.aio.settings import Settings
from aiodimse.aio.signals import fail
from aiodimse.association import AcceptedConfirmation, Negotiated, RejectedConfirmation, RequestedIndication, Role
from aiodimse.errors import AssociationClosed, AssociationRejected, AssociationTimeout
from aiodimse.pdu import AssociateAC, AssociateRJ

_CHECK_AGAIN = 1.0
"""Seconds between two checks whether an idle association is still busy."""


class Endpoint(Channel):
    """A Channel with all its parts."""

    def __init__(self, role: Role, observer: Observer, settings: Settings) -> None:
        super().__init__(role, settings)
        self.invoker: Invoker = Invoker(self)
        """The operations that we invoke."""
        self.performer: Performer = Performer(self, self.invoker)
        """The operations that we perform for the peer."""
        self._release = Release(self, self.invoker, self.performer)
        self._lifetime = _Lifetime(self, observer)
        self.register(self._lifetime)

    @property
    def established(self) -> asyncio.Future[Negotiated]:
        """A future that is done when the association is established, or has ended before that."""
        return self._lifetime.established

    def accept(self, ac: AssociateAC) -> None:
        """Accept the association with this A-ASSOCIATE-AC."""
        self.engine.accept(ac, self.clock.now())
        self._lifetime.establish()
        self.pump()

    def reject(self, rj: AssociateRJ) -> None:
        """Reject the association with this A-ASSOCIATE-RJ. The transport connection closes after it."""
        self.engine.reject(rj, self.clock.now())
        self.end(AssociationClosed(f"we rejected the association: {rj.result}/{rj.source}/{rj.reason}"))
        self.pump()

    async def release(self) -> None:
        """Ask for the release (A-RELEASE-RQ), after a message that is being written, and wait for the peer's answer.
        Nothing happens if the association has ended.

        Raises:
            AssociationTimeout: The answer did not come, and the association was aborted.
            AssociationAborted: The association was aborted or lost meanwhile.
            LocalProtocolError: The association belongs to another event loop.

        Cancellation: The association is aborted.
        """
        await self._release.ask()

    async def wait_closed(self) -> None:
        """Wait until the transport connection is gone.

        Raises:
            LocalProtocolError: The association belongs to another event loop.

        Cancellation: Nothing changes.
        """
        self.one_loop.check()
        await asyncio.shield(self._lifetime.closed)

    async def close(self) -> None:
        """Wait until the transport connection is gone, after the association has ended. ARTIM bounds the wait.

        Cancellation: The transport connection is dropped.
        """
        try:
            await self.wait_closed()
        except asyncio.CancelledError:
            self.connection.drop()
            raise

    def drain(self) -> None:
        """Serve on, new requests too, until there were none for Timeouts.drain_idle; then end the association, since
        the server is being left. A connection without an association is aborted."""
        self._lifetime.drain()


class _Lifetime(Part):
    """The beginning, the idle time and the end of the association, and telling the floor above of them."""

    def __init__(self, endpoint: Endpoint, observer: Observer) -> None:
        self._endpoint, self._observer = endpoint, observer
        self._metrics = AssociationMetrics(endpoint.metrics, endpoint.clock, lambda: endpoint.measured)
        self._idle_timer: TimerHandle | None = None
        self._drain_timer: TimerHandle | None = None
        self._operation_at = 0.0  # The time at which the last operation ended.
        loop = asyncio.get_running_loop()
        self.established: asyncio.Future[Negotiated] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()

    def events(self) -> Mapping[type[Any], Callable[[Any], None]]:
        return {
            RequestedIndication: self._on_requested,
            AcceptedConfirmation: self._on_accepted,
            RejectedConfirmation: self._on_rejected,
        }

    def connected(self) -> None:
        self._observer.connection_made()

    def _on_requested(self, event: RequestedIndication) -> None:
        self._observer.association_requested(event.rq)

    def _on_accepted(self, event: AcceptedConfirmation) -> None:
        self.establish()

    def establish(self) -> None:
        """Begin the association, which either side has accepted."""
        endpoint, negotiated = self._endpoint, self._endpoint.engine.negotiated
        assert negotiated is not None
        endpoint.peer = peer_words(endpoint)
        endpoint.performer.run = self._observer.association_established(negotiated)
        self._metrics.opened()
        if not self.established.done():
            self.established.set_result(negotiated)
        if endpoint.role == "acceptor" and endpoint.timeouts.idle is not None:
            self._idle_timer = endpoint.clock.call_at(endpoint.clock.now() + endpoint.timeouts.idle, self._check_idle)

    def _on_rejected(self, event: RejectedConfirmation) -> None:
        rj = event.rj
        self._endpoint.end(AssociationRejected(rj.result, rj.source, rj.reason, event.meaning))

    # --- idleness -----------------------------------------------------------------------------------------------------

    @property
    def _is_busy(self) -> bool:
        """Whether operations of either side are open."""
        return bool(self._endpoint.engine.router.performed or self._endpoint.invoker)

    def _check_idle(self) -> None:
        endpoint = self._endpoint
        idle, now = endpoint.timeouts.idle, endpoint.clock.now()
        if endpoint.error is not None or idle is None:
            return
        if endpoint.is_paused or self._is_busy:  # Within a message the deadline is Timeouts.pdu.
            again = now + idle
        elif now < endpoint.last_heard + idle:
            again = endpoint.last_heard + idle
        else:
            self._end_idle(AssociationTimeout("idle", f"nothing came for {idle} s, and no operation was open"))
            return
        self._idle_timer = endpoint.clock.call_at(again, self._check_idle)

    def drain(self) -> None:
        """From now on, end the association when it has had no operation for Timeouts.drain_idle."""
        if not self._endpoint.is_open:
            self._endpoint.abort()
        elif self._endpoint.timeouts.drain_idle is not None and self._drain_timer is None:
            self._endpoint.after_operation.append(self._note_operation)
            self._operation_at = self._endpoint.clock.now()
            self._check_drain()

    def _note_operation(self) -> None:
        self._operation_at = self._endpoint.clock.now()
        asyncio.get_running_loop().call_soon(self._check_drain)  # The response has to be written first.

    def _check_drain(self) -> None:
        endpoint = self._endpoint
        idle, now = endpoint.timeouts.drain_idle, endpoint.clock.now()
        if endpoint.error is not None or idle is None:
            return
        if self._is_busy:
            # The end of an operation is reported. This check is for everything that is not.
            again = now + max(idle, _CHECK_AGAIN)
        elif now < self._operation_at + idle:
            again = self._operation_at + idle
        else:
            self._end_idle(None)
            return
        if self._drain_timer is not None:
            self._drain_timer.cancel()
        self._drain_timer = endpoint.clock.call_at(again, self._check_drain)

    def _end_idle(self, error: BaseException | None) -> None:
        endpoint = self._endpoint
        if endpoint.settings.end_idle == "release" and endpoint.engine.is_ready:
            endpoint.tasks.spawn(endpoint.release(), "aiodimse release")
        elif not endpoint.engine.machine.can_send_data:
            return  # Either side has asked for the release, which has deadlines of its own.
        else:
            endpoint.abort(error)

    def ended(self, error: BaseException) -> None:
        fail(self.established, error)
        self._metrics.ended(error)
        self._observer.association_ended(error)

    def disconnected(self) -> None:
        for timer in (self._idle_timer, self._drain_timer):
            if timer is not None:
                timer.cancel()
        if not self.closed.done():
            self.closed.set_result(None)
        self._observer.connection_lost()
