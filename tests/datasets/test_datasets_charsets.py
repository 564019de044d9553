"""Text in the character sets of PS3.3 C.12.1.1.2: known bytes both ways, and silence about bytes that are none."""

from __future__ import annotations

import copy
import pickle
import shutil
import struct
import subprocess
from io import BytesIO
from pathlib import Path

import pydicom
import pytest
from hypotheses import examples
from hypothesis import assume, given
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.data import get_charset_files
from pydicom.filereader import read_dataset

from aiodimse.datasets import decode_dataset, encode_dataset, encode_response
from aiodimse.datasets.charsets import DEFAULT, NotInCharacterSet, lookup
from aiodimse.standard.character_set import EXTENSIONS
from aiodimse.standard.transfer_syntax import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

FILES = [path for path in map(Path, get_charset_files("*.dcm")) if not path.name.startswith("chrSQ")]

# The terms, the VR, the text and its bytes. The first ten are PS3.5 Annexes H to K and PS3.3 C.12.1.1.2.
KNOWN = [
    ("", "PN", "Yamada^Tarou", b"Yamada^Tarou"),
    ("ISO_IR 100", "PN", "Buc^Jérôme", b"Buc^J\xe9r\xf4me"),
    ("ISO_IR 144", "PN", "Люкceмбypг", b"\xbb\xee\xda\x63\x65\xdc\xd1\x79\x70\xd3"),
    (
        "\\ISO 2022 IR 87",
        "PN",
        "Yamada^Tarou=山田^太郎=やまだ^たろう",
        b"Yamada^Tarou=\x1b$B;3ED\x1b(B^\x1b$BB@O:\x1b(B=\x1b$B$d$^$@\x1b(B^\x1b$B$?$m$&\x1b(B",
    ),
    (
        "ISO 2022 IR 13\\ISO 2022 IR 87",
        "PN",
        "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう",
        b"\xd4\xcf\xc0\xde^\xc0\xdb\xb3=\x1b$B;3ED\x1b(J^\x1b$BB@O:\x1b(J=\x1b$B$d$^$@\x1b(J^\x1b$B$?$m$&\x1b(J",
    ),
    (
        "\\ISO 2022 IR 149",
        "PN",
        "Hong^Gildong=洪^吉洞=홍^길동",
        b"Hong^Gildong=\x1b$)C\xfb\xf3^\x1b$)C\xd1\xce\xd4\xd7=\x1b$)C\xc8\xab^\x1b$)C\xb1\xe6\xb5\xbf",
    ),
    ("ISO_IR 192", "PN", "Wang^XiaoDong=王^小東", "Wang^XiaoDong=王^小東".encode()),
    ("GB18030", "PN", "Wang^XiaoDong=王^小东", b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab"),
    ("GBK", "PN", "Wang^XiaoDong=王^小东", b"Wang^XiaoDong=\xcd\xf5^\xd0\xa1\xb6\xab"),
    (
        "\\ISO 2022 IR 58",
        "PN",
        "Zhang^XiaoDong=张^小东=",
        b"Zhang^XiaoDong=\x1b$)A\xd5\xc5^\x1b$)A\xd0\xa1\xb6\xab=",
    ),
    ("\\ISO 2022 IR 58", "LT", "1. 中\r\n2. 文", b"1. \x1b$)A\xd6\xd0\r\n2. \x1b$)A\xce\xc4"),
    # A single-byte set beside another, and beside a two-byte one: value 1 is active again before each delimiter.
    ("ISO 2022 IR 100\\ISO 2022 IR 126", "LO", "éα\\é", b"\xe9\x1b-F\xe1\x1b-A\\\xe9"),
    ("ISO 2022 IR 100\\ISO 2022 IR 126", "PN", "α^é", b"\x1b-F\xe1\x1b-A^\xe9"),
    ("ISO 2022 IR 100\\ISO 2022 IR 87", "LO", "é山é", b"\xe9\x1b$B;3\x1b(B\xe9"),
    ("ISO 2022 IR 100\\ISO 2022 IR 87", "LO", "山 a", b"\x1b$B;3\x1b(B a"),
    ("\\ISO 2022 IR 100\\ISO 2022 IR 144", "LO", "é^Я", b"\x1b-A\xe9^\x1b-L\xcf"),
    ("\\ISO 2022 IR 159", "LO", "丂", b"\x1b$(D0!\x1b(B"),
    ("\\ISO 2022 IR 87\\ISO 2022 IR 159", "LO", "山丂山", b"\x1b$B;3\x1b$(D0!\x1b$B;3\x1b(B"),
    ("\\ISO 2022 IR 13", "LO", "Aﾔ B", b"A\x1b)I\xd4 B"),
    ("\\ISO 2022 IR 203", "LO", "Œ", b"\x1b-b\xbc"),
    ("ISO_IR 203", "PN", "Œuvre^€", b"\xbcuvre^\xa4"),
    # A backslash within a two-byte code separates nothing.
    ("\\ISO 2022 IR 87", "LO", "表\\ミ", b"\x1b$BI=\x1b(B\\\x1b$B%_\x1b(B"),
    ("\\ISO 2022 IR 87", "LO", "充", b"\x1b$B=<\x1b(B"),
    # ISO_IR 13 has ASCII as well, in the same component too.
    ("ISO_IR 13", "LO", "CT ﾌﾞ", b"CT \xcc\xde"),
    ("ISO_IR 13", "PN", "A~^ﾔﾏ", b"A~^\xd4\xcf"),
    # Value 1 says what needs no escape sequence, or is read so that it does not.
    ("ISO 2022 IR 87", "PN", "A^B", b"A^B"),
    ("ISO 2022 IR 159", "LO", "A丂", b"A\x1b$(D0!\x1b(B"),
    ("ISO 2022 IR 149", "PN", "Hong=洪^吉洞", b"Hong=\xfb\xf3^\xd1\xce\xd4\xd7"),
    ("ISO_IR 149", "PN", "Hong=洪^吉洞", b"Hong=\xfb\xf3^\xd1\xce\xd4\xd7"),
    ("ISO_IR 58", "LO", "张", b"\xd5\xc5"),
    # An unknown term keeps its bytes.
    ("ISO_IR 999", "LO", "\xb1\xe8", b"\xb1\xe8"),
    ("utf_16", "LO", "a\xff", b"a\xff"),
]


@pytest.mark.parametrize(("terms", "vr", "text", "data"), KNOWN)
def test_known_bytes(terms, vr, text, data):
    assert lookup(terms).decode(data, vr) == text
    assert lookup(terms).encode(text, vr) == data
    assert lookup(terms).can_encode(text) or terms == ""


@pytest.mark.parametrize(
    ("terms", "vr", "data", "text"),
    [
        # Escape sequences that others write: not of the listed sets, repeated, without the way back.
        ("\\ISO 2022 IR 87", "PN", b"\x1b$B;3\x1b(J^a", "山^a"),
        ("\\ISO 2022 IR 87", "PN", b"\x1b)I\xd4^\xcf", "ﾔ^ﾏ"),
        ("\\ISO 2022 IR 87", "LO", b"\x1b$B;3\\\x1b$BED\x1b(B", "山\\田"),
        ("\\ISO 2022 IR 87", "LO", b"\x1b$B;3\r\nAB", "山\r\nAB"),
        ("\\ISO 2022 IR 149", "PN", b"\x1b$)C\xb1\xe8^\xc8\xf1", "김^희"),
        ("\\ISO 2022 IR 149", "LO", b"\x1b$)C\xb1\xe8^\xc8\xf1", "김^희"),
        ("ISO 2022 IR 100\\ISO 2022 IR 126", "PN", b"\x1b-F\xe1^\xe9", "α^é"),
        ("ISO 2022 IR 100\\ISO 2022 IR 126", "LO", b"\x1b-F\xe1^\xe1", "α^α"),
        ("ISO 2022 IR 100\\ISO 2022 IR 126", "UT", b"\x1b-F\xe1\\\xe1", "α\\α"),
        ("ISO 2022 IR 149", "LO", b"\x1b$)C\xb1\xe8", "김"),
        ("ISO-IR 100", "LO", b"\xe9", "é"),
        ("ISO_2022_IR_100", "LO", b"\xe9", "é"),
        (" ISO_IR 100 ", "LO", b"\xe9", "é"),
        ("", "LO", b"\xe9", "é"),
        ("ISO_IR 100", "LO", b"\x1b-F\xe1", "\x1b-Fá"),  # no code extensions: ESC means nothing
    ],
)
def test_what_others_write_is_read(terms, vr, data, text):
    assert lookup(terms).decode(data, vr) == text


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_names_of_pydicom_s_files_go_both_ways(path):
    dataset = dcmread(path)
    charset = lookup(dataset.get("SpecificCharacterSet"))
    name = dataset.PatientName.original_string
    assert charset.decode(name, "PN") == str(dataset.PatientName)
    assert charset.encode(str(dataset.PatientName), "PN") == name


def test_escape_sequences_of_single_byte_sets_are_those_of_the_standard():
    escapes = {each.number: each.escape for each in EXTENSIONS}
    assert {each: escapes[each] for each in (100, 101, 109, 110, 126, 127, 138, 144, 148, 166, 203)} == {
        number: b"\x1b-" + final
        for number, final in zip(
            (100, 101, 109, 110, 144, 127, 126, 138, 148, 166, 203),
            (b"A", b"B", b"C", b"D", b"L", b"G", b"F", b"H", b"M", b"T", b"b"),
            strict=True,
        )
    }


SINGLE = [str(each.number) for each in EXTENSIONS if each.width == 1]
MULTIPLE = [str(each.number) for each in EXTENSIONS if each.width == 2]
TERMS = st.one_of(
    st.sampled_from(["", "ISO_IR 6", "ISO_IR 192", "GB18030", "GBK", *(f"ISO_IR {number}" for number in SINGLE)]),
    st.lists(
        st.sampled_from([f"ISO 2022 IR {number}" for number in ("6", *SINGLE, *MULTIPLE)]), min_size=1, max_size=5
    ),
    st.lists(st.sampled_from([f"ISO 2022 IR {number}" for number in (*SINGLE, *MULTIPLE)]), min_size=1, max_size=5).map(
        lambda terms: ["", *terms]
    ),
)
REPERTOIRE = "AZ az~09=^\\ éÄß€Œ ąŁ Ħ ĸ αΩ ب א Я ğ ก ﾔﾏﾀﾞ 山田太郎やまだ表充ミ 丂 김희중洪 张小东 \r\n\f\t"
TEXTS = st.text(st.sampled_from(REPERTOIRE) | st.characters(exclude_categories=("Cs", "Cc")), max_size=30)


@examples(500)
@given(TERMS, TEXTS, st.sampled_from(["PN", "LO", "UT", "SH", "ST"]))
def test_what_was_encoded_decodes_to_the_same_text(terms, text, vr):
    charset = lookup(terms)
    try:
        data = charset.encode(text, vr)
    except NotInCharacterSet:
        assert not charset.can_encode(text)
        return
    assert charset.decode(data, vr) == text
    if "\x1b" not in text:
        assert data.isascii() or not text.isascii()


@examples(300)
@given(TERMS, TEXTS, st.data())
def test_values_encoded_apart_decode_together(terms, text, data):
    charset = lookup(terms)
    assume(charset.can_encode(text) and not charset.is_default)
    vr = data.draw(st.sampled_from(["PN", "LO"]))
    joined = b"\\".join(charset.encode(each, vr) for each in text.split("\\"))  # without a way back before it
    assert charset.decode(joined, vr) == text


@given(
    TERMS,
    st.lists(
        st.sampled_from([b"\x1b", b"\x1b(B", b"\x1b)I", b"\x1b$B", b"\x1b$)C", b"\x1b-A", b"\x1b$(D"]) | st.binary()
    ),
    st.sampled_from(["PN", "LO", "UT"]),
)
def test_whatever_the_bytes_are_they_are_some_text(terms, pieces, vr):
    assert isinstance(lookup(terms).decode(b"".join(pieces), vr), str)


@pytest.mark.parametrize("value", [b"\x1b" * 100, b"\x1b$B\x1b", b"\xff\xfe", b"\x1b-Bx", b"\x1b$)C\xff"])
@pytest.mark.parametrize("terms", ["", "ISO_IR 192", "\\ISO 2022 IR 87", "\\ISO 2022 IR 149", "undefined"])
def test_bytes_that_are_no_text_warn_nobody(value, terms, recwarn, caplog):
    lookup(terms).decode(value)
    assert [str(each.message) for each in recwarn] == []
    assert caplog.records == []


@pytest.mark.parametrize("terms", ["", None, [], [""], "ISO_IR 6", b"", b"ISO_IR 6", "x" * 1000, b"x" * 1000])
def test_what_means_the_default_repertoire(terms):
    assert lookup(terms).is_default
    assert lookup(terms).codecs == DEFAULT.codecs


@pytest.mark.parametrize(
    ("text", "terms", "expected"),
    [
        ("Müller", "ISO_IR 100", True),
        ("Müller", "", False),
        ("山田", "ISO_IR 100", False),
        ("山田", "\\ISO 2022 IR 87", True),
        ("ﾔ", "ISO_IR 13", True),
        ("A", "ISO_IR 13", True),
        ("山", "ISO_IR 13", False),
        ("¥", "ISO_IR 13", False),  # its code is that of the backslash
        ("똠", "\\ISO 2022 IR 149", False),  # a Python codec would write it in eight bytes
        ("\x1b", "\\ISO 2022 IR 87", False),
        ("", "ISO_IR 100", True),
    ],
)
def test_can_encode(text, terms, expected):
    assert lookup(terms).can_encode(text) is expected


@pytest.mark.parametrize("terms", ["", "ISO_IR 192", "ISO 2022 IR 13\\ISO 2022 IR 87", "ISO_IR 999"])
def test_a_character_set_is_copied_as_itself(terms):
    charset = lookup(terms)
    for other in (copy.copy(charset), copy.deepcopy(charset), pickle.loads(pickle.dumps(charset))):
        assert other.terms == charset.terms


# --- against DCMTK ----------------------------------------------------------------------------------------------------


def element(tag: int, vr: bytes, value: bytes) -> bytes:
    value += b" " * (len(value) % 2)
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr, len(value)) + value


