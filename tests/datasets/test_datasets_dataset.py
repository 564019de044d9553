from __future__ import annotations

import tracemalloc
import warnings
import zlib
from array import array
from copy import deepcopy
from io import BytesIO
from struct import pack

import pydicom
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset

from aiodimse.config import Limits
from aiodimse.datasets.dataset import (
    RE_ENCODED,
    can_transcode,
    dataset_uids,
    decode_dataset,
    decode_identifier,
    encode_dataset,
    encode_stored,
    first_uids,
    transcode,
)
from aiodimse.datasets.deflating import deflate, inflate
from aiodimse.errors import DatasetDecodeError, DatasetEncodeError, DatasetTooLarge
from aiodimse.standard.transfer_syntax import (
    ALL,
    IDENTIFIERS,
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
)

LITTLE = [
    "CT_small.dcm",
    "MR_small.dcm",
    "MR_small_implicit.dcm",
    "rtplan.dcm",
    "rtdose_1frame.dcm",
    "test-SR.dcm",
    "reportsi.dcm",
    "image_dfl.dcm",
    "priv_SQ.dcm",
    "waveform_ecg.dcm",
    "examples_palette.dcm",
    "SC_rgb_small_odd.dcm",
    "dicomdirtests/77654033/CR1/6154",
]
OTHERS = [
    "MR_small_bigendian.dcm",
    "ExplVR_BigEnd.dcm",
    "rtdose_expb_1frame.dcm",
    "JPEG2000.dcm",
    "JPEG-lossy.dcm",
    "MR_small_RLE.dcm",
    "SC_rgb_rle_2frame.dcm",
    "UN_sequence.dcm",
    "JPEG2000-embedded-sequence-delimiter.dcm",
]


@pytest.fixture(autouse=True)
def nothing_is_logged(caplog):
    """pydicom logs what it warns about, values and all; our own reading and writing makes it say nothing."""
    yield
    assert [record for record in caplog.records if record.name == "pydicom"] == []


def without_group_lengths(dataset):
    """They are retired, and not written."""
    for tag in [*dataset.keys()]:
        if tag.element == 0:
            del dataset[tag]


def by_pydicom(file):
    dataset = pydicom.dcmread(file.path)
    dataset.remove_private_tags()  # whose VR depends on private dictionaries, in any order of access
    return dataset


@pytest.mark.parametrize("name", [*LITTLE, *OTHERS])
def test_a_real_data_set_has_the_values_that_pydicom_reads(stored, name):
    file = stored(name)
    ours = decode_dataset(file.data, file.transfer_syntax)
    assert list(ours.keys()) == list(pydicom.dcmread(file.path).keys())
    ours.remove_private_tags()
    assert ours == by_pydicom(file)
    assert dataset_uids(ours)[:2] == first_uids(file.data[:600], file.transfer_syntax)


@pytest.mark.parametrize("name", [*LITTLE, *OTHERS])
def test_a_real_data_set_is_written_as_it_was_stored(stored, name):
    file = stored(name)
    dataset = decode_dataset(memoryview(file.data), file.transfer_syntax)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = file.transfer_syntax
    written = encode_stored(dataset)
    again = decode_dataset(written, file.transfer_syntax)
    without_group_lengths(dataset)
    assert again == dataset
    from_file = pydicom.dcmread(file.path)  # keeps the undefined lengths of sequences, as we do then
    assert decode_dataset(encode_stored(from_file), file.transfer_syntax) == again


def values_as_stored(dataset):
    """Tags and encoded values, through all sequences, without a look at VRs and lengths of sequences."""
    found = []
    for tag, element in sorted(dataset.items()):
        if tag.element == 0:
            continue
        if element.is_raw and element.VR != "SQ" and (element.VR or "") != "UN":
            sequence = element.VR is None and dataset[tag].VR == "SQ"
            found.append((tag, [values_as_stored(item) for item in dataset[tag]] if sequence else element.value or b""))
        else:
            value = dataset[tag].value
            if dataset[tag].VR == "SQ":
                found.append((tag, [values_as_stored(item) for item in value]))
            else:
                found.append((tag, element.value))
    return found


