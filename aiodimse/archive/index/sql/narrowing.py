"""Conditions in SQL for the keys of a query.

They only narrow down what is read; the matcher decides. Everything that would match meets the conditions, but not
everything that meets them matches.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from sqlalchemy import ColumnElement, Select, and_, or_, select

from ...matching import Key, Rules, name_groups
from ...moments import parse_range
from ...wildcards import has_wildcard
from . import schema
from .rows import LONGEST_TERM, TERMS, Kind

_MOST = 200
"""The most values of one key that become conditions. SQLite refuses an expression of a thousand."""
_DATES = (Kind.BIRTH_DATE, Kind.STUDY_DATE)


Studies: TypeAlias = Select[tuple[int]]
"""The keys of studies, some of them more than once."""


def studies_by_key(keys: Iterable[Key], rules: Rules) -> list[Studies]:
    """Return the studies that each key leaves. The study of every match is among them all.

    Dates come last: as a rule a name or a number leaves fewer studies than a range of dates.
    """
    found: list[Studies] = []
    for key in sorted(keys, key=lambda key: TERMS.get(key.keyword) in _DATES):
        kind = TERMS.get(key.keyword)
        if kind is None or (kind == Kind.NAME and rules.fuzzy_names):
            continue
        meets = _any_of([_term_condition(kind, text) for text in _values(key, rules)])
        if meets is not None:
            found.append(select(schema.term.c.study_pk).where(schema.term.c.kind == kind.value, meets))
    return found


def patient_condition(keys: Iterable[Key], rules: Rules) -> ColumnElement[bool] | None:
    """Return the condition on the Patient ID, if the query has one with wild cards."""
    for key in keys:
        if key.keyword == "PatientID":
            return _any_of([_patient_id_condition(_prefix(text)) for text in _values(key, rules)])
    return None


def _values(key: Key, rules: Rules) -> list[str]:
    """Return the values of a key that can narrow down; none if it matches everything or has too many."""
    values = list(dict.fromkeys(text for text in key.values if text))
    return [] if len(values) > _MOST or (rules.empty_value_matching and values == ['""']) else values


def _any_of(conditions: list[ColumnElement[bool] | None]) -> ColumnElement[bool] | None:
    """Combine the conditions for the values of a key. None: one of the values may match anything, or there is none."""
    meets = [each for each in conditions if each is not None]
    return or_(*meets) if meets and len(meets) == len(conditions) else None


def _term_condition(kind: Kind, text: str) -> ColumnElement[bool] | None:
    """Return what the term meets that one value of a key matches. None: it may match anything."""
    column, text = schema.term.c.value, schema.clean(text)
    if kind in _DATES:
        try:
            days = parse_range("DA", text)
        except ValueError:
            return None
        low, high = days.low or "00000000", days.high or "99999999"
        return column == low if low == high else and_(column >= low, column <= high)
    prefix = _prefix(text)
    if kind == Kind.NAME:
        # Each component group has to match its own. A condition on one of them narrows down well enough.
        text = next((group for group in name_groups(text) if group.strip("*")), "")
        prefix = _prefix(text).rstrip("^") if has_wildcard(text) else text
    if not prefix:
        return None
    if has_wildcard(text) or len(text) > LONGEST_TERM:
        return _begins(column, prefix[:LONGEST_TERM])
    return column == prefix


def _patient_id_condition(prefix: str) -> ColumnElement[bool] | None:
    if not prefix or schema.clean(prefix) != prefix:
        return None
    column = schema.patient.c.patient_id
    return or_(_begins(column, prefix), column < "\x02")  # an ID that no database accepts is stored in another form


def _prefix(text: str) -> str:
    """Return the text before the first wild card."""
    return text[: min((at for at in (text.find("*"), text.find("?")) if at >= 0), default=len(text))]


def _begins(column: ColumnElement[str], prefix: str) -> ColumnElement[bool]:
    """Return the condition that a text begins with a prefix. Databases compare texts by code points."""
    head = prefix.rstrip("\U0010ffff")  # no character follows this one
    if not head:
        return column >= prefix
    last = ord(head[-1])
    following = "\ue000" if last == 0xD7FF else chr(last + 1)  # surrogates are not characters
    return and_(column >= prefix, column < head[:-1] + following)
