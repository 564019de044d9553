"""What an Identifier may ask for, PS3.4 C.4.1.1.3.1 and C.4.2.1.4.1; the models themselves, C.6."""

from __future__ import annotations

import pytest
from archive.strategies import asked as identifier
from pydicom import Dataset
from pydicom.datadict import dictionary_VR, tag_for_keyword

from aiodimse.archive.matching import Key, Rules
from aiodimse.archive.models import (
    ATTRIBUTES,
    COMPOSITE_INSTANCE,
    COMPUTED,
    LEVEL_OF,
    PATIENT_ROOT,
    PATIENT_STUDY_ONLY,
    STUDY_ROOT,
    UNIQUE,
    Level,
    Model,
)
from aiodimse.archive.queries import IdentifierError, check_nothing_found, find_query, retrieve_query

LEVEL, PATIENT, STUDY, SERIES, IMAGE = 0x00080052, 0x00100020, 0x0020000D, 0x0020000E, 0x00080018


def test_every_keyword_is_in_the_dictionary_and_at_one_level() -> None:
    keywords = [keyword for keywords in ATTRIBUTES.values() for keyword in keywords] + list(COMPUTED)
    assert [keyword for keyword in keywords if tag_for_keyword(keyword) is None] == []
    assert len(keywords) == len(set(keywords)) == len(LEVEL_OF)
    assert all(UNIQUE[level] in ATTRIBUTES[level] for level in Level)
    assert {dictionary_VR(keyword) for keyword in keywords}.isdisjoint({"OB", "OW", "UN"})


@pytest.mark.parametrize(
    ("level", "required"),
    [
        (Level.PATIENT, "PatientID PatientName"),
        (Level.STUDY, "StudyDate StudyTime AccessionNumber StudyID StudyInstanceUID"),
        (Level.SERIES, "Modality SeriesNumber SeriesInstanceUID"),
        (Level.IMAGE, "InstanceNumber SOPInstanceUID"),
    ],
)
def test_unique_and_required_keys_are_served(level: Level, required: str) -> None:
    """Tables C.6-1 to C.6-4."""
    assert set(required.split()) <= set(ATTRIBUTES[level])


@pytest.mark.parametrize(
    ("model", "asked", "tag"),
    [
        (STUDY_ROOT, identifier(), LEVEL),
        (STUDY_ROOT, identifier(""), LEVEL),
        (STUDY_ROOT, identifier("STUDY\\SERIES"), LEVEL),
        (STUDY_ROOT, identifier("study"), LEVEL),
        (STUDY_ROOT, identifier("FRAME"), LEVEL),
        (STUDY_ROOT, identifier("PATIENT"), LEVEL),
        (PATIENT_STUDY_ONLY, identifier("SERIES", PatientID="1", StudyInstanceUID="1.2"), LEVEL),
        (STUDY_ROOT, identifier("SERIES"), STUDY),
        (STUDY_ROOT, identifier("SERIES", StudyInstanceUID=""), STUDY),
        (STUDY_ROOT, identifier("SERIES", StudyInstanceUID=["1.2", "1.3"]), STUDY),
        (STUDY_ROOT, identifier("IMAGE", StudyInstanceUID="1.2", SOPInstanceUID="1.2.3.4"), SERIES),
        (STUDY_ROOT, identifier("IMAGE", SeriesInstanceUID="1.2.3", SOPInstanceUID="1.2.3.4"), STUDY),
        (PATIENT_ROOT, identifier("STUDY", StudyInstanceUID="1.2"), PATIENT),
        (PATIENT_ROOT, identifier("STUDY", PatientID="*", StudyInstanceUID="1.2"), PATIENT),
        (PATIENT_STUDY_ONLY, identifier("STUDY", StudyInstanceUID="1.2"), PATIENT),
    ],
)
def test_what_is_refused_in_any_request(model: Model, asked: Dataset, tag: int) -> None:
    """Of a strict archive: see test_archive_lenient.py for what else is tolerated."""
    for check in (find_query, retrieve_query):
        with pytest.raises(IdentifierError) as caught:
            check(asked, model, strict=True)
        assert caught.value.offending_elements == (tag,)
        assert caught.value.status == 0xA900
        assert 0 < len(caught.value.comment) <= 64


@pytest.mark.parametrize(
    ("model", "asked", "tag"),
    [
        (STUDY_ROOT, identifier("STUDY"), STUDY),
        (STUDY_ROOT, identifier("STUDY", StudyInstanceUID=""), STUDY),
        (PATIENT_ROOT, identifier("PATIENT"), PATIENT),
        (COMPOSITE_INSTANCE, identifier("IMAGE"), IMAGE),
        (COMPOSITE_INSTANCE, identifier("STUDY", StudyInstanceUID="1.2"), LEVEL),
    ],
)
def test_what_is_refused_in_a_retrieval(model: Model, asked: Dataset, tag: int) -> None:
    with pytest.raises(IdentifierError) as caught:
        retrieve_query(asked, model)
    assert caught.value.offending_elements == (tag,)


@pytest.mark.parametrize(
    ("asked", "unique"),
    [
        (identifier("PATIENT", PatientID=["1", "2"]), "1\\2"),
        (identifier("PATIENT", PatientID=["1", ""]), "1\\"),
        (identifier("PATIENT", PatientID="*"), "*"),
        (identifier("STUDY", PatientID="1?", StudyInstanceUID="1.2"), "1?"),
    ],
)
def test_what_is_refused_in_a_retrieval_that_finds_nothing(asked: Dataset, unique: str) -> None:
    query = retrieve_query(asked, PATIENT_ROOT)
    assert query.unique[Level.PATIENT] == (unique,)
    with pytest.raises(IdentifierError) as caught:
        check_nothing_found(query)
    assert caught.value.offending_elements == (PATIENT,)
    assert caught.value.status == 0xA900


