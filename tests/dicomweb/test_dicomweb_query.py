"""QIDO-RS searches as Identifiers, and matches as DICOM JSON."""

from __future__ import annotations

import json

import pytest
from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.tag import Tag

from aiodimse import dicomweb
from aiodimse.datasets import decode_dataset, encode_dataset

IMPLICIT = "1.2.840.10008.1.2"
ROOT = "http://gateway.example/dicomweb"


def test_keywords_tags_and_uids_of_the_path() -> None:
    parameters = [("PatientID", "4711"), ("00080020", "20240101-"), ("limit", "3"), ("fuzzymatching", "true")]
    found = dicomweb.query_identifier("STUDY", parameters, {})
    assert (found.QueryRetrieveLevel, found.PatientID, found.StudyDate) == ("STUDY", "4711", "20240101-")
    assert found["StudyInstanceUID"].is_empty  # returned though nobody asked
    series = dicomweb.query_identifier("SERIES", [("Modality", "CT")], {"StudyInstanceUID": "1.2.3"})
    assert (series.Modality, series.StudyInstanceUID) == ("CT", "1.2.3")
    assert series["SeriesInstanceUID"].is_empty


def test_a_search_that_asks_for_fuzzy_matching_is_warned() -> None:
    """PS3.18 8.3.4.2."""
    assert dicomweb.fuzzy_warning([("PatientName", "DOE"), ("fuzzymatching", "false")], ROOT) == {}
    headers = dicomweb.fuzzy_warning([("fuzzymatching", "true")], ROOT)
    assert headers.keys() == {"Warning"}
    assert headers["Warning"].startswith(f"299 {ROOT}: ")
    with pytest.raises(ValueError, match="fuzzymatching"):
        dicomweb.fuzzy_warning([("fuzzymatching", "yes")], ROOT)


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


@pytest.mark.parametrize(
    "name", ["QueryRetrieveLevel", "00080052", "SpecificCharacterSet", "CommandGroupLength", "00020010"]
)
def test_a_query_sets_nothing_that_the_identifier_says_of_itself(name: str) -> None:
    """A search for studies would return instances, or text would be sent in a character set that it is not in."""
    with pytest.raises(ValueError, match="cannot be searched for"):
        dicomweb.query_identifier("STUDY", [(name, "IMAGE")])
    found = dicomweb.query_identifier("STUDY", [("PatientName", "Müller*"), ("includefield", name)])
    assert (found.QueryRetrieveLevel, found.SpecificCharacterSet) == ("STUDY", "ISO_IR 192")
    assert min(found.keys()) >= 0x00080005


@pytest.mark.parametrize(
    ("keyword", "text", "value"),
    [
        ("Rows", "512", 512),
        ("SelectorSLValue", "-5", -5),
        ("SelectorFDValue", "1.5", 1.5),
        ("InstanceNumber", "1", 1),
        ("FrameIncrementPointer", "0018106a", 0x0018106A),
    ],
)
def test_a_number_is_one_of_its_vr(keyword: str, text: str, value: float) -> None:
    """The example: Rows, which every answer has, could not be searched for."""
    found = dicomweb.query_identifier("IMAGE", [(keyword, text)])
    assert found[keyword].value == value
    assert decode_dataset(encode_dataset(found, IMPLICIT), IMPLICIT)[keyword].value == value


@pytest.mark.parametrize(
    ("keyword", "text"),
    [
        ("Rows", "abc"),
        ("Rows", "70000"),
        ("Rows", "-1"),
        ("Rows", "1.5"),
        ("SelectorFLValue", "1e400"),
        ("SelectorFLValue", "1e39"),
        ("PixelData", "1"),
        ("ReferencedStudySequence", "1"),
        ("SelectorUNValue", "1"),
        ("FrameIncrementPointer", "PatientName"),
        ("FrameIncrementPointer", "8002"),
        ("FrameIncrementPointer", "0008,0020"),
        ("StudyInstanceUID", "1.2.é"),
        ("Modality", "\ud800"),
        ("PatientName", "\ud800"),
    ],
)
def test_a_value_that_its_vr_cannot_have(keyword: str, text: str) -> None:
    """The archive was blamed for it: 502."""
    with pytest.raises(ValueError, match=r"cannot|surrogates"):
        encode_dataset(dicomweb.query_identifier("IMAGE", [(keyword, text)]), IMPLICIT)


@pytest.mark.parametrize("keyword", ["Rows", "SelectorFDValue", "FrameIncrementPointer", "StudyDate", "PatientName"])
def test_an_empty_value_is_a_universal_key(keyword: str) -> None:
    found = dicomweb.query_identifier("IMAGE", [(keyword, "")])
    assert decode_dataset(encode_dataset(found, IMPLICIT), IMPLICIT)[keyword].is_empty


@pytest.mark.parametrize(
    "uid", ["1.2\\1.3", "\\1.3", "*", "1.?", "", " ", "1.2\0", "1.2 ", "1" * 65, "1.é", "\udcff", "a/b"]
)
def test_what_is_no_uid_in_a_path(uid: str) -> None:
    """The example: the URL of a study with a backslash in it was answered with two studies."""
    with pytest.raises(ValueError, match="StudyInstanceUID in the path is not a UID"):
        dicomweb.path_uids({"StudyInstanceUID": uid})
    with pytest.raises(ValueError, match="StudyInstanceUID in the path is not a UID"):
        dicomweb.query_identifier("SERIES", [], {"StudyInstanceUID": uid})


@pytest.mark.parametrize("uid", ["1.2.3", "9" * 64, "01.2", "broken-uid", "1.2.3."])
def test_the_uids_of_a_path(uid: str) -> None:
    parts = {"StudyInstanceUID": uid, "frames": "1,2", "SOPInstanceUID": "1.2"}
    assert dicomweb.path_uids(parts) == {"StudyInstanceUID": uid, "SOPInstanceUID": "1.2"}


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


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
def test_json_has_no_numbers_that_json_has_not(number: str) -> None:
    """One instance would make the answer for all of them unreadable."""
    item, match = Dataset(), Dataset()
    item.RealWorldValueSlope, item.RealWorldValueIntercept = float(number), 1.0
    match.RealWorldValueMappingSequence = [item, item]
    match.DopplerCorrectionAngle, match.PatientID = float(number), "42"
    match.add_new(0x00189073, "FD", [2.0, float(number)])
    match[0x00281052] = RawDataElement(Tag(0x00281052), "DS", 6, b"-1e999", 0, False, True)
    model = json.loads(dicomweb.to_json(match), parse_constant=pytest.fail)
    assert model.keys() == {"00100020", "00409096"}
    assert model["00409096"]["Value"] == [{"00409224": {"vr": "FD", "Value": [1.0]}}] * 2


def test_json_has_no_group_lengths() -> None:
    """PS3.18 F.2.2."""
    item, match = Dataset(), Dataset()
    item.add_new(0x00400000, "UL", 10)
    match.RealWorldValueMappingSequence = [item]
    match.add_new(0x00100000, "UL", 10)
    assert json.loads(dicomweb.to_json(match)) == {"00409096": {"vr": "SQ", "Value": [{}]}}


def test_urls_of_each_level() -> None:
    dataset = Dataset()
    assert dicomweb.retrieve_url(dataset, ROOT) == ROOT
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID = "1", "2", "3"
    assert dicomweb.retrieve_url(dataset, ROOT) == f"{ROOT}/studies/1/series/2/instances/3"
