from __future__ import annotations

import copy
import json
import pickle

import pytest

from aiodimse.dimse import status
from aiodimse.dimse.status import Status
from aiodimse.standard.service_class import QUERY_RETRIEVE, STORAGE
from aiodimse.standard.status import Category


@pytest.mark.parametrize(
    ("known", "category", "text"),
    [
        (Status(0x0000), Category.SUCCESS, "0x0000 Success"),
        (Status(0xFE00), Category.CANCEL, "0xFE00 Terminated due to Cancel request"),
        (Status(0xFF00, QUERY_RETRIEVE, "C-FIND"), Category.PENDING, "0xFF00 Matches are continuing"),
        (Status(0xA801, QUERY_RETRIEVE, "C-MOVE"), Category.FAILURE, "0xA801 Refused: Move destination unknown"),
        (Status(0xB000, STORAGE, "C-STORE"), Category.WARNING, None),
        (Status(0xB000, QUERY_RETRIEVE, "C-GET"), Category.WARNING, None),
        (Status(0xD123), Category.FAILURE, "0xD123"),
        (Status(0xBFFF), Category.WARNING, "0xBFFF"),
    ],
)
def test_category_and_words(known: Status, category: Category, text: str | None) -> None:
    assert known.category is category
    if text is not None:
        assert str(known) == f"{known}" == text
        assert repr(known) == f"<Status {text}>"


def test_the_same_code_means_different_things_elsewhere() -> None:
    store, get = Status(0xB000, STORAGE, "C-STORE"), Status(0xB000, QUERY_RETRIEVE, "C-GET")
    assert store == get
    assert store.meaning != get.meaning


def test_it_is_an_int() -> None:
    known = Status(0xA700, STORAGE, "C-STORE")
    assert known == 0xA700
    assert hash(known) == hash(0xA700)
    assert {0xA700: "found"}[known] == "found"
    assert f"{known:04X}" == "A700"
    assert json.dumps([known]) == "[42752]"
    assert not Status(0)


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda known: pickle.loads(pickle.dumps(known))])
def test_copies_know_what_the_original_knew(again: object) -> None:
    known = Status(0xA700, STORAGE, "C-STORE")
    assert callable(again)
    twin = again(known)
    assert (twin, twin.service_class, twin.command, twin.meaning) == (known, STORAGE, "C-STORE", known.meaning)


def test_made_once() -> None:
    assert Status(0xFF00, QUERY_RETRIEVE, "C-FIND") is Status(0xFF00, QUERY_RETRIEVE, "C-FIND")
    assert Status(0xFF00) is not Status(0xFF00, QUERY_RETRIEVE, "C-FIND")


def test_a_status_of_a_status() -> None:
    known = Status(0xA700, STORAGE, "C-STORE")
    assert Status(0xA700) is not known
    assert Status(known) is known
    assert Status(known, QUERY_RETRIEVE).service_class is QUERY_RETRIEVE
    assert type(int(known)) is int


@pytest.mark.parametrize(
    ("code", "error"), [(-1, ValueError), (0x10000, ValueError), (0.0, TypeError), ("0", TypeError), (None, TypeError)]
)
def test_other_values(code: object, error: type[Exception]) -> None:
    assert Status(0) == Status(False)
    with pytest.raises(error):
        Status(code)  # type: ignore[arg-type]


def test_a_peer_cannot_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status, "_MADE", {})
    for code in range(0x10000):
        Status(code)
    assert 0 < len(status._MADE) <= status._MAX_MADE
    assert Status(0xFFFF) is Status(0xFFFF)
