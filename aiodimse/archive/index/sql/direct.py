"""SQLite for the threads that save objects: one connection of the driver's, which they take turns at.

A connection has the pages at hand that it has written; every other one reads them again after each transaction.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from sqlalchemy import Engine, PoolProxiedConnection

from ..interface import Entry, Header
from .prepared import Opened
from .reading import lookup
from .together import Together
from .writing import add


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

    def lookup(self, sop_instance_uid: str) -> Entry | None:
        """See `BlockingIndex.lookup`."""
        with self._turn:
            return lookup(self._opened(), [sop_instance_uid]).get(sop_instance_uid)

    def add(self, header: Header) -> Future[None]:
        """See `BlockingIndex.add`."""
        return self._together.add(header)

    def close(self) -> None:
        """Give the connection back."""
        with self._turn:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def _opened(self) -> Opened:
        if self._connection is None:
            self._connection = self._engine.raw_connection()
        return Opened(self._engine.dialect, self._connection.cursor)

    def _add(self, headers: Sequence[Header]) -> None:
        with self._writing, self._turn:
            opened = self._opened()
            cursor = opened.cursor()
            cursor.execute("BEGIN IMMEDIATE")
            try:
                add(opened, headers)
                cursor.execute("COMMIT")
            except BaseException:
                if self._connection is not None:
                    self._connection.rollback()
                raise
