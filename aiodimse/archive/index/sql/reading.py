"""Searching the tables.

Each query reads from one table by one index, a limited number of rows at a time, in a transaction of its own. So no
search keeps a transaction open while it waits for a slow peer. Functions and iterators block, and run in a reading
thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Row, Select, Table, bindparam, func, select

from ...matching import Value, matcher
from ...models import COMPUTED, LEVEL_OF, Level
from ...one_level import OneLevelModel
from ...queries import Query
from ..counters import StudyCounters, patient_counts
from ..records import Entry, Match
from ..sourced import SourcedAttributes, persons
from ..views import EntityView, PersonView, keywords_of, of_patient
from . import schema
from .narrowing import Studies, patient_condition, studies_by_key
from .prepared import Opened, Prepared, PreparedList
from .rows import load_attributes, load_counters
from .writing import chunks

Fetch: TypeAlias = Callable[[Select[Any]], Sequence[Row[Any]]]
"""Runs one query."""

_AT_ONCE = 256
"""The largest number of rows of one query."""
_FEW = 64
"""Fewer studies than this are few: they are matched in 2 ms."""

TABLES: Mapping[Level, Table] = {
    Level.PATIENT: schema.patient,
    Level.STUDY: schema.study,
    Level.SERIES: schema.series,
    Level.IMAGE: schema.instance,
}
_PARENTS = {Level.STUDY: "patient_pk", Level.SERIES: "study_pk", Level.IMAGE: "series_pk"}
_UNIQUE = {Level.PATIENT: "patient_id", Level.STUDY: "uid", Level.SERIES: "uid", Level.IMAGE: "uid"}

Path: TypeAlias = dict[Level, Any]
"""The rows of an entity and of the entities above it."""


class Walk:
    """Visits the entities that the unique keys and the narrowing conditions of a query allow."""

    def __init__(self, fetch: Fetch, query: Query) -> None:
        self._fetch, self._query = fetch, query
        self._wanted = {level: frozenset(values) for level, values in query.unique.items()}
        self._left = studies_by_key(query.tests, query.rules)
        self._of_patient = patient_condition(query.tests, query.rules)

    def paths(self, level: Level) -> Iterator[Path]:
        """Yield the entities at a level. At the PATIENT level these are patients with a study that may match."""
        start = max(self._wanted, default=None)
        if start is None:
            starts = self._all_patients() if level == Level.PATIENT else self._all_studies()
        else:
            starts = self._named(start)
        for path in starts:
            yield from self._down(path, level)

    def _named(self, start: Level) -> Iterator[Path]:
        """Yield the entities that the lowest unique key names, in the order of its values."""
        table = TABLES[start]
        column = table.c[_UNIQUE[start]]
        for some in chunks(dict.fromkeys(self._query.unique[start])):
            rows: dict[str, list[Any]] = {uid: [] for uid in some}
            for row in self._fetch(select(table).where(column.in_(some)).order_by(table.c.pk)):
                rows[getattr(row, _UNIQUE[start])].append(row)
            paths: list[Path] = [{start: row} for uid in some for row in rows[uid]]
            for above in reversed(Level):
                if above < start:
                    self._up(paths, above)
            yield from (path for path in paths if self._is_wanted(path))

    def _up(self, paths: list[Path], level: Level) -> None:
        """Add the rows of the level above to the paths."""
        table, below = TABLES[level], Level(level + 1)
        pks = dict.fromkeys(getattr(path[below], _PARENTS[below]) for path in paths)
        rows = {}
        for some in chunks(pks):
            rows.update({row.pk: row for row in self._fetch(select(table).where(table.c.pk.in_(some)))})
        for path in paths:
            path[level] = rows.get(getattr(path[below], _PARENTS[below]))  # None: it was removed meanwhile
        paths[:] = [path for path in paths if path[level] is not None]

    def _is_wanted(self, path: Path) -> bool:
        return all(
            getattr(path[level], _UNIQUE[level]) in values for level, values in self._wanted.items() if level in path
        )

    def _all_patients(self) -> Iterator[Path]:
        table = schema.patient
        where: list[ColumnElement[bool]] = [] if self._of_patient is None else [self._of_patient]
        in_study = schema.study.c.pk.in_
        where += [table.c.pk.in_(select(schema.study.c.patient_pk).where(in_study(each))) for each in self._left]
        for rows in self._pages(table, where):
            yield from ({Level.PATIENT: row} for row in rows)

    def _all_studies(self) -> Iterator[Path]:
        table = schema.study
        where: list[ColumnElement[bool]] = [table.c.pk.in_(each) for each in self._fewest()]
        if self._of_patient is not None:
            where.append(table.c.patient_pk.in_(select(schema.patient.c.pk).where(self._of_patient)))
        if self._query.begin:
            first = select(func.min(table.c.pk)).where(table.c.uid == self._query.begin)
            where.append(table.c.pk >= first.scalar_subquery())  # of none where there is no such study
        for rows in self._pages(table, where):
            paths: list[Path] = [{Level.STUDY: row} for row in rows]
            self._up(paths, Level.PATIENT)
            yield from paths

    def _fewest(self) -> Iterable[Studies | Sequence[int]]:
        """Return the studies that each key leaves, or only those of a key that leaves few.

        SQLite makes a list of all studies that a key leaves, a range of dates for example, however few another key has
        left. To match a few studies takes less time than to make a list of many.
        """
        if len(self._left) > 1:
            for each in self._left:
                pks = [row.study_pk for row in self._fetch(each.limit(_FEW))]
                if len(pks) < _FEW:
                    return [pks]
        return self._left

    def _down(self, path: Path, level: Level) -> Iterator[Path]:
        lowest = max(path)
        if lowest >= level:
            yield path
            return
        below = Level(lowest + 1)
        table = TABLES[below]
        for rows in self._pages(table, [table.c[_PARENTS[below]] == path[lowest].pk]):
            for row in rows:
                if getattr(row, _UNIQUE[below]) in self._wanted.get(below, (getattr(row, _UNIQUE[below]),)):
                    yield from self._down({**path, below: row}, level)

    def _pages(self, table: Table, where: Iterable[ColumnElement[bool]]) -> Iterator[Sequence[Row[Any]]]:
        query, after = select(table).where(*where).order_by(table.c.pk).limit(_AT_ONCE), 0
        while rows := self._fetch(query.where(table.c.pk > after)):
            yield rows
            if len(rows) < _AT_ONCE:
                return
            after = rows[-1].pk


class Search:
    """One C-FIND over the tables."""

    def __init__(self, fetch: Fetch, query: Query) -> None:
        self._fetch, self._query = fetch, query
        self._walk = Walk(fetch, query)
        self._keywords = keywords_of(query)
        needed = {LEVEL_OF[keyword] for keyword in self._keywords if keyword in LEVEL_OF}
        # Patient attributes are stored with the study.
        self._needed = {max(level, Level.STUDY) for level in needed}
        self._counted = {LEVEL_OF[keyword] for keyword in self._keywords if keyword in COMPUTED}
        self._counts: dict[int, dict[int, Mapping[str, Value]]] = {}
        self._last: dict[Level, tuple[int, SourcedAttributes]] = {}
        self._counters: tuple[int, StudyCounters] = (0, StudyCounters())

    def matches(self) -> Iterator[Match | None]:
        """Yield the matches, and None for each entity that does not match."""
        matches = matcher(self._query.tests, self._query.rules)
        if self._query.one_level is not None:
            for row in of_model(self._fetch, self._query, self._query.one_level):
                sourced = load_attributes(row.told)
                view = PersonView(sourced.attributes, sourced.character_sets)
                yield view.match(self._keywords) if matches(view) else None
            return
        for path in self._walk.paths(self._query.level):
            if self._query.level == Level.PATIENT:
                for view, _ in self._persons(path[Level.PATIENT].pk):
                    yield view.match(self._keywords) if matches(view) else None
            else:
                entity = self._view(path)
                yield entity.match(self._keywords) if matches(entity) else None

    def _view(self, path: Path) -> EntityView:
        by_level = {level: self._attributes_of(level, row) for level, row in path.items() if level in self._needed}
        study = path[Level.STUDY]
        if Level.STUDY in self._counted and self._counters[0] != study.pk:
            self._counters = (study.pk, load_counters(study.counters))
        instances = path[Level.SERIES].instances if Level.SERIES in path else 0
        return EntityView(by_level, self._counters[1], instances, lambda: self._patient_counts(study))

    def _attributes_of(self, level: Level, row: Any) -> SourcedAttributes:
        """Return the attributes of a row. Those of the last study and series are cached for the entities below."""
        if level not in self._last or self._last[level][0] != row.pk:
            self._last[level] = (row.pk, load_attributes(row.told))
        return self._last[level][1]

    def _patient_counts(self, study: Any) -> Mapping[str, Value]:
        if study.pk not in self._counts.get(study.patient_pk, ()):
            found = self._persons(study.patient_pk)
            self._counts[study.patient_pk] = {pk: view for view, studies in found for pk in studies}
        return self._counts[study.patient_pk].get(study.pk, {})

    def _persons(self, patient_pk: int) -> list[tuple[PersonView, list[int]]]:
        """Return the patients of one Patient ID, each with the keys of its studies."""
        table = schema.study
        rows = sorted(self._fetch(select(table).where(table.c.patient_pk == patient_pk)), key=lambda row: str(row.uid))
        studies = [load_attributes(row.told) for row in rows]
        found = []
        for person in persons((of_patient(each.attributes), each.character_sets) for each in studies):
            own = [rows[position] for position in person.studies]
            counters = [load_counters(row.counters) for row in own]
            counted = patient_counts((each.series, each.instances) for each in counters)
            view = PersonView({**person.attributes, **counted}, person.character_sets)
            found.append((view, [row.pk for row in own]))
        return found


def of_model(fetch: Fetch, query: Query, model: OneLevelModel) -> Iterator[Any]:
    """Yield the rows of the objects of a one-level model that its unique key allows."""
    table = schema.instance
    if Level.IMAGE in query.unique:
        for some in chunks(dict.fromkeys(query.unique[Level.IMAGE])):
            yield from fetch(select(table).where(table.c.uid.in_(some), table.c.model == model.name))
        return
    page, after = select(table).where(table.c.model == model.name).order_by(table.c.pk).limit(_AT_ONCE), 0
    while rows := fetch(page.where(table.c.pk > after)):
        yield from rows
        after = rows[-1].pk


_OBJECTS = (
    select(
        schema.instance.c.uid,
        schema.instance.c.sop_class_uid,
        schema.study.c.uid.label("study_uid"),
        schema.series.c.uid.label("series_uid"),
        schema.patient.c.patient_id,
        schema.instance.c.transfer_syntax,
        schema.instance.c.location,
    )
    .select_from(schema.instance)
    .outerjoin(schema.series)
    .outerjoin(schema.study)
    .outerjoin(schema.patient)
)
_BY_UIDS = PreparedList(_OBJECTS, schema.instance.c.uid)
_BY_UID = Prepared(_OBJECTS.where(schema.instance.c.uid == bindparam("uid")))


def lookup_one(connection: Opened, uid: str) -> Entry | None:
    """Return the object with this SOP Instance UID. See `lookup`."""
    rows = _BY_UID.rows(connection, {"uid": uid})
    return _entry_of(rows[0]) if rows else None


def lookup(connection: Opened, uids: Iterable[str]) -> dict[str, Entry]:
    """Return the objects with these SOP Instance UIDs, including those that belong to no study."""
    rows = (row for some in chunks(dict.fromkeys(uids)) for row in _BY_UIDS.rows(connection, some))
    return {row.uid: _entry_of(row) for row in rows}


def _entry_of(row: Any) -> Entry:
    return Entry(*(value or "" for value in row))


def _entry_alone(row: Any) -> Entry:
    return Entry(row.uid, row.sop_class_uid, "", "", "", row.transfer_syntax, row.location)


def entries(fetch: Fetch, query: Query) -> Iterator[Entry]:
    """Yield the objects at and below the entities that the unique keys name."""
    if query.one_level is not None:
        yield from map(_entry_alone, of_model(fetch, query, query.one_level))
        return
    for path in Walk(fetch, replace(query, keys=(), begin="")).paths(Level.IMAGE):  # no other key counts
        yield entry(path)


def entry(path: Path) -> Entry:
    """Return the entry of one object."""
    image = path[Level.IMAGE]
    return Entry(
        image.uid,
        image.sop_class_uid,
        path[Level.STUDY].uid,
        path[Level.SERIES].uid,
        path[Level.PATIENT].patient_id,
        image.transfer_syntax,
        image.location,
    )
