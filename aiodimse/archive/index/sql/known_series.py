"""Adds objects to series that were written a moment ago, with one statement of SQLite.

Most objects are of a series of which another one has just been added, and they say nothing new of patient, study and
series. Such an object changes nothing above itself but numbers, and these the database counts, so that nothing has to
be read first, and it does not matter what other processes have counted meanwhile. A trigger does all that belongs to
one object: a thread gives up the interpreter several times in each call of the driver, and then waits for it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence, Set
from itertools import chain
from typing import Any, Final, NamedTuple

from ...matching import Value
from ...models import Level
from ..keys import patient_key
from ..records import Finding, Header, folder_of
from .rows import dump_object
from .schema import is_plain
from .writing import RowsAbove, Writing

_MOST: Final = 256
"""The most series that are remembered."""
_AT_ONCE: Final = 64
"""The most objects in one statement: SQLite before 3.32 has room for 999 values."""
_ABOVE: Final = (Level.PATIENT, Level.STUDY, Level.SERIES)

_COLUMNS: Final = (
    *RowsAbove._fields,
    *("uid", "sop_class_uid", "transfer_syntax", "location", "told", "folder", "size", "modified"),
)
_OF_CLASS: Final = """'$[3]."' || NEW.sop_class_uid || '"'"""
"""Where the counters of a study have the number of objects of this SOP class; see `dump_counters`."""
_PREPARE: Final = (
    "PRAGMA temp_store = MEMORY",  # where this connection alone has the view and its trigger
    f"CREATE TEMP VIEW IF NOT EXISTS arriving AS SELECT {', '.join(f'NULL AS {name}' for name in _COLUMNS)}",
    f"""
    CREATE TEMP TRIGGER IF NOT EXISTS arrive INSTEAD OF INSERT ON arriving BEGIN
        SELECT RAISE(ABORT, 'the study or series is not as it was') WHERE NOT EXISTS (
            SELECT 1 FROM series JOIN study ON study.pk = series.study_pk
            WHERE series.pk = NEW.series_pk AND series.told = NEW.series_told
            AND study.pk = NEW.study_pk AND study.told = NEW.study_told
            AND json_extract(study.counters, {_OF_CLASS}) > 0
        );
        UPDATE study SET counters = json_set(
            counters,
            '$[1]', json_extract(counters, '$[1]') + 1,
            {_OF_CLASS}, json_extract(counters, {_OF_CLASS}) + 1
        ) WHERE pk = NEW.study_pk;
        UPDATE series SET instances = instances + 1 WHERE pk = NEW.series_pk;
        INSERT INTO instance (series_pk, model, uid, sop_class_uid, transfer_syntax, location, told)
        VALUES (NEW.series_pk, '', NEW.uid, NEW.sop_class_uid, NEW.transfer_syntax, NEW.location, NEW.told);
        INSERT INTO file (location, folder, size, modified, finding, uid)
        VALUES (NEW.location, NEW.folder, NEW.size, NEW.modified, '{Finding.OBJECT.value}', NEW.uid);
    END
    """,
)
_ROW: Final = f"({', '.join('?' for _ in _COLUMNS)})"


class _Series(NamedTuple):
    """A series as it was written."""

    identity: tuple[str, ...]
    above: tuple[Mapping[str, Value] | None, ...]
    """What an object says of patient, study and series that tells nothing new: most others say the same."""
    keywords: Set[str]
    """The attributes that the rows have."""
    rows: RowsAbove

    def has(self, header: Header) -> bool:
        """Return whether an object of the series has no attribute that the rows lack. Their values stay as they are;
        see `SourcedAttributes`."""
        told = (header.levels[level].items() for level in _ABOVE)
        return self.identity == _identity(header) and all(
            keyword in self.keywords for items in told for keyword, value in items if value
        )


def _identity(header: Header) -> tuple[str, ...]:
    return (*patient_key(header), header.unique(Level.STUDY), header.unique(Level.SERIES))


class KnownSeries:
    """The series that were written a moment ago."""

    def __init__(self) -> None:
        self._series: dict[str, _Series] = {}
        """By Series Instance UID."""
        self._is_prepared = False

    def prepare(self, cursor: Any) -> None:
        """Prepare a connection for `add`, where SQLite has the functions for JSON: one before 3.38 may lack them."""
        self._is_prepared = False
        try:
            cursor.execute("""SELECT json_set('[1]', '$[0]', 2)""")
        except sqlite3.OperationalError:
            return
        for statement in _PREPARE:
            cursor.execute(statement)
        self._is_prepared = True

    def learn(self, headers: Sequence[Header], written: Writing) -> None:
        """Remember the series of objects that were added.

        Args:
            headers: The objects.
            written: The transaction that added them, and removed nothing.
        """
        for header in headers if self._is_prepared else ():
            if header.model:  # one that belongs to no series
                continue
            if len(self._series) >= _MOST:
                self._series.clear()
            above, (keywords, rows) = tuple(map(header.levels.get, _ABOVE)), written.above(header)
            self._series[header.unique(Level.SERIES)] = _Series(_identity(header), above, keywords, rows)

    def forget(self, headers: Sequence[Header]) -> None:
        """Forget the series of some objects."""
        for header in headers:
            self._series.pop(header.unique(Level.SERIES), None)

    def add(self, cursor: Any, headers: Sequence[Header]) -> bool:
        """Add objects in one transaction, if all of them are of series that are known. Blocks.

        Args:
            cursor: Of a connection that is prepared, and in no transaction.
            headers: The objects.

        Returns:
            Whether they were added.

        Raises:
            sqlite3.IntegrityError: One of them is there already, or a study or series is not as it was.
        """
        if len(headers) > _AT_ONCE:
            return False
        rows = []
        for header in headers:
            row = self._row(header)
            if row is None:
                return False
            rows.append(row)
        cursor.execute(f"INSERT INTO arriving VALUES {', '.join([_ROW] * len(rows))}", [*chain.from_iterable(rows)])
        return True

    def _row(self, header: Header) -> tuple[Any, ...] | None:
        """Return what is inserted for an object; None if more than numbers may change above it, or a text is odd."""
        levels = header.levels
        series = self._series.get(header.unique(Level.SERIES))
        if series is None or (series.above != tuple(map(levels.get, _ABOVE)) and not series.has(header)):
            return None
        uid, sop_class_uid, location = header.unique(Level.IMAGE), header.text("SOPClassUID"), header.location
        is_number = sop_class_uid.replace(".", "").isdigit()  # Only such a one may be in a path of JSON.
        if not is_number or not is_plain("".join((uid, sop_class_uid, header.transfer_syntax, location))):
            return None
        return (
            *series.rows,
            *(uid, sop_class_uid, header.transfer_syntax, location),
            *(dump_object(levels[Level.IMAGE], header.character_set), folder_of(location)),
            *(header.size, header.modified),
        )
