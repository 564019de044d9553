"""Passes the requests of one association to their handlers.

It finds the handler, asks the authorize hook, decodes the data set, and runs the handler in a task.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from pydicom.dataset import Dataset

from aiodimse.aio.interrupt import Interrupt
from aiodimse.aio.performer import PerformedOperation
from aiodimse.aio.thread_pool import ThreadsBusy
from aiodimse.aio.words import frames
from aiodimse.dimse import messages
from aiodimse.errors import AssociationError, DatasetDecodeError, DatasetTooLarge
from aiodimse.services.association import ProviderAssociation
from aiodimse.services.decoding import decoded_identifier
from aiodimse.services.open_moves import OpenMoves
from aiodimse.services.provider import query, retrieve, single_answer
from aiodimse.services.provider.budgets import Budgets
from aiodimse.services.provider.handler_run import Ended, HandlerRaised, HandlerRun, failure_of
from aiodimse.services.provider.handler_types import AuthorizeHook
from aiodimse.services.provider.registry import HandlerRegistry, Registration
from aiodimse.services.request import (
    EchoRequest,
    FindRequest,
    GetRequest,
    IdentifierRequest,
    MoveRequest,
    NormalizedRequest,
    Request,
    StoreRequest,
)
from aiodimse.standard import answers

_log = logging.getLogger("aiodimse.provider")

_FILES_NEEDED = {"C-STORE": 1, "C-GET": 2, "C-MOVE": 3}
"""File descriptors that a request needs, by service. C-STORE: the file that is written. C-GET: the file that is sent
and the next one. C-MOVE: also the association to the destination."""


class Provider:
    """Performs the requests that arrive on one association."""

    def __init__(
        self,
        handlers: HandlerRegistry,
        association: ProviderAssociation,
        open_moves: OpenMoves,
        budgets: Budgets,
        *,
        ae_title: str,
        authorize: AuthorizeHook | None = None,
    ) -> None:
        self._handlers, self._association, self._open_moves = handlers, association, open_moves
        self._budgets, self._ae_title, self._authorize = budgets, ae_title, authorize
        self._files = 0  # file descriptors that the open requests of this association may need
        common = association.negotiated.rq.user_information.common_extended
        self._related = {item.sop_class_uid: item.related for item in common}

    def handle(self, performed: PerformedOperation) -> None:
        """Start the handler for a request. A C-ECHO without a handler is answered without a task."""
        message = performed.operation.request
        if type(message) is messages.CEchoRQ and self._authorize is None and self._find(performed) is None:
            performed.respond_soon(message.response(answers.SUCCESS))
            return
        if self._open_moves and isinstance(message, messages.CStoreRQ):
            move = self._open_moves.find(message, self._association)
            if move is not None:
                move.offer(performed, self._association)
                return
        name = f"aiodimse {message.name} {message.message_id}"
        performed.channel.tasks.spawn(self._serve(performed), name, partial(_leave_nothing_open, performed))

    def _find(self, performed: PerformedOperation) -> Registration | None:
        """Return the handler for the SOP class of a request, or else for that of its context."""
        message, context = performed.operation.request, performed.operation.context
        uid = message.sop_class_uid
        return self._handlers.find(message.service, uid, context.abstract_syntax, *self._related.get(uid, ()))

    async def _serve(self, performed: PerformedOperation) -> None:
        """Perform a request to its final response, in a task of its own. There is always exactly one final response."""
        if performed.has_ended:  # since this task was made
            return
        interrupt = Interrupt()
        performed.on_end = lambda: interrupt.fire(Ended())
        try:
            with interrupt:
                await self._perform(performed)
        except (AssociationError, Ended):
            pass  # there is no association any more on which to answer
        except ThreadsBusy as error:
            service = performed.operation.request.service
            status = answers.TOO_LARGE.get(service, answers.RESOURCE_LIMITATION)
            await self._refuse(performed, status, error.strerror)
        except Exception as error:
            message = performed.operation.request
            performed.logger(_log).error("%s failed in the library itself\n%s", message, frames(error))
            await performed.respond(message.response(answers.RAISED.get(message.service, answers.PROCESSING_FAILURE)))
        performed.channel.tasks.leave()

    async def _perform(self, performed: PerformedOperation) -> None:
        message = performed.operation.request
        registration = self._find(performed)
        if registration is None and type(message) is not messages.CEchoRQ:
            await self._refuse(performed, answers.SOP_CLASS_NOT_SUPPORTED, "not served here")
            return
        try:
            request = await self._request(performed)
        except DatasetTooLarge as error:
            status = answers.TOO_LARGE.get(message.service, answers.RESOURCE_LIMITATION)
            await self._refuse(performed, status, str(error))
            return
        except DatasetDecodeError as error:
            performed.logger(_log).warning("%s: its data set does not decode: %s", message, error)
            status = answers.NOT_DECODED.get(message.service, answers.MISTYPED_ARGUMENT)
            await self._refuse(performed, status, f"the data set does not decode: {error}")
            return
        if self._authorize is not None and not await self._is_authorized(performed, request):
            return
        if registration is None:
            await performed.respond(message.response(answers.SUCCESS))
        else:
            await self._call(performed, request, registration.handler)

    async def _call(self, performed: PerformedOperation, request: Request, handler: Callable[[Any], Any]) -> None:
        needed = _FILES_NEEDED.get(performed.operation.request.service, 0)
        if needed and not self._may_open(needed):
            await self._refuse(performed, answers.OUT_OF_RESOURCES, "too many files are open")
            return
        self._files += needed
        try:
            await self._provide(performed, request, handler)
        finally:
            self._files -= needed

    def _may_open(self, number: int) -> bool:
        """Return whether a request may open files: within the association's share, and not the last tenth of all."""
        budgets = self._budgets
        within_share = not self._files or self._files + number <= budgets.files_per_association
        return within_share and not budgets.descriptors.are_short()

    def _provide(
        self, performed: PerformedOperation, request: Request, handler: Callable[[Any], Any]
    ) -> Coroutine[Any, Any, None]:
        """Return the coroutine that runs a handler to the final response, by the kind of the request."""
        match request:
            case StoreRequest():  # It comes most often.
                return single_answer.provide(performed, request, handler)
            case FindRequest():
                return query.provide(performed, request, handler)
            case GetRequest():
                return retrieve.provide_get(performed, request, handler, self._budgets)
            case MoveRequest():
                return retrieve.provide_move(performed, request, handler, self._budgets, ae_title=self._ae_title)
            case _:
                return single_answer.provide(performed, request, handler)

    async def _request(self, performed: PerformedOperation) -> Request:
        message, association = performed.operation.request, self._association
        if type(message) is messages.CStoreRQ:
            return StoreRequest(performed, association)
        if type(message) is messages.CEchoRQ:
            return EchoRequest(performed, association)
        dataset: Dataset | None = None
        if performed.data is not None:
            context = performed.operation.context
            dataset = await decoded_identifier(performed.data, context.transfer_syntax, performed.channel)
        kind = _IDENTIFIER_REQUESTS.get(type(message))
        if kind is None:
            return NormalizedRequest(performed, association, dataset)
        assert dataset is not None
        return kind(performed, association, dataset)

    async def _is_authorized(self, performed: PerformedOperation, request: Request) -> bool:
        """Ask the authorize hook. If it denies the request or raises, send the response."""
        assert self._authorize is not None
        async with HandlerRun(performed, request, None) as run:
            try:
                if await run.call(self._authorize):
                    return True
                status, comment = answers.NOT_AUTHORIZED, None
            except HandlerRaised as error:
                failure = failure_of(error, answers.NOT_AUTHORIZED, performed, _log, "authorize hook")
                status, comment = failure.status, failure.fields.get("error_comment")
        await self._refuse(performed, status, comment)
        return False

    async def _refuse(self, performed: PerformedOperation, status: int, comment: str | None) -> None:
        response = performed.operation.request.response(status)
        response.error_comment = comment
        performed.logger(_log).info("refused: %s", response)
        await performed.respond(response)


def _leave_nothing_open(performed: PerformedOperation, task: asyncio.Task[Any]) -> None:
    """Answer a request whose task has ended without a response.

    When the program ends, every task of the loop is cancelled, and a task may end by CancelledError. Otherwise it may
    end by GeneratorExit or by a BaseException that is not an Exception.
    """
    channel, message = performed.channel, performed.operation.request
    if not performed.operation.is_open or channel.error is not None:
        return
    if task.cancelled():
        channel.abort()
        return
    if not channel.engine.can_send:  # We have asked for the release, and may send nothing more (PS3.8 9.2, Sta7).
        return
    performed.logger(_log).error("the task of %s ended without a final response", message)
    performed.respond_later(message.response(answers.RAISED.get(message.service, answers.PROCESSING_FAILURE)))


_IDENTIFIER_REQUESTS: dict[type[messages.Request], type[IdentifierRequest]] = {
    messages.CFindRQ: FindRequest,
    messages.CGetRQ: GetRequest,
    messages.CMoveRQ: MoveRequest,
}
