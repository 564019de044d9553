"""The leniency table: each row is whole, is named once, and is decided somewhere in the library."""

import re
from pathlib import Path

import aiodimse
from aiodimse.standard import leniency

SOURCE = "\n".join(
    path.read_text(encoding="utf-8")
    for path in Path(aiodimse.__file__).parent.rglob("*.py")
    if path.name != "leniency.py"
)


def test_rows_are_whole_and_named_once() -> None:
    assert len({row.key for row in leniency.ALL}) == len(leniency.ALL) > 0
    for row in leniency.ALL:
        assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", row.key), row
        assert row.tolerated, row
        assert row.done, row
        assert re.match(r"PS3\.\d+ |RFC \d+|docs/topics/", row.section), row


def test_each_row_is_the_constant_of_its_name_and_is_used() -> None:
    for row in leniency.ALL:
        name = row.key.upper().replace("-", "_")
        assert getattr(leniency, name) is row, row.key
        assert re.search(rf"\b(leniency\.)?{name}\b", SOURCE), f"nothing decides by {row.key}"


def test_a_use_says_what_and_why() -> None:
    row = leniency.Leniency("k", "a thing came", "it is skipped", "", "PS3.8 9")
    assert str(leniency.Tolerated(row)) == "a thing came; it is skipped"
    assert str(leniency.Tolerated(row, "item 3")) == "a thing came (item 3); it is skipped"
