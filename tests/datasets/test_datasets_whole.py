"""Whether the data set in a file is complete, and how much work it may be to find out."""

from __future__ import annotations

import io
import zlib
from pathlib import Path

import pydicom
import pytest

import aiodimse
from aiodimse.datasets.framing import is_whole

DEFLATED = "1.2.840.10008.1.2.1.99"
FILES = Path(pydicom.__file__).parent / "data" / "test_files"
NAMES = ("CT_small.dcm", "JPEG2000.dcm", "image_dfl.dcm", "MR_small_bigendian.dcm")


@pytest.mark.parametrize("name", NAMES)
def test_a_file_and_one_that_is_cut_off(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    data = (FILES / name).read_bytes()
    for cut, expected in ((len(data), True), (len(data) - 100, False)):
        path.write_bytes(data[:cut])
        assert aiodimse.is_whole_file(path) is expected
        assert aiodimse.is_whole_file(io.BytesIO(data[:cut])) is expected


def test_what_is_no_dicom_file(tmp_path: Path) -> None:
    (tmp_path / "letter").write_bytes(b"a letter")
    with pytest.raises(aiodimse.NotDICOM):
        aiodimse.is_whole_file(tmp_path / "letter")
    with pytest.raises(aiodimse.NotDICOM):
        aiodimse.is_whole_file(io.BytesIO(b"a letter"))
    with pytest.raises(OSError, match="nothing"):
        aiodimse.is_whole_file(tmp_path / "nothing")


@pytest.mark.parametrize(("mebibytes", "expected"), [(60, True), (80, False)])
def test_a_deflated_data_set_is_inflated_within_bounds(mebibytes: int, expected: bool) -> None:
    """The example: 1 MiB that inflates to 1 GiB took 3.7 s, each time that it was sent again."""
    deflater = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    data = b"".join(deflater.compress(bytes(1 << 20)) for _ in range(mebibytes)) + deflater.flush()
    assert is_whole(io.BytesIO(data), 0, len(data), DEFLATED) is expected
    assert is_whole(io.BytesIO(data), 0, len(data), DEFLATED, if_unknown=True)


def test_a_data_set_of_many_elements_is_looked_at_within_bounds() -> None:
    """The example: 8 MiB of empty elements took 1.6 s, each time that they were sent again."""
    data = b"".join(b"\x29\0" + number.to_bytes(2, "little") + bytes(4) for number in range(0x1000, 0x2000))
    for cut, is_cut in ((0, False), (-3, True)):
        opened, size = io.BytesIO(data), len(data) + cut
        assert is_whole(opened, 0, size, "1.2.840.10008.1.2") is not is_cut
        for if_unknown in (True, False):
            limited = is_whole(opened, 0, size, "1.2.840.10008.1.2", max_steps=100, if_unknown=if_unknown)
            assert limited is if_unknown
