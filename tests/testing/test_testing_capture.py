"""The form of recorded conversations."""

from __future__ import annotations

from pathlib import Path

import pytest

from aiodimse import testing


def test_lines_that_begin_with_a_number_sign_say_something_to_people(tmp_path: Path) -> None:
    path = tmp_path / "x.dul"
    path.write_text("# 74 bytes of data set left out of the next line\n> 0506\n\n#\n< 07\n")
    assert testing.read_capture(path) == [(">", b"\x05\x06"), ("<", b"\x07")]


@pytest.mark.parametrize("line", ["05 06", "= 05", "> 0", "> 05 06 # 7", ">", "> zz"])
def test_what_is_no_recording(tmp_path: Path, line: str) -> None:
    path = tmp_path / "x.dul"
    path.write_text(f"> 05\n{line}\n")
    with pytest.raises(ValueError, match="line 2"):
        testing.read_capture(path)
