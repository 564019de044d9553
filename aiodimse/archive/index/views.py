"""What a query is matched against: the attributes of an entity and of those above it. All indexes share this."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from ..matching import Attributes, Value
from ..models import COMPUTED, LEVEL_OF, Level
from ..queries import Query
from .counters import StudyCounters
from .records import CharacterSet, Match
from .sourced import SourcedAttributes


class View(Mapping[str, Value]):
    """The attributes of an entity and of those above it."""

    __slots__ = ()

    def character_sets(self, asked: Iterable[str]) -> tuple[CharacterSet, ...]:
        """Return the character sets of the objects from which these attributes come."""
        raise NotImplementedError

    def match(self, asked: Iterable[str]) -> Match:
        """Return what the response to a query says about this entity."""
        return Match({keyword: self.get(keyword, ()) for keyword in asked}, self.character_sets(asked))


class PersonView(View):
    """The attributes of a patient: see `sourced.persons`."""

    __slots__ = ("_attributes", "_character_sets")

    def __init__(self, attributes: Attributes, character_sets: tuple[CharacterSet, ...]) -> None:
        self._attributes, self._character_sets = attributes, character_sets

    def __getitem__(self, keyword: str) -> Value:
        return self._attributes[keyword]

    def __iter__(self) -> Iterator[str]:
        return iter(self._attributes)

    def __len__(self) -> int:
        return len(self._attributes)

    def character_sets(self, asked: Iterable[str]) -> tuple[CharacterSet, ...]:
        """Return the character sets of the objects from which these attributes come."""
        return self._character_sets


class EntityView(View):
    """The attributes of a study, series or image. They are looked up when they are needed.

    Args:
        by_level: The attributes of each level from STUDY to that of the entity.
        counters: The counts of the study.
        instances: The number of instances of the series.
        patient_counts: Returns the counted attributes of the PATIENT level.
    """

    __slots__ = ("_by_level", "_counters", "_instances", "_patient_counts")

    def __init__(
        self,
        by_level: Mapping[Level, SourcedAttributes],
        counters: StudyCounters | None,
        instances: int,
        patient_counts: Callable[[], Mapping[str, Value]],
    ) -> None:
        # A study has the patient attributes of its own objects, not those of the whole patient.
        self._by_level = {**by_level, Level.PATIENT: by_level[Level.STUDY]} if Level.STUDY in by_level else by_level
        self._counters, self._instances, self._patient_counts = counters, instances, patient_counts

    def __getitem__(self, keyword: str) -> Value:
        level = LEVEL_OF[keyword]
        if keyword not in COMPUTED:
            return self._by_level[level].attributes[keyword]
        if level == Level.PATIENT:
            return self._patient_counts()[keyword]
        if level == Level.STUDY and self._counters is not None:
            return self._counters.value(keyword)
        return (str(self._instances),)

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(keyword for each in self._by_level.values() for keyword in each.attributes))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def character_sets(self, asked: Iterable[str]) -> tuple[CharacterSet, ...]:
        """Return the character sets of the objects from which these attributes come."""
        found = (self._by_level[level] for level in dict.fromkeys(LEVEL_OF[keyword] for keyword in asked))
        return tuple(dict.fromkeys(each for sourced in found for each in sourced.character_sets)) or ((),)


def keywords_of(query: Query) -> list[str]:
    """Return the keywords of the attributes that a match has."""
    keywords = (*(key.keyword for key in query.keys), *query.extra)
    return [keyword for keyword in keywords if query.one_level is not None or keyword in LEVEL_OF]


def of_patient(attributes: Attributes) -> dict[str, Value]:
    """Return the patient attributes of a study."""
    return {keyword: value for keyword, value in attributes.items() if LEVEL_OF[keyword] == Level.PATIENT}
