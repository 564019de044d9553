"""C-ECHO on the user's side (PS3.4 A, PS3.7 9.1.5)."""

from __future__ import annotations

from aiodimse.aio.endpoint import Endpoint
from aiodimse.dimse import messages
from aiodimse.services.invocation import ask
from aiodimse.services.response import Response
from aiodimse.standard import sop_class


async def c_echo(endpoint: Endpoint, sop_class_uid: str = sop_class.Verification) -> Response:
    """Verify that the peer answers."""
    return await ask(endpoint, messages.CEchoRQ(message_id=0, affected_sop_class_uid=sop_class_uid))
