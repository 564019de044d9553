"""A header that says less than it said: half of a UID is the UID of somebody else's study."""

from __future__ import annotations

from pathlib import Path

import pytest
from scripted import wire

import aiodimse
from aiodimse.archive.header import DamagedHeader, NotAnObject, read_header
from aiodimse.archive.models import Level
from aiodimse.datasets.file_meta import file_meta

CT = "1.2.840.10008.5.1.4.1.1.2"
ELEMENTS = {
    (0x0008, 0x0016): ("UI", CT),
    (0x0008, 0x0018): ("UI", "1.2.3"),
    (0x0010, 0x0020): ("LO", "A"),
    (0x0020, 0x000D): ("UI", "1.2.11"),
    (0x0020, 0x000E): ("UI", "1.2.11.1"),
}
DATA = wire.dataset(ELEMENTS)


def written(folder: Path, data: bytes, syntax: str = wire.EXPLICIT_LE) -> Path:
    path = folder / "file"
    path.write_bytes(file_meta(CT, "1.2.3", syntax) + data)
    return path


def test_a_whole_header_is_read(tmp_path: Path) -> None:
    assert read_header(written(tmp_path, DATA)).unique(Level.STUDY) == "1.2.11"


@pytest.mark.parametrize("cut", range(1, 32))
def test_a_header_that_is_cut_off_says_nothing(tmp_path: Path, cut: int) -> None:
    """pydicom reads what is left of a value: 1.2.1 of 1.2.11."""
    with pytest.raises((DamagedHeader, NotAnObject)):
        read_header(written(tmp_path, DATA[:-cut]))


def test_elements_that_are_out_of_order(tmp_path: Path) -> None:
    """Who stops at the first larger tag, and who does not, would see two instances in it."""
    first = wire.dataset(
        {
            (0x0008, 0x0016): ("UI", CT),
            (0x0010, 0x0020): ("LO", "A"),
        }
    )
    rest = wire.dataset({(0x0020, 0x000D): ("UI", "1.2.11"), (0x0020, 0x000E): ("UI", "1.2.11.1")})
    second = wire.dataset({(0x0008, 0x0018): ("UI", "1.2.4")})
    with pytest.raises(DamagedHeader):
        read_header(written(tmp_path, first + second + rest))


@pytest.mark.parametrize("syntax", [wire.IMPLICIT_LE, wire.EXPLICIT_LE])
def test_what_is_indexed_is_what_is_sent(tmp_path: Path, syntax: str) -> None:
    """Without a preamble, without file meta information, with another Group Length: the reader is the same."""
    data = wire.dataset(ELEMENTS, syntax)
    whole = file_meta(CT, "1.2.3", syntax)
    for head in (b"", whole[132:], bytes(128) + b"DICM", whole[:140] + b"\xff\xff\xff\x7f" + whole[144:]):
        path = tmp_path / "file"
        path.write_bytes(head + data)
        header, sent = read_header(path), aiodimse.read_head(path)
        assert header.unique(Level.IMAGE) == sent.sop_instance_uid == "1.2.3"
        assert header.entry.transfer_syntax == sent.transfer_syntax == syntax


def test_what_cannot_be_sent_is_not_indexed(tmp_path: Path) -> None:
    path = written(tmp_path, wire.dataset(ELEMENTS, wire.IMPLICIT_LE), "1.2.840.10008.1.2.4.50")
    for read in (read_header, aiodimse.read_head):
        with pytest.raises(aiodimse.NotDICOM):
            read(path)
