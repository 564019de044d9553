"""Storage SOP classes (PS3.4 B.5, GG.3, PS3.6 A), by what they hold. sop_class.py gives them their keywords.

Everything without an underscore is a name of aiodimse.sop_class too.
"""

from __future__ import annotations

from aiodimse.standard import service_class as _service
from aiodimse.standard.uid import SOPClass


def _storage(uid: str) -> SOPClass:
    return SOPClass(uid, _service.STORAGE)


def _object(uid: str) -> SOPClass:
    return SOPClass(uid, _service.NON_PATIENT_OBJECT)


def _retired(uid: str) -> SOPClass:
    return SOPClass(uid, _service.STORAGE, retired=True)


# fmt: off
# CT, MR, PET, nuclear medicine, ultrasound
CTImageStorage                                                     = _storage("1.2.840.10008.5.1.4.1.1.2")
EnhancedCTImageStorage                                             = _storage("1.2.840.10008.5.1.4.1.1.2.1")
LegacyConvertedEnhancedCTImageStorage                              = _storage("1.2.840.10008.5.1.4.1.1.2.2")
UltrasoundMultiFrameImageStorage                                   = _storage("1.2.840.10008.5.1.4.1.1.3.1")
MRImageStorage                                                     = _storage("1.2.840.10008.5.1.4.1.1.4")
EnhancedMRImageStorage                                             = _storage("1.2.840.10008.5.1.4.1.1.4.1")
MRSpectroscopyStorage                                              = _storage("1.2.840.10008.5.1.4.1.1.4.2")
EnhancedMRColorImageStorage                                        = _storage("1.2.840.10008.5.1.4.1.1.4.3")
LegacyConvertedEnhancedMRImageStorage                              = _storage("1.2.840.10008.5.1.4.1.1.4.4")
UltrasoundImageStorage                                             = _storage("1.2.840.10008.5.1.4.1.1.6.1")
EnhancedUSVolumeStorage                                            = _storage("1.2.840.10008.5.1.4.1.1.6.2")
PhotoacousticImageStorage                                          = _storage("1.2.840.10008.5.1.4.1.1.6.3")
NuclearMedicineImageStorage                                        = _storage("1.2.840.10008.5.1.4.1.1.20")
PositronEmissionTomographyImageStorage                             = _storage("1.2.840.10008.5.1.4.1.1.128")
LegacyConvertedEnhancedPETImageStorage                             = _storage("1.2.840.10008.5.1.4.1.1.128.1")
EnhancedPETImageStorage                                            = _storage("1.2.840.10008.5.1.4.1.1.130")

# Projection radiography, angiography, breast
ComputedRadiographyImageStorage                                    = _storage("1.2.840.10008.5.1.4.1.1.1")
DigitalXRayImageStorageForPresentation                             = _storage("1.2.840.10008.5.1.4.1.1.1.1")
DigitalXRayImageStorageForProcessing                               = _storage("1.2.840.10008.5.1.4.1.1.1.1.1")
DigitalMammographyXRayImageStorageForPresentation                  = _storage("1.2.840.10008.5.1.4.1.1.1.2")
DigitalMammographyXRayImageStorageForProcessing                    = _storage("1.2.840.10008.5.1.4.1.1.1.2.1")
DigitalIntraOralXRayImageStorageForPresentation                    = _storage("1.2.840.10008.5.1.4.1.1.1.3")
DigitalIntraOralXRayImageStorageForProcessing                      = _storage("1.2.840.10008.5.1.4.1.1.1.3.1")
XRayAngiographicImageStorage                                       = _storage("1.2.840.10008.5.1.4.1.1.12.1")
EnhancedXAImageStorage                                             = _storage("1.2.840.10008.5.1.4.1.1.12.1.1")
XRayRadiofluoroscopicImageStorage                                  = _storage("1.2.840.10008.5.1.4.1.1.12.2")
EnhancedXRFImageStorage                                            = _storage("1.2.840.10008.5.1.4.1.1.12.2.1")
XRay3DAngiographicImageStorage                                     = _storage("1.2.840.10008.5.1.4.1.1.13.1.1")
XRay3DCraniofacialImageStorage                                     = _storage("1.2.840.10008.5.1.4.1.1.13.1.2")
BreastTomosynthesisImageStorage                                    = _storage("1.2.840.10008.5.1.4.1.1.13.1.3")
BreastProjectionXRayImageStorageForPresentation                    = _storage("1.2.840.10008.5.1.4.1.1.13.1.4")
BreastProjectionXRayImageStorageForProcessing                      = _storage("1.2.840.10008.5.1.4.1.1.13.1.5")

