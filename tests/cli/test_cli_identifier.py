"""-k, and what comes of it."""

from __future__ import annotations

import pytest

from aiodimse.cli.identifier import identifier, key


@pytest.mark.parametrize(
    ("text", "keyword", "value"),
    [
        ("PatientID=1CT1", "PatientID", "1CT1"),
        ("PatientID", "PatientID", ""),
        ("PatientID=", "PatientID", ""),
        ("0010,0020=x", "PatientID", "x"),
        ("(0010,0020)=x", "PatientID", "x"),
        ("00100020=x", "PatientID", "x"),
        ("StudyDate=20040101-", "StudyDate", "20040101-"),
        ("StudyDescription=a=b", "StudyDescription", "a=b"),
        ("StudyInstanceUID=1.2\\1.3", "StudyInstanceUID", ["1.2", "1.3"]),
        ("Rows=512", "Rows", 512),
        ("InstanceNumber=7", "InstanceNumber", "7"),
    ],
)
def test_keys(text: str, keyword: str, value: object) -> None:
    found = identifier("STUDY", [key(text)])
    assert found.QueryRetrieveLevel == "STUDY"
    assert (found[keyword].value if found[keyword].value is not None else "") == value
    assert "SpecificCharacterSet" not in found


def test_a_key_in_a_sequence() -> None:
    names = ("ScheduledProcedureStepID=7", "ScheduledProcedureStepDescription")
    found = identifier("SERIES", [key(f"RequestAttributesSequence.{name}") for name in names])
    (item,) = found.RequestAttributesSequence
    assert item.ScheduledProcedureStepID == "7"
    assert "ScheduledProcedureStepDescription" in item
    assert found.QueryRetrieveLevel == "SERIES"


def test_text_beyond_ascii_travels_as_utf_8() -> None:
    found = identifier("STUDY", [key("PatientName=Müller*")])
    assert found.SpecificCharacterSet == "ISO_IR 192"
    assert found.PatientName == "Müller*"
