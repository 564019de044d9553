"""The observer of an accepted association: it answers the A-ASSOCIATE-RQ, and passes requests to their handlers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace

from aiodimse.aio.acceptor import AcceptedObserver, Acceptor
from aiodimse.aio.interrupt import is_own_cancellation
from aiodimse.aio.performer import PerformedOperation
from aiodimse.association import NO_REASON_GIVEN, Negotiated
from aiodimse.errors import AssociationClosed, LocalProtocolError
from aiodimse.pdu import AssociateAC, AssociateRJ, AssociateRQ, UserIdentityRequest
from aiodimse.services.association import ProviderAssociation
from aiodimse.services.provider.association_request import AssociationRequest
from aiodimse.services.provider.handler_run import describe
from aiodimse.services.provider.handler_types import AssociationEndHook
from aiodimse.services.provider.policy import AcceptancePolicy

_log = logging.getLogger("aiodimse.server")


class _HooksTooLate(Exception):
    """Timeouts.authenticate has passed. It is a class of its own, since a TimeoutError may come from a hook."""


class AcceptedAssociation(AcceptedObserver):
    """One accepted connection, from its first byte to its end."""

    def __init__(self, policy: AcceptancePolicy, acceptor: Acceptor) -> None:
        self._policy, self._acceptor = policy, acceptor
        self._identity: UserIdentityRequest | None = None
        self._asking: asyncio.Task[None] | None = None
        self.association: ProviderAssociation | None = None
        """The association for handlers and hooks, once it is established."""

    def connection_made(self) -> None:
        """Count the connection. Its A-ASSOCIATE-RQ is still to come."""
        self._acceptor.enter(self)

    def association_requested(self, rq: AssociateRQ) -> None:
        """Answer at once, or after the hooks have answered."""
        address = self.endpoint.peer_address
        rejected = self._acceptor.admit(self.endpoint, address[0] if address else "")
        if rejected is not None:
            self.endpoint.reject(rejected)
        elif self._policy.has_hooks:
            self._asking = self.endpoint.tasks.spawn(self._ask(rq), "aiodimse associate")
        else:
            try:
                reply = self._policy.answer_at_once(rq)
            except Exception as error:
                reply = self._no_answer(error)
            self._reply(reply)

    async def _ask(self, rq: AssociateRQ) -> None:
        policy, endpoint = self._policy, self.endpoint
        request = AssociationRequest(rq, endpoint.peer_address, endpoint.peer_certificate, endpoint)
        clock, seconds = endpoint.clock, endpoint.timeouts.authenticate
        reply: AssociateAC | AssociateRJ
        try:
            async with clock.deadline(clock.after(seconds), _HooksTooLate):
                reply = await policy.decide(request)
            self._identity = None if policy.authenticate is None else request.user_identity
        except _HooksTooLate:
            endpoint.logger(_log).warning("the hooks took longer than %s s: rejecting", seconds)
            reply = replace(NO_REASON_GIVEN, result=2)
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as error:
            if is_own_cancellation(error):
                raise  # the task itself is cancelled, because the loop is closing
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
            except LocalProtocolError as error:  # nothing was sent: a server response of 64 KiB does not fit into a PDU
                self.endpoint.logger(_log).error("the A-ASSOCIATE-AC cannot be encoded: %s", error)
                reply = NO_REASON_GIVEN
        if isinstance(reply, AssociateRJ):
            self.endpoint.logger(_log).info("rejecting: %s", reply)
            self.endpoint.reject(reply)

    def association_established(self, negotiated: Negotiated) -> Callable[[PerformedOperation], None]:
        """Return the function that passes requests to their handlers."""
        self.association = ProviderAssociation(self.endpoint, self._identity)
        accepted, proposed = len(negotiated.contexts), len(negotiated.rq.contexts)
        self.endpoint.logger(_log).info("association: %d of %d presentation contexts", accepted, proposed)
        return self._policy.provider(self.association).handle

    def association_ended(self, error: BaseException) -> None:
        """Tell the application. The place is free for another association when the tasks of this one have ended.

        An authenticate or on_associate hook that is still running is cancelled, since nobody needs its answer.
        """
        if self._asking is not None and self._asking is not asyncio.current_task():
            self._asking.cancel()
        self.endpoint.logger(_log).info("association ended: %s", error)
        hook = self._policy.on_association_end
        if hook is not None and self.association is not None:
            released = isinstance(error, AssociationClosed)
            work = self._call_end_hook(hook, self.association, None if released else error)
            self.endpoint.tasks.spawn(work, "aiodimse association end")
        self._acceptor.leave(self.endpoint)

    async def _call_end_hook(
        self, hook: AssociationEndHook, association: ProviderAssociation, error: BaseException | None
    ) -> None:
        try:
            await hook(association, error)
        except (Exception, asyncio.CancelledError) as raised:
            if is_own_cancellation(raised):
                raise
            self.endpoint.logger(_log).error("the on_association_end hook raised %s", describe(raised))

    def connection_lost(self) -> None:
        """Forget the connection."""
        self._acceptor.gone(self.endpoint)
