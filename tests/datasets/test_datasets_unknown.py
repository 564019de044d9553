"""UN of undefined length in Explicit VR Big Endian has content in Implicit VR Little Endian (PS3.5 6.2.2)."""

from __future__ import annotations

import io
import struct

import pytest
from pydicom import Dataset

from aiodimse.config import Limits
from aiodimse.datasets.dataset import RE_ENCODED, decode_dataset, encode_dataset, transcode
from aiodimse.datasets.framing import is_whole
from aiodimse.datasets.identity import read_identity
from aiodimse.datasets.transcoding import transcode_pieces
from aiodimse.datasets.walk import walk
from aiodimse.errors import DatasetDecodeError
from aiodimse.standard.transfer_syntax import ExplicitVRBigEndian, lookup

BIG = str(ExplicitVRBigEndian)
OPEN = 0xFFFFFFFF
ROWS = 515


def big(tag: int, vr: str, value: bytes, length: int | None = None) -> bytes:
    length = len(value) if length is None else length
    head = ">HH2s2xL" if vr in ("SQ", "UN", "OB") else ">HH2sH"
    return struct.pack(head, tag >> 16, tag & 0xFFFF, vr.encode(), length) + value


def implicit(tag: int, value: bytes = b"", length: int | None = None, order: str = "<") -> bytes:
    return struct.pack(order + "HHL", tag >> 16, tag & 0xFFFF, len(value) if length is None else length) + value


def unknown(order: str = "<") -> bytes:
    """A sequence in a UN, with a word, a sequence, and items of both kinds of length."""
    inner = implicit(0x00081155, b"1.2.840.2\0", order=order)
    nested = implicit(0x00081199, implicit(0xFFFEE000, inner, order=order), order=order)
    word = implicit(0x00280010, struct.pack(order + "H", ROWS), order=order)
    first = implicit(0xFFFEE000, nested + word, order=order)
    second = implicit(0xFFFEE000, word + implicit(0xFFFEE00D, order=order), OPEN, order)
    return big(0x00081140, "UN", first + second + implicit(0xFFFEE0DD, order=order), OPEN)


BEFORE = big(0x00080016, "UI", b"1.2.840.10008.5.1.4.1.1.7\0") + big(0x00080018, "UI", b"1.2.3\0")
AFTER = big(0x0020000D, "UI", b"1.2.4\0") + big(0x0020000E, "UI", b"1.2.5\0") + big(0x00280010, "US", b"\0\7")
DATA = BEFORE + unknown() + AFTER
# The UN may be inside of a sequence in Big Endian, which goes on behind it.
INSIDE = BEFORE + big(0x00400275, "SQ", struct.pack(">HHL", 0xFFFE, 0xE000, len(unknown()) + 10) + unknown()
    + big(0x00280010, "US", b"\0\7")) + big(0x00400280, "ST", b"behind")  # fmt: skip


def check(sequence: Dataset) -> None:
    first, second = sequence.ReferencedImageSequence
    assert (first.Rows, second.Rows) == (ROWS, ROWS)
    assert first.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "1.2.840.2"


@pytest.mark.parametrize("target", RE_ENCODED)
def test_its_values_are_read_and_written_in_every_transfer_syntax(target: str) -> None:
    for dataset in (
        decode_dataset(DATA, BIG),
        decode_dataset(encode_dataset(decode_dataset(DATA, BIG), target), target),
        decode_dataset(transcode(DATA, BIG, target), target),
    ):
        check(dataset)
        assert (dataset.Rows, dataset.SeriesInstanceUID) == (7, "1.2.5")


@pytest.mark.parametrize("target", RE_ENCODED)
@pytest.mark.parametrize("cut", [1, 7, 1000])
def test_it_is_transcoded_as_it_goes_by(target: str, cut: int) -> None:
    for data in (DATA, INSIDE):
        pieces = [data[at : at + cut] for at in range(0, len(data), cut)]
        rows = lookup(BIG), lookup(target)
        assert rows[0] is not None
        assert rows[1] is not None
        out = b"".join(transcode_pieces(pieces, rows[0], rows[1], size=len(data), limits=Limits()))
        assert decode_dataset(out, target) == decode_dataset(data, BIG)


def test_what_follows_it_in_an_item_is_in_big_endian() -> None:
    dataset = decode_dataset(INSIDE, BIG)
    check(dataset.RequestAttributesSequence[0])
    assert dataset.RequestAttributesSequence[0].Rows == 7
    assert dataset[0x00400280].value == "behind"


def test_the_identity_behind_it_is_found() -> None:
    identity = read_identity(DATA, BIG)
    assert identity is not None
    assert identity.series_instance_uid == "1.2.5"


@pytest.mark.parametrize("data", [DATA, INSIDE], ids=["at the top", "inside"])
def test_a_file_with_it_is_whole(data: bytes) -> None:
    assert is_whole(io.BytesIO(data), 0, len(data), BIG)
    assert not is_whole(io.BytesIO(data[:-1]), 0, len(data) - 1, BIG)


def test_big_endian_content_is_refused() -> None:
    data = BEFORE + unknown(">") + AFTER
    with pytest.raises(DatasetDecodeError, match="where an item must be"):
        walk(data, BIG)
    assert not is_whole(io.BytesIO(data), 0, len(data), BIG)
    rows = lookup(BIG)
    assert rows is not None
    with pytest.raises(DatasetDecodeError, match="where an item must be"):
        list(transcode_pieces([data], rows, rows, size=len(data), limits=Limits()))
