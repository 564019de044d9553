"""Threads that add objects at the same time share transactions."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest
from archive.databases import open_index

from aiodimse.archive.index import Header, MemoryIndex
from aiodimse.archive.index.sql import SQLIndex
from aiodimse.archive.index.sql.together import Together
from aiodimse.archive.models import Level

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


def test_who_finds_nobody_at_it_does_it_himself() -> None:
    transactions, elsewhere = Transactions(), list[Callable[[], None]]()
    transactions.may_end.set()
    together = Together(transactions.take, elsewhere.append)
    for number in range(3):
        assert together.add(header(number)).done()
    assert transactions.taken == [[header(0)], [header(1)], [header(2)]]
    assert set(transactions.threads) == {threading.current_thread().name}
    assert elsewhere == []


@pytest.mark.parametrize("fails", [False, True])
def test_what_comes_meanwhile_is_the_next_transaction(fails: bool) -> None:
    transactions, elsewhere = Transactions(), list[Callable[[], None]]()
    together = Together(transactions.take, elsewhere.append)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(together.add, header(0))
        assert transactions.began.wait(SECONDS)
        others = [together.add(header(number)) for number in range(1, 4)]
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
    assert together.add(header(4)).done(), "whoever comes next finds nobody at it"


def test_one_that_fails_does_not_stop_the_next() -> None:
    transactions = Transactions()
    transactions.may_end.set()
    transactions.error = ConnectionError("gone")
    together = Together(transactions.take, lambda _: None)
    assert isinstance(together.add(header(0)).exception(), ConnectionError)
    transactions.error = None
    assert together.add(header(1)).exception() is None


def test_nobody_cancels_it() -> None:
    transactions = Transactions()
    together = Together(transactions.take, lambda _: None)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(together.add, header(0))
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
        added: list[Future[None]] = list(pool.map(lambda number: blocking.add(header(number)), range(200)))
    assert [each.exception(SECONDS) for each in added] == [None] * 200
    counts = await index.counts()
    assert (counts.studies, counts.series, counts.instances) == (1, 3, 200)
    assert blocking.lookup("1.2.3.7") == header(7).entry
    assert await index.lookup(["1.2.3.7", "1.2.3.8", "no"]) == {f"1.2.3.{n}": header(n).entry for n in (7, 8)}
    await index.close()


async def test_only_sqlite_is_asked_in_the_threads_that_save(tmp_path: Path) -> None:
    """A database server that does not answer must not keep the threads that everybody reads files in."""
    assert MemoryIndex().blocking() is None
    index = await open_index("postgresql", tmp_path)
    assert isinstance(index, SQLIndex)
    assert index.blocking() is None
    await index.close()
