"""Invokes operations: chooses the context, encodes the data set, sets the deadline, and awaits a single response."""

from __future__ import annotations

from pydicom.dataset import Dataset

from aiodimse.aio.endpoint import Endpoint
from aiodimse.aio.invoked import InvokedOperation
from aiodimse.aio.payload import Payload
from aiodimse.association import Negotiated
from aiodimse.dimse import messages
from aiodimse.pdu import AcceptedContext
from aiodimse.services.contexts import context_for
from aiodimse.services.decoding import decoded_identifier
from aiodimse.services.encoding import encode_identifier
from aiodimse.services.response import Identifier, Response, response_of


def negotiated_on(endpoint: Endpoint) -> Negotiated:
    """Return what was negotiated on an association that has been established."""
    negotiated = endpoint.engine.negotiated
    assert negotiated is not None
    return negotiated


async def invoke(
    endpoint: Endpoint, context: AcceptedContext, request: messages.Request, data: Payload
) -> InvokedOperation:
    """Send a request in a context, with the deadline of its service.

    Raises:
        LocalProtocolError: The calling task itself has the operations that fill the operations window.
        AssociationError: The association has ended, or the operations window had no place in time.

    Cancellation: nothing was sent; or half a message was, and the association is aborted.
    """
    timeouts = endpoint.timeouts
    timeout = timeouts.move_response if isinstance(request, messages.CMoveRQ) else timeouts.response
    return await endpoint.invoker.invoke(context.context_id, request, data, timeout=timeout)


async def invoke_with_dataset(
    endpoint: Endpoint, request: messages.Request, dataset: Identifier | None
) -> tuple[AcceptedContext, InvokedOperation]:
    """Send a request and its data set in the context of its SOP class. The context is returned too.

    Raises:
        NoAcceptedContext: No accepted context can carry this service of this SOP class. Nothing was sent.
        DatasetEncodeError: The data set cannot be encoded in the transfer syntax of the context. Nothing was sent.
        AssociationError: As `invoke`.
    """
    context = context_for(negotiated_on(endpoint), request.service, request.sop_class_uid)
    data = None if dataset is None else await encode_identifier(dataset, context.transfer_syntax)
    return context, await invoke(endpoint, context, request, data)


async def single_response(invoked: InvokedOperation) -> tuple[messages.Response, bytes | None]:
    """Wait for the only response of an operation, and return it with its data set.

    Cancellation: the operation is left, and the association waits for its response.
    """
    try:
        return await invoked.next()
    except BaseException:
        invoked.leave()
        raise


async def ask(endpoint: Endpoint, request: messages.Request, dataset: Identifier | None = None) -> Response:
    """Invoke an operation with one response, and return the response, whatever its status, with its data set decoded.

    Raises as `invoke_with_dataset` does, and:

    Raises:
        DatasetDecodeError: The data set of the response cannot be decoded.
    """
    if isinstance(dataset, Dataset) and not len(dataset):
        dataset = None  # an empty data set counts as none (PS3.7 9.3.1, Command Data Set Type)
    context, invoked = await invoke_with_dataset(endpoint, request, dataset)
    message, data = await single_response(invoked)
    decoded = None
    if data is not None:
        decoded = await decoded_identifier(data, context.transfer_syntax, endpoint)
    return response_of(request, message, peer=endpoint.peer, dataset=decoded)
