"""N-EVENT-REPORT, N-GET, N-SET, N-ACTION, N-CREATE, N-DELETE, user and provider (PS3.7 10)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from pydicom.dataset import Dataset

from aiodimse.aio.endpoint import Endpoint
from aiodimse.aio.performer import PerformedOperation
from aiodimse.dimse import messages
from aiodimse.errors import DatasetEncodeError
from aiodimse.services.contexts import context_for
from aiodimse.services.decoding import decoded_identifier
from aiodimse.services.drive import HandlerRaised, Run, failure_of
from aiodimse.services.operation import single
from aiodimse.services.query import encode_identifier
from aiodimse.services.request import NormalizedRequest
from aiodimse.services.response import EncodedDataset, Response, response_of
from aiodimse.services.yielded import InvalidYield, Yielded, has_status, read_status
from aiodimse.standard import answers

_log = logging.getLogger("aiodimse.normalized")


async def invoke(endpoint: Endpoint, request: messages.Request, dataset: Dataset | EncodedDataset | None) -> Response:
    """Send a DIMSE-N request; its Response whatever the status."""
    assert endpoint.engine.negotiated is not None
    context = context_for(endpoint.engine.negotiated, request.service, request.sop_class_uid)
    data = None if dataset is None else encode_identifier(dataset, context.transfer_syntax)
    invoked = await endpoint.invoker.invoke(context.context_id, request, data, timeout=endpoint.timeouts.response)
    message, answer = await single(invoked)
    decoded = None
    if answer is not None:
        decoded = await decoded_identifier(answer, context.transfer_syntax, endpoint.limits)
    return response_of(request, message, dataset=decoded)


async def provide(performed: PerformedOperation, request: NormalizedRequest, handler: Callable[[Any], Any]) -> None:
    """Run a DIMSE-N handler: it returns a status, a data set (Success), or a (status, data set) pair."""
    data: bytes | None = None
    async with Run(performed, request, None) as run:
        try:
            final = _read(await run.call(handler))
            if final.payload is not None:
                data = encode_identifier(final.payload, request.context.transfer_syntax)
        except HandlerRaised as error:
            final = failure_of(error, answers.PROCESSING_FAILURE, performed, _log)
        except (InvalidYield, DatasetEncodeError) as error:
            final = Yielded(answers.PROCESSING_FAILURE)
            performed.logger(_log).error("the handler of %s returned what cannot be sent: %s", request.message, error)
        message = request.message.response(final.status)
        _echo_fields(request.message, message)
        final.apply(message)
        await performed.respond(message, data)


def _read(result: Any) -> Yielded:
    if isinstance(result, tuple) and len(result) == 2:
        final = read_status(result[0])
        final.payload = result[1]
        return final
    if isinstance(result, EncodedDataset) or (isinstance(result, Dataset) and not has_status(result)):
        return Yielded(answers.SUCCESS, result)
    return read_status(result)


def _echo_fields(request: messages.Request, response: messages.Response) -> None:
    """Action Type ID and Event Type ID come back in the response (PS3.7 10.1.4, 10.1.1)."""
    for name in ("action_type_id", "event_type_id"):
        if hasattr(response, name):
            setattr(response, name, getattr(request, name, None))
