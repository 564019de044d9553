"""Retrieval at the FRAME level: makes a new instance from frames of a stored one (PS3.4 Y.3). Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from pydicom import DataElement, Dataset, config
from pydicom.datadict import tag_for_keyword
from pydicom.encaps import encapsulate
from pydicom.pixels.utils import get_expected_length
from pydicom.uid import UID, generate_uid

import aiodimse
from aiodimse import sop_class as s

from .attributes import decode_ascii
from .frame_times import frame_times, shift_times

_LEVEL = 0x00080052
_KEYS = ("SimpleFrameList", "CalculatedFrameList", "TimeRange")
MAX_FRAMES = 1 << 18
"""The largest number of frames of an instance from which frames are taken."""
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_VIDEO = tuple(f"1.2.840.10008.1.2.4.{number}" for number in range(100, 110))
"""Transfer syntaxes whose frames are not separate pieces: MPEG2, MPEG-4 and HEVC."""

CLASSES: frozenset[str] = frozenset(
    map(
        str,
        (
            s.UltrasoundMultiFrameImageStorage, s.XRayAngiographicImageStorage, s.XRayRadiofluoroscopicImageStorage,
            s.MultiFrameSingleBitSecondaryCaptureImageStorage, s.MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
            s.MultiFrameGrayscaleWordSecondaryCaptureImageStorage, s.MultiFrameTrueColorSecondaryCaptureImageStorage,
            s.VideoEndoscopicImageStorage, s.VideoMicroscopicImageStorage, s.VideoPhotographicImageStorage,
            s.OphthalmicPhotography8BitImageStorage, s.OphthalmicPhotography16BitImageStorage,
            s.EnhancedCTImageStorage, s.EnhancedMRImageStorage, s.EnhancedMRColorImageStorage,
            s.EnhancedPETImageStorage, s.EnhancedXAImageStorage, s.EnhancedXRFImageStorage,
            s.LegacyConvertedEnhancedCTImageStorage, s.LegacyConvertedEnhancedMRImageStorage,
            s.LegacyConvertedEnhancedPETImageStorage, s.EnhancedUSVolumeStorage, s.XRay3DAngiographicImageStorage,
            s.XRay3DCraniofacialImageStorage, s.BreastTomosynthesisImageStorage, s.OphthalmicTomographyImageStorage,
            s.ParametricMapStorage, s.SegmentationStorage,
        ),
    )
)  # fmt: skip
"""SOP classes whose attributes of frames are all listed below. Frames of other classes are not extracted."""

_PER_FRAME = (
    "PerFrameFunctionalGroupsSequence", "PageNumberVector", "FrameLabelVector", "FramePrimaryAngleVector",
    "FrameSecondaryAngleVector", "SliceLocationVector", "DisplayWindowLabelVector",
    "PositionerPrimaryAngleIncrement", "PositionerSecondaryAngleIncrement", "TableVerticalIncrement",
    "TableLongitudinalIncrement", "TableLateralIncrement",
)  # fmt: skip
"""Attributes with a value or an item for each frame."""
_DROPPED = (
    "ExtendedOffsetTable", "ExtendedOffsetTableLengths", "RepresentativeFrameNumber", "FrameNumbersOfInterest",
    "FrameOfInterestDescription", "FrameOfInterestType", "MaskSubtractionSequence", "StartTrim", "StopTrim",
    "ConcatenationUID", "InConcatenationNumber", "InConcatenationTotalNumber", "ConcatenationFrameOffsetNumber",
    "SOPInstanceUIDOfConcatenationSource",
)  # fmt: skip
"""Optional attributes that refer to frames of the source by number, or say how its pixels are divided."""


class FramesRefused(Exception):
    """The new instance cannot be made.

    Args:
        status: One of AA00 to AA04 (PS3.4 C.4.3.1.4).
        comment: The reason, without values of the instance.
    """

    def __init__(self, status: int, comment: str) -> None:
        self.status, self.comment = status, comment
        super().__init__(comment)


@dataclass(frozen=True, slots=True)
class Frames:
    """The frames of one instance that a retrieval asks for."""

    sop_instance_uid: str
    """The instance that has the frames."""
    keyword: str
    """The attribute that names the frames: SimpleFrameList, CalculatedFrameList or TimeRange."""
    values: tuple[float, ...]
    """The values of that attribute."""

    def choose(self, dataset: Dataset, number: int) -> list[int]:
        """Return the frames that the instance has of these, in order, counted from 0.

        Args:
            dataset: The instance.
            number: The number of its frames.

        Raises:
            FramesRefused: The instance has none of these frames.
        """
        if self.keyword == "TimeRange":
            times = frame_times(dataset, number)
            if times is None:
                raise FramesRefused(0xAA03, "the times of its frames are not known")
            begin, end = self.values
            found = [frame for frame, time in enumerate(times) if begin <= time <= end]
        elif self.keyword == "SimpleFrameList":
            found = [int(frame) - 1 for frame in self.values if frame <= number]
        else:
            ranges = zip(*(map(int, self.values[start::3]) for start in range(3)), strict=True)
            found = [frame - 1 for first, last, step in ranges for frame in range(first, min(last, number) + 1, step)]
        if not found:
            raise FramesRefused(0xAA00, "none of these frames is there")
        return found


def is_frame_level(identifier: Dataset) -> bool:
    """Return whether an Identifier asks for frames.

    Args:
        identifier: The Identifier of a C-GET or C-MOVE request.
    """
    return [value.upper() for value in decode_ascii(identifier, _LEVEL)] == ["FRAME"]


def asked_frames(identifier: Dataset) -> Frames:
    """Check the Identifier of a retrieval at the FRAME level (PS3.4 Y.3.2, Y.4.1.1).

    Args:
        identifier: The Identifier.

    Returns:
        The frames that it asks for.

    Raises:
        FramesRefused: It does not ask for frames of one instance, or not in exactly one way.
    """
    uids = [uid for uid in decode_ascii(identifier, 0x00080018) if uid]
    named = [keyword for keyword in _KEYS if keyword in identifier]
    if len(uids) != 1:
        raise FramesRefused(0xAA04, "one SOP Instance UID is needed")
    if len(named) != 1:
        raise FramesRefused(0xAA04, "one of the keys of frames is needed")
    keyword = named[0]
    values = _numbers(identifier, keyword)
    if not values or not _VALID[keyword](values):
        raise FramesRefused(0xAA04, f"{keyword} is not valid")
    return Frames(uids[0], keyword, values)


def _numbers(identifier: Dataset, keyword: str) -> tuple[float, ...]:
    try:
        value = identifier[keyword].value
        values = value if isinstance(value, Sequence) and not isinstance(value, str | bytes) else [value]
        numbers = tuple(float(each) for each in values)
    except Exception:  # pydicom raises many kinds of errors for a bad value
        raise FramesRefused(0xAA04, f"{keyword} has no numbers") from None
    return numbers


def _is_simple(values: Sequence[float]) -> bool:
    return values[0] >= 1 and all(map(_is_whole, values)) and all(a < b for a, b in pairwise(values))


def _is_calculated(values: Sequence[float]) -> bool:
    """Check triples of first frame, last frame and step, in ascending order."""
    if len(values) % 3 or not all(map(_is_whole, values)):
        return False
    before = 0.0
    for first, last, step in zip(values[::3], values[1::3], values[2::3], strict=True):
        if not before < first <= last or step < 1:
            return False
        before = last
    return True


def _is_whole(number: float) -> bool:
    return number.is_integer()


def _is_time_range(values: Sequence[float]) -> bool:
    return len(values) == 2 and values[0] <= values[1]


_VALID: Mapping[str, Callable[[Sequence[float]], bool]] = {
    "SimpleFrameList": _is_simple,
    "CalculatedFrameList": _is_calculated,
    "TimeRange": _is_time_range,
}

# --- the new instance -------------------------------------------------------------------------------------------------


def extract(dataset: Dataset, frames: Frames) -> Dataset:
    """Make a new instance of some frames (PS3.4 Y.3.3). Blocks while the pixels are copied.

    It has the SOP class, study and series of the source, and a SOP Instance UID of its own. Private attributes, and
    attributes that refer to frames of the source by number, are left out.

    Args:
        dataset: The source with its file meta information. It is changed.
        frames: Which frames.

    Returns:
        The new instance.

    Raises:
        FramesRefused: The instance cannot be made.
    """
    meta = dataset.file_meta
    if str(meta.MediaStorageSOPClassUID) not in CLASSES or dataset.get("DimensionOrganizationType") == "TILED_FULL":
        raise FramesRefused(0xAA01, "no new instance of this SOP class can be made")
    try:
        number = int(dataset.get("NumberOfFrames") or 1)
        if number > MAX_FRAMES:
            raise FramesRefused(0xAA02, f"more than {MAX_FRAMES} frames")
        if number < 1:
            raise FramesRefused(0xAA02, "its number of frames is not valid")
        chosen = frames.choose(dataset, number)
        _take_pixels(dataset, number, chosen, UID(str(meta.TransferSyntaxUID)))
        _take_values(dataset, number, chosen)
        shift_times(dataset, number, chosen)
        dataset.NumberOfFrames = len(chosen)
        dataset.remove_private_tags()
        _add_origin(dataset, frames)
    except FramesRefused:
        raise
    except Exception as error:  # pydicom raises many kinds of errors, and their texts may quote values
        raise FramesRefused(0xAA02, f"the frames cannot be taken out ({type(error).__name__})") from None
    return dataset


def _take_pixels(dataset: Dataset, number: int, chosen: list[int], syntax: UID) -> None:
    keyword = next((each for each in _PIXELS if each in dataset), None)
    if keyword is None:
        raise FramesRefused(0xAA01, "it has no frames")
    if str(syntax) in _VIDEO:
        raise FramesRefused(0xAA02, "frames are not taken out of a video")
    pixels = dataset[keyword].value
    if syntax.is_encapsulated:
        try:
            whole = aiodimse.EncapsulatedFrames(pixels, number)
            dataset[keyword].value = encapsulate([whole[frame] for frame in chosen])
        except aiodimse.DatasetDecodeError:
            raise FramesRefused(0xAA02, "its frames cannot be separated") from None
        return
    size = get_expected_length(dataset, "bytes") // number
    is_split = dataset.get("BitsAllocated") == 1 and dataset.Rows * dataset.Columns * dataset.SamplesPerPixel % 8
    if not size or is_split or len(pixels) < size * number:
        raise FramesRefused(0xAA02, "its frames cannot be separated")
    view = memoryview(pixels)
    taken = b"".join(view[frame * size : (frame + 1) * size] for frame in chosen)
    dataset[keyword].value = taken + b"\0" * (len(taken) % 2)


def _take_values(dataset: Dataset, number: int, chosen: list[int]) -> None:
    for keyword in _DROPPED:
        if keyword in dataset:
            del dataset[keyword]
    for keyword in _PER_FRAME:
        if keyword in dataset:
            values: Any = dataset[keyword].value
            if values is None or isinstance(values, str | float | int) or len(values) != number:
                if number > 1:
                    raise FramesRefused(0xAA02, f"{keyword} does not have a value for each frame")
                continue
            setattr(dataset, keyword, [values[frame] for frame in chosen])


def _add_origin(dataset: Dataset, frames: Frames) -> None:
    """Add the Frame Extraction Module (PS3.3 C.12.3) and the contributing equipment (PS3.3 C.12.1.1.5)."""
    now = datetime.now(UTC)
    source = Dataset()
    # Not checked: pydicom would log a UID that is not valid.
    uid = DataElement("MultiFrameSourceSOPInstanceUID", "UI", frames.sop_instance_uid, validation_mode=config.IGNORE)
    source.add(uid)
    numbers = [number if frames.keyword == "TimeRange" else int(number) for number in frames.values]
    source.add(DataElement(tag_for_keyword(frames.keyword) or 0, _VRS[frames.keyword], numbers))
    _append(dataset, "FrameExtractionSequence", source)
    purpose = Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator = "109105", "DCM"
    purpose.CodeMeaning = "Frame Extracting Equipment"
    equipment = Dataset()
    equipment.PurposeOfReferenceCodeSequence = [purpose]
    equipment.Manufacturer = equipment.ManufacturerModelName = "aiodimse"
    equipment.SoftwareVersions = aiodimse.__version__
    equipment.ContributionDateTime = f"{now:%Y%m%d%H%M%S}+0000"
    _append(dataset, "ContributingEquipmentSequence", equipment)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid(prefix=None)
    dataset.InstanceCreationDate, dataset.InstanceCreationTime = f"{now:%Y%m%d}", f"{now:%H%M%S}"


_VRS = {"SimpleFrameList": "UL", "CalculatedFrameList": "UL", "TimeRange": "FD"}


def _append(dataset: Dataset, keyword: str, item: Dataset) -> None:
    setattr(dataset, keyword, [*(dataset.get(keyword) or ()), item])
