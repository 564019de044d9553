"""The quick beginning of read_dataset against its slow twin, which walks every element."""

from __future__ import annotations

import struct

import pytest
from hypotheses import examples
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from aiodimse.datasets import charsets, reading
from aiodimse.errors import DatasetDecodeError, DatasetTooLarge


def outcome(data, implicit, little_endian, quick):
    """The data set, attribute for attribute, or the words of the error."""
    with pytest.MonkeyPatch.context() as patch:
        if not quick:
            patch.setattr(reading, "_QUICK_BELOW", -1)
        try:
            dataset = reading.read_dataset(data, implicit, little_endian, 4)
            return vars(dataset), [type(each) for each in dataset._dict.values()]
        except DatasetDecodeError as error:
            return str(error)


def element(implicit, tag, vr, value, length):
    head = struct.pack("<HH", tag >> 16, tag & 0xFFFF)
    if implicit:
        return head + struct.pack("<L", length) + value
    if vr in ("OB", "SQ", "UN", "UT"):
        return head + vr.encode() + struct.pack("<2xL", length) + value
    return head + vr.encode() + struct.pack("<H", length & 0xFFFF) + value


TAGS = (
    0x00080005, 0x00080005, 0x00080020, 0x00081110, 0x00100010, 0x0020000D, 0x00091001, 0x7FE00010,
    0x00020010, 0x00000002, 0xFFFEE00D,
)  # fmt: skip
VALUES = (
    b"",
    b"ISO_IR 192",
    b"ISO_IR 100",
    b"A^B ",
    b"1.2\0",
    b"\xfe\xff\0\xe0\0\0\0\0",
    b"\xfe\xff\0\xe0\xff\xff\xff\xff",
)
parts = st.tuples(
    st.sampled_from(TAGS),
    st.sampled_from(("CS", "DA", "PN", "UI", "LO", "SQ", "UN", "OB", "UT", "??")),
    st.sampled_from(VALUES) | st.binary(max_size=12),
    st.sampled_from((None, None, None, None, 1, 8, 0xFFFFFFFF)),  # the length, where it is not the value's
)


@examples(400)
@given(st.booleans(), st.lists(parts, max_size=6), st.integers(-9, 0), st.booleans())
def test_the_quick_way_reads_what_the_careful_way_reads(implicit, elements, cut, little_endian):
    data = b"".join(
        element(implicit, tag, vr, value, len(value) if length is None else length)
        for tag, vr, value, length in elements
    )[: cut or None]
    expected = outcome(data, implicit, little_endian, quick=False)
    assert outcome(data, implicit, little_endian, quick=True) == expected
    assert outcome(memoryview(data), implicit, little_endian, quick=True) == expected


@pytest.mark.parametrize("name", ["examples_palette.dcm", "CT_small.dcm", "rtplan.dcm", "waveform_ecg.dcm"])
def test_the_quick_way_goes_over_to_the_careful_one(stored, name):
    file = stored(name)
    implicit = file.transfer_syntax == "1.2.840.10008.1.2"
    begun = reading._Reading(implicit, True, charsets.DEFAULT)
    pos = reading._read_plain(file.data, begun)
    assert len(begun.elements) > 5
    assert pos < len(file.data)
    assert outcome(file.data, implicit, True, quick=True) == outcome(file.data, implicit, True, quick=False)


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize("little_endian", [True, False])
def test_a_data_set_is_as_pydicom_sets_it_up_and_shares_nothing(implicit, little_endian):
    first, second = (reading.read_dataset(b"", implicit, little_endian, 4) for _ in range(2))
    new = Dataset({})
    new.set_original_encoding(implicit, little_endian, ["iso8859"])
    vars(new)["_read_as"] = charsets.DEFAULT
    assert vars(first) == vars(new)
    first.PatientName, first._pixel_id["a"], first._private_blocks[9, "a"] = "A^B", 1, None
    first._read_charset.append("b")
    assert vars(second) == vars(new)
    assert second == Dataset()


@pytest.mark.parametrize("implicit", [True, False])
def test_the_quick_way_takes_no_more_elements_than_may_be(implicit):
    for value in (b"", b"AB", bytes(600)):
        data = b"".join(element(implicit, 0x00100010, "LO", value, len(value)) for _ in range(20))
        assert len(reading.read_dataset(data, implicit, True, 4, 20)) == 1
        for fewer in range(20):
            with pytest.raises(DatasetTooLarge):
                reading.read_dataset(data, implicit, True, 4, fewer)
