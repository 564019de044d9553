"""The Query/Retrieve information models of PS3.4 C.6 as rows, and what an Identifier asks of one.

What is in a row can be asked for. Hierarchical rules (C.4.1.3.1, C.4.2.2.1): the unique key of every level above is
given, with a single value; Relational-queries and Relational-retrieve (C.4.1.3.2, C.4.2.2.2) lift that where they were
negotiated. Attributes of a level above, asked for beside its unique key, are matched and returned, although the
standard promises it to no peer; those of a level below are not supported.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace
from enum import IntEnum

from pydicom import Dataset
from pydicom.datadict import tag_for_keyword

from .attributes import KeysRefused, decode_ascii, keys_of
from .matching import BASELINE, RANGE_VRS, Key, Rules
from .moments import parse_range
from .wildcards import has_wildcard


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
    levels: tuple[Level, ...]

    def above(self, level: Level) -> tuple[Level, ...]:
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

# What the headers are read for: unique and required keys of tables C.6-1 to C.6-4, and the optional ones people use.
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

# Table C.3-1: what no object holds and the archive counts.
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

# Answered without a look at any object; of the rest of an Identifier, these are no keys at all (C.4.1.1.3.1).
ANSWERED = frozenset({"RetrieveAETitle", "InstanceAvailability"})
_NO_KEYS = frozenset({"SpecificCharacterSet", "QueryRetrieveLevel", "QueryRetrieveView", "TimezoneOffsetFromUTC"})

_SUPPORTED = {
    level: frozenset({keyword for keyword, its in LEVEL_OF.items() if its <= level} | ANSWERED) for level in Level
}

_LEVEL_TAG = 0x00080052


class IdentifierError(ValueError):
    """An Identifier that is not answered: 0xA900 where it does not fit its SOP class, 0xA700 or 0xA701 where it is too
    much. With a comment (never a value) and the tags at fault."""

    def __init__(self, comment: str, *offending_elements: int, status: int = 0xA900) -> None:
        self.comment, self.offending_elements, self.status = comment, offending_elements, status
        super().__init__(comment)


@dataclass(frozen=True, slots=True)
class Query:
    """A checked Identifier: what an index is asked for."""

    model: Model
    level: Level
    keys: tuple[Key, ...] = ()
    """All supported keys, in the order of their tags; what a response returns."""
    unique: Mapping[Level, tuple[str, ...]] = field(default_factory=dict, repr=False)
    """The exact values that the unique key of a level may have; a level that is not here is not restricted."""
    unsupported: tuple[str, ...] = ()
    """Keys that are not kept (keywords, or tags for want of one): neither matched nor returned."""
    rules: Rules = BASELINE

    @property
    def tests(self) -> tuple[Key, ...]:
        """The keys that `unique` does not settle."""
        settled = {UNIQUE[level] for level in self.unique}
        return tuple(key for key in self.keys if key.keyword not in settled)


def find_query(identifier: Dataset, model: Model, rules: Rules = BASELINE) -> Query:
    """Check the Identifier of a C-FIND request (C.4.1.1.3.1, C.4.1.3.1); IdentifierError when it does not do."""
    level = _level(identifier, model)
    keys, unsupported = [], []
    for key in _keys(identifier, _SUPPORTED[level], 0xA700):
        if key.keyword in ANSWERED:
            keys.append(Key(key.keyword, key.vr))  # of a response that is asked with again, and no key
        elif key.keyword in _SUPPORTED[level]:
            _check_key(key, key.keyword)
            keys.append(key)
        elif key.keyword not in _NO_KEYS:
            unsupported.append(key.keyword)
    by_keyword = {key.keyword: key for key in keys}
    unique = {}
    for each in model.above(level):
        values = _given(by_keyword.get(UNIQUE[each]))
        if not rules.relational:
            _check_single(each, level, values)
        if _is_exact(each, values, rules):
            unique[each] = values
    values = _given(by_keyword.get(UNIQUE[level]))
    if _is_exact(level, values, rules):
        unique[level] = values
    return Query(model, level, tuple(keys), unique, tuple(unsupported), rules)


def retrieve_query(identifier: Dataset, model: Model, *, relational: bool = False) -> Query:
    """Check the Identifier of a C-GET or C-MOVE request (C.4.2.2.1, C.4.3.2.1): unique keys only, and one or more
    values of that of the level asked for (of Patient ID: one). Other attributes are ignored."""
    level = _level(identifier, model)
    by_keyword = {key.keyword: key for key in _keys(identifier, frozenset(UNIQUE.values()), 0xA701)}
    unique = {}
    for each in (*model.above(level), level):
        values = _given(by_keyword.get(UNIQUE[each]))
        if each == level != Level.PATIENT:
            if not values:
                raise _needed(each, level)
        elif not relational or each == level:
            _check_single(each, level, values)
        if values:
            unique[each] = values
    return Query(model, level, unique=unique)


def _keys(identifier: Dataset, wanted: Container[str], too_much: int) -> list[Key]:
    try:
        return _whole_ids(keys_of(identifier, wanted))
    except KeysRefused as error:
        raise IdentifierError(error.comment, error.tag, status=too_much if error.is_too_much else 0xA900) from None


def _level(identifier: Dataset, model: Model) -> Level:
    text = [value for value in decode_ascii(identifier, _LEVEL_TAG) if value]
    if len(text) != 1:
        raise IdentifierError("one Query/Retrieve Level is needed", _LEVEL_TAG)
    try:
        level = Level[text[0]]
    except KeyError:
        raise IdentifierError("not a Query/Retrieve Level that is served", _LEVEL_TAG) from None
    if level not in model.levels:
        raise IdentifierError(f"no {level.name} level in the {model.name} model", _LEVEL_TAG)
    return level


def _given(key: Key | None) -> tuple[str, ...]:
    return () if key is None else tuple(value for value in key.values if value)


def _whole_ids(keys: list[Key]) -> list[Key]:
    """Patient ID has one value, and a backslash in it ("DOMAIN\\name") is no delimiter: beside each of several values
    the whole text is looked for."""
    return [
        replace(key, values=(*key.values, "\\".join(key.values)))
        if key.keyword == UNIQUE[Level.PATIENT] and len(key.values) > 1
        else key
        for key in keys
    ]


def _is_exact(level: Level, values: tuple[str, ...], rules: Rules) -> bool:
    """Whether these values of the unique key of a level can be looked up. UIDs have no wild cards."""
    if level == Level.PATIENT and (
        any(map(has_wildcard, values)) or (rules.empty_value_matching and values == ('""',))
    ):
        return False
    return bool(values)


def _needed(unique: Level, level: Level) -> IdentifierError:
    return IdentifierError(
        f"{UNIQUE[unique]} is needed at the {level.name} level", tag_for_keyword(UNIQUE[unique]) or 0
    )


def _check_single(unique: Level, level: Level, values: tuple[str, ...]) -> None:
    if not values:
        raise _needed(unique, level)
    if len(values) > 1 or has_wildcard(values[0]):
        raise IdentifierError(f"{UNIQUE[unique]} must be a single value", tag_for_keyword(UNIQUE[unique]) or 0)


def _check_key(key: Key, root: str) -> None:
    """What can never match is said, rather than answered with nothing. root: the key as the Identifier names it."""
    if key.vr in RANGE_VRS:
        for value in _given(key):
            try:
                if value != '""':
                    parse_range(key.vr, value)
            except ValueError as error:
                raise IdentifierError(f"{key.keyword}: {error}"[:64], tag_for_keyword(root) or 0) from None
    for each in key.item:
        _check_key(each, root)
