"""The information models of --model: one row each, with levels, SOP classes and the attributes that find shows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from pydicom.datadict import tag_for_keyword

from aiodimse import sop_class as s
from aiodimse.cli.identifier import Key
from aiodimse.standard.uid import SOPClass

LEVELS = ("PATIENT", "STUDY", "SERIES", "IMAGE")
FRAME = "FRAME"
"""The level below, which only Composite Instance Root Retrieve has (PS3.4 Y.3)."""


@dataclass(frozen=True, slots=True)
class Model:
    """An information model, as --model names it."""

    name: str
    find: SOPClass | None = None
    get: SOPClass | None = None
    move: SOPClass | None = None
    levels: tuple[str, ...] = ()
    """Its Query/Retrieve Levels, from the top. Empty: its Identifier has no level."""
    columns: tuple[str, ...] = ("SOPClassUID", "SOPInstanceUID")
    """The attributes that find asks for by default. A model with levels uses LEVEL_COLUMNS instead."""
    always: tuple[str, ...] = ()
    """The attributes that find asks for whatever the user names. They are not shown unless the user names them."""
    inside: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """The attributes that -k may name without their sequence, and that sequence."""

    def level(self, asked: str | None) -> str | None:
        """Return the level of the Identifier: STUDY by default if the model has it, None in a model without levels.

        Raises:
            ValueError: The model has no such level.
        """
        if asked is None:
            return "STUDY" if "STUDY" in self.levels else next(iter(self.levels), None)
        if not self.levels:
            raise ValueError(f"the model {self.name} has no levels")
        if asked in self.levels:
            return asked
        other = "; --model patient has" if asked == "PATIENT" else ""
        raise ValueError(f"the model {self.name} has no {asked} level, but {', '.join(self.levels)}{other}")

    def asked_for(self, level: str | None) -> tuple[str, ...]:
        """Return the attributes that find asks for if the user names none."""
        return self.columns if level is None else LEVEL_COLUMNS[level]

    def completed(self, key: Key) -> Key:
        """Return the key with its sequence, if the model has the attribute in one and -k named the attribute alone."""
        sequence = self.inside.get(key.name)
        if sequence is None:
            return key
        return Key(f"{sequence}.{key.name}", (int(tag_for_keyword(sequence) or 0), *key.path), key.value)


LEVEL_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "PATIENT": ("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    "STUDY": (
        "PatientName", "PatientID", "StudyDate", "ModalitiesInStudy", "StudyDescription",
        "NumberOfStudyRelatedInstances", "StudyInstanceUID",
    ),
    "SERIES": (
        "Modality", "SeriesNumber", "SeriesDescription", "NumberOfSeriesRelatedInstances", "SeriesInstanceUID",
    ),
    "IMAGE": ("InstanceNumber", "SOPClassUID", "SOPInstanceUID"),
}  # fmt: skip

_STEP = "ScheduledProcedureStepSequence"
_IN_STEP = (
    "Modality", "ScheduledStationAETitle", "ScheduledStationName", "ScheduledProcedureStepLocation",
    "ScheduledProcedureStepStartDate", "ScheduledProcedureStepStartTime", "ScheduledPerformingPhysicianName",
    "ScheduledProcedureStepDescription", "ScheduledProcedureStepID", "ScheduledProcedureStepStatus",
)  # fmt: skip
"""Attributes that the worklist has only inside the sequence (PS3.4 Table K.6-1)."""
_PATIENT = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex")

# fmt: off
_ROWS = (
    Model("patient",
          s.PatientRootQueryRetrieveInformationModelFind, s.PatientRootQueryRetrieveInformationModelGet,
          s.PatientRootQueryRetrieveInformationModelMove, LEVELS),
    Model("study",
          s.StudyRootQueryRetrieveInformationModelFind, s.StudyRootQueryRetrieveInformationModelGet,
          s.StudyRootQueryRetrieveInformationModelMove, LEVELS[1:]),
    Model("patient-study",
          s.PatientStudyOnlyQueryRetrieveInformationModelFind, s.PatientStudyOnlyQueryRetrieveInformationModelGet,
          s.PatientStudyOnlyQueryRetrieveInformationModelMove, LEVELS[:2]),
    Model("repository", find=s.RepositoryQuery, levels=LEVELS[1:], always=("RecordKey",)),
    Model("composite-instance", get=s.CompositeInstanceRootRetrieveGet,
          move=s.CompositeInstanceRootRetrieveMove, levels=(*LEVELS[3:], FRAME)),
    Model("without-bulk-data", get=s.CompositeInstanceRetrieveWithoutBulkDataGet, levels=LEVELS[3:]),
    Model("worklist", find=s.ModalityWorklistInformationModelFind,
          columns=("ScheduledProcedureStepStartDate", "ScheduledProcedureStepStartTime", "Modality",
                   "ScheduledStationAETitle", "PatientName", "PatientID", "AccessionNumber", "RequestedProcedureID"),
          inside=MappingProxyType(dict.fromkeys(_IN_STEP, _STEP))),
    Model("unified-procedure-step", find=s.UnifiedProcedureStepQuery,
          columns=("ScheduledProcedureStepStartDateTime", "ProcedureStepLabel", "WorklistLabel", "ProcedureStepState",
                   "PatientName", "PatientID", "SOPInstanceUID")),
    Model("relevant-patient", find=s.GeneralRelevantPatientInformationQuery, columns=_PATIENT),
    Model("relevant-patient-breast", find=s.BreastImagingRelevantPatientInformationQuery, columns=_PATIENT),
    Model("relevant-patient-cardiac", find=s.CardiacRelevantPatientInformationQuery, columns=_PATIENT),
    Model("product-characteristics", find=s.ProductCharacteristicsQuery,
          columns=("ProductPackageIdentifier", "Manufacturer", "ProductName", "ProductLotIdentifier")),
    Model("substance-approval", find=s.SubstanceApprovalQuery,
          columns=("PatientID", "ProductPackageIdentifier", "SubstanceAdministrationApproval")),
    Model("hanging-protocol", s.HangingProtocolInformationModelFind, s.HangingProtocolInformationModelGet,
          s.HangingProtocolInformationModelMove),
    Model("generic-implant-template", s.GenericImplantTemplateInformationModelFind,
          s.GenericImplantTemplateInformationModelGet, s.GenericImplantTemplateInformationModelMove),
    Model("implant-assembly-template", s.ImplantAssemblyTemplateInformationModelFind,
          s.ImplantAssemblyTemplateInformationModelGet, s.ImplantAssemblyTemplateInformationModelMove),
    Model("implant-template-group", s.ImplantTemplateGroupInformationModelFind,
          s.ImplantTemplateGroupInformationModelGet, s.ImplantTemplateGroupInformationModelMove),
    Model("defined-procedure-protocol", s.DefinedProcedureProtocolInformationModelFind,
          s.DefinedProcedureProtocolInformationModelGet, s.DefinedProcedureProtocolInformationModelMove),
    Model("color-palette", s.ColorPaletteQueryRetrieveInformationModelFind,
          s.ColorPaletteQueryRetrieveInformationModelGet, s.ColorPaletteQueryRetrieveInformationModelMove),
    Model("protocol-approval", s.ProtocolApprovalInformationModelFind,
          s.ProtocolApprovalInformationModelGet, s.ProtocolApprovalInformationModelMove),
    Model("inventory", s.InventoryFind, s.InventoryGet, s.InventoryMove),
)
# fmt: on

MODELS: Mapping[str, Model] = {row.name: row for row in _ROWS}
"""Every model of the library, by the name that --model takes."""
