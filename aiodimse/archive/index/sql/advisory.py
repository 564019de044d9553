"""Locks that all processes with one PostgreSQL database share, on whatever machine they run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import TypeVar

from sqlalchemy import Connection, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError

import aiodimse

from ..interface import ANSWER
from .engines import open_engine

T = TypeVar("T")

_TRY = {shared: text(f"SELECT pg_try_advisory_lock{how}(:number)") for shared, how in ((False, ""), (True, "_shared"))}
_UNLOCK = {shared: text(f"SELECT pg_advisory_unlock{how}(:number)") for shared, how in ((False, ""), (True, "_shared"))}

_RELEASE = 5.0
"""Seconds that are waited for the database where it releases locks."""


class AdvisoryLocks:
    """Advisory locks of PostgreSQL. They belong to a session, which ends with the process or with the database server.

    The session needs a connection of its own. A pool that gives each transaction another connection (PgBouncer in
    transaction mode) loses the locks. A database server that was restarted has forgotten the locks that were held.

    Args:
        url: The URL of the database.
    """

    def __init__(self, url: URL) -> None:
        self._engine = open_engine(url, connections=1)
        self._thread = aiodimse.Threads(1, "aiodimse-locks")
        self._connection: Connection | None = None

    async def try_lock(self, numbers: Sequence[int], *, is_shared: bool = False) -> bool:
        """See `ProcessLocks.try_lock`.

        Raises:
            sqlalchemy.exc.SQLAlchemyError: The database does not answer.
            TimeoutError: It has not answered in time.
        """
        done = asyncio.ensure_future(self._thread.run(self._try_lock, numbers, is_shared))
        try:
            async with asyncio.timeout(ANSWER):
                return await asyncio.shield(done)
        except (asyncio.CancelledError, TimeoutError):
            done.add_done_callback(partial(self._give_back, numbers, is_shared))
            raise

    def _give_back(self, numbers: Sequence[int], is_shared: bool, done: asyncio.Future[bool]) -> None:
        """Release locks that nobody waits for any more."""
        if not done.cancelled() and not done.exception() and done.result():
            with suppress(OSError):  # the thread was closed, and the locks were released with the session
                self._thread.submit(partial(self._unlock, numbers, is_shared))

    async def unlock(self, numbers: Sequence[int], *, is_shared: bool = False) -> None:
        """See `ProcessLocks.unlock`."""
        with suppress(OSError):  # the thread was closed, and the locks were released with the session
            done = asyncio.wrap_future(self._thread.submit(partial(self._unlock, numbers, is_shared)))
            # Who held them has an answer for its peer. The thread does what it is asked to in order, now or later.
            await asyncio.wait([done], timeout=_RELEASE)

    async def close(self, timeout: float = 5.0) -> None:
        """See `ProcessLocks.close`."""
        await self._thread.close(timeout, last=self._close)

    def _close(self) -> None:
        self._discard_connection()
        self._engine.dispose()

    def _try_lock(self, numbers: Sequence[int], is_shared: bool) -> bool:
        def take(connection: Connection) -> int:
            for place, number in enumerate(numbers):
                if not connection.execute(_TRY[is_shared], {"number": number}).scalar():
                    return place
            return len(numbers)

        taken = self._run(take)
        if taken < len(numbers):
            self._unlock(numbers[:taken], is_shared)
        return taken == len(numbers)

    def _unlock(self, numbers: Sequence[int], is_shared: bool) -> None:
        def release(connection: Connection) -> None:
            for number in numbers:
                connection.execute(_UNLOCK[is_shared], {"number": number})

        with suppress(SQLAlchemyError):  # the session has ended, and the locks with it
            if self._connection is not None:
                self._run(release)

    def _run(self, ask: Callable[[Connection], T]) -> T:
        if self._connection is None:
            self._connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        try:
            return ask(self._connection)
        except BaseException:
            self._discard_connection()
            raise

    def _discard_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(SQLAlchemyError):
                connection.invalidate()
                connection.close()
