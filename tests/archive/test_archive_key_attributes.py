"""What a program answers from its own table: the keys that it has, and the matches."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom import Dataset

from aiodimse.archive import IdentifierError, KeyAttributes

STEPS = "ScheduledProcedureStepSequence"
SUPPORTED = (
    "PatientName", "PatientID", "AccessionNumber", f"{STEPS}.Modality", f"{STEPS}.ScheduledProcedureStepStartDate",
    f"{STEPS}.ScheduledProcedureStepStartTime", "ReferencedStudySequence",
)  # fmt: skip


def asked(step: dict[str, Any] | None = None, **keys: Any) -> Dataset:
    dataset = Dataset()
    for keyword, value in keys.items():
        setattr(dataset, keyword, value)
    if step is not None:
        setattr(dataset, STEPS, [asked(**step)])
    return dataset


def entity(name: str = "Doe^Jane", patient: str = "1", modality: str = "CT", at: str = "080000") -> Any:
    step = {
        "Modality": (modality,),
        "ScheduledProcedureStepStartDate": ("20240102",),
        "ScheduledProcedureStepStartTime": (at,),
        "ScheduledStationAETitle": ("CT1",),
    }
    return {"PatientName": (name,), "PatientID": (patient,), STEPS: (step,)}


def test_a_match_has_what_was_asked_for_and_no_more() -> None:
    keys = KeyAttributes(
        asked({"Modality": "CT", "ScheduledProcedureStepStartDate": ""}, PatientName="doe*"), SUPPORTED
    )
    answer = keys.answer(entity())
    assert answer is not None
    assert (answer.PatientName, "PatientID" in answer) == ("Doe^Jane", False)
    (step,) = answer[STEPS].value
    assert (step.Modality, step.ScheduledProcedureStepStartDate) == ("CT", "20240102")
    assert len(step) == 2
    assert (keys.status, keys.unsupported) == (0xFF00, ())


@pytest.mark.parametrize("other", [{"modality": "MR"}, {"name": "Roe^Jane"}])
def test_what_does_not_match(other: dict[str, str]) -> None:
    keys = KeyAttributes(asked({"Modality": "CT"}, PatientName="Doe*"), SUPPORTED)
    assert keys.answer(entity(**other)) is None


def test_keys_that_are_not_supported_match_nothing_and_are_said() -> None:
    step = {"ScheduledStationAETitle": "MR9", "Modality": "CT"}
    keys = KeyAttributes(asked(step, PatientID="1", StudyDescription="KNEE"), SUPPORTED)
    answer = keys.answer(entity())
    assert answer is not None
    assert "StudyDescription" not in answer
    assert "ScheduledStationAETitle" not in answer[STEPS].value[0]
    assert set(keys.unsupported) == {"StudyDescription", f"{STEPS}.ScheduledStationAETitle"}
    assert keys.status == 0xFF01


def test_a_sequence_that_is_asked_for_alone_comes_whole() -> None:
    answer = KeyAttributes(asked(**{STEPS: []}), SUPPORTED).answer(entity())
    assert answer is not None
    assert answer[STEPS].value[0].ScheduledStationAETitle == "CT1"


def test_a_sequence_that_is_supported_whole() -> None:
    study = asked(ReferencedSOPInstanceUID="")
    keys = KeyAttributes(asked(ReferencedStudySequence=[study]), SUPPORTED)
    answer = keys.answer({"ReferencedStudySequence": ({"ReferencedSOPInstanceUID": ("1.2",)},)})
    assert answer is not None
    assert answer.ReferencedStudySequence[0].ReferencedSOPInstanceUID == "1.2"
    assert keys.unsupported == ()


@pytest.mark.parametrize(("at", "found"), [("235900", True), ("060000", False)])
def test_a_date_and_a_time_are_one_range(at: str, found: bool) -> None:
    step = {"ScheduledProcedureStepStartDate": "20240102-20240103", "ScheduledProcedureStepStartTime": "0700-0600"}
    assert (KeyAttributes(asked(step), SUPPORTED).answer(entity(at=at)) is not None) == found


def test_text_beyond_ascii_says_its_character_set() -> None:
    keys = KeyAttributes(asked(PatientName=""), SUPPORTED)
    plain, other = keys.answer(entity()), keys.answer(entity("Müller^Jörg"))
    assert plain is not None
    assert other is not None
    assert "SpecificCharacterSet" not in plain
    assert (other.SpecificCharacterSet, other.PatientName) == ("ISO_IR 192", "Müller^Jörg")


def test_an_identifier_that_is_not_answered() -> None:
    with pytest.raises(IdentifierError) as caught:
        KeyAttributes(asked({"ScheduledProcedureStepStartDate": "soon"}), SUPPORTED)
    assert (caught.value.status, caught.value.offending_elements) == (0xA900, (0x00400100,))


def test_the_name_of_one_sequence_may_end_that_of_another() -> None:
    """ProcedureCodeSequence has no RequestedProcedureCodeSequence in it."""
    code, inner = "ProcedureCodeSequence", "RequestedProcedureCodeSequence"
    keys = KeyAttributes(
        asked(**{code: [asked(CodeValue="1", **{inner: []})]}), (f"{code}.CodeValue", f"{inner}.CodeValue")
    )
    assert keys.unsupported == (f"{code}.{inner}",)
    (key,) = keys.keys
    assert [each.keyword for each in key.item] == ["CodeValue"]
