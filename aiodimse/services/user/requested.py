"""What the peer invokes on an association that we requested.

These are sub-operations of our C-GET, and requests for our handlers.
"""

from __future__ import annotations

from collections.abc import Callable

from aiodimse.aio.endpoint import Endpoint
from aiodimse.aio.performer import PerformedOperation
from aiodimse.association import Negotiated
from aiodimse.dimse import messages
from aiodimse.errors import LocalProtocolError
from aiodimse.pdu import AssociateRQ
from aiodimse.services.association import ProviderAssociation
from aiodimse.services.serving import RequestHandler, RequestHandlers
from aiodimse.services.user.retrieve import Get
from aiodimse.standard import answers


class RequestedAssociation:
    """The Observer of one association that we requested, with the handlers that connect() was given."""

    endpoint: Endpoint

    def __init__(self, handlers: RequestHandlers | None) -> None:
        self._handlers = handlers
        self._association: ProviderAssociation | None = None
        self._provider: RequestHandler | None = None
        self._retrieval: Get | None = None

    # --- for the connection -------------------------------------------------------------------------------------------

    def connection_made(self) -> None:
        """Do nothing. The A-ASSOCIATE-RQ is being sent."""

    def association_requested(self, rq: AssociateRQ) -> None:
        """Do nothing. The state machine of a requestor never accepts an A-ASSOCIATE-RQ."""

    def association_established(self, negotiated: Negotiated) -> Callable[[PerformedOperation], None]:
        """Return the function that performs the peer's requests. The task that opens the association waits for this."""
        return self._perform

    def _perform(self, performed: PerformedOperation) -> None:
        """Perform a sub-operation of our C-GET, or a request for our handlers."""
        if isinstance(performed.operation.request, messages.CStoreRQ):
            retrieval = self._retrieval
            if (
                retrieval is not None
                and retrieval.is_running
                and (retrieval.is_iterated or retrieval.is_left or self._handlers is None)
            ):
                retrieval.offer(performed)
                return
        if self._handlers is not None:
            if self._provider is None:
                self._provider = self._handlers.provider(self.association)
            self._provider.handle(performed)
            return
        performed.respond_later(performed.operation.request.response(answers.SOP_CLASS_NOT_SUPPORTED))

    def association_ended(self, error: BaseException) -> None:
        """Do nothing. The channel has already told all tasks that wait."""

    def connection_lost(self) -> None:
        """Do nothing."""

    # --- for the association ------------------------------------------------------------------------------------------

    @property
    def association(self) -> ProviderAssociation:
        """The association as handlers and instances of a C-GET see it. It is one object, made when first needed."""
        if self._association is None:
            self._association = ProviderAssociation(self.endpoint)
        return self._association

    def check_no_other(self, retrieval: Get | None = None) -> None:
        """Raise LocalProtocolError if a C-GET is open, other than this one."""
        other = self._retrieval
        if other is not None and other is not retrieval and (other.is_running or other.is_starting):
            raise LocalProtocolError("another C-GET runs on this association")

    def retrieve(self, retrieval: Get) -> None:
        """Begin a C-GET. Instances that arrive from now on belong to it."""
        self.check_no_other(retrieval)
        self._retrieval = retrieval
