"""QIDO-RS searches as Identifiers, and matches as DICOM JSON."""

from __future__ import annotations

import json

import pytest
from pydicom import Dataset

from aiodimse import dicomweb

ROOT = "http://gateway.example/dicomweb"


def test_keywords_tags_and_uids_of_the_path() -> None:
    parameters = [("PatientID", "4711"), ("00080020", "20240101-"), ("limit", "3"), ("fuzzymatching", "true")]
    found = dicomweb.query_identifier("STUDY", parameters, {})
    assert (found.QueryRetrieveLevel, found.PatientID, found.StudyDate) == ("STUDY", "4711", "20240101-")
    assert found["StudyInstanceUID"].is_empty  # returned though nobody asked
    series = dicomweb.query_identifier("SERIES", [("Modality", "CT")], {"StudyInstanceUID": "1.2.3"})
    assert (series.Modality, series.StudyInstanceUID) == ("CT", "1.2.3")
    assert series["SeriesInstanceUID"].is_empty


def test_the_path_wins_over_the_query() -> None:
    found = dicomweb.query_identifier("SERIES", [("StudyInstanceUID", "9.9")], {"StudyInstanceUID": "1.2.3"})
    assert found.StudyInstanceUID == "1.2.3"


def test_a_list_of_uids_is_any_of_them() -> None:
    assert list(dicomweb.query_identifier("STUDY", [("StudyInstanceUID", "1.2,1.3")]).StudyInstanceUID) == [
        "1.2",
        "1.3",
    ]


def test_a_comma_in_other_values_stays() -> None:
    assert dicomweb.query_identifier("STUDY", [("StudyDescription", "KNEE, LEFT")]).StudyDescription == "KNEE, LEFT"


def test_includefield_adds_what_is_returned_and_leaves_values() -> None:
    parameters = [("PatientID", "42"), ("includefield", "PatientID,00081010"), ("includefield", "all")]
    found = dicomweb.query_identifier("STUDY", parameters)
    assert found.PatientID == "42"
    assert found["StationName"].is_empty


@pytest.mark.parametrize("name", ["NoSuchKeyword", "0008FFFF", "zzzzzzzz", "", "PatientID.x", "00091001"])
def test_what_is_no_attribute_is_refused_without_repeating_it(name: str) -> None:
    with pytest.raises(ValueError, match="no attribute") as raised:
        dicomweb.query_identifier("STUDY", [(name, "Doe^John")])
    assert "Doe" not in str(raised.value)


def test_text_that_is_not_ascii_says_its_character_set() -> None:
    assert dicomweb.query_identifier("STUDY", [("PatientName", "Müller*")]).SpecificCharacterSet == "ISO_IR 192"


def test_json_is_utf_8_and_leaves_the_dataset_alone() -> None:
    match = Dataset()
    match.SpecificCharacterSet = "ISO_IR 100"
    match.PatientName = "Buc^Jérôme"
    match.StudyInstanceUID, match.SeriesInstanceUID = "1.2.3", "1.2.3.4"
    model = json.loads(dicomweb.to_json(match, ROOT))
    assert model["00100010"]["Value"] == [{"Alphabetic": "Buc^Jérôme"}]
    assert model["00080005"]["Value"] == ["ISO_IR 192"]
    assert model["00081190"]["Value"] == [f"{ROOT}/studies/1.2.3/series/1.2.3.4"]
    assert match.SpecificCharacterSet == "ISO_IR 100"
    assert "RetrieveURL" not in match


def test_json_without_a_root_has_no_url() -> None:
    match = Dataset()
    match.StudyInstanceUID = "1.2.3"
    assert json.loads(dicomweb.to_json(match)) == {"0020000D": {"vr": "UI", "Value": ["1.2.3"]}}


def test_urls_of_each_level() -> None:
    dataset = Dataset()
    assert dicomweb.retrieve_url(dataset, ROOT) == ROOT
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID = "1", "2", "3"
    assert dicomweb.retrieve_url(dataset, ROOT) == f"{ROOT}/studies/1/series/2/instances/3"
