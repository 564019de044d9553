"""The window of a URL, and an instance as if it had only one frame. tests/examples renders such frames."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file

from aiodimse import dicomweb

CT = Path(str(get_testdata_file("CT_small.dcm", download=False)))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("40,400", (40.0, 400.0, "LINEAR")),
        ("-1.5,1,linear", (-1.5, 1.0, "LINEAR")),
        ("40,0.5,linear-exact", (40.0, 0.5, "LINEAR_EXACT")),
        ("40,0.5,sigmoid", (40.0, 0.5, "SIGMOID")),
    ],
)
def test_a_window(text: str, found: tuple[float, float, str]) -> None:
    assert dicomweb.window(text) == found


@pytest.mark.parametrize("text", ["", "1", "1,2,3", "1,2,linear,4", "x,1", "1,0.5", "1,0,sigmoid", "nan,1", "1,inf"])
def test_a_window_that_is_none(text: str) -> None:
    with pytest.raises(ValueError, match="window"):
        dicomweb.window(text)


def test_one_frame_has_the_bytes_of_the_instance() -> None:
    whole, found = dcmread(CT), dicomweb.read_one_frame(CT, 1)
    assert (found.PixelData, found.NumberOfFrames) == (whole.PixelData, 1)


def test_a_frame_that_is_not_there() -> None:
    with pytest.raises(dicomweb.NoSuchFrame):
        dicomweb.read_one_frame(CT, 2)


def test_a_frame_has_no_more_samples_than_the_caller_allows() -> None:
    dicomweb.read_one_frame(CT, 1, max_samples=128 * 128)
    with pytest.raises(ValueError, match="too large"):
        dicomweb.read_one_frame(CT, 1, max_samples=128 * 128 - 1)
