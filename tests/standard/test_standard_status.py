"""The status rows against the table of the seeds and the general statuses of PS3.7 C."""

from __future__ import annotations

import csv
import itertools
from pathlib import Path

import pytest
from rows import for_each_row

from aiodimse.standard import service_class, status
from aiodimse.standard.status import Category

DATA = Path(__file__).parents[1] / "data" / "standard"
SEED_ROWS = list(csv.DictReader((DATA / "seed_statuses.csv").read_text().splitlines()))
BY_NAME = {row.name: row for row in service_class.ALL}


def codes(text: str) -> tuple[int, int]:
    first, _, last = text.partition(" to ")
    return int(first, 16), int(last or first, 16)


@for_each_row(SEED_ROWS, lambda row: f"{row['service_class']} {row['command']} {row['code']}")
def test_seed_status(seed: dict[str, str]):
    first, last = codes(seed["code"])
    where = BY_NAME[seed["service_class"].replace("Q/R", "Query/Retrieve")], seed["command"]
    # A range is met by its ends; what lies between may have a row of its own.
    row = status.find(last, *where)
    assert row is not None
    assert (row.first, row.last) == (first, last)
    assert row.category.value == seed["category"]
    assert row.kind == seed["kind"]
    assert row.meaning
    assert status.category(first, *where) is row.category


@for_each_row(status.ROWS, lambda row: f"{row.codes()} {row.meaning}")
def test_row_is_found_where_it_holds(row: status.StatusRow):
    for service in row.service_classes or (None,):
        for command in row.commands or (None,):
            assert status.find(row.last, service, command) is not None
            assert status.find(row.last, service, command).category is row.category
    assert all(set(row.commands) <= service.commands for service in row.service_classes)
    assert 0 <= row.first <= row.last <= 0xFFFF
    assert row.codes().startswith("0x")


# Codes (or ranges) and the letter of their category; "aiodimse": what the library adds. The seeds, which name no
# section, have the numbers of those in SEEN. The sections were looked up in the text of the standard, or are those of
# the annex that defines the service class. That none of it changes unnoticed is what is tested here.
NUMBERS = {
    "PS3.7 C.1": "0000S",
    "PS3.7 C.3": "FE00C",
    "PS3.7 C.4": "0001W 0107W 0116W",
    "PS3.7 C.5": "0105F 0106F 0110F 0111F 0112F 0113F 0114F 0115F 0117F 0118F 0119F 0120F 0121F 0122F 0123F 0124F"
    " 0210F 0211F 0212F 0213F",
    "PS3.4 C.4.1": "A700F A710F A900F C000-CFFFF B001W FF00P FF01P",
    "PS3.4 C.4.2, C.4.3": "A701F A702F A900F AA00F AA01F AA02F AA03F AA04F C000-CFFFF B000W FF00P",
    "PS3.4 C.4.2": "A801F",
    "PS3.4 B.2": "A700-A7FFF A900-A9FFF C000-CFFFF B000W B006W B007W",
    "PS3.4 GG": "A700F A900F C000-CFFFF",
    "PS3.4 Q.2": "A700F A900F C000-CFFFF C100F C200F FF00P",
    "PS3.4 CC": "B300W B301W B304W B305W B306W C300F C301F C302F C303F C304F C307F C308F C309F C310F C311F C312F"
    " C313F C314F C315F",
    "PS3.4 F": "0110F",
    "PS3.4 KK": "B010W",
    "PS3.4 S.3.2": "A510F C201F C202F C203F",
    "PS3.4 P": "B101W B102W B104W C101F C102F C103F C104F C10EF C110F C111F",
    "PS3.4 H": "B600W B601W B602W B603W B604W B605W B609W B60AW C600F C601F C602F C603F C605F C613F C616F",
    "PS3.4 DD.3": "C112F C221F C222F C223F C224F C225F C226F C227F",
    "aiodimse": "C001F C002F C210F C211F C310F C311F C312F C410F C411F C413F C510F C511F C513F C514F C515F",
}


SEEN = {
    "PS3.7 C.1",
    "PS3.7 C.3",
    "PS3.7 C.5",
    "PS3.4 C.4.1",
    "PS3.4 C.4.2, C.4.3",
    "PS3.4 C.4.2",
    "aiodimse",
}
"""Sections with numbers that the seeds have as well; of PS3.7 C.5 they have five."""


