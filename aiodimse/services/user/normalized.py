"""The DIMSE-N operations that a program invokes: what PS3.7 10 has, as methods of Association."""

from __future__ import annotations

from collections.abc import Iterable

from aiodimse.aio.endpoint import Endpoint
from aiodimse.dimse import messages
from aiodimse.services.association import event_report
from aiodimse.services.invocation import ask
from aiodimse.services.response import Identifier, Response


class NormalizedOperations:
    """The operations on one SOP instance that the peer manages (PS3.7 10.1)."""

    _endpoint: Endpoint

    async def n_event_report(
        self, sop_class_uid: str, sop_instance_uid: str, event_type_id: int, dataset: Identifier | None = None
    ) -> Response:
        """Report an event (N-EVENT-REPORT, PS3.7 10.1.1), for which we must be SCP.

        Args:
            sop_class_uid: The SOP class.
            sop_instance_uid: The SOP instance.
            event_type_id: Which event, as the SOP class numbers them.
            dataset: The event information; None: none.

        Returns:
            The response, whatever its status.

        Raises:
            LocalProtocolError: The SOP Instance UID is empty, or a value cannot be encoded. Nothing was sent.
            NoAcceptedContext: No accepted context has the SOP class, or lets us ask for it. Nothing was sent.
            DatasetEncodeError: The data set cannot be encoded. Nothing was sent.
            DatasetDecodeError: The data set of the response does not decode.
            AssociationError: The association ended, or the response did not come within Timeouts.response seconds.

        Cancellation: The response is awaited in the background.
        """
        return await event_report(self._endpoint, sop_class_uid, sop_instance_uid, event_type_id, dataset)

    async def n_get(self, sop_class_uid: str, sop_instance_uid: str, attributes: Iterable[int] = ()) -> Response:
        """Read attributes (N-GET, PS3.7 10.1.2).

        Args:
            sop_class_uid: The SOP class.
            sop_instance_uid: The SOP instance.
            attributes: Tags; none: all.

        Returns:
            The response, whatever its status; the attributes are its dataset.

        Raises:
            LocalProtocolError: The SOP Instance UID is empty, or a value cannot be encoded. Nothing was sent.
            NoAcceptedContext: No accepted context has the SOP class, or lets us ask for it. Nothing was sent.
            DatasetDecodeError: The data set of the response does not decode.
            AssociationError: The association ended, or the response did not come within Timeouts.response seconds.

        Cancellation: The response is awaited in the background.
        """
        request = messages.NGetRQ(
            message_id=0,
            requested_sop_class_uid=sop_class_uid,
            requested_sop_instance_uid=sop_instance_uid,
            attribute_identifier_list=tuple(map(int, attributes)) or None,
        )
        return await ask(self._endpoint, request)

    async def n_set(self, sop_class_uid: str, sop_instance_uid: str, dataset: Identifier) -> Response:
        """Change attributes (N-SET, PS3.7 10.1.3).

        Args:
            sop_class_uid: The SOP class.
            sop_instance_uid: The SOP instance.
            dataset: The modification list.

        Returns:
            The response, whatever its status.

        Raises:
            LocalProtocolError: The SOP Instance UID is empty, or a value cannot be encoded. Nothing was sent.
            NoAcceptedContext: No accepted context has the SOP class, or lets us ask for it. Nothing was sent.
            DatasetEncodeError: The data set cannot be encoded. Nothing was sent.
            DatasetDecodeError: The data set of the response does not decode.
            AssociationError: The association ended, or the response did not come within Timeouts.response seconds.

        Cancellation: The response is awaited in the background.
        """
        request = messages.NSetRQ(
            message_id=0,
            requested_sop_class_uid=sop_class_uid,
            requested_sop_instance_uid=sop_instance_uid,
        )
        return await ask(self._endpoint, request, dataset)

    async def n_action(
        self, sop_class_uid: str, sop_instance_uid: str, action_type_id: int, dataset: Identifier | None = None
    ) -> Response:
        """Ask for an action (N-ACTION, PS3.7 10.1.4).

        Args:
            sop_class_uid: The SOP class.
            sop_instance_uid: The SOP instance.
            action_type_id: Which action, as the SOP class numbers them.
            dataset: The action information; None: none.

        Returns:
            The response, whatever its status.

        Raises:
            LocalProtocolError: The SOP Instance UID is empty, or a value cannot be encoded. Nothing was sent.
            NoAcceptedContext: No accepted context has the SOP class, or lets us ask for it. Nothing was sent.
            DatasetEncodeError: The data set cannot be encoded. Nothing was sent.
            DatasetDecodeError: The data set of the response does not decode.
            AssociationError: The association ended, or the response did not come within Timeouts.response seconds.

        Cancellation: The response is awaited in the background.
        """
        request = messages.NActionRQ(
            message_id=0,
            requested_sop_class_uid=sop_class_uid,
            requested_sop_instance_uid=sop_instance_uid,
            action_type_id=action_type_id,
        )
        return await ask(self._endpoint, request, dataset)

    async def n_create(
        self, sop_class_uid: str, sop_instance_uid: str | None = None, dataset: Identifier | None = None
    ) -> Response:
        """Create an instance (N-CREATE, PS3.7 10.1.5).

        Args:
            sop_class_uid: The SOP class.
            sop_instance_uid: Its UID; None: the peer chooses one, and says it in the response.
            dataset: The attributes; None: none.

        Returns:
            The response, whatever its status.

        Raises:
            NoAcceptedContext: No accepted context has the SOP class, or lets us ask for it. Nothing was sent.
            DatasetEncodeError: The data set cannot be encoded. Nothing was sent.
            DatasetDecodeError: The data set of the response does not decode.
            AssociationError: The association ended, or the response did not come within Timeouts.response seconds.

        Cancellation: The response is awaited in the background.
        """
        request = messages.NCreateRQ(
            message_id=0, affected_sop_class_uid=sop_class_uid, affected_sop_instance_uid=sop_instance_uid
        )
        return await ask(self._endpoint, request, dataset)

    async def n_delete(self, sop_class_uid: str, sop_instance_uid: str) -> Response:
        """Delete an instance (N-DELETE, PS3.7 10.1.6).

        Args:
            sop_class_uid: The SOP class.
            sop_instance_uid: The SOP instance.

        Returns:
            The response, whatever its status.

        Raises:
            LocalProtocolError: The SOP Instance UID is empty, or a value cannot be encoded. Nothing was sent.
            NoAcceptedContext: No accepted context has the SOP class, or lets us ask for it. Nothing was sent.
            DatasetDecodeError: The data set of the response does not decode.
            AssociationError: The association ended, or the response did not come within Timeouts.response seconds.

        Cancellation: The response is awaited in the background.
        """
        request = messages.NDeleteRQ(
            message_id=0,
            requested_sop_class_uid=sop_class_uid,
            requested_sop_instance_uid=sop_instance_uid,
        )
        return await ask(self._endpoint, request)
