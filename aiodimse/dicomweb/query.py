"""QIDO-RS as C-FIND: makes an Identifier from a query, and DICOM JSON from a match (PS3.18 10.6 and F)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from struct import error as StructError
from struct import pack
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
_NO_KEYS: Final = frozenset({"accept", "limit", "offset", "fuzzymatching"})
_SET_HERE: Final = frozenset({"QueryRetrieveLevel", "SpecificCharacterSet"})
"""What an Identifier says of itself: a query neither sets it nor asks for it."""
_PATH: Final = (
    ("studies", "StudyInstanceUID"),
    ("series", "SeriesInstanceUID"),
    ("instances", "SOPInstanceUID"),
)
_BINARY: Final = frozenset(("OB", "OD", "OF", "OL", "OV", "OW", "SQ", "UN"))
_NUMBERS: Final = {"US": "H", "SS": "h", "UL": "L", "SL": "l", "UV": "Q", "SV": "q", "FL": "f", "FD": "d"}
"""The VRs whose values are numbers, not text, and how struct packs them."""
_TEXTS: Final = frozenset(("LO", "LT", "PN", "SH", "ST", "UC", "UT"))
"""The VRs that Specific Character Set applies to (PS3.5 6.1.2.2)."""
_ONE_UID: Final = re.compile(r"[\w.+:-]{1,64}", re.ASCII)
"""A UID of digits and dots (PS3.5 9.1), or what broken senders write in its place, but no list and no wild card."""
_TAG: Final = re.compile(r"[0-9A-Fa-f]{8}")
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
            digits; includefield adds keys to be returned; limit, offset, fuzzymatching (see
            `fuzzy_warning`) and accept are left to the caller.
        uids: The UIDs in the path of the URL, by their keywords (see `path_uids`).

    Returns:
        The Identifier, with the attributes that PS3.18 requires at this level.

    Raises:
        ValueError: A name is no attribute of PS3.6, or one that cannot be searched for, such as Query/Retrieve Level
            or Pixel Data; or a value does not fit its VR; or the path has something else than a UID.

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
            keys[keyword] = _value(keyword, value)
    return aiodimse.identifier(level, **keys | path_uids(uids))


def fuzzy_warning(parameters: Iterable[tuple[str, str]], root: str) -> dict[str, str]:
    """Return the Warning header of the response to a search that asks for fuzzy matching of names (PS3.18 8.3.4.2).

    `query_identifier` leaves fuzzymatching out, so the C-FIND matches names literally, and the client has to know.

    Args:
        parameters: Names and values of the query string, decoded.
        root: The URL of the parent of /studies, without a slash at its end.

    Returns:
        The header by its name; no header if the search does not ask for fuzzy matching.

    Raises:
        ValueError: The value of fuzzymatching is neither true nor false.

    Example:
        ```python
        assert dicomweb.fuzzy_warning([("PatientName", "DOE")], "http://gateway.example/dicomweb") == {}
        ```
    """
    values = {value for name, value in parameters if name == "fuzzymatching"}
    if values - {"true", "false"}:
        raise ValueError("fuzzymatching is neither true nor false")
    if "true" not in values:
        return {}
    text = "The fuzzymatching parameter is not supported. Only literal matching has been performed."
    return {"Warning": f"299 {root}: {text}"}


def whole_number(text: str) -> int:
    """Read a number of a URL, such as a limit, an offset or the number of a frame.

    Args:
        text: The number, decoded.

    Returns:
        The number, from 0 on.

    Raises:
        ValueError: It is not a whole number, or has more than 19 digits.
    """
    if not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise ValueError("a number of the URL is not a whole number")
    return int(text)


def path_uids(parameters: Mapping[str, str]) -> dict[str, str]:
    """Take the UIDs from the path of a URL, each of which names one study, series or instance (PS3.18 8.2).

    Args:
        parameters: The parts of the path by name, decoded. Those whose name ends in "UID" are UIDs.

    Returns:
        The UIDs by name.

    Raises:
        ValueError: One is not a single UID: it is empty or too long, or has a character that no UID has. A backslash
            would make a list of it (PS3.5 6.4), and so name what the URL does not.

    Example:
        ```python
        uids = dicomweb.path_uids({"StudyInstanceUID": "1.2.3", "frames": "1,2"})
        assert uids == {"StudyInstanceUID": "1.2.3"}
        ```
    """
    uids = {name: value for name, value in parameters.items() if name.endswith("UID")}
    for name, value in uids.items():
        if not _ONE_UID.fullmatch(value):
            raise ValueError(f"{name} in the path is not a UID")
    return uids


def _value(keyword: str, text: str) -> Any:
    """Return the value of a key for its text in the query.

    Raises:
        ValueError: Its VR cannot have this value.
    """
    vr = dictionary_VR(keyword).partition(" ")[0]  # "US or SS"
    text.encode()  # raises a ValueError for half of a surrogate pair
    if vr in _BINARY:
        raise ValueError(f"{keyword} cannot be searched for")
    if not text:
        return None  # a universal key (PS3.18 8.3.4.1)
    if vr == "AT" and not _TAG.fullmatch(text):  # pydicom would also take a keyword or fewer digits, and quotes others
        raise ValueError(f"{keyword} cannot have this value")
    if vr in _NUMBERS:
        try:
            number = _finite(text) if vr in ("FL", "FD") else int(text)
            pack(f"<{_NUMBERS[vr]}", number)
        except (ValueError, OverflowError, StructError):
            raise ValueError(f"{keyword} cannot have this value") from None
        return number
    if vr not in _TEXTS and not text.isascii():
        raise ValueError(f"{keyword} cannot have this value")
    return text.split(",") if vr == "UI" else text


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError("not a number")
    return number


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
