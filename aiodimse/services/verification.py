"""C-ECHO, user and provider (PS3.4 A, PS3.7 9.1.5)."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from aiodimse.aio.connection import Connection
from aiodimse.aio.performer import Incoming
from aiodimse.dimse import messages
from aiodimse.services.contexts import context_for
from aiodimse.services.drive import HandlerRaised, Run, failure_of
from aiodimse.services.operation import single
from aiodimse.services.request import Request
from aiodimse.services.response import Response, response_of
from aiodimse.services.yielded import InvalidYield, Yielded, read_status
from aiodimse.standard import answers, sop_class

_log = logging.getLogger("aiodimse.verification")


async def c_echo(connection: Connection, sop_class_uid: str = sop_class.Verification) -> Response:
    """Ask whether the peer is there."""
    assert connection.engine.negotiated is not None
    context = context_for(connection.engine.negotiated, "C-ECHO", sop_class_uid)
    request = messages.CEchoRQ(message_id=0, affected_sop_class_uid=sop_class_uid)
    exchange = await connection.invoker.invoke(context.context_id, request, None, timeout=connection.timeouts.response)
    message, _ = await single(exchange)
    return response_of(request, message)


async def provide(incoming: Incoming, request: Request, handler: Callable[[Any], Any]) -> None:
    """Run a C-ECHO handler; one that returns nothing means Success."""
    async with Run(incoming, request, None) as run:
        try:
            result = await run.call(handler)
            final = Yielded(answers.SUCCESS) if result is None else read_status(result)
        except HandlerRaised as error:
            final = failure_of(error, answers.PROCESSING_FAILURE, incoming, _log)
        except InvalidYield as error:
            final = Yielded(answers.PROCESSING_FAILURE)
            incoming.logger(_log).error("the handler of %s returned %s", request.message, error)
        message = request.message.response(final.status)
        final.apply(message)
        await incoming.respond(message)


def answer(incoming: Incoming) -> bool:
    """Answer a C-ECHO at once, without a task; False where the pen is not free."""
    operation = incoming.operation
    return incoming.connection.performer.respond_now(operation, operation.request.response(answers.SUCCESS))
