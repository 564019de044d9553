"""What holds for any Identifier and any objects, of the information models (PS3.4 C.6) and of an index behind them."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from archive.strategies import RULES, TEXTS, headers, queries
from hypotheses import examples
from hypothesis import given
from hypothesis import strategies as st
from pydicom import Dataset, config

from aiodimse.archive import Header, Level, Match, MemoryIndex, Model, Query, response
from aiodimse.archive.matching import Rules
from aiodimse.archive.models import COMPOSITE_INSTANCE, LEVEL_OF, PATIENT_ROOT, PATIENT_STUDY_ONLY, STUDY_ROOT, UNIQUE
from aiodimse.archive.queries import ANSWERED, IdentifierError, find_query, retrieve_query

MODELS = st.sampled_from([PATIENT_ROOT, STUDY_ROOT, PATIENT_STUDY_ONLY, COMPOSITE_INSTANCE])
NO_KEYS = {"SpecificCharacterSet", "QueryRetrieveLevel"}
OTHERS: dict[str, list[str | list[str]]] = {
    "PatientComments": ["", "secret"],  # not kept
    "RetrieveAETitle": ["", "SECRET"],
    "InstanceAvailability": [""],
    "StudyDate": ["secret", "20200131-20200101-20200101"],
}
FEW = examples(25)
"""Objects take long to draw."""


@st.composite
def identifiers(draw: st.DrawFn) -> Dataset:
    """Any keys, at the level or not, with a Query/Retrieve Level or without one."""
    identifier = Dataset()
    with config.disable_value_validation():
        if level := draw(st.sampled_from([*Level.__members__, "study", "FRAME", ""])):
            identifier.QueryRetrieveLevel = level
        known = TEXTS | OTHERS
        for keyword in draw(st.lists(st.sampled_from(sorted(known)), max_size=6, unique=True)):
            text = draw(st.sampled_from([*TEXTS.get(keyword, []), *OTHERS.get(keyword, [])]))
            setattr(identifier, keyword, text or None)
    return identifier


def checked(identifier: Dataset, model: Model, rules: Rules, *, strict: bool) -> Query | IdentifierError:
    try:
        return find_query(identifier, model, rules, strict=strict)
    except IdentifierError as error:
        return error


async def index_of(objects: Iterable[Header]) -> MemoryIndex:
    index = MemoryIndex()
    await index.add(objects)
    return index


async def found(index: MemoryIndex, query: Query) -> list[Match]:
    return [match async for match in index.find(query)]


def unique_keys(match: Match, level: Level) -> tuple[tuple[object, ...], ...]:
    """What tells an entity of a level from others: its Unique Keys, and those above."""
    return tuple(match.attributes.get(UNIQUE[each], ()) for each in Level if each <= level)


@given(identifiers(), MODELS, RULES)
def test_an_identifier_is_checked_or_refused(identifier: Dataset, model: Model, rules: Rules) -> None:
    query = checked(identifier, model, rules, strict=False)
    if isinstance(query, IdentifierError):
        assert query.status in (0xA900, 0xA700)
        assert 0 < len(query.comment) <= 64
        assert "secret" not in query.comment.casefold(), "a comment holds no value"
        return
    assert query.level in model.levels
    assert list(query.unique) == [level for level in model.levels if level in query.unique], "from the top down"
    assert all(level <= query.level and values for level, values in query.unique.items())
    keywords = [key.keyword for key in query.keys]
    assert all(keyword in ANSWERED or LEVEL_OF[keyword] <= query.level for keyword in keywords)
    asked = [element.keyword for element in identifier if element.keyword not in NO_KEYS]
    assert [keyword for keyword in asked if keyword in keywords] == keywords, "in the order of their tags"
    assert sorted([*keywords, *query.unsupported]) == sorted(asked), "each key is supported or not, and none is lost"


@given(identifiers(), MODELS, RULES)
def test_strict_refuses_what_is_tolerated_and_nothing_else(identifier: Dataset, model: Model, rules: Rules) -> None:
    lenient, strict = (checked(identifier, model, rules, strict=strict) for strict in (False, True))
    if isinstance(lenient, IdentifierError) or lenient.tolerated:
        assert isinstance(strict, IdentifierError)
    else:
        assert strict == lenient


@FEW
@given(st.lists(headers(), max_size=6), queries(), queries())
async def test_one_key_more_finds_nothing_more(objects: list[Header], query: Query, other: Query) -> None:
    index = await index_of(objects)
    identifier = Dataset()
    with config.disable_value_validation():
        identifier.SpecificCharacterSet = "ISO_IR 192"
        identifier.QueryRetrieveLevel = query.level.name
        for keyword in UNIQUE.values():
            if LEVEL_OF[keyword] <= query.level:
                setattr(identifier, keyword, None)
    everything = await found(index, find_query(identifier, PATIENT_ROOT, query.rules))
    narrowed = {unique_keys(match, query.level) for match in everything}
    for key in (*query.keys, *other.keys):
        if LEVEL_OF[key.keyword] <= query.level and key.keyword not in identifier:
            with config.disable_value_validation():
                setattr(identifier, key.keyword, list(key.values) or None)
            matches = await found(index, find_query(identifier, PATIENT_ROOT, query.rules))
            after = {unique_keys(match, query.level) for match in matches}
            assert after <= narrowed, key.keyword
            narrowed = after


@FEW
@pytest.mark.parametrize("level", [Level.STUDY, Level.SERIES, Level.IMAGE])
@given(st.lists(headers(), max_size=8))
async def test_what_is_found_is_what_is_retrieved(level: Level, objects: list[Header]) -> None:
    """Each entity is retrieved by its Unique Keys, and all entities of a level together are all objects.

    A study that two Patient IDs claim is found as two, each with its own number of instances.
    """
    index = await index_of(objects)
    counted = {Level.STUDY: "NumberOfStudyRelatedInstances", Level.SERIES: "NumberOfSeriesRelatedInstances"}.get(
        level, ""
    )
    asked = Dataset()
    asked.QueryRetrieveLevel = level.name
    for each in STUDY_ROOT.above(level):
        setattr(asked, UNIQUE[each], None)
    setattr(asked, UNIQUE[level], None)
    if counted:
        setattr(asked, counted, None)
    numbers: dict[tuple[tuple[object, ...], ...], int] = {}
    for match in await found(index, find_query(asked, STUDY_ROOT)):
        (number,) = match.attributes.get(counted, ("1",))
        key = unique_keys(match, level)
        numbers[key] = numbers.get(key, 0) + int(str(number))
    uids: set[str] = set()
    for key, number in numbers.items():
        wanted = Dataset()
        wanted.QueryRetrieveLevel = level.name
        for each, value in zip(Level, key, strict=False):
            if each != Level.PATIENT:
                setattr(wanted, UNIQUE[each], list(value))
        entries = [entry async for entry in index.entries(retrieve_query(wanted, STUDY_ROOT))]
        assert len(entries) == number, "as many as the matches said"
        assert uids.isdisjoint(entry.sop_instance_uid for entry in entries), "of one entity alone"
        uids.update(entry.sop_instance_uid for entry in entries)
    assert len(uids) == (await index.counts()).instances


@FEW
@given(st.lists(headers(), min_size=1, max_size=4), queries())
async def test_a_response_has_the_keys_asked_for_and_no_others(objects: list[Header], query: Query) -> None:
    always = {"QueryRetrieveLevel", "RetrieveAETitle"}
    for match in await found(await index_of(objects), query):
        identifier = response(query, match, ae_title="ARCHIVE")
        keywords = {element.keyword for element in identifier} - {"SpecificCharacterSet"}
        assert keywords == {key.keyword for key in query.keys} | always
        assert identifier.QueryRetrieveLevel == query.level.name
