"""The elements that a request needs to be acted on (PS3.7 9.1, 10.1), and its response if one of them is missing.

A request of ours without them is not sent.
"""

from collections.abc import Mapping
from typing import Final, TypeAlias

from aiodimse.dimse.messages import (
    CMoveRQ,
    CStoreRQ,
    NActionRQ,
    NDeleteRQ,
    NEventReportRQ,
    NGetRQ,
    NSetRQ,
    Request,
)
from aiodimse.standard import answers

Mandatory: TypeAlias = tuple[str, int, int, str]
"""The field and the tag of an element, and the status and the comment of the response if it is missing or empty."""

_NO_INSTANCE = answers.INVALID_SOP_INSTANCE, "a SOP Instance UID is required"
_AFFECTED_INSTANCE = "affected_sop_instance_uid", 0x00001000, *_NO_INSTANCE
_REQUESTED_INSTANCE = "requested_sop_instance_uid", 0x00001001, *_NO_INSTANCE
_DESTINATION = "move_destination", 0x00000600, answers.MISTYPED_ARGUMENT, "a move destination is required"
_ACTION_TYPE = "action_type_id", 0x00001008, answers.MISTYPED_ARGUMENT, "an action type ID is required"
_EVENT_TYPE = "event_type_id", 0x00001002, answers.MISTYPED_ARGUMENT, "an event type ID is required"
MANDATORY: Final[Mapping[type[Request], tuple[Mandatory, ...]]] = {
    CStoreRQ: (_AFFECTED_INSTANCE,),
    CMoveRQ: (_DESTINATION,),
    NEventReportRQ: (_AFFECTED_INSTANCE, _EVENT_TYPE),
    NGetRQ: (_REQUESTED_INSTANCE,),
    NSetRQ: (_REQUESTED_INSTANCE,),
    NActionRQ: (_REQUESTED_INSTANCE, _ACTION_TYPE),
    NDeleteRQ: (_REQUESTED_INSTANCE,),
}
"""By request: what must be there, in the order in which it is looked for."""
