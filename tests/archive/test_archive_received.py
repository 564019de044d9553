"""What is acknowledged again counts as new for retention, also while a sweep is about to remove it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection
from contextlib import aclosing
from pathlib import Path
from time import time_ns
from typing import Any

import pytest
from archive.conftest import make_object
from archive.databases import KINDS, open_index
from archive.test_archive_commitment import COMMITMENT, INSTANCE, Told, modality, question
from archive.test_archive_index import header
from pydicom import Dataset
from pydicom.uid import ExplicitVRLittleEndian

import aiodimse
from aiodimse import sop_class, testing
from aiodimse.archive import Archive, Index, Retention, provide
from aiodimse.archive.index import Entry, StudyAge
from aiodimse.archive.index.interface import FREELY, Turn
from aiodimse.archive.queries import Query
from aiodimse.archive.received import Received

DAY = 24 * 3600
NOW = 20_000 * DAY
MR = sop_class.MRImageStorage
Files = Callable[..., Path]
Acknowledge = Callable[[Archive], Awaitable[None]]


@pytest.fixture(params=KINDS)
async def archive(request: pytest.FixtureRequest, tmp_path: Path, a_file: Files) -> AsyncIterator[Archive]:
    """Studies of two objects, 1, 4 and 5 days old."""
    for days in (1, 4, 5):
        for image in ("1", "2"):
            os.utime(a_file(f"files/{days}/{image}.dcm", study=str(days), image=image), (NOW - days * DAY,) * 2)
    archive = await Archive.open(tmp_path / "files", index=await open_index(request.param, tmp_path))
    yield archive
    await archive.close()


def sweeping(archive: Archive, keep_days: float = 3) -> Retention:
    return Retention(archive, keep_days=keep_days, now=lambda: NOW)


async def left(archive: Archive) -> list[str]:
    """The studies that are left, all of whose files are there."""
    found = [each.study_instance_uid for each in await archive.index.oldest_studies(100)]
    for uid in found:
        assert len(list((Path(archive.directory or "") / uid[-1]).iterdir())) == 2
    return found


async def status_of_store(archive: Archive, **attributes: Any) -> int:
    dataset = make_object(**{"study": "5", **attributes})
    dataset.ensure_file_meta()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    server = aiodimse.Server(ae_title="ARCHIVE")
    provide(server, archive, durable=False)
    async with testing.joined(server, contexts=[MR]) as association:
        return (await association.c_store(dataset)).status


async def store(archive: Archive, **attributes: Any) -> None:
    assert await status_of_store(archive, **attributes) == 0x0000


async def commit(archive: Archive) -> None:
    """Have storage commitment report that an object is kept."""
    server, told = aiodimse.Server(ae_title="ARCHIVE"), Told()
    provide(server, archive)
    asked = question((MR, "1.2.5.1.2"))
    async with testing.joined(server, contexts=[COMMITMENT], handlers=modality(told)) as association:
        assert (await association.n_action(COMMITMENT, INSTANCE, 1, asked)).status == 0x0000
        event_type, _ = await asyncio.wait_for(told.get(), 10)
        assert event_type == 1  # all are kept
        async with asyncio.timeout(10):
            while await archive.index.transactions():  # noqa: ASYNC110
                await asyncio.sleep(0)


async def store_what_the_index_lost(archive: Archive) -> None:
    """A process died before the index had the object; its file has the name that it gives."""
    await archive.index.remove(["5/1.dcm"])
    folder = Path(archive.directory or "")
    location = archive.storage.location_for("1.2.5.1.1")
    (folder / location).parent.mkdir(parents=True)
    (folder / "5/1.dcm").rename(folder / location)
    await store(archive)
    (entry,) = (await archive.index.lookup(["1.2.5.1.1"])).values()
    assert entry.location == location
    (folder / "5/1.dcm").symlink_to(folder / location)  # for `left`


@pytest.mark.parametrize("acknowledge", [store, commit, store_what_the_index_lost])
async def test_what_is_acknowledged_again_is_as_young_as_that(archive: Archive, acknowledge: Acknowledge) -> None:
    before = time_ns()
    await acknowledge(archive)
    assert await sweeping(archive).sweep()
    assert await left(archive) == ["1.2.1", "1.2.5"]
    age = await archive.index.study_age("1.2.5")
    assert age is not None
    assert before <= age.modified <= time_ns()


@pytest.mark.parametrize("acknowledge", [store, commit])
async def test_what_is_acknowledged_when_its_study_is_chosen_stays(
    archive: Archive, acknowledge: Acknowledge, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose = archive.index.oldest_studies

    async def chosen(limit: int, after: StudyAge | None = None) -> list[StudyAge]:
        found = await choose(limit, after)
        monkeypatch.setattr(archive.index, "oldest_studies", choose)
        await acknowledge(archive)
        return found

    monkeypatch.setattr(archive.index, "oldest_studies", chosen)
    removed = await sweeping(archive).sweep()
    assert (removed.studies, removed.instances) == (1, 2)
    assert await left(archive) == ["1.2.1", "1.2.5"]


@pytest.mark.parametrize("image", ["1", "3"])
async def test_what_is_stored_when_its_study_is_locked_stays(
    archive: Archive, image: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also the rest of a study that gets a new object."""
    entries = archive.index.entries

    async def listed(query: Query, turn: Turn = FREELY) -> AsyncGenerator[Entry, None]:
        async with aclosing(entries(query, turn)) as found:
            async for each in found:
                yield each
        monkeypatch.setattr(archive.index, "entries", entries)
        await store(archive, image=image)

    monkeypatch.setattr(archive.index, "entries", listed)
    assert (await sweeping(archive).sweep()).studies == 1
    assert await left(archive) == ["1.2.1", "1.2.5"]


