"""Checks what an Identifier asks of an information model.

The keys that can be used are those in the rows of `models`. By the hierarchical rules (PS3.4 C.4.1.3.1, C.4.2.2.1) the
unique key of each level above must have a single value. Relational queries (C.4.1.3.2) and relational retrieve
(C.4.2.2.2) remove this rule if they were negotiated. An archive that is not strict tolerates more: a missing or empty
key matches everything, as does a date of "*" or "-", and a list matches any of its values. Attributes of a level above
are also matched and returned beside its unique key, although the standard does not require it; those of a level below
are not supported.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field, replace

from pydicom import Dataset
from pydicom.datadict import tag_for_keyword

from aiodimse import leniency

from .attributes import KeysRefused, decode_ascii, keys_of
from .matching import BASELINE, RANGE_VRS, Key, Rules
from .models import COMPOSITE_INSTANCE, LEVEL_OF, UNIQUE, Level, Model
from .moments import parse_range
from .one_level import OneLevelModel
from .wildcards import has_wildcard

Leniency = leniency.Leniency

ANSWERED = frozenset({"RetrieveAETitle", "InstanceAvailability"})
"""Keys whose values come from the archive, not from an object."""
_NO_KEYS = frozenset({"SpecificCharacterSet", "QueryRetrieveLevel", "QueryRetrieveView", "TimezoneOffsetFromUTC"})
"""Attributes of an Identifier that are not keys (PS3.4 C.4.1.1.3.1)."""

_SUPPORTED = {
    level: frozenset({keyword for keyword, its in LEVEL_OF.items() if its <= level} | ANSWERED) for level in Level
}
"""The keywords of the keys that a query at each level may have."""

_LEVEL_TAG = 0x00080052
_ANY_TIME = frozenset({"*", "-"})
"""What may only mean any date or time, although a date has no wild cards, and a range has a beginning or an end."""


class IdentifierError(ValueError):
    """A request with this Identifier has to be refused.

    Args:
        comment: The Error Comment (0000,0902). It contains no value of the Identifier.
        *offending_elements: The tags at fault, for Offending Element (0000,0901).
        status: 0xA900 if the Identifier does not fit its SOP class, 0xA700 or 0xA701 if it asks for too much.
    """

    def __init__(self, comment: str, *offending_elements: int, status: int = 0xA900) -> None:
        self.comment: str = comment
        self.offending_elements: tuple[int, ...] = offending_elements
        self.status: int = status
        super().__init__(comment)


@dataclass(frozen=True, slots=True)
class Query:
    """A checked Identifier: the query for an index."""

    model: Model
    """The information model of the query."""
    level: Level
    """Query/Retrieve Level (0008,0052)."""
    keys: tuple[Key, ...] = ()
    """All supported keys, in the order of their tags. A response returns them."""
    unique: Mapping[Level, tuple[str, ...]] = field(default_factory=dict, repr=False)
    """The exact values that the unique key of a level may have. A level that is missing here is not restricted."""
    unsupported: tuple[str, ...] = ()
    """Keys that the archive does not have, as keywords or else tags. They are neither matched nor returned."""
    rules: Rules = BASELINE
    """What extended negotiation added."""
    tolerated: tuple[Leniency, ...] = ()
    """What a strict archive would have refused."""
    extra: tuple[str, ...] = ()
    """Attributes that a match has in addition to the keys. A response does not return them."""
    one_level: OneLevelModel | None = None
    """The model, if it has only one level."""
    begin: str = field(default="", repr=False)
    """A Study Instance UID: an index may leave out what precedes this study in its order; "" leaves out nothing."""

    @property
    def tests(self) -> tuple[Key, ...]:
        """The keys that remain to be matched, because `unique` does not determine them."""
        settled = {UNIQUE[level] for level in self.unique}
        return tuple(key for key in self.keys if key.keyword not in settled)


def find_query(identifier: Dataset, model: Model, rules: Rules = BASELINE, *, strict: bool = False) -> Query:
    """Check the Identifier of a C-FIND request (PS3.4 C.4.1.1.3.1, C.4.1.3.1).

    Args:
        identifier: The Identifier, as it was decoded.
        model: The information model that is asked.
        rules: What extended negotiation added.
        strict: Refuse what is otherwise tolerated and listed in `Query.tolerated`.

    Returns:
        The query for an index.

    Raises:
        IdentifierError: The request has to be refused.
    """
    checked = _Checked(identifier, model, is_strict=strict)
    level = checked.level
    keys, unsupported = [], []
    for key in _keys(identifier, _SUPPORTED[level], 0xA700):
        if key.keyword in ANSWERED:
            keys.append(Key(key.keyword, key.vr))  # a value, as in a response that is sent as a query, is ignored
        elif key.keyword in _SUPPORTED[level]:
            keys.append(_checked_key(key, key.keyword, checked.tolerance))
        elif key.keyword not in _NO_KEYS:
            unsupported.append(key.keyword)
    by_keyword = {key.keyword: key for key in keys}
    unique = {}
    for each in (*model.above(level), level):
        values = _given(by_keyword.get(UNIQUE[each]))
        if each != level and not rules.relational:
            checked.check_single(each, values)
        if _is_exact(each, values, rules):
            unique[each] = values
    return Query(model, level, tuple(keys), unique, tuple(unsupported), rules, tuple(checked.tolerance.rows))


def retrieve_query(identifier: Dataset, model: Model, *, relational: bool = False, strict: bool = False) -> Query:
    """Check the Identifier of a C-GET or C-MOVE request (PS3.4 C.4.2.2.1, C.4.3.2.1).

    Only unique keys count; other attributes are ignored. The unique key of the requested level is required. It may have
    several values, but Patient ID only one. A backslash or a wild card in a Patient ID is a part of the text here,
    since there are patients with such an ID; call `check_nothing_found` where nothing is found.

    Args:
        identifier: The Identifier, as it was decoded.
        model: The information model that is asked.
        relational: Whether relational retrieve was negotiated: keys above the level may then be left out.
        strict: Refuse what is otherwise tolerated and listed in `Query.tolerated`.

    Returns:
        The query for an index.

    Raises:
        IdentifierError: The request has to be refused.
    """
    checked = _Checked(identifier, model, is_strict=strict)
    level = checked.level
    by_keyword = {key.keyword: key for key in _keys(identifier, frozenset(UNIQUE.values()), 0xA701)}
    unique = {}
    for each in (*model.above(level), level):
        values = _given(by_keyword.get(UNIQUE[each]))
        if each == level:
            if not values:
                raise _needed(each, level)
            if each == Level.PATIENT:
                values = values[-1:]  # the whole text: see _whole_ids
        elif not relational:
            checked.check_single(each, values)
        if values:
            unique[each] = values
    return Query(model, level, unique=unique, tolerated=tuple(checked.tolerance.rows))


def check_nothing_found(query: Query) -> None:
    """Check a retrieval for which no object was found: whether its Patient ID is a single value.

    A list or a pattern of Patient IDs has to be refused (PS3.4 C.4.2.1.4.1, C.4.3.1.3.1). It cannot be told from the ID
    that a damaged sender has given to a patient, until no patient has it.

    Args:
        query: The retrieval.

    Raises:
        IdentifierError: The request has to be refused.
    """
    for value in query.unique.get(Level.PATIENT, ()):
        if has_wildcard(value) or (query.level == Level.PATIENT and "\\" in value):
            raise _not_single(Level.PATIENT)


def supported_keys(
    identifier: Dataset, supported: Container[str], *, strict: bool = False
) -> tuple[tuple[Key, ...], tuple[str, ...], tuple[Leniency, ...]]:
    """Read the Identifier of a C-FIND request in a one-level model.

    Args:
        identifier: The Identifier, as it was decoded.
        supported: The keywords that the model has, outside sequences.
        strict: Refuse what is otherwise tolerated.

    Returns:
        The supported keys in the order of their tags, the names of the others, and what was tolerated.

    Raises:
        IdentifierError: The request has to be refused.
    """
    keys, unsupported, tolerance = [], [], _Tolerance(is_strict=strict)
    for key in _keys(identifier, supported, 0xA700):
        if key.keyword in supported:
            keys.append(_checked_key(key, key.keyword, tolerance))
        elif key.keyword not in _NO_KEYS:
            unsupported.append(key.keyword)
    return tuple(keys), tuple(unsupported), tuple(tolerance.rows)


def find_one_level(
    identifier: Dataset, model: OneLevelModel, rules: Rules = BASELINE, *, strict: bool = False
) -> Query:
    """Check the Identifier of a C-FIND request in a one-level model (PS3.4 K.4.1.1, K.4.1.3).

    There is no Query/Retrieve Level; if the request has one, it is ignored. Ranges of a date and a time are always
    combined (PS3.4 K.5).

    Args:
        identifier: The Identifier, as it was decoded.
        model: The model that is asked.
        rules: What extended negotiation added.
        strict: Refuse what is otherwise tolerated and listed in `Query.tolerated`.

    Returns:
        The query for an index.

    Raises:
        IdentifierError: The request has to be refused.
    """
    keys, unsupported, tolerated = supported_keys(identifier, frozenset(model.keywords), strict=strict)
    uids = [value for key in keys if key.keyword == UNIQUE[Level.IMAGE] for value in _given(key)]
    unique = {Level.IMAGE: tuple(uids)} if uids else {}
    rules = replace(rules, date_time=True)
    keys = tuple(_matched(key, model.returned, model.returned_inside) for key in keys)
    return Query(COMPOSITE_INSTANCE, Level.IMAGE, keys, unique, unsupported, rules, tolerated, one_level=model)


def retrieve_one_level(identifier: Dataset, model: OneLevelModel) -> Query:
    """Check the Identifier of a C-GET or C-MOVE request in a one-level model: SOP Instance UIDs only (PS3.4 U.4.2).

    Args:
        identifier: The Identifier, as it was decoded.
        model: The model that is asked.

    Returns:
        The query for an index.

    Raises:
        IdentifierError: There is no SOP Instance UID.
    """
    keys = _keys(identifier, frozenset({UNIQUE[Level.IMAGE]}), 0xA701)
    uids = tuple(value for key in keys if key.keyword == UNIQUE[Level.IMAGE] for value in _given(key))
    if not uids:
        raise IdentifierError("SOPInstanceUID is needed", tag_for_keyword(UNIQUE[Level.IMAGE]) or 0)
    return Query(COMPOSITE_INSTANCE, Level.IMAGE, unique={Level.IMAGE: uids}, one_level=model)


class _Tolerance:
    """What was tolerated in one Identifier."""

    def __init__(self, *, is_strict: bool) -> None:
        self._is_strict = is_strict
        self.rows: list[Leniency] = []

    def tolerate(self, row: Leniency, error: IdentifierError) -> None:
        """Note a row, once. Raises the error if nothing is tolerated."""
        if self._is_strict:
            raise error
        if row not in self.rows:
            self.rows.append(row)


class _Checked:
    """The level of one Identifier, the checks of its unique keys, and what was tolerated in it."""

    def __init__(self, identifier: Dataset, model: Model, *, is_strict: bool) -> None:
        self.tolerance = _Tolerance(is_strict=is_strict)
        self.level = self._level(identifier, model)

    def _level(self, identifier: Dataset, model: Model) -> Level:
        values = [value for value in decode_ascii(identifier, _LEVEL_TAG) if value]
        if len(values) != 1:
            raise IdentifierError("one Query/Retrieve Level is needed", _LEVEL_TAG)
        unknown = IdentifierError("not a Query/Retrieve Level that is served", _LEVEL_TAG)
        (name,) = values
        if name.upper() not in Level.__members__:
            raise unknown
        if not name.isupper():
            self.tolerance.tolerate(leniency.LOWER_CASE_LEVEL, unknown)
        level = Level[name.upper()]
        if level not in model.levels:
            raise IdentifierError(f"no {level.name} level in the {model.name} model", _LEVEL_TAG)
        return level

    def check_single(self, unique: Level, values: tuple[str, ...]) -> None:
        """Check that the unique key of a level above has one value."""
        if not values:
            self.tolerance.tolerate(leniency.MISSING_UNIQUE_KEY, _needed(unique, self.level))
        elif len(values) > 1 or has_wildcard(values[0]):
            self.tolerance.tolerate(leniency.LISTED_UNIQUE_KEY, _not_single(unique))


def _keys(identifier: Dataset, wanted: Container[str], too_much: int) -> list[Key]:
    try:
        return _whole_ids(keys_of(identifier, wanted))
    except KeysRefused as error:
        raise IdentifierError(error.comment, error.tag, status=too_much if error.is_too_much else 0xA900) from None


def _given(key: Key | None) -> tuple[str, ...]:
    return () if key is None else tuple(value for value in key.values if value)


def _matched(key: Key, returned: Container[str], inside: Container[str]) -> Key:
    """Return a key without the values that are not matched: those of `returned`, and in its sequences of `inside`."""
    if key.keyword in returned:
        return _universal(key)
    return replace(key, item=tuple(_matched(each, inside, inside) for each in key.item))


def _universal(key: Key) -> Key:
    """Return a key that asks for the same attributes and matches everything."""
    return replace(key, values=(), item=tuple(map(_universal, key.item)))


def _whole_ids(keys: list[Key]) -> list[Key]:
    """Add the whole text of a Patient ID to its values.

    Patient ID has one value, so a backslash in it ("DOMAIN\\name") separates nothing.
    """
    return [
        replace(key, values=(*key.values, "\\".join(key.values)))
        if key.keyword == UNIQUE[Level.PATIENT] and len(key.values) > 1
        else key
        for key in keys
    ]


def _is_exact(level: Level, values: tuple[str, ...], rules: Rules) -> bool:
    """Return whether these values of a unique key can be looked up exactly. UIDs have no wild cards."""
    if level == Level.PATIENT and (
        any(map(has_wildcard, values)) or (rules.empty_value_matching and values == ('""',))
    ):
        return False
    return bool(values)


def _needed(unique: Level, level: Level) -> IdentifierError:
    return IdentifierError(
        f"{UNIQUE[unique]} is needed at the {level.name} level", tag_for_keyword(UNIQUE[unique]) or 0
    )


def _not_single(unique: Level) -> IdentifierError:
    return IdentifierError(f"{UNIQUE[unique]} must be a single value", tag_for_keyword(UNIQUE[unique]) or 0)


def _checked_key(key: Key, root: str, tolerance: _Tolerance) -> Key:
    """Return the key, which matches everything if it is tolerated that it is no value of its VR.

    A key that can never match is refused, instead of finding nothing. `root` is the key in the Identifier itself.
    """
    if key.vr in RANGE_VRS:
        for value in _given(key):
            try:
                if value != '""':
                    parse_range(key.vr, value)
            except ValueError as error:
                refused = IdentifierError(f"{key.keyword}: {error}"[:64], tag_for_keyword(root) or 0)
                if value.strip() not in _ANY_TIME:
                    raise refused from None
                tolerance.tolerate(leniency.ANY_DATE, refused)
                return _universal(key)
    return replace(key, item=tuple(_checked_key(each, root, tolerance) for each in key.item)) if key.item else key
