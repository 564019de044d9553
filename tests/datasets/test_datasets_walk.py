from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom._dicom_dict import DicomDictionary
from pydicom.data import get_testdata_file
from pydicom.datadict import dictionary_VR, masks
from rows import for_each_row

from aiodimse.datasets.deflating import inflate
from aiodimse.datasets.element_headers import UNDEFINED_LENGTH, vr_in_dictionary
from aiodimse.datasets.walk import top_elements, walk
from aiodimse.errors import DatasetDecodeError, DatasetTooLarge
from aiodimse.standard.transfer_syntax import (
    ALL,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    lookup,
)

SOUND = [
    "CT_small.dcm",
    "MR_small.dcm",
    "MR_small_implicit.dcm",
    "MR_small_bigendian.dcm",
    "MR_small_RLE.dcm",
    "MR_small_padded.dcm",
    "JPEG2000.dcm",
    "JPEG2000-embedded-sequence-delimiter.dcm",
    "SC_rgb_jpeg_dcmtk.dcm",
    "SC_rgb_small_odd.dcm",
    "SC_rgb_small_odd_big_endian.dcm",
    "image_dfl.dcm",
    "test-SR.dcm",
    "reportsi.dcm",
    "rtplan.dcm",
    "rtdose_1frame.dcm",
    "waveform_ecg.dcm",
    "UN_sequence.dcm",
    "nested_priv_SQ.dcm",
    "priv_SQ.dcm",
    "badVR.dcm",
    "examples_palette.dcm",
    "dicomdirtests/DICOMDIR",
    "dicomdirtests/DICOMDIR-implicit",
]
UNSOUND = {
    "MR_truncated.dcm": "(7FE0,0010) goes past",
    "rtplan_truncated.dcm": "(300A,00B0) goes past",
    "SC_rgb_jpeg.dcm": "unknown VR of (0008,0008)",  # says JPEG, is Implicit VR
    "dicomdirtests/DICOMDIR-nooffset": "(FFFE,E000) goes past",  # its last item is cut off
}
# What read_head refuses: no SOP Class UID, and a data set that is not in its transfer syntax.
UID_OF = {"nested_priv_SQ.dcm": ImplicitVRLittleEndian, "SC_rgb_jpeg.dcm": JPEGBaseline8Bit}

item, end_item, end_sequence = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
SQ = 0x00081115  # Referenced Series Sequence


def load(stored, name):
    if name in UID_OF:
        raw = Path(get_testdata_file(name)).read_bytes()
        start = 132 + 12 + int.from_bytes(raw[140:144], "little")
        return raw[start:], UID_OF[name]
    file = stored(name)
    if file.transfer_syntax == DeflatedExplicitVRLittleEndian:
        return inflate(file.data, max_size=1 << 24, max_ratio=1032), file.transfer_syntax
    return file.data, file.transfer_syntax


