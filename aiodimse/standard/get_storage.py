"""The order in which storage SOP classes fill a C-GET proposal.

A C-GET needs a presentation context for each storage SOP class that may come back (PS3.4 C.5.3). An association has
128 contexts, and there are more storage SOP classes than that. The order is therefore: first the objects that archives
hold most of, then the objects of clinical departments, then all others in the order of the table.
"""

from __future__ import annotations

from aiodimse.standard import storage_sop_class as s
from aiodimse.standard.uid import SOPClass

_COMMONEST: tuple[SOPClass, ...] = (
    # everyday images
    s.CTImageStorage,
    s.MRImageStorage,
    s.ComputedRadiographyImageStorage,
    s.DigitalXRayImageStorageForPresentation,
    s.SecondaryCaptureImageStorage,
    s.UltrasoundImageStorage,
    s.UltrasoundMultiFrameImageStorage,
    s.PositronEmissionTomographyImageStorage,
    s.NuclearMedicineImageStorage,
    s.XRayAngiographicImageStorage,
    s.XRayRadiofluoroscopicImageStorage,
    s.DigitalMammographyXRayImageStorageForPresentation,
    s.BreastTomosynthesisImageStorage,
    s.EnhancedCTImageStorage,
    s.EnhancedMRImageStorage,
    s.EnhancedPETImageStorage,
    s.EnhancedXAImageStorage,
    s.EnhancedXRFImageStorage,
    s.EnhancedUSVolumeStorage,
    s.MRSpectroscopyStorage,
    # objects that accompany images
    s.GrayscaleSoftcopyPresentationStateStorage,
    s.ColorSoftcopyPresentationStateStorage,
    s.KeyObjectSelectionDocumentStorage,
    s.XRayRadiationDoseSRStorage,
    s.BasicTextSRStorage,
    s.EnhancedSRStorage,
    s.ComprehensiveSRStorage,
    s.Comprehensive3DSRStorage,
    s.EncapsulatedPDFStorage,
    s.EncapsulatedCDAStorage,
    s.SegmentationStorage,
    s.LabelMapSegmentationStorage,
    s.ParametricMapStorage,
    s.SpatialRegistrationStorage,
    s.DeformableSpatialRegistrationStorage,
    s.RawDataStorage,
    s.RealWorldValueMappingStorage,
    s.MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    s.MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    s.MultiFrameTrueColorSecondaryCaptureImageStorage,
    s.MultiFrameSingleBitSecondaryCaptureImageStorage,
    # radiotherapy
    s.RTStructureSetStorage,
    s.RTDoseStorage,
    s.RTPlanStorage,
    s.RTImageStorage,
    s.RTIonPlanStorage,
    s.RTBeamsTreatmentRecordStorage,
    s.RTIonBeamsTreatmentRecordStorage,
    s.RTBrachyTreatmentRecordStorage,
    s.RTTreatmentSummaryRecordStorage,
    # cardiology, visible light, eyes, teeth, slides
    s.TwelveLeadECGWaveformStorage,
    s.GeneralECGWaveformStorage,
    s.HemodynamicWaveformStorage,
    s.VLPhotographicImageStorage,
    s.VLEndoscopicImageStorage,
    s.VideoEndoscopicImageStorage,
    s.VLWholeSlideMicroscopyImageStorage,
    s.VLMicroscopicImageStorage,
    s.OphthalmicPhotography8BitImageStorage,
    s.OphthalmicTomographyImageStorage,
    s.DigitalIntraOralXRayImageStorageForPresentation,
    s.XRay3DAngiographicImageStorage,
    s.XRay3DCraniofacialImageStorage,
    s.MammographyCADSRStorage,
    s.ChestCADSRStorage,
    s.DigitalXRayImageStorageForProcessing,
    s.DigitalMammographyXRayImageStorageForProcessing,
    # retired; old archives still hold ultrasound and nuclear medicine objects of these classes
    s.UltrasoundImageStorageRetired,
    s.UltrasoundMultiFrameImageStorageRetired,
    s.NuclearMedicineImageStorageRetired,
)

_ROWS = tuple(row for row in vars(s).values() if isinstance(row, SOPClass) and row != s.MediaStorageDirectoryStorage)

RANKED: tuple[SOPClass, ...] = tuple(dict.fromkeys((*_COMMONEST, *(row for row in _ROWS if not row.retired))))
