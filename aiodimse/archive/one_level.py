"""Information models with one level, without patient and study: one row each.

Keys of type "-" in the tables of PS3.4 are only returned and never matched. Any other key inside a sequence is matched
and returned if the stored item has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from aiodimse import sop_class as s

_OF_CODES = ("CodeMeaning", "CodingSchemeVersion")
"""What no code is found by: its value and its scheme identify it (PS3.4 Table U.6-1 and the others)."""


@dataclass(frozen=True, slots=True)
class OneLevelModel:
    """An information model of one level."""

    name: str
    section: str
    """The table or section that defines its keys."""
    find: str
    move: str
    get: str
    storage: tuple[str, ...]
    """The SOP classes of its objects."""
    matched: tuple[str, ...]
    """Keys that are matched and returned, apart from SOP Class UID and SOP Instance UID."""
    returned: tuple[str, ...] = ()
    """Keys that are only returned, with everything in them."""
    returned_inside: tuple[str, ...] = _OF_CODES
    """Keys inside sequences that are only returned."""

    @property
    def keywords(self) -> tuple[str, ...]:
        """All attributes that are kept of an object."""
        return ("SOPClassUID", "SOPInstanceUID", *self.matched, *self.returned)


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


MODELS: tuple[OneLevelModel, ...] = (
    OneLevelModel(
        "hanging-protocol", "PS3.4 Table U.6-1",
        s.HangingProtocolInformationModelFind, s.HangingProtocolInformationModelMove,
        s.HangingProtocolInformationModelGet, (s.HangingProtocolStorage,),
        _words("HangingProtocolName HangingProtocolLevel HangingProtocolDefinitionSequence NumberOfPriorsReferenced"
               " HangingProtocolUserIdentificationCodeSequence HangingProtocolUserGroupName NumberOfScreens"),
        _words("HangingProtocolDescription HangingProtocolCreator HangingProtocolCreationDateTime"
               " NominalScreenDefinitionSequence"),
    ),
    OneLevelModel(
        "generic-implant-template", "PS3.4 Table BB.6-1",
        s.GenericImplantTemplateInformationModelFind, s.GenericImplantTemplateInformationModelMove,
        s.GenericImplantTemplateInformationModelGet, (s.GenericImplantTemplateStorage,),
        _words("Manufacturer ImplantName ImplantSize ImplantPartNumber ReplacedImplantTemplateSequence"
               " DerivationImplantTemplateSequence OriginalImplantTemplateSequence EffectiveDateTime"
               " ImplantTargetAnatomySequence ImplantRegulatoryDisapprovalCodeSequence MaterialsCodeSequence"
               " CoatingMaterialsCodeSequence"),
    ),
    OneLevelModel(
        "implant-assembly-template", "PS3.4 Table BB.6-2",
        s.ImplantAssemblyTemplateInformationModelFind, s.ImplantAssemblyTemplateInformationModelMove,
        s.ImplantAssemblyTemplateInformationModelGet, (s.ImplantAssemblyTemplateStorage,),
        _words("ImplantAssemblyTemplateName Manufacturer ProcedureTypeCodeSequence"
               " ReplacedImplantAssemblyTemplateSequence OriginalImplantAssemblyTemplateSequence"
               " DerivationImplantAssemblyTemplateSequence SurgicalTechnique"),
    ),
    OneLevelModel(
        "implant-template-group", "PS3.4 Table BB.6-3",
        s.ImplantTemplateGroupInformationModelFind, s.ImplantTemplateGroupInformationModelMove,
        s.ImplantTemplateGroupInformationModelGet, (s.ImplantTemplateGroupStorage,),
        _words("ImplantTemplateGroupName ImplantTemplateGroupIssuer EffectiveDateTime"
               " ReplacedImplantTemplateGroupSequence"),
        _words("ImplantTemplateGroupDescription"),
    ),
    OneLevelModel(
        "defined-procedure-protocol", "PS3.4 Table HH.6-1",
        s.DefinedProcedureProtocolInformationModelFind, s.DefinedProcedureProtocolInformationModelMove,
        s.DefinedProcedureProtocolInformationModelGet,
        (s.CTDefinedProcedureProtocolStorage, s.XADefinedProcedureProtocolStorage),
        _words("CustodialOrganizationSequence ResponsibleGroupCodeSequence ProtocolName"
               " PotentialScheduledProtocolCodeSequence PotentialRequestedProcedureCodeSequence"
               " PotentialReasonsForProcedureCodeSequence PredecessorProtocolSequence ContentCreatorName"
               " InstanceCreationDate InstanceCreationTime ClinicalTrialSponsorName ClinicalTrialProtocolID"
               " EquipmentModality ModelSpecificationSequence AnatomicRegionSequence"
               " PrimaryAnatomicStructureSequence"),
        _words("PotentialReasonsForProcedure PotentialDiagnosticTasks"),
        (*_OF_CODES, "DeviceSerialNumber"),
    ),
    OneLevelModel(
        "color-palette", "PS3.4 Table X.6-1",
        s.ColorPaletteQueryRetrieveInformationModelFind, s.ColorPaletteQueryRetrieveInformationModelMove,
        s.ColorPaletteQueryRetrieveInformationModelGet, (s.ColorPaletteStorage,),
        _words("ContentLabel"),
        _words("ContentDescription ContentCreatorName AlternateContentDescriptionSequence"),
    ),
    OneLevelModel(
        "protocol-approval", "PS3.4 Table II.6-1",
        s.ProtocolApprovalInformationModelFind, s.ProtocolApprovalInformationModelMove,
        s.ProtocolApprovalInformationModelGet, (s.ProtocolApprovalStorage,),
        _words("InstanceCreationDate InstanceCreationTime ApprovalSubjectSequence ApprovalSequence"),
        returned_inside=(*_OF_CODES, "AssertionUID", "AssertionComments"),
    ),
    OneLevelModel(
        "inventory", "PS3.4 JJ.2",
        s.InventoryFind, s.InventoryMove, s.InventoryGet, (s.InventoryStorage,),
        _words("ContentDate ContentTime InventoryPurpose InventoryInstanceDescription InventoryLevel"
               " ScopeOfInventorySequence InventoryCompletionStatus NumberOfStudyRecordsInInstance"
               " TotalNumberOfStudyRecords TransactionUID"),
    ),
)  # fmt: skip

BY_STORAGE: Mapping[str, OneLevelModel] = {str(uid): model for model in MODELS for uid in model.storage}
"""The model of each storage SOP class."""
BY_NAME: Mapping[str, OneLevelModel] = {model.name: model for model in MODELS}
