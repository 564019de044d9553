"""Makes Identifiers from keywords, for C-FIND, C-GET and C-MOVE."""

from __future__ import annotations

import difflib
import re
from datetime import date, datetime, time
from typing import Any

from pydicom.datadict import dictionary_VR, keyword_dict, tag_for_keyword
from pydicom.dataset import Dataset

_UTF_8 = "ISO_IR 192"
_LEVELS = ("PATIENT", "STUDY", "SERIES", "IMAGE", "FRAME")
"""PS3.4 C.3 and Y.3. A peer that is asked for another level refuses, or answers what was not asked for."""
_ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d")


def identifier(level: str | None = None, /, **keywords: Any) -> Dataset:
    """Make an Identifier (PS3.4 C.4.1.1.3): keys with values to be matched, and keys to be returned.

    Args:
        level: Query/Retrieve Level (0008,0052): PATIENT, STUDY, SERIES, IMAGE or FRAME, in any case; None: the
            Identifier has no level, as for a worklist.
        **keywords: Values by the keyword of PS3.6. None is a universal key: it matches everything, and is returned.
            A list stands for several values; dates and times may be those of datetime. Sequences are lists of Datasets.

    Returns:
        A new Dataset. Text that is not ASCII makes its Specific Character Set ISO_IR 192, unless one is given.

    Raises:
        ValueError: There is no such level or keyword, or the VR does not allow the value.

    Examples:
        >>> aiodimse.identifier("STUDY", PatientID="42", StudyDate="20240101-", StudyInstanceUID=None)
    """
    dataset = Dataset()
    if level is not None:
        if level.upper() not in _LEVELS:
            raise ValueError(f"not a Query/Retrieve Level ({', '.join(_LEVELS)}): {level!r}")
        dataset.QueryRetrieveLevel = level.upper()
    for keyword, value in keywords.items():
        tag = tag_for_keyword(keyword)
        if tag is None:
            near = difflib.get_close_matches(keyword, keyword_dict, n=1)
            raise ValueError(f"no keyword of PS3.6: {keyword}" + "".join(f"; did you mean {word}?" for word in near))
        vr = dictionary_VR(tag)
        if vr == "DA" and isinstance(value, str) and _ISO_DATE.search(value):
            # pydicom would only warn, and the peer would match nothing.
            raise ValueError(f"{keyword}: a date is written YYYYMMDD (PS3.5 6.2), or given as a datetime.date")
        try:
            dataset.add_new(tag, vr, _value(value))
        except (TypeError, AttributeError) as error:
            raise ValueError(f"{keyword} cannot have this value: {error}") from error
    if "SpecificCharacterSet" not in keywords and not all(_is_ascii(value) for value in keywords.values()):
        dataset.SpecificCharacterSet = _UTF_8
    return dataset


def _value(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.strftime("%Y%m%d%H%M%S.%f%z")
    if isinstance(value, date):
        return value.strftime("%Y%m%d")
    if isinstance(value, time):
        return value.strftime("%H%M%S.%f")
    return list(map(_value, value)) if isinstance(value, (list, tuple)) else value


def _is_ascii(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_ascii, value))
    if isinstance(value, Dataset):
        return all(_is_ascii(element.value) for element in value)
    return str(value).isascii() if isinstance(value, str) or hasattr(value, "original_string") else True
