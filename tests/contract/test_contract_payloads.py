"""Data sets in memory, to be sent, are counted for the whole server: `Limits.payloads_in_memory`."""

from __future__ import annotations

import asyncio
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, cast

import pydicom
import pytest
from contract.stage import CT_UID, Script, Stage, image, make_server, open_stage, register
from pydicom import Dataset, dcmread
from scripted import wire

import aiodimse
from aiodimse import datasets, testing
from aiodimse.aio.channel import Channel
from aiodimse.aio.clock import Clock
from aiodimse.services.instance import FileInstance, Instance
from aiodimse.services.provider import suboperations
from aiodimse.services.provider.budgets import NoRoom, Payloads, Share
from aiodimse.services.recompression import Room

SIZE = 60_000
DEFLATED = "1.2.840.10008.1.2.1.99"


# --- the semaphore ----------------------------------------------------------------------------------------------------


class Owner:
    pass


async def test_nobody_overtakes_and_what_is_too_large_goes_alone() -> None:
    payloads, order = Payloads(100), []

    async def hold(name: str, size: int, until: asyncio.Event) -> None:
        share = payloads.share(owners[name])
        await share.take(size, Clock(), None)
        order.append(name)
        await until.wait()
        share.give_back()
        share.give_back()  # harmless

    owners = {name: Owner() for name in ("first", "large", "small", "none")}
    first, rest = asyncio.Event(), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        group.create_task(hold("first", 60, first))
        group.create_task(hold("large", 1000, rest))
        group.create_task(hold("small", 10, rest))
        group.create_task(hold("none", 0, rest))
        await testing.settle()
        assert order == ["first", "none"]
        first.set()
        await testing.settle()
        assert order == ["first", "none", "large"]
        rest.set()
    assert order == ["first", "none", "large", "small"]
    assert await payloads.take(100) == 100


async def test_an_association_has_one_share() -> None:
    payloads, owner = Payloads(100), Owner()
    share, second = payloads.share(owner), payloads.share(owner)
    await share.take(10, Clock(), None)
    with pytest.raises(NoRoom):
        await second.take(10, Clock(), 0.01)
    share.give_back()
    await second.take(10, Clock(), 0.01)


@pytest.mark.parametrize("when", ["waiting", "at its turn"])
async def test_who_is_cancelled_has_nothing(when: str) -> None:
    payloads = Payloads(100)
    await payloads.take(80)
    large, small = asyncio.create_task(payloads.take(100)), asyncio.create_task(payloads.take(20))
    await testing.settle()
    if when == "waiting":
        large.cancel()
        await testing.settle()
        assert small.done()  # it had waited for its turn alone
        payloads.give_back(80)
    else:
        payloads.give_back(80)
        large.cancel()
        await testing.settle()
        assert small.done()
    assert large.cancelled()
    payloads.give_back(20)
    assert await payloads.take(100) == 100


async def test_bytes_that_come_free_while_a_waiter_is_cancelled_go_to_the_next_one() -> None:
    """The task has been cancelled and has not run since. Its future is done, so it must be passed over."""
    payloads = Payloads(100)
    await payloads.take(80)
    large, small = asyncio.create_task(payloads.take(100)), asyncio.create_task(payloads.take(30))
    await testing.settle()
    large.cancel()
    payloads.give_back(80)
    await testing.settle()
    assert large.cancelled()
    assert small.result() == 30
    payloads.give_back(30)
    assert await payloads.take(100) == 100


async def test_associations_that_end_together_leave_all_bytes_free() -> None:
    """The one that has the bytes and the one that waits for them are cancelled in the same turn of the event loop."""
    payloads = Payloads(100)

    async def send(share: Share) -> None:
        try:
            await share.take(100, Clock(), None)
            await asyncio.Event().wait()
        finally:
            share.give_back()

    owners = [Owner() for _ in range(3)]
    tasks = [asyncio.create_task(send(payloads.share(owner))) for owner in owners]
    await testing.settle()
    for task in tasks:
        task.cancel()
    assert [type(each) for each in await asyncio.gather(*tasks, return_exceptions=True)] == [asyncio.CancelledError] * 3
    assert await payloads.take(100) == 100


# --- of a server ------------------------------------------------------------------------------------------------------


def with_pixels(number: int) -> Dataset:
    made = image(number)
    made.add_new(0x7FE00010, "OW", bytes(SIZE))
    return made


