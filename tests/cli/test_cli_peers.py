"""Who may call, and where C-MOVE sends, as the options of serve say; asked without a network."""

from __future__ import annotations

import ssl

import pytest

import aiodimse
from aiodimse.cli import encryption
from aiodimse.cli.main import parser
from aiodimse.cli.peers import Peers


def peers(*words: str) -> Peers:
    return Peers(parser().parse_args(["serve", ".", *words]))


@pytest.mark.parametrize(
    ("words", "limited"),
    [
        ((), False),
        (("--calling", "CT1"), False),
        (("--calling", "CT1=store,find,get,move,commit"), False),
        (("--calling", "CT1=store,find,get,move"), True),
        (("--calling", "CT1="), True),
        (("--calling", "MR1", "--calling", "CT1=find"), True),
    ],
    ids=str,
)
def test_whether_requests_have_to_be_checked(words: tuple[str, ...], limited: bool) -> None:
    assert peers(*words).are_limited == limited


def test_only_a_tls_destination_has_a_context(monkeypatch: pytest.MonkeyPatch) -> None:
    context = ssl.create_default_context()
    monkeypatch.setattr(encryption, "to_destinations", lambda options: context)
    found = peers("--destination", "PLAIN=h:104", "--destination", "TLS=tls:h:2762").destinations
    assert found == {
        "PLAIN": aiodimse.Destination("h", 104),
        "TLS": aiodimse.Destination("h", 2762, ssl=context),
    }


@pytest.mark.parametrize(
    ("words", "title", "is_called"),
    [((), "AIODIMSE", True), ((), "X", False), (("--called", "X"), "X", True), (("--any-called",), "X", True)],
    ids=str,
)
def test_called_titles(words: tuple[str, ...], title: str, is_called: bool) -> None:
    assert peers(*words).is_called(title) == is_called


@pytest.mark.parametrize(
    ("words", "title", "may_call"),
    [((), "X", True), (("--calling", "CT1"), "CT1", True), (("--calling", "CT1"), "X", False)],
    ids=str,
)
def test_calling_titles(words: tuple[str, ...], title: str, may_call: bool) -> None:
    assert peers(*words).may_call(title) == may_call
