"""Between what is told of an entity and the text in a row."""

from __future__ import annotations

import json
from collections.abc import Iterator
from enum import IntEnum
from typing import Any

from ...matching import Value, name_groups
from ...moments import normal_date
from ..counters import StudyCounters
from ..interface import CharacterSet, Transaction
from ..told import Told
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
    """What a row of `term` is about. The numbers are stored in databases, so they must not change."""

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


def dump_told(told: Told) -> str:
    """Encode what is told; NUL, which PostgreSQL has not, as JSON escapes it."""
    tellers = list(dict.fromkeys(told.tellers.values()))
    numbers = {teller: number for number, teller in enumerate(tellers)}
    by_keyword = {keyword: numbers[teller] for keyword, teller in told.tellers.items()}
    return _encode([told.attributes, told.character_sets, tellers, by_keyword])


def load_told(text: str) -> Told:
    """Decode what is told."""
    attributes, character_sets, tellers, by_keyword = json.loads(text)
    who = [(uid, tuple(character_set)) for uid, character_set in tellers]
    return Told(
        {keyword: _value(value) for keyword, value in attributes.items()},
        tuple(map(tuple, character_sets)),
        {keyword: who[number] for keyword, number in by_keyword.items()},
    )


def dump_object(attributes: dict[str, Value], character_set: CharacterSet) -> str:
    """Encode the attributes of one object."""
    return dump_told(Told(attributes, (character_set,)))


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


def dump_references(transaction: Transaction) -> str:
    """Encode what a transaction is about."""
    return _encode(transaction.references)


def load_transaction(row: Any) -> Transaction:
    """Decode a transaction."""
    references = tuple((sop_class_uid, uid) for sop_class_uid, uid in json.loads(row.refs))
    return Transaction(row.uid, row.calling_ae_title, references, row.created)


def terms(told: Told, counters: StudyCounters) -> Iterator[tuple[Kind, str]]:
    """Yield the terms by which a study can be found."""
    for keyword, kind in TERMS.items():
        value = counters.value(keyword) if kind == Kind.MODALITY else told.attributes.get(keyword, ())
        for text in value:
            if isinstance(text, str) and text:
                yield from ((kind, each) for each in term_values(kind, text) if each)


def term_values(kind: Kind, text: str) -> list[str]:
    """Return the terms for one value of an attribute."""
    text = clean(text)
    if kind == Kind.NAME:
        return name_groups(text)
    if kind in (Kind.BIRTH_DATE, Kind.STUDY_DATE):
        day = normal_date(text)
        return [] if day is None else [day]
    return [text]