@pytest.mark.parametrize("target", IDENTIFIERS)
@pytest.mark.parametrize("name", LITTLE)
def test_re_encoding_keeps_every_byte_of_every_value(stored, name, target):
    file = stored(name)
    other = transcode(file.data, file.transfer_syntax, target)
    source = decode_dataset(file.data, file.transfer_syntax)
    assert values_as_stored(decode_dataset(other, target)) == values_as_stored(source)
    # and for pydicom it is the same data set
    plain = inflate(other, max_size=1 << 24, max_ratio=1032) if target == DeflatedExplicitVRLittleEndian else other
    theirs = read_dataset(BytesIO(plain), target == ImplicitVRLittleEndian, True)
    theirs.remove_private_tags()
    reference = by_pydicom(file)
    without_group_lengths(reference)
    if target == ImplicitVRLittleEndian and "PixelData" in reference:
        reference["PixelData"].VR = "OW"  # what Implicit VR makes of an OB (PS3.5 A.1)
    assert theirs == reference


BIG = ["MR_small_bigendian.dcm", "ExplVR_BigEnd.dcm", "rtdose_expb_1frame.dcm", "SC_rgb_small_odd_big_endian.dcm"]


@pytest.mark.parametrize("target", IDENTIFIERS)
@pytest.mark.parametrize("name", [*BIG, *LITTLE])
def test_the_byte_order_changes_there_and_back(stored, name, target):
    file = stored(name)
    if name in LITTLE:  # from any of the three to Big Endian and back to the same values
        big = transcode(transcode(file.data, file.transfer_syntax, target), target, ExplicitVRBigEndian)
        back = transcode(big, ExplicitVRBigEndian, target)
        assert decode_dataset(back, target) == decode_dataset(
            transcode(file.data, file.transfer_syntax, target), target
        )
        assert transcode(back, target, ExplicitVRBigEndian) == big
        return
    little = decode_dataset(transcode(file.data, ExplicitVRBigEndian, target), target)
    without_group_lengths(big := decode_dataset(file.data, ExplicitVRBigEndian))
    assert [str(element) for element in little if element.VR not in ("OW", "OB")] == [
        str(element) for element in big if element.VR not in ("OW", "OB")
    ]
    ours, theirs = little.PixelData, big.PixelData
    assert ours == (theirs if big["PixelData"].VR == "OB" else swapped_words(theirs))


def swapped_words(value):
    words = array("H", value)
    words.byteswap()
    return words.tobytes()


@pytest.mark.parametrize("name", ["MR_small_bigendian.dcm", "rtdose_expb_1frame.dcm"])
def test_a_data_set_whose_values_were_read_changes_its_byte_order_too(stored, name):
    file = stored(name)
    raw = decode_dataset(file.data, file.transfer_syntax)
    read = decode_dataset(file.data, file.transfer_syntax)
    read.walk(lambda dataset, element: None)
    without_group_lengths(raw)
    assert encode_dataset(read, ExplicitVRLittleEndian) == encode_dataset(raw, ExplicitVRLittleEndian)


@pytest.mark.parametrize("implicit", [True, False])
@pytest.mark.parametrize("name", [name for name in LITTLE if name not in ("image_dfl.dcm", "test-SR.dcm")])
def test_re_encoding_makes_what_pydicom_makes_of_parsed_values(stored, name, implicit):
    dataset = pydicom.dcmread(stored(name).path)
    dataset.walk(lambda ds, element: None)  # parses every value
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        buffer = DicomBytesIO()
        buffer.is_implicit_VR, buffer.is_little_endian = implicit, True
        write_dataset(buffer, deepcopy(dataset))
    uid = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    assert encode_dataset(dataset, uid) == buffer.getvalue()


