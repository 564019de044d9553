"""The state machine of a Modality Performed Procedure Step (PS3.4 F.7.2), as pure functions."""

from __future__ import annotations

from collections.abc import Iterable

from pydicom import Dataset
from pydicom.datadict import tag_for_keyword

from aiodimse import Reply

IN_PROGRESS, COMPLETED, DISCONTINUED = "IN PROGRESS", "COMPLETED", "DISCONTINUED"

# PS3.4 Table F.7.2-1: the attributes of type 1 for the SCU when a step is created, and when it ends.
AT_FIRST = (
    "ScheduledStepAttributesSequence", "PerformedProcedureStepID", "PerformedStationAETitle",
    "PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime", "PerformedProcedureStepStatus", "Modality",
)  # fmt: skip
AT_LAST = ("PerformedProcedureStepEndDate", "PerformedProcedureStepEndTime", "PerformedSeriesSequence")
# The attributes that a modality may not change after the N-CREATE.
FIXED = frozenset((
    "ScheduledStepAttributesSequence", "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "Modality",
    "PerformedProcedureStepID", "PerformedStationAETitle", "PerformedProcedureStepStartDate",
    "PerformedProcedureStepStartTime", "StudyID",
))  # fmt: skip
MISSING_ATTRIBUTE, MISSING_VALUE, INVALID_VALUE, NO_SUCH_ATTRIBUTE = 0x0120, 0x0121, 0x0106, 0x0105


def begun(step: Dataset) -> Reply | None:
    """Check the attributes of an N-CREATE. Return the refusal, or None if it is accepted."""
    if refused := _without(step, AT_FIRST):
        return refused
    if any(not item.get("StudyInstanceUID") for item in step.ScheduledStepAttributesSequence):
        return _refused(MISSING_VALUE, "ScheduledStepAttributesSequence", "StudyInstanceUID has no value")
    if step.PerformedProcedureStepStatus != IN_PROGRESS:
        return _refused(INVALID_VALUE, "PerformedProcedureStepStatus", "a step begins as IN PROGRESS")
    return None


def changed(step: Dataset, change: Dataset) -> Reply | None:
    """Apply an N-SET to a step. Return the refusal, or None if it is accepted."""
    if step.PerformedProcedureStepStatus != IN_PROGRESS:  # F.7.2.2.4
        return Reply(0x0110, error_id=0xA710, error_comment="the step may no longer be updated")
    for keyword in FIXED:
        if keyword in change:
            return _refused(NO_SUCH_ATTRIBUTE, keyword, f"{keyword} may not be changed")
    text = Dataset.from_json(change.to_json())  # F.7.2.2.3: its character set may differ from that of the step
    text.pop("SpecificCharacterSet", None)
    step.update(text)
    status = step.get("PerformedProcedureStepStatus")
    if status not in (IN_PROGRESS, COMPLETED, DISCONTINUED):
        return _refused(INVALID_VALUE, "PerformedProcedureStepStatus", "no such status")
    return _without(step, AT_LAST) if status != IN_PROGRESS else None


def scheduled(step: Dataset) -> list[tuple[str, str]]:
    """Return the scheduled steps that a step performs: study and Scheduled Procedure Step ID."""
    items = step.ScheduledStepAttributesSequence
    return [(str(item.StudyInstanceUID), str(item.get("ScheduledProcedureStepID") or "")) for item in items]


def _without(step: Dataset, keywords: Iterable[str]) -> Reply | None:
    for keyword in keywords:
        if keyword not in step:
            return _refused(MISSING_ATTRIBUTE, keyword, f"{keyword} is missing")
        if not step[keyword].value:
            return _refused(MISSING_VALUE, keyword, f"{keyword} has no value")
    return None


def _refused(status: int, keyword: str, comment: str) -> Reply:
    return Reply(status, error_comment=comment, offending_elements=[tag_for_keyword(keyword) or 0])
