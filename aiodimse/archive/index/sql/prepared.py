"""Statements that are run again and again: SQLAlchemy writes them once for each database, and its driver runs them.

SQLite takes 3 us to find a row by its key, and 14 us more go into what SQLAlchemy does around it each time.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from sqlalchemy import Column, ColumnElement, Connection, Delete, Dialect, Executable, Select, bindparam
from sqlalchemy.sql.elements import BindParameter
from sqlalchemy.types import TypeEngine

_Convert: TypeAlias = Callable[[Any], Any]


class Opened(NamedTuple):
    """A connection of a database's driver."""

    dialect: Dialect
    """How SQLAlchemy writes for this database."""
    cursor: Callable[[], Any]
    """Makes a cursor (PEP 249)."""

    @classmethod
    def by_sqlalchemy(cls, connection: Connection) -> Opened:
        """Return what a connection of SQLAlchemy stands on; what runs on it is in the same transaction."""
        return cls(connection.dialect, connection.connection.cursor)


class _Compiled(NamedTuple):
    """A statement for one database."""

    text: str
    parameters: Sequence[tuple[str, _Convert | None]]
    """The names of its parameters, and what makes of a value what the driver takes."""
    by_name: bool
    """Whether the driver takes the values by name, not in their order."""
    row: Callable[[Sequence[Any]], Any] | None
    """What makes of a row of the driver what the caller gets."""

    def values(self, given: Mapping[str, Any]) -> Any:
        if self.by_name:
            return {name: convert(given[name]) if convert else given[name] for name, convert in self.parameters}
        return [convert(given[name]) if convert else given[name] for name, convert in self.parameters]


class Prepared:
    """One statement.

    Args:
        statement: With a `bindparam` for each value, or an INSERT.
        columns: Of an INSERT, those that get a value.
    """

    def __init__(self, statement: Executable, columns: Sequence[str] | None = None) -> None:
        self._statement: Any = statement
        self._columns = columns
        self._compiled: dict[str, _Compiled] = {}

    def rows(self, connection: Opened, values: Mapping[str, Any]) -> list[Any]:
        """Run a SELECT.

        Args:
            connection: The transaction.
            values: By the names of the parameters.

        Returns:
            The rows, with attributes called as their columns.
        """
        compiled = self._for(connection.dialect)
        cursor = connection.cursor()
        cursor.execute(compiled.text, compiled.values(values))
        assert compiled.row is not None
        rows = list(map(compiled.row, cursor.fetchall()))
        cursor.close()
        return rows

    def run(self, connection: Opened, values: Iterable[Mapping[str, Any]]) -> None:
        """Run a statement that changes something, once for each set of values."""
        compiled = self._for(connection.dialect)
        if rows := [compiled.values(each) for each in values]:
            cursor = connection.cursor()
            cursor.executemany(compiled.text, rows)
            cursor.close()

    def _for(self, dialect: Dialect) -> _Compiled:
        compiled = self._compiled.get(dialect.name)
        if compiled is None:
            compiled = self._compiled[dialect.name] = _compiled(self._statement, self._columns, dialect)
        return compiled


class PreparedList:
    """A SELECT or DELETE of the rows in which a column has one of some values.

    Args:
        statement: Of all rows.
        column: The column.
    """

    def __init__(self, statement: Select[Any] | Delete, column: Column[Any]) -> None:
        self._statement, self._column = statement, column
        self._by_size: dict[int, tuple[Prepared, list[str]]] = {}

    def rows(self, connection: Opened, values: Sequence[Any]) -> list[Any]:
        """Run a SELECT.

        Args:
            connection: The transaction.
            values: What the column has: one value or more, as many as one statement may have.

        Returns:
            The rows, as those of `Prepared.rows`.
        """
        prepared, by_name = self._for(values)
        return prepared.rows(connection, by_name)

    def run(self, connection: Opened, values: Sequence[Any]) -> None:
        """Run a DELETE; see `rows`."""
        prepared, by_name = self._for(values)
        prepared.run(connection, [by_name])

    def _for(self, values: Sequence[Any]) -> tuple[Prepared, Mapping[str, Any]]:
        size = 1 << (len(values) - 1).bit_length()  # So there are but ten of them, and the last value is repeated.
        if size not in self._by_size:
            names = [f"value_{number}" for number in range(size)]
            parameters: list[BindParameter[Any]] = [bindparam(name, type_=self._column.type) for name in names]
            self._by_size[size] = Prepared(self._statement.where(self._column.in_(parameters))), names
        prepared, names = self._by_size[size]
        return prepared, {**dict.fromkeys(names, values[-1]), **dict(zip(names, values, strict=False))}


def _compiled(statement: Any, columns: Sequence[str] | None, dialect: Dialect) -> _Compiled:
    compiled = statement.compile(dialect=dialect, column_keys=columns)
    names = compiled.positiontup if compiled.positional else compiled.binds
    parameters = [(name, _to_driver(compiled.binds[name].type, dialect)) for name in names]
    row = _row(list(statement.selected_columns), dialect) if isinstance(statement, Select) else None
    return _Compiled(str(compiled), parameters, not compiled.positional, row)


def _row(columns: Sequence[ColumnElement[Any]], dialect: Dialect) -> Callable[[Sequence[Any]], Any]:
    make: Callable[..., Any] = namedtuple("Row", [str(column.key) for column in columns])  # type: ignore[misc]
    converted = [
        (number, convert)
        for number, column in enumerate(columns)
        if (convert := _from_driver(column.type, dialect)) is not None
    ]

    def row(values: Sequence[Any]) -> Any:
        own = list(values)
        for number, convert in converted:
            own[number] = convert(own[number])
        return make(*own)

    return row


def _to_driver(type_: TypeEngine[Any], dialect: Dialect) -> _Convert | None:
    return type_.dialect_impl(dialect).bind_processor(dialect)


def _from_driver(type_: TypeEngine[Any], dialect: Dialect) -> _Convert | None:
    return type_.dialect_impl(dialect).result_processor(dialect, None)
