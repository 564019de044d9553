"""One reader for every kind of file: what is scanned and what is sent are the same files, as the same instances."""

from __future__ import annotations

import struct
from pathlib import Path

import pydicom
import pytest

import aiodimse
from aiodimse.datasets import PartTenReader, file_identity, read_head
from aiodimse.datasets.encoding import encoding_of
from aiodimse.datasets.file_meta import file_meta
from aiodimse.errors import NotDICOM
from aiodimse.standard.transfer_syntax import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
)

FILES = Path(pydicom.__file__).parent / "data" / "test_files"
CT, UID = "1.2.840.10008.5.1.4.1.1.2", "1.2.3.4"
IDENTITY = aiodimse.Identity(CT, UID, "1.2.1", "1.2.2", "A")


def element(tag: int, vr: str, value: str, syntax: str = ExplicitVRLittleEndian) -> bytes:
    raw = value.encode()
    raw += (b"\0" if vr == "UI" else b" ") * (len(raw) % 2)
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    if syntax == ImplicitVRLittleEndian:
        return struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(raw)) + raw
    return struct.pack(order + "HH2sH", tag >> 16, tag & 0xFFFF, vr.encode(), len(raw)) + raw


def dataset(syntax: str = ExplicitVRLittleEndian) -> bytes:
    rows = [
        (0x00080016, "UI", CT),
        (0x00080018, "UI", UID),
        (0x00100020, "LO", "A"),
        (0x0020000D, "UI", "1.2.1"),
        (0x0020000E, "UI", "1.2.2"),
    ]
    return b"".join(element(*row, syntax) for row in rows)


def meta(syntax: str = ExplicitVRLittleEndian, *, group_length: bytes | None = None) -> bytes:
    """Preamble, prefix and group 0002, with another value of Group Length; b"": without it."""
    whole = file_meta(CT, UID, syntax)
    if group_length is None:
        return whole
    head = whole[132:140] + group_length if group_length else b""
    return whole[:132] + head + whole[144:]


BARE = bytes(128) + b"DICM"
TAKEN = {
    "as it should be": (meta() + dataset(), ExplicitVRLittleEndian),
    "a huge group length": (meta(group_length=b"\xff\xff\xff\x7f") + dataset(), ExplicitVRLittleEndian),
    "a swapped group length": (meta(group_length=b"\0\0\0\x68") + dataset(), ExplicitVRLittleEndian),
    "a group length of 0": (meta(group_length=b"\0\0\0\0") + dataset(), ExplicitVRLittleEndian),
    "no group length": (meta(group_length=b"") + dataset(), ExplicitVRLittleEndian),
    "no preamble": (meta()[132:] + dataset(), ExplicitVRLittleEndian),
    "no preamble, no group length": (meta(group_length=b"")[132:] + dataset(), ExplicitVRLittleEndian),
    "no file meta": (BARE + dataset(), ExplicitVRLittleEndian),
    "no file meta, implicit": (BARE + dataset(ImplicitVRLittleEndian), ImplicitVRLittleEndian),
    "nothing but a data set": (dataset(), ExplicitVRLittleEndian),
    "nothing but an implicit one": (dataset(ImplicitVRLittleEndian), ImplicitVRLittleEndian),
    "nothing but a big endian one": (dataset(ExplicitVRBigEndian), ExplicitVRBigEndian),
    "trailing zeros": (meta() + dataset() + bytes(500), ExplicitVRLittleEndian),
    "implicit, says explicit": (meta() + dataset(ImplicitVRLittleEndian), ImplicitVRLittleEndian),
    "explicit, says implicit": (meta(ImplicitVRLittleEndian) + dataset(), ExplicitVRLittleEndian),
    "explicit, says big endian": (meta(ExplicitVRBigEndian) + dataset(), ExplicitVRLittleEndian),
    "compressed": (meta(JPEG2000) + dataset(), JPEG2000),
    "private": (meta("1.2.3.4.5") + dataset(), "1.2.3.4.5"),
}


@pytest.mark.parametrize("case", TAKEN)
def test_what_is_taken_as_what(tmp_path: Path, case: str) -> None:
    data, syntax = TAKEN[case]
    path = tmp_path / "file"
    path.write_bytes(data)
    head = read_head(path)
    assert (head.sop_class_uid, head.sop_instance_uid, head.transfer_syntax) == (CT, UID, syntax)
    with PartTenReader(path) as reader:
        assert data.endswith(b"".join(reader.pieces()))
        assert head.size == reader.head.size == len(data) - head.data_offset
    if case != "private":
        assert file_identity(path) == IDENTITY


REFUSED = {
    "implicit, says JPEG": meta(JPEGBaseline8Bit) + dataset(ImplicitVRLittleEndian),
    "implicit, says JPEG 2000": meta(JPEG2000) + dataset(ImplicitVRLittleEndian),
    "big endian, says JPEG": meta(JPEGBaseline8Bit) + dataset(ExplicitVRBigEndian),
    "text": b"Dear colleague, this is not an image but a letter.",
    "empty": b"",
    "zeros": bytes(1000),
    "a preamble alone": BARE,
    "file meta that is cut off": meta()[:-20],
    "file meta, cut off behind an element": meta()[: 132 + 12 + 14],
    "a data set that does not say what it is": element(0x00100010, "PN", "A^B"),
    "a data set without an instance UID": element(0x00080016, "UI", CT) + element(0x00100010, "PN", "A^B"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused(tmp_path: Path, case: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(REFUSED[case])
    with pytest.raises(NotDICOM):
        read_head(path)


@pytest.mark.parametrize("name", ["ExplVR_LitEndNoMeta.dcm", "ExplVR_BigEndNoMeta.dcm", "rtstruct.dcm"])
def test_real_files_without_this_or_that(name: str) -> None:
    forced = pydicom.dcmread(FILES / name, force=True, stop_before_pixels=True)
    identity = file_identity(FILES / name)
    assert identity is not None
    assert (identity.sop_instance_uid, identity.study_instance_uid) == (
        forced.SOPInstanceUID,
        forced.StudyInstanceUID,
    )


def test_the_encoding_shows_in_the_first_element() -> None:
    for syntax in (ExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian):
        assert encoding_of(dataset(syntax)) == syntax
    assert encoding_of(dataset()[:7]) is None
    assert encoding_of(b"") is None


def test_a_deflated_file_is_read_as_it_is() -> None:
    assert read_head(FILES / "image_dfl.dcm").transfer_syntax == DeflatedExplicitVRLittleEndian
    identity = file_identity(FILES / "image_dfl.dcm")
    assert identity is not None
    assert identity.study_instance_uid == pydicom.dcmread(FILES / "image_dfl.dcm").StudyInstanceUID
