"""The order in which storage SOP classes fill a C-GET proposal.

An association has 128 presentation contexts and there are more storage SOP classes than that, while a C-GET needs one
for whatever may come back (PS3.4 C.5.3). So: what archives hold most of, then what clinical departments make,
then the rest in the order of the table.
"""

from __future__ import annotations

from aiodimse.standard import storage_sop_class as s
from aiodimse.standard.uid import SOPClass

_COMMONEST: tuple[SOPClass, ...] = (
    # images of every day
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
    # what goes with them
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
    # retired, and still what an old archive holds of ultrasound and nuclear medicine
    s.UltrasoundImageStorageRetired,
    s.UltrasoundMultiFrameImageStorageRetired,
    s.NuclearMedicineImageStorageRetired,
)

_ROWS = tuple(row for row in vars(s).values() if isinstance(row, SOPClass) and row != s.MediaStorageDirectoryStorage)

RANKED: tuple[SOPClass, ...] = tuple(dict.fromkeys((*_COMMONEST, *(row for row in _ROWS if not row.retired))))
