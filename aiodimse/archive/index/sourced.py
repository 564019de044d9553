"""The attributes that the objects of a study or series have of it, and how conflicts are resolved. Pure functions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from ..matching import Value, name_groups
from ..moments import normal_date
from .records import CharacterSet


@dataclass(slots=True, eq=False, repr=False)
class SourcedAttributes:
    """The attributes of a study or series, each with the object that it comes from.

    The first object that has an attribute is its source. If that object is removed or stored again, the attribute keeps
    its value until the next object comes.
    """

    attributes: dict[str, Value] = field(default_factory=dict)
    character_sets: tuple[CharacterSet, ...] = ()
    sources: dict[str, tuple[str, CharacterSet]] = field(default_factory=dict)
    """For each attribute, the SOP Instance UID and the character set of the object that it comes from."""

    def take(self, attributes: Mapping[str, Value], uid: str, character_set: CharacterSet) -> bool:
        """Take from an object the attributes that have no source yet.

        Returns:
            Whether anything changed.
        """
        if not self.character_sets:
            self.character_sets = (character_set,)
        forgotten: Collection[str] = ()
        if len(self.attributes) != len(self.sources):
            forgotten = self.attributes.keys() - self.sources.keys()
            for keyword in forgotten:
                del self.attributes[keyword]
        before, source = len(self.sources), (uid, character_set)
        if any(attributes[keyword] for keyword in attributes.keys() - self.attributes.keys()):  # seldom
            for keyword, value in attributes.items():
                if value and keyword not in self.attributes:
                    self.attributes[keyword], self.sources[keyword] = value, source
        if len(self.sources) != before:
            self.character_sets = tuple(dict.fromkeys(its for _, its in self.sources.values()))
        return bool(forgotten) or len(self.sources) != before or not before

    def forget(self, uid: str) -> set[str]:
        """Remove an object as a source. The next object that has its attributes replaces their values.

        Returns:
            The keywords of the attributes of which it was the source.
        """
        forgotten = {keyword for keyword, source in self.sources.items() if source[0] == uid}
        if forgotten:
            self.sources = {keyword: source for keyword, source in self.sources.items() if keyword not in forgotten}
        return forgotten


@dataclass(slots=True, eq=False, repr=False)
class Person:
    """One patient among those that share a Patient ID."""

    attributes: dict[str, Value]
    character_sets: tuple[CharacterSet, ...]
    studies: list[int]
    """Positions in the argument of `persons`."""


def persons(studies: Iterable[tuple[Mapping[str, Value], tuple[CharacterSet, ...]]]) -> list[Person]:
    """Separate the patients that share a Patient ID.

    Many hospitals have several patients with an ID such as "0" or "ANON". If no two studies contradict each other in
    name or birth date, they belong to one patient, and each attribute is taken from the first study that has it.
    Otherwise there is one patient for each name and birth date, so that no response mixes the attributes of two.

    Args:
        studies: The patient attributes of each study of the Patient ID, and the character sets of their text. They
            are in the order of their UIDs, so that the answers do not depend on which study came first.
    """
    listed = list(studies)
    keys = [(_name(attributes), _birth_date(attributes)) for attributes, _ in listed]
    if not _contradict(keys):
        keys = [((), "")] * len(listed)
    found: dict[tuple[tuple[str, ...], str], Person] = {}
    for position, (key, (attributes, character_sets)) in enumerate(zip(keys, listed, strict=True)):
        person = found.setdefault(key, Person({}, (), []))
        person.studies.append(position)
        person.character_sets = tuple(dict.fromkeys((*person.character_sets, *character_sets)))
        for keyword, value in attributes.items():
            person.attributes.setdefault(keyword, value)
    return list(found.values())


def _contradict(keys: list[tuple[tuple[str, ...], str]]) -> bool:
    names: list[str] = []
    birth_date = ""
    for name, date in keys:
        if date and birth_date and date != birth_date:
            return True
        birth_date = birth_date or date
        for position, group in enumerate(name):
            if position == len(names):
                names.append(group)
            elif group and names[position] and group != names[position]:
                return True
            else:
                names[position] = names[position] or group
    return False


def _name(attributes: Mapping[str, Value]) -> tuple[str, ...]:
    """Return the component groups of a name, case-folded and without trailing empty components (PS3.5 6.2.1)."""
    return name_groups(_text(attributes, "PatientName"))


def _birth_date(attributes: Mapping[str, Value]) -> str:
    text = _text(attributes, "PatientBirthDate")
    return normal_date(text) or text


def _text(attributes: Mapping[str, Value], keyword: str) -> str:
    value = attributes.get(keyword, ())
    return value[0] if value and isinstance(value[0], str) else ""
