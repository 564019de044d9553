"""Objects and queries that hypothesis draws, for tests of the index and of the information models."""

from __future__ import annotations

from hypothesis import strategies as st
from pydicom import Dataset, config

from aiodimse.archive import Header, Query, find_query
from aiodimse.archive.matching import Rules, Value
from aiodimse.archive.models import ATTRIBUTES, COMPUTED, PATIENT_ROOT, Level
from aiodimse.archive.one_level import BY_NAME
from aiodimse.archive.queries import find_one_level


def values(*texts: str) -> st.SearchStrategy[tuple[str, ...]]:
    return st.sampled_from([(), *((text,) for text in texts), texts[:2]])


LEVELS = {
    Level.PATIENT: {
        "PatientID": values("1", "2", "DOM\\anna", "0", "a\0b"),
        "IssuerOfPatientID": values("NORTH", "SOUTH"),
        "PatientName": values("Doe^John", "DOE^JOHN^^", "Roe^Jane=王^小東=", "Müller^Jörg", "^", "Doe^J\0hn"),
        "PatientBirthDate": values("19700101", "1970.01.01", "no date"),
    },
    Level.STUDY: {
        "StudyDate": values("20200102", "20201231", "yesterday"),
        "StudyTime": values("0900", "235959.5"),
        "AccessionNumber": values("A1", "A2", "a1"),
        "StudyID": values("1", "10"),
        "StudyDescription": values("HEAD", "Schädel\ud800"),
    },
    Level.SERIES: {"Modality": values("CT", "MR"), "SeriesNumber": values("1", "01")},
    Level.IMAGE: {"SOPClassUID": values("1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.2")},
}
CHARACTER_SETS = st.sampled_from([(), ("ISO_IR 100",), ("", "ISO 2022 IR 87")])


@st.composite
def headers(draw: st.DrawFn) -> Header:
    study, series, image = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(1, 3))
    levels: dict[Level, dict[str, Value]] = {
        level: {keyword: value for keyword, each in keywords.items() if (value := draw(each)) or draw(st.booleans())}
        for level, keywords in LEVELS.items()
    }
    levels[Level.STUDY]["StudyInstanceUID"] = (f"1.{study}",)
    levels[Level.SERIES]["SeriesInstanceUID"] = (f"1.{study}.{series}",)
    levels[Level.IMAGE]["SOPInstanceUID"] = (f"1.{study}.{series}.{image}",)
    location = draw(st.sampled_from(["a", "b", "c/d", "c/e", "c\udc80/\udc81", f"{study}/{series}/{image}"]))
    return Header(
        location,
        levels,
        draw(CHARACTER_SETS),
        "1.2.840.10008.1.2.1",
        draw(st.integers(0, 1 << 40)),
        draw(st.integers(7, 9)),
    )


TEXTS = {
    "PatientID": ["", "1", "DOM\\anna", "*", "D*", "a\0b", ["1", "2"]],
    "PatientName": [
        "",
        "doe*",
        "DOE^JOHN",
        "*小東*",
        "=王*",
        "M?ller*",
        "doe^john*",
        ["doe*", "roe*"],
        '""',
        "d*=*",
        "^*",
    ],
    "PatientBirthDate": ["", "19700101", "-19800101", "19600101-"],
    "StudyDate": ["", "20200102", "20200101-20200601", "-20201231", "20200102-", "-"],
    "StudyTime": ["", "0900-1000", "0900", "*"],
    "AccessionNumber": ["", "A1", "A*", "?1", ["A1", "A2"], '""'],
    "StudyID": ["", "1", "1*"],
    "StudyInstanceUID": ["", "1.1", ["1.2", "1.3"]],
    "SeriesInstanceUID": ["", "1.1.1", ["1.2.1", "1.1.2"]],
    "SOPInstanceUID": ["", "1.1.1.1"],
    "Modality": ["", "CT", "C*"],
    "ModalitiesInStudy": ["", "CT", "M*", ["CT", "MR"]],
    "NumberOfStudyRelatedInstances": ["", "1"],
    "IssuerOfPatientID": ["", "NORTH"],
}
RULES = st.builds(
    Rules,
    relational=st.just(True),
    date_time=st.booleans(),
    fuzzy_names=st.booleans(),
    empty_value_matching=st.booleans(),
    multiple_value_matching=st.booleans(),
)


