"""C-STORE on the user's side (PS3.4 B, PS3.7 9.1.1)."""

from __future__ import annotations

from aiodimse.aio.endpoint import Endpoint
from aiodimse.errors import NoAcceptedContext
from aiodimse.services.contexts import store_context
from aiodimse.services.instance import InstanceSource
from aiodimse.services.invocation import invoke, negotiated_on, single_response
from aiodimse.services.recompression import payload_of
from aiodimse.services.response import Response, response_of
from aiodimse.services.sources import instance_of, kind_of
from aiodimse.services.store_request import store_request


def can_store(endpoint: Endpoint, source: InstanceSource) -> bool:
    """Return whether a context was accepted in which c_store can send this. The beginning of a file is read at once."""
    uid, transfer_syntax = kind_of(source)
    try:
        store_context(negotiated_on(endpoint), uid, transfer_syntax, transcode=endpoint.settings.transcode)
    except NoAcceptedContext:
        return False
    return True


async def c_store(
    endpoint: Endpoint,
    source: InstanceSource,
    *,
    priority: int = 0,
    move_originator_ae_title: str | None = None,
    move_originator_message_id: int | None = None,
    transcode: bool | None = None,
) -> Response:
    """Send one instance, and return the response, whatever its status.

    If `transcode` is None, the setting of the association is used. NoAcceptedContext, NotDICOM, OSError and
    DatasetEncodeError are raised before anything is sent. If the association ends, the reading of the instance is
    interrupted, and the reason is raised at once.
    """
    with endpoint.while_open():
        instance = await instance_of(source, endpoint.limits)
        context = store_context(
            negotiated_on(endpoint),
            instance.sop_class_uid,
            instance.transfer_syntax,
            transcode=endpoint.settings.transcode if transcode is None else transcode,
        )
        request = store_request(instance, priority, move_originator_ae_title, move_originator_message_id)
        data = await payload_of(instance, context.transfer_syntax, endpoint)
    try:
        invoked = await invoke(endpoint, context, request, data)
    finally:
        del data  # These must not be kept while the response is awaited, nor by an exception.
    message, _ = await single_response(invoked)
    return response_of(request, message, peer=endpoint.peer)
