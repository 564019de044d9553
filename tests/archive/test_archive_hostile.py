"""Identifiers that no honest peer sends: refused by name and in no time, or answered as if they were plain."""

from __future__ import annotations

import logging
from struct import pack

import pytest
from pydicom import Dataset
from pydicom.datadict import tag_for_keyword

from aiodimse.archive import IdentifierError, find_query, matches, retrieve_query
from aiodimse.archive.attributes import MAX_BYTES, character_set_of, decode, keys_of
from aiodimse.archive.models import COMPOSITE_INSTANCE, LEVEL_OF, STUDY_ROOT, Level
from aiodimse.datasets import decode_dataset, decode_identifier

LEVEL, CHARACTER_SET, STUDY_UID, IMAGE_UID = 0x00080052, 0x00080005, 0x0020000D, 0x00080018
NAME, DATE, DESCRIPTION, CODES = 0x00100010, 0x00080020, 0x00081030, 0x00081032


def element(tag: int, value: bytes = b"") -> bytes:
    """In Implicit VR Little Endian."""
    value += b" " * (len(value) & 1)
    return pack("<HHI", tag >> 16, tag & 0xFFFF, len(value)) + value


def item(content: bytes) -> bytes:
    return element(0xFFFEE000, content)


def asked(*elements: bytes, level: bytes = b"STUDY") -> Dataset:
    """As it is decoded from the wire."""
    data = b"".join(sorted((element(LEVEL, level), *elements), key=lambda each: (each[1], each[0], each[3], each[2])))
    return decode_identifier(data, "1.2.840.10008.1.2")