def asked(level: str | None = None, /, **keys: object) -> Dataset:
    """An Identifier. aiodimse.identifier refuses what these tests ask."""
    dataset = Dataset()
    if level is not None:
        dataset.QueryRetrieveLevel = level
    for keyword, value in keys.items():
        setattr(dataset, keyword, value)
    return dataset


@st.composite
def queries(draw: st.DrawFn) -> Query:
    level = draw(st.sampled_from(Level))
    texts: dict[str, str | list[str]] = {}
    known = {keyword: its for its, keywords in ATTRIBUTES.items() for keyword in keywords} | dict(COMPUTED)
    for keyword in draw(st.lists(st.sampled_from(sorted(COMPUTED)), max_size=2, unique=True)):
        if COMPUTED[keyword] <= level:
            texts[keyword] = ""
    for keyword in draw(st.lists(st.sampled_from(sorted(TEXTS)), max_size=4, unique=True)):
        if known[keyword] <= level:
            texts[keyword] = draw(st.sampled_from(TEXTS[keyword]))
    identifier = Dataset()
    with config.disable_value_validation():
        identifier.SpecificCharacterSet = "ISO_IR 192"
        identifier.QueryRetrieveLevel = level.name
        for keyword, text in texts.items():
            setattr(identifier, keyword, text or None)
    return find_query(identifier, PATIENT_ROOT, draw(RULES))


PROTOCOL = BY_NAME["hanging-protocol"]
_IN_AN_ITEM: tuple[Value, ...] = (
    (),
    ({},),
    ({"Modality": ("CT",)}, {}),
    ({"AnatomicRegionSequence": ({"CodeValue": ("王",)},)},),
)


@st.composite
def protocols(draw: st.DrawFn) -> Header:
    """Objects that belong to no study, with the UIDs and locations of those that do."""
    uid = draw(st.sampled_from(["1.1.1.1", "1.2.1.1", "9"]))
    attributes: dict[str, Value] = {"SOPInstanceUID": (uid,), "SOPClassUID": PROTOCOL.storage}
    attributes["HangingProtocolName"] = draw(values("CT Head", "Schädel\0"))
    attributes["HangingProtocolDefinitionSequence"] = draw(st.sampled_from(_IN_AN_ITEM))
    location = draw(st.sampled_from(["a", "c/d", "p"]))
    return Header(location, {Level.IMAGE: attributes}, draw(CHARACTER_SETS), model=PROTOCOL.name, size=5)


@st.composite
def protocol_queries(draw: st.DrawFn) -> Query:
    identifier = Dataset()
    identifier.SOPInstanceUID = draw(st.sampled_from([None, "9", ["9", "1.1.1.1", "1.2", "9"]]))
    identifier.HangingProtocolName = draw(st.sampled_from([None, "CT*", "*", "ct head"]))
    if draw(st.booleans()):
        inside = Dataset()
        inside.Modality = "CT"
        identifier.HangingProtocolDefinitionSequence = draw(st.sampled_from([[], [inside], [Dataset()]]))
    return find_one_level(identifier, PROTOCOL)


DATES = ("20200101", "2020.01.02", "19991231", "20200229")
_CHARACTERS = "aA1 ^-.äÄßẞſıİKé\u0301\u0338王小東やﾔハﾞ\0\x01\x85\xa0\ue000\U00020000\U0010ffff\ud800"
_TEXT = st.text(_CHARACTERS, max_size=5)
NAMED = {
    "PatientID": _TEXT.map(str.strip),
    "PatientName": st.lists(_TEXT, min_size=1, max_size=3).map("=".join),
    "PatientBirthDate": st.sampled_from(("", *DATES)),
    "StudyDate": st.sampled_from(("", *DATES)),
    "AccessionNumber": _TEXT,
    "StudyID": _TEXT,
}
"""The attributes for which a database has conditions of its own, with the texts that it could treat unlike Python."""
