"""An association request, as hooks see it before it is accepted."""

from __future__ import annotations

import logging
from dataclasses import field
from typing import Any

from aiodimse.aio.endpoint import Endpoint
from aiodimse.pdu import AssociateRQ, UserIdentityRequest
from aiodimse.record import record


@record(frozen=True)
class AssociationRequest:
    """A request for an association, as an on_associate or authenticate hook gets it."""

    rq: AssociateRQ
    """The A-ASSOCIATE-RQ as it was received."""
    address: tuple[str, int] | None
    """The IP address and port of the peer; None if the transport has none."""
    tls_certificate: Any = None
    """The certificate of the peer, as ssl.SSLSocket.getpeercert() gives it; None without TLS."""
    _endpoint: Endpoint | None = field(default=None, repr=False, compare=False)

    def logger(self, logger: logging.Logger) -> logging.LoggerAdapter[logging.Logger] | logging.Logger:
        """Return a logger for lines about this association: they begin with its name, and have it in fields.

        Args:
            logger: The logger that the lines go to.
        """
        return logger if self._endpoint is None else self._endpoint.logger(logger)

    @property
    def calling_ae_title(self) -> str:
        """The AE title of the peer."""
        return self.rq.calling_ae_title

    @property
    def called_ae_title(self) -> str:
        """The AE title that the peer calls."""
        return self.rq.called_ae_title

    @property
    def user_identity(self) -> UserIdentityRequest | None:
        """The user identity that the peer claims; None if it claims none."""
        return self.rq.user_information.user_identity