# Optical coherence tomography
IntravascularOpticalCoherenceTomographyImageStorageForPresentation = _storage("1.2.840.10008.5.1.4.1.1.14.1")
IntravascularOpticalCoherenceTomographyImageStorageForProcessing   = _storage("1.2.840.10008.5.1.4.1.1.14.2")

# Secondary capture
SecondaryCaptureImageStorage                                       = _storage("1.2.840.10008.5.1.4.1.1.7")
MultiFrameSingleBitSecondaryCaptureImageStorage                    = _storage("1.2.840.10008.5.1.4.1.1.7.1")
MultiFrameGrayscaleByteSecondaryCaptureImageStorage                = _storage("1.2.840.10008.5.1.4.1.1.7.2")
MultiFrameGrayscaleWordSecondaryCaptureImageStorage                = _storage("1.2.840.10008.5.1.4.1.1.7.3")
MultiFrameTrueColorSecondaryCaptureImageStorage                    = _storage("1.2.840.10008.5.1.4.1.1.7.4")

# Visible light, ophthalmology, microscopy
VLEndoscopicImageStorage                                           = _storage("1.2.840.10008.5.1.4.1.1.77.1.1")
VideoEndoscopicImageStorage                                        = _storage("1.2.840.10008.5.1.4.1.1.77.1.1.1")
VLMicroscopicImageStorage                                          = _storage("1.2.840.10008.5.1.4.1.1.77.1.2")
VideoMicroscopicImageStorage                                       = _storage("1.2.840.10008.5.1.4.1.1.77.1.2.1")
VLSlideCoordinatesMicroscopicImageStorage                          = _storage("1.2.840.10008.5.1.4.1.1.77.1.3")
VLPhotographicImageStorage                                         = _storage("1.2.840.10008.5.1.4.1.1.77.1.4")
VideoPhotographicImageStorage                                      = _storage("1.2.840.10008.5.1.4.1.1.77.1.4.1")
OphthalmicPhotography8BitImageStorage                              = _storage("1.2.840.10008.5.1.4.1.1.77.1.5.1")
OphthalmicPhotography16BitImageStorage                             = _storage("1.2.840.10008.5.1.4.1.1.77.1.5.2")
StereometricRelationshipStorage                                    = _storage("1.2.840.10008.5.1.4.1.1.77.1.5.3")
OphthalmicTomographyImageStorage                                   = _storage("1.2.840.10008.5.1.4.1.1.77.1.5.4")
WideFieldOphthalmicPhotographyStereographicProjectionImageStorage  = _storage("1.2.840.10008.5.1.4.1.1.77.1.5.5")
WideFieldOphthalmicPhotography3DCoordinatesImageStorage            = _storage("1.2.840.10008.5.1.4.1.1.77.1.5.6")
OphthalmicOpticalCoherenceTomographyEnFaceImageStorage             = _storage("1.2.840.10008.5.1.4.1.1.77.1.5.7")
OphthalmicOpticalCoherenceTomographyBscanVolumeAnalysisStorage     = _storage("1.2.840.10008.5.1.4.1.1.77.1.5.8")
VLWholeSlideMicroscopyImageStorage                                 = _storage("1.2.840.10008.5.1.4.1.1.77.1.6")
DermoscopicPhotographyImageStorage                                 = _storage("1.2.840.10008.5.1.4.1.1.77.1.7")
ConfocalMicroscopyImageStorage                                     = _storage("1.2.840.10008.5.1.4.1.1.77.1.8")
ConfocalMicroscopyTiledPyramidalImageStorage                       = _storage("1.2.840.10008.5.1.4.1.1.77.1.9")
LensometryMeasurementsStorage                                      = _storage("1.2.840.10008.5.1.4.1.1.78.1")
AutorefractionMeasurementsStorage                                  = _storage("1.2.840.10008.5.1.4.1.1.78.2")
KeratometryMeasurementsStorage                                     = _storage("1.2.840.10008.5.1.4.1.1.78.3")
SubjectiveRefractionMeasurementsStorage                            = _storage("1.2.840.10008.5.1.4.1.1.78.4")
VisualAcuityMeasurementsStorage                                    = _storage("1.2.840.10008.5.1.4.1.1.78.5")
SpectaclePrescriptionReportStorage                                 = _storage("1.2.840.10008.5.1.4.1.1.78.6")
OphthalmicAxialMeasurementsStorage                                 = _storage("1.2.840.10008.5.1.4.1.1.78.7")
IntraocularLensCalculationsStorage                                 = _storage("1.2.840.10008.5.1.4.1.1.78.8")
MacularGridThicknessAndVolumeReportStorage                         = _storage("1.2.840.10008.5.1.4.1.1.79.1")
OphthalmicVisualFieldStaticPerimetryMeasurementsStorage            = _storage("1.2.840.10008.5.1.4.1.1.80.1")
OphthalmicThicknessMapStorage                                      = _storage("1.2.840.10008.5.1.4.1.1.81.1")
CornealTopographyMapStorage                                        = _storage("1.2.840.10008.5.1.4.1.1.82.1")

