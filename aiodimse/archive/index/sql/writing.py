"""Adds and removes objects in one transaction. Every function blocks, and runs in the thread that writes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from sqlalchemy import Table, bindparam, delete, exists, literal_column, select, update

from ...models import Level
from ..counters import StudyCounters
from ..keys import distinct_batches, patient_key
from ..records import File, Finding, Header, folder_of
from ..sourced import SourcedAttributes
from . import schema
from .outdated import mark
from .prepared import Opened, Prepared, PreparedList
from .rows import dump_attributes, dump_counters, dump_object, load_attributes, load_counters, terms

T = TypeVar("T")
_AT_ONCE = 500
"""How many values one statement has; databases limit this."""


def chunks(values: Iterable[T]) -> Iterable[list[T]]:
    """Yield the values in lists that fit into one statement."""
    left = list(values)
    for start in range(0, len(left), _AT_ONCE):
        yield left[start : start + _AT_ONCE]


@dataclass(slots=True, eq=False)
class _Study:
    pk: int
    patient_pk: int
    attributes: SourcedAttributes
    counters: StudyCounters
    told: str = ""
    """The attributes as the table has them."""
    are_counters_changed: bool = False
    """Whether the counters differ from those in the table."""
    are_attributes_changed: bool = False
    """Whether the attributes or terms differ from those in the tables."""


@dataclass(slots=True, eq=False)
class _Series:
    pk: int
    study_pk: int
    attributes: SourcedAttributes
    instances: int
    told: str = ""
    """The attributes as the table has them."""
    is_counter_changed: bool = False
    are_attributes_changed: bool = False
    """Whether the attributes differ from those in the table."""


class RowsAbove(NamedTuple):
    """The rows of the study and the series of an object."""

    study_pk: int
    study_told: str
    series_pk: int
    series_told: str


_BY_KEY = {
    table.name: Prepared(select(table).where(*(table.c[name] == bindparam(name) for name in names)))
    for table, names in (
        (schema.patient, ("patient_id", "issuer", "name")),
        (schema.study, ("patient_pk", "uid")),
        (schema.series, ("study_pk", "uid")),
    )
}
_SERIES_AND_ABOVE = Prepared(
    select(
        *(column.label(f"study_{column.name}") for column in schema.study.c),
        *(column.label(f"series_{column.name}") for column in schema.series.c),
    )
    .join_from(schema.series, schema.study)
    .join(schema.patient)
    .where(
        schema.series.c.uid == bindparam("series"),
        schema.study.c.uid == bindparam("study"),
        *(schema.patient.c[name] == bindparam(name) for name in ("patient_id", "issuer", "name")),
    )
)
_INSERT = {
    table.name: Prepared(table.insert(), [column.name for column in table.c if column.name != "pk"])
    for table in (schema.patient, schema.study, schema.series, schema.instance, schema.file, schema.term)
}
_ROW = {
    table.name: Prepared(select(table).where(table.c.pk == bindparam("of"))) for table in (schema.study, schema.series)
}
_DROP = {
    table.name: Prepared(delete(table).where(table.c.pk == bindparam("of")))
    for table in (schema.patient, schema.study, schema.series)
}
_DROP_TERMS = Prepared(delete(schema.term).where(schema.term.c.study_pk == bindparam("of")))
_DROP_FILES = PreparedList(delete(schema.file), schema.file.c.location)
_DROP_INSTANCES = PreparedList(delete(schema.instance), schema.instance.c.pk)
_HAS_STUDIES = Prepared(
    select(literal_column("1").label("one")).where(exists().where(schema.study.c.patient_pk == bindparam("of")))
)


def _update(table: Table, *names: str) -> Prepared:
    """Prepare an UPDATE of these columns in the row with the number `of`."""
    return Prepared(
        update(table).where(table.c.pk == bindparam("of")).values({name: bindparam(name) for name in names})
    )


_UPDATE_STUDY, _COUNT_STUDY = _update(schema.study, "told", "counters"), _update(schema.study, "counters")
_UPDATE_SERIES, _COUNT_SERIES = _update(schema.series, "told", "instances"), _update(schema.series, "instances")
_FILES_AT = PreparedList(
    select(schema.file.c.location, schema.file.c.uid, schema.file.c.finding), schema.file.c.location
)
_OBJECTS = PreparedList(
    select(
        schema.instance.c.pk,
        schema.instance.c.uid,
        schema.instance.c.series_pk,
        schema.instance.c.location,
        schema.instance.c.sop_class_uid,
    ).order_by(schema.instance.c.pk),
    schema.instance.c.uid,
)


class Writing:
    """The changes of a transaction. Each row is read once, and written once when all changes are known.

    Args:
        connection: A connection in a transaction; nobody else writes while that is open.
    """

    def __init__(self, connection: Opened) -> None:
        self._connection = connection
        self._studies: dict[int, _Study] = {}
        self._series: dict[int, _Series] = {}
        self._pks: dict[tuple[Any, ...], int] = {}
        """Row numbers by table and key."""
        self._instances: list[dict[str, Any]] = []
        self._files: list[dict[str, Any]] = []
        self._forgotten: list[tuple[_Study, _Study | _Series, set[str]]] = []
        """Studies and series of a study, and the attributes that lost their source."""

    # --- operations ---------------------------------------------------------------------------------------------------

    def add(self, headers: Sequence[Header], *, replaces: bool = True) -> None:
        """Add objects; no two of them have a UID or a location in common.

        Args:
            headers: The headers of the objects.
            replaces: Whether they replace objects with their UIDs or locations. If not, the database refuses an object
                that exists, and the transaction has failed.
        """
        if replaces:
            self._remove([header.location for header in headers], [header.unique(Level.IMAGE) for header in headers])
        for header in headers:
            self._add(header)
        self._flush()

    def note(self, files: Sequence[File]) -> None:
        """Store files that are not objects of the index."""
        files = list({file.location: file for file in files}.values())
        self._remove([file.location for file in files])
        self._files += [_file_row(file) for file in files]
        self._flush()

    def remove(self, locations: Sequence[str]) -> int:
        """Remove files and the objects in them. Return the number of objects."""
        removed = self._remove(locations)
        self._flush()
        return removed

    def above(self, header: Header) -> tuple[Set[str], RowsAbove]:
        """Return the study and the series of an object that was added in this transaction, as they are now.

        Returns:
            The attributes that they have, and their rows.
        """
        study = self._study_of(header, _patient_of(header))
        series, _ = self._series_of(study, header)
        keywords = study.attributes.attributes.keys() | series.attributes.attributes.keys()
        return keywords, RowsAbove(study.pk, study.told, series.pk, series.told)

    # --- adding -------------------------------------------------------------------------------------------------------

    def _add(self, header: Header) -> None:
        uid = header.unique(Level.IMAGE)
        row = {
            "series_pk": None if header.model else self._series_pk_of(header, uid),
            "model": header.model,
            "uid": uid,
            "sop_class_uid": header.text("SOPClassUID"),
            "transfer_syntax": header.transfer_syntax,
            "location": header.location,
            "told": dump_object(header.levels[Level.IMAGE], header.character_set),
        }
        self._instances.append(row)
        self._files.append(_file_row(File(header.location, header.size, header.modified, Finding.OBJECT, uid)))

    def _series_pk_of(self, header: Header, uid: str) -> int:
        """Return the series of a new image, with the attributes and counters updated."""
        patient = _patient_of(header)
        self._read_series(header, patient)
        study = self._study_of(header, patient)
        series, is_new = self._series_of(study, header)
        own = {**header.levels[Level.PATIENT], **header.levels[Level.STUDY]}
        if study.attributes.take(own, uid, header.character_set):
            study.are_attributes_changed = True
        if is_new:
            study.counters.count_series((), 1)
        before = series.attributes.attributes.get("Modality", ())
        if series.attributes.take(header.levels[Level.SERIES], uid, header.character_set):
            series.are_attributes_changed = True
            study.counters.count_modality(before, -1)
            study.counters.count_modality(series.attributes.attributes.get("Modality", ()), 1)
            study.are_attributes_changed = True  # the modalities are terms of the study
        study.counters.count_instance(header.text("SOPClassUID"), 1)
        series.instances += 1
        study.are_counters_changed = series.is_counter_changed = True
        return series.pk

    def _read_series(self, header: Header, patient: dict[str, str]) -> None:
        """Read the rows of the series, study and patient of an object in one query, if all of them exist."""
        name = (schema.patient.name, *patient.values())
        if name in self._pks:
            return
        uids = {"series": header.unique(Level.SERIES), "study": header.unique(Level.STUDY)}
        rows = _SERIES_AND_ABOVE.rows(self._connection, {**uids, **patient})
        if not rows:
            return
        row = rows[0]
        self._pks[name] = row.study_patient_pk
        self._pks[schema.study.name, row.study_patient_pk, uids["study"]] = row.study_pk
        self._pks[schema.series.name, row.study_pk, uids["series"]] = row.series_pk
        if row.study_pk not in self._studies:
            attributes, counters = load_attributes(row.study_told), load_counters(row.study_counters)
            self._studies[row.study_pk] = _Study(
                row.study_pk, row.study_patient_pk, attributes, counters, row.study_told
            )
        if row.series_pk not in self._series:
            attributes = load_attributes(row.series_told)
            self._series[row.series_pk] = _Series(
                row.series_pk, row.study_pk, attributes, row.series_instances, row.series_told
            )

    def _study_of(self, header: Header, patient: dict[str, str]) -> _Study:
        patient_pk, _ = self._entity(schema.patient, patient)
        key = {"patient_pk": patient_pk, "uid": header.unique(Level.STUDY)}
        pk, row = self._entity(schema.study, key, {"told": "", "counters": ""})
        if pk not in self._studies:
            new = _Study(pk, patient_pk, SourcedAttributes(), StudyCounters())
            self._studies[pk] = new if row is None else _loaded_study(row)
        return self._studies[pk]

    def _series_of(self, study: _Study, header: Header) -> tuple[_Series, bool]:
        key = {"study_pk": study.pk, "uid": header.unique(Level.SERIES)}
        pk, row = self._entity(schema.series, key, {"told": "", "instances": 0})
        is_new = pk not in self._series and row is None
        if pk not in self._series:
            self._series[pk] = _Series(pk, study.pk, SourcedAttributes(), 0) if row is None else _loaded_series(row)
        return self._series[pk], is_new

    def _entity(self, table: Table, key: dict[str, Any], rest: dict[str, Any] | None = None) -> tuple[int, Any]:
        """Return the number of the row with this key, and the row if it existed and is read for the first time."""
        name = (table.name, *key.values())
        if name in self._pks:
            return self._pks[name], None
        rows = _BY_KEY[table.name].rows(self._connection, key)
        if rows:
            self._pks[name] = rows[0].pk
            return rows[0].pk, rows[0]
        _INSERT[table.name].run(self._connection, [{**key, **(rest or {})}])
        self._pks[name] = _BY_KEY[table.name].rows(self._connection, key)[0].pk
        return self._pks[name], None

    def _study(self, pk: int) -> _Study:
        if pk not in self._studies:
            self._studies[pk] = _loaded_study(_ROW["study"].rows(self._connection, {"of": pk})[0])
        return self._studies[pk]

    def _one_series(self, pk: int) -> _Series:
        if pk not in self._series:
            self._series[pk] = _loaded_series(_ROW["series"].rows(self._connection, {"of": pk})[0])
        return self._series[pk]

    # --- removing -----------------------------------------------------------------------------------------------------

    def _remove(self, locations: Iterable[str], uids: Iterable[str] = ()) -> int:
        """Remove files and the objects in them, and objects and the files in which they are."""
        uids, known = set(uids), set[str]()
        for some in chunks(set(locations)):
            rows = _FILES_AT.rows(self._connection, some)
            known.update(row.location for row in rows)
            uids.update(row.uid for row in rows if row.finding == Finding.OBJECT.value)
        removed = 0
        for some in chunks(sorted(uids)):
            removed += self._remove_objects(some, known)
        for some in chunks(known):
            _DROP_FILES.run(self._connection, some)
        return removed

    def _remove_objects(self, uids: list[str], locations: set[str]) -> int:
        """Remove objects, and add their locations to the set. Return their number."""
        rows = _OBJECTS.rows(self._connection, uids)
        if rows:
            _DROP_INSTANCES.run(self._connection, [row.pk for row in rows])
        for row in rows:
            locations.add(row.location)
            if row.series_pk is not None:
                self._remove_from_series(row.uid, row.series_pk, row.sop_class_uid)
        return len(rows)

    def _remove_from_series(self, uid: str, series_pk: int, sop_class_uid: str) -> None:
        series = self._one_series(series_pk)
        study = self._study(series.study_pk)
        study.counters.count_instance(sop_class_uid, -1)
        series.instances -= 1
        study.are_counters_changed = series.is_counter_changed = True
        if series.instances:
            self._forget_source(study, series, uid)
        else:
            study.counters.count_series(series.attributes.attributes.get("Modality", ()), -1)
            study.are_attributes_changed = True
            self._drop(schema.series, series.pk)
            del self._series[series.pk]
        if study.counters.instances:
            self._forget_source(study, study, uid)
        else:
            _DROP_TERMS.run(self._connection, [{"of": study.pk}])
            self._drop(schema.study, study.pk)
            del self._studies[study.pk]
            if not _HAS_STUDIES.rows(self._connection, {"of": study.patient_pk}):
                self._drop(schema.patient, study.patient_pk)

    def _forget_source(self, study: _Study, entity: _Study | _Series, uid: str) -> None:
        """Forget that the attributes of a study, or of one of its series, come from an object."""
        if forgotten := entity.attributes.forget(uid):
            entity.are_attributes_changed = True
            self._forgotten.append((study, entity, forgotten))

    def _outdated(self) -> set[int]:
        """Return the studies with an attribute that lost its source and has no other one now."""
        there = {id(entity) for entities in (self._studies, self._series) for entity in entities.values()}
        return {
            study.pk
            for study, entity, forgotten in self._forgotten
            if id(entity) in there and forgotten - entity.attributes.sources.keys()
        }

    def _drop(self, table: Table, pk: int) -> None:
        _DROP[table.name].run(self._connection, [{"of": pk}])
        self._pks.clear()

    # --- writing ------------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        for study in self._studies.values():
            if not (study.are_attributes_changed or study.are_counters_changed):
                continue
            row = {"of": study.pk, "counters": dump_counters(study.counters)}
            if study.are_attributes_changed:
                study.told = dump_attributes(study.attributes)
                _UPDATE_STUDY.run(self._connection, [{**row, "told": study.told}])
                self._write_terms(study)
            else:
                _COUNT_STUDY.run(self._connection, [row])
            study.are_counters_changed = study.are_attributes_changed = False
        for series in self._series.values():
            row = {"of": series.pk, "instances": series.instances}
            if series.are_attributes_changed:
                series.told = dump_attributes(series.attributes)
                _UPDATE_SERIES.run(self._connection, [{**row, "told": series.told}])
            elif series.is_counter_changed:
                _COUNT_SERIES.run(self._connection, [row])
            series.is_counter_changed = series.are_attributes_changed = False
        _INSERT["instance"].run(self._connection, self._instances)
        _INSERT["file"].run(self._connection, self._files)
        self._instances, self._files = [], []
        if self._forgotten:
            mark(self._connection, self._outdated())
            self._forgotten = []

    def _write_terms(self, study: _Study) -> None:
        _DROP_TERMS.run(self._connection, [{"of": study.pk}])
        rows = [
            {"study_pk": study.pk, "kind": int(kind), "value": value}
            for kind, value in sorted(set(terms(study.attributes, study.counters)))
        ]
        _INSERT["term"].run(self._connection, rows)


def add(connection: Opened, headers: Iterable[Header]) -> None:
    """Add objects in their order; several of them may have the same UID or location."""
    for batch in distinct_batches(headers):
        Writing(connection).add(batch)


def _patient_of(header: Header) -> dict[str, str]:
    patient_id, issuer, *name = patient_key(header)
    return {"patient_id": patient_id, "issuer": issuer, "name": name[0] if name else ""}


def _loaded_study(row: Any) -> _Study:
    return _Study(row.pk, row.patient_pk, load_attributes(row.told), load_counters(row.counters), row.told)


def _loaded_series(row: Any) -> _Series:
    return _Series(row.pk, row.study_pk, load_attributes(row.told), row.instances, row.told)


def _file_row(file: File) -> dict[str, Any]:
    return {
        "location": file.location,
        "folder": folder_of(file.location),
        "size": file.size,
        "modified": file.modified,
        "finding": file.finding.value,
        "uid": file.sop_instance_uid,
    }
