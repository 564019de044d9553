"""Converts the attributes and counters of an entity to the text in a row, and back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from enum import IntEnum
from typing import Any

from ...matching import Value, name_groups
from ...moments import normal_date
from ..counters import StudyCounters
from ..records import CharacterSet, Transaction
from ..sourced import SourcedAttributes
from .schema import clean

_utf8 = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_ascii = json.JSONEncoder(separators=(",", ":")).encode


def _encode(value: object) -> str:
    text = _utf8(value)
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate, which no database accepts
        return _ascii(value)
    return text


class Kind(IntEnum):
    """The attribute that a row of `term` holds. The numbers are stored in databases, so they must not change."""

    NAME = 1
    BIRTH_DATE = 2
    STUDY_DATE = 3
    ACCESSION_NUMBER = 4
    STUDY_ID = 5
    MODALITY = 6


TERMS = {
    "PatientName": Kind.NAME,
    "PatientBirthDate": Kind.BIRTH_DATE,
    "StudyDate": Kind.STUDY_DATE,
    "AccessionNumber": Kind.ACCESSION_NUMBER,
    "StudyID": Kind.STUDY_ID,
    "ModalitiesInStudy": Kind.MODALITY,
}
"""The attributes by which a study can be found, apart from its UID and the Patient ID."""
LONGEST_TERM = 512
"""The longest term in characters, of four bytes at most: PostgreSQL has no more than 2,704 bytes in a row of an index.
Only the beginning of a longer text is a term."""


def dump_attributes(sourced: SourcedAttributes) -> str:
    """Encode the attributes of an entity; JSON escapes NUL, which PostgreSQL does not accept."""
    sources = list(dict.fromkeys(sourced.sources.values()))
    numbers = {source: number for number, source in enumerate(sources)}
    by_keyword = {keyword: numbers[source] for keyword, source in sourced.sources.items()}
    return _encode([sourced.attributes, sourced.character_sets, sources, by_keyword])


def load_attributes(text: str) -> SourcedAttributes:
    """Decode the attributes of an entity."""
    attributes, character_sets, sources, by_keyword = json.loads(text)
    pairs = [(uid, tuple(character_set)) for uid, character_set in sources]
    return SourcedAttributes(
        {keyword: _value(value) for keyword, value in attributes.items()},
        tuple(map(tuple, character_sets)),
        {keyword: pairs[number] for keyword, number in by_keyword.items()},
    )


def dump_object(attributes: dict[str, Value], character_set: CharacterSet) -> str:
    """Encode the attributes of one object."""
    return _encode([attributes, (character_set,), (), {}])  # as `dump_attributes`; there are no sources


def _value(values: list[Any]) -> Value:
    if values and isinstance(values[0], dict):
        return tuple({keyword: _value(value) for keyword, value in item.items()} for item in values)
    return tuple(values)


def dump_counters(counters: StudyCounters) -> str:
    """Encode the numbers of a study."""
    return _encode([counters.series, counters.instances, counters.modalities, counters.classes])


def load_counters(text: str) -> StudyCounters:
    """Decode the numbers of a study."""
    return StudyCounters(*json.loads(text))


def transaction_row(transaction: Transaction) -> dict[str, Any]:
    """Encode a transaction."""
    return {
        "uid": transaction.uid,
        "calling_ae_title": transaction.calling_ae_title,
        "created": transaction.created,
        "refs": _encode(transaction.references),
    }


def load_transaction(row: Any) -> Transaction:
    """Decode a transaction."""
    references = tuple((sop_class_uid, uid) for sop_class_uid, uid in json.loads(row.refs))
    return Transaction(row.uid, row.calling_ae_title, references, row.created)


def terms(sourced: SourcedAttributes, counters: StudyCounters) -> Iterator[tuple[Kind, str]]:
    """Yield the terms by which a study can be found."""
    for keyword, kind in TERMS.items():
        value = counters.value(keyword) if kind == Kind.MODALITY else sourced.attributes.get(keyword, ())
        for text in value:
            if isinstance(text, str) and text:
                yield from ((kind, each) for each in term_values(kind, text) if each)


def term_values(kind: Kind, text: str) -> list[str]:
    """Return the terms for one value of an attribute."""
    text = clean(text)
    if kind == Kind.NAME:
        return [group[:LONGEST_TERM] for group in name_groups(text)]
    if kind in (Kind.BIRTH_DATE, Kind.STUDY_DATE):
        day = normal_date(text)
        return [] if day is None else [day]
    return [text[:LONGEST_TERM]]
