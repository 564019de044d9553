"""An index that does not answer: requests are refused with the status of their service, it is logged once, and all goes
on when it answers again."""

from __future__ import annotations

import asyncio
import logging
import signal
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterator, Sequence
from concurrent.futures import Future
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from archive.conftest import make_object
from archive.databases import PROGRAMS
from durable.archive_kills import Postgres
from pydicom import Dataset

import aiodimse
from aiodimse import sop_class
from aiodimse.archive import Archive, Entry, MemoryIndex, provide
from aiodimse.archive.availability import Availability
from aiodimse.archive.index.interface import FREELY, Turn
from aiodimse.archive.index.opening import FILE
from aiodimse.archive.index.records import Match, TransactionName
from aiodimse.archive.index.sql import advisory
from aiodimse.archive.index.sql import index as sql_index
from aiodimse.archive.queries import Query
from aiodimse.commitment import INSTANCE
from aiodimse.commitment import SOP_CLASS as COMMITMENT

HOST = "127.0.0.1"
Record = Callable[[str, int], None]
MR = sop_class.MRImageStorage
FIND, GET, MOVE = (
    getattr(sop_class, f"StudyRootQueryRetrieveInformationModel{what}") for what in ("Find", "Get", "Move")
)
REPOSITORY = sop_class.RepositoryQuery
COMPOSITE = sop_class.CompositeInstanceRootRetrieveGet
DOES_NOT_ANSWER = "the index does not answer ({}): requests are refused until it does"
AGAIN = "the index answers again"


class OfADriver(Exception):
    """What no one has heard of."""


class Lost(MemoryIndex):
    """Raises as long as there is something to raise."""

    error: Exception | None = None
    after: int = 0
    """Matches that come first."""

    def _check(self) -> None:
        if self.error is not None:
            raise self.error

    async def add(self, headers: Any) -> None:
        self._check()
        await super().add(headers)

    async def lookup(self, sop_instance_uids: Collection[str]) -> dict[str, Entry]:
        self._check()
        return await super().lookup(sop_instance_uids)

    async def find(self, query: Query, turn: Turn = FREELY) -> AsyncGenerator[Match, None]:
        number = 0
        async with aclosing(super().find(query, turn)) as found:
            async for match in found:
                if number == self.after:
                    self._check()
                number += 1
                yield match

    async def entries(self, query: Query, turn: Turn = FREELY) -> AsyncGenerator[Entry, None]:
        self._check()
        async with aclosing(super().entries(query, turn)) as found:
            async for each in found:
                yield each

    async def transactions(self) -> list[TransactionName]:
        self._check()
        return await super().transactions()


class LostLocks:
    """Locks of other processes, in a database that is away."""

    def __init__(self, index: Lost) -> None:
        self._index = index

    async def try_lock(self, numbers: Sequence[int], *, is_shared: bool = False) -> bool:
        self._index._check()
        return True

    async def unlock(self, numbers: Sequence[int], *, is_shared: bool = False) -> None:
        pass

    async def close(self, timeout: float = 5.0) -> None:
        pass


def instance(number: int = 1) -> Dataset:
    dataset: Dataset = make_object(image=str(number))
    dataset.ensure_file_meta()
    dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    return dataset


def question() -> Dataset:
    dataset, item = Dataset(), Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = MR, "1.2.1.1.1"
    dataset.TransactionUID, dataset.ReferencedSOPSequence = "1.9", [item]
    return dataset


