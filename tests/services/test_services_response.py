"""What a user is told where a response leaves it out."""

from __future__ import annotations

import pytest

import aiodimse
from aiodimse import sop_class
from aiodimse.dimse.messages import CEchoRQ, CGetRQ, CMoveRQ
from aiodimse.services.response import progress_of

GET = sop_class.StudyRootQueryRetrieveInformationModelGet


@pytest.mark.parametrize(
    "request_",
    [
        CGetRQ(message_id=1, affected_sop_class_uid=GET, priority=0),
        CMoveRQ(message_id=1, affected_sop_class_uid=GET, priority=0, move_destination="DEST"),
    ],
    ids=str,
)
def test_counters_that_are_not_there(request_: CGetRQ | CMoveRQ) -> None:
    """Remaining is unknown then, the others are none (PS3.7 9.1.3.1: each may be absent)."""
    progress = progress_of(request_.response(0xC000))
    assert progress == aiodimse.Progress()
    assert progress is not None
    assert (progress.remaining, progress.completed, progress.failed, progress.warning) == (None, 0, 0, 0)


def test_other_services_have_no_counters() -> None:
    echo = CEchoRQ(message_id=1, affected_sop_class_uid=sop_class.Verification)
    assert progress_of(echo.response(0x0000)) is None
