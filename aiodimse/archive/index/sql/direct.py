"""SQLite for the threads that save objects: one connection of the driver's, which they take turns at.

A connection has the pages at hand that it has written; every other one reads them again after each transaction.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Final

from sqlalchemy import Engine, PoolProxiedConnection

from ..keys import distinct_batches
from ..records import Entry, Header
from .engines import SameFile
from .known_series import KnownSeries
from .prepared import Opened
from .reading import lookup_one
from .together import Together
from .writing import Writing

_PATIENCE: Final = 0.05
"""Seconds that a look-up waits for its turn; a transaction takes far less."""


class DirectIndex:
    """What `BlockingIndex` says, with SQLite.

    Args:
        engine: The database.
        writing: Held by whoever writes in this process: SQLite lets those wait by sleeping that find another one.
        elsewhere: Calls a function in the thread that writes.
        same: Checks the file of the database.
    """

    def __init__(
        self,
        engine: Engine,
        writing: threading.Lock,
        elsewhere: Callable[[Callable[[], None]], object],
        same: SameFile,
    ) -> None:
        self._engine, self._writing, self._same = engine, writing, same
        self._turn = threading.Lock()
        self._connection: PoolProxiedConnection | None = None
        self._together = Together(self._add, elsewhere)
        self._known = KnownSeries()

    def lookup(self, sop_instance_uid: str) -> Entry | None:
        """See `BlockingIndex.lookup`."""
        if self._turn.acquire(timeout=_PATIENCE):
            try:
                return lookup_one(self._opened(), sop_instance_uid)
            finally:
                self._turn.release()
        # Somebody outside keeps the database from being written, but not from being read. Else all the threads that
        # files are read and written in would wait here with the one that waits to write.
        with self._engine.connect() as connection:
            return lookup_one(Opened.by_sqlalchemy(connection), sop_instance_uid)

    def add(self, header: Header) -> Future[None]:
        """See `BlockingIndex.add`."""
        return self._together.add(header)

    def write(self) -> None:
        """See `BlockingIndex.write`."""
        self._together.write()

    def close(self) -> None:
        """Give the connection back."""
        with self._turn:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def _opened(self) -> Opened:
        if self._connection is None:
            self._connection = self._engine.raw_connection()
            self._known.prepare(self._connection.cursor())
        self._same.check()
        return Opened(self._engine.dialect, self._connection.cursor)

    def _add(self, headers: Sequence[Header]) -> None:
        with self._writing, self._turn:
            opened = self._opened()
            try:
                if not self._known.add(opened.cursor(), headers):
                    self._known.learn(headers, self._transaction(opened, headers, replaces=False))
            except sqlite3.IntegrityError:  # Some of it is there already, or somebody changed a series; both are rare.
                self._known.forget(headers)
                self._transaction(opened, headers, replaces=True)

    def _transaction(self, opened: Opened, headers: Sequence[Header], *, replaces: bool) -> Writing:
        """Run a transaction, and return what it wrote."""
        cursor, writing = opened.cursor(), Writing(opened)
        cursor.execute("BEGIN IMMEDIATE")
        try:
            for batch in distinct_batches(headers):
                writing.add(batch, replaces=replaces)
            cursor.execute("COMMIT")
        except BaseException:
            self._roll_back()
            raise
        return writing

    def _roll_back(self) -> None:
        """Undo the transaction. A connection on which that fails would stay inside it, so it is not used any more."""
        if self._connection is not None:
            try:
                self._connection.rollback()
            except Exception:
                connection, self._connection = self._connection, None
                connection.invalidate()
