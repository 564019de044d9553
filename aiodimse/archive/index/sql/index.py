"""An index in a database.

A transaction runs in a thread of our own, with one change of thread for all its statements. With sqlite3 a look-up by
UID then takes 83 us; aiosqlite changes the thread for each statement and takes 1.9 ms (SQLAlchemy 2.1, Python 3.11).
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing, suppress
from math import inf
from typing import Any, TypeVar

from sqlalchemy import Connection, Row, Select, func, select
from sqlalchemy.engine import URL

import aiodimse

from ...queries import Query
from ..interface import ANSWER, FREELY, BlockingIndex, ClockUser, ObjectRefused, Turn
from ..records import (
    CarriedOver,
    Counts,
    Entry,
    File,
    Finding,
    Header,
    Match,
    OutdatedStudy,
    StudyAge,
    Transaction,
    TransactionName,
)
from ..slices import work
from . import schema, transactions
from .advisory import AdvisoryLocks
from .ages import forget_received, last_received, newest_modified, oldest_studies, set_received, stored_bytes, study_age
from .direct import DirectIndex
from .engines import READERS, SameFile, begin_to_write, damage_mark, file_of, flush_log, open_engine
from .form import prepare, require
from .in_use import InUse
from .outdated import MARKED, unmark
from .prepared import Opened
from .reading import Search, entries, lookup
from .unusable import DAMAGED, IndexUnusable, is_damage, is_refusal
from .writing import Writing, add, chunks

T = TypeVar("T")

_NOTHING = CarriedOver()
_CLOCKS: Mapping[ClockUser, str] = {"retention": "clock", "commitment": "clock of commitments"}
"""The rows with the records of the clock."""
_STEP = 0.02
"""The time in seconds that a search takes in its thread before other searches have their turn."""


class SQLIndex:
    """An index in SQLite or PostgreSQL.

    Any number of processes may use one database: a writer keeps other writers out for one transaction.

    Args:
        url: The URL of the database.
    """

    def __init__(self, url: URL) -> None:
        self._url = url
        self._engine = open_engine(url, connections=READERS + 3)
        self._readers = aiodimse.Threads(READERS, "aiodimse-index")
        self._writer = aiodimse.Threads(1, "aiodimse-index-writer")
        self._writing = threading.Lock()
        """Held for one transaction: SQLite lets those wait by sleeping that find another one."""
        self.rebuilt: str | None = None
        """Why tables in PostgreSQL were set aside when this was opened; None if they were not."""
        self._use: InUse | None = None
        self._direct: DirectIndex | None = None
        if (file := file_of(url)) is not None:
            same = SameFile(file)
            same.watch(self._engine)
            self._direct = DirectIndex(self._engine, self._writing, self._in_writer, same)

    @classmethod
    async def open(
        cls, url: URL, *, make: bool = True, left: CarriedOver = _NOTHING, use: InUse | None = None
    ) -> SQLIndex:
        """Open a database, with the tables of this version.

        Args:
            url: The URL of the database.
            make: Make the tables that are not there, and migrate those of an older version. Without it, an index that
                this version has not made is not used, and nothing is changed.
            left: What new tables begin with.
            use: The lock of an SQLite database, which the index releases when it is closed. It is shared when the
                tables have the form of this version, and it is still the caller's if this raises. Without it, nobody
                else may have the database open.

        Raises:
            IndexUnusable: The index has a form that cannot be migrated, it is damaged, or it has another form and
                others use it. In PostgreSQL such tables are set aside, and new ones are made, unless processes of
                another version use them.
            OSError: Somebody else opens it at the same time.
            sqlalchemy.exc.SQLAlchemyError: The database cannot be reached.
        """
        index = cls(url)
        try:
            if make:
                is_alone = use is None or use.is_alone
                index.rebuilt = await index._prepared(left, is_alone=is_alone)
                if use is not None and is_alone:
                    use.share()
                    await index._prepared(left, is_alone=False)  # nobody has changed it before it was shared
            else:
                await index._read(index._require)
        except BaseException as error:
            await index.close()
            if is_damage(error):
                raise IndexUnusable(DAMAGED) from None
            raise
        index._use = use
        return index

    async def _prepared(self, left: CarriedOver, *, is_alone: bool) -> str | None:
        def run(connection: Connection) -> str | None:
            return prepare(connection, file_of(self._url), left, is_alone=is_alone)

        return await self._writer.run(self._transaction, run)

    def _require(self) -> None:
        with self._engine.connect() as connection:
            require(connection)

    # --- changing -----------------------------------------------------------------------------------------------------

    async def add(self, headers: Iterable[Header]) -> None:
        """See `Index.add`."""
        added = list(headers)
        if not added:
            return
        try:
            await self._write(lambda connection: add(Opened.by_sqlalchemy(connection), added))
        except Exception as error:
            if is_refusal(error, self._engine.dialect):
                raise ObjectRefused from error
            raise

    async def note(self, files: Iterable[File]) -> None:
        """See `Index.note`."""
        noted = list(files)
        if noted:
            await self._write(lambda connection: Writing(Opened.by_sqlalchemy(connection)).note(noted))

    async def remove(self, locations: Iterable[str]) -> int:
        """See `Index.remove`."""
        gone = list(locations)
        return (
            await self._write(lambda connection: Writing(Opened.by_sqlalchemy(connection)).remove(gone)) if gone else 0
        )

    # --- asking -------------------------------------------------------------------------------------------------------

    async def find(self, query: Query, turn: Turn = FREELY) -> AsyncGenerator[Match, None]:
        """See `Index.find`."""
        async with aclosing(self._stream(Search(self._fetch, query).matches(), turn)) as matches:
            async for match in matches:
                yield match

    async def entries(self, query: Query, turn: Turn = FREELY) -> AsyncGenerator[Entry, None]:
        """See `Index.entries`."""
        async with aclosing(self._stream(entries(self._fetch, query), turn)) as found:
            async for each in found:
                yield each

    async def lookup(self, sop_instance_uids: Collection[str]) -> dict[str, Entry]:
        """See `Index.lookup`."""
        if not sop_instance_uids:
            return {}

        def look_up() -> dict[str, Entry]:
            with self._engine.connect() as connection:
                return lookup(Opened.by_sqlalchemy(connection), sop_instance_uids)

        return await self._read(look_up)

    async def files(self, folder: str) -> dict[str, File]:
        """See `Index.files`."""
        query = select(schema.file).where(schema.file.c.folder == folder)
        return {row.location: _file(row) for row in await self._read(lambda: self._fetch(query))}

    async def folders(self) -> list[str]:
        """See `Index.folders`."""
        query = select(schema.file.c.folder).distinct()
        return [row.folder for row in await self._read(lambda: self._fetch(query))]

    async def duplicates(self, sop_instance_uids: Collection[str]) -> list[File]:
        """See `Index.duplicates`."""
        columns = schema.file.c
        queries = [
            select(schema.file).where(columns.uid.in_(some), schema.IS_DUPLICATE) for some in chunks(sop_instance_uids)
        ]
        return await self._read(lambda: [_file(row) for query in queries for row in self._fetch(query)])

    async def counts(self) -> Counts:
        """See `Index.counts`."""
        tables = (schema.patient, schema.study, schema.series, schema.instance)
        return await self._read(
            lambda: Counts(*(self._fetch(select(func.count()).select_from(table))[0][0] for table in tables))
        )

    async def oldest_studies(self, limit: int, after: StudyAge | None = None) -> list[StudyAge]:
        """See `Index.oldest_studies`."""
        return await self._read(lambda: oldest_studies(self._fetch, limit, after))

    async def study_age(self, study_instance_uid: str) -> StudyAge | None:
        """See `Index.study_age`."""
        return await self._read(lambda: study_age(self._fetch, study_instance_uid))

    async def last_received(self, study_instance_uid: str, locations: Collection[str]) -> int:
        """See `Index.last_received`."""
        return await self._read(lambda: last_received(self._fetch, study_instance_uid, locations))

    async def set_received(self, study_instance_uids: Collection[str], at: int) -> None:
        """See `Index.set_received`."""
        if study_instance_uids:
            await self._write(lambda connection: set_received(connection, study_instance_uids, at))

    async def forget_received(self) -> None:
        """See `Index.forget_received`."""
        await self._write(forget_received)

    async def stored_bytes(self) -> int:
        """See `Index.stored_bytes`."""
        return await self._read(lambda: stored_bytes(self._fetch))

    async def newest_modified(self) -> int:
        """See `Index.newest_modified`."""
        return await self._read(lambda: newest_modified(self._fetch))

    async def clock_record(self, user: ClockUser) -> str | None:
        """See `Index.clock_record`."""
        return await self._meta(_CLOCKS[user])

    async def put_clock_record(self, user: ClockUser, text: str) -> None:
        """See `Index.put_clock_record`."""
        await self._put_meta(_CLOCKS[user], text)

    async def outdated_studies(self) -> list[OutdatedStudy]:
        """See `Index.outdated_studies`."""
        rows = await self._read(lambda: self._fetch(MARKED))
        return [OutdatedStudy(row.uid, row.mark) for row in rows]

    async def set_current(self, study: OutdatedStudy) -> None:
        """See `Index.set_current`."""
        await self._write(lambda connection: connection.execute(unmark(study)).rowcount)

    async def put_transaction(
        self, transaction: Transaction, most: float = inf, most_of_peer: float = inf
    ) -> Transaction | None:
        """See `Index.put_transaction`. It is on the disk, although SQLite flushes no other transaction."""
        stored = await self._write(lambda connection: transactions.put(connection, transaction, most, most_of_peer))
        if (file := file_of(self._url)) is not None:
            await self._read(lambda: flush_log(file))
        return stored

    async def transactions(self) -> list[TransactionName]:
        """See `Index.transactions`."""
        return await self._read(lambda: transactions.names(self._fetch))

    async def transaction(self, name: TransactionName) -> Transaction | None:
        """See `Index.transaction`."""
        return await self._read(lambda: transactions.stored(self._fetch, name))

    async def drop_transaction(self, transaction: Transaction) -> None:
        """See `Index.drop_transaction`."""
        await self._write(lambda connection: transactions.drop(connection, transaction))

    async def is_complete(self) -> bool:
        """See `Index.is_complete`."""
        return await self._meta("complete") is not None

    async def set_complete(self) -> None:
        """See `Index.set_complete`."""
        if not await self.is_complete():
            await self._put_meta("complete", "1")

    async def _meta(self, name: str) -> str | None:
        query = select(schema.meta.c.value).where(schema.meta.c.name == name)
        rows = await self._read(lambda: self._fetch(query))
        return rows[0].value if rows else None

    async def _put_meta(self, name: str, value: str) -> None:
        def put(connection: Connection) -> None:
            connection.execute(schema.meta.delete().where(schema.meta.c.name == name))
            connection.execute(schema.meta.insert(), {"name": name, "value": value})

        await self._write(put)

    def blocking(self) -> BlockingIndex | None:
        """See `Index.blocking`: SQLite is on a disk of ours. A server that does not answer keeps its own threads."""
        return self._direct

    def process_locks(self) -> AdvisoryLocks | None:
        """See `Index.process_locks`. Only PostgreSQL has them; SQLite serves the processes of one machine."""
        return AdvisoryLocks(self._url) if file_of(self._url) is None else None

    def is_damaged_by(self, error: Exception) -> bool:
        """See `Index.is_damaged_by`. Only SQLite says it: PostgreSQL is mended by its administrator."""
        return file_of(self._url) is not None and is_damage(error)

    def mark_damaged(self) -> None:
        """See `Index.mark_damaged`."""
        if (file := file_of(self._url)) is not None:
            with suppress(OSError):  # the thread has ended
                self._writer.submit(damage_mark(file).touch)

    async def close(self, timeout: float = 5.0) -> None:
        """See `Index.close`."""
        await self._readers.close(timeout)
        await self._writer.close(timeout, last=self._dispose)

    def _dispose(self) -> None:
        if self._direct is not None:
            self._direct.close()
        self._engine.dispose()
        if self._use is not None:
            self._use.close()

    # --- threads ------------------------------------------------------------------------------------------------------

    def _fetch(self, query: Select[Any]) -> Sequence[Row[Any]]:
        with self._engine.connect() as connection:
            return connection.execute(query).all()

    def _transaction(self, function: Callable[[Connection], T]) -> T:
        """Run one transaction, and block."""
        with (
            self._writing,
            self._engine.connect().execution_options(writes=True) as connection,
            connection.begin(),
        ):
            begin_to_write(connection)
            return function(connection)

    def _in_writer(self, function: Callable[[], None]) -> None:
        """Call a function in the thread that writes; once that has ended, in this one."""
        try:
            self._writer.submit(function)
        except OSError:
            function()

    async def _read(self, function: Callable[[], T]) -> T:
        async with asyncio.timeout(ANSWER):
            return await self._readers.run(function)

    async def _write(self, function: Callable[[Connection], T]) -> T:
        """Run one transaction. After a TimeoutError it may still be committed.

        Cancellation: waits for the end of the transaction, so that its result is known.
        """
        done = asyncio.ensure_future(self._writer.run_to_end(self._transaction, function))
        done.add_done_callback(_retrieved)
        try:
            async with asyncio.timeout(ANSWER):
                return await asyncio.shield(done)
        except asyncio.CancelledError:
            done.cancel()
            await asyncio.wait([done], timeout=ANSWER)
            raise

    async def _stream(self, found: Iterator[T | None], turn: Turn) -> AsyncGenerator[T, None]:
        """Advance an iterator in threads, and yield what it finds."""
        while True:
            async with asyncio.timeout(ANSWER), turn:  # the searches before it may wait for the database, too
                some, is_over = await self._read(lambda: work(found, _STEP))
            for each in some:
                yield each
            if is_over:
                return


def _retrieved(done: asyncio.Future[Any]) -> None:
    """Keep asyncio from reporting an error for which nobody waits any more."""
    if not done.cancelled():
        done.exception()


def _file(row: Any) -> File:
    return File(row.location, row.size, row.modified, Finding(row.finding), row.uid)
