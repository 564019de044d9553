"""Makes the Identifier of a C-FIND response (PS3.4 C.4.1.1.3.2) from a match."""

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
    """Make the Identifier of a C-FIND response: all keys of the query, the level, and where to retrieve from.

    A key is empty if the object has no value. The text is in the Specific Character Set of the object. It is in
    ISO_IR 192 if it comes from objects with several character sets, or cannot be encoded in that of the object.

    Args:
        query: The query.
        match: One entity that it found.
        ae_title: The AE title from which the entity can be retrieved.
    """
    identifier = Dataset()
    character_set = choose_character_set(match.character_sets, all_text(match.attributes.values()))
    if character_set:
        _put(identifier, Key("SpecificCharacterSet", "CS"), character_set)
    if query.one_level is None:  # a one-level model returns only the keys of the request: K.4.1.1.3.2
        _put(identifier, Key("QueryRetrieveLevel", "CS"), (query.level.name,))
        # PS3.4 C.4.1.1.3.2: each response has Retrieve AE Title or the Storage Media File-Set ID.
        _put(identifier, Key("RetrieveAETitle", "AE"), (ae_title,))
    for key in query.keys:
        if key.keyword == "InstanceAvailability":
            _put(identifier, key, ("ONLINE",))
        elif key.keyword != "RetrieveAETitle":
            identifier.add(element(key, match.attributes.get(key.keyword, ()), query.rules))
    return identifier


def choose_character_set(candidates: Iterable[CharacterSet], texts: Iterable[str]) -> CharacterSet:
    """Return the only candidate if it can encode all texts; otherwise ISO_IR 192, or none if ASCII is enough."""
    special = "".join({character for text in texts if not text.isascii() for character in text if character > "\x7f"})
    distinct = list(dict.fromkeys(candidates))
    if not special:
        return distinct[0] if len(distinct) == 1 else ()
    if len(distinct) == 1 and charsets.lookup(distinct[0]).can_encode(special):
        return distinct[0]
    return UTF8


def all_text(values: Iterable[Value]) -> Iterable[str]:
    """Yield all texts of these values, including those in sequences."""
    for value in values:
        for each in value:
            if isinstance(each, str):
                yield each
            else:
                yield from all_text(each.values())


def _put(identifier: Dataset, key: Key, values: tuple[str, ...]) -> None:
    content = values[0] if len(values) == 1 else list(values)
    identifier.add(DataElement(key.keyword, key.vr, content, validation_mode=config.IGNORE))
