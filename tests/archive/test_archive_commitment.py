"""Storage Commitment as an archive provides it: what is kept, who is told, and that a restart goes on."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from time import time
from types import SimpleNamespace
from typing import Any

import pytest
from archive.databases import KINDS, new_database, open_index
from pydicom import Dataset
from pynetdicom import AE, evt

import aiodimse
from aiodimse import sop_class, testing
from aiodimse.aio.turns import SHARE, SLICE, turns_of
from aiodimse.archive import Archive, MemoryIndex, provide
from aiodimse.archive import commitment as module
from aiodimse.archive.clock_record import ClockRecord
from aiodimse.archive.index import Transaction
from aiodimse.archive.index.sql import engines
from aiodimse.archive.storage import StorageGone
from aiodimse.commitment import INSTANCE
from aiodimse.commitment import SOP_CLASS as COMMITMENT

HOST = "127.0.0.1"
MR, CT = sop_class.MRImageStorage, sop_class.CTImageStorage
Files = Callable[..., Path]
Told = asyncio.Queue[tuple[int, Dataset]]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_AFTER_RESPONSE", 0.0)


def question(*references: tuple[str, str], uid: str = "1.9.1") -> Dataset:
    dataset = Dataset()
    dataset.TransactionUID, dataset.ReferencedSOPSequence = uid, []
    for sop_class_uid, sop_instance_uid in references:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class_uid, sop_instance_uid
        dataset.ReferencedSOPSequence.append(item)
    return dataset


def modality(told: Told, *, failures: int = 0) -> aiodimse.Server:
    server = aiodimse.Server(ae_title="MODALITY")
    left = failures

    @server.on_n_event_report(COMMITMENT)
    async def report(request: aiodimse.NormalizedRequest) -> int:
        nonlocal left
        if left:
            left -= 1
            return 0x0110
        assert request.event_type_id is not None
        assert request.dataset is not None
        told.put_nowait((request.event_type_id, request.dataset))
        return 0x0000

    return server


def serving(archive: Archive, destinations: Any = None) -> aiodimse.Server:
    server = aiodimse.Server(ae_title="ARCHIVE")
    provide(server, archive, destinations=destinations, durable=False)
    return server


async def ask(port: int, dataset: Dataset, handlers: aiodimse.Server | None = None, told: Told | None = None) -> int:
    async with aiodimse.connect(
        HOST, port, ae_title="MODALITY", called_ae_title="ARCHIVE", contexts=[COMMITMENT], handlers=handlers
    ) as association:
        response = await association.n_action(COMMITMENT, INSTANCE, 1, dataset)
        if told is not None:
            told.put_nowait(await asyncio.wait_for(told.get(), 10))  # before the association ends
        return response.status


async def test_all_is_kept_and_told_on_the_same_association(tmp_path: Path, a_file: Files) -> None:
    a_file("1.dcm")
    told: Told = asyncio.Queue()
    archive = await Archive.open(tmp_path, index="memory:")
    async with serving(archive).listen(HOST, 0) as listening:
        assert await ask(listening.port, question((MR, "1.2.1.1.1")), modality(told), told) == 0x0000
    event_type, report = told.get_nowait()
    assert event_type == 1
    assert (report.TransactionUID, report.RetrieveAETitle) == ("1.9.1", "ARCHIVE")
    assert [item.ReferencedSOPInstanceUID for item in report.ReferencedSOPSequence] == ["1.2.1.1.1"]
    await archive.close()
    assert await archive.index.transactions() == []


async def test_a_report_on_the_same_association_waits_until_the_response_was_read(
    tmp_path: Path, a_file: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A peer that reads both at once may take the report for the response."""
    monkeypatch.undo()  # the pause of a service
    told: Told = asyncio.Queue()
    has_begun, is_over = asyncio.Event(), asyncio.Event()
    after = module._AFTER_RESPONSE
    assert after >= 0.1

    async def pause(seconds: float) -> None:
        if seconds == module._LOOK_AGAIN:
            await asyncio.Event().wait()
        if seconds != after:  # others have their turn
            await asyncio.sleep(0)
            return
        has_begun.set()
        await is_over.wait()

    monkeypatch.setattr(module, "asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": pause}))
    a_file("1.dcm")
    archive = await Archive.open(tmp_path, index="memory:")
    async with (
        serving(archive).listen(HOST, 0) as listening,
        aiodimse.connect(
            HOST,
            listening.port,
            ae_title="MODALITY",
            called_ae_title="ARCHIVE",
            contexts=[COMMITMENT],
            handlers=modality(told),
        ) as association,
    ):
        response = await association.n_action(COMMITMENT, INSTANCE, 1, question((MR, "1.2.1.1.1")))
        assert response.status == 0x0000
        await asyncio.wait_for(has_begun.wait(), 10)
        await testing.settle()
        assert told.empty()
        is_over.set()
        await asyncio.wait_for(told.get(), 10)
    await archive.close()


