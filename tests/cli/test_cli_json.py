"""What --json prints of a peer's text: the same text for programs, and nothing that a terminal obeys."""

from __future__ import annotations

import io
import json
import sys
import unicodedata

import pytest

from aiodimse.cli.output import Output


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
@pytest.mark.parametrize("indent", [False, True])
def test_no_control_character_is_printed_as_it_is(monkeypatch: pytest.MonkeyPatch, encoding: str, indent: bool) -> None:
    text = "".join(map(chr, range(0x180))) + "山田\u2028\u202e\u2066"
    out = io.TextIOWrapper(io.BytesIO(), encoding=encoding, write_through=True)
    monkeypatch.setattr(sys, "stdout", out)
    Output(as_json=True).document({"PatientName": text, text: [text]})
    printed = out.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]
    assert json.loads(printed) == {"PatientName": text, text: [text]}
    assert [each for each in printed if unicodedata.category(each) in ("Cc", "Cf", "Zl", "Zp") and each != "\n"] == [
        "\xad"
    ] * (0 if encoding == "ascii" else 3)
