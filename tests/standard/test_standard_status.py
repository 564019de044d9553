"""The status rows against the table of the seeds and the general statuses of PS3.7 C."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from aiodimse.standard import service_class, status
from aiodimse.standard.status import Category

DATA = Path(__file__).parents[1] / "data" / "standard"
SEED_ROWS = list(csv.DictReader((DATA / "seed_statuses.csv").read_text().splitlines()))
BY_NAME = {row.name: row for row in service_class.ALL}


def codes(text: str) -> tuple[int, int]:
    first, _, last = text.partition(" to ")
    return int(first, 16), int(last or first, 16)


@pytest.mark.parametrize("seed", SEED_ROWS, ids=lambda r: f"{r['service_class']}-{r['command']}-{r['code']}")
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


@pytest.mark.parametrize("row", status.ROWS, ids=lambda row: f"{row.codes()} {row.meaning}")
def test_row_is_found_where_it_holds(row: status.StatusRow):
    for service in row.service_classes or (None,):
        for command in row.commands or (None,):
            assert status.find(row.last, service, command) is not None
            assert status.find(row.last, service, command).category is row.category
    assert all(set(row.commands) <= service.commands for service in row.service_classes)
    assert 0 <= row.first <= row.last <= 0xFFFF
    assert row.codes().startswith("0x")


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
        (0xC310, service_class.UNIFIED_PROCEDURE_STEP, "N-SET", "It is not IN PROGRESS yet"),
        (0xC310, service_class.UNIFIED_PROCEDURE_STEP, "C-FIND", "The Identifier does not decode"),
        (0xC200, service_class.RELEVANT_PATIENT_INFORMATION_QUERY, "C-FIND", "The template asked for is not supported"),
        (0xC200, service_class.QUERY_RETRIEVE, "C-FIND", "Unable to process"),
        (0xA7AB, service_class.STORAGE, "C-STORE", "Refused: out of resources"),
        (0xA7AB, service_class.QUERY_RETRIEVE, "C-FIND", ""),
        (0xB001, service_class.QUERY_RETRIEVE, "C-FIND", "Repository Query: stopped at a limit, ask on"),
        (0xB001, service_class.HANGING_PROTOCOL, "C-FIND", ""),
        (0x0110, service_class.PROCEDURE_STEP, "N-SET", "The performed procedure step may no longer be updated"),
        (0x0110, service_class.PROCEDURE_STEP, "N-CREATE", "Processing failure"),
        (0x0110, None, None, "Processing failure"),
        (0xB000, service_class.STORAGE, "C-STORE", "Stored with data elements changed"),
        (0xB000, service_class.QUERY_RETRIEVE, "C-MOVE", "Done, but some sub-operations failed or warned"),
    ],
)
def test_the_same_code_means_different_things(code, service, command, meaning):
    assert status.meaning(code, service, command) == meaning


@pytest.mark.parametrize(
    ("code", "expected"),
    [
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
    ],
)
@pytest.mark.parametrize("service", [None, service_class.VERIFICATION, service_class.DISPLAY_SYSTEM])
def test_category_of_codes_without_a_row(code, expected, service):
    assert status.category(code, service) is expected


def test_only_pending_says_that_more_follows():
    pending = {(row.first, row.last) for row in status.ROWS if row.category is Category.PENDING}
    assert pending == {(0xFF00, 0xFF00), (0xFF01, 0xFF01)}
