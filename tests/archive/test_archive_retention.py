"""What is too old or too much is removed, study by study; what somebody waits for stays. No room is said in time."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from archive.conftest import make_object
from archive.databases import KINDS, open_index
from pydicom.uid import ExplicitVRLittleEndian

import aiodimse
from aiodimse import sop_class, testing
from aiodimse.archive import Archive, MemoryIndex, Retention, provide
from aiodimse.archive import retention as module
from aiodimse.archive.archive import in_use_lock
from aiodimse.archive.clock_record import ClockRecord
from aiodimse.archive.commitment import Commitment
from aiodimse.archive.index import Entry, Transaction, TransactionName
from aiodimse.archive.index.interface import FREELY, Turn
from aiodimse.archive.queries import Query
from aiodimse.archive.retention import Removed
from aiodimse.archive.storage import FolderStorage, StorageGone
from aiodimse.commitment import NO_SUCH_INSTANCE

DAY = 24 * 3600
NOW = 20_000 * DAY
MR = sop_class.MRImageStorage
GET = sop_class.StudyRootQueryRetrieveInformationModelGet
MOVE = sop_class.StudyRootQueryRetrieveInformationModelMove
PATIENT_GET = sop_class.PatientRootQueryRetrieveInformationModelGet
Files = Callable[..., Path]


@pytest.fixture(params=KINDS)
async def archive(request: pytest.FixtureRequest, tmp_path: Path, a_file: Files) -> AsyncIterator[Archive]:
    """Five studies of two objects, 1 to 5 days old, and a file of the oldest one's second object again."""
    for days in range(1, 6):
        for image in ("1", "2"):
            age(a_file(f"files/{days}/{image}.dcm", study=str(days), image=image), days + int(image) / 10)
    age(a_file("files/z/again.dcm", study="5", image="2"), 5)
    archive = await Archive.open(tmp_path / "files", index=await open_index(request.param, tmp_path))
    yield archive
    await archive.close()


def age(path: Path, days: float) -> None:
    os.utime(path, (NOW - days * DAY,) * 2)


async def studies(archive: Archive) -> list[str]:
    """Those that the index has, the oldest first, and of which the files are there."""
    ages = await archive.index.oldest_studies(100)
    for each in ages:
        assert len(list((Path(archive.directory or "") / each.study_instance_uid[-1]).iterdir())) == 2
    return [each.study_instance_uid for each in ages]


async def test_pages_of_ages(archive: Archive) -> None:
    paged, after = [], None
    while some := await archive.index.oldest_studies(2, after):
        paged += some
        after = some[-1]
    assert paged == await archive.index.oldest_studies(100)
    assert [each.study_instance_uid for each in paged] == ["1.2.5", "1.2.4", "1.2.3", "1.2.2", "1.2.1"]
    assert [round((NOW - each.modified / 1e9) / DAY, 1) for each in paged] == [5.1, 4.1, 3.1, 2.1, 1.1]
    assert await archive.index.stored_bytes() == sum(each.size for each in paged)
    assert await archive.index.newest_modified() == max(each.modified for each in paged)


async def test_studies_older_than_keep_days_are_removed(archive: Archive) -> None:
    removed = await Retention(archive, keep_days=3, now=lambda: NOW).sweep()
    assert (removed.studies, removed.instances) == (3, 6)
    assert await studies(archive) == ["1.2.2", "1.2.1"]
    assert (await archive.scan()).indexed == 4  # the file that was there twice does not bring it back


