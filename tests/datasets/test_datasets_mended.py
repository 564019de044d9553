"""What a peer or a disk holds and cannot be written as it is: padded, dropped, left out with a warning, or refused."""

from __future__ import annotations

import io
import struct

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset as pydicom_reads

from aiodimse.datasets.bulk import without_bulk_data
from aiodimse.datasets.dataset import decode_dataset, encode_dataset, encode_stored, transcode
from aiodimse.errors import DatasetDecodeError, DatasetEncodeError
from aiodimse.standard.transfer_syntax import ExplicitVRLittleEndian, ImplicitVRLittleEndian

EXPLICIT, IMPLICIT = str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian)
SYNTAXES = [EXPLICIT, IMPLICIT]
OPEN = 0xFFFFFFFF
UID_TEXT = b"\\".join(b"1.2.826.0.1.3680043.8.498.%d" % number for number in range(3000))


def item(content, length=None):
    return struct.pack("<HHL", 0xFFFE, 0xE000, len(content) if length is None else length) + content


END_ITEM, END_SEQUENCE = struct.pack("<HHL", 0xFFFE, 0xE00D, 0), struct.pack("<HHL", 0xFFFE, 0xE0DD, 0)


def tags(dataset):
    return [int(tag) for tag in dataset.keys()]  # noqa: SIM118


@pytest.mark.parametrize("target", SYNTAXES)
@pytest.mark.parametrize(
    ("vr", "tag", "value", "padded"),
    [
        ("CS", 0x00280004, b"RGB", b"RGB "),
        ("PN", 0x00100010, b"A^B", b"A^B "),
        ("UI", 0x00080018, b"1.2", b"1.2\0"),
        ("OB", 0x00420011, b"abc", b"abc\0"),
        ("UN", 0x00091001, b"abc", b"abc\0"),
        ("UT", 0x0040A160, b"abc", b"abc "),
        ("IS", 0x00200013, b"1", b"1 "),
        ("US", 0x00280010, b"abc", b"abc\0"),
    ],
)
def test_a_value_of_odd_length_is_padded_wherever_it_is(explicit, vr, tag, value, padded, target):
    one = explicit(tag, vr, value)
    deep = explicit(0x00081115, "SQ", item(explicit(0x00081199, "SQ", item(one, OPEN) + END_ITEM)))
    for data in (one, deep, explicit(0x00081115, "SQ", item(one) + END_SEQUENCE, OPEN)):
        out = encode_dataset(decode_dataset(data, EXPLICIT), target)
        assert padded in out
        assert len(out) % 2 == 0
        assert encode_dataset(decode_dataset(out, target), target) == out
        by_dcmread = pydicom_reads(io.BytesIO(data), False, True)  # whose sequences nobody walked
        theirs = encode_dataset(by_dcmread, target)
        assert padded in theirs
        assert decode_dataset(theirs, target) == decode_dataset(out, target)


@pytest.mark.parametrize("target", SYNTAXES)
@pytest.mark.parametrize("tag", [0x00020010, 0x00000002, 0x00020000])
def test_elements_of_group_0000_and_0002_are_dropped_wherever_they_are(explicit, tag, target):
    foreign, own = explicit(tag, "UI", b"1.2\0"), explicit(0x00100020, "LO", b"AB")
    for data in (foreign + own, own + explicit(0x00400275, "SQ", item(foreign + own)), own + foreign):
        for dataset in (decode_dataset(data, EXPLICIT), pydicom_reads(io.BytesIO(data), False, True)):
            out = encode_dataset(dataset, target)
            assert b"1.2\0" not in out
            assert decode_dataset(out, target).PatientID == "AB"
        if data.endswith(own) and not data.startswith(foreign):
            assert tags(decode_dataset(data, EXPLICIT).RequestAttributesSequence[0]) == [0x00100020]


@pytest.mark.parametrize("zeros", [1, 2, 7, 8, 9, 16, 1000])
@pytest.mark.parametrize("syntax", SYNTAXES)
def test_nuls_behind_the_last_element_are_padding(explicit, implicit, syntax, zeros):
    element = explicit(0x00100020, "LO", b"A") if syntax == EXPLICIT else implicit(0x00100020, b"A")
    assert tags(decode_dataset(element + bytes(zeros), syntax)) == [0x00100020]
    assert tags(decode_dataset(bytes(zeros), syntax)) == []
    with pytest.raises(DatasetDecodeError):
        decode_dataset(element + bytes(zeros) + b"\1", syntax)


