"""An SQLite database in a thread of its own, where each call is one transaction."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

from aiodimse.aio.threads import Threads

P = ParamSpec("P")
R = TypeVar("R")


class Database:
    """A database whose transactions are on disk when they return, and wait for each other.

    Args:
        path: The file. Its folder is created if it does not exist.
        schema: The statements that create tables and indexes unless they exist.
    """

    def __init__(self, path: Path, schema: str) -> None:
        self._path, self._schema = path, f"PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; {schema}"
        self._thread = Threads(1, "aiodimse-outbox")
        self._connection: sqlite3.Connection | None = None
        self._effects: list[Callable[[], object]] = []

    async def open(self) -> None:
        """Open it. After an error, `close` has still to be called.

        Raises:
            sqlite3.Error: The database cannot be opened.
            OSError: The folder cannot be created.
        """
        await self._thread.run(self._open)

    async def close(self) -> None:
        """Wait for transactions that run, and close it."""
        await asyncio.shield(self._thread.close(last=self._close))

    async def run(self, function: Callable[P, R], *args: P.args, **options: P.kwargs) -> R:
        """Call a function in the thread, as one transaction.

        Returns:
            What the function returns.

        Raises:
            sqlite3.Error: Nothing has changed.

        Cancellation: The transaction is done as a whole or not at all.
        """
        return await asyncio.shield(self._thread.run(self._transaction, partial(function, *args, **options)))

    # --- in the thread ------------------------------------------------------------------------------------------------

    def rows(self, query: str, *values: object) -> list[Any]:
        """Execute a statement in the transaction, and return its rows."""
        assert self._connection is not None
        return self._connection.execute(query, values).fetchall()

    def after_commit(self, effect: Callable[[], object]) -> None:
        """Call a function once the transaction is on disk; not if it fails. What the function raises, `run` raises."""
        self._effects.append(effect)

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(self._path, isolation_level=None)
        self._connection.executescript(self._schema)

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()

    def _transaction(self, function: Callable[[], R]) -> R:
        self._effects.clear()
        assert self._connection is not None
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            result = function()
        for effect in self._effects:
            effect()
        return result