@pytest.mark.parametrize(
    ("model", "asked"),
    [
        (PATIENT_ROOT, identifier("PATIENT", PatientID="1")),
        (PATIENT_ROOT, identifier("STUDY", PatientID=["1", "2"], StudyInstanceUID="1.2")),
        (STUDY_ROOT, identifier("STUDY", PatientID="1*", StudyInstanceUID="1.2")),
    ],
)
def test_a_retrieval_that_finds_nothing(model: Model, asked: Dataset) -> None:
    check_nothing_found(retrieve_query(asked, model))


@pytest.mark.parametrize(
    ("keyword", "value"),
    [("StudyDate", "last week"), ("StudyDate", "2020*"), ("StudyTime", "2500x"), ("StudyDate", "20200101-*")],
)
def test_a_date_that_is_none_is_named_and_not_quoted(keyword: str, value: str) -> None:
    asked = identifier("STUDY")
    asked.add_new(keyword, dictionary_VR(keyword), "")
    asked[keyword]._value = value  # as a peer may send it
    with pytest.raises(IdentifierError) as caught:
        find_query(asked, STUDY_ROOT)
    assert caught.value.offending_elements == (tag_for_keyword(keyword),)
    assert keyword in caught.value.comment
    assert value not in caught.value.comment


@pytest.mark.parametrize(
    ("model", "asked", "unique"),
    [
        (PATIENT_ROOT, identifier("PATIENT", PatientID="1"), {Level.PATIENT: ("1",)}),
        (STUDY_ROOT, identifier("STUDY", StudyInstanceUID=["1.2", "1.3"]), {Level.STUDY: ("1.2", "1.3")}),
        (
            PATIENT_ROOT,
            identifier("STUDY", PatientID="1", StudyInstanceUID="1.2"),
            {Level.PATIENT: ("1",), Level.STUDY: ("1.2",)},
        ),
        (
            STUDY_ROOT,
            identifier("IMAGE", StudyInstanceUID="1.2", SeriesInstanceUID="1.2.3", SOPInstanceUID=["1.4", "1.5"]),
            {Level.STUDY: ("1.2",), Level.SERIES: ("1.2.3",), Level.IMAGE: ("1.4", "1.5")},
        ),
        (COMPOSITE_INSTANCE, identifier("IMAGE", SOPInstanceUID="1.4"), {Level.IMAGE: ("1.4",)}),
    ],
)
def test_unique_keys(model: Model, asked: Dataset, unique: dict[Level, tuple[str, ...]]) -> None:
    assert retrieve_query(asked, model).unique == unique
    assert find_query(asked, model).unique == unique
    assert find_query(asked, model).tests == ()


def test_keys_are_supported_at_their_level_and_below() -> None:
    asked = identifier("SERIES", StudyInstanceUID="1.2", PatientName="doe*", Modality="", NumberOfStudyRelatedSeries="")
    asked.RetrieveAETitle = ""
    assert find_query(asked, STUDY_ROOT).unsupported == ()
    assert find_query(asked, STUDY_ROOT).tests == (
        Key("RetrieveAETitle", "AE"),
        Key("Modality", "CS"),
        Key("PatientName", "PN", ("doe*",)),
        Key("NumberOfStudyRelatedSeries", "IS"),
    )


def test_keys_that_are_not_kept_are_unsupported() -> None:
    asked = identifier("STUDY", Modality="CT", PixelSpacing=["1", "1"], StudyDate="", SpecificCharacterSet="ISO_IR 100")
    asked.private_block(0x0011, "SOMEONE", create=True).add_new(0x01, "LO", "x")
    query = find_query(asked, STUDY_ROOT)
    assert query.unsupported == ("Modality", "(0011,0010)", "(0011,1001)", "PixelSpacing")
    assert [key.keyword for key in query.keys] == ["StudyDate"]


def test_a_key_of_the_wrong_vr_is_read_by_the_dictionary() -> None:
    asked = identifier("STUDY")
    asked.add_new("StudyDescription", "UN", b"HEAD")
    assert find_query(asked, STUDY_ROOT).keys == (Key("StudyDescription", "LO", ("HEAD",)),)


def test_sequences_become_keys_of_their_item() -> None:
    item = Dataset()
    item.CodeValue, item.CodeMeaning = "T-D1100", ""
    assert find_query(identifier("STUDY", ProcedureCodeSequence=[item]), STUDY_ROOT).keys == (
        Key("ProcedureCodeSequence", "SQ", item=(Key("CodeValue", "SH", ("T-D1100",)), Key("CodeMeaning", "LO"))),
    )


def test_relational_queries_need_no_unique_keys() -> None:
    asked = identifier("IMAGE", StudyInstanceUID=["1.2", "1.3"], PatientName="doe*")
    query = find_query(asked, STUDY_ROOT, Rules(relational=True))
    assert query.unique == {Level.STUDY: ("1.2", "1.3")}
    assert retrieve_query(identifier("IMAGE", SOPInstanceUID="1.4"), PATIENT_ROOT, relational=True).unique == {
        Level.IMAGE: ("1.4",)
    }
    with pytest.raises(IdentifierError):  # the key of the level asked for is always needed
        retrieve_query(identifier("IMAGE"), PATIENT_ROOT, relational=True)