async def test_a_study_that_comes_again_while_it_is_removed_keeps_the_rest(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was removed of it counts for the size, but not as a study."""
    monkeypatch.setattr("aiodimse.archive.retention._AT_ONCE", 1)
    remove, stored = archive.index.remove, await archive.index.stored_bytes()

    async def removing(locations: Collection[str]) -> int:
        monkeypatch.setattr(archive.index, "remove", remove)
        await store(archive, image="2" if "5/1.dcm" in locations else "1")
        return await remove(locations)

    monkeypatch.setattr(archive.index, "remove", removing)
    removed = await sweeping(archive, 4.5).sweep()
    assert (removed.studies, removed.instances) == (0, 1)
    assert removed.bytes == stored - await archive.index.stored_bytes()
    assert (await archive.index.counts()).instances == 5


async def test_a_study_is_noted_once_in_a_while(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """The usual store writes nothing more: a file that is a minute old says enough."""
    noted, note = list[set[str]](), archive.index.set_received

    async def counted(studies: set[str], at: int) -> None:
        noted.append(studies)
        await note(studies, at)

    monkeypatch.setattr(archive.index, "set_received", counted)
    await store(archive, study="6")
    await store(archive, study="6")
    assert noted == []
    await store(archive)
    await store(archive, image="2")
    assert noted == [{"1.2.5"}]
    now = archive.received._noted["1.2.5"]
    monkeypatch.setattr("aiodimse.archive.received.monotonic", lambda: now + 60)
    await store(archive)
    assert noted == [{"1.2.5"}] * 2


async def test_what_cannot_be_noted_is_not_acknowledged(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(studies: set[str], at: int) -> None:
        raise ConnectionError

    monkeypatch.setattr(archive.index, "set_received", fail)
    assert [await status_of_store(archive) for _ in range(2)] == [0xA700] * 2


async def test_so_many_studies_are_remembered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("aiodimse.archive.received._MOST", 2)
    received = Received(await open_index("memory", tmp_path))
    await received.again([("", 1)])
    for uid in "1213":
        await received.again([(uid, 1)])
    assert list(received._noted) == ["2", "3"]


# --- every index ------------------------------------------------------------------------------------------------------


@pytest.fixture(params=KINDS)
async def index(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Index]:
    """Three studies of one object, of which those of study 1 belong to two patients."""
    index = await open_index(request.param, tmp_path)
    for patient, study, image, modified in (("P1", "1", "1", 10), ("P2", "1", "2", 20), ("P1", "2", "1", 30)):
        await index.add([header(make_object(patient, study, image=image)).stamped(7, modified)])
    yield index
    await index.close()


async def ages(index: Index) -> dict[str, tuple[int, int]]:
    found = {each.study_instance_uid: (each.modified, each.size) for each in await index.oldest_studies(9)}
    for uid, (modified, size) in found.items():
        assert await index.study_age(uid) == StudyAge(uid, modified, size)
    return found


async def test_the_age_of_a_study(index: Index) -> None:
    assert list((await ages(index)).items()) == [("1.2.1", (20, 14)), ("1.2.2", (30, 7))]
    assert await index.study_age("1.2.9") is None
    await index.set_received(["1.2.1", "1.2.2", "1.2.9"], 25)
    assert await ages(index) == {"1.2.1": (25, 14), "1.2.2": (30, 7)}
    await index.set_received([], 99)
    await index.set_received(["1.2.1"], 40)
    await index.set_received(["1.2.1"], 35)
    assert list((await ages(index)).items()) == [("1.2.2", (30, 7)), ("1.2.1", (40, 14))]
    assert await index.oldest_studies(9, StudyAge("1.2.2", 30, 7)) == [StudyAge("1.2.1", 40, 14)]
    assert await index.oldest_studies(1) == [StudyAge("1.2.2", 30, 7)]
    assert await index.study_age("1.2.9") is None


async def test_a_study_that_is_read_again_keeps_its_age(index: Index) -> None:
    """Its only object is replaced by itself, which removes the study for a moment."""
    await index.set_received(["1.2.2"], 40)
    await index.forget_received()
    await index.add([header(make_object("P1", "2")).stamped(7, 30)])
    assert (await ages(index))["1.2.2"] == (40, 7)


async def test_a_study_that_is_gone_is_forgotten(index: Index) -> None:
    again: Dataset = make_object("P1", "2")
    await index.set_received(["1.2.2", "1.2.1"], 40)
    await index.remove([header(again).location])
    await index.forget_received()
    await index.add([header(again).stamped(7, 30)])
    assert await ages(index) == {"1.2.2": (30, 7), "1.2.1": (40, 14)}


async def test_a_sweep_forgets_what_it_removed(archive: Archive, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not before the first scan has ended: then the index has only some of the studies that are there."""
    await archive.index.set_received(["1.2.5", "1.2.7"], NOW * 10**9)
    is_complete = False

    async def asked() -> bool:
        return is_complete

    monkeypatch.setattr(archive.index, "is_complete", asked)
    assert (await sweeping(archive, 3.5).sweep()).studies == 0
    assert (await Retention(archive, max_bytes=await archive.index.stored_bytes() - 1).sweep()).studies == 1
    for uid, is_known in (("7", True), ("8", False)):
        await archive.index.add([header(make_object(study=uid)).stamped(7, 1)])
        age = await archive.index.study_age(f"1.2.{uid}")
        assert age is not None
        assert (age.modified > 1) is is_known
    await archive.index.remove([header(make_object(study="7")).location])
    is_complete = True
    assert (await Retention(archive, max_bytes=await archive.index.stored_bytes() - 1).sweep()).studies == 1
    await archive.index.add([header(make_object(study="7")).stamped(7, 1)])
    age = await archive.index.study_age("1.2.7")
    assert age is not None
    assert age.modified == 1
