"""Services whose handler returns one answer: C-ECHO, C-STORE and DIMSE-N (PS3.7 9.1.1, 9.1.5, 10.1)."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable
from typing import Any

from pydicom.dataset import Dataset

from aiodimse.aio.performer import PerformedOperation
from aiodimse.dimse import messages
from aiodimse.errors import DatasetEncodeError, InstanceConflict
from aiodimse.services.encoding import encode_response
from aiodimse.services.provider.handler_result import HandlerResult, InvalidResult, has_status, read_status
from aiodimse.services.provider.handler_run import HandlerRaised, HandlerRun, failure_of, text_if_ours
from aiodimse.services.request import Request, StoreRequest
from aiodimse.services.response import EncodedDataset
from aiodimse.standard import answers
from aiodimse.standard.status import Category, category

_LOGS = {
    "C-ECHO": logging.getLogger("aiodimse.verification"),
    "C-STORE": logging.getLogger("aiodimse.storage"),
}
_NOT_CONSUMED = (
    "the handler of %s returned Success, and the data set is lost: it was not awaited to the end of save(), dataset()"
    " or stream(). If that is meant, await discard()"
)
_TYPE_IDS: dict[type[messages.Request], str] = {
    messages.NActionRQ: "action_type_id",
    messages.NEventReportRQ: "event_type_id",
}
"""What a response repeats of its request beside the UIDs (PS3.7 10.1.4, 10.1.1)."""
_LOG_OF_OTHERS = logging.getLogger("aiodimse.normalized")


async def provide(performed: PerformedOperation, request: Request, handler: Callable[[Any], Any]) -> None:
    """Run a handler to its response. The response to a C-STORE is sent after the last fragment has arrived."""
    log = _LOGS.get(request.message.service, _LOG_OF_OTHERS)
    data: bytes | None = None
    async with HandlerRun(performed, request, None) as run:
        try:
            result = _read_final(request.message, await run.call(handler))
            if result.payload is not None:
                # An empty data set counts as none (PS3.7 9.3.1, Command Data Set Type).
                data = await encode_response(result.payload, request.context.transfer_syntax) or None
        except HandlerRaised as error:
            result = _raised(performed, request, error, log)
        except (InvalidResult, DatasetEncodeError) as error:
            result = HandlerResult(_invalid(request, error))
            performed.logger(log).error("the handler of %s returned what cannot be sent: %s", request.message, error)
        if result.status == answers.SUCCESS and performed.inbox is not None and not performed.inbox.consumed:
            performed.logger(log).warning(_NOT_CONSUMED, request.message)
        message = request.message.response(result.status)
        if field := _TYPE_IDS.get(type(request.message)):
            setattr(message, field, getattr(request.message, field))
        result.apply(message)
        await performed.respond(message, data)


def _read_final(request: messages.Request, returned: Any) -> HandlerResult:
    """Read what a handler returned.

    Raises:
        InvalidResult: It cannot be sent. A Pending status cannot either, since the peer would wait for more.
    """
    result = _read(request, returned)
    if result.status in answers.STILL_PENDING:
        raise InvalidResult(answers.INVALID_STATUS, "a Pending status, where one final response is due")
    return result


def _read(request: messages.Request, returned: Any) -> HandlerResult:
    """Read what a handler returned.

    It is a status or Reply, or for DIMSE-N a data set (which means Success) or a pair (status, data set).
    """
    if request.service.startswith("C-"):
        result = HandlerResult(answers.SUCCESS) if request.service == "C-ECHO" and returned is None else None
        result = result or read_status(returned)
        if result.payload is not None:
            raise InvalidResult(answers.INVALID_STATUS, f"a data set, which a {request.service}-RSP does not have")
        return result
    result = _read_normalized(returned)
    _identify(request, result)
    return result


def _read_normalized(returned: Any) -> HandlerResult:
    if isinstance(returned, tuple) and len(returned) == 2:
        result = read_status(returned[0])
        result.payload = returned[1]
        return result
    if isinstance(returned, EncodedDataset) or (isinstance(returned, Dataset) and not has_status(returned)):
        return HandlerResult(answers.SUCCESS, returned)
    return read_status(returned)


def _identify(request: messages.Request, result: HandlerResult) -> None:
    """Set the Affected SOP Instance UID of the response. A successful N-CREATE always has one (PS3.7 10.1.5.1.4).

    Raises:
        InvalidResult: The handler returned another UID than the request has.
    """
    given, asked = result.fields.get("affected_sop_instance_uid"), request.sop_instance_uid
    if given is not None and asked and given != asked:
        raise InvalidResult(answers.INVALID_STATUS, "another SOP Instance UID than the request has")
    if (
        isinstance(request, messages.NCreateRQ)
        and not asked
        and given is None
        and category(result.status) is not Category.FAILURE
    ):
        result.fields["affected_sop_instance_uid"] = f"2.25.{uuid.uuid4().int}"  # PS3.5 B.2


def _raised(
    performed: PerformedOperation, request: Request, error: HandlerRaised, log: logging.Logger
) -> HandlerResult:
    """Return the response for what a handler raised. For a C-STORE it depends on what the library raised in it."""
    cause = error.__cause__
    if isinstance(request, StoreRequest) and isinstance(cause, InstanceConflict):
        performed.logger(log).warning("%s is refused: %s", request.message, text_if_ours(cause))
        return HandlerResult(answers.NOT_THE_INSTANCE, None, {"error_comment": str(cause)})
    result = failure_of(error, answers.RAISED.get(request.message.service, answers.PROCESSING_FAILURE), performed, log)
    if isinstance(request, StoreRequest) and cause is not None:
        if cause is request.save_error:
            return HandlerResult(answers.OUT_OF_RESOURCES, None, {"error_comment": "the instance could not be saved"})
        if cause is request.decode_error:
            return HandlerResult(answers.NOT_DECODED["C-STORE"])
    return result


def _invalid(request: Request, error: InvalidResult | DatasetEncodeError) -> int:
    """Return the status for something that cannot be sent. C-STORE has statuses of its own for this (Cxxx)."""
    if isinstance(error, InvalidResult) and isinstance(request, StoreRequest):
        return error.status
    return answers.PROCESSING_FAILURE
