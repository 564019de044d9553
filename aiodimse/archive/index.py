"""What the archive knows: a small interface that a database can implement, and an index in memory.

The interface speaks of headers (what was read from an object), queries (a checked Identifier, `models.Query`) and
matches, all in decoded text; it is asynchronous, so that a database can wait for its answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Protocol

from .matching import Attributes, Value, matcher
from .models import COMPUTED, LEVEL_OF, UNIQUE, Level, Query

_AT_ONCE = 0.005
"""Seconds that a search may take before the event loop has its turn."""

CharacterSet = tuple[str, ...]
"""The values of Specific Character Set (0008,0005); () is the default repertoire."""


@dataclass(frozen=True, slots=True)
class Header:
    """What is kept of one object."""

    path: Path
    levels: Mapping[Level, dict[str, Value]] = field(repr=False)
    """For each level the attributes that the object has, as text."""
    character_set: CharacterSet = ()

    def unique(self, level: Level) -> str:
        values = self.levels[level].get(UNIQUE[level], ())
        return values[0] if values and isinstance(values[0], str) else ""


@dataclass(frozen=True, slots=True)
class Match:
    """One entity that a query found: the values of the keys asked for, and the character sets that they came in."""

    attributes: Attributes = field(repr=False)
    character_sets: tuple[CharacterSet, ...] = ((),)


@dataclass(frozen=True, slots=True)
class Counts:
    """How much an index holds."""

    patients: int
    studies: int
    series: int
    instances: int


class Index(Protocol):
    """What a provider asks of an index. Implement this over a database to serve from one."""

    async def add(self, header: Header) -> None:
        """Add an object, in the place of one with the same SOP Instance UID."""

    async def remove(self, sop_instance_uid: str) -> bool:
        """Forget an object; its series, study and patient go with their last one. False when it was not there."""

    def find(self, query: Query) -> AsyncGenerator[Match, None]:
        """The entities at the level of the query that match it, those of `models.COMPUTED` counted."""

    async def paths(self, query: Query) -> list[Path]:
        """The files of all objects at and below the entities that the unique keys of the query name."""

    async def counts(self) -> Counts:
        """How much there is."""


@dataclass(slots=True, eq=False, repr=False)
class _Entity:
    """A patient, study, series or image, and what is below it."""

    level: Level
    key: tuple[str, ...]
    parent: _Entity | None
    attributes: dict[str, Value]
    character_sets: tuple[CharacterSet, ...]
    children: dict[tuple[str, ...], _Entity] = field(default_factory=dict)
    tellers: dict[str, tuple[str, CharacterSet]] = field(default_factory=dict)
    """Which object told an attribute, and in what character set. Of an image there is but one."""
    path: Path | None = None

    def below(self, level: Level) -> Iterator[_Entity]:
        """This entity, or what it has at a level below."""
        if self.level == level:
            yield self
        else:
            for child in self.children.values():
                yield from child.below(level)

    def take(self, attributes: Mapping[str, Value], uid: str, character_set: CharacterSet) -> None:
        """Fill what no object of this entity has told so far: the first that tells a thing is believed, until it goes
        or comes again. What it told then stands until the next object comes."""
        told = len(self.tellers)
        for keyword in self.attributes.keys() - self.tellers.keys():
            del self.attributes[keyword]
        teller = uid, character_set
        for keyword, value in attributes.items():
            if value and keyword not in self.attributes:
                self.attributes[keyword], self.tellers[keyword] = value, teller
        if len(self.tellers) != told:
            self.character_sets = tuple(dict.fromkeys(its for _, its in self.tellers.values()))

    def forget(self, uid: str) -> None:
        """Take from now on what the object told for hearsay."""
        self.tellers = {keyword: teller for keyword, teller in self.tellers.items() if teller[0] != uid}


class MemoryIndex:
    """An index in memory: the tree of patients, studies, series and images, and a dictionary of UIDs for each level.

    A series that two studies claim, or a study that two patients claim, is kept as two: an answer about one patient
    never holds images of another. Objects without a Patient ID are found in the Study Root model, and at the PATIENT
    level as one patient for each name; there is no way to retrieve such a patient as a whole.

    100,000 objects take about 250 MB. Use it from one event loop.
    """

    def __init__(self) -> None:
        self._patients: dict[tuple[str, ...], _Entity] = {}
        self._by_uid: dict[Level, dict[str, tuple[_Entity, ...]]] = {level: {} for level in Level}

    async def add(self, header: Header) -> None:
        self.add_now(header)

    def add_now(self, header: Header) -> None:
        """What `add` does, without waiting."""
        uid = header.unique(Level.IMAGE)
        self._remove(uid)
        patient: tuple[str, ...] = (header.unique(Level.PATIENT), _text(header, "IssuerOfPatientID"))
        if not patient[0]:
            patient += (_text(header, "PatientName"),)
        entity: _Entity | None = None
        for level in Level:
            siblings = self._patients if entity is None else entity.children
            key = patient if level == Level.PATIENT else (header.unique(level),)
            known = siblings.get(key)
            if known is None:
                known = siblings[key] = _Entity(level, key, entity, {}, (header.character_set,))
                if key[0]:
                    self._by_uid[level][key[0]] = (*self._by_uid[level].get(key[0], ()), known)
            if level != Level.IMAGE:
                known.take(header.levels[level], uid, header.character_set)
            entity = known
        assert entity is not None
        entity.attributes, entity.path = dict(header.levels[Level.IMAGE]), header.path

    async def remove(self, sop_instance_uid: str) -> bool:
        return self._remove(sop_instance_uid)

    async def find(self, query: Query) -> AsyncGenerator[Match, None]:
        matches = matcher(query.tests, query.rules)
        asked = [key.keyword for key in query.keys if key.keyword in LEVEL_OF]
        levels = {LEVEL_OF[keyword] for keyword in asked}
        until = monotonic() + _AT_ONCE
        for entity in self._candidates(query):
            if monotonic() > until:
                await asyncio.sleep(0)
                until = monotonic() + _AT_ONCE
            view = _View(entity)
            if matches(view):
                sets = dict.fromkeys(each for level in levels for each in view.at[level].character_sets)
                yield Match({keyword: view.get(keyword, ()) for keyword in asked}, tuple(sets) or ((),))

    async def paths(self, query: Query) -> list[Path]:
        found = (image for entity in self._candidates(query) for image in entity.below(Level.IMAGE))
        return [image.path for image in found if image.path is not None]

    async def counts(self) -> Counts:
        series = [entity for entities in self._by_uid[Level.SERIES].values() for entity in entities]
        return Counts(
            len(self._patients),
            sum(len(patient.children) for patient in self._patients.values()),
            len(series),
            len(self._by_uid[Level.IMAGE]),
        )

    def _candidates(self, query: Query) -> list[_Entity]:
        """The entities at the level of the query that its unique keys allow; a copy, for objects come and go.

        The lowest unique key that is given says where to start, the others are looked up above.
        """
        lowest = max(query.unique, default=None)
        if lowest is None:
            found = [entity for patient in self._patients.values() for entity in patient.below(query.level)]
        else:
            starts = [each for uid in dict.fromkeys(query.unique[lowest]) for each in self._by_uid[lowest].get(uid, ())]
            found = [entity for each in starts for entity in each.below(query.level)]
        wanted = [(level, frozenset(values)) for level, values in query.unique.items() if level != lowest]
        if not wanted:
            return found
        return [each for each in found if all(_View(each).at[level].key[0] in values for level, values in wanted)]

    def _remove(self, sop_instance_uid: str) -> bool:
        images = self._by_uid[Level.IMAGE].get(sop_instance_uid, ())
        for image in images:
            entity: _Entity | None = image
            while entity is not None:
                if entity.children:
                    entity.forget(sop_instance_uid)
                else:
                    self._drop(entity)
                entity = entity.parent
        return bool(images)

    def _drop(self, entity: _Entity) -> None:
        siblings = self._patients if entity.parent is None else entity.parent.children
        del siblings[entity.key]
        by_uid, uid = self._by_uid[entity.level], entity.key[0]
        rest = tuple(each for each in by_uid.get(uid, ()) if each is not entity)
        if rest:
            by_uid[uid] = rest
        else:
            by_uid.pop(uid, None)


class _View(Mapping[str, Value]):
    """The attributes of an entity and of those above it, counted ones included, looked up when asked for."""

    __slots__ = ("at",)

    def __init__(self, entity: _Entity) -> None:
        self.at: dict[Level, _Entity] = {}
        above: _Entity | None = entity
        while above is not None:
            self.at[above.level] = above
            above = above.parent

    def __getitem__(self, keyword: str) -> Value:
        level = LEVEL_OF[keyword]
        entity = self.at[level]
        return _computed(keyword, entity) if keyword in COMPUTED else entity.attributes[keyword]

    def __iter__(self) -> Iterator[str]:
        return (keyword for level in self.at for keyword in self.at[level].attributes)

    def __len__(self) -> int:
        return sum(len(entity.attributes) for entity in self.at.values())


def _computed(keyword: str, entity: _Entity) -> tuple[str, ...]:
    """The attributes of PS3.4 Table C.3-1."""
    if keyword == "ModalitiesInStudy":
        return _distinct(entity, Level.SERIES, "Modality")
    if keyword == "SOPClassesInStudy":
        return _distinct(entity, Level.IMAGE, "SOPClassUID")
    if keyword.endswith("RelatedInstances"):
        return (str(sum(len(series.children) for series in entity.below(Level.SERIES))),)
    level = Level.STUDY if keyword.endswith("RelatedStudies") else Level.SERIES
    return (str(sum(1 for _ in entity.below(level))),)


def _distinct(entity: _Entity, level: Level, keyword: str) -> tuple[str, ...]:
    values = (each.attributes.get(keyword, ()) for each in entity.below(level))
    return tuple(dict.fromkeys(text for value in values for text in value if isinstance(text, str) and text))


def _text(header: Header, keyword: str) -> str:
    value = header.levels[LEVEL_OF[keyword]].get(keyword, ())
    return value[0] if value and isinstance(value[0], str) else ""
