"""C-ECHO, user and provider (PS3.4 A, PS3.7 9.1.5)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from aiodimse.aio.endpoint import Endpoint
from aiodimse.aio.performer import PerformedOperation
from aiodimse.dimse import messages
from aiodimse.services.contexts import context_for
from aiodimse.services.drive import HandlerRaised, Run, failure_of
from aiodimse.services.operation import single
from aiodimse.services.request import Request
from aiodimse.services.response import Response, response_of
from aiodimse.services.yielded import InvalidYield, Yielded, read_status
from aiodimse.standard import answers, sop_class

_log = logging.getLogger("aiodimse.verification")


async def c_echo(endpoint: Endpoint, sop_class_uid: str = sop_class.Verification) -> Response:
    """Ask whether the peer is there."""
    assert endpoint.engine.negotiated is not None
    context = context_for(endpoint.engine.negotiated, "C-ECHO", sop_class_uid)
    request = messages.CEchoRQ(message_id=0, affected_sop_class_uid=sop_class_uid)
    invoked = await endpoint.invoker.invoke(context.context_id, request, None, timeout=endpoint.timeouts.response)
    message, _ = await single(invoked)
    return response_of(request, message)


async def provide(performed: PerformedOperation, request: Request, handler: Callable[[Any], Any]) -> None:
    """Run a C-ECHO handler; one that returns nothing means Success."""
    async with Run(performed, request, None) as run:
        try:
            result = await run.call(handler)
            final = Yielded(answers.SUCCESS) if result is None else read_status(result)
        except HandlerRaised as error:
            final = failure_of(error, answers.PROCESSING_FAILURE, performed, _log)
        except InvalidYield as error:
            final = Yielded(answers.PROCESSING_FAILURE)
            performed.logger(_log).error("the handler of %s returned %s", request.message, error)
        message = request.message.response(final.status)
        final.apply(message)
        await performed.respond(message)


def answer(performed: PerformedOperation) -> bool:
    """Answer a C-ECHO at once, without a task; False where the pen is not free."""
    operation = performed.operation
    return performed.endpoint.performer.respond_now(operation, operation.request.response(answers.SUCCESS))
