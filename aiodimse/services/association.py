"""The association as the provider of its services sees it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

from aiodimse.aio.endpoint import Endpoint
from aiodimse.association import Negotiated
from aiodimse.dimse import messages
from aiodimse.pdu import AcceptedContext, UserIdentityRequest
from aiodimse.services.invocation import ask, negotiated_on
from aiodimse.services.response import Identifier, Response


class ProviderAssociation:
    """The association of a request, `request.association`. It is the same object from its beginning to its end."""

    def __init__(self, endpoint: Endpoint, user_identity: UserIdentityRequest | None = None) -> None:
        self._endpoint = endpoint
        self.user_identity = user_identity
        """The user identity that an authenticate hook accepted; None if there was no such hook. The unchecked claim of
        the peer is negotiated.rq.user_information.user_identity."""
        self.state: SimpleNamespace = SimpleNamespace()
        """A namespace in which the application may keep what belongs to this association."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._endpoint!r}>"

    @property
    def negotiated(self) -> Negotiated:
        """What was negotiated."""
        return negotiated_on(self._endpoint)

    @property
    def peer_address(self) -> tuple[str, int] | None:
        """The IP address and port of the peer; None if the transport has none."""
        return self._endpoint.peer_address

    @property
    def calling_ae_title(self) -> str:
        """The AE title of the association requestor."""
        return self.negotiated.calling_ae_title

    @property
    def called_ae_title(self) -> str:
        """The AE title that the requestor called."""
        return self.negotiated.called_ae_title

    @property
    def contexts(self) -> tuple[AcceptedContext, ...]:
        """The accepted presentation contexts."""
        return tuple(self.negotiated.contexts.values())

    @property
    def certificate(self) -> Mapping[str, Any] | None:
        """The certificate of the peer, as ssl.SSLSocket.getpeercert() gives it; None without TLS."""
        certificate: Mapping[str, Any] | None = self._endpoint.peer_certificate
        return certificate

    @property
    def is_open(self) -> bool:
        """Whether the association is established and has not ended."""
        return self._endpoint.is_open

    def logger(self, logger: logging.Logger) -> logging.LoggerAdapter[logging.Logger]:
        """Return a logger for lines about this association: they begin with its name, and have it in fields.

        Args:
            logger: The logger that the lines go to.
        """
        return self._endpoint.logger(logger)

    async def n_event_report(
        self,
        sop_class_uid: str,
        sop_instance_uid: str,
        event_type_id: int,
        dataset: Identifier | None = None,
    ) -> Response:
        """Report an event to the peer on this association (N-EVENT-REPORT, PS3.7 10.1.1).

        In a handler it is sent before the response to the handler's request. To report later, as Storage Commitment
        requires (PS3.4 J.3.3), start a task for it. The handler of a C-STORE reads the data set first: the peer's
        response comes behind it. A handler that awaits the response before it reads a large data set waits until
        Timeouts.consumer is over, which aborts the association.

        Args:
            sop_class_uid: The SOP class that the event is about; we must be its SCP.
            sop_instance_uid: The SOP instance that the event is about.
            event_type_id: The number of the event.
            dataset: The Event Information.

        Returns:
            The peer's response, whatever its status.

        Raises:
            NoAcceptedContext: No accepted context can carry this SOP class.
            DatasetEncodeError: The data set cannot be encoded; nothing was sent.
            AssociationError: The association has ended, or no response came within Timeouts.response seconds.

        Cancellation: the association waits for the response, for at most Timeouts.cancel_drain seconds.
        """
        return await event_report(self._endpoint, sop_class_uid, sop_instance_uid, event_type_id, dataset)

    def abort(self) -> None:
        """Abort the association at once (A-ABORT, PS3.8 7.3), without waiting. Its handlers are cancelled.

        Raises:
            LocalProtocolError: The association belongs to another event loop. Use
                `loop.call_soon_threadsafe(association.abort)` there.
        """
        self._endpoint.abort()

    async def wait_closed(self) -> None:
        """Wait until the transport connection is gone.

        Cancellation: nothing changes, and it may be awaited again.
        """
        await self._endpoint.wait_closed()


async def event_report(
    endpoint: Endpoint,
    sop_class_uid: str,
    sop_instance_uid: str,
    event_type_id: int,
    dataset: Identifier | None,
) -> Response:
    """Send an N-EVENT-REPORT, whichever side requested the association.

    Raises:
        LocalProtocolError: The SOP Instance UID is empty, or a value cannot be encoded.
    """
    request = messages.NEventReportRQ(
        message_id=0,
        affected_sop_class_uid=sop_class_uid,
        affected_sop_instance_uid=sop_instance_uid,
        event_type_id=event_type_id,
    )
    return await ask(endpoint, request, dataset)
