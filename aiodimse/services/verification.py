"""C-ECHO, user and provider (PS3.4 A, PS3.7 9.1.5)."""

from __future__ import annotations

from aiodimse.aio.connection import Connection, Incoming
from aiodimse.dimse import messages
from aiodimse.services.contexts import context_for
from aiodimse.services.operation import single
from aiodimse.services.response import Response, response_of
from aiodimse.standard import sop_class


async def c_echo(connection: Connection, sop_class_uid: str = sop_class.Verification) -> Response:
    """Ask whether the peer is there."""
    assert connection.engine.negotiated is not None
    context = context_for(connection.engine.negotiated, sop_class_uid)
    request = messages.CEchoRQ(message_id=0, affected_sop_class_uid=sop_class_uid)
    exchange = await connection.invoke(context.context_id, request, None, timeout=connection.timeouts.response)
    message, _ = await single(exchange)
    return response_of(request, message)


def answer(incoming: Incoming) -> bool:
    """Answer a C-ECHO at once, without a task; False where the pen is not free."""
    operation = incoming.operation
    return incoming.connection.respond_now(operation, operation.request.response(0x0000))
