"""How a server answers an A-ASSOCIATE-RQ: by AE titles, presentation contexts and the hooks of the application."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from weakref import WeakKeyDictionary

from aiodimse.association import NO_REASON_GIVEN, TitlePolicy, answer_request, check_titles, narrow
from aiodimse.config import Limits
from aiodimse.errors import AssociationRejected
from aiodimse.pdu import AssociateAC, AssociateRJ, AssociateRQ, UserIdentityResponse
from aiodimse.services.association import ProviderAssociation
from aiodimse.services.open_moves import OpenMoves
from aiodimse.services.provider.association_request import AssociationRequest
from aiodimse.services.provider.budgets import Budgets
from aiodimse.services.provider.dispatch import Provider
from aiodimse.services.provider.handler_types import (
    AssociateHook,
    AssociationEndHook,
    AuthenticateHook,
    AuthorizeHook,
)
from aiodimse.services.provider.registry import HandlerRegistry
from aiodimse.standard.reason import REJECT_REASON, REJECT_RESULT

_log = logging.getLogger("aiodimse.server")

_IDENTITY_REFUSED = AssociateRJ(1, 2, 1)
"""The rejection of a user identity: rejected-permanent, by the ACSE service-provider, no reason given. PS3.7 D.3.3.7
does not define a reason."""


class AcceptancePolicy:
    """Decides which associations and presentation contexts are accepted, and makes what performs the requests."""

    def __init__(
        self,
        registry: HandlerRegistry,
        limits: Limits,
        *,
        ae_title: str,
        accept_called: TitlePolicy | None,
        accept_calling: TitlePolicy | None,
        operations_window: tuple[int, int],
        strict: bool,
    ) -> None:
        self._registry, self._limits, self._strict = registry, limits, strict
        self.ae_title = ae_title
        self._accept_called, self._accept_calling = accept_called, accept_calling
        self._window = operations_window
        self.open_moves: OpenMoves = OpenMoves()
        self._budgets: WeakKeyDictionary[asyncio.AbstractEventLoop, Budgets] = WeakKeyDictionary()
        self.authorize: AuthorizeHook | None = None
        self.authenticate: AuthenticateHook | None = None
        self.on_associate: AssociateHook | None = None
        self.on_association_end: AssociationEndHook | None = None

    def provider(self, association: ProviderAssociation) -> Provider:
        """Make the provider that performs the requests of an association."""
        loop = asyncio.get_running_loop()
        budgets = self._budgets.get(loop)
        if budgets is None:
            budgets = self._budgets[loop] = Budgets(self._limits)
        return Provider(
            self._registry, association, self.open_moves, budgets, ae_title=self.ae_title, authorize=self.authorize
        )

    @property
    def has_hooks(self) -> bool:
        """Whether the application has a hook that must be asked."""
        return self.authenticate is not None or self.on_associate is not None

    def answer_at_once(
        self, rq: AssociateRQ, identity: UserIdentityResponse | None = None
    ) -> AssociateAC | AssociateRJ:
        """Return the answer to an A-ASSOCIATE-RQ without asking hooks."""
        return answer_request(
            rq,
            self._registry.offer(receiving=bool(self.open_moves)),
            ae_title=self.ae_title,
            accept_called=self._accept_called,
            accept_calling=self._accept_calling,
            limits=self._limits,
            operations_window=self._window,
            user_identity_response=identity,
            strict=self._strict,
        )

    async def decide(self, request: AssociationRequest) -> AssociateAC | AssociateRJ:
        """Return the answer to an A-ASSOCIATE-RQ, after asking the hooks.

        What a hook raises is raised, except AssociationRejected, which becomes the answer.
        """
        rq = request.rq
        rejected = check_titles(
            rq, self.ae_title, accept_called=self._accept_called, accept_calling=self._accept_calling
        )
        if rejected is not None:
            return rejected
        response: UserIdentityResponse | None = None
        try:
            if self.authenticate is not None:
                verdict = await self.authenticate(request.user_identity, request)
                if not verdict:
                    return _IDENTITY_REFUSED
                response = UserIdentityResponse(verdict if isinstance(verdict, bytes) else b"")
            reply = self.answer_at_once(rq, response)
            if self.on_associate is not None and isinstance(reply, AssociateAC):
                keep = await self.on_associate(request)
                if keep is not None:
                    reply = _narrowed(rq, reply, keep)
        except AssociationRejected as error:
            return _rejection(request, error)
        return reply


def _rejection(request: AssociationRequest, error: AssociationRejected) -> AssociateRJ:
    if error.result in REJECT_RESULT and (error.source, error.reason) in REJECT_REASON:
        return AssociateRJ(error.result, error.source, error.reason)
    numbers = f"{error.result}/{error.source}/{error.reason}"
    request.logger(_log).error("a hook rejects with %s, which PS3.8 9.3.4 does not define: using 1/1/1", numbers)
    return NO_REASON_GIVEN


def _narrowed(rq: AssociateRQ, ac: AssociateAC, keep: Collection[object]) -> AssociateAC:
    if isinstance(keep, (str, bytes)) or not isinstance(keep, Collection):
        raise TypeError("an on_associate hook returns None, or a collection of SOP class UIDs or context IDs")
    return narrow(rq, ac, lambda context: context.context_id in keep or context.abstract_syntax in keep)
