"""QIDO-RS as C-FIND: makes an Identifier from a query, and DICOM JSON from a match (PS3.18 10.6 and F)."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydicom import Dataset
from pydicom.datadict import dictionary_VR, keyword_for_tag, tag_for_keyword

import aiodimse

_RETURNED: Final = {  # PS3.18 Tables 10.6.3-3 to 10.6.3-5, those attributes that C-FIND has
    "STUDY": "StudyDate StudyTime AccessionNumber ModalitiesInStudy ReferringPhysicianName PatientName PatientID"
    " PatientBirthDate PatientSex StudyInstanceUID StudyID StudyDescription NumberOfStudyRelatedSeries"
    " NumberOfStudyRelatedInstances",
    "SERIES": "Modality SeriesDescription SeriesInstanceUID SeriesNumber NumberOfSeriesRelatedInstances"
    " PerformedProcedureStepStartDate PerformedProcedureStepStartTime",
    "IMAGE": "SOPClassUID SOPInstanceUID InstanceNumber Rows Columns BitsAllocated NumberOfFrames",
}
_NO_KEYS: Final = frozenset({"limit", "offset", "fuzzymatching"})
_SET_HERE: Final = frozenset({"QueryRetrieveLevel", "SpecificCharacterSet"})
"""What an Identifier says of itself: a query neither sets it nor asks for it."""
_PATH: Final = (
    ("studies", "StudyInstanceUID"),
    ("series", "SeriesInstanceUID"),
    ("instances", "SOPInstanceUID"),
)
_FILE_META: Final = 0x0002
_SPECIFIC_CHARACTER_SET: Final = "00080005"
_RETRIEVE_URL: Final = "00081190"


def query_identifier(
    level: str, parameters: Iterable[tuple[str, str]], uids: Mapping[str, str] | None = None
) -> Dataset:
    """Make the Identifier of the C-FIND that answers a QIDO-RS search (PS3.18 10.6.1).

    Args:
        level: STUDY, SERIES or IMAGE.
        parameters: Names and values of the query string, decoded. A name is a keyword or a tag of eight hexadecimal
            digits; includefield adds keys to be returned; limit, offset and fuzzymatching are left to the caller.
        uids: The UIDs in the path of the URL, by their keywords.

    Returns:
        The Identifier, with the attributes that PS3.18 requires at this level.

    Raises:
        ValueError: A name is no attribute of PS3.6, or one that cannot be searched for, such as Query/Retrieve Level;
            or a value does not fit its VR.

    Examples:
        >>> dicomweb.query_identifier("STUDY", [("PatientID", "42"), ("includefield", "00081030")])
    """
    uids = uids or {}
    keys: dict[str, Any] = dict.fromkeys([*_RETURNED[level].split(), *uids])
    for name, value in parameters:
        if name == "includefield":
            for each in value.split(","):
                if each != "all" and _can_be_key(keyword := _keyword(each)):
                    keys.setdefault(keyword, None)
        elif name not in _NO_KEYS:
            keyword = _keyword(name)
            if not _can_be_key(keyword):
                raise ValueError(f"{keyword} cannot be searched for")
            keys[keyword] = value.split(",") if dictionary_VR(keyword) == "UI" else value
    return aiodimse.identifier(level, **keys | dict(uids))


def _keyword(name: str) -> str:
    """Return the keyword for a keyword or a tag."""
    if not name or tag_for_keyword(name) is None:
        try:
            name = keyword_for_tag(int(name, 16)) if len(name) == 8 else ""
        except ValueError:
            name = ""
        if not name:
            raise ValueError("a parameter is no attribute of PS3.6")
    return name


def _can_be_key(keyword: str) -> bool:
    """Return whether an attribute can be a key of the query. Those of groups 0000 and 0002 belong to no data set."""
    return keyword not in _SET_HERE and (tag_for_keyword(keyword) or 0) >> 16 > _FILE_META


def retrieve_url(dataset: Dataset, root: str) -> str:
    """Return the URL of the study, series or instance that a data set describes.

    Args:
        dataset: A data set with the UIDs down to its level.
        root: The URL of the parent of /studies, without a slash at its end.

    Returns:
        The URL (PS3.18 10.4.1).
    """
    uids = [(name, dataset.get(keyword)) for name, keyword in _PATH]
    return root + "".join(f"/{name}/{uid}" for name, uid in uids if uid)


def to_json(dataset: Dataset, root: str | None = None) -> str:
    """Return a data set in the DICOM JSON Model (PS3.18 F), with all binary values inline.

    Args:
        dataset: The data set, which is not changed.
        root: As for `retrieve_url`; Retrieve URL (0008,1190) is then added. None: it is not added.

    Returns:
        JSON. An element whose value does not fit its VR is left out, and so is a number that JSON does not have, such
        as NaN, and a group length. Specific Character Set is ISO_IR 192, since JSON is UTF-8.
    """
    model = dataset.to_json_dict(suppress_invalid_tags=True)
    _leave_out(model)
    if _SPECIFIC_CHARACTER_SET in model:
        model[_SPECIFIC_CHARACTER_SET] = {"vr": "CS", "Value": ["ISO_IR 192"]}
    if root is not None:
        model[_RETRIEVE_URL] = {"vr": "UR", "Value": [retrieve_url(dataset, root)]}
    return json.dumps(model, allow_nan=False)


def _leave_out(model: dict[str, Any]) -> None:
    """Remove numbers that JSON does not have (RFC 8259 6), and group lengths (PS3.18 F.2.2)."""
    for tag, element in list(model.items()):
        values = element.get("Value", ())
        if element["vr"] == "SQ":
            for item in values:
                _leave_out(item)
        elif tag.endswith("0000") or any(isinstance(value, float) and not math.isfinite(value) for value in values):
            del model[tag]