# Waveforms
GeneralECGWaveformStorage                                          = _storage("1.2.840.10008.5.1.4.1.1.9.1.2")
TwelveLeadECGWaveformStorage                                       = _storage("1.2.840.10008.5.1.4.1.1.9.1.1")
AmbulatoryECGWaveformStorage                                       = _storage("1.2.840.10008.5.1.4.1.1.9.1.3")
General32bitECGWaveformStorage                                     = _storage("1.2.840.10008.5.1.4.1.1.9.1.4")
HemodynamicWaveformStorage                                         = _storage("1.2.840.10008.5.1.4.1.1.9.2.1")
CardiacElectrophysiologyWaveformStorage                            = _storage("1.2.840.10008.5.1.4.1.1.9.3.1")
BasicVoiceAudioWaveformStorage                                     = _storage("1.2.840.10008.5.1.4.1.1.9.4.1")
GeneralAudioWaveformStorage                                        = _storage("1.2.840.10008.5.1.4.1.1.9.4.2")
ArterialPulseWaveformStorage                                       = _storage("1.2.840.10008.5.1.4.1.1.9.5.1")
RespiratoryWaveformStorage                                         = _storage("1.2.840.10008.5.1.4.1.1.9.6.1")
MultichannelRespiratoryWaveformStorage                             = _storage("1.2.840.10008.5.1.4.1.1.9.6.2")
RoutineScalpElectroencephalogramWaveformStorage                    = _storage("1.2.840.10008.5.1.4.1.1.9.7.1")
ElectromyogramWaveformStorage                                      = _storage("1.2.840.10008.5.1.4.1.1.9.7.2")
ElectrooculogramWaveformStorage                                    = _storage("1.2.840.10008.5.1.4.1.1.9.7.3")
SleepElectroencephalogramWaveformStorage                           = _storage("1.2.840.10008.5.1.4.1.1.9.7.4")
BodyPositionWaveformStorage                                        = _storage("1.2.840.10008.5.1.4.1.1.9.8.1")

