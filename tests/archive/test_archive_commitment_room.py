"""How many storage commitments, and instances in them, an archive keeps that are not yet reported."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from archive.databases import open_index
from pydicom import Dataset

import aiodimse
from aiodimse import sop_class
from aiodimse.archive import Archive, provide
from aiodimse.archive import commitment as module
from aiodimse.commitment import INSTANCE
from aiodimse.commitment import SOP_CLASS as COMMITMENT

HOST = "127.0.0.1"
OPEN, REFUSED = 0x0000, 0x0213


@pytest.fixture(autouse=True)
def room(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four transactions with ten instances; half of that for one peer."""
    monkeypatch.setattr(module, "MAX_OPEN", 4)
    monkeypatch.setattr(module, "MAX_OPEN_REFERENCES", 10)
    monkeypatch.setattr(module, "_AFTER_RESPONSE", 0.0)


def serving(archive: Archive) -> aiodimse.Server:
    server = aiodimse.Server(ae_title="ARCHIVE")
    provide(server, archive, durable=False)
    return server


async def ask(port: int, title: str, uid: str, instances: int = 1) -> int:
    """Ask, and hang up: the archive has no address of anybody, so no report is ever taken."""
    dataset = Dataset()
    dataset.TransactionUID, dataset.ReferencedSOPSequence = uid, []
    for number in range(instances):
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class.MRImageStorage, f"1.2.{number}"
        dataset.ReferencedSOPSequence.append(item)
    async with aiodimse.connect(
        HOST, port, ae_title=title, called_ae_title="ARCHIVE", contexts=[COMMITMENT]
    ) as association:
        return (await association.n_action(COMMITMENT, INSTANCE, 1, dataset)).status


@pytest.mark.parametrize("kind", ["memory", "sqlite", "postgresql"])
async def test_a_peer_that_takes_no_report_leaves_room_for_others(tmp_path: Path, kind: str) -> None:
    """What it asks again is no further one."""
    archive = await Archive.open(tmp_path, index=await open_index(kind, tmp_path))
    async with serving(archive).listen(HOST, 0) as listening:
        for uid, status in (("1.1", OPEN), ("1.2", OPEN), ("1.3", REFUSED), ("1.1", OPEN)):
            assert await ask(listening.port, "DEAF", uid) == status
        for title, status in (("CT1", OPEN), ("CT2", OPEN), ("CT3", REFUSED), ("CT1", OPEN)):
            assert await ask(listening.port, title, "1.1") == status
        assert len(await archive.index.transactions()) == 4
    await archive.close()


async def test_so_many_instances_wait_for_a_report(tmp_path: Path) -> None:
    archive = await Archive.open(tmp_path, index="memory:")
    async with serving(archive).listen(HOST, 0) as listening:
        assert await ask(listening.port, "CT1", "1.1", 6) == REFUSED
        assert await ask(listening.port, "CT1", "1.1", 4) == OPEN
        assert await ask(listening.port, "CT1", "1.2", 2) == REFUSED
        assert await ask(listening.port, "CT1", "1.1", 4) == OPEN  # the same once more
        assert await ask(listening.port, "CT1", "1.2", 1) == OPEN
        assert await ask(listening.port, "CT2", "1.1", 6) == REFUSED
        assert await ask(listening.port, "CT2", "1.1", 5) == OPEN
        assert await ask(listening.port, "CT3", "1.1", 1) == REFUSED
    await archive.close()


async def test_instances_count_until_their_report_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = await Archive.open(tmp_path, index="memory:")
    reporting = module.Commitment(archive, {}, "ARCHIVE")
    monkeypatch.setattr(module, "KEEP", 0)  # each is given up at once
    server = aiodimse.Server(ae_title="ARCHIVE")
    server.on_n_action(COMMITMENT)(reporting.accept)
    async with server.listen(HOST, 0) as listening:
        for number in range(8):
            assert await ask(listening.port, "CT1", f"1.{number}", 5) == OPEN
            while reporting._reports:  # noqa: ASYNC110
                await asyncio.sleep(0)
    assert not reporting._references
    await archive.close()


@pytest.mark.parametrize("kind", ["memory", "sqlite", "postgresql"])
async def test_requests_of_one_moment_get_no_more_room(tmp_path: Path, kind: str) -> None:
    """Neither in one process nor in two, which have one index."""
    index = await open_index(kind, tmp_path)
    archives = [await Archive.open(tmp_path, index=index) for _ in range(2)]
    async with serving(archives[0]).listen(HOST, 0) as one, serving(archives[1]).listen(HOST, 0) as other:
        asked = [ask(port, title, f"1.{port}") for port in (one.port, other.port) for title in ("A", "B", "C", "D")]
        asked += [ask(port, "E", f"1.{port}.{number}") for port in (one.port, other.port) for number in range(4)]
        statuses = await asyncio.gather(*asked)
        assert Counter(statuses) == {OPEN: 4, REFUSED: 12}
        stored = await index.transactions()
        assert len(stored) == 4
        assert sum(name.calling_ae_title == "E" for name in stored) <= 2
    for archive in archives:
        await archive.close()


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_instances_of_requests_of_one_moment_get_no_more_room(tmp_path: Path, kind: str) -> None:
    archive = await Archive.open(tmp_path, index=await open_index(kind, tmp_path))
    async with serving(archive).listen(HOST, 0) as listening:
        statuses = await asyncio.gather(*(ask(listening.port, title, "1.1", 4) for title in ("A", "B", "C", "D")))
        assert Counter(statuses) == {OPEN: 2, REFUSED: 2}
    await archive.close()
