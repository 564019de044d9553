from __future__ import annotations

from copy import deepcopy

import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID

from aiodimse.datasets.bulk import without_bulk_data
from aiodimse.datasets.dataset import dataset_uids, decode_dataset, encode_dataset, encode_stored
from aiodimse.standard.transfer_syntax import JPEG2000, ExplicitVRLittleEndian, ImplicitVRLittleEndian

LEFT_OUT = {
    0x00287FE0: "UR",
    0x00420011: "OB",
    0x50003000: "OW",
    0x501E3000: "OW",
    0x5000200C: "OW",
    0x56000020: "OF",
    0x60003000: "OW",
    0x601E3000: "OW",
    0x7FE00008: "OF",
    0x7FE00009: "OD",
    0x7FE00010: "OW",
}
KEPT = {0x00100020: "LO", 0x60000010: "US", 0x60013000: "OW", 0x7FE10010: "OW", 0x54001010: "OW", 0x00880200: "SQ"}


def value(vr):
    if vr == "SQ":
        icon = Dataset()
        icon.add_new(0x7FE00010, "OW", b"icon")
        return [icon]
    return {"US": 7, "LO": "A1", "UR": "http://x"}.get(vr, bytes(8))


@pytest.fixture(params=["built", ImplicitVRLittleEndian, ExplicitVRLittleEndian])
def dataset(request):
    built = Dataset()
    for tag, vr in {**LEFT_OUT, **KEPT}.items():
        built.add_new(tag, vr, value(vr))
    return built if request.param == "built" else decode_dataset(encode_dataset(built, request.param), request.param)


def test_exactly_the_bulk_of_the_top_level_is_left_out(dataset):
    before = dict(dataset.items())
    out = without_bulk_data(dataset)
    assert set(map(int, out.keys())) == set(KEPT)
    assert out[0x00880200].value[0].PixelData == b"icon"
    assert dict(dataset.items()).keys() == before.keys()
    assert set(map(int, dataset.keys())) == {*LEFT_OUT, *KEPT}


def test_waveforms_lose_their_data_and_nothing_else(stored):
    file = stored("waveform_ecg.dcm")
    dataset = decode_dataset(file.data, file.transfer_syntax)
    before = dict(dataset.items())
    out = without_bulk_data(dataset)
    assert all(before[tag] is element for tag, element in dataset.items())
    reference = deepcopy(dataset)
    assert len(reference.WaveformSequence) == 2
    for item in reference.WaveformSequence:
        del item.WaveformData
    assert out == reference
    assert len(encode_dataset(out, ImplicitVRLittleEndian)) < len(file.data) / 4
    # and where the sequence was read before
    assert without_bulk_data(dataset) == reference
    assert all("WaveformData" in item for item in dataset.WaveformSequence)


def test_what_was_compressed_can_go_to_everyone(stored):
    file = stored("JPEG2000.dcm")
    dataset = decode_dataset(file.data, file.transfer_syntax)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(file.transfer_syntax)
    if "IconImageSequence" in dataset:
        del dataset.IconImageSequence
    out = without_bulk_data(dataset)
    assert dataset_uids(out)[2] == ExplicitVRLittleEndian
    assert dataset.file_meta.TransferSyntaxUID == file.transfer_syntax
    assert encode_stored(out) == encode_dataset(out, ExplicitVRLittleEndian)


def test_not_with_an_icon_that_is_compressed_too():
    dataset = Dataset()
    dataset.add_new(0x00880200, "SQ", value("SQ"))
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(JPEG2000)
    assert dataset_uids(without_bulk_data(dataset))[2] == JPEG2000