# Presentation states and structured displays
GrayscaleSoftcopyPresentationStateStorage                          = _storage("1.2.840.10008.5.1.4.1.1.11.1")
ColorSoftcopyPresentationStateStorage                              = _storage("1.2.840.10008.5.1.4.1.1.11.2")
PseudoColorSoftcopyPresentationStateStorage                        = _storage("1.2.840.10008.5.1.4.1.1.11.3")
BlendingSoftcopyPresentationStateStorage                           = _storage("1.2.840.10008.5.1.4.1.1.11.4")
XAXRFGrayscaleSoftcopyPresentationStateStorage                     = _storage("1.2.840.10008.5.1.4.1.1.11.5")
GrayscalePlanarMPRVolumetricPresentationStateStorage               = _storage("1.2.840.10008.5.1.4.1.1.11.6")
CompositingPlanarMPRVolumetricPresentationStateStorage             = _storage("1.2.840.10008.5.1.4.1.1.11.7")
AdvancedBlendingPresentationStateStorage                           = _storage("1.2.840.10008.5.1.4.1.1.11.8")
VolumeRenderingVolumetricPresentationStateStorage                  = _storage("1.2.840.10008.5.1.4.1.1.11.9")
SegmentedVolumeRenderingVolumetricPresentationStateStorage         = _storage("1.2.840.10008.5.1.4.1.1.11.10")
MultipleVolumeRenderingVolumetricPresentationStateStorage          = _storage("1.2.840.10008.5.1.4.1.1.11.11")
VariableModalityLUTSoftcopyPresentationStateStorage                = _storage("1.2.840.10008.5.1.4.1.1.11.12")
BasicStructuredDisplayStorage                                      = _storage("1.2.840.10008.5.1.4.1.1.131")

# Registrations, segmentations, maps, surfaces, tracts, raw data, assessments
ParametricMapStorage                                               = _storage("1.2.840.10008.5.1.4.1.1.30")
RawDataStorage                                                     = _storage("1.2.840.10008.5.1.4.1.1.66")
SpatialRegistrationStorage                                         = _storage("1.2.840.10008.5.1.4.1.1.66.1")
SpatialFiducialsStorage                                            = _storage("1.2.840.10008.5.1.4.1.1.66.2")
DeformableSpatialRegistrationStorage                               = _storage("1.2.840.10008.5.1.4.1.1.66.3")
SegmentationStorage                                                = _storage("1.2.840.10008.5.1.4.1.1.66.4")
SurfaceSegmentationStorage                                         = _storage("1.2.840.10008.5.1.4.1.1.66.5")
TractographyResultsStorage                                         = _storage("1.2.840.10008.5.1.4.1.1.66.6")
RealWorldValueMappingStorage                                       = _storage("1.2.840.10008.5.1.4.1.1.67")
SurfaceScanMeshStorage                                             = _storage("1.2.840.10008.5.1.4.1.1.68.1")
SurfaceScanPointCloudStorage                                       = _storage("1.2.840.10008.5.1.4.1.1.68.2")
ContentAssessmentResultsStorage                                    = _storage("1.2.840.10008.5.1.4.1.1.90.1")

