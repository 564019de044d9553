"""An association that we request, from its opening to its release."""

from __future__ import annotations

import logging
import ssl as ssl_module
from contextlib import suppress

from aiodimse.aio.endpoint import Endpoint
from aiodimse.aio.opening import open_association
from aiodimse.aio.settings import Settings
from aiodimse.errors import AssociationError, NoAcceptedContext
from aiodimse.pdu import AssociateRQ
from aiodimse.record import record
from aiodimse.services.invocation import negotiated_on
from aiodimse.services.serving import RequestHandlers
from aiodimse.services.user.requested import RequestedAssociation

_log = logging.getLogger("aiodimse.client")


@record(frozen=True)
class AssociationPlan:
    """The checked arguments of connect()."""

    host: str
    port: int
    rq: AssociateRQ
    settings: Settings
    ssl: ssl_module.SSLContext | None
    handlers: RequestHandlers | None

    async def open(self) -> tuple[Endpoint, RequestedAssociation]:
        """Connect and negotiate.

        Raises:
            NoAcceptedContext: No presentation context was accepted. The association has been released.
            AssociationError, OSError: As raised by aio/opening.py.

        Cancellation: no connection is left open.
        """
        observer = RequestedAssociation(self.handlers)
        endpoint = await open_association(self.host, self.port, self.rq, observer, settings=self.settings, ssl=self.ssl)
        negotiated = negotiated_on(endpoint)
        if not negotiated.contexts:
            # If the release fails, it is not reported: that no context was accepted says more.
            with suppress(AssociationError):
                await endpoint.release()
            raise NoAcceptedContext(
                f"{self.host}:{self.port} accepts none of the presentation contexts",
                negotiated.answers(),
                negotiated=negotiated,
            )
        return endpoint, observer


async def release(endpoint: Endpoint) -> None:
    """Wait for operations that were left, release the association, and wait until its connection is closed.

    The operations are waited for until Timeouts.cancel_drain after they were left, and at most for Timeouts.release.

    Raises:
        AssociationError: The peer did not answer in time, or the association was aborted.
        LocalProtocolError: The association belongs to another event loop.

    Cancellation: the association is aborted.
    """
    endpoint.one_loop.check()
    try:
        await endpoint.invoker.settled()
        await endpoint.release()
    except BaseException:
        endpoint.abort()
        raise
    await endpoint.close()


async def leave(endpoint: Endpoint, error: BaseException | None) -> None:
    """End an association after its block, which may have raised `error`.

    It is released. It is aborted on cancellation, or if the block raised while an operation was open, unless that was
    left and the peer was asked to end it (C-CANCEL).

    Raises:
        AssociationError: The release failed, and the block had not raised.
    """
    if error is not None and (not isinstance(error, Exception) or endpoint.invoker.has_open_operations):
        endpoint.abort()
    if not endpoint.is_open:
        await endpoint.close()
        return
    try:
        await release(endpoint)
    except AssociationError as failed:
        if error is None:
            raise
        # The exception of the block is raised, since it came first and says more.
        endpoint.logger(_log).warning("the release behind a %s failed: %s", type(error).__name__, failed)
