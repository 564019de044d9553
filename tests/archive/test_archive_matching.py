"""PS3.4 C.2.2.2, case by case, on decoded text."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from steps import lines_run

from aiodimse.archive.matching import BASELINE, NUMBER_VRS, RANGE_VRS, WILDCARD_VRS, Key, Rules, matches, matching_items
from aiodimse.archive.wildcards import wildcard

YAMADA = "Yamada^Tarou=山田^太郎=やまだ^たろう"
HALF_WIDTH = "ﾔﾏﾀﾞ^ﾀﾛｳ=山田^太郎=やまだ^たろう"
MUELLER = "Müller^Jörg"


def hit(vr: str, key: str, value: str, rules: Rules = BASELINE) -> bool:
    """One key against one value, both as they stand in a data set: values apart by backslashes."""
    return matches(
        [Key("AKeyword", vr, tuple(key.split("\\")) if key else ())],
        {"AKeyword": tuple(value.split("\\")) if value else ()},
        rules,
    )


@pytest.mark.parametrize(
    ("vr", "key", "value", "expected"),
    [
        # C.2.2.2.1 single value
        ("LO", "1CT1", "1CT1", True),
        ("LO", "1CT1", "1ct1", False),
        ("LO", "1CT", "1CT1", False),
        ("SH", "A.C", "ABC", False),  # no dialect of regular expressions
        ("IS", "1", "01", True),
        ("IS", "1", "10", False),
        ("DS", "1.50", "1.5", True),
        ("IS", "1", "1E9999999999999999999", False),  # an exponent that Decimal refuses
        ("DS", "1E9999999999999999999", "1", False),
        ("DS", "1E-99999999999999999999", "1E-99999999999999999999", True),
        ("DS", "1E999999999", "10E999999998", True),
        ("US", "512", "512", True),
        ("AT", "00100010", "00100010", True),
        # C.2.2.2.2 list of UID
        ("UI", "1.2.3", "1.2.3", True),
        ("UI", "1.2.3\\1.2.4", "1.2.4", True),
        ("UI", "1.2.3\\1.2.4", "1.2.5", False),
        # C.2.2.2.3 universal
        ("LO", "", "anything", True),
        ("LO", "", "", True),
        ("DA", "", "20200101", True),
        # C.2.2.2.4 wild card
        ("LO", "*", "", True),
        ("LO", "**", "", True),
        ("LO", "?", "", False),
        ("LO", "C?", "CT", True),
        ("LO", "C?", "C", False),
        ("LO", "*T", "CT", True),
        ("LO", "C*T*", "CHEST", True),
        ("LO", "C*T*", "CHES", False),
        ("LO", "a*", "ABC", False),
        ("LT", "one?two", "one\ntwo", True),
        ("LT", "*line two*", "line one\nline two\n", True),
        ("CS", "M?", "MR", True),
        ("UI", "1.2.*", "1.2.3", False),
        ("DS", "1*", "10", False),
        ("IS", "?", "1", False),
        ("AS", "0??Y", "047Y", False),
        ("DA", "2020*", "20200101", False),
        ("TM", "*", "1000", False),
        # an unknown value matches no key but a universal one (K.2.2.1.1.1)
        ("LO", "1CT1", "", False),
        ("LO", "*1*", "", False),
        ("UI", "1.2.3", "", False),
        ("DA", "-20201231", "", False),
        # several values: one that matches will do, on either side (C.2.2.3)
        ("CS", "MR", "CT\\MR", True),
        ("CS", "CT\\MR", "MR", True),
        ("CS", "CT\\MR", "US", False),
    ],
)
def test_matching(vr: str, key: str, value: str, expected: bool) -> None:
    assert hit(vr, key, value) is expected


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("Doe^John", "DOE^JOHN", True),
        ("doe^*", "Doe^John^^Dr", True),
        ("doe*john", "Doe^John", True),
        ("Doe^J?hn", "Doe^John", True),
        ("Doe", "Doe^John", False),
        ("Doe", "Doe^^^^", True),  # trailing empty components do not count
        ("Doe^^^^", "Doe", True),
        ("Doe^*", "Doe", True),
        ("Doe^?*", "Doe", False),
        ("Do*^John", "Doe", False),
        ("^", "Doe^John", False),  # a name that is all empty, and not a key of length zero
        ("^John", "Doe^John", False),
        ("^*", "=山田^太郎", False),  # the alphabetic group is not known
        ("M?ller", "Mßller", True),
        ("STRAßE", "Straße", True),
        ("STRASSE", "Straße", False),
        ("", "", True),
        # component groups
        ("yamada^tarou", YAMADA, True),
        ("山田^太郎", YAMADA, True),
        ("やまだ*", YAMADA, True),
        ("山田^次郎", YAMADA, False),
        ("Yamada*=山田*", YAMADA, True),
        ("Yamada*=やまだ*", YAMADA, False),
        ("=山田*", YAMADA, True),
        ("==やまだ*", YAMADA, True),
        ("=やまだ*", YAMADA, False),
        ("*=*=*", YAMADA, True),
        ("ﾔﾏﾀﾞ*", HALF_WIDTH, True),
        ("ﾔﾏﾀﾞ*", YAMADA, False),
        # case beyond ASCII, and the two ways to write an umlaut
        ("MÜLLER^jörg", MUELLER, True),
        ("M?ller*", MUELLER, True),
        ("Mu\u0308ller*", MUELLER, True),
        ("Muller*", MUELLER, False),
        ("ΔΙΟΝΥΣΙΟΣ", "Διονυσιος", True),
        ("люкceмбypг", "Люкceмбypг", True),
    ],
)
def test_person_names(key: str, value: str, expected: bool) -> None:
    assert hit("PN", key, value) is expected


@pytest.mark.parametrize(
    ("vr", "key", "value", "expected"),
    [
        ("DA", "20200115", "20200115", True),
        ("DA", "20200115", "2020.01.15", True),
        ("DA", "20200101-20201231", "20200101", True),
        ("DA", "20200101-20201231", "20201231", True),
        ("DA", "20200101 - 20201231", "20200630", True),
        ("DA", "20200101-20201231", "20210101", False),
        ("DA", "-20201231", "19991231", True),
        ("DA", "-20201231", "20210101", False),
        ("DA", "20200101-", "20200101", True),
        ("DA", "20200101-", "20191231", False),
        ("DA", "20201231-20200101", "20200601", False),
        ("DA", "20200101-20201231", "unknown", False),
        ("DA", "yesterday", "yesterday", False),
        ("TM", "1030", "103059.999", True),
        ("TM", "1030", "1031", False),
        ("TM", "1000-1200", "120000", True),
        ("TM", "1000-1200", "095959.999999", False),
        ("TM", "10-", "235960", True),
        ("TM", "-0959", "10", False),
        ("TM", "10:00:00-11:00:00", "10:30:00", True),
        ("TM", "2300-0100", "233000", False),  # across midnight: not supported, C.2.2.2.5.2
        ("DT", "2020", "20200630120000", True),
        ("DT", "202006-202007", "20200731235959.5", True),
        ("DT", "202006-202007", "20200801", False),
        ("DT", "2019-2020", "20200630", True),  # a range: no offset is 20:20
        ("DT", "20200101000000-0500", "20200101050000+0000", True),  # a moment and its offset
        ("DT", "20200101000000-0500", "20200101000000+0000", False),
        ("DT", "20200101-0500-20200101-0500", "20200102045959+0000", True),
        ("DT", "20200101-0500-20200101-0500", "20200102050000+0000", False),
        ("DT", "20200101+0100-", "20191231235959+0100", False),
        ("DT", "-20200101", "20191231", True),
        ("DT", "-202002+0000", "20200229235959-0100", False),
        ("DT", "-202002+0000", "20200229225959-0100", True),
        ("DT", "9999+0000-", "99991231235959-1200", True),  # past the calendar: compared as it stands
    ],
)
def test_ranges(vr: str, key: str, value: str, expected: bool) -> None:
    assert hit(vr, key, value) is expected


ITEMS = (
    {"CodeValue": ("T-D1100",), "CodingSchemeDesignator": ("SNM3",)},
    {"CodeValue": ("12738006",), "CodingSchemeDesignator": ("SCT",)},
)


def code(value: str = "", scheme: str = "") -> Key:
    return Key(
        "ProcedureCodeSequence",
        "SQ",
        item=(Key("CodeValue", "SH", (value,)), Key("CodingSchemeDesignator", "SH", (scheme,))),
    )


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (code("12738006", "SCT"), True),
        (code("12738006", "SNM3"), False),  # no one item matches both
        (code("T-D*"), True),
        (code(), True),
        (Key("ProcedureCodeSequence", "SQ"), True),
    ],
)
def test_sequences(key: Key, expected: bool) -> None:
    assert matches([key], {"ProcedureCodeSequence": ITEMS}) is expected


def test_a_sequence_key_that_asks_for_nothing_matches_an_entity_without_the_sequence() -> None:
    assert matches([code()], {})
    assert not matches([code("12738006")], {})


def test_sequences_in_sequences() -> None:
    deep = Key("RequestAttributesSequence", "SQ", item=(code("T-D1100"),))
    assert matches([deep], {"RequestAttributesSequence": ({"ProcedureCodeSequence": ITEMS},)})
    assert not matches([deep], {"RequestAttributesSequence": ({}, {"ProcedureCodeSequence": ITEMS[1:]})})


def test_only_the_matching_items_are_returned() -> None:
    assert matching_items(code("12738006"), ITEMS) == ITEMS[1:]


def test_all_keys_must_match() -> None:
    attributes = {"PatientName": ("Doe^John",), "PatientID": ("1",)}
    name, number = Key("PatientName", "PN", ("doe*",)), Key("PatientID", "LO", ("1",))
    assert matches([name, number], attributes)
    assert not matches([name, Key("PatientID", "LO", ("2",))], attributes)
    assert matches([], attributes)


# --- what extended negotiation adds -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("date", "time", "plain", "combined"),
    [  # PS3.4 C.2.2.2.5.4: the range begins on the 5th at 10:00 and ends on the 7th at 18:00
        ("20060706", "0200", False, True),
        ("20060705", "0959", False, False),
        ("20060705", "1000", True, True),
        ("20060707", "180059", True, True),
        ("20060707", "1801", False, False),
        ("20060706", "", False, True),
        ("", "1200", False, False),
    ],
)
def test_combined_date_and_time(date: str, time: str, plain: bool, combined: bool) -> None:
    keys = [Key("StudyDate", "DA", ("20060705-20060707",)), Key("StudyTime", "TM", ("1000-1800",))]
    attributes = {"StudyDate": (date,) if date else (), "StudyTime": (time,) if time else ()}
    assert matches(keys, attributes) is plain
    assert matches(keys, attributes, Rules(date_time=True)) is combined


@pytest.mark.parametrize(
    ("keys", "last", "beyond"),
    [
        (("20060705-20060707", "1000-1800"), ("20060707", "180059.999999"), ("20060707", "180100")),
        (("20060705-20060707", "1000-1800"), ("20060706", "235959"), ("20060708", "0900")),
        (("-20060707", "-1800"), ("20060707", "1800"), ("20060707", "1900")),
        (("20060705-20060705", "0000-0000"), ("20060705", ""), ("20060705", "0001")),
    ],
)
def test_the_upper_bound_of_a_combined_range(
    keys: tuple[str, str], last: tuple[str, str], beyond: tuple[str, str]
) -> None:
    """Both keys are one moment (PS3.4 C.2.2.2.5.4): a day before the last is whole, the last ends at its time."""
    date_and_time = [Key("StudyDate", "DA", keys[:1]), Key("StudyTime", "TM", keys[1:])]
    rules = Rules(date_time=True)
    assert matches(date_and_time, {"StudyDate": last[:1], "StudyTime": last[1:]}, rules)
    assert not matches(date_and_time, {"StudyDate": beyond[:1], "StudyTime": beyond[1:]}, rules)


def test_combined_only_where_both_are_ranges_of_one_form() -> None:
    rules = Rules(date_time=True)
    keys = [Key("StudyDate", "DA", ("20060705-",)), Key("StudyTime", "TM", ("-1800",))]
    assert not matches(keys, {"StudyDate": ("20060706",), "StudyTime": ("1900",)}, rules)
    keys = [Key("StudyDate", "DA", ("20060705",)), Key("StudyTime", "TM", ("1000-1800",))]
    assert not matches(keys, {"StudyDate": ("20060705",), "StudyTime": ("1900",)}, rules)


def test_empty_value() -> None:
    asked = Rules(empty_value_matching=True)
    assert hit("LO", '""', "", asked)
    assert not hit("LO", '""', "something", asked)
    assert not hit("LO", '""', "")
    assert not hit("LO", '""\\CT', "", asked)  # one of several values is text as any other
    assert hit("LO", '""\\CT', "CT", asked)


def test_a_number_as_long_as_no_number_is_compared_as_text() -> None:
    """DS has 16 characters at most (PS3.5 6.2); to convert a million digits would take long."""
    assert hit("DS", "1", "0" * 31 + "1")
    assert not hit("DS", "1", "0" * 32 + "1")
    assert hit("DS", "0" * 32 + "1", "0" * 32 + "1")


@pytest.mark.parametrize(
    ("vr", "key", "value", "expected"),
    [
        ("IS", "1_0", "10", False),
        ("IS", "\uff11", "1", False),
        ("IS", "+07", "7", True),
        ("DS", "1e3", "1000.", True),
        ("DS", ".5", "0.50", True),
        ("DS", "inf", "1e999", False),
        ("FD", "nan", "nan", True),
        ("UV", "18446744073709551615", "18446744073709551614", False),
        ("SV", "9007199254740993", "9007199254740992", False),
        ("SV", "9007199254740993", "9007199254740993", True),
    ],
)
def test_numbers_are_those_of_the_standard_and_exact(vr: str, key: str, value: str, expected: bool) -> None:
    assert hit(vr, key, value) is expected


@pytest.mark.parametrize("rules", [Rules(fuzzy_names=True), BASELINE])
def test_each_name_of_a_patient_is_taken_apart_once_for_a_key_of_thousands(rules: Rules) -> None:
    """A key of 16 KiB took 42 s for one patient with a hundred names."""
    key = Key("OtherPatientNames", "PN", tuple(f"x{number}" for number in range(500)))
    names = tuple(f"ä{number} " * 200 for number in range(20))
    assert lines_run(lambda: matches([key], {key.keyword: names}, rules)) < 500_000


def test_multiple_values_must_all_be_there_when_negotiated() -> None:
    asked = Rules(multiple_value_matching=True)
    assert hit("CS", "CT\\PT", "PT\\CT\\SR", asked)
    assert not hit("CS", "CT\\PT", "CT\\SR", asked)
    assert hit("UI", "1.2\\1.3", "1.2", asked)  # a list of UIDs stays a list


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("Muller", True),
        ("jorg muller", True),
        ("müll^j", True),
        ("Jürgen Müller", False),
        ("Muller^Zoe", False),
        ("mullerin", False),
        # without letters there is no word to be fuzzy about
        ("*", True),
        ("?", False),
        ("^", False),
        ("?*", True),
    ],
)
def test_fuzzy_names(key: str, expected: bool) -> None:
    assert hit("PN", key, MUELLER, Rules(fuzzy_names=True)) is expected


# --- the wild card search itself --------------------------------------------------------------------------------------


_DIGITS = st.text("0123456789", max_size=14)
_TAILS = ("", "-", "+0100", "-9999", ".5", "E9", "E-99999999999999999999", "^", "=", "*")
_TEXTS = st.one_of(
    st.tuples(_DIGITS, st.sampled_from(_TAILS), st.sampled_from(("", *_TAILS, "20200101"))).map("".join),
    st.text('019+-.:eE*?^=\\ "aZß王\u0301ıİ\0\x1b\ud800–١', max_size=20),
)


@given(
    st.sampled_from(sorted(RANGE_VRS | NUMBER_VRS | WILDCARD_VRS | {"AS", "AT", "UI"})),
    st.lists(_TEXTS, max_size=3),
    st.lists(_TEXTS, max_size=2),
    st.tuples(_TEXTS, _TEXTS),
    st.booleans(),
)
def test_no_text_makes_matching_fail(
    vr: str, key: list[str], value: list[str], times: tuple[str, str], has_rules: bool
) -> None:
    """What one object has would otherwise fail all queries that come upon it."""
    rules = Rules(date_time=True, fuzzy_names=True, empty_value_matching=True, multiple_value_matching=True)
    keys = [Key("StudyDate", vr, tuple(key)), Key("StudyTime", "TM", times[:1])]
    attributes = {"StudyDate": tuple(value), "StudyTime": times[1:]}
    assert matches(keys, attributes, rules if has_rules else BASELINE) in (True, False)


@given(st.text("ab*?", max_size=8), st.text("ab", max_size=8))
def test_wild_cards_are_what_a_plain_regular_expression_finds(key: str, value: str) -> None:
    plain = "".join({"*": ".*", "?": "."}.get(character, re.escape(character)) for character in key)
    assert wildcard(key)(value) == (re.fullmatch(plain, value, re.DOTALL) is not None)


@pytest.mark.parametrize(
    "key", ["*" + "a*" * 2000 + "b", "*" + "a" * 4000 + "b*", "*?" + "a" * 4000 + "b*", "*?a*" * 999]
)
def test_a_search_takes_the_time_of_the_text_and_not_of_the_key_as_well(key: str) -> None:
    """What is not Python is str.find, and is not counted."""
    test = wildcard(key)

    def search() -> None:
        assert not test("a" * 10_000) or key.endswith("*?a*")

    assert lines_run(search) < 100_000
