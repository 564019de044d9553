"""Conditions in SQL for the keys of a query.

They only narrow down what is read; the matcher decides. Everything that would match meets the conditions, but not
everything that meets them matches.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import ColumnElement, Select, and_, or_, select

from ...matching import Key, Rules, name_groups
from ...moments import parse_range
from ...wildcards import has_wildcard
from . import schema
from .rows import TERMS, Kind

_AFTER = "\U0010ffff"
"""Sorts after everything that may follow a prefix."""


def conditions(keys: Iterable[Key], rules: Rules) -> list[ColumnElement[bool]]:
    """Return conditions on `study.pk` that the study of every match meets."""
    found: list[ColumnElement[bool]] = []
    for key in keys:
        kind = TERMS.get(key.keyword)
        values = [text for text in key.values if text]
        if kind is None or not values or (rules.empty_value_matching and values == ['""']):
            continue
        if kind == Kind.NAME and rules.fuzzy_names:
            continue
        ranges = [_range(kind, text) for text in values]
        if any(each is None for each in ranges):
            continue  # this value of the key matches everything
        column = schema.term.c.value
        meets = or_(*(_between(column, *each) for each in ranges if each is not None))
        having: Select[tuple[int]] = select(schema.term.c.study_pk).where(schema.term.c.kind == kind.value, meets)
        found.append(schema.study.c.pk.in_(having))
    return found


def patient_condition(keys: Iterable[Key], rules: Rules) -> ColumnElement[bool] | None:
    """Return the condition on the Patient ID, if the query has one with wild cards."""
    for key in keys:
        values = [text for text in key.values if text]
        if key.keyword == "PatientID" and values and not (rules.empty_value_matching and values == ['""']):
            prefixes = [_prefix(text) for text in values]
            if all(prefixes) and all(map(str.isprintable, prefixes)):
                column = schema.patient.c.patient_id
                return or_(*(_between(column, prefix, prefix + _AFTER) for prefix in prefixes))
    return None


def _range(kind: Kind, text: str) -> tuple[str, str] | None:
    """Return the first and last text that a value of a key may match; None: that cannot be said."""
    text = schema.clean(text)
    if kind in (Kind.BIRTH_DATE, Kind.STUDY_DATE):
        try:
            days = parse_range("DA", text)
        except ValueError:
            return None
        return days.low or "", days.high or _AFTER
    if kind == Kind.NAME:
        # Each component group has to match its own. A condition on one of them narrows down well enough.
        groups = [group for group in name_groups(text) if group.strip("*")]
        text = groups[0] if groups else ""
        prefix = _prefix(text).rstrip("^") if has_wildcard(text) else text
    else:
        prefix = _prefix(text)
    if not prefix:
        return None
    return (prefix, prefix + _AFTER) if has_wildcard(text) else (prefix, prefix)


def _prefix(text: str) -> str:
    return text[: min((at for at in (text.find("*"), text.find("?")) if at >= 0), default=len(text))]


def _between(column: ColumnElement[str], low: str, high: str) -> ColumnElement[bool]:
    return column == low if low == high else and_(column >= low, column <= high)