@pytest.mark.parametrize("name", SOUND)
def test_a_real_data_set_is_sound_and_its_truncations_are_not(stored, name):
    data, uid = load(stored, name)
    walk(data, uid)
    row = lookup(uid)
    elements = list(top_elements(data, row.implicit, row.little_endian))
    # Cut after an element of the top level, it is a smaller data set, and sound: nothing in it says how many there are.
    shorter = {0} | {len(data) if i + 1 == len(elements) else 0 for i in range(len(elements))}
    position = 0
    for element in elements:
        shorter.add(position)
        position = element.stop + (8 if element.length == UNDEFINED_LENGTH else 0)
    shorter.add(position)
    assert position == len(data)
    near = {start + delta for start in shorter for delta in range(-9, 14)}
    near |= {element.start + delta for element in elements for delta in range(-2, 18)}
    for cut in sorted(cut for cut in near | set(range(0, len(data), max(1, len(data) // 500))) if 0 <= cut < len(data)):
        # Zeros behind it are padding: in Big Endian a header begins with one.
        begun = max(position for position in shorter if position <= cut)
        if not any(data[begun:cut]):
            walk(data[:cut], uid)
        else:
            with pytest.raises(DatasetDecodeError):
                walk(memoryview(data)[:cut], uid)


@pytest.mark.parametrize(("name", "why"), UNSOUND.items())
def test_an_unsound_file_is_refused_by_the_name_of_its_tag(stored, name, why):
    data, uid = load(stored, name)
    with pytest.raises(DatasetDecodeError) as refused:
        walk(data, uid)
    assert why in str(refused.value)
    assert refused.value.offset is not None


def test_every_cut_of_nested_sequences_is_refused(implicit, explicit):
    in_item = implicit(0x0020000E, b"1.2\0")
    nested = (
        implicit(item, length=UNDEFINED_LENGTH)
        + implicit(SQ, implicit(item, in_item))
        + implicit(SQ, implicit(item, in_item + in_item) + implicit(end_sequence), UNDEFINED_LENGTH)
        + implicit(end_item)
    )
    for data, uid in (
        (implicit(SQ, nested + implicit(end_sequence), UNDEFINED_LENGTH), ImplicitVRLittleEndian),
        (implicit(SQ, nested), ImplicitVRLittleEndian),
        (implicit(0x00990010, nested + implicit(end_sequence), UNDEFINED_LENGTH), ImplicitVRLittleEndian),
        # PS3.5 6.2.2: in a UN of undefined length everything is Implicit VR
        (explicit(SQ, "UN", nested + implicit(end_sequence), UNDEFINED_LENGTH), ExplicitVRLittleEndian),
    ):
        walk(data, uid)
        for cut in range(1, len(data)):
            with pytest.raises(DatasetDecodeError):
                walk(data[:cut], uid)


def cases(explicit, implicit):
    e, i = explicit, implicit
    fragment = i(item, b"abcd")
    yield "nothing", b"", None
    yield "empty sequence", e(SQ, "SQ", b""), None
    yield "empty open sequence", e(SQ, "SQ", i(end_sequence), UNDEFINED_LENGTH), None
    yield "empty item", e(SQ, "SQ", i(item)), None
    yield "fragments", e(0x7FE00010, "OB", i(item) + fragment + i(end_sequence), UNDEFINED_LENGTH), None
    yield "odd length", e(0x00100010, "PN", b"A"), None
    yield "opaque UN", e(SQ, "UN", b"anything"), None
    yield "file meta inside", e(0x00020010, "UI", b"1.2\0"), None  # who reads drops it, agreed with real peers
    yield "file meta in an item", e(SQ, "SQ", i(item, e(0x00020010, "UI", b"1.2\0"))), None
    yield "command inside", e(0x00000002, "UI", b"1.2\0"), None
    yield "file meta longer than its item", e(SQ, "SQ", i(item, e(0x00020010, "UI", b"", 4))) + bytes(4), "goes past"
    yield "a NUL behind it", e(0x00100010, "PN", b"AB") + b"\0", None
    yield "NULs behind it", e(0x00100010, "PN", b"AB") + bytes(1000), None
    yield "NULs and something else behind it", e(0x00100010, "PN", b"AB") + bytes(1000) + b"x", "unknown VR"
    yield "a NUL in an item", e(SQ, "SQ", i(item, e(0x00100010, "PN", b"AB") + b"\0")), "truncated"
    yield "NULs in an item", e(SQ, "SQ", i(item, e(0x00100010, "PN", b"AB") + bytes(8))), "unknown VR"
    yield "item at the top", i(item), "(FFFE,E000) inside"
    yield "delimiter at the top", i(end_item), "(FFFE,E00D) inside"
    yield "sequence delimiter at the top", i(end_sequence), "(FFFE,E0DD) inside"
    yield "sequence delimiter in an item", e(SQ, "SQ", i(item, i(end_sequence))), "(FFFE,E0DD) inside"
    yield "element where an item must be", e(SQ, "SQ", e(0x00100010, "PN", b"AB")), "where an item must be"
    yield "delimiter in a closed sequence", e(SQ, "SQ", i(end_sequence)), "where an item must be"
    yield "delimiter with a length", e(SQ, "SQ", i(end_sequence, b"", 4) + bytes(4), UNDEFINED_LENGTH), "item must be"
    yield "open sequence not closed", e(SQ, "SQ", b"", UNDEFINED_LENGTH), "not closed"
    yield "open item not closed", e(SQ, "SQ", i(item, b"", UNDEFINED_LENGTH)), "an item of undefined length"
    yield "item longer than its sequence", e(SQ, "SQ", i(item, b"", 8)) + bytes(8), "goes past"
    yield "element longer than its item", e(SQ, "SQ", i(item, e(0x00100010, "PN", b"", 4))) + bytes(4), "goes past"
    open_item = i(item, b"", UNDEFINED_LENGTH) + i(end_item)
    yield "item closed across the end of its sequence", e(SQ, "SQ", open_item, 12) + bytes(8), "truncated"
    yield "open text", e(0x0040A160, "UT", b"", UNDEFINED_LENGTH), "no sequence"
    yield "open floats", e(0x7FE00008, "OF", i(end_sequence), UNDEFINED_LENGTH), "no sequence"
    yield "fragment of undefined length", e(0x7FE00010, "OB", i(item, b"", UNDEFINED_LENGTH), UNDEFINED_LENGTH), "frag"
    yield "fragments not closed", e(0x7FE00010, "OB", fragment, UNDEFINED_LENGTH), "not closed"
    yield "a VR that is none", b"\x10\0\x10\0ZZ\2\0AB", "unknown VR of (0010,0010)"
    yield "half a long header", b"\x10\0\x10\0UN\0\0\0", "truncated element header"


def test_what_is_sound_and_what_is_not(explicit, implicit):
    wrong = []
    for name, data, why in cases(explicit, implicit):
        try:
            walk(data, ExplicitVRLittleEndian)
            answer = None
        except DatasetDecodeError as error:
            answer = str(error)
        if (why is None) != (answer is None) or (why and why not in answer):
            wrong.append((name, why, answer))
    assert wrong == []


def test_an_open_element_of_implicit_vr_that_the_dictionary_says_is_none(implicit):
    # pydicom would look for the next delimiter in it, and a reader that sees items would find another one
    with pytest.raises(DatasetDecodeError, match="no sequence"):
        walk(implicit(0x00100010, implicit(end_sequence), UNDEFINED_LENGTH), ImplicitVRLittleEndian)


@pytest.mark.parametrize("is_open", [False, True])
def test_depth_is_bounded_and_costs_no_stack(implicit, is_open):
    def nested(depth):
        inner = b""
        for _ in range(depth):
            if is_open:
                inner = implicit(item, inner + implicit(end_item), UNDEFINED_LENGTH) + implicit(end_sequence)
                inner = implicit(SQ, inner, UNDEFINED_LENGTH)
            else:
                inner = implicit(SQ, implicit(item, inner))
        return inner

    walk(nested(64), ImplicitVRLittleEndian)
    with pytest.raises(DatasetDecodeError, match="deeper than 64"):
        walk(nested(65), ImplicitVRLittleEndian)
    walk(nested(1500), ImplicitVRLittleEndian, max_depth=10_000)
    bomb = (implicit(SQ, b"", UNDEFINED_LENGTH) + implicit(item, b"", UNDEFINED_LENGTH)) * 60_000
    with pytest.raises(DatasetDecodeError, match="deeper"):
        walk(bomb, ImplicitVRLittleEndian)


def test_elements_items_and_fragments_are_counted_at_any_depth(explicit, implicit):
    e, i = explicit, implicit
    element = e(0x00100010, "PN", b"AB")
    open_item = i(item, element + i(end_item), UNDEFINED_LENGTH)
    for data, count in (
        (b"", 0),
        (element, 1),
        (element * 7, 7),
        (e(SQ, "SQ", i(item)), 2),
        (e(SQ, "SQ", i(item, element * 3) * 2) + element, 10),
        (e(SQ, "SQ", open_item * 4 + i(end_sequence), UNDEFINED_LENGTH), 9),
        (e(SQ, "UN", i(item, i(0x00990011) * 2) + i(end_sequence), UNDEFINED_LENGTH), 4),
        (e(0x7FE00010, "OB", i(item) + i(item, b"abcd") + i(end_sequence), UNDEFINED_LENGTH) + element, 4),
        (e(0x7FE00010, "OB", i(end_sequence), UNDEFINED_LENGTH), 1),
    ):
        walk(data, ExplicitVRLittleEndian, max_elements=count)
        for fewer in range(count):
            with pytest.raises(DatasetTooLarge, match=f"^more than {fewer} elements"):
                walk(data, ExplicitVRLittleEndian, max_elements=fewer)


def test_padding_is_not_counted(explicit, implicit):
    for element, uid in (
        (explicit(0x00100010, "PN", b"AB"), ExplicitVRLittleEndian),
        (implicit(0x00100010), ImplicitVRLittleEndian),
    ):
        walk(element + bytes(800), uid, max_elements=1)


def test_nothing_is_yielded_of_a_sequence_that_is_cut_off(explicit, implicit):
    plain, in_item = explicit(0x00080005, "CS", b"A "), explicit(0x00100010, "PN", b"AB")
    data = plain + explicit(SQ, "SQ", implicit(item, in_item) * 3)
    for cut in range(len(plain) + 1, len(data)):
        elements = top_elements(data[:cut], False, True)
        assert next(elements).tag == 0x00080005
        with pytest.raises(DatasetDecodeError):
            next(elements)


def test_what_is_over_the_limit_is_refused_before_it_is_walked_to_its_end(explicit, implicit):
    fragments = implicit(item) * 1000  # and not closed
    for data in (explicit(0x7FE00010, "OB", fragments, UNDEFINED_LENGTH), explicit(SQ, "SQ", fragments)):
        with pytest.raises(DatasetTooLarge):
            walk(data + b"unsound", ExplicitVRLittleEndian, max_elements=1000)


@for_each_row(masks)
def test_the_dictionary_has_what_pydicom_has(mask):
    for digits in ("0", "1", "A", "F"):
        for tag in (int(mask.replace("x", digits), 16), int(mask.replace("x", digits), 16) ^ 0x00010000):
            try:
                known = dictionary_VR(tag)
            except KeyError:
                known = None
            assert vr_in_dictionary(tag) == known, f"{tag:08X}"


@given(st.integers(0, 0xFFFFFFFF) | st.sampled_from(sorted(DicomDictionary)))
def test_the_dictionary_has_of_any_tag_what_pydicom_has(tag):
    try:
        known = dictionary_VR(tag)
    except KeyError:
        known = None
    assert vr_in_dictionary(tag) == known


def test_an_unknown_transfer_syntax_cannot_be_walked():
    with pytest.raises(DatasetDecodeError, match="transfer syntax"):
        walk(b"", "1.2.3")


TAGS = [SQ, item, end_item, end_sequence, 0x7FE00010, 0x00100010, 0x00020010, 0x00091001, 0x00080005]
LENGTHS = [0, 1, 2, 8, 16, 24, 0xFFFF, UNDEFINED_LENGTH, UNDEFINED_LENGTH - 1]
headers = st.builds(
    lambda tag, vr, length: tag.to_bytes(4, "little")[2:] + tag.to_bytes(4, "little")[:2] + vr + length,
    st.sampled_from(TAGS),
    st.sampled_from([b"", b"SQ\0\0", b"UN\0\0", b"OB\0\0", b"PN"]),
    st.sampled_from(LENGTHS).map(lambda n: n.to_bytes(4, "little")),
)
anything = st.one_of(st.binary(max_size=200), st.lists(headers | st.binary(max_size=9), max_size=40).map(b"".join))


@given(anything, st.sampled_from([*ALL[:6], ExplicitVRBigEndian]))
def test_any_bytes_are_a_data_set_or_a_decode_error(data, uid):
    with suppress(DatasetDecodeError):
        walk(data, uid)


def test_time_is_linear_in_the_length(implicit):
    def seconds(data):
        best = 1e9
        for _ in range(3):
            start = time.thread_time()
            walk(data, ImplicitVRLittleEndian)
            best = min(best, time.thread_time() - start)
        return best

    empty_items = implicit(SQ, implicit(item) * 4000)
    deep = implicit(SQ, implicit(item, implicit(SQ, implicit(item, implicit(0x00100010)))))
    for unit in (empty_items, deep * 1000, implicit(0x00100010) * 4000):
        assert seconds(unit * 8) < 8 * 5 * seconds(unit)
