"""C-STORE, user and provider (PS3.4 B, PS3.7 9.1.1)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from aiodimse.aio.endpoint import Endpoint
from aiodimse.aio.performer import PerformedOperation
from aiodimse.aio.while_open import WhileOpen
from aiodimse.dimse import messages
from aiodimse.services.contexts import store_context
from aiodimse.services.drive import HandlerRaised, Run, failure_of
from aiodimse.services.instance import Instance, InstanceSource, instance_of
from aiodimse.services.operation import single
from aiodimse.services.request import StoreRequest
from aiodimse.services.response import Response, response_of
from aiodimse.services.yielded import InvalidYield, Yielded, read_status
from aiodimse.standard import answers

_log = logging.getLogger("aiodimse.storage")

# --- user -------------------------------------------------------------------------------------------------------------


async def c_store(
    endpoint: Endpoint,
    source: InstanceSource,
    *,
    priority: int = 0,
    move_originator_ae_title: str | None = None,
    move_originator_message_id: int | None = None,
) -> Response:
    """Send one instance; its Response whatever the status.

    Raises NoAcceptedContext, NotDICOM, OSError, DatasetEncodeError before anything is sent; what ended the association
    as soon as it has ended, for what the instance is read from is cancelled then.
    """
    with WhileOpen(endpoint):
        instance = await instance_of(source)
        assert endpoint.engine.negotiated is not None
        context = store_context(endpoint.engine.negotiated, instance.sop_class_uid, instance.transfer_syntax)
        request = store_request(instance, priority, move_originator_ae_title, move_originator_message_id)
        data = await instance.encoded(context.transfer_syntax)
    invoked = await endpoint.invoker.invoke(context.context_id, request, data, timeout=endpoint.timeouts.response)
    message, _ = await single(invoked)
    return response_of(request, message)


def store_request(
    instance: Instance, priority: int, originator: str | None = None, originator_message_id: int | None = None
) -> messages.CStoreRQ:
    """The C-STORE-RQ for an instance."""
    return messages.CStoreRQ(
        message_id=0,
        affected_sop_class_uid=instance.sop_class_uid,
        affected_sop_instance_uid=instance.sop_instance_uid,
        priority=priority,
        move_originator_ae_title=originator,
        move_originator_message_id=originator_message_id,
    )


# --- provider ---------------------------------------------------------------------------------------------------------


async def provide(performed: PerformedOperation, request: StoreRequest, handler: Callable[[Any], Any]) -> None:
    """Run a C-STORE handler to its response, which goes out after the last fragment of the data set is in."""
    async with Run(performed, request, None) as run:
        try:
            final = read_status(await run.call(handler))
        except HandlerRaised as error:
            final = _failure(performed, request, error)
        except InvalidYield as error:
            final = Yielded(error.status)
            performed.logger(_log).error("the handler of %s returned %s", request.message, error)
        message = request.message.response(final.status)
        final.apply(message)
        await performed.respond(message)


def _failure(performed: PerformedOperation, request: StoreRequest, error: HandlerRaised) -> Yielded:
    cause = error.__cause__
    final = failure_of(error, answers.RAISED["C-STORE"], performed, _log)
    if cause is not None and cause is request.save_error:
        return Yielded(answers.OUT_OF_RESOURCES, None, {"error_comment": "the instance could not be saved"})
    if cause is not None and cause is request.decode_error:
        return Yielded(answers.NOT_DECODED["C-STORE"])
    return final
