"""SOP classes by their PS3.6 keywords: sop_class.Verification, sop_class.CTImageStorage.

Each is a str, the UID, with its service class, its DIMSE services and the SOP classes whose messages its presentation
contexts carry. This module defines those that are not storage; those of storage_sop_class.py are names of it too.

register() adds to a table of this module. This table is the only state of the library that does not belong to an
association or a server: the meaning of a private UID has to be the same in every association. Register at import time.
"""

from __future__ import annotations

from collections.abc import Collection

from aiodimse.standard.get_storage import RANKED as _RANKED
from aiodimse.standard.service_class import (
    APPLICATION_EVENT_LOGGING,
    BASIC_WORKLIST,
    COLOR_PALETTE,
    DEFINED_PROCEDURE_PROTOCOL,
    DISPLAY_SYSTEM,
    HANGING_PROTOCOL,
    IMPLANT_TEMPLATE,
    INSTANCE_AVAILABILITY,
    INVENTORY,
    MEDIA_CREATION,
    PRINT_MANAGEMENT,
    PROCEDURE_STEP,
    PROTOCOL_APPROVAL,
    QUERY_RETRIEVE,
    REAL_TIME_COMMUNICATION,
    RELEVANT_PATIENT_INFORMATION_QUERY,
    RETIRED,
    RT_MACHINE_VERIFICATION,
    STORAGE_COMMITMENT,
    STORAGE_MANAGEMENT,
    SUBSTANCE_ADMINISTRATION,
    VERIFICATION,
    ServiceClass,
)
from aiodimse.standard.service_class import STORAGE as STORAGE_SERVICE
from aiodimse.standard.service_class import UNIFIED_PROCEDURE_STEP as UPS
from aiodimse.standard.storage_sop_class import *  # noqa: F403 - every storage keyword is a name of this module
from aiodimse.standard.storage_sop_class import LATER
from aiodimse.standard.uid import SOPClass
from aiodimse.standard.values import has_leading_zero, is_uid

_FIND, _GET, _MOVE = "C-FIND", "C-GET", "C-MOVE"
_CREATE_SET_DELETE_ACTION = "N-CREATE N-SET N-DELETE N-ACTION"

# fmt: off
# Verification (PS3.4 A.4)
Verification: SOPClass = SOPClass("1.2.840.10008.1.1", VERIFICATION)

# Query/Retrieve (PS3.4 C.6, Y, Z)
PatientRootQueryRetrieveInformationModelFind: SOPClass      = SOPClass("1.2.840.10008.5.1.4.1.2.1.1", QUERY_RETRIEVE, _FIND)
PatientRootQueryRetrieveInformationModelMove: SOPClass      = SOPClass("1.2.840.10008.5.1.4.1.2.1.2", QUERY_RETRIEVE, _MOVE)
PatientRootQueryRetrieveInformationModelGet: SOPClass       = SOPClass("1.2.840.10008.5.1.4.1.2.1.3", QUERY_RETRIEVE, _GET)
StudyRootQueryRetrieveInformationModelFind: SOPClass        = SOPClass("1.2.840.10008.5.1.4.1.2.2.1", QUERY_RETRIEVE, _FIND)
StudyRootQueryRetrieveInformationModelMove: SOPClass        = SOPClass("1.2.840.10008.5.1.4.1.2.2.2", QUERY_RETRIEVE, _MOVE)
StudyRootQueryRetrieveInformationModelGet: SOPClass         = SOPClass("1.2.840.10008.5.1.4.1.2.2.3", QUERY_RETRIEVE, _GET)
PatientStudyOnlyQueryRetrieveInformationModelFind: SOPClass = SOPClass("1.2.840.10008.5.1.4.1.2.3.1", QUERY_RETRIEVE, _FIND)
PatientStudyOnlyQueryRetrieveInformationModelMove: SOPClass = SOPClass("1.2.840.10008.5.1.4.1.2.3.2", QUERY_RETRIEVE, _MOVE)
PatientStudyOnlyQueryRetrieveInformationModelGet: SOPClass  = SOPClass("1.2.840.10008.5.1.4.1.2.3.3", QUERY_RETRIEVE, _GET)
CompositeInstanceRootRetrieveMove: SOPClass                 = SOPClass("1.2.840.10008.5.1.4.1.2.4.2", QUERY_RETRIEVE, _MOVE)
CompositeInstanceRootRetrieveGet: SOPClass                  = SOPClass("1.2.840.10008.5.1.4.1.2.4.3", QUERY_RETRIEVE, _GET)
CompositeInstanceRetrieveWithoutBulkDataGet: SOPClass       = SOPClass("1.2.840.10008.5.1.4.1.2.5.3", QUERY_RETRIEVE, _GET)
RepositoryQuery: SOPClass                                   = SOPClass("1.2.840.10008.5.1.4.1.1.201.6", QUERY_RETRIEVE, _FIND)

