"""What is answered for an object is that object: patients that share an ID, UIDs and files that change places."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from archive.databases import KINDS, open_index
from archive.strategies import asked
from archive.test_archive_provider import Handlers
from pydicom import Dataset

import aiodimse
from aiodimse import sop_class
from aiodimse.archive import Archive, Match, find_query, provide, retrieve_query
from aiodimse.archive.models import PATIENT_ROOT, STUDY_ROOT, Model

A = {"PatientName": "Adams^Anna", "PatientBirthDate": "19500101"}
B = {"PatientName": "Brown^Bob", "PatientBirthDate": "19900909"}
NAMED = ("PatientName", "PatientBirthDate")
PATIENT_GET = sop_class.PatientRootQueryRetrieveInformationModelGet
PATIENT_MOVE = sop_class.PatientRootQueryRetrieveInformationModelMove
Files = Callable[..., Path]


async def rows(archive: Archive, model: Model, identifier: Dataset, *keywords: str) -> list[tuple[str, ...]]:
    def row(match: Match) -> tuple[str, ...]:
        return tuple("\\".join(map(str, match.attributes[keyword])) for keyword in keywords)

    return sorted([row(match) async for match in archive.index.find(find_query(identifier, model))])


async def locations(archive: Archive, model: Model, identifier: Dataset) -> list[str]:
    return sorted([entry.location async for entry in archive.index.entries(retrieve_query(identifier, model))])


@pytest.mark.parametrize("ids", [("0", "0"), ("ANON", "ANON"), ("DOM\\anna", "DOM\\bob"), ("", "")])
@pytest.mark.parametrize("level", ["STUDY", "SERIES", "IMAGE"])
async def test_a_study_has_the_patient_of_its_own_objects(
    tmp_path: Path, a_file: Files, ids: tuple[str, str], level: str
) -> None:
    a_file("a.dcm", patient=ids[0], study="1", **A)
    a_file("b.dcm", patient=ids[1], study="2", **B)
    archive = await Archive.open(tmp_path, index="memory:")
    for study, patient_id, who in (("1.2.1", ids[0], A), ("1.2.2", ids[1], B)):
        unique = {"StudyInstanceUID": study, "SeriesInstanceUID": f"{study}.1", "SOPInstanceUID": f"{study}.1.1"}
        identifier = asked(level, **unique, PatientID="", PatientName="", PatientBirthDate="")
        assert await rows(archive, STUDY_ROOT, identifier, "PatientID", *NAMED) == [(patient_id, *who.values())]


@pytest.mark.parametrize("other", [B, {**A, "PatientBirthDate": "19900909"}, {**B, "PatientBirthDate": "19500101"}])
async def test_an_id_of_two_patients_is_two_rows(tmp_path: Path, a_file: Files, other: dict[str, str]) -> None:
    a_file("a.dcm", patient="0", study="1", PatientSex="F", **A)
    a_file("a2.dcm", patient="0", study="2", **A)
    a_file("b.dcm", patient="0", study="3", **other)
    archive = await Archive.open(tmp_path, index="memory:")
    identifier = asked("PATIENT", PatientName="", PatientBirthDate="", PatientSex="", NumberOfPatientRelatedStudies="")
    found = await rows(archive, PATIENT_ROOT, identifier, *NAMED, "PatientSex", "NumberOfPatientRelatedStudies")
    assert found == sorted([(*A.values(), "F", "2"), (*other.values(), "", "1")])
    identifier = asked("STUDY", StudyInstanceUID="", NumberOfPatientRelatedStudies="")
    numbers = await rows(archive, STUDY_ROOT, identifier, "StudyInstanceUID", "NumberOfPatientRelatedStudies")
    assert numbers == [("1.2.1", "2"), ("1.2.2", "2"), ("1.2.3", "1")]


@pytest.mark.parametrize(
    "other",
    [
        {"PatientName": "", "PatientBirthDate": ""},
        {"PatientName": "ADAMS^ANNA^^", "PatientBirthDate": "1950.01.01"},
        {"PatientName": "Adams^Anna=アダムズ", "PatientBirthDate": ""},
    ],
)
async def test_an_id_of_one_patient_is_one_row(tmp_path: Path, a_file: Files, other: dict[str, str]) -> None:
    a_file("a.dcm", patient="7", study="1", **A)
    a_file("b.dcm", patient="7", study="2", PatientSex="F", SpecificCharacterSet="ISO_IR 192", **other)
    archive = await Archive.open(tmp_path, index="memory:")
    identifier = asked("PATIENT", PatientID="7", PatientName="", PatientBirthDate="", PatientSex="")
    assert await rows(archive, PATIENT_ROOT, identifier, *NAMED, "PatientSex") == [(*A.values(), "F")]


async def test_a_patient_id_is_looked_for_as_a_whole(tmp_path: Path, a_file: Files) -> None:
    a_file("a.dcm", patient="DOM\\anna", study="1", **A)
    a_file("b.dcm", patient="DOM\\bob", study="2", **B)
    archive = await Archive.open(tmp_path, index="memory:")
    for key in (["DOM", "bob"], "DOM*b", "*bob"):
        identifier = asked("STUDY", PatientID=key, PatientName="")
        assert await rows(archive, STUDY_ROOT, identifier, "PatientName") == [("Brown^Bob",)]
    identifier = asked("PATIENT", PatientID=["DOM", "bob"], PatientName="")
    assert await rows(archive, PATIENT_ROOT, identifier, "PatientName") == [("Brown^Bob",)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", ["DOM\\bob", "bob\\", "\\bob", "DOM\\X\\bob", "b*b", "b?b", "*"])
async def test_what_is_found_with_a_patient_id_is_retrieved_with_it(
    kind: str, bad: str, tmp_path: Path, a_file: Files
) -> None:
    """A damaged sender has given such an ID to a patient; others have the parts of it, or fit it as a pattern."""
    for number, patient in enumerate([bad, "DOM", "bob", "b2b"]):
        path = a_file(f"files/{number}.dcm", patient=patient, study=str(number))
    archive = await Archive.open(path.parent, index=await open_index(kind, tmp_path))
    handlers = Handlers()
    provide(handlers, archive, destinations={"VIEWER": ("192.0.2.7", 11112)})  # type: ignore[arg-type]
    for level, of_study in (("PATIENT", {}), ("STUDY", {"StudyInstanceUID": "1.2.0"})):
        identifier = asked(level, PatientID=bad.split("\\"), **of_study)
        assert (bad,) in await rows(archive, PATIENT_ROOT, identifier, "PatientID")
        for uid in (PATIENT_GET, PATIENT_MOVE):
            sent = [
                step[1].sop_instance_uid
                for step in await handlers.run(uid, identifier, move_destination="VIEWER")
                if isinstance(step, tuple) and step[0] == 0xFF00
            ]
            assert sent == ["1.2.0.1.1"], (level, uid)
    await archive.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("listed", [["bob", "DOM"], "b*", "*"])
async def test_no_list_and_no_pattern_of_patients_is_retrieved(
    kind: str, listed: str | list[str], tmp_path: Path, a_file: Files
) -> None:
    for number, patient in enumerate(["DOM", "bob"]):
        path = a_file(f"files/{number}.dcm", patient=patient, study=str(number))
    archive = await Archive.open(path.parent, index=await open_index(kind, tmp_path))
    handlers = Handlers()
    provide(handlers, archive, destinations={"VIEWER": ("192.0.2.7", 11112)})  # type: ignore[arg-type]
    for uid in (PATIENT_GET, PATIENT_MOVE):
        with pytest.raises(aiodimse.DIMSEFailure) as caught:
            await handlers.run(uid, asked("PATIENT", PatientID=listed), move_destination="VIEWER")
        assert (caught.value.status, caught.value.offending_elements) == (0xA900, (0x00100020,))
    await archive.close()


async def test_a_file_has_one_uid(tmp_path: Path, a_file: Files) -> None:
    path = a_file("1.dcm", image="1")
    archive = await Archive.open(tmp_path, index="memory:")
    a_file("1.dcm", image="2")
    await archive.add(path)
    identifier = asked("STUDY", StudyInstanceUID="1.2.1", NumberOfStudyRelatedInstances="")
    assert await rows(archive, STUDY_ROOT, identifier, "NumberOfStudyRelatedInstances") == [("1",)]
    uids = await rows(
        archive,
        STUDY_ROOT,
        asked("IMAGE", StudyInstanceUID="1.2.1", SeriesInstanceUID="1.2.1.1", SOPInstanceUID=""),
        "SOPInstanceUID",
    )
    assert uids == [("1.2.1.1.2",)]


async def test_a_uid_has_one_file(tmp_path: Path, a_file: Files) -> None:
    archive = await Archive.open(tmp_path, index="memory:")
    await archive.add(a_file("1.dcm"))
    await archive.add(a_file("2.dcm"))
    assert await locations(archive, STUDY_ROOT, asked("STUDY", StudyInstanceUID="1.2.1")) == ["2.dcm"]
    await archive.index.remove(["1.dcm"])  # which it is not in any more
    assert await locations(archive, STUDY_ROOT, asked("STUDY", StudyInstanceUID="1.2.1")) == ["2.dcm"]
