"""What one object may put into the index, and so into memory and responses."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, config
from pydicom.datadict import tag_for_keyword

from aiodimse import charsets
from aiodimse.archive import attributes, read_header
from aiodimse.archive.budget import MAX_KEPT, Budget, cost_of
from aiodimse.archive.elements import Elements
from aiodimse.archive.models import ATTRIBUTES, Level


def kept(header_of: Path) -> tuple[int, bool]:
    header = read_header(header_of)
    return len(str(dict(header.levels))), header.is_partial


def items(number: int, **attributes: object) -> list[Dataset]:
    found = []
    for _ in range(number):
        item = Dataset()
        for keyword, value in attributes.items():
            setattr(item, keyword, value)
        found.append(item)
    return found


@pytest.mark.parametrize(
    "attributes",
    [
        {"StudyDescription": "A" * 60_000},
        {"OtherPatientIDs": ["ID"] * 5_000},
        {"PatientComments": "A" * 60_000},
        {"PatientName": "^".join("A" * 20_000)},
        {"ProcedureCodeSequence": items(2_000, CodeValue="1", CodeMeaning="words")},
        {"RequestAttributesSequence": items(3, ScheduledProcedureStepDescription="A" * 60_000)},
        {keyword: "B" * 250 for level in Level for keyword in ATTRIBUTES[level] if keyword.endswith("Description")}
        | {"PatientComments": "A" * 10_000, "AdditionalPatientHistory": "A" * 10_000},
    ],
)
def test_a_poison_object_is_kept_small_and_found(
    a_file: Callable[..., Path], attributes: dict[str, object], recwarn: pytest.WarningsRecorder
) -> None:
    with config.disable_value_validation():
        path = a_file("1.dcm", **attributes)
    size, is_partial = kept(path)
    assert size < 3 * MAX_KEPT
    assert is_partial
    assert read_header(path).unique(Level.STUDY) == "1.2.1"


def test_an_honest_object_is_kept_in_full(a_file: Callable[..., Path]) -> None:
    path = a_file(
        "1.dcm",
        StudyDescription="A" * 64,
        PatientComments="A" * 10_000,
        OtherPatientIDs=["ID"] * 20,
        ProcedureCodeSequence=items(3, CodeValue="1", CodingSchemeDesignator="SCT", CodeMeaning="A" * 64),
    )
    header = read_header(path)
    assert not header.is_partial
    assert len(header.levels[Level.PATIENT]["PatientComments"][0]) == 10_000
    assert len(header.levels[Level.STUDY]["ProcedureCodeSequence"]) == 3


def test_what_was_left_out_does_not_count() -> None:
    def cost(characters: int) -> float:
        return cost_of("LO", ("A" * characters,))

    budget = Budget(100)
    assert not budget.take(cost(300))
    assert budget.take(cost(90))
    assert not budget.take(cost(90))
    assert budget.is_exceeded


STUDY_TAGS = [tag_for_keyword(keyword) or 0 for keyword in ATTRIBUTES[Level.STUDY]]
ENCODED = st.dictionaries(st.sampled_from(STUDY_TAGS), st.binary(max_size=70) | st.just(b"A" * 300), max_size=12)


@given(ENCODED, st.sampled_from([(), ("ISO_IR 100",), ("ISO_IR 192",), ("", "ISO 2022 IR 87")]), st.integers(0, 500))
def test_what_is_decoded_together_is_what_is_decoded_one_by_one(
    values: dict[int, bytes], terms: tuple[str, ...], room: int
) -> None:
    """Whether it fits into the budget or not, and also the second time, when it is remembered."""
    source = Elements(little_endian=True)
    source.values.update(values)
    charset = charsets.lookup(terms)
    study, few = ATTRIBUTES[Level.STUDY], ("StudyDate", "StudyDescription", "NoSuchAttribute")
    for groups in ((study,), (few, study), (study, (), few)):
        expected_budget = Budget(room)
        expected = [attributes._decode_one_by_one(source, each, expected_budget, charset) for each in groups]
        for _ in range(2):
            budget = Budget(room)
            found = attributes.decode_groups(source, groups, budget, charset)
            assert ([*found], budget.is_exceeded) == (expected, expected_budget.is_exceeded)
            for each in found:
                each.clear()  # what the caller does with it is its own
