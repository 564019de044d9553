"""Requests as handlers see them."""

from __future__ import annotations

import logging
from typing import Any

from pydicom.dataset import Dataset

from aiodimse.aio.performer import PerformedOperation
from aiodimse.dimse import messages
from aiodimse.pdu import AcceptedContext
from aiodimse.services.arriving import ArrivingInstance
from aiodimse.services.association import ProviderAssociation
from aiodimse.standard.leniency import Leniency


class Request:
    """A request, as its handler gets it."""

    def __init__(self, performed: PerformedOperation, association: ProviderAssociation) -> None:
        self._performed = performed
        self.message: messages.Request = performed.operation.request
        """The command set."""
        self.association = association
        """The association on which it came: who requested it, and what was negotiated."""
        self.context: AcceptedContext = performed.operation.context
        """Its presentation context, with the transfer syntax."""
        self.sop_class_uid: str = self.message.sop_class_uid
        """Affected or Requested SOP Class UID."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.message}>"

    @property
    def message_id(self) -> int:
        """Message ID (0000,0110)."""
        return self.message.message_id

    @property
    def priority(self) -> int:
        """Priority (0000,0700): 0: medium, 1: high, 2: low; 0 if the service has no priority."""
        return getattr(self.message, "priority", 0)

    @property
    def extended(self) -> Any:
        """The result of extended negotiation for its SOP class; None if nothing was negotiated."""
        return self.association.negotiated.extended.get(self.context.abstract_syntax)

    def logger(self, logger: logging.Logger) -> logging.LoggerAdapter[logging.Logger]:
        """Return a logger for lines about this request: they begin with its association, and have it in fields.

        Args:
            logger: The logger that the lines go to. The Message ID is a field, too.
        """
        return self._performed.logger(logger)

    @property
    def is_strict(self) -> bool:
        """Whether nothing is tolerated of the peer. See `tolerate`."""
        return self._performed.channel.settings.strict

    def tolerate(self, row: Leniency, detail: str = "") -> None:
        """Log at level WARNING that the peer broke a rule and this is tolerated, once for each row and association.

        A handler must check `is_strict` first, and fail the request if it is true.

        Args:
            row: The rule, a row of `aiodimse.leniency`.
            detail: What is wrong, escaped and without patient data.
        """
        self._performed.channel.tolerate(row, detail)

    @property
    def is_cancelled(self) -> bool:
        """Whether the peer has sent C-CANCEL."""
        return self._performed.operation.is_cancelled


class EchoRequest(Request):
    """A C-ECHO request."""


class StoreRequest(Request, ArrivingInstance):
    """A C-STORE request with its instance: save(), decode with dataset(), stream() or discard() it."""

    def __init__(self, performed: PerformedOperation, association: ProviderAssociation) -> None:
        Request.__init__(self, performed, association)
        assert performed.inbox is not None
        assert isinstance(self.message, messages.CStoreRQ)
        ArrivingInstance.__init__(
            self,
            self.message.sop_class_uid,
            self.message.affected_sop_instance_uid,
            self.context.transfer_syntax,
            performed.inbox,
            channel=performed.channel,
            source_ae_title=association.calling_ae_title,
        )

    @property
    def move_originator_ae_title(self) -> str | None:
        """The AE title that invoked the C-MOVE to which this sub-operation belongs; None if it is no sub-operation."""
        assert isinstance(self.message, messages.CStoreRQ)
        return self.message.move_originator_ae_title

    @property
    def move_originator_message_id(self) -> int | None:
        """The Message ID of that C-MOVE."""
        assert isinstance(self.message, messages.CStoreRQ)
        return self.message.move_originator_message_id


class IdentifierRequest(Request):
    """A request whose data set is an Identifier. It is decoded before the handler is called."""

    def __init__(self, performed: PerformedOperation, association: ProviderAssociation, identifier: Dataset) -> None:
        super().__init__(performed, association)
        self.identifier = identifier
        """The decoded Identifier."""


class FindRequest(IdentifierRequest):
    """A C-FIND request."""


class GetRequest(IdentifierRequest):
    """A C-GET request."""


class MoveRequest(IdentifierRequest):
    """A C-MOVE request."""

    @property
    def move_destination(self) -> str:
        """Move Destination (0000,0600): an AE title."""
        assert isinstance(self.message, messages.CMoveRQ)
        return self.message.move_destination


class NormalizedRequest(Request):
    """A DIMSE-N request. `dataset` has its modifications, attributes, action information or event information."""

    def __init__(
        self, performed: PerformedOperation, association: ProviderAssociation, dataset: Dataset | None
    ) -> None:
        super().__init__(performed, association)
        self.dataset = dataset
        """The decoded data set; None if the request has none."""

    @property
    def sop_instance_uid(self) -> str:
        """Affected or Requested SOP Instance UID; "" if an N-CREATE leaves the choice to the performer."""
        return self.message.sop_instance_uid

    @property
    def attribute_identifier_list(self) -> tuple[int, ...]:
        """The tags of the attributes that an N-GET asks for. Empty: all attributes."""
        return getattr(self.message, "attribute_identifier_list", None) or ()

    @property
    def action_type_id(self) -> int | None:
        """The Action Type ID of an N-ACTION; None for other services."""
        return getattr(self.message, "action_type_id", None)

    @property
    def event_type_id(self) -> int | None:
        """The Event Type ID of an N-EVENT-REPORT; None for other services."""
        return getattr(self.message, "event_type_id", None)