# Basic Worklist Management (K.6)
ModalityWorklistInformationModelFind: SOPClass = SOPClass("1.2.840.10008.5.1.4.31", BASIC_WORKLIST, _FIND)

# Relevant Patient Information (Q.6)
GeneralRelevantPatientInformationQuery: SOPClass       = SOPClass("1.2.840.10008.5.1.4.37.1", RELEVANT_PATIENT_INFORMATION_QUERY)
BreastImagingRelevantPatientInformationQuery: SOPClass = SOPClass("1.2.840.10008.5.1.4.37.2", RELEVANT_PATIENT_INFORMATION_QUERY)
CardiacRelevantPatientInformationQuery: SOPClass       = SOPClass("1.2.840.10008.5.1.4.37.3", RELEVANT_PATIENT_INFORMATION_QUERY)

# Hanging Protocol (U.6)
HangingProtocolInformationModelFind: SOPClass = SOPClass("1.2.840.10008.5.1.4.38.2", HANGING_PROTOCOL, _FIND)
HangingProtocolInformationModelMove: SOPClass = SOPClass("1.2.840.10008.5.1.4.38.3", HANGING_PROTOCOL, _MOVE)
HangingProtocolInformationModelGet: SOPClass  = SOPClass("1.2.840.10008.5.1.4.38.4", HANGING_PROTOCOL, _GET)

# Substance Administration (V.6)
ProductCharacteristicsQuery: SOPClass = SOPClass("1.2.840.10008.5.1.4.41", SUBSTANCE_ADMINISTRATION, _FIND)
SubstanceApprovalQuery: SOPClass      = SOPClass("1.2.840.10008.5.1.4.42", SUBSTANCE_ADMINISTRATION, _FIND)

# Color Palette (X.6)
ColorPaletteQueryRetrieveInformationModelFind: SOPClass = SOPClass("1.2.840.10008.5.1.4.39.2", COLOR_PALETTE, _FIND)
ColorPaletteQueryRetrieveInformationModelMove: SOPClass = SOPClass("1.2.840.10008.5.1.4.39.3", COLOR_PALETTE, _MOVE)
ColorPaletteQueryRetrieveInformationModelGet: SOPClass  = SOPClass("1.2.840.10008.5.1.4.39.4", COLOR_PALETTE, _GET)

# Implant Template (BB.6)
GenericImplantTemplateInformationModelFind: SOPClass  = SOPClass("1.2.840.10008.5.1.4.43.2", IMPLANT_TEMPLATE, _FIND)
GenericImplantTemplateInformationModelMove: SOPClass  = SOPClass("1.2.840.10008.5.1.4.43.3", IMPLANT_TEMPLATE, _MOVE)
GenericImplantTemplateInformationModelGet: SOPClass   = SOPClass("1.2.840.10008.5.1.4.43.4", IMPLANT_TEMPLATE, _GET)
ImplantAssemblyTemplateInformationModelFind: SOPClass = SOPClass("1.2.840.10008.5.1.4.44.2", IMPLANT_TEMPLATE, _FIND)
ImplantAssemblyTemplateInformationModelMove: SOPClass = SOPClass("1.2.840.10008.5.1.4.44.3", IMPLANT_TEMPLATE, _MOVE)
ImplantAssemblyTemplateInformationModelGet: SOPClass  = SOPClass("1.2.840.10008.5.1.4.44.4", IMPLANT_TEMPLATE, _GET)
ImplantTemplateGroupInformationModelFind: SOPClass    = SOPClass("1.2.840.10008.5.1.4.45.2", IMPLANT_TEMPLATE, _FIND)
ImplantTemplateGroupInformationModelMove: SOPClass    = SOPClass("1.2.840.10008.5.1.4.45.3", IMPLANT_TEMPLATE, _MOVE)
ImplantTemplateGroupInformationModelGet: SOPClass     = SOPClass("1.2.840.10008.5.1.4.45.4", IMPLANT_TEMPLATE, _GET)