def test_a_sequence_in_the_dictionary_that_came_as_text_is_left_out_of_implicit_vr(explicit, caplog):
    data = explicit(0x00120064, "LO", b"Canary Healthcare ") + explicit(0x00100020, "LO", b"AB")
    for dataset in (decode_dataset(data, EXPLICIT), pydicom_reads(io.BytesIO(data), False, True)):
        caplog.clear()
        assert encode_dataset(dataset, EXPLICIT) == explicit(0x00100020, "LO", b"AB") + explicit(
            0x00120064, "LO", b"Canary Healthcare "
        )
        assert tags(decode_dataset(encode_dataset(dataset, IMPLICIT), IMPLICIT)) == [0x00100020]
        (record,) = caplog.records
        assert "(0012,0064) is left out" in record.message
        assert "Canary" not in record.message
    dataset.add_new(0x00400275, "LO", "Canary")  # and one that a program made
    assert tags(decode_dataset(encode_dataset(dataset, IMPLICIT), IMPLICIT)) == [0x00100020]


def test_text_in_the_dictionary_that_came_as_a_sequence_is_left_out_of_implicit_vr(explicit, caplog):
    data = explicit(0x00100020, "SQ", item(explicit(0x00100010, "PN", b"A^B "))) + explicit(
        0x00100030, "DA", b"20200101"
    )
    assert tags(decode_dataset(transcode(data, EXPLICIT, IMPLICIT), IMPLICIT)) == [0x00100030]
    assert "(0010,0020)" in caplog.text
    assert decode_dataset(data, EXPLICIT)[0x00100020].value[0].PatientName == "A^B"


@pytest.mark.parametrize("tag", [0x00120064, 0x00081115])
def test_a_un_that_holds_no_items_gets_none(explicit, implicit, caplog, tag):
    data = explicit(tag, "UN", b"no items")
    dataset = decode_dataset(data, EXPLICIT)
    assert (dataset[tag].VR, dataset[tag].value) == ("UN", b"no items")
    assert encode_dataset(dataset, EXPLICIT) == data
    assert encode_dataset(decode_dataset(data, EXPLICIT), EXPLICIT) == data
    assert transcode(data, EXPLICIT, IMPLICIT) == b""
    assert "is left out" in caplog.text
    holding = explicit(tag, "UN", item(implicit(0x00100020, b"AB")))
    assert decode_dataset(holding, EXPLICIT)[tag].value[0].PatientID == "AB"
    assert decode_dataset(transcode(holding, EXPLICIT, IMPLICIT), IMPLICIT)[tag].value[0].PatientID == "AB"


def test_a_private_sequence_that_holds_no_items_stays_what_it_is(implicit, explicit):
    creator = implicit(0x20010010, b"Philips Imaging DD 001")
    for value, vr in ((b"no items", "UN"), (item(implicit(0x00100020, b"AB")), "SQ")):
        data = creator + implicit(0x20011068, value)  # SQ in the private dictionary
        dataset = decode_dataset(data, IMPLICIT)
        assert vr == dataset[0x20011068].VR
        out = transcode(data, IMPLICIT, EXPLICIT)
        assert out[len(explicit(0x20010010, "LO", b"Philips Imaging DD 001")) :][4:6] == vr.encode()
        assert decode_dataset(out, EXPLICIT)[0x20011068] == dataset[0x20011068]
        again = transcode(out, EXPLICIT, IMPLICIT)
        assert again == data


def test_a_sequence_that_another_reader_left_encoded_and_that_holds_no_items_is_refused_by_name(implicit):
    dataset = pydicom_reads(io.BytesIO(implicit(0x00081115, b"no items")), True, True)
    for target in SYNTAXES:
        with pytest.raises(DatasetEncodeError, match=r"^\(0008,1115\): a sequence that does not hold items"):
            encode_dataset(dataset, target)


@pytest.mark.parametrize("source", SYNTAXES)
def test_values_over_64_kib_in_items_keep_their_vr(explicit, implicit, source):
    dataset = Dataset()
    dataset.ReferencedStudySequence = [Dataset()]
    dataset.ReferencedStudySequence[0].FailedSOPInstanceUIDList = UID_TEXT.decode().split("\\")
    dataset.ReferencedStudySequence[0].add_new(0x00181310, "US", [7] * 40_000)
    dataset = decode_dataset(encode_dataset(dataset, source), source)
    for target in (EXPLICIT, IMPLICIT, EXPLICIT):
        dataset = decode_dataset(encode_dataset(dataset, target), target)
        (inner,) = dataset.ReferencedStudySequence
        assert len(inner.FailedSOPInstanceUIDList) == 3000
        assert (inner["FailedSOPInstanceUIDList"].VR, inner[0x00181310].VR) == ("UI", "US")
        assert len(inner[0x00181310].value) == 40_000


def test_without_bulk_data_what_cannot_be_written_is_mended_too(explicit):
    data = explicit(0x00081115, "SQ", item(explicit(0x00100020, "LO", b"odd"))) + explicit(0x7FE00010, "OW", b"ab")
    dataset = decode_dataset(data, EXPLICIT)
    dataset.file_meta = dcmread(io.BytesIO(bytes(128) + b"DICM"), force=True).file_meta
    assert encode_stored(without_bulk_data(dataset)) == explicit(
        0x00081115, "SQ", item(explicit(0x00100020, "LO", b"odd "))
    )