def test_the_data_set_that_is_written_is_not_changed(stored):
    file = stored("MR_small_implicit.dcm")
    dataset = decode_dataset(file.data, file.transfer_syntax)
    before = dict(dataset.items())
    encode_dataset(dataset, ExplicitVRLittleEndian)
    assert all(before[tag] is element for tag, element in dataset.items())


# --- decoding ---------------------------------------------------------------------------------------------------------


def test_values_are_not_decoded_until_they_are_read(explicit, caplog):
    dataset = decode_dataset(explicit(0x00100030, "DA", b"canary"), ExplicitVRLittleEndian)
    assert dataset.get_item(0x00100030).is_raw


@pytest.mark.parametrize("charset", [b"nonsense", b"idna", b"\\ISO 2022 IR 87", b"ISO_IR 192\\ISO 2022 IR 87", b"\xff"])
def test_no_character_set_of_a_peer_warns_or_picks_a_codec(explicit, charset):
    data = explicit(0x00080005, "CS", charset) + explicit(0x00100020, "LO", b"A1")
    dataset = decode_dataset(data, ExplicitVRLittleEndian)
    assert "idna" not in dataset.original_character_set
    assert dataset.PatientID == "A1"
    padded = charset + b" " * (len(charset) % 2)
    again = explicit(0x00080005, "CS", padded) + explicit(0x00100020, "LO", b"A1")
    assert encode_dataset(dataset, ExplicitVRLittleEndian) == again


def test_a_un_of_undefined_length_is_a_sequence_and_written_as_one(explicit, implicit):
    items = implicit(0xFFFEE000, implicit(0x00081150, b"1.2\0")) + implicit(0xFFFEE0DD)
    dataset = decode_dataset(explicit(0x00081140, "UN", items, 0xFFFFFFFF), ExplicitVRLittleEndian)
    assert dataset.ReferencedImageSequence[0].ReferencedSOPClassUID == "1.2"
    written = encode_dataset(dataset, ExplicitVRLittleEndian)
    assert b"UI\4\0" + b"1.2\0" in written
    assert decode_dataset(written, ExplicitVRLittleEndian) == dataset


def test_a_first_length_that_looks_like_a_vr_does_not_mislead(implicit):
    # pydicom takes 0x4141 for the VR "AA" and the data set for Explicit VR
    data = implicit(0x00081010, b"A" * 0x4142)
    assert len(decode_dataset(data, ImplicitVRLittleEndian).get_item(0x00081010).value) == 0x4142


@pytest.mark.parametrize("data", [b"\1", b"\x10\0\x10\0PN\4\0AB", b"\x08\0\x05\0CS"])
def test_what_does_not_decode_is_a_decode_error(data):
    with pytest.raises(DatasetDecodeError):
        decode_dataset(data, ExplicitVRLittleEndian)


def test_depth_is_limited_by_the_limits(implicit):
    data = b""
    for _ in range(5):
        data = implicit(0x00081115, implicit(0xFFFEE000, data))
    decode_dataset(data, ImplicitVRLittleEndian, limits=Limits(dataset_depth=5))
    with pytest.raises(DatasetDecodeError):
        decode_dataset(data, ImplicitVRLittleEndian, limits=Limits(dataset_depth=4))


# --- deflated ---------------------------------------------------------------------------------------------------------


def test_deflated_is_padded_to_even_and_read_back():
    for size in range(40):
        data = bytes(range(size))
        deflated = deflate(data)
        assert len(deflated) % 2 == 0
        assert inflate(deflated, max_size=1000, max_ratio=1032) == data