@pytest.mark.parametrize("terms", [b"undefined", b"utf_16", b"hex", b"idna", b"bogus", b"\\" * 1000, b"x" * 100_000])
def test_a_character_set_that_is_none_is_the_default_repertoire(
    terms: bytes, recwarn: pytest.WarningsRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    keys = find_query(asked(element(CHARACTER_SET, terms), element(NAME, b"DOE*")), STUDY_ROOT).keys
    assert [(key.keyword, key.values) for key in keys] == [("PatientName", ("DOE*",))]
    assert [str(each.message) for each in recwarn] == []
    assert caplog.records == []


@pytest.mark.parametrize("terms", [b"ISO_IR 6", b"\\", b"", b"x" * 100_000])
def test_nor_is_it_given_back(terms: bytes) -> None:
    assert character_set_of(asked(element(CHARACTER_SET, terms))) == ()


@pytest.mark.parametrize("terms", ["undefined", "utf_16", "ISO_IR 149"])
def test_an_unknown_one_is_given_back_with_the_bytes_that_it_means_something_to(terms: str) -> None:
    assert character_set_of(asked(element(CHARACTER_SET, terms.encode()))) == (terms,)


@pytest.mark.parametrize("terms", [b"undefined", b"utf_16"])
def test_nor_does_an_item_choose_a_codec(terms: bytes) -> None:
    content = element(CHARACTER_SET, terms) + element(0x00080104, b"HEAD*")
    (key,) = find_query(asked(element(CODES, item(content))), STUDY_ROOT).keys
    assert [(each.keyword, each.values) for each in key.item][1:] == [("CodeMeaning", ("HEAD*",))]


def test_bytes_that_are_no_text_warn_nobody(recwarn: pytest.WarningsRecorder, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        keys_of(asked(element(CHARACTER_SET, b"ISO_IR 192"), element(NAME, b"\xff\x1b\x1b$B\xff" * 500)))
    assert [str(each.message) for each in recwarn] == []
    assert caplog.records == []


@pytest.mark.parametrize(
    ("tag", "value"),
    [
        (DESCRIPTION, b"a\\" * 500_000),
        (DESCRIPTION, b"\\" * 1_000_000),
        (DESCRIPTION, b"*a" * 500_000),
        (NAME, b"\x1b" * 1_000_000),
        (DATE, b"20200101\\" * 100_000),
        (CODES, item(b"".join(element(0x00110000 | private) for private in range(0x1000, 0x8000)))),
        (STUDY_UID, b"1\\" * 500_000),
    ],
)
def test_more_than_may_be_asked_is_refused_where_it_stands(tag: int, value: bytes) -> None:
    with pytest.raises(IdentifierError) as caught:
        find_query(asked(element(tag, value)), STUDY_ROOT)
    assert caught.value.status == 0xA700
    assert caught.value.offending_elements == (tag,)
    assert 0 < len(caught.value.comment) <= 64


def test_more_than_may_be_retrieved() -> None:
    with pytest.raises(IdentifierError) as caught:
        retrieve_query(asked(element(IMAGE_UID, b"1\\" * 500_000), level=b"IMAGE"), COMPOSITE_INSTANCE)
    assert (caught.value.status, caught.value.offending_elements) == (0xA701, (IMAGE_UID,))


def test_many_uids_are_no_more_than_a_list() -> None:
    uids = [f"1.2.{number}" for number in range(30_000)]
    query = retrieve_query(asked(element(IMAGE_UID, "\\".join(uids).encode()), level=b"IMAGE"), COMPOSITE_INSTANCE)
    assert query.unique == {Level.IMAGE: tuple(uids)}


def test_many_keys_that_are_not_kept_are_not_read() -> None:
    private = [element(0x00110000 | each, b"\\" * 20) for each in range(0x1000, 0x8000)]
    query = find_query(asked(element(NAME, b"DOE*"), *private), STUDY_ROOT)
    assert [key.keyword for key in query.keys] == ["PatientName"]
    assert len(query.unsupported) == 0x7000


@pytest.mark.parametrize("depth", [8, 9, 60])
def test_sequences_nest_no_deeper_than_objects_are_read(depth: int) -> None:
    content = element(0x00080100, b"X")
    for _ in range(depth):
        content = element(CODES, item(content))
    if depth > 8:
        with pytest.raises(IdentifierError) as caught:
            find_query(asked(content), STUDY_ROOT)
        assert (caught.value.status, caught.value.offending_elements) == (0xA700, (CODES,))
    else:
        (key,) = find_query(asked(content), STUDY_ROOT).keys
        assert not matches([key], {})


def test_a_sequence_key_has_one_item() -> None:
    """C.2.2.2.6. To drop the others would be to answer with more than was asked for."""
    two = item(element(0x00080100, b"A")) + item(element(0x00080100, b"B"))
    with pytest.raises(IdentifierError) as caught:
        find_query(asked(element(CODES, two)), STUDY_ROOT)
    assert (caught.value.status, caught.value.offending_elements) == (0xA900, (CODES,))


@pytest.mark.parametrize("value", [b"LO\2\0AB", b"US\2\0AB", b"OB\0\0\2\0\0\0AB"])
def test_nor_does_a_sequence_key_that_is_no_sequence_match_everything(value: bytes) -> None:
    """In Explicit VR, where a peer says what it is."""
    data = b"\x08\0\x52\0CS\6\0STUDY \x08\0\x32\x10" + value
    with pytest.raises(IdentifierError) as caught:
        find_query(decode_identifier(data, "1.2.840.10008.1.2.1"), STUDY_ROOT)
    assert (caught.value.status, caught.value.offending_elements) == (0xA900, (CODES,))


@pytest.mark.parametrize("value", [b"", element(0xFFFEE000)])
def test_an_empty_sequence_key_matches_everything(value: bytes) -> None:
    (key,) = find_query(asked(element(CODES, value)), STUDY_ROOT).keys
    assert matches([key], {})


def test_all_that_is_kept_can_be_asked_for_at_once() -> None:
    tags = [tag for keyword in LEVEL_OF if (tag := tag_for_keyword(keyword))]
    everything = asked(*(element(tag) for tag in tags if tag != STUDY_UID), level=b"STUDY")
    assert len(find_query(everything, STUDY_ROOT).keys) > 30
    assert 8 * len(tags) < MAX_BYTES / 10


def test_what_is_stored_is_kept_as_far_as_its_vr_goes() -> None:
    """In Implicit VR a patient's name may be 4 GiB long, and would stay in memory."""
    stored = decode_dataset(element(DESCRIPTION, b"HEAD") + element(NAME, b"A" * 70_000), "1.2.840.10008.1.2")
    assert decode(stored, ["PatientName", "StudyDescription"]) == {"PatientName": (), "StudyDescription": ("HEAD",)}