STUDY = aiodimse.identifier("STUDY", StudyInstanceUID="1.2.1", PatientID=None)
FRAME = aiodimse.identifier("FRAME", SOPInstanceUID="1.2.1.1.1", SimpleFrameList=[1])
CALLS: dict[str, tuple[Callable[[aiodimse.Association], Any], int]] = {
    "store": (lambda peer: peer.c_store(instance()), 0xA700),
    "find": (lambda peer: peer.c_find(STUDY, FIND), 0xA700),
    "repository query": (lambda peer: peer.c_find(STUDY, REPOSITORY), 0xA700),
    "get": (lambda peer: peer.c_get(STUDY, GET), 0xA701),
    "get of frames": (lambda peer: peer.c_get(FRAME, COMPOSITE), 0xA701),
    "move": (lambda peer: peer.c_move(STUDY, MOVE, destination="THERE"), 0xA701),
    "commitment": (lambda peer: peer.n_action(COMMITMENT, INSTANCE, 1, question()), 0x0213),
}


@asynccontextmanager
async def served(archive: Archive) -> AsyncIterator[aiodimse.Association]:
    server = aiodimse.Server(ae_title="ARCHIVE")
    provide(server, archive, destinations={"THERE": (HOST, 9)})
    contexts = [MR, FIND, GET, MOVE, REPOSITORY, COMPOSITE, COMMITMENT]
    async with server.listen(HOST, 0) as listening:
        connecting = aiodimse.connect(HOST, listening.port, called_ae_title="ARCHIVE", contexts=contexts)
        async with connecting as association:
            yield association


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [each.getMessage() for each in caplog.records if each.levelno >= logging.WARNING]