# Structured reports, encapsulated documents
BasicTextSRStorage                                                 = _storage("1.2.840.10008.5.1.4.1.1.88.11")
EnhancedSRStorage                                                  = _storage("1.2.840.10008.5.1.4.1.1.88.22")
ComprehensiveSRStorage                                             = _storage("1.2.840.10008.5.1.4.1.1.88.33")
Comprehensive3DSRStorage                                           = _storage("1.2.840.10008.5.1.4.1.1.88.34")
ExtensibleSRStorage                                                = _storage("1.2.840.10008.5.1.4.1.1.88.35")
ProcedureLogStorage                                                = _storage("1.2.840.10008.5.1.4.1.1.88.40")
MammographyCADSRStorage                                            = _storage("1.2.840.10008.5.1.4.1.1.88.50")
KeyObjectSelectionDocumentStorage                                  = _storage("1.2.840.10008.5.1.4.1.1.88.59")
ChestCADSRStorage                                                  = _storage("1.2.840.10008.5.1.4.1.1.88.65")
XRayRadiationDoseSRStorage                                         = _storage("1.2.840.10008.5.1.4.1.1.88.67")
RadiopharmaceuticalRadiationDoseSRStorage                          = _storage("1.2.840.10008.5.1.4.1.1.88.68")
ColonCADSRStorage                                                  = _storage("1.2.840.10008.5.1.4.1.1.88.69")
ImplantationPlanSRStorage                                          = _storage("1.2.840.10008.5.1.4.1.1.88.70")
AcquisitionContextSRStorage                                        = _storage("1.2.840.10008.5.1.4.1.1.88.71")
SimplifiedAdultEchoSRStorage                                       = _storage("1.2.840.10008.5.1.4.1.1.88.72")
PatientRadiationDoseSRStorage                                      = _storage("1.2.840.10008.5.1.4.1.1.88.73")
PlannedImagingAgentAdministrationSRStorage                         = _storage("1.2.840.10008.5.1.4.1.1.88.74")
PerformedImagingAgentAdministrationSRStorage                       = _storage("1.2.840.10008.5.1.4.1.1.88.75")
EnhancedXRayRadiationDoseSRStorage                                 = _storage("1.2.840.10008.5.1.4.1.1.88.76")
WaveformAnnotationSRStorage                                        = _storage("1.2.840.10008.5.1.4.1.1.88.77")
EncapsulatedPDFStorage                                             = _storage("1.2.840.10008.5.1.4.1.1.104.1")
EncapsulatedCDAStorage                                             = _storage("1.2.840.10008.5.1.4.1.1.104.2")
EncapsulatedSTLStorage                                             = _storage("1.2.840.10008.5.1.4.1.1.104.3")
EncapsulatedOBJStorage                                             = _storage("1.2.840.10008.5.1.4.1.1.104.4")
EncapsulatedMTLStorage                                             = _storage("1.2.840.10008.5.1.4.1.1.104.5")

# Radiotherapy
RTImageStorage                                                     = _storage("1.2.840.10008.5.1.4.1.1.481.1")
RTDoseStorage                                                      = _storage("1.2.840.10008.5.1.4.1.1.481.2")
RTStructureSetStorage                                              = _storage("1.2.840.10008.5.1.4.1.1.481.3")
RTBeamsTreatmentRecordStorage                                      = _storage("1.2.840.10008.5.1.4.1.1.481.4")
RTPlanStorage                                                      = _storage("1.2.840.10008.5.1.4.1.1.481.5")
RTBrachyTreatmentRecordStorage                                     = _storage("1.2.840.10008.5.1.4.1.1.481.6")
RTTreatmentSummaryRecordStorage                                    = _storage("1.2.840.10008.5.1.4.1.1.481.7")
RTIonPlanStorage                                                   = _storage("1.2.840.10008.5.1.4.1.1.481.8")
RTIonBeamsTreatmentRecordStorage                                   = _storage("1.2.840.10008.5.1.4.1.1.481.9")
RTPhysicianIntentStorage                                           = _storage("1.2.840.10008.5.1.4.1.1.481.10")
RTSegmentAnnotationStorage                                         = _storage("1.2.840.10008.5.1.4.1.1.481.11")
RTRadiationSetStorage                                              = _storage("1.2.840.10008.5.1.4.1.1.481.12")
CArmPhotonElectronRadiationStorage                                 = _storage("1.2.840.10008.5.1.4.1.1.481.13")
TomotherapeuticRadiationStorage                                    = _storage("1.2.840.10008.5.1.4.1.1.481.14")
RoboticArmRadiationStorage                                         = _storage("1.2.840.10008.5.1.4.1.1.481.15")
RTRadiationRecordSetStorage                                        = _storage("1.2.840.10008.5.1.4.1.1.481.16")
RTRadiationSalvageRecordStorage                                    = _storage("1.2.840.10008.5.1.4.1.1.481.17")
TomotherapeuticRadiationRecordStorage                              = _storage("1.2.840.10008.5.1.4.1.1.481.18")
CArmPhotonElectronRadiationRecordStorage                           = _storage("1.2.840.10008.5.1.4.1.1.481.19")
RoboticRadiationRecordStorage                                      = _storage("1.2.840.10008.5.1.4.1.1.481.20")
RTRadiationSetDeliveryInstructionStorage                           = _storage("1.2.840.10008.5.1.4.1.1.481.21")
RTTreatmentPreparationStorage                                      = _storage("1.2.840.10008.5.1.4.1.1.481.22")
EnhancedRTImageStorage                                             = _storage("1.2.840.10008.5.1.4.1.1.481.23")
EnhancedContinuousRTImageStorage                                   = _storage("1.2.840.10008.5.1.4.1.1.481.24")
RTPatientPositionAcquisitionInstructionStorage                     = _storage("1.2.840.10008.5.1.4.1.1.481.25")

