"""Threads that add objects at the same time share transactions."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from archive.conftest import make_object
from archive.databases import open_index
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian

import aiodimse
from aiodimse import sop_class, testing
from aiodimse.archive import Archive, find_query, provide
from aiodimse.archive.index import BlockingIndex, Header, Index, MemoryIndex
from aiodimse.archive.index.opening import FILE
from aiodimse.archive.index.sql import SQLIndex
from aiodimse.archive.index.sql.direct import DirectIndex
from aiodimse.archive.index.sql.engines import url_of
from aiodimse.archive.index.sql.together import Together
from aiodimse.archive.index.sql.writing import Writing
from aiodimse.archive.models import STUDY_ROOT, Level

SECONDS = 30


def header(number: int) -> Header:
    uid = f"1.2.3.{number}"
    levels = {
        Level.PATIENT: {"PatientID": ("P",)},
        Level.STUDY: {"StudyInstanceUID": ("1.2",)},
        Level.SERIES: {"SeriesInstanceUID": (f"1.2.{number % 3}",), "Modality": ("MR",)},
        Level.IMAGE: {"SOPInstanceUID": (uid,), "SOPClassUID": ("1.2.840.10008.5.1.4.1.1.4",)},
    }
    return Header(f"a/b/{uid}.dcm", levels)


class Transactions:
    """Takes what is added; the first time, once it is allowed to."""

    def __init__(self) -> None:
        self.taken: list[list[Header]] = []
        self.threads: list[str] = []
        self.began, self.may_end = threading.Event(), threading.Event()
        self.error: Exception | None = None

    def take(self, headers: Sequence[Header]) -> None:
        self.taken.append(list(headers))
        self.threads.append(threading.current_thread().name)
        self.began.set()
        assert self.may_end.wait(SECONDS)
        if self.error is not None:
            raise self.error


def add(index: Together | BlockingIndex, *headers: Header) -> Future[None]:
    """Add objects, and write them. Returns what the last one waits for."""
    for each in headers:
        done = index.add(each)
    index.write()
    return done


def test_who_finds_nobody_at_it_does_it_himself() -> None:
    transactions, elsewhere = Transactions(), list[Callable[[], None]]()
    transactions.may_end.set()
    together = Together(transactions.take, elsewhere.append)
    for number in range(3):
        assert add(together, header(number)).done()
    assert transactions.taken == [[header(0)], [header(1)], [header(2)]]
    assert set(transactions.threads) == {threading.current_thread().name}
    assert elsewhere == []


@pytest.mark.parametrize("fails", [False, True])
def test_what_comes_meanwhile_is_the_next_transaction(fails: bool) -> None:
    transactions, elsewhere = Transactions(), list[Callable[[], None]]()
    together = Together(transactions.take, elsewhere.append)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(add, together, header(0))
        assert transactions.began.wait(SECONDS)
        others = [add(together, header(number)) for number in range(1, 4)]
        assert not any(other.done() for other in others)
        transactions.error = ConnectionError("gone") if fails else None
        transactions.may_end.set()
        done = first.result(SECONDS)
    assert isinstance(done.exception(), ConnectionError) == fails
    assert not any(other.done() for other in others), "nobody is kept by what came behind him"
    transactions.error = None
    (go_on,) = elsewhere
    go_on()
    assert [other.exception() for other in others] == [None] * 3
    assert transactions.taken == [[header(0)], [header(1), header(2), header(3)]]
    assert add(together, header(4)).done(), "whoever comes next finds nobody at it"


def test_what_was_added_before_it_is_written_is_one_transaction() -> None:
    transactions = Transactions()
    transactions.may_end.set()
    together = Together(transactions.take, lambda _: None)
    assert add(together, *(header(number) for number in range(3))).done()
    together.write()
    assert transactions.taken == [[header(0), header(1), header(2)]], "and nothing is written twice"


def test_a_transaction_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiodimse.archive.index.sql.together._MOST", 2)
    transactions, elsewhere = Transactions(), list[Callable[[], None]]()
    transactions.may_end.set()
    together = Together(transactions.take, elsewhere.append)
    assert not add(together, *(header(number) for number in range(3))).done()
    elsewhere.pop()()
    assert [len(each) for each in transactions.taken] == [2, 1]
    assert elsewhere == []


def test_one_that_fails_does_not_stop_the_next() -> None:
    transactions = Transactions()
    transactions.may_end.set()
    transactions.error = ConnectionError("gone")
    together = Together(transactions.take, lambda _: None)
    assert isinstance(add(together, header(0)).exception(), ConnectionError)
    transactions.error = None
    assert add(together, header(1)).exception() is None


def test_a_system_without_threads_keeps_nobody() -> None:
    """What came meanwhile and has no thread is written with what comes next."""
    transactions = Transactions()

    def elsewhere(_: object) -> None:
        raise RuntimeError("can't start new thread")

    together = Together(transactions.take, elsewhere)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(add, together, header(0))
        assert transactions.began.wait(SECONDS)
        second = add(together, header(1))
        transactions.may_end.set()
        with pytest.raises(RuntimeError):
            first.result(SECONDS)
    assert add(together, header(2)).done()
    assert second.done()
    assert transactions.taken == [[header(0)], [header(1), header(2)]]


def test_nobody_cancels_it() -> None:
    transactions = Transactions()
    together = Together(transactions.take, lambda _: None)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(add, together, header(0))
        assert transactions.began.wait(SECONDS)
        assert not together.add(header(1)).cancel()
        transactions.may_end.set()
        first.result(SECONDS)


async def test_sqlite_has_what_many_threads_added(tmp_path: Path) -> None:
    index = await open_index("sqlite", tmp_path)
    blocking = index.blocking()
    assert blocking is not None
    assert blocking.lookup("1.2.3.7") is None
    with ThreadPoolExecutor(8) as pool:
        added: list[Future[None]] = list(pool.map(lambda number: add(blocking, header(number)), range(200)))
    assert [each.exception(SECONDS) for each in added] == [None] * 200
    counts = await index.counts()
    assert (counts.studies, counts.series, counts.instances) == (1, 3, 200)
    assert blocking.lookup("1.2.3.7") == header(7).entry
    assert await index.lookup(["1.2.3.7", "1.2.3.8", "no"]) == {f"1.2.3.{n}": header(n).entry for n in (7, 8)}
    await index.close()


async def everything(index: Index) -> tuple[Any, ...]:
    asked = ("StudyDescription", "ModalitiesInStudy", "NumberOfStudyRelatedInstances", "NumberOfStudyRelatedSeries")
    dataset = Dataset()
    dataset.QueryRetrieveLevel, dataset.StudyInstanceUID = "STUDY", ""
    for keyword in asked:
        setattr(dataset, keyword, None)
    query = find_query(dataset, STUDY_ROOT)
    matches = [dict(match.attributes) async for match in index.find(query)]
    return await index.counts(), matches, await index.lookup([f"1.2.3.{number}" for number in range(9)])


@pytest.mark.parametrize("other", ["the thread that writes", "another process"])
async def test_what_somebody_else_has_written_meanwhile_is_known(tmp_path: Path, other: str) -> None:
    """What is known of a series is kept from one transaction to the next, unless somebody else has written."""
    index, memory = await open_index("sqlite", tmp_path), MemoryIndex()
    assert isinstance(index, SQLIndex)
    writer = index if other == "the thread that writes" else await SQLIndex.open(index._url)
    blocking = index.blocking()
    assert blocking is not None
    for step, number in (
        [("store", 0), ("store", 3), ("add", 6), ("store", 9), ("remove", 0), ("store", 12)]
        + [("remove", each) for each in (3, 6, 9, 12)]
        + [("store", 15), ("add", 15), ("store", 15)]
    ):
        if step == "store":
            assert add(blocking, header(number)).exception(SECONDS) is None
            await memory.add([header(number)])
        elif step == "add":
            await writer.add([header(number)])
            await memory.add([header(number)])
        else:
            await writer.remove([header(number).location])
            await memory.remove([header(number).location])
        assert await everything(index) == await everything(memory), (step, number)
    if writer is not index:
        await writer.close()
    await index.close()


async def test_a_transaction_that_failed_leaves_nothing_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    index, memory = await open_index("sqlite", tmp_path), MemoryIndex()
    blocking = index.blocking()
    assert blocking is not None
    for number in (0, 3):
        assert add(blocking, header(number)).exception(SECONDS) is None
        await memory.add([header(number)])

    def fail(_writing: Writing) -> None:
        raise OSError("no room")

    with monkeypatch.context() as patched:
        patched.setattr(Writing, "_flush", fail)
        assert isinstance(add(blocking, header(1)).exception(SECONDS), OSError)
    assert await everything(index) == await everything(memory)
    for number in (4, 6):
        assert add(blocking, header(number)).exception(SECONDS) is None
        await memory.add([header(number)])
        assert await everything(index) == await everything(memory)
    await index.close()


async def test_a_look_up_does_not_wait_for_who_waits_to_write(tmp_path: Path) -> None:
    index = await open_index("sqlite", tmp_path)
    assert isinstance(index, SQLIndex)
    direct = index._direct
    assert direct is not None
    assert add(direct, header(1)).exception(SECONDS) is None
    with direct._turn:
        assert direct.lookup("1.2.3.1") == header(1).entry
        assert direct.lookup("1.2.3.2") is None
    await index.close()


async def test_who_locks_the_database_keeps_one_thread_of_the_files_busy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody has the index open in a tool: what is sent meanwhile waits, and files are read all the same."""
    handed_over: asyncio.Queue[Header] = asyncio.Queue()
    loop, real = asyncio.get_running_loop(), DirectIndex.add

    def told(direct: DirectIndex, header: Header) -> Future[None]:
        loop.call_soon_threadsafe(handed_over.put_nowait, header)
        return real(direct, header)

    monkeypatch.setattr(DirectIndex, "add", told)
    archive = await Archive.open(tmp_path)
    server = aiodimse.Server(ae_title="ARCHIVE")
    provide(server, archive, durable=False)
    outside = sqlite3.connect(tmp_path / FILE, isolation_level=None)
    async with contextlib.AsyncExitStack() as stack, asyncio.timeout(SECONDS):
        users = [
            await stack.enter_async_context(testing.joined(server, contexts=[sop_class.MRImageStorage]))
            for _ in range(12)
        ]
        assert (await users[0].c_store(an_instance(0))).status == 0x0000
        location = (await handed_over.get()).location
        outside.execute("BEGIN IMMEDIATE")
        stores = [asyncio.create_task(user.c_store(an_instance(number))) for number, user in enumerate(users, 1)]
        for _ in stores:
            await handed_over.get()
        assert (await aiodimse.Instance.open(tmp_path / location)).sop_instance_uid == "1.2.1.1.0"
        assert not any(task.done() for task in stores)
        outside.execute("ROLLBACK")
        assert {response.status for response in await asyncio.gather(*stores)} == {0x0000}
    assert (await archive.index.counts()).instances == 13
    outside.close()
    await archive.close()


