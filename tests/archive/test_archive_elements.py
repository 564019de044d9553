"""The reader of headers: it keeps what pydicom reads, and is not led astray."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from struct import pack

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file
from pydicom.filebase import DicomFileLike
from pydicom.filewriter import write_dataset

import aiodimse
from aiodimse.archive import elements, header, header_of, plain_elements, read_header
from aiodimse.archive.attributes import decode
from aiodimse.archive.elements import Elements, Encoding, Reading, TooMuch, Unreadable
from aiodimse.archive.header import DamagedHeader, header_in
from aiodimse.archive.plain_elements import Place, PlainElements

EXPLICIT, IMPLICIT = Encoding(False, True), Encoding(True, True)
STUDY_DESCRIPTION, PROCEDURE_CODES, SERIES_UID = 0x00081030, 0x00081032, 0x0020000E
CODED = ["StudyDescription", "ProcedureCodeSequence", "SeriesInstanceUID"]


def never(_tag: int) -> bool:
    return False


def read(data: bytes, encoding: Encoding = EXPLICIT) -> dict[int, bytes | tuple[Elements, ...]]:
    reading = Reading(data, encoding)
    reading.read({STUDY_DESCRIPTION, PROCEDURE_CODES, SERIES_UID}, never)
    return reading.elements.values


def short(tag: int, vr: str, value: bytes) -> bytes:
    return pack("<HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), len(value)) + value


def long(tag: int, vr: str, value: bytes, length: int | None = None) -> bytes:
    size = len(value) if length is None else length
    return pack("<HH2sHL", tag >> 16, tag & 0xFFFF, vr.encode(), 0, size) + value


UNDEFINED = 0xFFFFFFFF
END_OF_SEQUENCE, END_OF_ITEM = pack("<HHL", 0xFFFE, 0xE0DD, 0), pack("<HHL", 0xFFFE, 0xE00D, 0)
UID = short(SERIES_UID, "UI", b"1.2.3\0")


def item(value: bytes, length: int | None = None) -> bytes:
    return pack("<HHL", 0xFFFE, 0xE000, len(value) if length is None else length) + value


CODE = short(0x00080100, "SH", b"CODE")


@pytest.mark.parametrize(
    "file",
    [
        "CT_small.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm", "JPEG2000.dcm", "image_dfl.dcm",
        "rtplan.dcm", "test-SR.dcm", "waveform_ecg.dcm", "UN_sequence.dcm", "MR_truncated.dcm",
        "priv_SQ.dcm", "reportsi.dcm", "liver_1frame.dcm",
    ],
)  # fmt: skip
def test_it_keeps_what_pydicom_reads(file: str) -> None:
    """And what it does not take for an object, neither do we."""
    path = str(get_testdata_file(file, download=False))
    syntax = aiodimse.read_head(path).transfer_syntax

    def outcome(function: Callable[[], object]) -> object:
        try:
            return function()
        except ValueError as error:
            return str(error)

    def expected() -> object:
        found = header_of(dcmread(path, stop_before_pixels=True), path, syntax)
        return found.levels, found.character_set, found.model

    def ours() -> object:
        found = read_header(path)
        return found.levels, found.character_set, found.model

    assert outcome(ours) == outcome(expected)


CODES = st.lists(st.text("ABC^ 12", max_size=6), max_size=3)


@given(
    st.text("ABC 12", max_size=80), CODES, st.booleans(), st.sampled_from([EXPLICIT, IMPLICIT, Encoding(False, False)])
)
def test_it_keeps_what_was_written(description: str, codes: list[str], undefined: bool, encoding: Encoding) -> None:
    dataset = Dataset()
    dataset.StudyDescription = description
    items = []
    for code in codes:
        inner = Dataset()
        inner.CodeValue, inner.is_undefined_length_sequence_item = code, undefined
        items.append(inner)
    dataset.ProcedureCodeSequence = items
    dataset["ProcedureCodeSequence"].is_undefined_length = undefined
    dataset.SeriesInstanceUID = "1.2.3"
    buffer = io.BytesIO()
    file = DicomFileLike(buffer)
    file.is_implicit_VR, file.is_little_endian = encoding
    write_dataset(file, dataset)
    reading = Reading(buffer.getvalue(), encoding)
    reading.read({STUDY_DESCRIPTION, PROCEDURE_CODES, SERIES_UID}, never)
    assert decode(reading.elements, CODED) == decode(dataset, CODED)
    assert reading.reached == SERIES_UID


@given(st.binary(max_size=200))
def test_no_bytes_lead_it_astray(data: bytes) -> None:
    for encoding in (EXPLICIT, IMPLICIT, Encoding(False, False)):
        reading = Reading(data, encoding)
        with suppress(Unreadable, TooMuch):
            reading.read({STUDY_DESCRIPTION, PROCEDURE_CODES, SERIES_UID}, never)
        decode(reading.elements, CODED)


@pytest.mark.parametrize("cut", range(1, len(UID)))
def test_a_value_that_is_cut_off_is_not_kept(cut: int) -> None:
    data = short(STUDY_DESCRIPTION, "LO", b"HEAD") + UID
    reading = Reading(data[:-cut], EXPLICIT)
    with pytest.raises(Unreadable):
        reading.read({STUDY_DESCRIPTION, SERIES_UID}, never)
    assert reading.elements.values == {STUDY_DESCRIPTION: b"HEAD"}
    assert reading.reached == STUDY_DESCRIPTION


@pytest.mark.parametrize(
    "sequence",
    [
        long(PROCEDURE_CODES, "SQ", item(CODE)),
        long(PROCEDURE_CODES, "SQ", item(CODE + END_OF_ITEM, UNDEFINED)),
        long(PROCEDURE_CODES, "SQ", item(CODE) + END_OF_SEQUENCE, UNDEFINED),
        long(PROCEDURE_CODES, "SQ", item(CODE + END_OF_ITEM, UNDEFINED) + END_OF_SEQUENCE, UNDEFINED),
        long(PROCEDURE_CODES, "UN", item(pack("<HHL", 0x0008, 0x0100, 4) + b"CODE")),
        long(PROCEDURE_CODES, "UN", item(pack("<HHL", 0x0008, 0x0100, 4) + b"CODE") + END_OF_SEQUENCE, UNDEFINED),
    ],
    ids=["defined", "item undefined", "undefined", "both undefined", "UN", "UN undefined"],
)
def test_items_are_read_however_their_length_is_said(sequence: bytes) -> None:
    values = read(sequence + UID)
    (found,) = values[PROCEDURE_CODES]
    assert isinstance(found, Elements)
    assert found.values == {0x00080100: b"CODE"}
    assert values[SERIES_UID] == b"1.2.3\0"


@pytest.mark.parametrize(
    "inside",
    [b"\xff" * 20, item(CODE)[:-2], item(CODE) + b"\0", item(CODE, 200)],
    ids=["no item", "cut", "more", "long"],
)
def test_a_damaged_sequence_of_defined_length_has_no_items(inside: bytes) -> None:
    """And what stands behind it is read."""
    assert read(long(PROCEDURE_CODES, "SQ", inside) + UID) == {PROCEDURE_CODES: (), SERIES_UID: b"1.2.3\0"}


@pytest.mark.parametrize("depth", [7, 8, 9, 63])
def test_sequences_in_each_other_are_kept_so_deep(depth: int) -> None:
    inside = CODE
    for _ in range(depth):
        inside = long(PROCEDURE_CODES, "SQ", item(inside + END_OF_ITEM, UNDEFINED) + END_OF_SEQUENCE, UNDEFINED)
    values, kept = read(inside + UID), 0
    assert values[SERIES_UID] == b"1.2.3\0"
    while isinstance(items := values.get(PROCEDURE_CODES), tuple):
        kept, values = kept + 1, items[0].values
    assert kept == min(depth, 8)


def test_sequences_without_end_are_refused() -> None:
    with pytest.raises(TooMuch):
        read(long(PROCEDURE_CODES, "SQ", item(b"", UNDEFINED), UNDEFINED) * 1000)


def test_a_value_longer_than_any_honest_one_counts_as_empty() -> None:
    assert read(long(STUDY_DESCRIPTION, "UT", bytes(elements._LONGEST + 1)) + UID)[STUDY_DESCRIPTION] == b""


def test_what_is_not_at_hand_is_asked_for_once() -> None:
    """A megabyte that is passed over is not read."""
    data = long(0x00091010, "OB", bytes(1 << 20)) + short(STUDY_DESCRIPTION, "LO", b"HEAD") + UID
    asked: list[tuple[int, int]] = []

    def more(pos: int, size: int) -> bytes:
        asked.append((pos, size))
        return data[pos : pos + size]

    reading = Reading(data[:100], EXPLICIT, more)
    reading.read({STUDY_DESCRIPTION, SERIES_UID}, never)
    assert reading.elements.values == {STUDY_DESCRIPTION: b"HEAD", SERIES_UID: b"1.2.3\0"}
    assert [size for _, size in asked] == [1 << 16] * len(asked)
    assert len(asked) <= 2


def test_a_value_that_is_passed_over_has_to_be_there() -> None:
    data = long(0x00091010, "OB", bytes(1 << 17))[:-1]
    with pytest.raises(Unreadable):
        Reading(data[:100], EXPLICIT, lambda pos, size: data[pos : pos + size]).read({SERIES_UID}, never)


@pytest.mark.parametrize("damage", [b"\x28\0\x10\0XX\2\0\1\2", b"\x28\0\x10\0US\x09\0\1"], ids=["VR", "length"])
def test_what_is_damaged_behind_the_series_is_indexed_in_part(tmp_path: Path, damage: bytes) -> None:
    whole = Path(str(get_testdata_file("CT_small.dcm", download=False))).read_bytes()
    head = aiodimse.read_head(get_testdata_file("CT_small.dcm", download=False))
    rows = whole.index(b"\x28\0\x10\0US")
    header = header_in(whole[head.data_offset : rows] + damage, head.transfer_syntax, "x")
    assert header.is_partial
    assert header.text("StudyInstanceUID")
    with pytest.raises(DamagedHeader):
        header_in(whole[head.data_offset : head.data_offset + 100] + damage, head.transfer_syntax, "x")


# --- plain elements in a run ------------------------------------------------------------------------------------------

ITEM_HEAD = pack("<HHL", 0xFFFE, 0xE000, 0)
TAGS = [
    0x00080005, 0x00080016, STUDY_DESCRIPTION, PROCEDURE_CODES, 0x00091001, 0x0020000D, SERIES_UID,
    0x00280010, 0x0040A730, 0x30060010, 0x30060020, 0x300A0000, 0x7FE00010, 0xFFFEE000, 0,
]  # fmt: skip
A_SHORT = st.builds(
    short, st.sampled_from(TAGS), st.sampled_from(["LO", "UI", "US", "SQ", "XX"]), st.binary(max_size=6)
)
A_LONG = st.builds(long, st.sampled_from(TAGS), st.sampled_from(["SQ", "UN", "OB", "LO"]), st.binary(max_size=6))
IN_ORDER = st.builds(
    lambda tags, values: [short(tag, "LO", value) for tag, value in zip(sorted(tags), values, strict=False)],
    st.sets(st.sampled_from(TAGS)),
    st.lists(st.binary(max_size=9), min_size=len(TAGS), max_size=len(TAGS)),
)
WANTED = {STUDY_DESCRIPTION, PROCEDURE_CODES, SERIES_UID}


LEARNED = PlainElements(WANTED, header._is_behind)
"""Remembers the runs of all examples."""


def outcome_of(data: bytes, plain: PlainElements | None, first: int, most: int) -> object:
    """All that a reading says, with so many bytes at hand at first; the rest is asked for."""
    reading = Reading(data[:first], EXPLICIT, lambda pos, size: data[pos : pos + size])
    reading._left = most
    error = ""
    try:
        reading.read(WANTED, header._is_behind, plain)
    except (Unreadable, TooMuch) as caught:
        error = repr(caught)
    return decode(reading.elements, CODED), reading.reached, reading.disordered, reading._left, error


def assert_runs_change_nothing(data: bytes, first: int, most: int = elements.MAX_ELEMENTS) -> None:
    """Neither while they are read for the first time, nor when they are known, nor when others are."""
    expected = outcome_of(data, None, first, most)
    new = PlainElements(WANTED, header._is_behind)
    for plain in (new, new, LEARNED):
        assert outcome_of(data, plain, first, most) == expected


@given(st.lists(A_SHORT | A_LONG | st.just(ITEM_HEAD), max_size=12), st.binary(max_size=9), st.integers(8, 60))
def test_a_run_of_plain_elements_changes_nothing(parts: list[bytes], rest: bytes, first: int) -> None:
    assert_runs_change_nothing(b"".join(parts) + rest, first)


@given(IN_ORDER, IN_ORDER, st.integers(0, 9), st.integers(8, 200), st.integers(0, 30))
def test_a_run_changes_nothing_in_order(
    parts: list[bytes], behind: list[bytes], cut: int, first: int, most: int
) -> None:
    data = b"".join((*parts, *behind))
    assert_runs_change_nothing(data[: len(data) - cut], first, most)


@given(st.lists(st.tuples(*(st.binary(max_size=4) for _ in range(7))), min_size=2, max_size=8))
def test_what_differs_from_one_object_to_the_next_is_read_from_each(objects: list[tuple[bytes, ...]]) -> None:
    tags = (0x00080005, STUDY_DESCRIPTION, 0x00091001, 0x00091002, 0x0020000D, SERIES_UID, 0x00280010)
    plain = PlainElements(WANTED, header._is_behind)
    for values in objects:
        encoded = [
            (long if tag >> 16 == 9 else short)(tag, "OB" if tag >> 16 == 9 else "LO", value)
            for tag, value in zip(tags, values, strict=True)
        ]
        reading = Reading(b"".join(encoded), EXPLICIT)
        reading.read(WANTED, header._is_behind, plain)
        assert reading.elements.values == {STUDY_DESCRIPTION: values[1], SERIES_UID: values[5]}


def test_a_run_may_begin_with_a_long_element_of_another_length() -> None:
    plain = PlainElements(WANTED, header._is_behind)
    for length in (2, 4, 4, 6):
        reading = Reading(long(0x00090010, "OB", bytes(length)) + UID, EXPLICIT)
        reading.read(WANTED, header._is_behind, plain)
        assert reading.elements.values == {SERIES_UID: b"1.2.3\0"}


def test_a_peer_cannot_make_it_remember_more_and_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plain_elements, "_MOST", 16)
    plain = PlainElements(WANTED, header._is_behind)
    for number in range(100):
        data = short(0x00090000 + 1 + number, "LO", b"") * 2 + UID
        reading = Reading(data, EXPLICIT)
        reading.read(WANTED, header._is_behind, plain)
        assert reading.elements.values == {SERIES_UID: b"1.2.3\0"}
        assert len(plain._runs) <= 16
    many = b"".join(short(0x00090000 + 1 + number, "LO", b"") for number in range(1000))
    Reading(many, EXPLICIT).read(WANTED, header._is_behind, plain)
    assert max(len(run.headers) for run in plain._runs.values() if run is not None) <= plain_elements._LONGEST


@pytest.mark.parametrize("file", ["CT_small.dcm", "rtplan.dcm", "test-SR.dcm", "waveform_ecg.dcm", "rtstruct.dcm"])
def test_a_run_changes_nothing_in_real_files(file: str) -> None:
    path = Path(str(get_testdata_file(file, download=False)))
    head = aiodimse.read_head(path)
    data = path.read_bytes()[head.data_offset :]
    runs = PlainElements(header._TAGS, header._is_behind)
    for size in (len(data), 5000, 600):
        first, second, one_by_one = (Reading(data[:size], EXPLICIT) for _ in range(3))
        for each, plain in ((first, runs), (second, runs), (one_by_one, None)):
            with suppress(Unreadable):
                each.read(header._TAGS, header._is_behind, plain)
        for each in (first, second):
            assert each.reached == one_by_one.reached
            assert each.disordered == one_by_one.disordered
            assert each._left == one_by_one._left
            assert each.elements.values.keys() == one_by_one.elements.values.keys()
            if each.reached > SERIES_UID:
                assert str(header._header_of(each.elements, "x", head.transfer_syntax)) == str(
                    header._header_of(one_by_one.elements, "x", head.transfer_syntax)
                )


@pytest.mark.parametrize("end", [long(0x7FE00010, "OW", b"\0\0"), long(PROCEDURE_CODES, "SQ", b""), ITEM_HEAD])
def test_where_plain_elements_end_is_known_the_second_time(end: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = PlainElements(WANTED, header._is_behind)
    data = short(0x00080005, "CS", b"ISO_IR 6") + end + bytes(12)
    first = plain.read(data, Place(0, 0, 9), {})
    monkeypatch.setattr(plain, "_read_one_by_one", None)
    assert plain.read(data, Place(0, 0, 9), {}) == first == Place(16, 0x00080005, 8)
