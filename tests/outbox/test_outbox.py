"""The outbox: what waits, goes, fails and is committed, and what is left of it when the process is killed."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest

from aiodimse.commitment import CLASS_CONFLICT, NO_SUCH_INSTANCE, PROCESSING_FAILURE, Reference
from aiodimse.commitment import CommitmentReport as Report
from aiodimse.commitment import CommitmentRequest as Request
from aiodimse.outbox import Outbox

CT = "1.2.840.10008.5.1.4.1.1.2"


@pytest.fixture
async def box(tmp_path: Path) -> AsyncIterator[Outbox]:
    async with Outbox(tmp_path / "box") as box:
        yield box


@pytest.fixture
def times(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The last of them is now."""
    times = [1000.0]
    monkeypatch.setattr("aiodimse.outbox.deliveries.time.time", lambda: times[-1])
    return times


async def put(box: Outbox, uid: str, study: str = "1", **destinations: bool) -> Path:
    path = box.folder / f"{uid}.dcm"
    path.write_bytes(b"an image")
    await box.put(path, CT, uid, study, destinations or {"PACS": False})
    return path


async def names(box: Outbox, destination: str = "PACS") -> list[str]:
    return [delivery.path.stem for delivery in await box.due(destination)]


async def test_an_instance_waits_until_each_destination_has_it(box: Outbox) -> None:
    path = await put(box, "1.1", PACS=False, RESEARCH=False)
    assert box.waiting == 1
    (delivery,) = await box.due("PACS")
    assert delivery.path == path
    await box.delivered(delivery.id)
    assert (await names(box), path.exists(), box.waiting) == ([], True, 1)
    (delivery,) = await box.due("RESEARCH")
    await box.delivered(delivery.id)
    assert (await names(box, "RESEARCH"), path.exists(), box.waiting) == ([], False, 0)
    await box.delivered(delivery.id)  # once more: as after a lost answer
    assert box.waiting == 0


async def test_what_waits_longest_goes_first_and_no_more_than_so_many(box: Outbox) -> None:
    for number in range(5):
        await put(box, f"1.{number}")
    assert await names(box) == [f"1.{number}" for number in range(5)]
    assert len(await box.due("PACS", 2)) == 2