def test_a_deflate_bomb_is_refused_before_it_is_held():
    bomb = deflate(bytes(50_000_000))
    with pytest.raises(DatasetTooLarge, match="larger than 1000000 bytes"):
        decode_identifier(bomb, DeflatedExplicitVRLittleEndian, limits=Limits(identifier=1_000_000))
    with pytest.raises(DatasetTooLarge, match="larger than"):
        decode_dataset(bomb, DeflatedExplicitVRLittleEndian, limits=Limits(deflate_ratio=100))
    with pytest.raises(DatasetTooLarge, match="larger than 2000 bytes"):
        decode_dataset(bomb, DeflatedExplicitVRLittleEndian, limits=Limits(dataset_in_memory=2000))
    with pytest.raises(DatasetTooLarge, match="larger than 3000 bytes"):
        decode_dataset(bomb, DeflatedExplicitVRLittleEndian, limits=Limits(inflated_in_memory=3000))
    tracemalloc.start()
    try:
        with pytest.raises(DatasetDecodeError):
            inflate(bomb, max_size=1_000_000, max_ratio=1032)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


def test_a_deflated_data_set_is_whole_and_alone():
    data = deflate(bytes(1000))
    for cut in range(len(data) - 2):
        with pytest.raises(DatasetDecodeError):
            inflate(data[:cut], max_size=10_000, max_ratio=1032)
    for more in (b"\0\0\0", b"x", bytes(8)):
        with pytest.raises(DatasetDecodeError, match="follows"):
            inflate(data + more, max_size=10_000, max_ratio=1032)
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    gzip = packer.compress(bytes(999)) + packer.flush() + pack("<LL", zlib.crc32(bytes(999)), 999)
    for pad in (b"", b"\0"):  # pydicom's image_dfl.dcm ends as a gzip file does; a C-STORE makes it even
        assert inflate(gzip + pad, max_size=10_000, max_ratio=1032) == bytes(999)
    with pytest.raises(DatasetDecodeError, match="corrupt"):
        inflate(b"\xff" * 10, max_size=10_000, max_ratio=1032)


# --- encoding ---------------------------------------------------------------------------------------------------------


def test_only_four_transfer_syntaxes_are_re_encoded_between(stored):
    assert {(a, b) for a in ALL for b in ALL if can_transcode(a, b)} == {(a, b) for a in RE_ENCODED for b in RE_ENCODED}
    for uid in (JPEG2000, "1.2.3"):
        with pytest.raises(DatasetEncodeError, match=uid):
            encode_dataset(Dataset(), uid)
    compressed = stored("JPEG2000.dcm")
    with pytest.raises(DatasetEncodeError, match=r"\(7FE0,0010\): encapsulated"):
        encode_dataset(decode_dataset(compressed.data, compressed.transfer_syntax), ExplicitVRLittleEndian)


def test_pixels_and_transfer_syntax_agree_on_being_encapsulated(stored):
    file = stored("CT_small.dcm")
    dataset = decode_dataset(file.data, file.transfer_syntax)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    with pytest.raises(DatasetEncodeError, match="not encapsulated"):
        encode_stored(dataset)


def test_command_and_file_meta_elements_are_left_out():
    dataset = Dataset()
    dataset.Status = 0
    dataset.add_new(0x00020010, "UI", "1.2")
    dataset.add_new(0x00080000, "UL", 10)
    dataset.PatientID = "A1"
    assert encode_dataset(dataset, ExplicitVRLittleEndian) == b"\x10\0\x20\0LO\2\0A1"


def test_a_uid_list_too_long_for_its_vr_is_un_and_read_back():
    uids = [f"1.2.826.0.1.3680043.8.498.{10**37 + n}" for n in range(1200)]
    dataset = Dataset()
    dataset.FailedSOPInstanceUIDList = uids
    data = encode_dataset(dataset, ExplicitVRLittleEndian)
    assert data[:8] == b"\x08\0\x58\0UN\0\0"
    assert decode_dataset(data, ExplicitVRLittleEndian).FailedSOPInstanceUIDList == uids
    assert encode_dataset(decode_dataset(data, ExplicitVRLittleEndian), ExplicitVRLittleEndian) == data
    implicit = encode_dataset(decode_dataset(data, ExplicitVRLittleEndian), ImplicitVRLittleEndian)
    assert decode_dataset(implicit, ImplicitVRLittleEndian).FailedSOPInstanceUIDList == uids


