"""The instances of C-STORE sub-operations.

They are handed out one after another. Each sub-operation is answered by what was done with its instance.
"""

from __future__ import annotations

import logging
from collections import deque

from aiodimse.aio.performer import PerformedOperation
from aiodimse.errors import AssociationError
from aiodimse.services.arriving import ArrivingInstance
from aiodimse.services.association import ProviderAssociation
from aiodimse.services.request import StoreRequest
from aiodimse.standard import answers

_log = logging.getLogger("aiodimse.retrieve")


class Arrivals:
    """The C-STORE sub-operations of one retrieval, in order of arrival. It is false while none waits."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[PerformedOperation, ProviderAssociation]] = deque()
        self._current: tuple[PerformedOperation, StoreRequest] | None = None

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, performed: PerformedOperation, association: ProviderAssociation) -> None:
        """Add a sub-operation, which will be handed out in turn."""
        self._waiting.append((performed, association))

    def next(self) -> StoreRequest:
        """Hand out the instance that has waited longest. `answer_current` answers its sub-operation."""
        performed, association = self._waiting.popleft()
        request = StoreRequest(performed, association)
        self._current = performed, request
        return request

    async def answer_current(self) -> None:
        """Answer the sub-operation whose instance was handed out, if there is one.

        Cancellation: the sub-operation is not answered yet; `refuse_all` answers it.
        """
        if self._current is None:
            return
        performed, instance = self._current
        status = _status_of(instance, answers.PROCESSING_FAILURE)
        log = performed.logger(_log)
        try:
            await performed.respond(performed.operation.request.response(status))
        except AssociationError as error:
            log.info("no answer to %s: %s", instance.message, error)
        self._current = None
        if status != answers.SUCCESS:
            log.warning("%s was not saved, read, or discarded: answered 0x%04X", instance.message, status)

    def refuse_all(self) -> None:
        """Answer the sub-operation that was handed out by what was done with its instance, and refuse the others."""
        if self._current is not None:
            performed, instance = self._current
            self._current = None
            _answer(performed, _status_of(instance, answers.OUT_OF_RESOURCES))
        while self._waiting:
            refuse(self._waiting.popleft()[0])


def refuse(performed: PerformedOperation) -> None:
    """Refuse a sub-operation, whose instance nobody takes."""
    _answer(performed, answers.OUT_OF_RESOURCES)


def _answer(performed: PerformedOperation, status: int) -> None:
    performed.respond_later(performed.operation.request.response(status))


def _status_of(instance: ArrivingInstance, otherwise: int) -> int:
    """Return the status for what was done with an instance; `otherwise` if nothing was done."""
    if instance.is_consumed:
        return answers.SUCCESS
    if instance.conflict is not None:
        return answers.NOT_THE_INSTANCE
    return otherwise if instance.save_error is None else answers.OUT_OF_RESOURCES
