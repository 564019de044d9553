"""Attribute matching (PS3.4 C.2.2.2) as pure functions on decoded text.

All text was decoded before, whatever its character set was. A value is a tuple of strings, one for each value of the
attribute; a sequence is a tuple of mappings from keyword to value. No function uses pydicom or bytes, so a data set, a
row of a database and a test can all be matched.

>>> matches([Key("PatientName", "PN", ("yam*",))], {"PatientName": ("Yamada^Tarou=山田^太郎",)})
True
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from itertools import zip_longest
from typing import TypeAlias

from aiodimse import ExtendedQuery

from .moments import Range, parse, parse_range
from .wildcards import has_wildcard, wildcard

Value: TypeAlias = "tuple[str, ...] | tuple[Mapping[str, Value], ...]"
"""The values of one attribute as text. For VR SQ they are its items."""

Attributes: TypeAlias = Mapping[str, Value]
"""Values by keyword."""

WILDCARD_VRS = frozenset({"AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})  # C.2.2.2.4
RANGE_VRS = frozenset({"DA", "TM", "DT"})  # C.2.2.2.5
NUMBER_VRS = frozenset({"DS", "FD", "FL", "IS", "SL", "SS", "SV", "UL", "US", "UV"})
MULTIPLE_VALUE_VRS = frozenset({"AE", "AS", "AT", "CS", "LO", "PN", "SH", "UC"})  # C.2.2.2.8

_NAMES_AT_HAND = 64
"""The last names that were taken apart. A key of thousands of names is compared with each name of a patient."""


@dataclass(frozen=True, slots=True)
class Key:
    """A Key Attribute of a request: what to match, and what to return."""

    keyword: str
    """The keyword of the attribute (PS3.6), for example "PatientName"."""
    vr: str
    """Its value representation (PS3.5 6.2)."""
    values: tuple[str, ...] = field(default=(), repr=False)
    """The values to match. If there are none, the key matches everything (Universal Matching, PS3.4 C.2.2.2.3)."""
    item: tuple[Key, ...] = ()
    """For VR SQ: the keys of its one item (PS3.4 C.2.2.2.6)."""


# The standard leaves two things open. Fuzzy names are matched word by word: order, case, accents and punctuation do not
# count, and the beginning of a word is enough. A key with several values matches any of them, unless
# multiple_value_matching was negotiated.
Rules: TypeAlias = ExtendedQuery
"""What extended negotiation added to the baseline (PS3.4 C.5.1.1). timezone and enhanced_multi_frame have no effect."""

BASELINE = Rules()


def matches(keys: Iterable[Key], attributes: Attributes, rules: Rules = BASELINE) -> bool:
    """Return whether an entity matches all keys of a query (PS3.4 C.2.2.2).

    Args:
        keys: The keys.
        attributes: The attributes of the entity, by keyword.
        rules: What extended negotiation added.
    """
    return matcher(keys, rules)(attributes)


def matcher(keys: Iterable[Key], rules: Rules = BASELINE) -> Callable[[Attributes], bool]:
    """Make one test of all keys, to be used for many entities. Keys that match everything cost nothing."""
    tests: list[Callable[[Attributes], bool]] = []
    single = {key.keyword: key for key in keys}
    if rules.date_time:
        for date, time, dates, times in _combined(single):
            tests.append(_moment_test(date, time, dates, times))
            del single[date], single[time]
    tests += [_attribute_test(key.keyword, test) for key in single.values() if (test := value_test(key, rules))]
    return lambda attributes: all(test(attributes) for test in tests)


def value_test(key: Key, rules: Rules = BASELINE) -> Callable[[Value], bool] | None:
    """Make the test of one key; None: the key matches everything, even an absent attribute."""
    if key.vr == "SQ":
        if not any(value_test(each, rules) for each in key.item):
            return None
        item_matches = matcher(key.item, rules)
        return lambda items: any(isinstance(item, Mapping) and item_matches(item) for item in items)
    wanted = [text for text in key.values if text]
    if not wanted:
        return None
    if rules.empty_value_matching and wanted == ['""']:
        return lambda values: not any(values)
    if key.vr == "UI":  # C.2.2.2.2 List of UID Matching
        uids = frozenset(wanted)
        return lambda values: any(value in uids for value in values)
    tests = [text_test(key.vr, text, rules) for text in wanted]
    if rules.multiple_value_matching and len(tests) > 1 and key.vr in MULTIPLE_VALUE_VRS:
        return lambda values: all(any(_holds(test, value) for value in values) for test in tests)
    if key.vr in WILDCARD_VRS and any(set(text) == {"*"} for text in wanted):
        return None
    # PS3.4 C.2.2.3: an attribute with several values matches if one of them does. An empty value is unknown and matches
    # only a universal key (PS3.4 K.2.2.1.1.1 has the same rule in words).
    return lambda values: any(_holds(test, value) for test in tests for value in values)


def matching_items(key: Key, items: Value, rules: Rules = BASELINE) -> Value:
    """Return the items of a sequence that a response contains: those that match (PS3.4 C.2.2.2.6)."""
    item_matches = matcher(key.item, rules)
    return tuple(item for item in items if isinstance(item, Mapping) and item_matches(item))


def text_test(vr: str, wanted: str, rules: Rules = BASELINE) -> Callable[[str], bool]:
    """Make the test of one value of a key against one value of an attribute. Neither value is empty."""
    if vr == "PN":
        return _fuzzy_name_test(wanted) if rules.fuzzy_names else _name_test(wanted)
    if vr in RANGE_VRS:
        try:
            wanted_range = parse_range(vr, wanted)
        except ValueError:
            return lambda _text: False
        return lambda text: wanted_range.holds(parse(vr, text))
    if vr in NUMBER_VRS:
        number = _number(wanted)
        return lambda text: text == wanted or (number is not None and _number(text) == number)
    if vr in WILDCARD_VRS and has_wildcard(wanted):
        return wildcard(wanted)
    return lambda text: text == wanted


# --- person names -----------------------------------------------------------------------------------------------------


def _name_test(wanted: str) -> Callable[[str], bool]:
    """Make the test of a name, which ignores case (C.2.2.2.1, C.2.2.2.4) and compares component groups.

    A key without "=" may match any of the groups (alphabetic, ideographic, phonetic). With "=", each group of the key
    that is not empty must match its own. Trailing empty components do not count on either side (PS3.5 6.2.1.1).
    """
    tests = [_name_group_test(group) for group in canonical_name(wanted).split("=")]
    if len(tests) == 1 and tests[0] is not None:
        test = tests[0]
        return lambda name: any(map(test, name_groups(name)))
    return lambda name: all(
        test is None or test(group or "") for test, group in zip_longest(tests, name_groups(name)[: len(tests)])
    )


def _name_group_test(wanted: str) -> Callable[[str], bool] | None:
    wanted = wanted.strip()
    if not wanted.strip("*"):
        return None
    wanted = wanted.rstrip("^")
    fits, carets = wildcard(wanted), wanted.count("^")

    def test(group: str) -> bool:
        # "Doe" is the same as "Doe^^^^", so "Doe^*" finds it. An empty group is unknown, and matches nothing.
        return group != "" and fits(group + "^" * (carets - group.count("^")))

    return test


@lru_cache(maxsize=_NAMES_AT_HAND)
def name_groups(name: str) -> tuple[str, ...]:
    """Return the component groups of a name as they are compared: case-folded, without trailing empty components."""
    return tuple(group.strip().rstrip("^") for group in canonical_name(name).split("="))


def canonical_name(name: str) -> str:
    """Return a name case-folded and in one normal form."""
    if name.isascii():
        return name.lower()
    return "".join(_folded(character) for character in unicodedata.normalize("NFC", name))


@lru_cache(maxsize=4096)
def _folded(character: str) -> str:
    """Fold the case of a character if the result is one character: "?" must match a sharp s, which folds to two."""
    folded = character.casefold()
    return folded if len(folded) == 1 else character


def _fuzzy_name_test(wanted: str) -> Callable[[str], bool]:
    parts = _words(wanted)
    if not parts:  # the key is, for example, "^" or "?", and has no words
        return _name_test(wanted)

    def test(name: str) -> bool:
        words = _words(name)
        return all(_begins_one_of(words, part) for part in parts)

    return test


def _begins_one_of(words: Sequence[str], part: str) -> bool:
    at = bisect_left(words, part)
    return at < len(words) and words[at].startswith(part)


@lru_cache(maxsize=_NAMES_AT_HAND)
def _words(name: str) -> tuple[str, ...]:
    """Return the words of a name in alphabetical order, without case and accents."""
    plain = "".join(c for c in unicodedata.normalize("NFKD", name) if not unicodedata.combining(c))
    return tuple(sorted(re.findall(r"[^\W_]+", plain.casefold())))


# --- numbers, dates and times -----------------------------------------------------------------------------------------


_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([Ee][+-]?\d{1,9})?", re.ASCII)
"""No number of a VR has a longer exponent, and Decimal refuses one of 19 digits."""


def _number(text: str) -> Decimal | None:
    """Return a number for comparison, so that an Instance Number of "1" also finds " 1", "01" and "+1".

    It is exact: two integers of 64 bits may be the same number of VR FD.
    """
    text = text.strip(" ")
    return Decimal(text) if len(text) <= 32 and _NUMBER.fullmatch(text) else None


def _combined(keys: Mapping[str, Key]) -> Iterable[tuple[str, str, Range, Range]]:
    """Yield the pairs of a date key and a time key that are ranges of the same form (PS3.4 C.2.2.2.5.4)."""
    found = []
    for date, key in keys.items():
        time = date.removesuffix("Date") + "Time"
        other = keys.get(time)
        if key.vr != "DA" or other is None or other.vr != "TM" or len(key.values) != 1 or len(other.values) != 1:
            continue
        try:
            dates, times = parse_range("DA", key.values[0]), parse_range("TM", other.values[0])
        except ValueError:
            continue
        if dates.is_range and times.is_range and dates.form == times.form:
            found.append((date, time, dates, times))
    return found


def _moment_test(date: str, time: str, dates: Range, times: Range) -> Callable[[Attributes], bool]:
    low = None if dates.low is None or times.low is None else dates.low + times.low
    high = None if dates.high is None or times.high is None else dates.high + times.high

    def test(attributes: Attributes) -> bool:
        day, clock = parse("DA", _first(attributes, date)), parse("TM", _first(attributes, time))
        if day is None:
            return False
        # A date without a time is taken as the start of that day.
        moment = day.first + (clock.first if clock else "0" * 12)
        return (low is None or low <= moment) and (high is None or moment <= high)

    return test


def _first(attributes: Attributes, keyword: str) -> str:
    value = attributes.get(keyword, ())
    return value[0] if value and isinstance(value[0], str) else ""


def _attribute_test(keyword: str, test: Callable[[Value], bool]) -> Callable[[Attributes], bool]:
    return lambda attributes: test(attributes.get(keyword, ()))


def _holds(test: Callable[[str], bool], value: object) -> bool:
    return isinstance(value, str) and value != "" and test(value)
