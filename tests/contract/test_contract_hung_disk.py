"""A disk that hangs: places stay taken, more work is refused, and the server can be left."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import wait
from pathlib import Path

import pytest
from contract.stage import CT_UID, HOST, TITLE, make_server, open_stage
from scripted import wire
from scripted.peer import Rejected, ScriptedPeer

import aiodimse
from aiodimse.aio import thread_pool
from aiodimse.aio.files import WORKERS, off_loop

CT = 9
CONTEXTS = [(1, wire.VERIFICATION, [wire.IMPLICIT_LE]), (CT, CT_UID, [wire.EXPLICIT_LE])]
SECOND = "1.2.3.2"


def instance(uid: str) -> bytes:
    return wire.dataset({(0x0008, 0x0016): ("UI", CT_UID), (0x0008, 0x0018): ("UI", uid)})


class HungDisk:
    """No fsync comes back until it is told to."""

    def __init__(self) -> None:
        self.asked, self.go = threading.Semaphore(0), threading.Event()

    def fsync(self, fd: int) -> None:
        self.asked.release()
        self.go.wait(60)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[HungDisk]:
    hung = HungDisk()
    monkeypatch.setattr(os, "fsync", hung.fsync)
    yield hung
    hung.go.set()
    wait(thread_pool.all_under_way(), timeout=60)  # a thread that was left behind would flush on the next test's disk


def saving(folder: Path, **options: object) -> aiodimse.Server:
    server = make_server(**options)

    @server.on_c_store
    async def store(request: aiodimse.StoreRequest) -> int:
        await request.save(folder)
        return 0x0000

    return server


async def test_who_stores_and_aborts_keeps_the_place_while_the_disk_hangs(tmp_path: Path, disk: HungDisk) -> None:
    server = saving(tmp_path, limits=aiodimse.Limits(max_associations=1))
    async with server.listen(HOST, 0) as listening:
        async with await ScriptedPeer.connect(HOST, listening.port) as peer:
            await peer.associate(CONTEXTS, called=TITLE)
            await peer.request(CT, wire.store_rq(CT_UID, "1.2.3.1"), instance("1.2.3.1"))
            await asyncio.to_thread(disk.asked.acquire)
            await peer.send(wire.abort())
            await peer.expect_close()
        async with await ScriptedPeer.connect(HOST, listening.port) as other:
            with pytest.raises(Rejected) as caught:
                await other.associate(CONTEXTS, called=TITLE)
        assert (caught.value.result, caught.value.source, caught.value.reason) == (2, 3, 2)
        disk.go.set()
    assert os.listdir(tmp_path) == ["1.2.3.1.dcm"]  # noqa: PTH208  # it was whole


@pytest.mark.parametrize("how", ["close", "an exception"])
async def test_a_server_is_left_though_the_disk_hangs(
    how: str, tmp_path: Path, disk: HungDisk, caplog: pytest.LogCaptureFixture
) -> None:
    """Within Timeouts.server_drain and handler_close; the file is left as it is, for `remove_unfinished`."""
    server = saving(tmp_path, timeouts=aiodimse.Timeouts(server_drain=0.05, handler_close=0.05))
    with pytest.raises(KeyError) if how != "close" else caplog.at_level("INFO"):  # type: ignore[attr-defined]
        async with asyncio.timeout(20), server.listen(HOST, 0) as listening:
            async with await ScriptedPeer.connect(HOST, listening.port) as peer:
                await peer.associate(CONTEXTS, called=TITLE)
                await peer.request(CT, wire.store_rq(CT_UID, "1.2.3.1"), instance("1.2.3.1"))
                await asyncio.to_thread(disk.asked.acquire)
            if how != "close":
                raise KeyError
    await asyncio.sleep(0)
    assert [task.get_name() for task in asyncio.all_tasks() if "aiodimse" in task.get_name()] == []
    assert any("left behind" in record.getMessage() for record in caplog.records)
    assert len(os.listdir(tmp_path)) == 1  # noqa: PTH208


@pytest.fixture
async def busy(disk: HungDisk, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """All threads hang."""
    tasks = [asyncio.create_task(off_loop(disk.fsync, 0)) for _ in range(WORKERS)]
    for _ in tasks:
        await asyncio.to_thread(disk.asked.acquire)
    monkeypatch.setattr(thread_pool, "MOST_WAITING", 0)
    yield
    disk.go.set()
    await asyncio.wait(tasks)


async def test_a_c_store_that_the_thread_pool_does_not_take(
    tmp_path: Path, disk: HungDisk, busy: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Out of resources, and the association lives: the next one is taken when the disk is back."""
    async with open_stage(saving(tmp_path), CONTEXTS, roles={}) as stage:
        for uid, status in (("1.2.3.1", 0xA700), (SECOND, 0x0000)):
            (response,) = await stage.peer.responses(
                await stage.peer.request(CT, wire.store_rq(CT_UID, uid, message_id=7), instance(uid))
            )
            assert response.status == status
            disk.go.set()
            monkeypatch.setattr(thread_pool, "MOST_WAITING", 1024)
    assert len(os.listdir(tmp_path)) == 1  # noqa: PTH208


async def test_a_request_whose_data_set_cannot_be_decoded_for_lack_of_threads(busy: None) -> None:
    """A large Identifier is decoded in the pool."""
    server = make_server()

    @server.on_c_find(wire.STUDY_ROOT_FIND)
    async def find(request: aiodimse.FindRequest) -> AsyncIterator[int]:
        yield 0x0000

    contexts = [(1, wire.VERIFICATION, [wire.IMPLICIT_LE]), (3, wire.STUDY_ROOT_FIND, [wire.EXPLICIT_LE])]
    identifier = wire.dataset({(0x0010, 0x1000 + number): ("LO", "x" * 60) for number in range(4000)})
    async with open_stage(server, contexts, roles={}) as stage:
        (response,) = await stage.peer.responses(await stage.peer.request(3, wire.find_rq(message_id=7), identifier))
        assert response.status == 0xA700
        (response,) = await stage.peer.responses(
            await stage.peer.request(3, wire.find_rq(message_id=9), wire.identifier("STUDY"))
        )
        assert response.status == 0x0000
