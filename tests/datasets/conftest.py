from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import pydicom
import pytest

from aiodimse.datasets.part10 import read_head

FILES = Path(pydicom.__file__).parent / "data" / "test_files"


@dataclass(frozen=True)
class Stored:
    """A file that pydicom ships, cut into what the tests need."""

    path: Path
    transfer_syntax: str
    data: bytes


@pytest.fixture(scope="session")
def stored():
    """The data set of a file that pydicom ships: stored("CT_small.dcm")."""

    def load(name: str) -> Stored:
        head = read_head(FILES / name)
        return Stored(head.path, head.transfer_syntax, head.path.read_bytes()[head.data_offset :])

    return load


@pytest.fixture(scope="session")
def explicit():
    """Elements in Explicit VR Little Endian, by struct alone: explicit(0x00100010, "PN", b"A^B ")."""

    def element(tag: int, vr: str, value: bytes, length: int | None = None) -> bytes:
        length = len(value) if length is None else length
        head = struct.pack("<HH2s", tag >> 16, tag & 0xFFFF, vr.encode())
        if vr in ("OB", "OW", "SQ", "UN", "UT", "UC", "OF"):
            return head + struct.pack("<2xL", length) + value
        return head + struct.pack("<H", length) + value

    return element


@pytest.fixture(scope="session")
def implicit():
    """Elements, items and delimiters in Implicit VR Little Endian."""

    def element(tag: int, value: bytes = b"", length: int | None = None) -> bytes:
        return struct.pack("<HHL", tag >> 16, tag & 0xFFFF, len(value) if length is None else length) + value

    return element
