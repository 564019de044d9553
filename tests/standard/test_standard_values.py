"""UIDs, AE titles, and text of a peer in a log."""

import pytest

from aiodimse.standard.values import escaped, has_leading_zero, is_ae_title, is_uid, trimmed_ae_title


def test_uids() -> None:
    for uid in ("1.2", "1.2.840.10008.1.1", "2.25." + "3" * 59, "1.02"):
        assert is_uid(uid), uid
    for wrong in ("", "1", "1.", ".1", "1..2", "1.2 ", "1.2\n", "1.x", "1.٢", "1." + "2" * 63, None, 1.2, b"1.2"):
        assert not is_uid(wrong), wrong
    assert [has_leading_zero(uid) for uid in ("1.0.2", "1.02", "01.2", "1.200")] == [False, True, True, False]


def test_ae_titles() -> None:
    for title in ("A", " A ", "SIXTEEN LETTERS!", "a-b.c"):
        assert is_ae_title(title), title
    for wrong in ("", "   ", "SEVENTEEN LETTERS", "A\\B", "A\n", "A\0", "Ä", None, b"A"):
        assert not is_ae_title(wrong), wrong


@pytest.mark.parametrize(
    ("read", "title"), [("A", "A"), (" A B  ", "A B"), ("A\0B", "A"), ("A \0\0", "A"), ("\0A", ""), ("", "")]
)
def test_what_counts_of_a_title(read: str, title: str) -> None:
    assert trimmed_ae_title(read) == title


def test_text_in_a_log_is_one_line_of_ascii() -> None:
    assert escaped("A\nB\x1bÄ\u2028'") == r"A\nB\x1b\xc4\u2028'"