def test_which_sections_the_seeds_bear_out():
    found = set()
    for seed in SEED_ROWS:
        service = BY_NAME[seed["service_class"].replace("Q/R", "Query/Retrieve")]
        row = status.find(codes(seed["code"])[1], service, seed["command"])
        assert row is not None
        found.add(row.section)
    assert found == SEEN
    assert set(NUMBERS) >= SEEN


def test_the_numbers_of_each_section():
    found: dict[str, set[str]] = {}
    for row in status.ROWS:
        code = row.codes().replace("0x", "").replace(" to ", "-")
        found.setdefault(row.section, set()).add(code + row.category.value[0])
    assert found == {section: set(codes.split()) for section, codes in NUMBERS.items()}


def test_no_fact_twice():
    """No two rows of the same width say something of one code in the same place."""
    for i, row in enumerate(status.ROWS):
        for other in status.ROWS[i + 1 :]:
            if (row.first, row.last) == (other.first, other.last) and bool(row.service_classes) == bool(
                other.service_classes
            ):
                services = set(row.service_classes) & set(other.service_classes)
                commands = set(row.commands) & set(other.commands)
                apart = (row.service_classes and not services) or (row.commands and other.commands and not commands)
                assert apart, (row, other)


@pytest.mark.parametrize(
    ("code", "service", "command", "meaning"),
    [
        (0xC310, service_class.UNIFIED_PROCEDURE_STEP, "N-SET", "The UPS is not yet in the IN PROGRESS state"),
        (0xC310, service_class.UNIFIED_PROCEDURE_STEP, "C-FIND", "The Identifier does not decode"),
        (0xC200, service_class.RELEVANT_PATIENT_INFORMATION_QUERY, "C-FIND", "Unable to support requested template"),
        (0xC200, service_class.QUERY_RETRIEVE, "C-FIND", "Unable to process"),
        (0xA7AB, service_class.STORAGE, "C-STORE", "Refused: Out of resources"),
        (0xA7AB, service_class.QUERY_RETRIEVE, "C-FIND", ""),
        (
            0xB001,
            service_class.QUERY_RETRIEVE,
            "C-FIND",
            "Matching reached response limit, subsequent request may return additional matches",
        ),
        (0xB001, service_class.HANGING_PROTOCOL, "C-FIND", ""),
        (0x0110, service_class.PROCEDURE_STEP, "N-SET", "Performed Procedure Step Object may no longer be updated"),
        (0x0110, service_class.PROCEDURE_STEP, "N-CREATE", "Processing failure"),
        (0x0110, None, None, "Processing failure"),
        (0xA801, service_class.QUERY_RETRIEVE, "C-MOVE", "Refused: Move destination unknown"),
        (0xA801, service_class.QUERY_RETRIEVE, "C-GET", ""),  # which has no destination
        (0xA801, service_class.QUERY_RETRIEVE, "C-FIND", ""),
        (0xB000, service_class.STORAGE, "C-STORE", "Coercion of Data Elements"),
        (
            0xB000,
            service_class.QUERY_RETRIEVE,
            "C-MOVE",
            "Sub-operations complete - One or more failures or warnings",
        ),
    ],
)
def test_the_same_code_means_different_things(code, service, command, meaning):
    assert status.meaning(code, service, command) == meaning


CODES_WITHOUT_A_ROW = [
    (0x0000, Category.SUCCESS),
    (0xFF00, Category.PENDING),
    (0xFF01, Category.PENDING),
    (0xFE00, Category.CANCEL),
    (0x0001, Category.WARNING),
    (0x0107, Category.WARNING),
    (0x0116, Category.WARNING),
    (0xB123, Category.WARNING),
    (0xA123, Category.FAILURE),
    (0xC999, Category.FAILURE),
    (0x0199, Category.FAILURE),
    (0x0299, Category.FAILURE),
    # What no range knows must end the operation, so it cannot be Pending; it was not a success either.
    (0xFF02, Category.FAILURE),
    (0x5555, Category.FAILURE),
    (0x1000, Category.FAILURE),
    (0x1FFF, Category.FAILURE),
]


@for_each_row(
    itertools.product(
        CODES_WITHOUT_A_ROW, [None, service_class.VERIFICATION, service_class.DISPLAY_SYSTEM], [None, "N-SET"]
    )
)
def test_category_of_codes_without_a_row(row):
    (code, expected), service, command = row
    assert status.category(code, service, command) is expected


def test_only_pending_says_that_more_follows():
    pending = {(row.first, row.last) for row in status.ROWS if row.category is Category.PENDING}
    assert pending == {(0xFF00, 0xFF00), (0xFF01, 0xFF01)}
