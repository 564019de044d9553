"""What an archive tolerates in an Identifier, and what the same Identifier is answered by a strict one."""

from __future__ import annotations

import pytest
from archive.strategies import asked as identifier
from pydicom import Dataset

from aiodimse import leniency
from aiodimse.archive import IdentifierError, find_query, retrieve_query
from aiodimse.archive.matching import Rules
from aiodimse.archive.models import PATIENT_ROOT, PATIENT_STUDY_ONLY, STUDY_ROOT, Level, Model

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
