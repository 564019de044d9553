"""Values of data sets that we decoded: what pydicom makes of sound ones, and silence about the others."""

from __future__ import annotations

import subprocess
import sys
import warnings

import pydicom
import pytest
from hypotheses import examples
from hypothesis import given
from hypothesis import strategies as st
from pydicom.dataelem import RawDataElement, convert_raw_data_element
from pydicom.tag import BaseTag

from aiodimse.datasets import decode_dataset, encode_dataset
from aiodimse.standard.transfer_syntax import ExplicitVRLittleEndian

TAGS = {"LO": 0x00100020, "SH": 0x00080050, "UC": 0x00080119, "LT": 0x00104000, "ST": 0x00080081, "UT": 0x0040A160,
        "PN": 0x00100010, "UI": 0x0020000D, "IS": 0x00200013, "DS": 0x00101030}  # fmt: skip


def by_pydicom(vr: str, value: bytes) -> object:
    tag = BaseTag(TAGS[vr])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return convert_raw_data_element(RawDataElement(tag, vr, len(value), value, 0, False, True)).value


@examples(400)
@given(
    st.sampled_from(sorted(TAGS)),
    st.lists(
        st.sampled_from(["", "A^B", "A^B=C", "1", "-12 ", " 1.5", "1.0", "1e3", "1.2.840.10008", "x y", "0.50 "]),
        min_size=1,
        max_size=3,
    ),
    st.sampled_from(["", " ", "\0"]),
)
def test_values_are_those_of_pydicom(explicit, vr, texts, padding):
    value = ("\\".join(texts) + padding).encode()
    if not value:
        return
    data = explicit(TAGS[vr], vr, value)
    dataset = decode_dataset(data, ExplicitVRLittleEndian)
    ours = dataset[TAGS[vr]].value
    try:
        theirs = by_pydicom(vr, value)
    except TypeError:  # a number that is no integer
        assert vr == "IS"
        theirs = ours
    assert ours == theirs
    if vr not in ("IS", "DS"):
        assert type(ours) is type(theirs)
    again = decode_dataset(encode_dataset(dataset, ExplicitVRLittleEndian), ExplicitVRLittleEndian)
    assert (again[TAGS[vr]].value or "") == ours


@pytest.mark.parametrize(
    ("vr", "value", "expected"),
    [
        ("IS", b"ZEISIG", "ZEISIG"),
        ("IS", b"1\\ZEISIG", ["1", "ZEISIG"]),
        ("IS", b"1.5 ", 1.5),
        ("DS", b"1,5 ", "1,5"),
        ("DS", b"1.23456789012345678 ", 1.23456789012345678),
        ("UI", b"ZEISIG", "ZEISIG"),
        ("SH", b"Z" * 100, "Z" * 100),
        ("LO", b"Z" * 100, "Z" * 100),
        ("PN", b"Z" * 100 + b"=a=b=c", "Z" * 100 + "=a=b=c"),
    ],
)
def test_what_a_vr_cannot_have_is_read_in_silence(explicit, vr, value, expected, recwarn, caplog):
    data = explicit(TAGS[vr], vr, value)
    dataset = decode_dataset(data, ExplicitVRLittleEndian)
    assert dataset[TAGS[vr]].value == expected
    assert [str(each.message) for each in recwarn] == []
    assert caplog.records == []


def test_who_asks_pydicom_to_raise_is_heard(explicit, monkeypatch):
    monkeypatch.setattr(pydicom.config.settings, "reading_validation_mode", pydicom.config.RAISE)
    dataset = decode_dataset(explicit(TAGS["IS"], "IS", b"ZEISIG"), ExplicitVRLittleEndian)
    with pytest.raises(ValueError, match="Invalid value"):
        _ = dataset.InstanceNumber


def test_importing_changes_nothing_of_the_application():
    program = """
import logging, warnings, sys
import pydicom, pydicom.config
def state():
    names = ["", *logging.root.manager.loggerDict]
    loggers = {name: (list(each.filters), list(each.handlers), each.level, each.propagate)
               for name in names if isinstance(each := logging.getLogger(name), logging.Logger)
               and not name.startswith(("aiodimse", "asyncio", "concurrent"))}
    return loggers, list(warnings.filters), sys.excepthook, sys.getrecursionlimit(), dict(vars(pydicom.config.settings))
before = state()
import aiodimse, aiodimse.archive, aiodimse.testing
assert state() == before, (before, state())
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
