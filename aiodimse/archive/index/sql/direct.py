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
from .prepared import Opened
from .reading import lookup
from .together import Together
from .writing import Writing

_PATIENCE: Final = 0.05
"""Seconds that a look-up waits for its turn; a transaction takes far less."""
_KNOWN: Final = 256
"""Studies and series that are kept in memory from one transaction to the next."""


class DirectIndex:
    """What `BlockingIndex` says, with SQLite.

    Args:
        engine: The database.
        writing: Held by whoever writes in this process: SQLite lets those wait by sleeping that find another one.
        elsewhere: Calls a function in the thread that writes.
    """

    def __init__(
        self, engine: Engine, writing: threading.Lock, elsewhere: Callable[[Callable[[], None]], object]
    ) -> None:
        self._engine, self._writing = engine, writing
        self._turn = threading.Lock()
        self._connection: PoolProxiedConnection | None = None
        self._together = Together(self._add, elsewhere)
        self._writer: Writing | None = None
        """What the last transaction knew: most objects are of a series that has just been written."""
        self._version = 0

    def lookup(self, sop_instance_uid: str) -> Entry | None:
        """See `BlockingIndex.lookup`."""
        if self._turn.acquire(timeout=_PATIENCE):
            try:
                return lookup(self._opened(), [sop_instance_uid]).get(sop_instance_uid)
            finally:
                self._turn.release()
        # Somebody outside keeps the database from being written, but not from being read. Else all the threads that
        # files are read and written in would wait here with the one that waits to write.
        with self._engine.connect() as connection:
            return lookup(Opened.by_sqlalchemy(connection), [sop_instance_uid]).get(sop_instance_uid)

    def add(self, header: Header) -> Future[None]:
        """See `BlockingIndex.add`."""
        return self._together.add(header)

    def write(self) -> None:
        """See `BlockingIndex.write`."""
        self._together.write()

    def close(self) -> None:
        """Give the connection back."""
        with self._turn:
            connection, self._connection, self._writer = self._connection, None, None
            if connection is not None:
                connection.close()

    def _opened(self) -> Opened:
        if self._connection is None:
            self._connection = self._engine.raw_connection()
        return Opened(self._engine.dialect, self._connection.cursor)

    def _add(self, headers: Sequence[Header]) -> None:
        with self._writing, self._turn:
            try:
                self._transaction(headers, replaces=False)
            except sqlite3.IntegrityError:  # Some of it is there already, which is rare.
                self._transaction(headers, replaces=True)

    def _transaction(self, headers: Sequence[Header], *, replaces: bool) -> None:
        opened = self._opened()
        cursor = opened.cursor()
        cursor.execute("BEGIN IMMEDIATE")
        try:
            # It changes when another connection, of any process, has written since.
            (version,) = cursor.execute("PRAGMA data_version").fetchone()
            if self._writer is None or version != self._version or self._writer.known > _KNOWN:
                self._writer, self._version = Writing(opened), version
            for batch in distinct_batches(headers):
                self._writer.add(batch, replaces=replaces)
            cursor.execute("COMMIT")
        except BaseException:
            self._writer = None
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        """Undo the transaction. A connection on which that fails would stay inside it, so it is not used any more."""
        if self._connection is not None:
            try:
                self._connection.rollback()
            except Exception:
                connection, self._connection = self._connection, None
                connection.invalidate()