async def test_what_is_not_kept_is_named_with_its_reason(tmp_path: Path, a_file: Files) -> None:
    a_file("1.dcm", image="1")
    a_file("2.dcm", image="2")
    told: Told = asyncio.Queue()
    archive = await Archive.open(tmp_path, index="memory:")
    (tmp_path / "2.dcm").unlink()  # behind the back of the archive
    asked = question((MR, "1.2.1.1.1"), (MR, "9.9"), (CT, "1.2.1.1.1"), (MR, "1.2.1.1.2"))
    async with serving(archive).listen(HOST, 0) as listening:
        await ask(listening.port, asked, modality(told), told)
    event_type, report = told.get_nowait()
    assert event_type == 2
    assert len(report.ReferencedSOPSequence) == 1
    reasons = [(item.ReferencedSOPInstanceUID, item.FailureReason) for item in report.FailedSOPSequence]
    assert reasons == [("9.9", 0x0112), ("1.2.1.1.1", 0x0119), ("1.2.1.1.2", 0x0112)]
    await archive.close()


async def test_others_have_their_turns_while_many_instances_are_read_and_reported(
    tmp_path: Path, a_file: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading a request of 10,000 instances takes 0.2 s, and so does making its report."""
    a_file("1.dcm")
    turns = turns_of(asyncio.get_running_loop())
    now, waited, next_share = itertools.count(step=SHARE), [0], turns.next_share

    async def counted() -> None:
        waited[0] += 1
        await next_share()

    monkeypatch.setattr(turns, "now", lambda: next(now))  # whatever is done between two looks takes a share
    monkeypatch.setattr(turns, "next_share", counted)
    told: Told = asyncio.Queue()
    archive = await Archive.open(tmp_path, index="memory:")
    asked = question((MR, "1.2.1.1.1"), *((MR, f"9.{number}") for number in range(20 * SLICE)))
    async with serving(archive).listen(HOST, 0) as listening:
        assert await ask(listening.port, asked, modality(told), told) == 0x0000
    _, report = told.get_nowait()
    assert len(report.FailedSOPSequence) == 20 * SLICE
    assert waited[0] >= 40  # 20 for the request, and 20 for the report
    await archive.close()


async def test_who_hangs_up_is_called_until_it_is_taken(
    tmp_path: Path, a_file: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.Commitment.__init__, "__defaults__", ((0.0,),))
    a_file("1.dcm")
    told: Told = asyncio.Queue()
    archive = await Archive.open(tmp_path, index="memory:")
    async with modality(told, failures=2).listen(HOST, 0) as there:
        async with serving(archive, {"MODALITY": (HOST, there.port)}).listen(HOST, 0) as listening:
            await ask(listening.port, question((MR, "1.2.1.1.1")))
            event_type, _ = await asyncio.wait_for(told.get(), 10)
        assert event_type == 1
    await archive.close()


@pytest.mark.parametrize(("failures", "warnings"), [(3, 0), (4, 1), (7, 1)])
async def test_that_reports_are_not_taken_is_said_once_at_the_fifth(
    tmp_path: Path,
    a_file: Files,
    failures: int,
    warnings: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The first is on the association that asked, which takes none here."""
    monkeypatch.setattr(module.Commitment.__init__, "__defaults__", ((0.0,),))
    a_file("1.dcm")
    told: Told = asyncio.Queue()
    archive = await Archive.open(tmp_path, index="memory:")
    async with (
        modality(told, failures=failures).listen(HOST, 0) as there,
        serving(archive, {"MODALITY": (HOST, there.port)}).listen(HOST, 0) as listening,
    ):
        await ask(listening.port, question((MR, "1.2.1.1.1")))
        await asyncio.wait_for(told.get(), 10)
    assert caplog.text.count("takes no report of a storage commitment") == warnings
    await archive.close()


async def test_nothing_is_said_while_the_disk_is_not_mounted(
    tmp_path: Path, a_file: Files, caplog: pytest.LogCaptureFixture
) -> None:
    """That the instances are missing would not be true, nor that it is the index that does not answer. The report comes
    when the disk is back."""
    a_file("files/1.dcm")
    folder = tmp_path / "files"
    archive = await Archive.open(folder, index="memory:")
    reporting = module.Commitment(archive, {"MODALITY": (HOST, 9)}, "ARCHIVE")
    transaction = Transaction("1.9.1", "MODALITY", ((MR, "1.2.1.1.1"), (MR, "9.9")), int(time()))
    folder.rename(tmp_path / "disk")
    folder.mkdir()
    with pytest.raises(StorageGone):
        await reporting._outcome(transaction)
    assert await reporting._attempt(transaction, module._Report(None)) == "StorageGone"
    assert archive.availability.is_up
    assert caplog.text == ""
    folder.rmdir()
    (tmp_path / "disk").rename(folder)
    report = await reporting._outcome(transaction)
    assert [each.failure_reason for each in report.references] == [0, 0x0112]
    await archive.close()


DAY = 24 * 3600


@pytest.mark.parametrize("jump", [0, 3650 * DAY, -3650 * DAY])
async def test_a_peer_that_takes_no_report_is_called_less_and_less(
    tmp_path: Path, a_file: Files, jump: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """For seven days, 340 times, however the clock is set. The operator is told after two minutes, and at the end."""
    a_file("1.dcm")
    now, elapsed, waits = 1_700_000_000.0, 0.0, list[float]()
    archive = await Archive.open(tmp_path, index="memory:")
    reporting = module.Commitment(archive, {}, "ARCHIVE", now=lambda: now, elapsed=lambda: elapsed)

    async def wait(seconds: float) -> None:
        nonlocal now, elapsed
        waits.append(seconds)
        now += seconds + (jump if len(waits) == 9 else 0)
        elapsed += seconds

    monkeypatch.setattr(module.asyncio, "sleep", wait)
    transaction = Transaction("1.9.1", "MODALITY", ((MR, "1.2.1.1.1"),), int(now))
    await archive.index.put_transaction(transaction)
    await reporting._take_over()
    (task,) = [each for each in asyncio.all_tasks() if each.get_name() == "aiodimse storage commitment"]
    await task
    assert waits[:8] == [1, 5, 30, 60, 300, 900, 1800, 1800]
    assert 330 < len(waits) < 350
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "'MODALITY' takes no report of a storage commitment (no address is known): it is repeated for seven days",
        "a storage commitment is given up: 'MODALITY' took no report",
    ]
    assert await archive.index.transactions() == []
    await archive.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("days", [3, 4, 3650])
async def test_a_clock_that_is_wrong_after_a_restart_drops_no_transaction(
    tmp_path: Path, kind: str, days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pause of up to half of the seven days is believed. What another user has seen of the clock does not count."""
    now, elapsed, tried = 1_700_000_000.0, 0.0, 0
    archive = Archive(tmp_path, index=await open_index(kind, tmp_path))
    await archive.index.put_transaction(Transaction("1.9.1", "MODALITY", ((MR, "1.2.1.1.1"),), int(now) - 5 * DAY))
    await archive.index.put_clock_record("retention", ClockRecord(now + 3650 * DAY).dump())

    async def reported(until: int) -> None:
        nonlocal now, elapsed, tried
        reporting = module.Commitment(archive, {}, "ARCHIVE", now=lambda: now, elapsed=lambda: elapsed)
        (name,) = await archive.index.transactions()
        transaction = await archive.index.transaction(name)
        assert transaction is not None
        clock = reporting._elapsed()
        while tried < until and not await reporting._is_over(transaction, clock):
            now, elapsed, tried = now + DAY / 2, elapsed + DAY / 2, tried + 1

    now -= 5 * DAY
    await reported(2)
    now += days * DAY
    await reported(99)
    # In halves of days. The half since the clock was last read does not count where it skips.
    assert tried == (14 - 2 * days if days == 3 else 15)
    assert await archive.index.clock_record("retention") == ClockRecord(1_700_000_000.0 + 3650 * DAY).dump()
    await archive.close()


async def test_a_peer_gets_so_many_associations_at_a_time(tmp_path: Path, a_file: Files) -> None:
    """Ten reports are due after a restart; who asks again meanwhile is told at once, on its own association."""
    a_file("files/1.dcm")
    archive = await Archive.open(tmp_path / "files", index="memory:")
    for number in range(10):
        await archive.index.put_transaction(Transaction(f"1.9.{number}", "MODALITY", ((MR, "1.2.1.1.1"),), int(time())))
    open_now, most, may_end, are_open = 0, 0, asyncio.Event(), asyncio.Event()
    reported: list[str] = []
    peer = aiodimse.Server(ae_title="MODALITY")

    @peer.on_n_event_report(COMMITMENT)
    async def report(request: aiodimse.NormalizedRequest) -> int:
        nonlocal open_now, most
        open_now += 1
        most = max(most, open_now)
        if open_now == 4:
            are_open.set()
        await may_end.wait()
        open_now -= 1
        assert request.dataset is not None
        reported.append(request.dataset.TransactionUID)
        return 0x0000

    told: Told = asyncio.Queue()
    async with (
        peer.listen(HOST, 0) as there,
        serving(archive, {"MODALITY": (HOST, there.port)}).listen(HOST, 0) as listening,
    ):
        await asyncio.wait_for(are_open.wait(), 10)
        last = question((MR, "1.2.1.1.1"), uid="1.9.9")
        assert await ask(listening.port, last, modality(told), told) == 0x0000
        may_end.set()
        while await archive.index.transactions():  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert (most, sorted(reported)) == (4, [f"1.9.{number}" for number in range(9)])
    await archive.close()


@pytest.mark.parametrize("calls", [False, True], ids=["on the same association", "on one of the archive"])
async def test_a_report_whose_response_does_not_arrive_is_sent_again(
    tmp_path: Path, a_file: Files, monkeypatch: pytest.MonkeyPatch, calls: bool
) -> None:
    """It may have been lost. One that has been accepted is not sent again (PS3.4 J.3.3.1.2)."""
    monkeypatch.setattr(module.Commitment.__init__, "__defaults__", ((0.0,),))
    a_file("1.dcm")
    reports: list[str] = []
    accepted = asyncio.Event()
    modality = aiodimse.Server(ae_title="MODALITY")

    @modality.on_n_event_report(COMMITMENT)
    async def report(request: aiodimse.NormalizedRequest) -> int:
        assert request.dataset is not None
        reports.append(request.dataset.TransactionUID)
        if len(reports) < 3:
            request.association.abort()
            return 0x0000  # which cannot be sent any more
        accepted.set()
        return 0x0000

    archive = await Archive.open(tmp_path, index="memory:")
    async with AsyncExitStack() as listening_to:
        there = await listening_to.enter_async_context(modality.listen(HOST, 0))
        served = serving(archive, {"MODALITY": (HOST, there.port)})
        listening = await listening_to.enter_async_context(served.listen(HOST, 0))
        with suppress(aiodimse.AssociationError):
            await ask(listening.port, question((MR, "1.2.1.1.1")), None if calls else modality)
        await asyncio.wait_for(accepted.wait(), 10)
        reporting = [each for each in asyncio.all_tasks() if each.get_name() == "aiodimse storage commitment"]
        await asyncio.wait_for(asyncio.gather(*reporting), 10)
    assert reports == ["1.9.1"] * 3
    assert await archive.index.transactions() == []
    await archive.close()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_restart_goes_on(tmp_path: Path, a_file: Files, kind: str) -> None:
    a_file("files/1.dcm")
    told: Told = asyncio.Queue()
    index = await open_index(kind, tmp_path)
    archive = await Archive.open(tmp_path / "files", index=index)
    async with serving(archive).listen(HOST, 0) as listening:
        await ask(listening.port, question((MR, "1.2.1.1.1")))
        (name,) = await index.transactions()
        kept = await index.transaction(name)
        assert kept is not None
    # As when its process dies; who lives goes on to report by itself.
    reporting = [task for task in asyncio.all_tasks() if task.get_name().startswith("aiodimse storage commitment")]
    for task in reporting:
        task.cancel()
    await asyncio.wait(reporting)
    await archive.locks.close()
    assert (kept.uid, kept.calling_ae_title, kept.references) == ("1.9.1", "MODALITY", ((MR, "1.2.1.1.1"),))
    async with modality(told).listen(HOST, 0) as there:
        again = Archive(tmp_path / "files", index=index)
        async with serving(again, {"MODALITY": (HOST, there.port)}).listen(HOST, 0):
            event_type, _ = await asyncio.wait_for(told.get(), 10)
    assert event_type == 1
    await again.close()
    await archive.close()


async def test_what_a_process_that_died_was_asked_is_told_once_by_another(
    tmp_path: Path, a_file: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three archives on one PostgreSQL, as processes have them: while one reports, the others leave it alone."""
    monkeypatch.setattr(module, "_LOOK_AGAIN", 0.01)
    a_file("files/1.dcm")
    told: Told = asyncio.Queue()
    urls = new_database()
    archives = [await Archive.open(tmp_path / "files", index=urls) for _ in range(3)]
    async with modality(told).listen(HOST, 0) as there:
        destinations = {"MODALITY": (HOST, there.port)}
        async with serving(archives[0]).listen(HOST, 0) as listening:  # which knows no address to call
            await ask(listening.port, question((MR, "1.2.1.1.1")))
            for archive in archives[1:]:
                serving(archive, destinations)
            locks = archives[1].locks
            async with locks.try_hold("commitment MODALITY 1.9.1") as is_free:
                assert not is_free
        assert told.empty()
        await archives[0].close()  # its locks are free now, its transactions are kept
        event_type, _ = await asyncio.wait_for(told.get(), 10)
        while await archives[1].index.transactions():  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert (event_type, told.empty()) == (1, True)
    for archive in archives[1:]:
        await archive.close()


class SharedLocks:
    """Locks of several processes, which are in one set."""

    def __init__(self, held: set[int]) -> None:
        self._held = held

    async def try_lock(self, numbers: Sequence[int], *, is_shared: bool = False) -> bool:
        if self._held.intersection(numbers):
            return False
        self._held.update(numbers)
        return True

    async def unlock(self, numbers: Sequence[int], *, is_shared: bool = False) -> None:
        self._held.difference_update(numbers)

    async def close(self, timeout: float = 5.0) -> None:
        pass


async def test_who_was_asked_reports_though_another_looks_at_that_moment(
    tmp_path: Path, a_file: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The association of the N-ACTION is the only way to this peer: whoever else took it over could not report."""
    a_file("1.dcm")
    index, held = MemoryIndex(), set[int]()
    monkeypatch.setattr(index, "process_locks", lambda: SharedLocks(held))
    first, other = [await Archive.open(tmp_path, index=index) for _ in range(2)]
    elsewhere = module.Commitment(other, {}, "ARCHIVE")
    put = index.put_transaction

    async def put_and_let_the_other_look(transaction: Transaction, *most: float) -> Transaction | None:
        stored = await put(transaction, *most)
        await elsewhere._take_over()
        await asyncio.sleep(0)  # it begins to report
        return stored

    monkeypatch.setattr(index, "put_transaction", put_and_let_the_other_look)
    told: Told = asyncio.Queue()
    async with serving(first).listen(HOST, 0) as listening:
        assert await ask(listening.port, question((MR, "1.2.1.1.1")), modality(told), told) == 0x0000
    assert told.get_nowait()[0] == 1
    for archive in (first, other):
        await archive.close()
    assert (await index.transactions(), held) == ([], set())


async def test_a_request_is_on_the_disk_when_it_is_answered(
    tmp_path: Path, a_file: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A scan brings back what a power failure takes from the index, but no request."""
    a_file("files/1.dcm")
    archive = await Archive.open(tmp_path / "files")
    flushed: list[Path] = []
    flush = engines.flush_log

    def noted(file: Path) -> None:
        assert file.with_name(f"{file.name}-wal").stat().st_size > 0
        flush(file)
        flushed.append(file)

    monkeypatch.setattr("aiodimse.archive.index.sql.index.flush_log", noted)
    async with serving(archive).listen(HOST, 0) as listening:
        assert await ask(listening.port, question((MR, "1.2.1.1.1"))) == 0x0000
        assert flushed == [tmp_path / "files" / ".aiodimse-index.db"]
    await archive.close()
    engines.flush_log(tmp_path / "no such file")


@pytest.mark.parametrize("kind", ["memory", "sqlite", "postgresql"])
async def test_a_transaction_uid_that_is_in_use(tmp_path: Path, a_file: Files, kind: str) -> None:
    """For other instances: who asks could not tell the two reports apart, and one of them would not come."""
    a_file("files/1.dcm", image="1")
    a_file("files/2.dcm", image="2")
    told: Told = asyncio.Queue()
    archive = await Archive.open(tmp_path / "files", index=await open_index(kind, tmp_path))
    first, second = question((MR, "1.2.1.1.1")), question((MR, "1.2.1.1.2"))
    async with serving(archive).listen(HOST, 0) as listening:
        assert await ask(listening.port, first) == 0x0000
        assert await ask(listening.port, second, modality(told)) == 0x0115
        (name,) = await archive.index.transactions()
        kept = await archive.index.transaction(name)
        assert kept is not None
        assert kept.references == ((MR, "1.2.1.1.1"),)
        assert told.empty()
        assert await ask(listening.port, first, modality(told), told) == 0x0000
        report = told.get_nowait()[1]
        assert [item.ReferencedSOPInstanceUID for item in report.ReferencedSOPSequence] == ["1.2.1.1.1"]
        while await archive.index.transactions():  # noqa: ASYNC110
            await asyncio.sleep(0)
        assert await ask(listening.port, second, modality(told), told) == 0x0000
    await archive.close()


async def test_who_asks_again_is_told_on_the_new_association(tmp_path: Path, a_file: Files) -> None:
    """The address of the peer is not known, and the next attempt on one that has gone is a minute away."""
    a_file("1.dcm")
    told: Told = asyncio.Queue()
    archive = await Archive.open(tmp_path, index="memory:")
    async with serving(archive).listen(HOST, 0) as listening:
        for _ in range(2):
            assert await ask(listening.port, question((MR, "1.2.1.1.1"))) == 0x0000
        assert await ask(listening.port, question((MR, "1.2.1.1.1")), modality(told), told) == 0x0000
        assert told.get_nowait()[0] == 1
        while await archive.index.transactions():  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert told.empty()
    await archive.close()


def drops_slowly(index: MemoryIndex, monkeypatch: pytest.MonkeyPatch) -> tuple[asyncio.Event, asyncio.Event]:
    """Let a report that was taken hold its lock. Returns what is set when its transaction is forgotten, and what lets
    it end."""
    dropped, may_end, drop = asyncio.Event(), asyncio.Event(), index.drop_transaction

    async def slowly(transaction: Transaction) -> None:
        await drop(transaction)
        dropped.set()
        await may_end.wait()

    monkeypatch.setattr(index, "drop_transaction", slowly)
    return dropped, may_end


async def test_who_asks_while_the_last_report_ends_is_told(
    tmp_path: Path, a_file: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its transaction is forgotten, and its lock is not released yet."""
    a_file("1.dcm")
    told: Told = asyncio.Queue()
    index = MemoryIndex()
    archive = await Archive.open(tmp_path, index=index)
    dropped, may_end = drops_slowly(index, monkeypatch)
    async with serving(archive).listen(HOST, 0) as listening:
        assert await ask(listening.port, question((MR, "1.2.1.1.1")), modality(told), told) == 0x0000
        assert told.get_nowait()[0] == 1
        await asyncio.wait_for(dropped.wait(), 10)
        asking = asyncio.ensure_future(ask(listening.port, question((MR, "9.9")), modality(told), told))
        while not await index.transactions():  # noqa: ASYNC110
            await asyncio.sleep(0)
        may_end.set()
        assert await asking == 0x0000
        assert told.get_nowait()[0] == 2
    await archive.close()


async def test_who_asks_is_told_though_the_last_report_ends_meanwhile(
    tmp_path: Path, a_file: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its lock was held when the request came, and nobody reports any more when the new transaction is stored."""
    a_file("1.dcm")
    told: Told = asyncio.Queue()
    index = MemoryIndex()
    archive = await Archive.open(tmp_path, index=index)
    dropped, may_end = drops_slowly(index, monkeypatch)
    put = index.put_transaction

    async def put_slowly(transaction: Transaction, *most: float) -> Transaction | None:
        stored = await put(transaction, *most)
        may_end.set()
        await testing.settle()
        return stored

    async with serving(archive).listen(HOST, 0) as listening:
        assert await ask(listening.port, question((MR, "1.2.1.1.1")), modality(told), told) == 0x0000
        assert told.get_nowait()[0] == 1
        await asyncio.wait_for(dropped.wait(), 10)
        monkeypatch.setattr(index, "put_transaction", put_slowly)
        assert await ask(listening.port, question((MR, "9.9")), modality(told), told) == 0x0000
        assert told.get_nowait()[0] == 2
    await archive.close()


async def test_one_peer_does_not_hold_the_transaction_uids_of_others(tmp_path: Path, a_file: Files) -> None:
    a_file("1.dcm")
    archive = await Archive.open(tmp_path, index="memory:")
    async with serving(archive).listen(HOST, 0) as listening:
        for title, asked in (("ONE", question((MR, "1.2.1.1.1"))), ("OTHER", question((MR, "9.9")))):
            async with aiodimse.connect(
                HOST, listening.port, ae_title=title, called_ae_title="ARCHIVE", contexts=[COMMITMENT]
            ) as association:
                assert (await association.n_action(COMMITMENT, INSTANCE, 1, asked)).status == 0x0000
        assert len(await archive.index.transactions()) == 2
    await archive.close()


async def test_a_peer_that_answers_nothing_about_the_role_is_told(
    tmp_path: Path, a_file: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many acceptors of a report leave the role out, though PS3.4 J.3.3 has the archive negotiate it."""
    monkeypatch.setattr(module.Commitment.__init__, "__defaults__", ((0.0,),))
    a_file("1.dcm")
    told: list[int] = []
    scp = AE("MODALITY")
    scp.add_supported_context(str(COMMITMENT))  # no roles

    def report(event: Any) -> tuple[int, None]:
        told.append(event.event_type)
        return 0x0000, None

    server = scp.start_server((HOST, 0), block=False, evt_handlers=[(evt.EVT_N_EVENT_REPORT, report)])
    assert server is not None
    archive = await Archive.open(tmp_path, index="memory:")
    try:
        destinations = {"MODALITY": (HOST, server.server_address[1])}
        async with serving(archive, destinations).listen(HOST, 0) as listening:
            await ask(listening.port, question((MR, "1.2.1.1.1")))
            async with asyncio.timeout(10):
                while await archive.index.transactions():  # noqa: ASYNC110
                    await asyncio.sleep(0)
    finally:
        await asyncio.to_thread(server.shutdown)
    assert told == [1]
    await archive.close()


async def test_an_archive_that_closes_begins_nothing(tmp_path: Path, a_file: Files) -> None:
    a_file("1.dcm")
    archive = await Archive.open(tmp_path, index="memory:")
    async with serving(archive).listen(HOST, 0) as listening:
        await archive.close()
        assert await ask(listening.port, question((MR, "1.2.1.1.1"))) == 0x0000
    assert len(await archive.index.transactions()) == 1  # for the next process
    assert not [task for task in asyncio.all_tasks() if "commitment" in task.get_name()]


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        (Dataset(), 0x0120),
        (question(), 0x0120),
        (question((MR, "")), 0x0120),
        (question((MR, "1.2"), uid=""), 0x0120),
    ],
)
async def test_what_is_refused(tmp_path: Path, asked: Dataset, status: int) -> None:
    archive = await Archive.open(tmp_path, index="memory:")
    async with serving(archive).listen(HOST, 0) as listening:
        assert await ask(listening.port, asked) == status
    assert await archive.index.transactions() == []
    await archive.close()


class Leaving(dict[str, tuple[str, int]]):
    """Addresses that are looked for at each attempt; they are there again at the second one."""

    attempts = 0

    def __contains__(self, title: object) -> bool:
        self.attempts += 1
        if self.attempts == 2:
            self.update(MODALITY=self.address)
        return super().__contains__(title)

    def leave(self) -> None:
        self.address = self.pop("MODALITY")


async def test_an_address_that_goes_while_a_report_is_made(tmp_path: Path, a_file: Files) -> None:
    """The configuration is read again. The report is not given up, and goes to the address that comes back."""
    a_file("1.dcm")
    told: Told = asyncio.Queue()
    archive = await Archive.open(tmp_path, index="memory:")
    async with modality(told).listen(HOST, 0) as listening:
        destinations = Leaving(MODALITY=(HOST, listening.port))
        commitment = module.Commitment(archive, destinations, "ARCHIVE", waits=(0.0,))
        outcome = commitment._outcome

        async def slow(transaction: Transaction) -> Any:
            if destinations.attempts == 1:
                destinations.leave()
            return await outcome(transaction)

        commitment._outcome = slow  # type: ignore[method-assign]
        await archive.index.put_transaction(Transaction("1.9.1", "MODALITY", ((MR, "1.2.1.1.1"),), int(time())))
        archive.background(commitment.resume(), "aiodimse storage commitments")
        event_type, _ = await asyncio.wait_for(told.get(), 10)
    assert event_type == 1
    await archive.close()