class Encoding:
    """How many are encoded, and not sent yet, at once; none gets on until it is told to.

    asked: how often each of them asks for room.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, asked: int = 1) -> None:
        self._asked = asked
        self.sizes: list[int] = []
        self.now = self.most = 0
        self.go = asyncio.Event()
        self.begun = asyncio.Event()
        self._encode = suboperations.payload_of
        monkeypatch.setattr(suboperations, "payload_of", self._counted)

    async def _counted(self, instance: Instance, syntax: str, channel: Channel, room: Room) -> Any:
        sizes: list[int] = []

        async def counted(size: int) -> None:
            await room(size)
            sizes.append(size)
            if len(sizes) == self._asked:
                self.sizes.append(size)
                self.now += 1
                self.most = max(self.most, self.now)
                self.begun.set()
                await self.go.wait()
                self.now -= 1

        return await self._encode(instance, syntax, channel, counted)


async def get_at_once(server: aiodimse.Server, peers: int, stack: AsyncExitStack) -> list[tuple[Stage, int]]:
    stages = [await stack.enter_async_context(open_stage(server)) for _ in range(peers)]
    return [(stage, await stage.ask("C-GET")) for stage in stages]


@pytest.mark.parametrize(("room", "at_once"), [(SIZE + 1000, 1), (3 * SIZE, 2), (20 * SIZE, 5)])
async def test_as_many_are_encoded_as_there_is_room_for(
    room: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, encoding = make_server(limits=aiodimse.Limits(payloads_in_memory=room)), Encoding(monkeypatch)
    register(server, "C-GET", Script(2, with_pixels(1), with_pixels(2)))
    async with AsyncExitStack() as stack:
        asked = await get_at_once(server, 5, stack)
        finals = [asyncio.create_task(stage.peer.responses(number, store=0x0000)) for stage, number in asked]
        while encoding.most < at_once:
            await encoding.begun.wait()
            await asyncio.sleep(0)
        for _ in range(20):
            await asyncio.sleep(0)
        assert encoding.most == at_once
        encoding.go.set()
        assert [(await each)[-1].status for each in finals] == [0x0000] * 5
    assert encoding.most <= at_once


def compressed(folder: Path) -> Path:
    """64 rows of 64 pixels of 16 bits: 8 KiB, once they are decoded."""
    made = dcmread(Path(pydicom.__file__).parent / "data" / "test_files" / "MR_small_RLE.dcm")
    made.SOPClassUID, made.SOPInstanceUID = CT_UID, "1.2.3.1"
    made.file_meta.MediaStorageSOPClassUID, made.file_meta.MediaStorageSOPInstanceUID = CT_UID, "1.2.3.1"
    made.save_as(folder / "rle.dcm")
    return folder / "rle.dcm"


@pytest.mark.parametrize(("frames", "at_once"), [(2, 1), (5, 2), (50, 5)])
async def test_as_many_are_decompressed_as_there_is_room_for(
    frames: int, at_once: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The room is that of decoded pixels, each twice, and of the files, which are half as large."""
    limits = aiodimse.Limits(payloads_in_memory=frames * 8192 * 5 // 4)
    server, encoding = make_server(limits=limits), Encoding(monkeypatch, asked=2)
    register(server, "C-GET", Script(1, compressed(tmp_path)))
    async with AsyncExitStack() as stack:
        asked = await get_at_once(server, 5, stack)
        finals = [asyncio.create_task(stage.peer.responses(number, store=0x0000)) for stage, number in asked]
        async with asyncio.timeout(20):
            while encoding.most < at_once:
                await encoding.begun.wait()
                await asyncio.sleep(0)
        await asyncio.to_thread(int)
        assert encoding.most == at_once
        encoding.go.set()
        assert [(await each)[-1].status for each in finals] == [0x0000] * 5
    assert encoding.most <= at_once
    assert all(2 * 8192 <= size <= 3 * 8192 for size in encoding.sizes)


async def test_an_instance_for_which_there_is_no_room_in_time(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It has failed, and the association goes on."""
    limits, timeouts = aiodimse.Limits(payloads_in_memory=SIZE), aiodimse.Timeouts(response=0.05)
    server, encoding = make_server(limits=limits, timeouts=timeouts), Encoding(monkeypatch)
    register(server, "C-GET", Script(1, with_pixels(1)))
    async with AsyncExitStack() as stack:
        (first, one), (second, two) = await get_at_once(server, 2, stack)
        late = asyncio.create_task(second.peer.responses(two, store=0x0000))
        final = (await late)[-1]
        assert (final.status, final.counters) == (0xA702, (None, 0, 1, 0))
        encoding.go.set()
        assert (await first.peer.responses(one, store=0x0000))[-1].status == 0x0000
        again = await second.ask("C-GET")
        assert (await second.peer.responses(again, store=0x0000))[-1].status == 0x0000
    assert any("no room for" in record.getMessage() for record in caplog.records)


# --- what counts ------------------------------------------------------------------------------------------------------


def a_file(folder: Path, size: int) -> Path:
    elements = {
        (0x0008, 0x0016): ("UI", CT_UID),
        (0x0008, 0x0018): ("UI", "1.2.3.1"),
        (0x7FE0, 0x0010): ("OW", bytes(size)),
    }
    with datasets.PartTenWriter(folder, CT_UID, "1.2.3.1", wire.EXPLICIT_LE, durable=False) as writer:
        return writer.finish(wire.dataset(elements))


@pytest.mark.parametrize(
    ("size", "syntax", "least", "most"),
    [
        (SIZE, wire.EXPLICIT_LE, 0, 0),
        (SIZE, wire.IMPLICIT_LE, 3 * SIZE, 3 * SIZE + 1000),
        (2 << 20, wire.IMPLICIT_LE, 0, 0),
    ],
)
async def test_of_a_file_what_is_not_streamed(tmp_path: Path, size: int, syntax: str, least: int, most: int) -> None:
    instance = await Instance.open(a_file(tmp_path, size))
    assert least <= instance.held_to_send(syntax) <= most


def a_deflated_file(folder: Path, size: int) -> Path:
    """A file whose pixels are zeros: it is a thousandth of what it inflates to."""
    made = with_pixels(1)
    made.PixelData = bytes(size)
    path = folder / "deflated.dcm"
    with datasets.PartTenWriter(folder, CT_UID, "1.2.3.1", DEFLATED, name=path.name, durable=False) as writer:
        return writer.finish(datasets.encode_dataset(made, DEFLATED))


async def test_a_deflated_file_is_re_encoded_in_pieces(tmp_path: Path) -> None:
    """The example: one mebibyte took two gibibytes, and counted as three mebibytes."""
    instance = await Instance.open(a_deflated_file(tmp_path, 16 << 20))
    assert isinstance(instance, FileInstance)
    assert instance.head.size < 64 << 10
    assert instance.held_to_send(wire.IMPLICIT_LE) == 0
    assert instance.held_to_decode() >= 3 * (16 << 20)
    tracemalloc.start()
    try:
        encoded = await instance.encoded(wire.IMPLICIT_LE)
        size = sum([len(piece) async for piece in cast("AsyncIterator[bytes]", encoded)])
        assert size > 16 << 20
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "limits",
    [
        aiodimse.Limits(),
        aiodimse.Limits(dataset_in_memory=1 << 20),
        aiodimse.Limits(inflated_in_memory=1 << 20),
        aiodimse.Limits(deflate_ratio=10),
    ],
)
async def test_what_a_deflated_file_may_inflate_to(tmp_path: Path, limits: aiodimse.Limits) -> None:
    instance = await Instance.open(a_deflated_file(tmp_path, 4 << 20))
    instance.limits = limits
    assert isinstance(instance, FileInstance)
    most = min(limits.dataset_in_memory, limits.inflated_in_memory, limits.deflate_ratio * instance.head.size)
    assert instance.held_to_decode() == 3 * most


@pytest.mark.parametrize("syntax", [wire.EXPLICIT_LE, wire.IMPLICIT_LE])
def test_of_a_data_set_its_values(syntax: str) -> None:
    """Those of items too."""
    made, item = with_pixels(1), Dataset()
    item.add_new(0x00091010, "OB", bytes(SIZE))
    made.ReferencedSeriesSequence = [item]
    made.ensure_file_meta()
    made.file_meta.TransferSyntaxUID = wire.EXPLICIT_LE
    assert 2 * SIZE <= Instance.from_dataset(made).held_to_send(syntax) <= 2 * SIZE + 1000
