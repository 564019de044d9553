"""What an Identifier asks of an information model.

What the rows of `models` name can be asked for. Hierarchical rules (PS3.4 C.4.1.3.1, C.4.2.2.1): the unique key of each
level above is given, with a single value; Relational-queries and Relational-retrieve (C.4.1.3.2, C.4.2.2.2) lift that
where they were negotiated. Unless the archive is strict, a key that is missing or empty is universal without them too,
and a list matches any of its values. Attributes of a level above, asked for beside its unique key, are matched and
returned, although the standard promises it to no peer; those of a level below are not supported.
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

# Answered without a look at any object; of the rest of an Identifier, these are no keys at all (C.4.1.1.3.1).
ANSWERED = frozenset({"RetrieveAETitle", "InstanceAvailability"})
_NO_KEYS = frozenset({"SpecificCharacterSet", "QueryRetrieveLevel", "QueryRetrieveView", "TimezoneOffsetFromUTC"})

_SUPPORTED = {
    level: frozenset({keyword for keyword, its in LEVEL_OF.items() if its <= level} | ANSWERED) for level in Level
}

_LEVEL_TAG = 0x00080052


class IdentifierError(ValueError):
    """An Identifier that is not answered.

    Args:
        comment: Error Comment (0000,0902); it holds no value of the Identifier.
        *offending_elements: The tags at fault, for Offending Element (0000,0901).
        status: 0xA900 where the Identifier does not fit its SOP class, 0xA700 or 0xA701 where it asks for too much.
    """

    def __init__(self, comment: str, *offending_elements: int, status: int = 0xA900) -> None:
        self.comment: str = comment
        self.offending_elements: tuple[int, ...] = offending_elements
        self.status: int = status
        super().__init__(comment)


@dataclass(frozen=True, slots=True)
class Query:
    """A checked Identifier: what an index is asked for."""

    model: Model
    """The information model that is asked."""
    level: Level
    """Query/Retrieve Level (0008,0052)."""
    keys: tuple[Key, ...] = ()
    """All supported keys, in the order of their tags; what a response returns."""
    unique: Mapping[Level, tuple[str, ...]] = field(default_factory=dict, repr=False)
    """The exact values that the unique key of a level may have; a level that is not here is not restricted."""
    unsupported: tuple[str, ...] = ()
    """Keys that are not kept (keywords, or tags for want of one): neither matched nor returned."""
    rules: Rules = BASELINE
    """What extended negotiation added."""
    tolerated: tuple[Leniency, ...] = ()
    """What a strict archive would have refused."""
    extra: tuple[str, ...] = ()
    """Attributes that a match has beside those of the keys; a response does not return them."""
    one_level: OneLevelModel | None = None
    """The model, where it has one level."""

    @property
    def tests(self) -> tuple[Key, ...]:
        """The keys that `unique` does not settle."""
        settled = {UNIQUE[level] for level in self.unique}
        if self.one_level is not None:
            settled.update(self.one_level.returned)
        return tuple(key for key in self.keys if key.keyword not in settled)


def find_query(identifier: Dataset, model: Model, rules: Rules = BASELINE, *, strict: bool = False) -> Query:
    """Check the Identifier of a C-FIND request (PS3.4 C.4.1.1.3.1, C.4.1.3.1).

    Args:
        identifier: The Identifier, as it was decoded.
        model: The information model that is asked.
        rules: What extended negotiation added.
        strict: Refuse what `Query.tolerated` would name.

    Returns:
        What an index is asked for.

    Raises:
        IdentifierError: It is not answered, and why.
    """
    checked = _Checked(identifier, model, is_strict=strict)
    level = checked.level
    keys, unsupported = [], []
    for key in _keys(identifier, _SUPPORTED[level], 0xA700):
        if key.keyword in ANSWERED:
            keys.append(Key(key.keyword, key.vr))  # of a response that is asked with again, and no key
        elif key.keyword in _SUPPORTED[level]:
            _check_key(key, key.keyword)
            keys.append(key)
        elif key.keyword not in _NO_KEYS:
            unsupported.append(key.keyword)
    by_keyword = {key.keyword: key for key in keys}
    unique = {}
    for each in (*model.above(level), level):
        values = _given(by_keyword.get(UNIQUE[each]))
        if each != level and not rules.relational:
            checked.single(each, values)
        if _is_exact(each, values, rules):
            unique[each] = values
    return Query(model, level, tuple(keys), unique, tuple(unsupported), rules, tuple(checked.tolerated))


def retrieve_query(identifier: Dataset, model: Model, *, relational: bool = False, strict: bool = False) -> Query:
    """Check the Identifier of a C-GET or C-MOVE request (PS3.4 C.4.2.2.1, C.4.3.2.1).

    Only unique keys count; other attributes are ignored. The one of the level asked for is always needed, with one or
    more values, of Patient ID with one.

    Args:
        identifier: The Identifier, as it was decoded.
        model: The information model that is asked.
        relational: Relational-retrieve was negotiated: keys above the level may be left out.
        strict: Refuse what `Query.tolerated` would name.

    Returns:
        What an index is asked for.

    Raises:
        IdentifierError: It is not answered, and why.
    """
    checked = _Checked(identifier, model, is_strict=strict)
    level = checked.level
    by_keyword = {key.keyword: key for key in _keys(identifier, frozenset(UNIQUE.values()), 0xA701)}
    unique = {}
    for each in (*model.above(level), level):
        values = _given(by_keyword.get(UNIQUE[each]))
        if each == Level.PATIENT and any(map(has_wildcard, values)):
            raise _not_single(each)
        if each == level:
            if not values:
                raise _needed(each, level)
            if each == Level.PATIENT and len(values) > 1:
                raise _not_single(each)
        elif not relational:
            checked.single(each, values)
        if values:
            unique[each] = values
    return Query(model, level, unique=unique, tolerated=tuple(checked.tolerated))


def supported_keys(identifier: Dataset, supported: Container[str]) -> tuple[tuple[Key, ...], tuple[str, ...]]:
    """Read the Identifier of a C-FIND request of a model of one level.

    Args:
        identifier: The Identifier, as it was decoded.
        supported: The keywords that the model has, outside sequences.

    Returns:
        The keys that are supported, in the order of their tags, and the names of the others.

    Raises:
        IdentifierError: It is not answered, and why.
    """
    keys, unsupported = [], []
    for key in _keys(identifier, supported, 0xA700):
        if key.keyword in supported:
            _check_key(key, key.keyword)
            keys.append(key)
        elif key.keyword not in _NO_KEYS:
            unsupported.append(key.keyword)
    return tuple(keys), tuple(unsupported)


def find_one_level(identifier: Dataset, model: OneLevelModel, rules: Rules = BASELINE) -> Query:
    """Check the Identifier of a C-FIND request of a model of one level (PS3.4 K.4.1.1, K.4.1.3).

    There is no Query/Retrieve Level; one that comes is ignored. Ranges of a date and a time are always combined (K.5).

    Args:
        identifier: The Identifier, as it was decoded.
        model: The model that is asked.
        rules: What extended negotiation added.

    Returns:
        What an index is asked for.

    Raises:
        IdentifierError: It is not answered, and why.
    """
    keys, unsupported = supported_keys(identifier, frozenset(model.keywords))
    uids = [value for key in keys if key.keyword == UNIQUE[Level.IMAGE] for value in _given(key)]
    unique = {Level.IMAGE: tuple(uids)} if uids else {}
    rules = replace(rules, date_time=True)
    return Query(COMPOSITE_INSTANCE, Level.IMAGE, keys, unique, unsupported, rules, one_level=model)


def retrieve_one_level(identifier: Dataset, model: OneLevelModel) -> Query:
    """Check the Identifier of a C-GET or C-MOVE request of a model of one level (PS3.4 U.4.2): SOP Instance UIDs alone.

    Args:
        identifier: The Identifier, as it was decoded.
        model: The model that is asked.

    Returns:
        What an index is asked for.

    Raises:
        IdentifierError: There is no SOP Instance UID.
    """
    keys = _keys(identifier, frozenset({UNIQUE[Level.IMAGE]}), 0xA701)
    uids = tuple(value for key in keys if key.keyword == UNIQUE[Level.IMAGE] for value in _given(key))
    if not uids:
        raise IdentifierError("SOPInstanceUID is needed", tag_for_keyword(UNIQUE[Level.IMAGE]) or 0)
    return Query(COMPOSITE_INSTANCE, Level.IMAGE, unique={Level.IMAGE: uids}, one_level=model)


class _Checked:
    """One Identifier, and what is tolerated of it."""

    def __init__(self, identifier: Dataset, model: Model, *, is_strict: bool) -> None:
        self._is_strict = is_strict
        self.tolerated: list[Leniency] = []
        self.level = self._level(identifier, model)

    def _level(self, identifier: Dataset, model: Model) -> Level:
        text = [value for value in decode_ascii(identifier, _LEVEL_TAG) if value]
        if len(text) != 1:
            raise IdentifierError("one Query/Retrieve Level is needed", _LEVEL_TAG)
        unknown = IdentifierError("not a Query/Retrieve Level that is served", _LEVEL_TAG)
        if text[0].upper() not in Level.__members__:
            raise unknown
        if not text[0].isupper():
            self._tolerate(leniency.LOWER_CASE_LEVEL, unknown)
        level = Level[text[0].upper()]
        if level not in model.levels:
            raise IdentifierError(f"no {level.name} level in the {model.name} model", _LEVEL_TAG)
        return level

    def single(self, unique: Level, values: tuple[str, ...]) -> None:
        """Look whether the unique key of a level above has one value."""
        if not values:
            self._tolerate(leniency.MISSING_UNIQUE_KEY, _needed(unique, self.level))
        elif len(values) > 1 or has_wildcard(values[0]):
            self._tolerate(leniency.LISTED_UNIQUE_KEY, _not_single(unique))

    def _tolerate(self, row: Leniency, error: IdentifierError) -> None:
        if self._is_strict:
            raise error
        if row not in self.tolerated:
            self.tolerated.append(row)


def _keys(identifier: Dataset, wanted: Container[str], too_much: int) -> list[Key]:
    try:
        return _whole_ids(keys_of(identifier, wanted))
    except KeysRefused as error:
        raise IdentifierError(error.comment, error.tag, status=too_much if error.is_too_much else 0xA900) from None


def _given(key: Key | None) -> tuple[str, ...]:
    return () if key is None else tuple(value for value in key.values if value)


def _whole_ids(keys: list[Key]) -> list[Key]:
    """Patient ID has one value, and a backslash in it ("DOMAIN\\name") is no delimiter: beside each of several values
    the whole text is looked for."""
    return [
        replace(key, values=(*key.values, "\\".join(key.values)))
        if key.keyword == UNIQUE[Level.PATIENT] and len(key.values) > 1
        else key
        for key in keys
    ]


def _is_exact(level: Level, values: tuple[str, ...], rules: Rules) -> bool:
    """Whether these values of the unique key of a level can be looked up. UIDs have no wild cards."""
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


def _check_key(key: Key, root: str) -> None:
    """What can never match is said, rather than answered with nothing. root: the key as the Identifier names it."""
    if key.vr in RANGE_VRS:
        for value in _given(key):
            try:
                if value != '""':
                    parse_range(key.vr, value)
            except ValueError as error:
                raise IdentifierError(f"{key.keyword}: {error}"[:64], tag_for_keyword(root) or 0) from None
    for each in key.item:
        _check_key(each, root)
