"""The Identifier of a C-FIND response (PS3.4 C.4.1.1.3.2), from a match."""

from __future__ import annotations

from collections.abc import Iterable

from pydicom import DataElement, Dataset, config

from aiodimse import charsets

from .attributes import element
from .index import CharacterSet, Match
from .matching import Key, Value
from .queries import Query

UTF8: CharacterSet = ("ISO_IR 192",)


def response(query: Query, match: Match, *, ae_title: str) -> Dataset:
    """Make the Identifier of a C-FIND response: all keys asked for, the level, and where to retrieve from.

    A key is empty where the object has no value. The text is in the Specific Character Set of the object; it is in
    ISO_IR 192 where it comes from objects of several character sets, or has characters that the object's own does not.

    Args:
        query: The query.
        match: One entity that it found.
        ae_title: The AE title that a C-MOVE or C-GET of the entity goes to.
    """
    identifier = Dataset()
    character_set = choose_character_set(match.character_sets, all_text(match.attributes.values()))
    if character_set:
        _put(identifier, Key("SpecificCharacterSet", "CS"), character_set)
    if query.one_level is None:  # else there is but what was asked for: K.4.1.1.3.2
        _put(identifier, Key("QueryRetrieveLevel", "CS"), (query.level.name,))
        # Retrieve AE Title, or the Storage Media File-Set ID, is always there: C.4.1.1.3.2.
        _put(identifier, Key("RetrieveAETitle", "AE"), (ae_title,))
    for key in query.keys:
        if key.keyword == "InstanceAvailability":
            _put(identifier, key, ("ONLINE",))
        elif key.keyword != "RetrieveAETitle":
            identifier.add(element(key, match.attributes.get(key.keyword, ()), query.rules))
    return identifier


def choose_character_set(candidates: Iterable[CharacterSet], texts: Iterable[str]) -> CharacterSet:
    """The one character set, if it is one and can say all the texts; else ISO_IR 192, or none where ASCII will do."""
    special = "".join({character for text in texts if not text.isascii() for character in text if character > "\x7f"})
    distinct = list(dict.fromkeys(candidates))
    if not special:
        return distinct[0] if len(distinct) == 1 else ()
    if len(distinct) == 1 and charsets.lookup(distinct[0]).can_encode(special):
        return distinct[0]
    return UTF8


def all_text(values: Iterable[Value]) -> Iterable[str]:
    """All texts of these values, those in sequences included."""
    for value in values:
        for each in value:
            if isinstance(each, str):
                yield each
            else:
                yield from all_text(each.values())


def _put(identifier: Dataset, key: Key, values: tuple[str, ...]) -> None:
    content = values[0] if len(values) == 1 else list(values)
    identifier.add(DataElement(key.keyword, key.vr, content, validation_mode=config.IGNORE))