@contextmanager
def full_disk(box: Outbox) -> Iterator[None]:
    """No file may grow beyond what the write-ahead log has, which takes what a transaction changes when it ends."""
    _, hard = before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((box.folder / "outbox.db-wal").stat().st_size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_what_a_full_disk_refuses_does_not_wait(box: Outbox) -> None:
    await put(box, "1.1")
    with full_disk(box), pytest.raises(sqlite3.Error):
        await put(box, "1.2")
    assert (await names(box), box.waiting) == (["1.1"], 1)


async def test_what_a_full_disk_does_not_note_as_delivered_waits_on(box: Outbox) -> None:
    path = await put(box, "1.1")
    (delivery,) = await box.due("PACS")
    with full_disk(box), pytest.raises(sqlite3.Error):
        await box.delivered(delivery.id)
    assert (await names(box), box.waiting, path.exists()) == (["1.1"], 1, True)
    await box.delivered(delivery.id)
    assert (await names(box), box.waiting, path.exists()) == ([], 0, False)


async def test_requests_for_commitment_that_nobody_was_told_of_are_counted(box: Outbox) -> None:
    """A handler bounds them, as it does what waits."""
    folder = box.folder
    for number in range(3):
        await box.asked(Request(f"2.{number}", (Reference(CT, "1.1"),)), "CT1")
    assert box.unanswered == 3
    await box.asked(Request("2.0", (Reference(CT, "1.1"),)), "CT1")  # the same once more
    assert box.unanswered == 3
    await box.answered("2.0")
    await box.answered("2.0")
    assert box.unanswered == 2
    async with Outbox(folder) as again:
        assert again.unanswered == 2


async def test_what_waits_is_counted_by_destination(box: Outbox) -> None:
    """As for one that no configuration names any more."""
    await put(box, "1.1", PACS=True, RESEARCH=False)
    await put(box, "1.2", RESEARCH=False)
    assert await box.counts() == {"PACS": 1, "RESEARCH": 2}
    (first, _) = await box.due("RESEARCH")
    await box.delivered(first.id)
    await box.failed((await box.due("RESEARCH"))[0].id, "refused", attempts=1)
    assert await box.counts() == {"PACS": 1}  # not what is dead


async def test_a_study_is_held_until_it_is_released(box: Outbox) -> None:
    await put(box, "1.1", "1", PACS=True, RESEARCH=False)
    await put(box, "2.1", "2", PACS=True)
    assert (await names(box), await names(box, "RESEARCH")) == ([], ["1.1"])
    assert sorted(await box.held_studies()) == ["1", "2"]
    await box.release("1")
    assert (await names(box), await box.held_studies()) == (["1.1"], ["2"])
    await put(box, "1.2", "1", PACS=True)  # comes later: held again
    assert await names(box) == ["1.1"]


async def test_refusals_wait_longer_each_time_and_end_as_dead_letters(box: Outbox, times: list[float]) -> None:
    path = await put(box, "1.1")
    for pause in (2, 4, 8):
        (delivery,) = await box.due("PACS")
        await box.failed(delivery.id, "refused", attempts=4)
        times.append(times[-1] + pause - 0.5)
        assert await box.due("PACS") == []
        times.append(times[-1] + 1)
    (delivery,) = await box.due("PACS")
    assert delivery.attempts == 3
    await box.failed(delivery.id, "refused again", attempts=4)
    times.append(times[-1] + 1e6)
    assert await box.due("PACS") == []
    assert await box.dead() == [("PACS", "1.1", "refused again")]
    assert (path.exists(), box.waiting) == (True, 1)
    await box.retry()
    assert (await names(box), await box.dead()) == (["1.1"], [])


async def test_the_pause_has_a_bound(box: Outbox, times: list[float]) -> None:
    await put(box, "1.1")
    for _ in range(70):
        (delivery,) = await box.due("PACS")
        await box.failed(delivery.id, "refused", attempts=1000)
        times.append(times[-1] + 3600)
    assert await names(box) == ["1.1"]


async def test_everything_is_there_after_a_kill(tmp_path: Path) -> None:
    """Nothing is closed; a second one opens what the first has committed."""
    first = Outbox(tmp_path)
    await first.__aenter__()
    kept = await put(first, "1.1")
    lost = tmp_path / "9.9.dcm"
    lost.write_bytes(b"half an image that nobody was told of")
    async with Outbox(tmp_path) as second:
        await second.tidy(days=30)
        assert (second.waiting, await names(second)) == (1, ["1.1"])
        assert (kept.exists(), lost.exists()) == (True, False)
    await first.__aexit__(None, None, None)


async def test_reading_it_from_another_process_removes_nothing(tmp_path: Path) -> None:
    async with Outbox(tmp_path) as box:
        arriving = tmp_path / "9.9.dcm"
        arriving.write_bytes(b"saved, and not put yet")
        async with Outbox(tmp_path) as other:
            assert await other.dead() == []
        assert arriving.exists()
        await box.put(arriving, CT, "9.9", "9", {"PACS": False})


async def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("a file")
    with pytest.raises(OSError, match="x"):
        await Outbox(tmp_path / "x").__aenter__()


async def test_a_cancelled_await_does_all_or_nothing(box: Outbox) -> None:
    for number in range(20):
        task = asyncio.create_task(put(box, f"1.{number}", PACS=False, RESEARCH=False))
        for _ in range(number % 4):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    pacs, research = await names(box), await names(box, "RESEARCH")
    assert pacs == research
    assert box.waiting == len(pacs)


async def test_what_fails_changes_nothing(box: Outbox) -> None:
    with pytest.raises(sqlite3.Error):
        await box.put(box.folder / "x.dcm", CT, "1.1", "1", {"PACS": False, object(): False})  # type: ignore[dict-item]
    assert (await names(box), box.waiting) == ([], 0)


# --- storage commitment -----------------------------------------------------------------------------------------------


async def sent(box: Outbox, *uids: str) -> None:
    for uid in uids:
        await put(box, uid)
    for delivery in await box.due("PACS"):
        await box.delivered(delivery.id, to_commit=Reference(CT, f"9.{delivery.path.stem}"))


async def test_what_is_sent_is_kept_until_it_is_committed(box: Outbox) -> None:
    await sent(box, "1.1", "1.2", "1.3")
    assert (await names(box), box.waiting) == ([], 3)
    asked = await box.to_commit("PACS", "T1", 60)
    assert asked == [Reference(CT, f"9.1.{number}") for number in (1, 2, 3)]
    assert await box.to_commit("PACS", "T2", 60) == []
    told = (asked[0], Reference(CT, "9.1.2", NO_SUCH_INSTANCE))  # nothing of the third
    await box.committed(Report("T0", told), attempts=1)  # of a transaction that nobody knows
    assert box.waiting == 3
    await box.committed(Report("T1", told), attempts=1)
    assert (box.waiting, await box.dead()) == (2, [("PACS", "1.2", "not committed: 0112")])
    await box.committed(Report("T1", told), attempts=1)
    assert sorted(path.name for path in box.folder.glob("*.dcm")) == ["1.2.dcm", "1.3.dcm"]


async def test_it_is_asked_again_where_nothing_is_told_or_nobody_heard(box: Outbox, times: list[float]) -> None:
    await sent(box, "1.1")
    assert len(await box.to_commit("PACS", "T1", 60)) == 1
    times.append(times[-1] + 61)
    assert len(await box.to_commit("PACS", "T2", 60)) == 1
    await box.not_asked("T2", 5)
    times.append(times[-1] + 6)
    assert len(await box.to_commit("PACS", "T3", 60)) == 1


async def test_a_sender_is_told_when_everything_has_arrived(box: Outbox) -> None:
    for uid in ("1.1", "1.2", "1.3"):
        await put(box, uid)
    first, second, _ = await box.due("PACS")
    references = (Reference(CT, "1.1"), Reference(CT, "1.2"), Reference("1.9", "1.1"), Reference(CT, "7.7"))
    await box.asked(Request("T", references), "CT1")
    assert await box.answers() == []
    await box.delivered(first.id)
    assert await box.answers() == []
    await box.failed(second.id, "refused", attempts=1)
    ((calling, report),) = await box.answers()
    assert (calling, report.transaction_uid) == ("CT1", "T")
    reasons = [each.failure_reason for each in report.references]
    assert reasons == [0, PROCESSING_FAILURE, CLASS_CONFLICT, NO_SUCH_INSTANCE]
    await box.answered("T")
    assert await box.answers() == []


async def test_what_was_finished_long_ago_is_forgotten(box: Outbox, times: list[float]) -> None:
    await put(box, "1.1")
    (delivery,) = await box.due("PACS")
    await box.delivered(delivery.id)
    await box.asked(Request("T", (Reference(CT, "1.1"),)), "CT1")
    for days, reason in ((1.0, 0), (2.0, NO_SUCH_INSTANCE)):
        times.append(1000 + days * 86400)
        await box.tidy(days=1.5)
        ((_, report),) = await box.answers()
        assert [each.failure_reason for each in report.references] == [reason]


# --- in the wrong moment ----------------------------------------------------------------------------------------------


async def test_an_instance_for_nobody_waits_for_nobody(box: Outbox) -> None:
    """A router whose rules name no destination: its limit on what waits is not used up."""
    path = box.folder / "1.1.dcm"
    path.write_bytes(b"an image")
    await box.put(path, CT, "1.1", "1", {})
    assert (box.waiting, path.exists(), await box.counts()) == (0, False, {})
    await box.asked(Request("2.1", (Reference(CT, "1.1"),)), "SENDER")
    ((_, report),) = await box.answers()
    assert [each.failure_reason for each in report.references] == [0]


async def test_a_file_that_cannot_be_removed_changes_nothing_that_is_done(
    box: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    """The next `tidy` removes it."""
    path = await put(box, "1.1")
    path.unlink()
    (path / "in the way").mkdir(parents=True)
    (delivery,) = await box.due("PACS")
    await box.delivered(delivery.id)
    assert (box.waiting, await names(box)) == (0, [])
    assert [record.getMessage() for record in caplog.records] == ["a file that is no longer needed was not removed"]


async def test_opening_that_is_cancelled_closes_the_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, may_go_on, closed = threading.Event(), threading.Event(), threading.Event()

    class Database(sqlite3.Connection):
        def executescript(self, script: str) -> sqlite3.Cursor:
            opened.set()
            may_go_on.wait(20)
            return super().executescript(script)

        def close(self) -> None:
            super().close()
            closed.set()

    monkeypatch.setattr("aiodimse.outbox.database.sqlite3.connect", partial(sqlite3.connect, factory=Database))
    opening = asyncio.create_task(Outbox(tmp_path / "box").__aenter__())
    await asyncio.to_thread(opened.wait, 20)
    opening.cancel()
    may_go_on.set()
    await asyncio.wait([opening])
    assert (opening.cancelled(), closed.is_set()) == (True, True)