# Radiotherapy, delivery instructions
RTBeamsDeliveryInstructionStorage                                  = _storage("1.2.840.10008.5.1.4.34.7")
RTBrachyApplicationSetupDeliveryInstructionStorage                 = _storage("1.2.840.10008.5.1.4.34.10")

# Annotations and performed protocols
MicroscopyBulkSimpleAnnotationsStorage                             = _storage("1.2.840.10008.5.1.4.1.1.91.1")
CTPerformedProcedureProtocolStorage                                = _storage("1.2.840.10008.5.1.4.1.1.200.2")
XAPerformedProcedureProtocolStorage                                = _storage("1.2.840.10008.5.1.4.1.1.200.8")

# Non-Patient Object Storage (PS3.4 GG): sent like any other, but they belong to no patient
CTDefinedProcedureProtocolStorage                                  = _object("1.2.840.10008.5.1.4.1.1.200.1")
ProtocolApprovalStorage                                            = _object("1.2.840.10008.5.1.4.1.1.200.3")
XADefinedProcedureProtocolStorage                                  = _object("1.2.840.10008.5.1.4.1.1.200.7")
InventoryStorage                                                   = _object("1.2.840.10008.5.1.4.1.1.201.1")
HangingProtocolStorage                                             = _object("1.2.840.10008.5.1.4.38.1")
ColorPaletteStorage                                                = _object("1.2.840.10008.5.1.4.39.1")
GenericImplantTemplateStorage                                      = _object("1.2.840.10008.5.1.4.43.1")
ImplantAssemblyTemplateStorage                                     = _object("1.2.840.10008.5.1.4.44.1")
ImplantTemplateGroupStorage                                        = _object("1.2.840.10008.5.1.4.45.1")

# Security and industrial inspection (DICOS, DICONDE), which share the registry of PS3.6
DICOSCTImageStorage                                                = _storage("1.2.840.10008.5.1.4.1.1.501.1")
DICOSDigitalXRayImageStorageForPresentation                        = _storage("1.2.840.10008.5.1.4.1.1.501.2.1")
DICOSDigitalXRayImageStorageForProcessing                          = _storage("1.2.840.10008.5.1.4.1.1.501.2.2")
DICOSThreatDetectionReportStorage                                  = _storage("1.2.840.10008.5.1.4.1.1.501.3")
DICOS2DAITStorage                                                  = _storage("1.2.840.10008.5.1.4.1.1.501.4")
DICOS3DAITStorage                                                  = _storage("1.2.840.10008.5.1.4.1.1.501.5")
DICOSQuadrupoleResonanceStorage                                    = _storage("1.2.840.10008.5.1.4.1.1.501.6")
EddyCurrentImageStorage                                            = _storage("1.2.840.10008.5.1.4.1.1.601.1")
EddyCurrentMultiFrameImageStorage                                  = _storage("1.2.840.10008.5.1.4.1.1.601.2")

# The directory of a file-set (PS3.4 I). No network service of its own; a peer that sends one sends it like the rest
MediaStorageDirectoryStorage                                       = _storage("1.2.840.10008.1.3.10")

