"""Media types are chosen as RFC 9110 12.5.1 and PS3.18 8.7.5 say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aiodimse import dicomweb

JSON, FILES = "application/dicom+json", 'multipart/related; type="application/dicom"'
JPEG = 'multipart/related; type="image/jpeg"; transfer-syntax=1.2.840.10008.1.2.4.50'


@pytest.mark.parametrize(
    ("accept", "offered", "chosen"),
    [
        (None, ["a/b", "c/d"], "a/b"),
        ("", ["a/b"], "a/b"),
        ("*/*", ["a/b", "c/d"], "a/b"),
        ("c/*", ["a/b", "c/d"], "c/d"),
        ("c/d, a/b", ["a/b", "c/d"], "a/b"),
        ("c/d, a/b;q=0.9", ["a/b", "c/d"], "c/d"),
        ("*/*, a/b;q=0", ["a/b", "c/d"], "c/d"),
        ("a/*;q=0.2, a/b;q=0.1, c/d;q=0.15", ["a/b", "c/d"], "c/d"),
        ("a/b;q=0", ["a/b"], None),
        ("a/b;q=2", ["a/b"], None),
        ("x/y", ["a/b"], None),
        (",, ;, a", ["a/b"], None),
        ("Application/DICOM+JSON ; charset=utf-8", [JSON], JSON),
        ("multipart/related;type=application/dicom", [FILES], FILES),
        ("multipart/related", [FILES], FILES),
        ('multipart/related; type="a,b;q=0"', [FILES], None),
        (f"{FILES}; transfer-syntax=1.2.840.10008.1.2.1", [FILES], FILES),
        ('multipart/related; type="image/*"', [JPEG], JPEG),
        ('multipart/related; type="image/jpeg"; transfer-syntax=*', [JPEG], JPEG),
        ('multipart/related; type="image/jpeg"; transfer-syntax=1.2.840.10008.1.2.4.90', [JPEG], None),
    ],
)
def test_the_media_type_is_the_one_preferred(accept: str | None, offered: list[str], chosen: str | None) -> None:
    assert dicomweb.choose_media_type(accept, offered) == chosen


@given(st.text())
def test_no_header_is_an_error(accept: str) -> None:
    assert dicomweb.choose_media_type(accept, ["a/b"]) in ("a/b", None)