# Defined Procedure Protocol (HH.6)
DefinedProcedureProtocolInformationModelFind: SOPClass = SOPClass("1.2.840.10008.5.1.4.20.1", DEFINED_PROCEDURE_PROTOCOL, _FIND)
DefinedProcedureProtocolInformationModelMove: SOPClass = SOPClass("1.2.840.10008.5.1.4.20.2", DEFINED_PROCEDURE_PROTOCOL, _MOVE)
DefinedProcedureProtocolInformationModelGet: SOPClass  = SOPClass("1.2.840.10008.5.1.4.20.3", DEFINED_PROCEDURE_PROTOCOL, _GET)

# Protocol Approval (II.6)
ProtocolApprovalInformationModelFind: SOPClass = SOPClass("1.2.840.10008.5.1.4.1.1.200.4", PROTOCOL_APPROVAL, _FIND)
ProtocolApprovalInformationModelMove: SOPClass = SOPClass("1.2.840.10008.5.1.4.1.1.200.5", PROTOCOL_APPROVAL, _MOVE)
ProtocolApprovalInformationModelGet: SOPClass  = SOPClass("1.2.840.10008.5.1.4.1.1.200.6", PROTOCOL_APPROVAL, _GET)

# Inventory (JJ)
InventoryFind: SOPClass = SOPClass("1.2.840.10008.5.1.4.1.1.201.2", INVENTORY, _FIND)
InventoryMove: SOPClass = SOPClass("1.2.840.10008.5.1.4.1.1.201.3", INVENTORY, _MOVE)
InventoryGet: SOPClass  = SOPClass("1.2.840.10008.5.1.4.1.1.201.4", INVENTORY, _GET)

# Unified Procedure Step (CC.3). Every instance is of the Push class, whatever class the context is for (CC.3.1)
UnifiedProcedureStepPush: SOPClass  = SOPClass("1.2.840.10008.5.1.4.34.6.1", UPS, "N-CREATE N-ACTION N-GET")
UnifiedProcedureStepWatch: SOPClass = SOPClass("1.2.840.10008.5.1.4.34.6.2", UPS, "C-FIND N-ACTION N-GET")
UnifiedProcedureStepPull: SOPClass  = SOPClass("1.2.840.10008.5.1.4.34.6.3", UPS, "C-FIND N-ACTION N-GET N-SET")
UnifiedProcedureStepEvent: SOPClass = SOPClass("1.2.840.10008.5.1.4.34.6.4", UPS, "N-EVENT-REPORT")
UnifiedProcedureStepQuery: SOPClass = SOPClass("1.2.840.10008.5.1.4.34.6.5", UPS, _FIND)

# Modality Performed Procedure Step (F.7, F.8, F.9), Instance Availability Notification (R.3)
ModalityPerformedProcedureStep: SOPClass             = SOPClass("1.2.840.10008.3.1.2.3.3", PROCEDURE_STEP, "N-CREATE N-SET")
ModalityPerformedProcedureStepRetrieve: SOPClass     = SOPClass("1.2.840.10008.3.1.2.3.4", PROCEDURE_STEP, "N-GET")
ModalityPerformedProcedureStepNotification: SOPClass = SOPClass("1.2.840.10008.3.1.2.3.5", PROCEDURE_STEP, "N-EVENT-REPORT")
InstanceAvailabilityNotification: SOPClass           = SOPClass("1.2.840.10008.5.1.4.33", INSTANCE_AVAILABILITY)

# Storage Commitment (J.3), Storage Management (KK.2), Media Creation Management (S.3), Display System (EE.2)
StorageCommitmentPushModel: SOPClass = SOPClass("1.2.840.10008.1.20.1", STORAGE_COMMITMENT)
InventoryCreation: SOPClass          = SOPClass("1.2.840.10008.5.1.4.1.1.201.5", STORAGE_MANAGEMENT)
MediaCreationManagement: SOPClass    = SOPClass("1.2.840.10008.5.1.1.33", MEDIA_CREATION)
DisplaySystem: SOPClass              = SOPClass("1.2.840.10008.5.1.1.40", DISPLAY_SYSTEM)

