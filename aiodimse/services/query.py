"""C-FIND, user and provider (PS3.4 C.4.1, PS3.7 9.1.2)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from pydicom.dataset import Dataset

from aiodimse import datasets
from aiodimse.aio.endpoint import Endpoint
from aiodimse.aio.invoked import InvokedOperation
from aiodimse.aio.performer import PerformedOperation
from aiodimse.dimse import messages
from aiodimse.errors import DatasetEncodeError
from aiodimse.pdu import AcceptedContext
from aiodimse.services.contexts import context_for
from aiodimse.services.decoding import decoded_identifier
from aiodimse.services.drive import Cancelled, HandlerEnded, HandlerRaised, Run, failure_of
from aiodimse.services.operation import Operation
from aiodimse.services.request import FindRequest
from aiodimse.services.response import EncodedDataset, Response, response_of, status_of
from aiodimse.services.yielded import InvalidYield, Yielded, read_yield
from aiodimse.standard import answers, service_class, sop_class

_log = logging.getLogger("aiodimse.query")


# --- user -------------------------------------------------------------------------------------------------------------


class Find(Operation[Dataset]):
    """A C-FIND of ours: async for gives the matches, pydicom Datasets."""

    def __init__(
        self, endpoint: Endpoint, identifier: Dataset | EncodedDataset, sop_class_uid: str, *, priority: int
    ) -> None:
        super().__init__(endpoint)
        self._identifier, self._uid, self._priority = identifier, sop_class_uid, priority
        self._context: AcceptedContext | None = None

    async def _request(self) -> InvokedOperation:
        negotiated = self._endpoint.engine.negotiated
        assert negotiated is not None
        context = self._context = context_for(negotiated, "C-FIND", self._uid)
        request = messages.CFindRQ(message_id=0, affected_sop_class_uid=self._uid, priority=self._priority)
        data = encode_identifier(self._identifier, context.transfer_syntax)
        timeout = self._endpoint.timeouts.response
        return await self._endpoint.invoker.invoke(context.context_id, request, data, timeout=timeout)

    async def _take(self, response: messages.Response, data: bytes | None) -> Dataset | None:
        assert self._context is not None
        self.last_status = status_of(response.status, self._uid, "C-FIND")
        if data is None:
            return None
        return await decoded_identifier(data, self._context.transfer_syntax, self._endpoint.limits)

    async def _final(self, response: messages.Response, data: bytes | None) -> Response:
        assert self._invoked is not None
        return response_of(self._invoked.operation.request, response)

    async def collect(self, limit: int | None = None) -> list[Dataset]:
        """All matches in a list; with a limit, at most so many: then the rest is cancelled.

        Raises DIMSEFailure where the final status is a Failure, and DatasetDecodeError. A cancelled await leaves the
        operation (C-CANCEL); what it had found is lost.
        """
        matches: list[Dataset] = []
        async with self:
            if limit is not None and limit <= 0:
                return matches
            async for match in self:
                matches.append(match)
                if limit is not None and len(matches) >= limit:
                    break
        return matches


def encode_identifier(identifier: Dataset | EncodedDataset, transfer_syntax: str) -> bytes:
    """The identifier for the wire; raises DatasetEncodeError."""
    if isinstance(identifier, EncodedDataset):
        if identifier.transfer_syntax != transfer_syntax:
            raise DatasetEncodeError(
                f"encoded in {identifier.transfer_syntax}, but the presentation context has {transfer_syntax}"
            )
        return identifier.data
    if not isinstance(identifier, Dataset):
        raise DatasetEncodeError(f"an identifier is a Dataset or EncodedDataset, not {type(identifier).__name__}")
    return datasets.encode_dataset(identifier, transfer_syntax)


# --- provider ---------------------------------------------------------------------------------------------------------


async def provide(performed: PerformedOperation, request: FindRequest, handler: Callable[[Any], Any]) -> None:
    """Run a C-FIND handler to its one final response."""
    operation = performed.operation

    def response(status: int) -> messages.Response:
        return request.message.response(status)

    async def give_up() -> None:
        await performed.respond(response(answers.CANCEL))

    async with Run(performed, request, give_up) as run:
        try:
            await run.begin(handler)
            final = await _matches(performed, request, run)
        except Cancelled:
            final = Yielded(answers.CANCEL)
        except HandlerEnded:
            final = Yielded(answers.SUCCESS)
        except HandlerRaised as error:
            final = failure_of(error, answers.RAISED["C-FIND"], performed, _log)
        except InvalidYield as error:
            final = Yielded(error.status)
            performed.logger(_log).error("the handler of %s yielded %s", request.message, error)
        except DatasetEncodeError as error:
            final = Yielded(answers.NOT_ENCODED)
            performed.logger(_log).error("a match of %s cannot be encoded: %s", request.message, error)
        await run.close()  # FE00 follows the handler's finally
        message = response(final.status)
        final.apply(message)
        if operation.is_open:
            await performed.respond(message)


async def _matches(performed: PerformedOperation, request: FindRequest, run: Run) -> Yielded:
    """Send the matches; the status that the handler ends with."""
    transfer_syntax = request.context.transfer_syntax
    row = sop_class.lookup(request.sop_class_uid)
    one_match = row is not None and row.service_class is service_class.RELEVANT_PATIENT_INFORMATION_QUERY
    sent = 0
    while True:
        yielded = read_yield(await run.step())
        if yielded.status not in answers.STILL_PENDING:
            return yielded
        if one_match and sent:
            log = performed.logger(_log)
            log.warning("%s: more than one match for one patient (PS3.4 Q.2); the rest is not sent", request.message)
            return Yielded(answers.SUCCESS)
        data = encode_identifier(yielded.payload, transfer_syntax)
        message = request.message.response(yielded.status)
        yielded.apply(message)
        await performed.respond(message, data)
        sent += 1