def an_instance(number: int) -> Dataset:
    dataset = make_object(image=str(number))
    dataset.ensure_file_meta()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    return dataset


async def test_only_sqlite_is_asked_in_the_threads_that_save(tmp_path: Path) -> None:
    """A database server that does not answer must not keep the threads that everybody reads files in."""
    assert MemoryIndex().blocking() is None
    index = await open_index("postgresql", tmp_path)
    assert isinstance(index, SQLIndex)
    assert index.blocking() is None
    await index.close()


async def test_a_rollback_that_fails_is_not_the_end_of_storing(tmp_path: Path) -> None:
    """The disk has an error: the connection would stay in its transaction, and refuse every later one."""

    class Broken:
        """A connection that neither commits nor rolls back."""

        def __init__(self, connection: Any) -> None:
            self._connection = connection

        def __getattr__(self, name: str) -> Any:
            return getattr(self._connection, name)

        def cursor(self) -> Any:
            return BrokenCursor(self._connection.cursor())

        def rollback(self) -> None:
            raise sqlite3.OperationalError("disk I/O error")

    class BrokenCursor:
        def __init__(self, cursor: Any) -> None:
            self._cursor = cursor

        def __getattr__(self, name: str) -> Any:
            return getattr(self._cursor, name)

        def execute(self, statement: str, *values: Any) -> Any:
            if statement == "COMMIT":
                raise sqlite3.OperationalError("disk I/O error")
            return self._cursor.execute(statement, *values)

    index = await SQLIndex.open(url_of(tmp_path / "index.db"))
    blocking: Any = index.blocking()

    def error_of(number: int) -> BaseException | None:
        done = blocking.add(header(number))
        blocking.write()
        return done.exception(SECONDS)

    assert error_of(1) is None
    blocking._connection = Broken(blocking._connection)
    assert isinstance(error_of(2), sqlite3.OperationalError)
    assert error_of(2) is None
    assert len(await index.lookup([header(1).unique(Level.IMAGE), header(2).unique(Level.IMAGE)])) == 2
    await index.close()
