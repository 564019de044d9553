"""Whatever a peer or a disk holds: a value or the documented error, and nothing in pydicom's log."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypotheses import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aiodimse.datasets.bulk import without_bulk_data
from aiodimse.datasets.dataset import (
    RE_ENCODED,
    dataset_uids,
    decode_dataset,
    encode_dataset,
    encode_stored,
    first_uids,
)
from aiodimse.datasets.deflating import deflate, inflate
from aiodimse.datasets.part10 import read_head
from aiodimse.errors import DatasetDecodeError, DatasetEncodeError, NotDICOM
from aiodimse.standard.transfer_syntax import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian

SMALL = ["MR_small_implicit.dcm", "UN_sequence.dcm", "test-SR.dcm", "rtplan.dcm", "waveform_ecg.dcm", "image_dfl.dcm"]


@pytest.fixture(scope="module")
def seeds(stored):
    """The first 3,000 bytes or so of real data sets, whole elements or not: where to change bytes."""

    class Seeds(list):
        def __repr__(self):
            return "seeds"

    found = Seeds()
    for name in SMALL:
        file = stored(name)
        data = file.data
        if file.transfer_syntax == DeflatedExplicitVRLittleEndian:
            data = inflate(data, max_size=1 << 24, max_ratio=1032)
        found.append((data[:3000], file.transfer_syntax))
    return found


changes = st.lists(st.tuples(st.integers(0, 2999), st.binary(min_size=1, max_size=6)), max_size=4)
syntaxes = st.sampled_from([None, *RE_ENCODED, ExplicitVRBigEndian])


@examples(300)
@given(st.integers(0, len(SMALL) - 1), changes, st.integers(0, 3000), syntaxes, st.binary(max_size=40))
def test_decoding_and_writing_again_are_total(seeds, caplog, index, changes, cut, syntax, tail):
    data, own = seeds[index]
    changed = bytearray(data[:cut])
    for position, piece in changes:
        changed[position : position + len(piece)] = piece
    data, syntax = bytes(changed) + tail, syntax or own
    if syntax == DeflatedExplicitVRLittleEndian:
        data = deflate(data)
    first_uids(data, syntax)
    try:
        dataset = decode_dataset(data, syntax)
    except DatasetDecodeError:
        return
    for target in RE_ENCODED:
        with suppress(DatasetEncodeError):
            assert decode_dataset(encode_dataset(dataset, target), target).keys() <= dataset.keys()
    with suppress(DatasetEncodeError):
        encode_stored(without_bulk_data(dataset))
    assert not caplog.records
    dataset_uids(dataset)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_reading_a_head_is_total(tmp_path, data, with_prefix):
    path = tmp_path / "file"
    path.write_bytes(bytes(128) + b"DICM" + data if with_prefix else data)
    with suppress(NotDICOM):
        read_head(path)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(changes=st.lists(st.tuples(st.integers(132, 340), st.integers(0, 255)), max_size=3))
def test_reading_a_damaged_head_is_total(tmp_path, stored, changes):
    changed = bytearray(stored("CT_small.dcm").path.read_bytes()[:2000])
    for position, value in changes:
        changed[position] = value
    path = tmp_path / "file"
    path.write_bytes(changed)
    with suppress(NotDICOM):
        read_head(path)
