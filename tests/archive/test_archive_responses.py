"""Response identifiers: from a file's bytes, through the index, to the bytes of a response and back to text."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from struct import pack
from typing import Any

import pytest
from archive import strategies
from pydicom import DataElement, Dataset, dcmread
from pydicom.data import get_charset_files, get_testdata_file
from pydicom.datadict import DicomDictionary
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from aiodimse.archive.attributes import decode, element
from aiodimse.archive.header import read_header
from aiodimse.archive.index import Header, MemoryIndex
from aiodimse.archive.matching import Key
from aiodimse.archive.models import ATTRIBUTES, STUDY_ROOT
from aiodimse.archive.queries import find_query
from aiodimse.archive.responses import choose_character_set, response
from aiodimse.datasets import decode_dataset, encode_dataset


def over_the_wire(dataset: Dataset) -> Dataset:
    """What a peer decodes from what is sent in Explicit VR Little Endian."""
    buffer = DicomBytesIO()
    buffer.is_little_endian, buffer.is_implicit_VR = True, False
    write_dataset(buffer, dataset)
    return read_dataset(io.BytesIO(buffer.getvalue()), is_implicit_VR=False, is_little_endian=True)


def asked(level: str = "STUDY", **keys: object) -> Dataset:
    return over_the_wire(strategies.asked(level, SpecificCharacterSet="ISO_IR 192", **keys))


async def answers(paths: list[Path], identifier: Dataset) -> list[Dataset]:
    index = MemoryIndex()
    for path in paths:
        await index.add([read_header(path)])
    query = find_query(identifier, STUDY_ROOT)
    return [over_the_wire(response(query, match, ae_title="ARCHIVE")) async for match in index.find(query)]


@pytest.mark.parametrize(
    ("file", "key", "character_set"),
    [
        ("chrGerm.dcm", "äneas^RÜDIGER", "ISO_IR 100"),
        ("chrFren.dcm", "buc^j?r?me", "ISO_IR 100"),
        ("chrH31.dcm", "山田*", ["", "ISO 2022 IR 87"]),
        ("chrH31.dcm", "yamada^*", ["", "ISO 2022 IR 87"]),
        ("chrH32.dcm", "ﾔﾏﾀﾞ*=*=やまだ*", ["ISO 2022 IR 13", "ISO 2022 IR 87"]),
        ("chrX1.dcm", "王^小東", "ISO_IR 192"),
        ("chrX2.dcm", "*小东", "GB18030"),
        ("chrRuss.dcm", "люкc*", "ISO_IR 144"),  # the c is a Latin one, and in the file too
        ("chrI2.dcm", "=洪*", ["", "ISO 2022 IR 149"]),
        ("chrGreek.dcm", "ΔΙΟΝ*", "ISO_IR 126"),
        ("chrArab.dcm", "*نزار", "ISO_IR 127"),
        ("chrHbrw.dcm", "שרון*", "ISO_IR 138"),
    ],
)
async def test_names_are_found_and_returned_in_the_character_set_of_the_object(
    file: str, key: str, character_set: str | list[str]
) -> None:
    paths = [Path(path) for path in get_charset_files("*.dcm")]
    paths = [path for path in paths if not path.name.startswith("chrSQ")]
    (path,) = (path for path in paths if path.name == file)
    found = await answers(paths, asked(PatientName=key))
    original = dcmread(path)
    names = {str(each.PatientName): each.SpecificCharacterSet for each in found}
    assert names[str(original.PatientName)] == character_set


async def test_mixed_character_sets_become_utf_8(a_file: Callable[..., Path]) -> None:
    paths = [
        a_file("1", image="1", SpecificCharacterSet="ISO_IR 100", PatientName="", StudyDescription="Schädel"),
        a_file("2", image="2", SpecificCharacterSet=["", "ISO 2022 IR 87"], PatientName="Yamada^Tarou=山田^太郎"),
    ]
    (found,) = await answers(paths, asked(PatientName="", StudyDescription=""))
    assert found.SpecificCharacterSet == "ISO_IR 192"
    assert (str(found.PatientName), found.StudyDescription) == ("Yamada^Tarou=山田^太郎", "Schädel")


async def test_patient_and_study_of_several_character_sets(a_file: Callable[..., Path]) -> None:
    paths = [
        a_file("1", study="1", SpecificCharacterSet="ISO_IR 100", PatientName="Müller^Jörg", StudyDescription="A"),
        a_file("2", study="2", SpecificCharacterSet="ISO_IR 144", PatientName="X", StudyDescription="Люк"),
    ]
    one, two = await answers(paths, asked(PatientName="", StudyDescription=""))
    assert (one.SpecificCharacterSet, str(one.PatientName)) == ("ISO_IR 100", "Müller^Jörg")
    assert (two.SpecificCharacterSet, str(two.PatientName)) == ("ISO_IR 144", "X")
    paths.append(a_file("3", study="2", image="2", SpecificCharacterSet="ISO_IR 100", PatientBirthDate="19700101"))
    assert {each.SpecificCharacterSet for each in await answers(paths, asked(StudyDescription=""))} == {
        "ISO_IR 100",
        "ISO_IR 192",
    }
    assert two.StudyDescription == "Люк"


@pytest.mark.parametrize(
    ("candidates", "texts", "expected"),
    [
        ([()], ["plain"], ()),
        ([()], ["é"], ("ISO_IR 192",)),
        ([("ISO_IR 100",)], ["plain"], ("ISO_IR 100",)),
        ([("ISO_IR 100",)], ["é"], ("ISO_IR 100",)),
        ([("ISO_IR 100",)], ["山"], ("ISO_IR 192",)),
        ([("ISO_IR 13",)], ["ﾔ"], ("ISO_IR 13",)),
        ([("ISO_IR 13",)], ["山"], ("ISO_IR 192",)),
        ([("", "ISO 2022 IR 87")], ["山", "é"], ("ISO_IR 192",)),
        ([("ISO_IR 100",), ("ISO_IR 144",)], ["plain"], ()),
        ([("ISO_IR 100",), ("ISO_IR 144",)], ["é"], ("ISO_IR 192",)),
        ([("ISO_IR 192",), ("ISO_IR 192",)], ["é"], ("ISO_IR 192",)),
        # Of an unknown one the text is its bytes, which go back as they came.
        ([("bogus",)], ["é"], ("bogus",)),
        ([("utf_16",)], ["é"], ("utf_16",)),
        ([("bogus",)], ["山"], ("ISO_IR 192",)),
        ([("ISO_IR 13",)], ["CT ﾌﾞ"], ("ISO_IR 13",)),
        ([("ISO 2022 IR 87",)], ["A^B"], ("ISO 2022 IR 87",)),
    ],
)
def test_choose_character_set(candidates: list[tuple[str, ...]], texts: list[str], expected: tuple[str, ...]) -> None:
    assert choose_character_set(candidates, texts) == expected


async def test_a_response_holds_what_was_asked_for_and_nothing_else() -> None:
    path = Path(get_testdata_file("CT_small.dcm", download=False))
    identifier = asked(
        StudyDate="", StudyID="", AccessionNumber="", ModalitiesInStudy="", NumberOfStudyRelatedInstances="",
        InstanceAvailability="", StudyDescription="*", PixelSpacing=None,
    )  # fmt: skip
    (found,) = await answers([path], identifier)
    assert {element.keyword: str(element.value or "") for element in found} == {
        "SpecificCharacterSet": "ISO_IR 100",
        "QueryRetrieveLevel": "STUDY",
        "RetrieveAETitle": "ARCHIVE",
        "StudyDate": "20040119",
        "StudyID": "1CT1",
        "AccessionNumber": "",
        "ModalitiesInStudy": "CT",
        "NumberOfStudyRelatedInstances": "1",
        "InstanceAvailability": "ONLINE",
        "StudyDescription": "e+1",
    }


async def test_numbers_and_several_values_at_the_image_level() -> None:
    path = Path(get_testdata_file("CT_small.dcm", download=False))
    original = dcmread(path)
    unique = {"StudyInstanceUID": original.StudyInstanceUID, "SeriesInstanceUID": original.SeriesInstanceUID}
    identifier = asked(
        "IMAGE", **unique, Rows=None, ImageType="", SliceLocation="", InstanceNumber="1", SOPInstanceUID=""
    )
    (found,) = await answers([path], identifier)
    for keyword in ("Rows", "ImageType", "SliceLocation", "InstanceNumber", "SOPInstanceUID"):
        assert found[keyword].value == original[keyword].value, keyword


async def test_values_that_do_not_fit_their_vr_go_back_as_they_came(a_file: Callable[..., Path]) -> None:
    path = a_file("1", SeriesNumber="77777")
    path.write_bytes(path.read_bytes().replace(b"77777", b"1.5x7"))
    (found,) = await answers([path], asked("SERIES", StudyInstanceUID="1.2.1", SeriesNumber=""))
    assert found.get_item("SeriesNumber").value.strip() == b"1.5x7"


@pytest.mark.parametrize(
    ("keyword", "vr", "texts", "expected"),
    [
        ("Rows", "US", ("abc",), None),
        ("Rows", "US", ("1", ""), None),
        ("Rows", "US", ("1", "2"), [1, 2]),
        ("RecommendedDisplayFrameRateInFloat", "FL", ("fast",), None),
        ("StudyDescription", "LO", ("HEAD", "NECK"), ["HEAD", "NECK"]),
    ],
)
def test_no_text_of_a_program_is_an_error(keyword: str, vr: str, texts: tuple[str, ...], expected: object) -> None:
    """A binary value is empty where its text is no number."""
    assert element(Key(keyword, vr), texts).value == expected


def test_a_name_that_is_a_sequence_is_no_name() -> None:
    """A peer chooses the VR of its element."""
    dataset = Dataset()
    dataset.add(DataElement(0x00100010, "SQ", [Dataset()]))
    assert decode(dataset, ["PatientName"]) == {"PatientName": ()}


async def test_matching_items_with_the_attributes_asked_for(a_file: Callable[..., Path]) -> None:
    def item(**attributes: str) -> Dataset:
        dataset = Dataset()
        for keyword, value in attributes.items():
            setattr(dataset, keyword, value)
        return dataset

    codes = [
        item(CodeValue="A", CodingSchemeDesignator="99X", CodeMeaning="Schädel"),
        item(CodeValue="B", CodingSchemeDesignator="99X", CodeMeaning="Hüfte"),
    ]
    path = a_file("1", SpecificCharacterSet="ISO_IR 100", ProcedureCodeSequence=codes)
    (found,) = await answers([path], asked(ProcedureCodeSequence=[item(CodeValue="B", CodeMeaning="")]))
    assert found.ProcedureCodeSequence == [item(CodeValue="B", CodeMeaning="Hüfte")]
    (found,) = await answers([path], asked(ProcedureCodeSequence=[]))
    assert found.ProcedureCodeSequence == codes
    assert await answers([path], asked(ProcedureCodeSequence=[item(CodeValue="C")])) == []


def _a_tag_of_each_vr() -> list[Any]:
    tags = {
        entry[0]: tag for tag, entry in DicomDictionary.items() if tag >> 16 not in (0x0000, 0x0002, 0x0004, 0xFFFE)
    }
    return [pytest.param(tag, id=vr.replace(" ", "-")) for vr, tag in sorted(tags.items()) if vr != "SQ"]


@pytest.mark.parametrize("value", [b"", b"1", b"\xff" * 8, b"\x1b$B!", b"1.5\\x", b"20200101", b"A" * 70_000])
@pytest.mark.parametrize("tag", _a_tag_of_each_vr())
async def test_whatever_an_item_holds_a_query_is_answered(tag: int, value: bytes) -> None:
    """Or one object that somebody stored would fail each query that finds it."""

    def implicit(tag: int, value: bytes) -> bytes:
        value += b" " * (len(value) & 1)
        return pack("<HHI", tag >> 16, tag & 0xFFFF, len(value)) + value

    stored = (
        (0x00080018, b"1.2.3"),
        (0x00081032, implicit(0xFFFEE000, implicit(tag, value))),
        (0x0020000D, b"1.2"),
        (0x0020000E, b"1.2.1"),
    )
    dataset = decode_dataset(b"".join(implicit(*each) for each in stored), ImplicitVRLittleEndian)
    index = MemoryIndex()
    levels = {level: decode(dataset, keywords) for level, keywords in ATTRIBUTES.items()}
    await index.add([Header("1", levels)])
    query = find_query(asked(ProcedureCodeSequence=[]), STUDY_ROOT)
    (found,) = [response(query, match, ae_title="ARCHIVE") async for match in index.find(query)]
    for syntax in (ImplicitVRLittleEndian, ExplicitVRLittleEndian):
        assert len(decode_dataset(encode_dataset(found, syntax), syntax).ProcedureCodeSequence) == 1