@pytest.mark.parametrize("error", [OfADriver("Doe^Jane"), OSError("1.2.3"), TimeoutError()], ids=repr)
@pytest.mark.parametrize("name", CALLS)
async def test_a_request_is_refused_and_the_next_one_served(
    tmp_path: Path, name: str, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    index = Lost()
    archive = await Archive.open(tmp_path, index=index)
    call, refused = CALLS[name]
    async with served(archive) as peer:
        assert (await peer.c_store(instance())).status == 0x0000
        index.error = error
        for _ in range(3):
            assert (await call(peer)).status == refused
        assert said(caplog) == [DOES_NOT_ANSWER.format(type(error).__name__)]
        index.error = None
        assert (await call(peer)).status != refused
        assert (await peer.c_store(instance())).status == 0x0000
        assert said(caplog)[1:2] == [AGAIN]
    await archive.close()


async def test_the_error_of_sqlite_is_named_by_its_code(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The statements that run without SQLAlchemy raise it as it is. Its text may have values, and is left out."""
    index = Lost()
    archive = await Archive.open(tmp_path, index=index)
    index.error = sqlite3.OperationalError("disk I/O error: Doe^Jane")
    index.error.sqlite_errorname = "SQLITE_IOERR"  # as Python sets it from 3.11 on
    async with served(archive) as peer:
        assert (await peer.c_store(instance())).status == 0xA700
    assert said(caplog)[-1:] == [DOES_NOT_ANSWER.format("OperationalError SQLITE_IOERR")]
    await archive.close()


@pytest.mark.parametrize("name", ["store", "commitment"])
async def test_locks_that_are_in_the_database(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    index = Lost()
    monkeypatch.setattr(index, "process_locks", lambda: LostLocks(index))
    archive = await Archive.open(tmp_path, index=index)
    call, refused = CALLS[name]
    async with served(archive) as peer:
        index.error = OfADriver()
        assert (await call(peer)).status == refused
        assert said(caplog) == [DOES_NOT_ANSWER.format("OfADriver")]
        index.error = None
        assert (await call(peer)).status == 0x0000
    await archive.close()


async def test_in_the_middle_of_a_search(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    index = Lost()
    archive = await Archive.open(tmp_path, index=index)
    query = aiodimse.identifier("IMAGE", StudyInstanceUID="1.2.1", SeriesInstanceUID="1.2.1.1", SOPInstanceUID=None)
    async with served(archive) as peer:
        for number in range(3):
            await peer.c_store(instance(number))
        index.error, index.after = OfADriver(), 2
        matches = peer.c_find(query, FIND)
        await anext(matches)
        await anext(matches)
        with pytest.raises(aiodimse.DIMSEFailure) as caught:
            await anext(matches)
        assert caught.value.status == 0xA700
    assert said(caplog) == [DOES_NOT_ANSWER.format("OfADriver")]
    await archive.close()


def test_how_often_it_is_said(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    availability = Availability(lambda: now)

    def ask(error: Exception | None) -> None:
        with suppress(aiodimse.DIMSEFailure), availability.asked(0xA700):
            if error is not None:
                raise error
        assert availability.is_up == (error is None)

    for second in range(59):
        now = float(second)
        ask(OfADriver())
        ask(None)
    line = DOES_NOT_ANSWER.format("OfADriver")
    assert said(caplog) == [line, AGAIN]
    now = 60.0
    ask(OfADriver())
    ask(OfADriver())
    assert said(caplog) == [line, AGAIN, line]


def test_nothing_is_said_of_an_index_that_is_being_closed(caplog: pytest.LogCaptureFixture) -> None:
    availability = Availability()
    availability.is_closing = True
    with pytest.raises(aiodimse.DIMSEFailure), availability.asked(0xA700):
        raise OfADriver
    assert said(caplog) == []


def test_what_a_search_refuses_is_no_fault_of_the_index(caplog: pytest.LogCaptureFixture) -> None:
    availability = Availability()
    with pytest.raises(aiodimse.DIMSEFailure) as caught, availability.asked(0xA700):
        raise aiodimse.DIMSEFailure(0xA701, "more than 3 matches")
    assert caught.value.status == 0xA701
    assert availability.is_up
    assert said(caplog) == []


# --- PostgreSQL -------------------------------------------------------------------------------------------------------


@pytest.fixture
def database() -> Iterator[Postgres]:
    if not (PROGRAMS / "postgres").exists():
        pytest.skip("PostgreSQL 15 is not here: apt-get install postgresql-15 (.ci/peers does it)")
    server = Postgres()
    try:
        server.make()
        yield server
    finally:
        server.stop()


async def test_postgresql_is_killed_and_started_again(
    tmp_path: Path, database: Postgres, caplog: pytest.LogCaptureFixture, record_property: Record
) -> None:
    archive = await Archive.open(tmp_path, index=database.url)
    async with served(archive) as peer:
        assert (await peer.c_store(instance())).status == 0x0000
        database.signal_all(signal.SIGKILL)
        for name in ("store", "find", "get", "commitment", "store"):
            call, refused = CALLS[name]
            assert (await call(peer)).status == refused, name
        (line,) = [line for line in said(caplog) if "index" in line]
        # Whether the server still says 57P01 (it is terminated by an administrator) depends on who is killed first.
        assert line in (DOES_NOT_ANSWER.format(f"OperationalError{code}") for code in ("", " 57P01"))
        await asyncio.to_thread(database.start)
        assert (await peer.c_store(instance(2))).status == 0x0000
        assert len(await peer.c_find(STUDY, FIND).collect()) == 1
        assert said(caplog)[-1] == AGAIN
    record_property("outages of PostgreSQL", 1)
    await archive.close()


async def test_postgresql_is_stopped_and_goes_on(
    tmp_path: Path,
    database: Postgres,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    record_property: Record,
) -> None:
    """A database that neither answers nor closes its connections."""
    archive = await Archive.open(tmp_path, index=database.url)
    async with served(archive) as peer:
        assert (await peer.c_store(instance())).status == 0x0000
        for module in (sql_index, advisory):
            monkeypatch.setattr(module, "ANSWER", 0.1)
        database.signal_all(signal.SIGSTOP)
        try:
            for name in ("store", "find", "get", "commitment"):
                call, refused = CALLS[name]
                assert (await call(peer)).status == refused, name
        finally:
            database.signal_all(signal.SIGCONT)
        monkeypatch.undo()
        assert (await peer.c_store(instance(2))).status == 0x0000
    assert said(caplog)[0] == DOES_NOT_ANSWER.format("TimeoutError")
    record_property("outages of PostgreSQL", 1)
    await archive.close()


# --- SQLite -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["lookup", "add"])
async def test_sqlite_that_the_threads_ask_which_save(
    tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    archive = await Archive.open(tmp_path)
    blocking = archive.index.blocking()
    assert blocking is not None

    def fail(argument: object) -> Future[None]:
        if what == "lookup":
            raise OfADriver
        failed: Future[None] = Future()
        failed.set_exception(OfADriver())
        return failed

    async with served(archive) as peer:
        with monkeypatch.context() as patched:
            patched.setattr(type(blocking), what, lambda self, argument: fail(argument))
            assert (await peer.c_store(instance(1))).status == 0xA700
            assert (await peer.c_store(instance(2))).status == 0xA700
        assert said(caplog)[:1] == [DOES_NOT_ANSWER.format("OfADriver")]
        assert (await peer.c_store(instance(1))).status == 0x0000  # though its file may have been there already
        assert len(await peer.c_find(STUDY, FIND).collect()) == 1
    await archive.close()


@pytest.mark.parametrize("name", CALLS)
async def test_a_file_of_the_index_that_was_moved_away(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    """SQLite does not notice: a storage commitment was accepted that nobody would have known of after a restart."""
    archive = await Archive.open(tmp_path)
    call, refused = CALLS[name]
    file, elsewhere = tmp_path / FILE, tmp_path / "elsewhere"
    async with served(archive) as peer:
        assert (await peer.c_store(instance())).status == 0x0000
        file.rename(elsewhere)
        for there in (False, True):
            if there:
                file.write_bytes(b"another one")
            assert (await call(peer)).status == refused
        assert said(caplog) == [DOES_NOT_ANSWER.format("IndexFileReplaced")]
        elsewhere.rename(file)
        assert (await call(peer)).status != refused
        assert said(caplog)[1:2] == [AGAIN]
    await archive.close()


async def test_a_file_of_the_index_that_was_removed(tmp_path: Path) -> None:
    """All instances are found after the next start."""
    async with await Archive.open(tmp_path) as archive, served(archive) as peer:
        assert (await peer.c_store(instance(1))).status == 0x0000
        for file in tmp_path.glob(f"{FILE}*"):
            file.unlink()
        assert (await peer.c_store(instance(2))).status == 0xA700
        assert not (tmp_path / FILE).exists()
    async with await Archive.open(tmp_path) as archive, served(archive) as peer:
        assert len([match async for match in peer.c_find(STUDY, FIND)]) == 1
        assert (await peer.c_store(instance(2))).status == 0x0000


async def test_a_folder_that_was_moved_away(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """No folder for an object can be made in it, and the log says that once, without the UID."""
    folder = tmp_path / "archive"
    folder.mkdir()
    archive = await Archive.open(folder)
    async with served(archive) as peer:
        folder.rename(tmp_path / "elsewhere")
        for number in (1, 2):
            response = await peer.c_store(instance(number))
            assert (response.status, response.error_comment) == (0xA700, "the storage is not there")
    gone = "a C-STORE is refused: the folder of the archive is not the one that was opened"
    (line,) = said(caplog)
    assert line.endswith(gone)
    await archive.close()


async def test_a_disk_that_is_not_mounted_any_more(tmp_path: Path) -> None:
    """Nothing is left where it was mounted, not even an empty folder."""
    folder = tmp_path / "archive"
    folder.mkdir()
    archive = await Archive.open(folder, index="memory:")
    async with served(archive) as peer:
        folder.rename(tmp_path / "elsewhere")
        folder.mkdir()
        for number in (1, 2):
            response = await peer.c_store(instance(number))
            assert (response.status, response.error_comment) == (0xA700, "the storage is not there")
    assert list(folder.iterdir()) == []
    await archive.close()