def by_dcmtk(folder: Path, terms: bytes, name: bytes, description: bytes) -> pydicom.Dataset:
    """What dcmconv makes of it in UTF-8."""
    meta = element(0x00020010, b"UI", b"1.2.840.10008.1.2.1\0")
    data = (
        element(0x00080005, b"CS", terms)
        + element(0x00081030, b"LO", description)
        + element(0x00100010, b"PN", name)
        + element(0x00104000, b"LT", description)
    )
    source, target = folder / "source.dcm", folder / "target.dcm"
    source.write_bytes(bytes(128) + b"DICM" + element(0x00020000, b"UL", struct.pack("<L", len(meta))) + meta + data)
    subprocess.run(["dcmconv", "+U8", source, target], check=True, capture_output=True, timeout=60)
    return dcmread(target)


@pytest.mark.skipif(shutil.which("dcmconv") is None, reason="DCMTK is not installed")
@pytest.mark.parametrize(
    ("terms", "text"),
    [
        ("ISO_IR 100", "Jérôme^É"),
        ("ISO_IR 101", "Ąłan^Š"),
        ("ISO_IR 126", "Διον^α"),
        ("ISO_IR 13", "CT ﾌﾞ^ﾔ"),
        ("\\ISO 2022 IR 149", "Kim^김=희중^洪 a"),
        ("\\ISO 2022 IR 58", "Zhang^张=小 东^a"),
        ("\\ISO 2022 IR 100\\ISO 2022 IR 149", "é김^é=희 a"),
        ("ISO 2022 IR 100\\ISO 2022 IR 126", "éα^é=αé^ω"),
        ("ISO 2022 IR 144\\ISO 2022 IR 100\\ISO 2022 IR 58", "Яé张^Я=小é^é"),
        ("GB18030", "张^丂=😀"),
        ("GBK", "张^丂"),
        ("ISO_IR 192", "김^é=张"),
    ],
)
def test_dcmtk_reads_what_is_written(tmp_path, terms, text):
    charset = lookup(terms)
    read = by_dcmtk(tmp_path, terms.encode(), charset.encode(text, "PN"), charset.encode(text, "LO"))
    assert read.PatientName == text
    assert read.StudyDescription == read.PatientComments == text