@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("PatientName", "Canary^田中"),
        ("PatientID", "Canary田"),
        ("Rows", 70_000),
        ("Modality", "Canary€"),
        ("EventTimeOffset", "Canary"),
    ],
)
def test_what_cannot_be_encoded_says_where_and_not_what(keyword, value):
    dataset = Dataset()
    element = pydicom.DataElement(keyword, pydicom.datadict.dictionary_VR(keyword), None)
    element._value = pydicom.valuerep.PersonName(value) if keyword == "PatientName" else value
    sequence = Dataset()
    sequence[element.tag] = element
    dataset.ReferencedStudySequence = [sequence]
    with pytest.raises(DatasetEncodeError) as refused:
        encode_dataset(dataset, ExplicitVRLittleEndian)
    assert str(refused.value).startswith(str(element.tag))
    assert "anary" not in str(refused.value)


def test_a_changed_character_set_changes_the_text_that_is_still_encoded(explicit):
    data = (
        explicit(0x00080005, "CS", b"ISO_IR 100")
        + explicit(0x00081110, "SQ", b"\xfe\xff\x00\xe0\x0c\0\0\0" + explicit(0x00081030, "LO", b"K\xf6ln"))
        + explicit(0x00100010, "PN", b"M\xfcller^J\xf6rg=x ")
        + explicit(0x00100020, "LO", b"\xe4\\\xf6 ")
    )
    for uid in (ExplicitVRLittleEndian, ImplicitVRLittleEndian):
        dataset = decode_dataset(data, ExplicitVRLittleEndian)
        dataset.SpecificCharacterSet = "ISO_IR 192"
        written = decode_dataset(encode_dataset(dataset, uid), uid)
        assert written.get_item(0x00100010).value == "Müller^Jörg=x".encode() + b" "
        assert written.PatientID == ["ä", "ö"]
        assert written.ReferencedStudySequence[0].StudyDescription == "Köln"
    dataset = decode_dataset(data, ExplicitVRLittleEndian)
    assert dataset.PatientName == "Müller^Jörg=x"
    dataset.SpecificCharacterSet = "ISO_IR 192"
    assert "Müller^Jörg=x".encode() in encode_dataset(dataset, ExplicitVRLittleEndian)


def test_uids_of_a_data_set(stored):
    dataset = Dataset()
    assert dataset_uids(dataset) == ("", "", ExplicitVRLittleEndian)
    dataset.SOPClassUID, dataset.SOPInstanceUID = "1.2", "1.2.3"
    dataset.set_original_encoding(True, True)
    assert dataset_uids(dataset) == ("1.2", "1.2.3", ImplicitVRLittleEndian)
    dataset.set_original_encoding(False, False)
    assert dataset_uids(dataset)[2] == ExplicitVRBigEndian
    dataset.file_meta = FileMetaDataset()
    assert dataset_uids(dataset)[2] == ExplicitVRBigEndian
    dataset.file_meta.TransferSyntaxUID = JPEG2000
    assert dataset_uids(dataset)[2] == JPEG2000


def test_first_uids_never_raise(stored):
    file = stored("CT_small.dcm")
    sop_class = "1.2.840.10008.5.1.4.1.1.2"
    answers = [first_uids(file.data[:cut], file.transfer_syntax) for cut in range(400)]
    assert answers[0] == ("", "")
    assert answers[-1] == (sop_class, "1.3.6.1.4.1.5962.1.1.1.1.1.20040119072730.12322")
    assert set(answers) == {("", ""), (sop_class, ""), answers[-1]}
    assert first_uids(b"\xff" * 100, DeflatedExplicitVRLittleEndian) == ("", "")
    assert first_uids(file.data, "1.2.3") == ("", "")
