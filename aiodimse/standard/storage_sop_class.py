"""Storage SOP classes (PS3.4 B.5, GG.3, PS3.6 A) by kind of object. sop_class.py gives them their keywords.

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
CTImageStorage: SOPClass                                                     = _storage("1.2.840.10008.5.1.4.1.1.2")
EnhancedCTImageStorage: SOPClass                                             = _storage("1.2.840.10008.5.1.4.1.1.2.1")
LegacyConvertedEnhancedCTImageStorage: SOPClass                              = _storage("1.2.840.10008.5.1.4.1.1.2.2")
UltrasoundMultiFrameImageStorage: SOPClass                                   = _storage("1.2.840.10008.5.1.4.1.1.3.1")
MRImageStorage: SOPClass                                                     = _storage("1.2.840.10008.5.1.4.1.1.4")
EnhancedMRImageStorage: SOPClass                                             = _storage("1.2.840.10008.5.1.4.1.1.4.1")
MRSpectroscopyStorage: SOPClass                                              = _storage("1.2.840.10008.5.1.4.1.1.4.2")
EnhancedMRColorImageStorage: SOPClass                                        = _storage("1.2.840.10008.5.1.4.1.1.4.3")
LegacyConvertedEnhancedMRImageStorage: SOPClass                              = _storage("1.2.840.10008.5.1.4.1.1.4.4")
UltrasoundImageStorage: SOPClass                                             = _storage("1.2.840.10008.5.1.4.1.1.6.1")
EnhancedUSVolumeStorage: SOPClass                                            = _storage("1.2.840.10008.5.1.4.1.1.6.2")
PhotoacousticImageStorage: SOPClass                                          = _storage("1.2.840.10008.5.1.4.1.1.6.3")
NuclearMedicineImageStorage: SOPClass                                        = _storage("1.2.840.10008.5.1.4.1.1.20")
PositronEmissionTomographyImageStorage: SOPClass                             = _storage("1.2.840.10008.5.1.4.1.1.128")
LegacyConvertedEnhancedPETImageStorage: SOPClass                             = _storage("1.2.840.10008.5.1.4.1.1.128.1")
EnhancedPETImageStorage: SOPClass                                            = _storage("1.2.840.10008.5.1.4.1.1.130")

# Projection radiography, angiography, breast
ComputedRadiographyImageStorage: SOPClass                                    = _storage("1.2.840.10008.5.1.4.1.1.1")
DigitalXRayImageStorageForPresentation: SOPClass                             = _storage("1.2.840.10008.5.1.4.1.1.1.1")
DigitalXRayImageStorageForProcessing: SOPClass                               = _storage("1.2.840.10008.5.1.4.1.1.1.1.1")
DigitalMammographyXRayImageStorageForPresentation: SOPClass                  = _storage("1.2.840.10008.5.1.4.1.1.1.2")
DigitalMammographyXRayImageStorageForProcessing: SOPClass                    = _storage("1.2.840.10008.5.1.4.1.1.1.2.1")
DigitalIntraOralXRayImageStorageForPresentation: SOPClass                    = _storage("1.2.840.10008.5.1.4.1.1.1.3")
DigitalIntraOralXRayImageStorageForProcessing: SOPClass                      = _storage("1.2.840.10008.5.1.4.1.1.1.3.1")
XRayAngiographicImageStorage: SOPClass                                       = _storage("1.2.840.10008.5.1.4.1.1.12.1")
EnhancedXAImageStorage: SOPClass                                             = _storage("1.2.840.10008.5.1.4.1.1.12.1.1")
XRayRadiofluoroscopicImageStorage: SOPClass                                  = _storage("1.2.840.10008.5.1.4.1.1.12.2")
EnhancedXRFImageStorage: SOPClass                                            = _storage("1.2.840.10008.5.1.4.1.1.12.2.1")
XRay3DAngiographicImageStorage: SOPClass                                     = _storage("1.2.840.10008.5.1.4.1.1.13.1.1")
XRay3DCraniofacialImageStorage: SOPClass                                     = _storage("1.2.840.10008.5.1.4.1.1.13.1.2")
BreastTomosynthesisImageStorage: SOPClass                                    = _storage("1.2.840.10008.5.1.4.1.1.13.1.3")
BreastProjectionXRayImageStorageForPresentation: SOPClass                    = _storage("1.2.840.10008.5.1.4.1.1.13.1.4")
BreastProjectionXRayImageStorageForProcessing: SOPClass                      = _storage("1.2.840.10008.5.1.4.1.1.13.1.5")

# Optical coherence tomography
IntravascularOpticalCoherenceTomographyImageStorageForPresentation: SOPClass = _storage("1.2.840.10008.5.1.4.1.1.14.1")
IntravascularOpticalCoherenceTomographyImageStorageForProcessing: SOPClass   = _storage("1.2.840.10008.5.1.4.1.1.14.2")

# Secondary capture
SecondaryCaptureImageStorage: SOPClass                                       = _storage("1.2.840.10008.5.1.4.1.1.7")
MultiFrameSingleBitSecondaryCaptureImageStorage: SOPClass                    = _storage("1.2.840.10008.5.1.4.1.1.7.1")
MultiFrameGrayscaleByteSecondaryCaptureImageStorage: SOPClass                = _storage("1.2.840.10008.5.1.4.1.1.7.2")
MultiFrameGrayscaleWordSecondaryCaptureImageStorage: SOPClass                = _storage("1.2.840.10008.5.1.4.1.1.7.3")
MultiFrameTrueColorSecondaryCaptureImageStorage: SOPClass                    = _storage("1.2.840.10008.5.1.4.1.1.7.4")

# Visible light, ophthalmology, microscopy
VLEndoscopicImageStorage: SOPClass                                           = _storage("1.2.840.10008.5.1.4.1.1.77.1.1")
VideoEndoscopicImageStorage: SOPClass                                        = _storage("1.2.840.10008.5.1.4.1.1.77.1.1.1")
VLMicroscopicImageStorage: SOPClass                                          = _storage("1.2.840.10008.5.1.4.1.1.77.1.2")
VideoMicroscopicImageStorage: SOPClass                                       = _storage("1.2.840.10008.5.1.4.1.1.77.1.2.1")
VLSlideCoordinatesMicroscopicImageStorage: SOPClass                          = _storage("1.2.840.10008.5.1.4.1.1.77.1.3")
VLPhotographicImageStorage: SOPClass                                         = _storage("1.2.840.10008.5.1.4.1.1.77.1.4")
VideoPhotographicImageStorage: SOPClass                                      = _storage("1.2.840.10008.5.1.4.1.1.77.1.4.1")
OphthalmicPhotography8BitImageStorage: SOPClass                              = _storage("1.2.840.10008.5.1.4.1.1.77.1.5.1")
OphthalmicPhotography16BitImageStorage: SOPClass                             = _storage("1.2.840.10008.5.1.4.1.1.77.1.5.2")
StereometricRelationshipStorage: SOPClass                                    = _storage("1.2.840.10008.5.1.4.1.1.77.1.5.3")
OphthalmicTomographyImageStorage: SOPClass                                   = _storage("1.2.840.10008.5.1.4.1.1.77.1.5.4")
WideFieldOphthalmicPhotographyStereographicProjectionImageStorage: SOPClass  = _storage("1.2.840.10008.5.1.4.1.1.77.1.5.5")
WideFieldOphthalmicPhotography3DCoordinatesImageStorage: SOPClass            = _storage("1.2.840.10008.5.1.4.1.1.77.1.5.6")
OphthalmicOpticalCoherenceTomographyEnFaceImageStorage: SOPClass             = _storage("1.2.840.10008.5.1.4.1.1.77.1.5.7")
OphthalmicOpticalCoherenceTomographyBscanVolumeAnalysisStorage: SOPClass     = _storage("1.2.840.10008.5.1.4.1.1.77.1.5.8")
VLWholeSlideMicroscopyImageStorage: SOPClass                                 = _storage("1.2.840.10008.5.1.4.1.1.77.1.6")
DermoscopicPhotographyImageStorage: SOPClass                                 = _storage("1.2.840.10008.5.1.4.1.1.77.1.7")
ConfocalMicroscopyImageStorage: SOPClass                                     = _storage("1.2.840.10008.5.1.4.1.1.77.1.8")
ConfocalMicroscopyTiledPyramidalImageStorage: SOPClass                       = _storage("1.2.840.10008.5.1.4.1.1.77.1.9")
LensometryMeasurementsStorage: SOPClass                                      = _storage("1.2.840.10008.5.1.4.1.1.78.1")
AutorefractionMeasurementsStorage: SOPClass                                  = _storage("1.2.840.10008.5.1.4.1.1.78.2")
KeratometryMeasurementsStorage: SOPClass                                     = _storage("1.2.840.10008.5.1.4.1.1.78.3")
SubjectiveRefractionMeasurementsStorage: SOPClass                            = _storage("1.2.840.10008.5.1.4.1.1.78.4")
VisualAcuityMeasurementsStorage: SOPClass                                    = _storage("1.2.840.10008.5.1.4.1.1.78.5")
SpectaclePrescriptionReportStorage: SOPClass                                 = _storage("1.2.840.10008.5.1.4.1.1.78.6")
OphthalmicAxialMeasurementsStorage: SOPClass                                 = _storage("1.2.840.10008.5.1.4.1.1.78.7")
IntraocularLensCalculationsStorage: SOPClass                                 = _storage("1.2.840.10008.5.1.4.1.1.78.8")
MacularGridThicknessAndVolumeReportStorage: SOPClass                         = _storage("1.2.840.10008.5.1.4.1.1.79.1")
OphthalmicVisualFieldStaticPerimetryMeasurementsStorage: SOPClass            = _storage("1.2.840.10008.5.1.4.1.1.80.1")
OphthalmicThicknessMapStorage: SOPClass                                      = _storage("1.2.840.10008.5.1.4.1.1.81.1")
CornealTopographyMapStorage: SOPClass                                        = _storage("1.2.840.10008.5.1.4.1.1.82.1")

# Waveforms
GeneralECGWaveformStorage: SOPClass                                          = _storage("1.2.840.10008.5.1.4.1.1.9.1.2")
TwelveLeadECGWaveformStorage: SOPClass                                       = _storage("1.2.840.10008.5.1.4.1.1.9.1.1")
AmbulatoryECGWaveformStorage: SOPClass                                       = _storage("1.2.840.10008.5.1.4.1.1.9.1.3")
General32bitECGWaveformStorage: SOPClass                                     = _storage("1.2.840.10008.5.1.4.1.1.9.1.4")
HemodynamicWaveformStorage: SOPClass                                         = _storage("1.2.840.10008.5.1.4.1.1.9.2.1")
CardiacElectrophysiologyWaveformStorage: SOPClass                            = _storage("1.2.840.10008.5.1.4.1.1.9.3.1")
BasicVoiceAudioWaveformStorage: SOPClass                                     = _storage("1.2.840.10008.5.1.4.1.1.9.4.1")
GeneralAudioWaveformStorage: SOPClass                                        = _storage("1.2.840.10008.5.1.4.1.1.9.4.2")
ArterialPulseWaveformStorage: SOPClass                                       = _storage("1.2.840.10008.5.1.4.1.1.9.5.1")
RespiratoryWaveformStorage: SOPClass                                         = _storage("1.2.840.10008.5.1.4.1.1.9.6.1")
MultichannelRespiratoryWaveformStorage: SOPClass                             = _storage("1.2.840.10008.5.1.4.1.1.9.6.2")
RoutineScalpElectroencephalogramWaveformStorage: SOPClass                    = _storage("1.2.840.10008.5.1.4.1.1.9.7.1")
ElectromyogramWaveformStorage: SOPClass                                      = _storage("1.2.840.10008.5.1.4.1.1.9.7.2")
ElectrooculogramWaveformStorage: SOPClass                                    = _storage("1.2.840.10008.5.1.4.1.1.9.7.3")
SleepElectroencephalogramWaveformStorage: SOPClass                           = _storage("1.2.840.10008.5.1.4.1.1.9.7.4")
BodyPositionWaveformStorage: SOPClass                                        = _storage("1.2.840.10008.5.1.4.1.1.9.8.1")

# Presentation states and structured displays
GrayscaleSoftcopyPresentationStateStorage: SOPClass                          = _storage("1.2.840.10008.5.1.4.1.1.11.1")
ColorSoftcopyPresentationStateStorage: SOPClass                              = _storage("1.2.840.10008.5.1.4.1.1.11.2")
PseudoColorSoftcopyPresentationStateStorage: SOPClass                        = _storage("1.2.840.10008.5.1.4.1.1.11.3")
BlendingSoftcopyPresentationStateStorage: SOPClass                           = _storage("1.2.840.10008.5.1.4.1.1.11.4")
XAXRFGrayscaleSoftcopyPresentationStateStorage: SOPClass                     = _storage("1.2.840.10008.5.1.4.1.1.11.5")
GrayscalePlanarMPRVolumetricPresentationStateStorage: SOPClass               = _storage("1.2.840.10008.5.1.4.1.1.11.6")
CompositingPlanarMPRVolumetricPresentationStateStorage: SOPClass             = _storage("1.2.840.10008.5.1.4.1.1.11.7")
AdvancedBlendingPresentationStateStorage: SOPClass                           = _storage("1.2.840.10008.5.1.4.1.1.11.8")
VolumeRenderingVolumetricPresentationStateStorage: SOPClass                  = _storage("1.2.840.10008.5.1.4.1.1.11.9")
SegmentedVolumeRenderingVolumetricPresentationStateStorage: SOPClass         = _storage("1.2.840.10008.5.1.4.1.1.11.10")
MultipleVolumeRenderingVolumetricPresentationStateStorage: SOPClass          = _storage("1.2.840.10008.5.1.4.1.1.11.11")
VariableModalityLUTSoftcopyPresentationStateStorage: SOPClass                = _storage("1.2.840.10008.5.1.4.1.1.11.12")
BasicStructuredDisplayStorage: SOPClass                                      = _storage("1.2.840.10008.5.1.4.1.1.131")

# Registrations, segmentations, maps, surfaces, tracts, raw data, assessments
ParametricMapStorage: SOPClass                                               = _storage("1.2.840.10008.5.1.4.1.1.30")
RawDataStorage: SOPClass                                                     = _storage("1.2.840.10008.5.1.4.1.1.66")
SpatialRegistrationStorage: SOPClass                                         = _storage("1.2.840.10008.5.1.4.1.1.66.1")
SpatialFiducialsStorage: SOPClass                                            = _storage("1.2.840.10008.5.1.4.1.1.66.2")
DeformableSpatialRegistrationStorage: SOPClass                               = _storage("1.2.840.10008.5.1.4.1.1.66.3")
SegmentationStorage: SOPClass                                                = _storage("1.2.840.10008.5.1.4.1.1.66.4")
SurfaceSegmentationStorage: SOPClass                                         = _storage("1.2.840.10008.5.1.4.1.1.66.5")
TractographyResultsStorage: SOPClass                                         = _storage("1.2.840.10008.5.1.4.1.1.66.6")
RealWorldValueMappingStorage: SOPClass                                       = _storage("1.2.840.10008.5.1.4.1.1.67")
SurfaceScanMeshStorage: SOPClass                                             = _storage("1.2.840.10008.5.1.4.1.1.68.1")
SurfaceScanPointCloudStorage: SOPClass                                       = _storage("1.2.840.10008.5.1.4.1.1.68.2")
ContentAssessmentResultsStorage: SOPClass                                    = _storage("1.2.840.10008.5.1.4.1.1.90.1")

# Structured reports, encapsulated documents
BasicTextSRStorage: SOPClass                                                 = _storage("1.2.840.10008.5.1.4.1.1.88.11")
EnhancedSRStorage: SOPClass                                                  = _storage("1.2.840.10008.5.1.4.1.1.88.22")
ComprehensiveSRStorage: SOPClass                                             = _storage("1.2.840.10008.5.1.4.1.1.88.33")
Comprehensive3DSRStorage: SOPClass                                           = _storage("1.2.840.10008.5.1.4.1.1.88.34")
ExtensibleSRStorage: SOPClass                                                = _storage("1.2.840.10008.5.1.4.1.1.88.35")
ProcedureLogStorage: SOPClass                                                = _storage("1.2.840.10008.5.1.4.1.1.88.40")
MammographyCADSRStorage: SOPClass                                            = _storage("1.2.840.10008.5.1.4.1.1.88.50")
KeyObjectSelectionDocumentStorage: SOPClass                                  = _storage("1.2.840.10008.5.1.4.1.1.88.59")
ChestCADSRStorage: SOPClass                                                  = _storage("1.2.840.10008.5.1.4.1.1.88.65")
XRayRadiationDoseSRStorage: SOPClass                                         = _storage("1.2.840.10008.5.1.4.1.1.88.67")
RadiopharmaceuticalRadiationDoseSRStorage: SOPClass                          = _storage("1.2.840.10008.5.1.4.1.1.88.68")
ColonCADSRStorage: SOPClass                                                  = _storage("1.2.840.10008.5.1.4.1.1.88.69")
ImplantationPlanSRStorage: SOPClass                                          = _storage("1.2.840.10008.5.1.4.1.1.88.70")
AcquisitionContextSRStorage: SOPClass                                        = _storage("1.2.840.10008.5.1.4.1.1.88.71")
SimplifiedAdultEchoSRStorage: SOPClass                                       = _storage("1.2.840.10008.5.1.4.1.1.88.72")
PatientRadiationDoseSRStorage: SOPClass                                      = _storage("1.2.840.10008.5.1.4.1.1.88.73")
PlannedImagingAgentAdministrationSRStorage: SOPClass                         = _storage("1.2.840.10008.5.1.4.1.1.88.74")
PerformedImagingAgentAdministrationSRStorage: SOPClass                       = _storage("1.2.840.10008.5.1.4.1.1.88.75")
EnhancedXRayRadiationDoseSRStorage: SOPClass                                 = _storage("1.2.840.10008.5.1.4.1.1.88.76")
WaveformAnnotationSRStorage: SOPClass                                        = _storage("1.2.840.10008.5.1.4.1.1.88.77")
EncapsulatedPDFStorage: SOPClass                                             = _storage("1.2.840.10008.5.1.4.1.1.104.1")
EncapsulatedCDAStorage: SOPClass                                             = _storage("1.2.840.10008.5.1.4.1.1.104.2")
EncapsulatedSTLStorage: SOPClass                                             = _storage("1.2.840.10008.5.1.4.1.1.104.3")
EncapsulatedOBJStorage: SOPClass                                             = _storage("1.2.840.10008.5.1.4.1.1.104.4")
EncapsulatedMTLStorage: SOPClass                                             = _storage("1.2.840.10008.5.1.4.1.1.104.5")

# Radiotherapy
RTImageStorage: SOPClass                                                     = _storage("1.2.840.10008.5.1.4.1.1.481.1")
RTDoseStorage: SOPClass                                                      = _storage("1.2.840.10008.5.1.4.1.1.481.2")
RTStructureSetStorage: SOPClass                                              = _storage("1.2.840.10008.5.1.4.1.1.481.3")
RTBeamsTreatmentRecordStorage: SOPClass                                      = _storage("1.2.840.10008.5.1.4.1.1.481.4")
RTPlanStorage: SOPClass                                                      = _storage("1.2.840.10008.5.1.4.1.1.481.5")
RTBrachyTreatmentRecordStorage: SOPClass                                     = _storage("1.2.840.10008.5.1.4.1.1.481.6")
RTTreatmentSummaryRecordStorage: SOPClass                                    = _storage("1.2.840.10008.5.1.4.1.1.481.7")
RTIonPlanStorage: SOPClass                                                   = _storage("1.2.840.10008.5.1.4.1.1.481.8")
RTIonBeamsTreatmentRecordStorage: SOPClass                                   = _storage("1.2.840.10008.5.1.4.1.1.481.9")
RTPhysicianIntentStorage: SOPClass                                           = _storage("1.2.840.10008.5.1.4.1.1.481.10")
RTSegmentAnnotationStorage: SOPClass                                         = _storage("1.2.840.10008.5.1.4.1.1.481.11")
RTRadiationSetStorage: SOPClass                                              = _storage("1.2.840.10008.5.1.4.1.1.481.12")
CArmPhotonElectronRadiationStorage: SOPClass                                 = _storage("1.2.840.10008.5.1.4.1.1.481.13")
TomotherapeuticRadiationStorage: SOPClass                                    = _storage("1.2.840.10008.5.1.4.1.1.481.14")
RoboticArmRadiationStorage: SOPClass                                         = _storage("1.2.840.10008.5.1.4.1.1.481.15")
RTRadiationRecordSetStorage: SOPClass                                        = _storage("1.2.840.10008.5.1.4.1.1.481.16")
RTRadiationSalvageRecordStorage: SOPClass                                    = _storage("1.2.840.10008.5.1.4.1.1.481.17")
TomotherapeuticRadiationRecordStorage: SOPClass                              = _storage("1.2.840.10008.5.1.4.1.1.481.18")
CArmPhotonElectronRadiationRecordStorage: SOPClass                           = _storage("1.2.840.10008.5.1.4.1.1.481.19")
RoboticRadiationRecordStorage: SOPClass                                      = _storage("1.2.840.10008.5.1.4.1.1.481.20")
RTRadiationSetDeliveryInstructionStorage: SOPClass                           = _storage("1.2.840.10008.5.1.4.1.1.481.21")
RTTreatmentPreparationStorage: SOPClass                                      = _storage("1.2.840.10008.5.1.4.1.1.481.22")
EnhancedRTImageStorage: SOPClass                                             = _storage("1.2.840.10008.5.1.4.1.1.481.23")
EnhancedContinuousRTImageStorage: SOPClass                                   = _storage("1.2.840.10008.5.1.4.1.1.481.24")
RTPatientPositionAcquisitionInstructionStorage: SOPClass                     = _storage("1.2.840.10008.5.1.4.1.1.481.25")

# Radiotherapy, delivery instructions
RTBeamsDeliveryInstructionStorage: SOPClass                                  = _storage("1.2.840.10008.5.1.4.34.7")
RTBrachyApplicationSetupDeliveryInstructionStorage: SOPClass                 = _storage("1.2.840.10008.5.1.4.34.10")

# Annotations and performed protocols
MicroscopyBulkSimpleAnnotationsStorage: SOPClass                             = _storage("1.2.840.10008.5.1.4.1.1.91.1")
CTPerformedProcedureProtocolStorage: SOPClass                                = _storage("1.2.840.10008.5.1.4.1.1.200.2")
XAPerformedProcedureProtocolStorage: SOPClass                                = _storage("1.2.840.10008.5.1.4.1.1.200.8")

# Non-Patient Object Storage (PS3.4 GG): sent like all others, but the objects belong to no patient
CTDefinedProcedureProtocolStorage: SOPClass                                  = _object("1.2.840.10008.5.1.4.1.1.200.1")
ProtocolApprovalStorage: SOPClass                                            = _object("1.2.840.10008.5.1.4.1.1.200.3")
XADefinedProcedureProtocolStorage: SOPClass                                  = _object("1.2.840.10008.5.1.4.1.1.200.7")
InventoryStorage: SOPClass                                                   = _object("1.2.840.10008.5.1.4.1.1.201.1")
HangingProtocolStorage: SOPClass                                             = _object("1.2.840.10008.5.1.4.38.1")
ColorPaletteStorage: SOPClass                                                = _object("1.2.840.10008.5.1.4.39.1")
GenericImplantTemplateStorage: SOPClass                                      = _object("1.2.840.10008.5.1.4.43.1")
ImplantAssemblyTemplateStorage: SOPClass                                     = _object("1.2.840.10008.5.1.4.44.1")
ImplantTemplateGroupStorage: SOPClass                                        = _object("1.2.840.10008.5.1.4.45.1")

# Security and industrial inspection (DICOS, DICONDE), which share the registry of PS3.6
DICOSCTImageStorage: SOPClass                                                = _storage("1.2.840.10008.5.1.4.1.1.501.1")
DICOSDigitalXRayImageStorageForPresentation: SOPClass                        = _storage("1.2.840.10008.5.1.4.1.1.501.2.1")
DICOSDigitalXRayImageStorageForProcessing: SOPClass                          = _storage("1.2.840.10008.5.1.4.1.1.501.2.2")
DICOSThreatDetectionReportStorage: SOPClass                                  = _storage("1.2.840.10008.5.1.4.1.1.501.3")
DICOS2DAITStorage: SOPClass                                                  = _storage("1.2.840.10008.5.1.4.1.1.501.4")
DICOS3DAITStorage: SOPClass                                                  = _storage("1.2.840.10008.5.1.4.1.1.501.5")
DICOSQuadrupoleResonanceStorage: SOPClass                                    = _storage("1.2.840.10008.5.1.4.1.1.501.6")
EddyCurrentImageStorage: SOPClass                                            = _storage("1.2.840.10008.5.1.4.1.1.601.1")
EddyCurrentMultiFrameImageStorage: SOPClass                                  = _storage("1.2.840.10008.5.1.4.1.1.601.2")

# The directory of a file-set (PS3.4 I). It has no network service of its own; some peers send it like other objects
MediaStorageDirectoryStorage: SOPClass                                       = _storage("1.2.840.10008.1.3.10")

# Added after edition 2024c, the last that pydicom 3.0 knows
WaveformPresentationStateStorage: SOPClass                                   = _storage("1.2.840.10008.5.1.4.1.1.9.100.1")
WaveformAcquisitionPresentationStateStorage: SOPClass                        = _storage("1.2.840.10008.5.1.4.1.1.9.100.2")
LabelMapSegmentationStorage: SOPClass                                        = _storage("1.2.840.10008.5.1.4.1.1.66.7")
HeightMapSegmentationStorage: SOPClass                                       = _storage("1.2.840.10008.5.1.4.1.1.66.8")

# Retired: nobody creates these objects any more, but many archives hold them
StoredPrintStorage: SOPClass                                                 = _retired("1.2.840.10008.5.1.1.27")
HardcopyGrayscaleImageStorage: SOPClass                                      = _retired("1.2.840.10008.5.1.1.29")
HardcopyColorImageStorage: SOPClass                                          = _retired("1.2.840.10008.5.1.1.30")
UltrasoundMultiFrameImageStorageRetired: SOPClass                            = _retired("1.2.840.10008.5.1.4.1.1.3")
NuclearMedicineImageStorageRetired: SOPClass                                 = _retired("1.2.840.10008.5.1.4.1.1.5")
UltrasoundImageStorageRetired: SOPClass                                      = _retired("1.2.840.10008.5.1.4.1.1.6")
StandaloneOverlayStorage: SOPClass                                           = _retired("1.2.840.10008.5.1.4.1.1.8")
StandaloneCurveStorage: SOPClass                                             = _retired("1.2.840.10008.5.1.4.1.1.9")
WaveformStorageTrial: SOPClass                                               = _retired("1.2.840.10008.5.1.4.1.1.9.1")
StandaloneModalityLUTStorage: SOPClass                                       = _retired("1.2.840.10008.5.1.4.1.1.10")
StandaloneVOILUTStorage: SOPClass                                            = _retired("1.2.840.10008.5.1.4.1.1.11")
XRayAngiographicBiPlaneImageStorage: SOPClass                                = _retired("1.2.840.10008.5.1.4.1.1.12.3")
VLImageStorageTrial: SOPClass                                                = _retired("1.2.840.10008.5.1.4.1.1.77.1")
VLMultiFrameImageStorageTrial: SOPClass                                      = _retired("1.2.840.10008.5.1.4.1.1.77.2")
TextSRStorageTrial: SOPClass                                                 = _retired("1.2.840.10008.5.1.4.1.1.88.1")
AudioSRStorageTrial: SOPClass                                                = _retired("1.2.840.10008.5.1.4.1.1.88.2")
DetailSRStorageTrial: SOPClass                                               = _retired("1.2.840.10008.5.1.4.1.1.88.3")
ComprehensiveSRStorageTrial: SOPClass                                        = _retired("1.2.840.10008.5.1.4.1.1.88.4")
StandalonePETCurveStorage: SOPClass                                          = _retired("1.2.840.10008.5.1.4.1.1.129")
RTBeamsDeliveryInstructionStorageTrial: SOPClass                             = _retired("1.2.840.10008.5.1.4.34.1")

# PS3.4 B.3.1.4: a receiver that does not know the first class may treat an object as one of the second. The table has
# only the pairs that are certain.
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
