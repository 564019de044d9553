"""The C-STORE-RQ of an instance, for a C-STORE of a user and for a sub-operation of a provider."""

from __future__ import annotations

from aiodimse.dimse import messages
from aiodimse.services.instance import Instance


def store_request(
    instance: Instance, priority: int, originator: str | None = None, originator_message_id: int | None = None
) -> messages.CStoreRQ:
    """Make the C-STORE-RQ for an instance (PS3.7 9.3.1.1).

    Args:
        instance: The instance that will be sent with it.
        priority: 0 medium, 1 high, 2 low.
        originator: Move Originator Application Entity Title, in a sub-operation of a C-MOVE.
        originator_message_id: The Message ID of that C-MOVE.
    """
    return messages.CStoreRQ(
        message_id=0,
        affected_sop_class_uid=instance.sop_class_uid,
        affected_sop_instance_uid=instance.sop_instance_uid,
        priority=priority,
        move_originator_ae_title=originator,
        move_originator_message_id=originator_message_id,
    )
