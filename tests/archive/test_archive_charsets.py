"""Any character sets, of objects and of Identifiers: every match is answered, and decodes to the text that went in."""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from struct import pack

import pytest
from archive.conftest import make_object
from hypotheses import examples
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset

import aiodimse
from aiodimse import charsets, sop_class, testing
from aiodimse.archive import Archive, provide
from aiodimse.archive.header import read_header
from aiodimse.archive.index import MemoryIndex
from aiodimse.archive.models import STUDY_ROOT
from aiodimse.archive.queries import find_query
from aiodimse.archive.responses import response
from aiodimse.archive.texts import text_of
from aiodimse.datasets import decode_dataset, encode_dataset, encode_response
from aiodimse.datasets.saving import PartTenWriter
from aiodimse.standard.character_set import EXTENSIONS
from aiodimse.standard.transfer_syntax import ExplicitVRLittleEndian, ImplicitVRLittleEndian

FIND = sop_class.StudyRootQueryRetrieveInformationModelFind
EXPLICIT = str(ExplicitVRLittleEndian)

NUMBERS = [each.number for each in EXTENSIONS]
ALONE = ["", "ISO_IR 6", "ISO_IR 192", "GB18030", "GBK", *(f"ISO_IR {each.number}" for each in EXTENSIONS)]
TERMS = st.one_of(
    st.sampled_from(ALONE),
    st.lists(st.sampled_from(["", *(f"ISO 2022 IR {number}" for number in NUMBERS)]), min_size=1, max_size=4).map(
        "\\".join
    ),
)
# Some of each set; those of other sets are left out where an object cannot have them.
LETTERS = "AZaz09 .^äÉŒ€ąŁĦĸαΩבאЯјğกﾔﾏﾀﾞ山田太郎やまだ表充ミ丂김희중洪张小东"


@st.composite
def texts(draw: st.DrawFn, terms: str) -> str:
    charset = charsets.lookup(terms)
    drawn = draw(st.text(st.sampled_from([letter for letter in LETTERS if charset.can_encode(letter)]), max_size=12))
    return drawn.strip(" ^")


@st.composite
def objects(draw: st.DrawFn) -> tuple[str, str, str, str, str]:
    """Character set, name and description; character set of an item and what it says."""
    terms, inner = draw(TERMS), draw(st.none() | TERMS)
    return terms, draw(texts(terms)), draw(texts(terms)), inner or "", draw(texts(inner or terms))


def stored(folder: Path, number: int, what: tuple[str, str, str, str, str]) -> Path:
    terms, name, description, inner, meaning = what
    item = Dataset()
    if inner:
        item.SpecificCharacterSet = inner.split("\\")
    item.CodeMeaning = meaning
    dataset = make_object(patient=f"P{number}", study=str(number))
    dataset.SpecificCharacterSet = terms.split("\\")
    dataset.PatientName, dataset.StudyDescription = name, description
    dataset.ProcedureCodeSequence = [item]
    uids = str(dataset.SOPClassUID), str(dataset.SOPInstanceUID)
    with PartTenWriter(folder, *uids, EXPLICIT) as writer:
        return writer.finish(encode_dataset(dataset, EXPLICIT))


def identifier(terms: str, name: str) -> Dataset:
    """As it is decoded from the wire; in ISO_IR 192 where the character set does not have the name."""
    asked = Dataset()
    asked.SpecificCharacterSet = terms.split("\\")
    asked.QueryRetrieveLevel = "STUDY"
    asked.StudyInstanceUID = asked.StudyDescription = asked.PatientID = ""
    asked.PatientName = name
    asked.ProcedureCodeSequence = [Dataset()]
    asked.ProcedureCodeSequence[0].CodeMeaning = ""
    return decode_dataset(encode_response(asked, EXPLICIT), EXPLICIT)


@examples(200)
@given(st.lists(objects(), min_size=1, max_size=4), TERMS, st.booleans(), st.data())
def test_every_match_is_answered_as_it_went_in(
    stored_ones: list[tuple[str, str, str, str, str]], terms: str, implicit: bool, data: st.DataObject
) -> None:
    wanted = data.draw(st.sampled_from(["", *(name for _, name, *_ in stored_ones)]))
    syntax = str(ImplicitVRLittleEndian) if implicit else EXPLICIT

    async def found() -> dict[str, Dataset]:
        index = MemoryIndex()
        with tempfile.TemporaryDirectory() as folder:
            await index.add([read_header(stored(Path(folder), number, one)) for number, one in enumerate(stored_ones)])
        query = find_query(identifier(terms, wanted), STUDY_ROOT)
        answers = [response(query, match, ae_title="ARCHIVE") async for match in index.find(query)]
        decoded = [decode_dataset(encode_response(answer, syntax), syntax) for answer in answers]
        return {str(answer.StudyInstanceUID): answer for answer in decoded}

    answers = asyncio.run(found())
    for number, (_, name, description, _, meaning) in enumerate(stored_ones):
        answer = answers.get(f"1.2.{number}")
        if answer is None:
            assert wanted
            assert name != wanted
            continue
        assert (str(answer.PatientName or ""), answer.StudyDescription) == (name, description)
        assert answer.ProcedureCodeSequence[0].CodeMeaning == meaning
        assert not wanted or name.casefold() == wanted.casefold() or not name.isascii() or not wanted.isascii()