# --- in data sets -----------------------------------------------------------------------------------------------------


@examples(200)
@given(TERMS, TEXTS, TERMS, TEXTS, st.booleans())
def test_a_response_is_always_encoded_and_says_what_went_in(terms, text, item_terms, item_text, implicit):
    text, item_text = (
        each.translate(dict.fromkeys(map(ord, "\\=\r\n\f\t"))).strip(" \0") for each in (text, item_text)
    )
    item = pydicom.Dataset()
    item.SpecificCharacterSet = item_terms
    item.PatientName = item.StudyDescription = item_text
    answer = pydicom.Dataset()
    answer.SpecificCharacterSet = terms
    answer.PatientName = answer.StudyDescription = answer.PatientComments = text
    answer.ReferencedStudySequence = [item, pydicom.Dataset()]
    answer.ReferencedStudySequence[1].StudyDescription = text
    syntax = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    again = decode_dataset(encode_response(answer, syntax), syntax)
    assert again.PatientName == again.StudyDescription == again.PatientComments == text
    first, second = again.ReferencedStudySequence
    assert first.PatientName == first.StudyDescription == item_text
    assert second.StudyDescription == text


@pytest.mark.parametrize("terms", ["ISO 2022 IR 87", "ISO 2022 IR 159", "\\ISO 2022 IR 58", "ISO_IR 13", "ISO_IR 999"])
def test_values_are_read_without_a_warning_and_written_as_they_were(terms, recwarn, caplog):
    data = (
        element(0x00080005, b"CS", terms.encode())
        + element(0x00100010, b"PN", b"A^B")
        + element(0x00100020, b"LO", b"1 ")
    )
    dataset = decode_dataset(data, ExplicitVRLittleEndian)
    assert (dataset.PatientName, dataset.PatientID) == ("A^B", "1")
    assert encode_dataset(dataset, ExplicitVRLittleEndian) == data
    assert [str(each.message) for each in recwarn] == []
    assert caplog.records == []


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("is_open", [False, True])
def test_an_empty_one_in_an_item_is_the_default_repertoire(syntax, is_open):
    """It replaces that of the data set (PS3.5 7.5.3), when it is read, when it is encoded again, and for pydicom."""
    item = pydicom.Dataset()
    item.SpecificCharacterSet, item.PatientID = "", "Ä"
    item.is_undefined_length_sequence_item = is_open
    dataset = pydicom.Dataset()
    dataset.SpecificCharacterSet, dataset.PatientID = "ISO_IR 192", "Ä"
    dataset.ReferencedStudySequence = [item]
    data = encode_dataset(dataset, syntax)
    over = encode_dataset(decode_dataset(data, syntax), ExplicitVRLittleEndian)
    for again in (
        decode_dataset(data, syntax),
        decode_dataset(over, ExplicitVRLittleEndian),
        read_dataset(BytesIO(over), is_implicit_VR=False, is_little_endian=True),
    ):
        assert again.PatientID == again.ReferencedStudySequence[0].PatientID == "Ä"