# Added after edition 2024c, the last that pydicom 3.0 knows
WaveformPresentationStateStorage                                   = _storage("1.2.840.10008.5.1.4.1.1.9.100.1")
WaveformAcquisitionPresentationStateStorage                        = _storage("1.2.840.10008.5.1.4.1.1.9.100.2")
LabelMapSegmentationStorage                                        = _storage("1.2.840.10008.5.1.4.1.1.66.7")
HeightMapSegmentationStorage                                       = _storage("1.2.840.10008.5.1.4.1.1.66.8")

# Retired: nobody makes them any more, archives are full of them
StoredPrintStorage                                                 = _retired("1.2.840.10008.5.1.1.27")
HardcopyGrayscaleImageStorage                                      = _retired("1.2.840.10008.5.1.1.29")
HardcopyColorImageStorage                                          = _retired("1.2.840.10008.5.1.1.30")
UltrasoundMultiFrameImageStorageRetired                            = _retired("1.2.840.10008.5.1.4.1.1.3")
NuclearMedicineImageStorageRetired                                 = _retired("1.2.840.10008.5.1.4.1.1.5")
UltrasoundImageStorageRetired                                      = _retired("1.2.840.10008.5.1.4.1.1.6")
StandaloneOverlayStorage                                           = _retired("1.2.840.10008.5.1.4.1.1.8")
StandaloneCurveStorage                                             = _retired("1.2.840.10008.5.1.4.1.1.9")
WaveformStorageTrial                                               = _retired("1.2.840.10008.5.1.4.1.1.9.1")
StandaloneModalityLUTStorage                                       = _retired("1.2.840.10008.5.1.4.1.1.10")
StandaloneVOILUTStorage                                            = _retired("1.2.840.10008.5.1.4.1.1.11")
XRayAngiographicBiPlaneImageStorage                                = _retired("1.2.840.10008.5.1.4.1.1.12.3")
VLImageStorageTrial                                                = _retired("1.2.840.10008.5.1.4.1.1.77.1")
VLMultiFrameImageStorageTrial                                      = _retired("1.2.840.10008.5.1.4.1.1.77.2")
TextSRStorageTrial                                                 = _retired("1.2.840.10008.5.1.4.1.1.88.1")
AudioSRStorageTrial                                                = _retired("1.2.840.10008.5.1.4.1.1.88.2")
DetailSRStorageTrial                                               = _retired("1.2.840.10008.5.1.4.1.1.88.3")
ComprehensiveSRStorageTrial                                        = _retired("1.2.840.10008.5.1.4.1.1.88.4")
StandalonePETCurveStorage                                          = _retired("1.2.840.10008.5.1.4.1.1.129")
RTBeamsDeliveryInstructionStorageTrial                             = _retired("1.2.840.10008.5.1.4.34.1")

# PS3.4 B.3.1.4: what a receiver that does not know the first may treat it as. Narrow classes whose general one is sure.
for _specific, _general in (
    (DigitalMammographyXRayImageStorageForPresentation, (DigitalXRayImageStorageForPresentation,)),
    (DigitalMammographyXRayImageStorageForProcessing,   (DigitalXRayImageStorageForProcessing,)),
    (DigitalIntraOralXRayImageStorageForPresentation,   (DigitalXRayImageStorageForPresentation,)),
    (DigitalIntraOralXRayImageStorageForProcessing,     (DigitalXRayImageStorageForProcessing,)),
    (TwelveLeadECGWaveformStorage,                      (GeneralECGWaveformStorage,)),
    (BasicTextSRStorage,                                (EnhancedSRStorage, ComprehensiveSRStorage)),
    (EnhancedSRStorage,                                 (ComprehensiveSRStorage,)),
):
    _specific.related_general = _general

LATER = (
    WaveformPresentationStateStorage,
    WaveformAcquisitionPresentationStateStorage,
    LabelMapSegmentationStorage,
    HeightMapSegmentationStorage,
)
# fmt: on
