"""Compares a response with the request that its message ID says it belongs to."""

from __future__ import annotations

from collections.abc import Mapping

from aiodimse.dimse.messages import RESPONSE_BIT, InstanceResponse, Response
from aiodimse.dimse.operations import Invoked
from aiodimse.errors import RemoteProtocolError
from aiodimse.standard.leniency import RESPONSE_CONTEXT, RESPONSE_INSTANCE, Tolerated


def check_response(
    response: Response, context_id: int, operation: Invoked, invoked: Mapping[int, Invoked], strict: bool
) -> Tolerated | None:
    """Check that a response has the service, the SOP instance and the presentation context of its request.

    Args:
        response: The response.
        context_id: The presentation context in which it came.
        operation: The operation with its message ID.
        invoked: All open operations.
        strict: Whether nothing is tolerated.

    Returns:
        The rule that it breaks and may break; None: none.

    Raises:
        RemoteProtocolError: It is the response of another service, or breaks a rule although nothing is tolerated. Or
            it names the instance of another open request: responses are mixed up, and would tell of an instance that it
            is stored when it is not.
    """
    if response.command_field != operation.request.command_field | RESPONSE_BIT:
        raise RemoteProtocolError(f"a {response.name} to a {operation.request.name}", reason=2)
    row = RESPONSE_CONTEXT if context_id != operation.context_id else None
    if isinstance(response, InstanceResponse):
        named, asked = response.affected_sop_instance_uid, operation.request.sop_instance_uid
        if named and asked and named != asked:
            if any(each.request.sop_instance_uid == named for each in invoked.values()):
                words = f"a {response.name} that names the instance of another open request"
                raise RemoteProtocolError(words, reason=6)
            row = RESPONSE_INSTANCE
    if row is None:
        return None
    if strict:
        raise RemoteProtocolError(f"{row.tolerated}: {response.name}", reason=6)
    return Tolerated(row, response.name)
