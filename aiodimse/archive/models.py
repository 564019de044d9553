"""The levels of Query/Retrieve, the attributes kept at each level, and the information models (PS3.4 C.6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum


class Level(IntEnum):
    """Query/Retrieve Level (0008,0052), from the top down."""

    PATIENT = 0
    STUDY = 1
    SERIES = 2
    IMAGE = 3


@dataclass(frozen=True, slots=True)
class Model:
    """An information model: its name and its levels."""

    name: str
    """Its name in PS3.4, for example "Patient Root"."""
    levels: tuple[Level, ...]
    """Its levels, the highest first."""

    def above(self, level: Level) -> tuple[Level, ...]:
        """Return the levels above a level, the highest first.

        Args:
            level: One of the levels.
        """
        return self.levels[: self.levels.index(level)]


# fmt: off
PATIENT_ROOT       = Model("Patient Root",       (Level.PATIENT, Level.STUDY, Level.SERIES, Level.IMAGE))  # C.6.1
STUDY_ROOT         = Model("Study Root",         (Level.STUDY, Level.SERIES, Level.IMAGE))                 # C.6.2
PATIENT_STUDY_ONLY = Model("Patient/Study Only", (Level.PATIENT, Level.STUDY))                             # C.6.3
COMPOSITE_INSTANCE = Model("Composite Instance", (Level.IMAGE,))                                           # Y, Z
# fmt: on

UNIQUE: Mapping[Level, str] = {
    Level.PATIENT: "PatientID",
    Level.STUDY: "StudyInstanceUID",
    Level.SERIES: "SeriesInstanceUID",
    Level.IMAGE: "SOPInstanceUID",
}

# The attributes that are kept: unique and required keys of tables C.6-1 to C.6-4, and optional keys in common use.
ATTRIBUTES: Mapping[Level, tuple[str, ...]] = {
    Level.PATIENT: (
        "PatientID", "PatientName", "IssuerOfPatientID", "PatientBirthDate", "PatientBirthTime", "PatientSex",
        "OtherPatientIDs", "OtherPatientNames", "EthnicGroup", "PatientComments", "ReferencedPatientSequence",
        "PatientSpeciesDescription", "ResponsiblePerson",
    ),
    Level.STUDY: (
        "StudyInstanceUID", "StudyID", "StudyDate", "StudyTime", "AccessionNumber", "StudyDescription",
        "ReferringPhysicianName", "NameOfPhysiciansReadingStudy", "PhysiciansOfRecord", "AdmittingDiagnosesDescription",
        "ProcedureCodeSequence", "ReferencedStudySequence", "IssuerOfAccessionNumberSequence",
        "PatientAge", "PatientSize", "PatientWeight", "Occupation", "AdditionalPatientHistory",
    ),
    Level.SERIES: (
        "SeriesInstanceUID", "SeriesNumber", "Modality", "SeriesDescription", "SeriesDate", "SeriesTime",
        "BodyPartExamined", "Laterality", "ProtocolName", "PatientPosition", "OperatorsName",
        "PerformingPhysicianName", "Manufacturer", "ManufacturerModelName", "StationName", "InstitutionName",
        "InstitutionalDepartmentName", "FrameOfReferenceUID", "PerformedProcedureStepID",
        "PerformedProcedureStepDescription", "PerformedProcedureStepStartDate", "PerformedProcedureStepStartTime",
        "RequestAttributesSequence", "SeriesDescriptionCodeSequence",
    ),
    Level.IMAGE: (
        "SOPInstanceUID", "SOPClassUID", "InstanceNumber", "ImageType", "ContentDate", "ContentTime",
        "AcquisitionNumber", "AcquisitionDate", "AcquisitionTime", "AcquisitionDateTime", "InstanceCreationDate",
        "InstanceCreationTime", "NumberOfFrames", "Rows", "Columns", "BitsAllocated", "SliceLocation",
        "ContentLabel", "ContentDescription", "ContentCreatorName", "DocumentTitle", "CompletionFlag",
        "VerificationFlag", "ConceptNameCodeSequence", "RTPlanLabel", "StructureSetLabel",
    ),
}  # fmt: skip

# PS3.4 Table C.3-1: attributes that no object has and the archive counts.
COMPUTED: Mapping[str, Level] = {
    "NumberOfPatientRelatedStudies": Level.PATIENT,
    "NumberOfPatientRelatedSeries": Level.PATIENT,
    "NumberOfPatientRelatedInstances": Level.PATIENT,
    "ModalitiesInStudy": Level.STUDY,
    "SOPClassesInStudy": Level.STUDY,
    "NumberOfStudyRelatedSeries": Level.STUDY,
    "NumberOfStudyRelatedInstances": Level.STUDY,
    "NumberOfSeriesRelatedInstances": Level.SERIES,
}

LEVEL_OF: Mapping[str, Level] = {
    **{keyword: level for level, keywords in ATTRIBUTES.items() for keyword in keywords},
    **COMPUTED,
}