# Application Event Logging (P.2), RT Machine Verification (DD.3)
ProceduralEventLogging: SOPClass            = SOPClass("1.2.840.10008.1.40", APPLICATION_EVENT_LOGGING)
SubstanceAdministrationLogging: SOPClass    = SOPClass("1.2.840.10008.1.42", APPLICATION_EVENT_LOGGING)
RTConventionalMachineVerification: SOPClass = SOPClass("1.2.840.10008.5.1.4.34.8", RT_MACHINE_VERIFICATION)
RTIonMachineVerification: SOPClass          = SOPClass("1.2.840.10008.5.1.4.34.9", RT_MACHINE_VERIFICATION)

# Print Management (H.4)
BasicFilmSession: SOPClass              = SOPClass("1.2.840.10008.5.1.1.1", PRINT_MANAGEMENT, _CREATE_SET_DELETE_ACTION)
BasicFilmBox: SOPClass                  = SOPClass("1.2.840.10008.5.1.1.2", PRINT_MANAGEMENT, _CREATE_SET_DELETE_ACTION)
BasicGrayscaleImageBox: SOPClass        = SOPClass("1.2.840.10008.5.1.1.4", PRINT_MANAGEMENT, "N-SET")
BasicColorImageBox: SOPClass            = SOPClass("1.2.840.10008.5.1.1.4.1", PRINT_MANAGEMENT, "N-SET")
PrintJob: SOPClass                      = SOPClass("1.2.840.10008.5.1.1.14", PRINT_MANAGEMENT, "N-GET N-EVENT-REPORT")
BasicAnnotationBox: SOPClass            = SOPClass("1.2.840.10008.5.1.1.15", PRINT_MANAGEMENT, "N-SET")
Printer: SOPClass                       = SOPClass("1.2.840.10008.5.1.1.16", PRINT_MANAGEMENT, "N-GET N-EVENT-REPORT")
PrinterConfigurationRetrieval: SOPClass = SOPClass("1.2.840.10008.5.1.1.16.376", PRINT_MANAGEMENT, "N-GET")
VOILUTBox: SOPClass                     = SOPClass("1.2.840.10008.5.1.1.22", PRINT_MANAGEMENT)
PresentationLUT: SOPClass               = SOPClass("1.2.840.10008.5.1.1.23", PRINT_MANAGEMENT, "N-CREATE N-DELETE")

# Meta SOP Classes of Print Management (H.3.2.2): one context carries the messages of all the classes that they list
_GRAYSCALE = (BasicFilmSession, BasicFilmBox, BasicGrayscaleImageBox, Printer)
_COLOR     = (BasicFilmSession, BasicFilmBox, BasicColorImageBox, Printer)
BasicGrayscalePrintManagementMeta: SOPClass = SOPClass("1.2.840.10008.5.1.1.9", PRINT_MANAGEMENT, carries=_GRAYSCALE)
BasicColorPrintManagementMeta: SOPClass     = SOPClass("1.2.840.10008.5.1.1.18", PRINT_MANAGEMENT, carries=_COLOR)

# Real-Time Communication (PS3.22) is not negotiated by association; the rows are here for their names
VideoEndoscopicImageRealTimeCommunication: SOPClass       = SOPClass("1.2.840.10008.10.1", REAL_TIME_COMMUNICATION)
VideoPhotographicImageRealTimeCommunication: SOPClass     = SOPClass("1.2.840.10008.10.2", REAL_TIME_COMMUNICATION)
AudioWaveformRealTimeCommunication: SOPClass              = SOPClass("1.2.840.10008.10.3", REAL_TIME_COMMUNICATION)
RenditionSelectionDocumentRealTimeCommunication: SOPClass = SOPClass("1.2.840.10008.10.4", REAL_TIME_COMMUNICATION)