@pytest.mark.parametrize("when", ["before it is opened", "while it runs"])
async def test_a_clock_that_jumps_removes_nothing(
    archive: Archive, when: str, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once, and size still counts."""
    wall, steady = NOW, 0.0

    def opened() -> Retention:
        return Retention(archive, keep_days=5.5, now=lambda: wall, elapsed=lambda: steady)

    retention = opened()
    assert (await retention.sweep()).studies == 0
    wall += 3650 * DAY
    steady += 600
    if when == "before it is opened":
        retention = opened()
    for _ in range(2):
        assert (await retention.sweep()).studies == 0
    retention = opened()  # nothing is forgotten by a restart
    assert (await retention.sweep()).studies == 0
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert line.startswith("the clock of the system is 3650 days ahead of when this archive was last in use")
    retention.max_bytes = await archive.index.stored_bytes() - 1
    assert (await retention.sweep()).studies == 1
    retention.max_bytes = None
    wall = NOW + 2 * DAY  # it is right again
    steady = float(2 * DAY)
    assert (await retention.sweep()).studies == 1
    assert await studies(archive) == ["1.2.3", "1.2.2", "1.2.1"]


@pytest.mark.parametrize("ahead", [3650.0, 40.0])
async def test_a_clock_that_is_wrong_in_the_first_run_removes_nothing(archive: Archive, ahead: float) -> None:
    """The index has no record of the clock yet. What was old when the newest file was written is old."""
    for keep, left in ((5, 5), (3.5, 4), (0.1, 1)):
        retention = Retention(archive, keep_days=keep, now=lambda: NOW + ahead * DAY)
        await archive.index.put_clock_record("retention", ClockRecord(NOW - 1.1 * DAY).dump()) if keep == 0.1 else None
        await retention.sweep()
        assert len(await studies(archive)) == left


async def test_no_age_counts_before_the_first_scan_has_ended(tmp_path: Path, a_file: Files) -> None:
    """What it has read so far may be the oldest of all: the clock would seem to be ahead of it."""
    archive = Archive(tmp_path, index=MemoryIndex())
    for days in (500, 300, 1):
        age(a_file(f"{days}.dcm", study=str(days)), days)
    await archive.add(tmp_path / "500.dcm")
    await archive.add(tmp_path / "300.dcm")
    retention = Retention(archive, keep_days=100, now=lambda: NOW)
    assert (await retention.sweep()).studies == 0
    await archive.scan()
    assert (await retention.sweep()).studies == 2
    await archive.close()


async def test_weeks_without_power_only_put_off_what_is_removed(archive: Archive) -> None:
    """What came before is kept for as long as it would be if the pause had not been; what comes after, as usual."""
    wall = float(NOW)

    async def swept(days: float) -> list[str]:
        nonlocal wall
        wall += days * DAY
        await Retention(archive, keep_days=20, now=lambda: wall).sweep()
        return [uid[-1] for uid in await studies(archive)]

    assert await swept(0) == ["5", "4", "3", "2", "1"]
    assert await swept(6) == await swept(6) == ["5", "4", "3", "2", "1"]  # short pauses count
    assert await swept(4.5) == ["3", "2", "1"]
    assert await swept(45) == ["3", "2", "1"]
    assert await swept(0.3) == ["3", "2", "1"]
    assert await swept(1) == ["2", "1"]
    path = Path(archive.directory or "") / "1" / "1.dcm"
    os.utime(path, (wall, wall))
    await archive.scan()
    assert await swept(5) == await swept(6) == await swept(6) == ["1"]
    assert await swept(3.5) == []


@pytest.mark.parametrize(("pause", "left"), [(7.1, 5), (6.9, 4)])
async def test_a_week_out_of_use_is_believed(archive: Archive, pause: float, left: int) -> None:
    """However many days are kept. The oldest study is 5.1 days old, and 18 of use or of short pauses follow."""
    for days in (0.0, pause, pause + 6, pause + 11.1):
        await Retention(archive, keep_days=23, now=partial(float, NOW + days * DAY)).sweep()
    assert len(await studies(archive)) == left


@pytest.mark.parametrize(
    ("read", "skipped", "newest"),
    [
        ([100.0, 100.5, 106.0], [], 106.0),
        ([100.0, 4000.0], [(100.0, 4000.0)], 4000.0),
        ([100.0, 4000.0, 4001.0], [(100.0, 4000.0)], 4001.0),
        ([100.0, 4000.0, 102.0], [], 102.0),  # it was wrong, and has been set back
        ([100.0, 4000.0, 102.0, 4000.0], [(102.0, 4000.0)], 4000.0),  # two machines, one of them is wrong
        ([100.0, 4000.0, 130.0], [(100.0, 130.0)], 130.0),  # it was wrong, and there was a pause as well
        ([100.0, 130.0, 150.0], [(100.0, 150.0)], 150.0),
        ([100.0, 130.0, 132.0, 150.0], [(100.0, 130.0), (132.0, 150.0)], 150.0),
        ([100.0, 130.0, 10.0, 131.0], [(100.0, 130.0)], 131.0),  # no battery: the machine began with an old time
    ],
)
def test_the_record_of_a_clock(read: list[float], skipped: list[tuple[float, float]], newest: float) -> None:
    """In days; a week is plausible."""
    record = ClockRecord(read[0] * DAY)
    for now in read[1:]:
        record = ClockRecord.load(record.read(now * DAY, 7 * DAY).dump())
    assert record == ClockRecord(newest * DAY, tuple((start * DAY, end * DAY) for start, end in skipped))


@pytest.mark.parametrize(
    ("now", "days", "before"),
    [
        (31, 5, 26),
        (40, 5, 25),
        (45, 4, 41),
        (45, 5, 40),
        (45, 6, 29),
        (45, 15, 20),
        (45, 16, 9),
        (35, 2, 33),
        (5, 2, 3),
    ],
)
def test_days_that_were_skipped_are_not_counted(now: float, days: float, before: float) -> None:
    record = ClockRecord(45 * DAY, ((10 * DAY, 20 * DAY), (30 * DAY, 40 * DAY)))
    assert record.before(now * DAY, days * DAY) == before * DAY


async def test_a_machine_that_sleeps_does_not_stop_retention(archive: Archive) -> None:
    wall, steady = NOW, 0.0
    retention = Retention(archive, keep_days=9, now=lambda: wall, elapsed=lambda: steady)
    wall, steady = NOW + 5 * DAY, float(5 * DAY)
    assert (await retention.sweep()).studies == 2


async def test_what_was_written_without_a_clock_has_no_age(archive: Archive) -> None:
    """A machine without a battery begins in 1970. What it stores then is not the oldest when it knows the time."""
    for path in (Path(archive.directory or "") / "3").iterdir():
        os.utime(path, (3600, 3600))
    await archive.scan()
    retention = Retention(archive, keep_days=3, now=lambda: NOW)
    assert (await retention.sweep()).studies == 2
    assert await studies(archive) == ["1.2.3", "1.2.2", "1.2.1"]
    retention.max_bytes = await archive.index.stored_bytes() - 1
    assert (await retention.sweep()).studies == 1


async def test_the_oldest_studies_are_removed_above_a_number_of_bytes(archive: Archive) -> None:
    total = await archive.index.stored_bytes()
    retention = Retention(archive, max_bytes=total)
    assert (await retention.sweep()).studies == 0
    retention.max_bytes = total - 1
    removed = await retention.sweep()
    assert (removed.studies, removed.bytes) == (1, total // 5)
    retention.max_bytes = total // 2
    assert (await retention.sweep()).studies == 2
    assert await studies(archive) == ["1.2.2", "1.2.1"]


async def test_nothing_is_asked_for(archive: Archive) -> None:
    assert (await Retention(archive).sweep()).studies == 0
    assert len(await studies(archive)) == 5


async def test_what_is_being_committed_stays(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transaction may name a million instances: it is read once, whatever the number of studies."""
    transaction = Transaction("1.9", "CT1", ((MR, "1.2.4.1.2"),), 0)
    await archive.index.put_transaction(transaction)
    read, read_one = list[TransactionName](), archive.index.transaction

    async def counted(name: TransactionName) -> Transaction | None:
        read.append(name)
        return await read_one(name)

    monkeypatch.setattr(archive.index, "transaction", counted)
    retention = Retention(archive, max_bytes=0)
    assert (await retention.sweep()).studies == 4
    assert await studies(archive) == ["1.2.4"]
    assert read == [transaction.name]
    await archive.index.drop_transaction(transaction)
    assert (await retention.sweep()).studies == 1


async def test_what_is_being_removed_is_not_reported_as_kept(archive: Archive) -> None:
    """A sweep has looked for transactions already, and has not removed the study yet."""
    (kept,) = (await archive.index.lookup(["1.2.4.1.2"])).values()
    transaction = Transaction("1.9", "CT1", ((MR, kept.sop_instance_uid),), 0)
    async with archive.locks.try_hold(in_use_lock(kept.study_instance_uid)) as is_mine:
        assert is_mine
        outcome = asyncio.ensure_future(Commitment(archive, {}, "ARCHIVE")._outcome(transaction))
        assert await asyncio.wait([outcome], timeout=0.1) == (set(), {outcome})
        await archive.index.remove([kept.location])
        archive.storage.remove(kept.location)
    assert [each.failure_reason for each in (await outcome).references] == [NO_SUCH_INSTANCE]


async def test_what_is_being_sent_stays(archive: Archive) -> None:
    server = aiodimse.Server(ae_title="ARCHIVE")
    provide(server, archive)
    retention = Retention(archive, max_bytes=0)
    contexts = [GET, aiodimse.PresentationContext(MR, scu=False, scp=True)]
    identifier = aiodimse.identifier("STUDY", StudyInstanceUID="1.2.5")
    joined = testing.joined(server, contexts=contexts)
    async with joined as association, association.c_get(identifier, GET) as retrieval:
        got = [str((await (await anext(retrieval)).dataset()).SOPInstanceUID)]
        assert (await retention.sweep()).studies == 4
        got += [str((await instance.dataset()).SOPInstanceUID) async for instance in retrieval]
    assert sorted(got) == ["1.2.5.1.1", "1.2.5.1.2"]
    assert (await retention.sweep()).studies == 1


@pytest.mark.parametrize("what", ["get", "move"])
async def test_what_was_listed_and_is_swept_before_it_is_sent(
    archive: Archive, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A study is sent whole, or is not there: two of three remain, and nothing fails."""
    retention = Retention(archive, keep_days=4.5, now=lambda: NOW)
    entries = archive.index.entries

    async def listed(query: Query, turn: Turn = FREELY) -> AsyncGenerator[Entry, None]:
        async with aclosing(entries(query, turn)) as found:
            async for each in found:
                yield each
        monkeypatch.setattr(archive.index, "entries", entries)
        assert (await retention.sweep()).studies == 1

    monkeypatch.setattr(archive.index, "entries", listed)
    receiver = aiodimse.Server(ae_title="ME")
    identifier = aiodimse.identifier("STUDY", StudyInstanceUID=["1.2.5", "1.2.4", "1.2.3"])
    async with receiver.listen("127.0.0.1", 0) as here:
        server = aiodimse.Server(ae_title="ARCHIVE")
        provide(server, archive, destinations={"ME": ("127.0.0.1", here.port)})
        contexts = [GET, MOVE, aiodimse.PresentationContext(MR, scu=False, scp=True)]
        async with (
            server.listen("127.0.0.1", 0) as there,
            aiodimse.connect(
                "127.0.0.1", there.port, ae_title="ME", called_ae_title="ARCHIVE", contexts=contexts
            ) as association,
        ):
            retrieval: Any = (
                association.c_move(identifier, MOVE, destination="ME", receiver=receiver)
                if what == "move"
                else association.c_get(identifier, GET)
            )
            async with retrieval:
                got = [str((await instance.dataset()).StudyInstanceUID) async for instance in retrieval]
            progress = retrieval.progress
    assert sorted(got) == ["1.2.3", "1.2.3", "1.2.4", "1.2.4"]
    assert progress is not None
    assert (progress.completed, progress.failed) == (4, 0)


async def test_a_file_that_is_taken_away_while_it_is_sent(archive: Archive) -> None:
    """Somebody else removes the files, who asks nobody: what is open arrives whole, the rest counts as failed."""
    server = aiodimse.Server(ae_title="ARCHIVE")
    provide(server, archive)
    contexts = [PATIENT_GET, aiodimse.PresentationContext(MR, scu=False, scp=True)]
    identifier = aiodimse.identifier("PATIENT", PatientID="P1")
    async with testing.joined(server, contexts=contexts) as association:
        async with association.c_get(identifier, PATIENT_GET, allow_incomplete=True) as retrieval:
            first = await anext(retrieval)
            for path in Path(archive.directory or "").glob("*/*.dcm"):
                path.unlink()
            got = [(await first.dataset()).SOPInstanceUID]
            got += [(await instance.dataset()).SOPInstanceUID async for instance in retrieval]
        progress = retrieval.progress
        assert retrieval.status == 0xB000
        assert progress is not None
    assert (len(got), len(set(got)) + progress.failed) == (progress.completed, 10)
    assert progress.failed >= 8


async def test_nothing_is_removed_while_the_disk_is_not_mounted(archive: Archive) -> None:
    """The index would forget objects that are there when the disk is back."""
    folder = Path(archive.directory or "")
    folder.rename(folder.with_name("disk"))
    folder.mkdir()
    retention = Retention(archive, max_bytes=0, keep_days=1)
    with pytest.raises(StorageGone):
        await retention.sweep()
    folder.rmdir()
    folder.with_name("disk").rename(folder)
    assert len(await studies(archive)) == 5
    assert (await retention.sweep()).studies == 5


async def test_a_file_that_cannot_be_removed_keeps_no_other(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    remove = FolderStorage.remove

    def fail(storage: FolderStorage, location: str) -> None:
        if location == "5/1.dcm":
            raise PermissionError
        remove(storage, location)

    monkeypatch.setattr(FolderStorage, "remove", fail)
    with pytest.raises(PermissionError):
        await Retention(archive, keep_days=4.5, now=lambda: NOW).sweep()
    left = [path.name for name in "5z" for path in (Path(archive.directory or "") / name).iterdir()]
    assert left == ["1.dcm"]
    assert await archive.index.lookup(["1.2.5.1.1", "1.2.5.1.2"]) == {}, "a row without a file is an error"
    assert (await archive.scan()).indexed == 9, "a file without a row is found again"


async def test_one_process_sweeps(archive: Archive) -> None:
    async with archive.locks.hold(["retention"]):
        assert (await Retention(archive, max_bytes=0).sweep()).studies == 0


async def test_there_is_a_pause_after_each_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also after one that failed."""
    sweeps, paused = 0, list[tuple[float, int]]()

    class EndedError(BaseException):
        pass

    async def sweep() -> Removed:
        nonlocal sweeps
        sweeps += 1
        if sweeps == 2:
            raise ConnectionError
        if sweeps > 3:
            raise EndedError
        return Removed()

    async def pause(seconds: float) -> None:
        paused.append((seconds, sweeps))

    retention = Retention(Archive(".", index=MemoryIndex()))
    monkeypatch.setattr(retention, "sweep", sweep)
    monkeypatch.setattr(module, "asyncio", SimpleNamespace(sleep=pause))
    with pytest.raises(EndedError):
        await retention.run(7.0)
    assert paused == [(7.0, 1), (7.0, 2), (7.0, 3)]


async def test_again_and_again_whatever_fails(
    tmp_path: Path, a_file: Files, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    a_file("1.dcm")
    archive = await Archive.open(tmp_path, index="memory:")
    ask, failures = archive.index.stored_bytes, 2

    async def failing() -> int:
        nonlocal failures
        failures -= 1
        if failures >= 0:
            raise ConnectionError("secret")
        return await ask()

    monkeypatch.setattr(archive.index, "stored_bytes", failing)
    archive.background(Retention(archive, max_bytes=0).run(0.0), "retention")
    async with asyncio.timeout(10):
        while "removed" not in caplog.text.replace("could not be removed", ""):  # noqa: ASYNC110
            await asyncio.sleep(0)
    assert not (tmp_path / "1.dcm").exists()
    assert caplog.text.count("old studies could not be removed: ConnectionError") == 2
    assert "studies removed: 1, with 1 objects" in caplog.text  # at the default level
    assert "secret" not in caplog.text
    await archive.close()


# --- room -------------------------------------------------------------------------------------------------------------


async def stored(archive: Archive, image: str) -> int:
    dataset = make_object(image=image)
    dataset.ensure_file_meta()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    server = aiodimse.Server(ae_title="ARCHIVE")
    provide(server, archive, durable=False)
    async with testing.joined(server, contexts=[MR]) as association:
        return (await association.c_store(dataset)).status


async def test_no_room_is_said_before_the_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    free = 1000
    monkeypatch.setattr(FolderStorage, "free_bytes", lambda self: free)
    monkeypatch.setattr("aiodimse.archive.room._SECONDS", 0.0)
    archive = await Archive.open(tmp_path, index="memory:")
    assert archive.min_free == 0
    assert await stored(archive, "1") == 0x0000
    archive.min_free = 1001
    assert [await stored(archive, "2"), await stored(archive, "3")] == [0xA700, 0xA700]
    assert caplog.text.count("every C-STORE is refused: less than 1001 bytes of the disk is free") == 1
    free = 2000
    assert await stored(archive, "2") == 0x0000
    await archive.close()


@pytest.mark.parametrize(
    ("least", "words"), [(256 << 20, "256M"), (1 << 40, "1T"), (3 << 10, "3K"), (1025, "1025 bytes")]
)
async def test_the_room_is_said_as_it_is_configured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, least: int, words: str
) -> None:
    monkeypatch.setattr(FolderStorage, "free_bytes", lambda self: 1000)
    archive = await Archive.open(tmp_path, index="memory:")
    archive.min_free = least
    assert await stored(archive, "1") == 0xA700
    await archive.close()
    assert f"less than {words} of the disk is free" in caplog.text


async def test_the_system_is_asked_once_a_second(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(FolderStorage, "free_bytes", lambda self: asked.append(1) or 10**9)
    now = 5.0
    monkeypatch.setattr("aiodimse.archive.room.monotonic", lambda: now)
    archive = await Archive.open(tmp_path, index="memory:")
    archive.min_free = 1
    assert [await stored(archive, image) for image in "123"] == [0, 0, 0]
    assert len(asked) == 1
    now += 0.9
    assert await stored(archive, "4") == 0
    assert len(asked) == 1
    now += 0.1
    assert await stored(archive, "5") == 0
    assert len(asked) == 2
    await archive.close()
