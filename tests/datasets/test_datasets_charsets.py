"""Text in the character sets of a peer: what pydicom makes of it where it is text, and silence where it is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.charset import decode_bytes, python_encoding
from pydicom.data import get_charset_files

from aiodimse.datasets.charsets import DEFAULT, can_encode, decode_text, encodings_from_bytes, encodings_from_terms

DELIMITERS = {0x0A, 0x0C, 0x0D, 0x3D, 0x5C, 0x5E}


NAMES = [path for path in map(Path, get_charset_files("*.dcm")) if not path.name.startswith("chrSQ")]


@pytest.mark.parametrize("path", NAMES, ids=lambda path: path.stem)
def test_names_are_read_as_pydicom_reads_them(path: Path) -> None:
    dataset = dcmread(path)
    terms = dataset.get("SpecificCharacterSet")
    encodings = encodings_from_terms(terms)
    name = dataset.PatientName.original_string
    assert decode_text(name, encodings) == decode_bytes(name, encodings, DELIMITERS) == str(dataset.PatientName)


@given(
    st.lists(st.sampled_from(sorted(python_encoding)), min_size=1, max_size=3),
    st.lists(
        st.sampled_from([b"\x1b", b"\x1b(B", b"\x1b)I", b"\x1b$B", b"\x1b$)C", b"\x1b-A", b"\x1b$(D"]) | st.binary()
    ),
)
def test_whatever_the_bytes_are_they_are_some_text(terms: list[str], pieces: list[bytes]) -> None:
    assert isinstance(decode_text(b"".join(pieces), encodings_from_terms(terms)), str)


@pytest.mark.parametrize("value", [b"\x1b" * 100, b"\x1b$B\x1b", b"\xff\xfe", b"\x1b-Bx", b"\x1b$)C\xff"])
@pytest.mark.parametrize("terms", ["", "ISO_IR 192", "\\ISO 2022 IR 87", "\\ISO 2022 IR 149", "undefined"])
def test_bytes_that_are_no_text_warn_nobody(
    value: bytes, terms: str, recwarn: pytest.WarningsRecorder, caplog: pytest.LogCaptureFixture
) -> None:
    decode_text(value, encodings_from_terms(terms))
    assert [str(each.message) for each in recwarn] == []
    assert caplog.records == []


@pytest.mark.parametrize("terms", [b"undefined", b"utf_16", b"bogus", b"hex", b"", b"x" * 1000])
def test_what_is_no_defined_term_is_the_default_repertoire(terms: bytes) -> None:
    assert encodings_from_bytes(terms) == encodings_from_terms(terms.decode()) == DEFAULT


@pytest.mark.parametrize(
    ("text", "terms", "expected"),
    [
        ("Müller", "ISO_IR 100", True),
        ("山田", "ISO_IR 100", False),
        ("山田", "\\ISO 2022 IR 87", True),
        ("ﾔ", "ISO_IR 13", True),
        ("山", "ISO_IR 13", False),  # the codec that stands for it knows the kanji too
        ("", "ISO_IR 100", True),
    ],
)
def test_can_encode(text: str, terms: str, expected: bool) -> None:
    assert can_encode(text, encodings_from_terms(terms)) is expected