def raw(tag: int, vr: str, value: bytes) -> bytes:
    value += b"\0" if len(value) % 2 and vr == "UI" else b" " * (len(value) % 2)
    return pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), len(value)) + value


def an_object(terms: bytes, name: bytes, description: bytes = b"") -> bytes:
    return (
        raw(0x00080005, "CS", terms)
        + raw(0x00080016, "UI", str(sop_class.MRImageStorage).encode())
        + raw(0x00080018, "UI", b"1.2.3")
        + raw(0x00081030, "LO", description)
        + raw(0x00100010, "PN", name)
        + raw(0x00100020, "LO", b"1")
        + raw(0x0020000D, "UI", b"1.2.1")
        + raw(0x0020000E, "UI", b"1.2.2")
    )


CASES = {
    "IR 87 alone": (b"ISO 2022 IR 87", b"A^B", "A^B", b"A^B "),
    "IR 159 alone": (b"ISO 2022 IR 159", b"A^B", "A^B", b"A^B "),
    "ISO_IR 13 with ASCII": (b"ISO_IR 13", b"CT \xcc\xde", "CT ﾌﾞ", b"CT \xcc\xde "),
    "IR 58": (b"\\ISO 2022 IR 58", b"\x1b$)A\xd5\xc5", "张", b"\x1b$)A\xd5\xc5"),
    "IR 149 without its prefix": (b"ISO_IR 149", b"\xfb\xf3", "洪", b"\xfb\xf3"),
    "Latin-9": (b"ISO_IR 203", b"\xbcuvre^\xa4", "Œuvre^€", b"\xbcuvre^\xa4 "),
    "unknown": (b"ISO_IR 999", b"\xfb\xf3", "ûó", b"\xfb\xf3"),
    "a name that is no text": (b"\\ISO 2022 IR 87", b"\x1b$B\x7e\x7e\x1b(B", "\ufffd\ufffd", None),
    "characters of no set declared": (b"", b"M\xfcller", "Müller", None),
}


@pytest.mark.parametrize("case", CASES)
async def test_real_mistakes_are_answered_over_the_wire(tmp_path: Path, case: str) -> None:
    terms, name, text, sent = CASES[case]
    with PartTenWriter(tmp_path, str(sop_class.MRImageStorage), "1.2.3", EXPLICIT) as writer:
        writer.finish(an_object(terms, name))
    async with await Archive.open(tmp_path) as archive:
        server = aiodimse.Server(ae_title="ARCHIVE")
        provide(server, archive)
        for wanted in ("", text):
            async with testing.joined(server, contexts=[FIND]) as association:
                (match,) = await association.c_find(identifier("ISO_IR 192", wanted), FIND).collect()
            assert match.PatientName == text
            if sent is not None and not wanted:
                reread = encode_dataset(match, EXPLICIT)
                assert raw(0x00100010, "PN", sent) in reread


async def test_a_query_in_iso_ir_13_matches_no_strangers(tmp_path: Path) -> None:
    for number, name in enumerate((b"CT ??", b"CT \xcc\xde", b"CT AB", b"CT \xcc")):
        with PartTenWriter(tmp_path, str(sop_class.MRImageStorage), f"1.2.3.{number}", EXPLICIT) as writer:
            data = an_object(b"ISO_IR 13", name).replace(
                raw(0x00080018, "UI", b"1.2.3"), raw(0x00080018, "UI", b"1.2.3.%d" % number)
            )
            writer.finish(data.replace(raw(0x0020000D, "UI", b"1.2.1"), raw(0x0020000D, "UI", b"1.2.1.%d" % number)))
    asked = Dataset()
    asked.SpecificCharacterSet = "ISO_IR 13"
    asked.QueryRetrieveLevel, asked.StudyInstanceUID, asked.PatientName = "STUDY", "", "CT ﾌﾞ"
    async with await Archive.open(tmp_path) as archive:
        server = aiodimse.Server(ae_title="ARCHIVE")
        provide(server, archive)
        async with testing.joined(server, contexts=[FIND]) as association:
            found = await association.c_find(asked, FIND).collect()
    assert [match.StudyInstanceUID for match in found] == ["1.2.1.1"]


@pytest.mark.parametrize("length", [10, 64, 65, 200])
def test_a_value_that_came_before_is_read_in_its_own_character_set_and_order(length: int) -> None:
    """Short values are remembered, by their bytes and all that they mean something in."""
    data = b"\xc4" * length
    read = [text_of(data, "LO", charsets.lookup((name,)), "<") for name in ("ISO_IR 100", "ISO_IR 144")]
    assert read == [("Ä" * length,), ("Ф" * length,)]
    assert text_of(data, "UI", charsets.DEFAULT, "<") == ("\xc4" * length,)
    numbers = [text_of(b"\1\0" * length, "US", charsets.DEFAULT, order) for order in "<>"]
    assert numbers == [("1",) * length, ("256",) * length]
    assert text_of(b"A\\B" + b" " * length, "LT", charsets.DEFAULT, "<") == ("A\\B",)
    assert text_of(b"A\\B" + b" " * length, "LO", charsets.DEFAULT, "<") == ("A", "B")
