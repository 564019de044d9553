from __future__ import annotations

from dataclasses import fields

import pydicom.datadict
import pytest
from dimse.dimse_cases import MESSAGE_CLASSES

from aiodimse.dimse.elements import BY_FIELD, ELEMENTS, Element


@pytest.mark.parametrize("element", ELEMENTS, ids=lambda element: element.keyword)
def test_row_agrees_with_the_dictionary_of_pydicom(element: Element) -> None:
    assert pydicom.datadict.keyword_for_tag(element.tag) == element.keyword
    assert pydicom.datadict.dictionary_VR(element.tag) == element.vr


def test_every_command_element_that_is_not_retired_is_a_row() -> None:
    known = {tag for tag, row in pydicom.datadict.DicomDictionary.items() if tag >> 16 == 0 and row[3] != "Retired"}
    assert {element.tag for element in ELEMENTS} == known


def test_rows_ascend() -> None:
    tags = [element.tag for element in ELEMENTS]
    assert tags == sorted(set(tags))


def test_fields_of_the_rows_and_fields_of_the_messages_are_the_same() -> None:
    assert {field.name for each in MESSAGE_CLASSES for field in fields(each)} == set(BY_FIELD)
