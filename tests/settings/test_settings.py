"""A TOML file becomes a dataclass; what is wrong in it is said with the file and the key."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import aiodimse
from aiodimse.settings import from_toml


@dataclass(frozen=True, kw_only=True)
class Rule:
    to: list[str]
    match: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.to:
            raise ValueError("a rule without destinations")


@dataclass(frozen=True, kw_only=True)
class Settings:
    folder: Path
    port: int = 104
    quiet: float = 5.0
    strict: bool = False
    viewer: str | None = None
    rules: list[Rule] = field(default_factory=list)
    destinations: dict[str, aiodimse.Destination] = field(default_factory=dict)
    calls: set[str] = field(default_factory=set)
    made: int = field(default=0, init=False)


def exactly(text: str) -> str:
    return f"^{re.escape(text)}$"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "settings.toml"


def test_each_key_is_a_field(file: Path) -> None:
    file.write_text(
        """
        folder = "x"
        quiet = 2
        strict = true
        viewer = "dist"
        rules = [{ to = ["A"], match = { Modality = "MR" } }]
        [destinations.A]
        host = "127.0.0.1"
        port = 11112
        [destinations.A.timeouts]
        connect = 3.0
        """
    )
    assert from_toml(Settings, file) == Settings(
        folder=Path("x"),
        quiet=2,
        strict=True,
        viewer="dist",
        rules=[Rule(to=["A"], match={"Modality": "MR"})],
        destinations={"A": aiodimse.Destination("127.0.0.1", 11112, timeouts=aiodimse.Timeouts(connect=3.0))},
    )


def test_a_byte_order_mark_is_no_mistake(file: Path) -> None:
    file.write_text('folder = "x"', encoding="utf-8-sig")
    assert from_toml(Settings, str(file)).port == 104


KEYS = "folder, port, quiet, strict, viewer, rules, destinations"
OF_A = "host, port, ae_title, timeouts, operations_window, calling_ae_title"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("prt = 1", f"there is no key prt; the keys are {KEYS}"),
        ("made = 1", f"there is no key made; the keys are {KEYS}"),
        ("calls = []", f"there is no key calls; the keys are {KEYS}"),
        ("port = 1", "missing: folder"),
        ('folder = "x"\n[destinations.A]', "missing: destinations.A.host, destinations.A.port"),
        ("[destinations.A]\nprt = 1", f"there is no key destinations.A.prt; the keys of destinations.A are {OF_A}"),
        ("[destinations.A]\nssl = 1", f"there is no key destinations.A.ssl; the keys of destinations.A are {OF_A}"),
        ("destinations = 1", "destinations takes a table"),
        ('destinations.A = "here"', "destinations.A takes a table"),
        ('port = "secret"', "port takes a whole number"),
        ("port = 1.5", "port takes a whole number"),
        ("port = true", "port takes a whole number"),
        ("quiet = true", "quiet takes a number"),
        ("viewer = 1", "viewer takes text"),
        ("viewer = 2024-01-01", "viewer takes text"),
        ("folder = 1", "folder takes text"),
        ("rules = {}", "rules takes a list"),
        ("rules = [{ to = [1] }]", "rules.to takes text"),
        ("rules = [{ to = [] }]", "rules: a rule without destinations"),
        ("port = \n", "Invalid value (at line 1, column 8)"),
    ],
)
def test_a_mistake_is_said_with_the_file_and_the_key(file: Path, text: str, said: str) -> None:
    file.write_text(text)
    with pytest.raises(ValueError, match=exactly(f"{file}: {said}")):
        from_toml(Settings, file)


def test_a_file_that_cannot_be_read_is_said_like_any_other_mistake(tmp_path: Path) -> None:
    for path, said in ((tmp_path, "is a directory"), (tmp_path / "x.toml", "no such file or directory")):
        with pytest.raises(ValueError, match=exactly(f"{path}: {said}")):
            from_toml(Settings, path)


def test_what_is_no_text_is_said_with_the_file(file: Path) -> None:
    file.write_bytes(b"\xff")
    with pytest.raises(ValueError, match=exactly(f"{file}: this is not text in UTF-8")):
        from_toml(Settings, file)