# Retired. The classes that a retired Meta SOP Class carried are listed only where they are certain
BasicStudyContentNotification: SOPClass              = SOPClass("1.2.840.10008.1.9", RETIRED, retired=True)
StorageCommitmentPullModel: SOPClass                 = SOPClass("1.2.840.10008.1.20.2", STORAGE_COMMITMENT, retired=True)
DetachedPatientManagement: SOPClass                  = SOPClass("1.2.840.10008.3.1.2.1.1", RETIRED, retired=True)
DetachedPatientManagementMeta: SOPClass              = SOPClass("1.2.840.10008.3.1.2.1.4", RETIRED, retired=True)
DetachedVisitManagement: SOPClass                    = SOPClass("1.2.840.10008.3.1.2.2.1", RETIRED, retired=True)
DetachedStudyManagement: SOPClass                    = SOPClass("1.2.840.10008.3.1.2.3.1", RETIRED, retired=True)
StudyComponentManagement: SOPClass                   = SOPClass("1.2.840.10008.3.1.2.3.2", RETIRED, retired=True)
DetachedResultsManagement: SOPClass                  = SOPClass("1.2.840.10008.3.1.2.5.1", RETIRED, retired=True)
DetachedResultsManagementMeta: SOPClass              = SOPClass("1.2.840.10008.3.1.2.5.4", RETIRED, retired=True)
DetachedStudyManagementMeta: SOPClass                = SOPClass("1.2.840.10008.3.1.2.5.5", RETIRED, retired=True)
DetachedInterpretationManagement: SOPClass           = SOPClass("1.2.840.10008.3.1.2.6.1", RETIRED, retired=True)
ReferencedImageBox: SOPClass                         = SOPClass("1.2.840.10008.5.1.1.4.2", PRINT_MANAGEMENT, retired=True)
ReferencedGrayscalePrintManagementMeta: SOPClass     = SOPClass("1.2.840.10008.5.1.1.9.1", PRINT_MANAGEMENT, retired=True)
ReferencedColorPrintManagementMeta: SOPClass         = SOPClass("1.2.840.10008.5.1.1.18.1", PRINT_MANAGEMENT, retired=True)
ImageOverlayBox: SOPClass                            = SOPClass("1.2.840.10008.5.1.1.24", PRINT_MANAGEMENT, retired=True)
BasicPrintImageOverlayBox: SOPClass                  = SOPClass("1.2.840.10008.5.1.1.24.1", PRINT_MANAGEMENT, retired=True)
PrintQueueManagement: SOPClass                       = SOPClass("1.2.840.10008.5.1.1.26", PRINT_MANAGEMENT, retired=True)
PullPrintRequest: SOPClass                           = SOPClass("1.2.840.10008.5.1.1.31", PRINT_MANAGEMENT, retired=True)
PullStoredPrintManagementMeta: SOPClass              = SOPClass("1.2.840.10008.5.1.1.32", PRINT_MANAGEMENT, retired=True)
GeneralPurposeWorklistManagementMeta: SOPClass       = SOPClass("1.2.840.10008.5.1.4.32", RETIRED, retired=True)
GeneralPurposeWorklistInformationModelFind: SOPClass = SOPClass("1.2.840.10008.5.1.4.32.1", BASIC_WORKLIST, retired=True)
GeneralPurposeScheduledProcedureStep: SOPClass       = SOPClass("1.2.840.10008.5.1.4.32.2", RETIRED, retired=True)
GeneralPurposePerformedProcedureStep: SOPClass       = SOPClass("1.2.840.10008.5.1.4.32.3", RETIRED, retired=True)
RTConventionalMachineVerificationTrial: SOPClass     = SOPClass("1.2.840.10008.5.1.4.34.2", RETIRED, retired=True)
RTIonMachineVerificationTrial: SOPClass              = SOPClass("1.2.840.10008.5.1.4.34.3", RETIRED, retired=True)
UnifiedProcedureStepPushTrial: SOPClass              = SOPClass("1.2.840.10008.5.1.4.34.4.1", UPS, retired=True)
UnifiedProcedureStepWatchTrial: SOPClass             = SOPClass("1.2.840.10008.5.1.4.34.4.2", UPS, retired=True)
UnifiedProcedureStepPullTrial: SOPClass              = SOPClass("1.2.840.10008.5.1.4.34.4.3", UPS, retired=True)
UnifiedProcedureStepEventTrial: SOPClass             = SOPClass("1.2.840.10008.5.1.4.34.4.4", UPS, retired=True)
# fmt: on

# PS3.4 CC.3.1: DIMSE-N messages name the Push class. Some peers name the class of the context, which does no harm.
for _ups in (UnifiedProcedureStepPush, UnifiedProcedureStepWatch, UnifiedProcedureStepPull, UnifiedProcedureStepEvent):
    _ups.carries = tuple(dict.fromkeys((UnifiedProcedureStepPush, _ups)))
