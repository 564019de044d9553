"""C-FIND: the matches of a provider, and the check of a user that each is the right one."""

from __future__ import annotations

import gc

from pydicom.dataset import Dataset


def identifier() -> Dataset:
    """Return the Identifier of the query."""
    query = Dataset()
    query.QueryRetrieveLevel = "STUDY"
    for keyword in KEYWORDS:
        setattr(query, keyword, None)
    return query


KEYWORDS = (
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "ModalitiesInStudy",
    "ReferringPhysicianName",
    "StudyDescription",
    "PatientName",
    "PatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyInstanceUID",
    "StudyID",
    "NumberOfStudyRelatedInstances",
)


def match(number: int) -> Dataset:
    """Make the match with this number; no two are alike."""
    found = Dataset()
    found.StudyDate = f"2024{number % 12 + 1:02}{number % 28 + 1:02}"
    found.StudyTime = f"{number % 24:02}{number % 60:02}00"
    found.AccessionNumber = f"ACC{number:08}"
    found.QueryRetrieveLevel = "STUDY"
    found.ModalitiesInStudy = ["CT", "SR"] if number % 2 else "MR"
    found.ReferringPhysicianName = f"Referrer^{number % 97}"
    found.StudyDescription = f"Study number {number}"
    found.PatientName = f"Family{number}^Given"
    found.PatientID = f"PID{number:07}"
    found.PatientBirthDate = "19700101"
    found.PatientSex = "F" if number % 2 else "M"
    found.StudyInstanceUID = f"1.2.826.0.1.3680043.8.498.{number + 1}"
    found.StudyID = str(number)
    found.NumberOfStudyRelatedInstances = number % 500
    return found


def prepared(count: int) -> list[Dataset]:
    """Make all matches before the measurement, since making one is pydicom's work, some 100 us on either side."""
    made = [match(number) for number in range(count)]
    gc.freeze()  # otherwise the garbage collector visits all of them again and again, in any provider
    return made


def is_right(found: Dataset, number: int) -> bool:
    """Return whether three decoded values are those of this match."""
    return bool(
        found.PatientID == f"PID{number:07}"
        and found.StudyInstanceUID == f"1.2.826.0.1.3680043.8.498.{number + 1}"
        and found.NumberOfStudyRelatedInstances == number % 500
    )
