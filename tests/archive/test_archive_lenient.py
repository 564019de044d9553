"""What an archive tolerates in an Identifier, and what the same Identifier is answered by a strict one."""

from __future__ import annotations

import pytest
from archive.strategies import asked as identifier
from pydicom import Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword

from aiodimse import leniency
from aiodimse.archive import IdentifierError, KeyAttributes, find_query, retrieve_query
from aiodimse.archive.matching import Key, Rules
from aiodimse.archive.models import PATIENT_ROOT, PATIENT_STUDY_ONLY, STUDY_ROOT, Level, Model
from aiodimse.archive.one_level import BY_NAME
from aiodimse.archive.queries import find_one_level

MISSING, LISTED, LOWER = leniency.MISSING_UNIQUE_KEY, leniency.LISTED_UNIQUE_KEY, leniency.LOWER_CASE_LEVEL


@pytest.mark.parametrize(
    ("model", "asked", "unique", "row"),
    [
        (STUDY_ROOT, identifier("SERIES", SeriesInstanceUID="1.3"), {Level.SERIES: ("1.3",)}, MISSING),
        (STUDY_ROOT, identifier("SERIES", StudyInstanceUID="", SeriesInstanceUID="1"), {Level.SERIES: ("1",)}, MISSING),
        (STUDY_ROOT, identifier("IMAGE", SOPInstanceUID="1.4"), {Level.IMAGE: ("1.4",)}, MISSING),
        (PATIENT_ROOT, identifier("IMAGE", SOPInstanceUID=["1.4", "1.5"]), {Level.IMAGE: ("1.4", "1.5")}, MISSING),
        (PATIENT_STUDY_ONLY, identifier("STUDY", StudyInstanceUID="1.2"), {Level.STUDY: ("1.2",)}, MISSING),
        (
            STUDY_ROOT,
            identifier("SERIES", StudyInstanceUID=["1.2", "1.3"], SeriesInstanceUID="1.3"),
            {Level.STUDY: ("1.2", "1.3"), Level.SERIES: ("1.3",)},
            LISTED,
        ),
        (
            PATIENT_ROOT,
            identifier("STUDY", PatientID=["1", "2"], StudyInstanceUID="1.2"),
            {Level.PATIENT: ("1", "2", "1\\2"), Level.STUDY: ("1.2",)},
            LISTED,
        ),
        (STUDY_ROOT, identifier("study", StudyInstanceUID="1.2"), {Level.STUDY: ("1.2",)}, LOWER),
        (PATIENT_ROOT, identifier("Patient", PatientID="1"), {Level.PATIENT: ("1",)}, LOWER),
    ],
)  # fmt: skip
def test_tolerated(model: Model, asked: Dataset, unique: dict[Level, tuple[str, ...]], row: leniency.Leniency) -> None:
    for check in (find_query, retrieve_query):
        query = check(asked, model)
        assert query.unique == unique
        assert query.tolerated == (row,)
        with pytest.raises(IdentifierError) as caught:
            check(asked, model, strict=True)
        assert caught.value.status == 0xA900


def test_a_wild_card_above_the_level_is_matched_and_retrieves_no_pattern() -> None:
    asked = identifier("STUDY", PatientID="1*", StudyInstanceUID="1.2")
    assert find_query(asked, PATIENT_ROOT).unique == {Level.STUDY: ("1.2",)}
    assert [key.keyword for key in find_query(asked, PATIENT_ROOT).tests] == ["PatientID"]
    query = retrieve_query(asked, PATIENT_ROOT)
    assert query.unique == {Level.PATIENT: ("1*",), Level.STUDY: ("1.2",)}
    assert query.tolerated == (LISTED,)


def test_what_was_negotiated_is_no_leniency() -> None:
    asked = identifier("IMAGE", SOPInstanceUID="1.4")
    assert find_query(asked, STUDY_ROOT, Rules(relational=True), strict=True).tolerated == ()
    assert retrieve_query(asked, STUDY_ROOT, relational=True, strict=True).tolerated == ()


def dated(asked: Dataset, keyword: str, value: str) -> Dataset:
    """The same Identifier with a date or time as a peer may send it."""
    asked.add_new(keyword, dictionary_VR(keyword), "")
    asked[keyword]._value = value
    return asked


@pytest.mark.parametrize("value", ["*", "-", " - ", "*\\-"])
@pytest.mark.parametrize("keyword", ["StudyDate", "StudyTime", "PatientBirthDate"])
def test_any_date_is_tolerated(keyword: str, value: str) -> None:
    """DCMTK 3.6.7 and Orthanc 1.10.1 answer "-" so too."""
    asked = dated(identifier("STUDY"), keyword, value)
    query = find_query(asked, STUDY_ROOT)
    assert query.keys == (Key(keyword, dictionary_VR(keyword)),)
    assert query.tolerated == (leniency.ANY_DATE,)
    with pytest.raises(IdentifierError) as caught:
        find_query(asked, STUDY_ROOT, strict=True)
    assert (caught.value.status, caught.value.offending_elements) == (0xA900, (tag_for_keyword(keyword),))


def test_any_date_in_a_sequence_and_in_a_model_of_one_level() -> None:
    item = dated(identifier(), "ScheduledProcedureStepStartDate", "*")
    asked = identifier(ScheduledProcedureStepSequence=[item], PatientID="1")
    keys = KeyAttributes(asked, ["PatientID", "ScheduledProcedureStepSequence"])
    assert keys.tolerated == (leniency.ANY_DATE,)
    assert keys.answer({"PatientID": ("1",)}) is not None
    with pytest.raises(IdentifierError):
        KeyAttributes(asked, ["PatientID", "ScheduledProcedureStepSequence"], strict=True)
    asked, model = dated(identifier(), "InstanceCreationDate", "-"), BY_NAME["protocol-approval"]
    assert find_one_level(asked, model).tolerated == (leniency.ANY_DATE,)
    with pytest.raises(IdentifierError):
        find_one_level(asked, model, strict=True)