GeneralPurposeWorklistManagementMeta.carries = (
    GeneralPurposeWorklistInformationModelFind,
    GeneralPurposeScheduledProcedureStep,
    GeneralPurposePerformedProcedureStep,
)
for _retired in (
    PatientStudyOnlyQueryRetrieveInformationModelFind,
    PatientStudyOnlyQueryRetrieveInformationModelMove,
    PatientStudyOnlyQueryRetrieveInformationModelGet,
):
    _retired.retired = True

# --- the tables -------------------------------------------------------------------------------------------------------

_BY_UID: dict[str, SOPClass] = {}
for _name, _row in list(globals().items()):
    if isinstance(_row, SOPClass) and not _name.startswith("_"):
        _row.keyword = _name
        _BY_UID[_row] = _row

_STORAGE = tuple(row for row in _BY_UID.values() if "C-STORE" in row.commands)
STORAGE: tuple[SOPClass, ...] = tuple(row for row in _STORAGE if not row.retired and row not in LATER)
"""Every storage SOP class of PS3.6 2024c that is not retired: 185, with Media Storage Directory Storage."""
OTHER_STORAGE: tuple[SOPClass, ...] = tuple(row for row in _STORAGE if row.retired or row in LATER)
"""The storage SOP classes that STORAGE leaves out: retired ones, which old archives still hold, and later editions'."""
GET_STORAGE_RANKED: tuple[SOPClass, ...] = _RANKED
"""Storage SOP classes, the most common first: the order in which they fill a C-GET proposal (PS3.4 C.5.3)."""


def _with_only(command: str) -> tuple[SOPClass, ...]:
    # General Purpose Worklist is left out: the standard retired it in 2011, together with its statuses.
    return tuple(
        row
        for row in _BY_UID.values()
        if row.commands == {command} and row is not GeneralPurposeWorklistInformationModelFind
    )


QUERY_RETRIEVE_FIND: tuple[SOPClass, ...] = _with_only("C-FIND")
"""Every SOP class whose service is C-FIND alone. (UPS Pull and Watch answer C-FIND among other services.)"""
QUERY_RETRIEVE_GET: tuple[SOPClass, ...] = _with_only("C-GET")
"""Every SOP class whose service is C-GET."""
QUERY_RETRIEVE_MOVE: tuple[SOPClass, ...] = _with_only("C-MOVE")
"""Every SOP class whose service is C-MOVE."""


def lookup(uid: str) -> SOPClass | None:
    """Return the row of a SOP Class UID; None where the UID is neither standard nor registered.

    Args:
        uid: The UID.
    """
    return _BY_UID.get(uid)


def known(command: str | None = None, service_class: ServiceClass | None = None) -> tuple[SOPClass, ...]:
    """Return the rows of all SOP classes, registered ones included, or a selection of them.

    Args:
        command: Only SOP classes with this DIMSE service, as in "C-FIND"; None: with any.
        service_class: Only SOP classes of this service class; None: of any.
    """
    return tuple(
        row
        for row in _BY_UID.values()
        if (command is None or command in row.commands)
        and (service_class is None or row.service_class == service_class)
    )


def register(
    uid: str,
    keyword: str | None = None,
    *,
    service_class: ServiceClass = STORAGE_SERVICE,
    commands: Collection[str] = (),
) -> SOPClass:
    """Add a private SOP class, and return its row. A second registration of the same row has no effect.

    Args:
        uid: The UID of the SOP class.
        keyword: Its name in logs and errors; None: the UID.
        service_class: Its service class; by default Storage.
        commands: Its DIMSE services, as in "C-STORE"; empty: those of the service class.

    Returns:
        The row. It is a str, the UID.

    Raises:
        ValueError: The UID is not valid (PS3.5 9.1), or already has a different row.
    """
    if not is_uid(uid) or has_leading_zero(uid):
        raise ValueError(f"not a UID: {uid!r}")
    row = SOPClass(uid, service_class, frozenset(commands))
    row.keyword = keyword or str(uid)
    known_row = _BY_UID.setdefault(uid, row)
    if (known_row.keyword, known_row.service_class, known_row.commands) != (row.keyword, service_class, row.commands):
        raise ValueError(f"{uid} is {known_row.keyword} of {known_row.service_class}")
    return known_row
