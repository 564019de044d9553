"""What arrives is saved as it arrived: whole, unmixed, without file meta of a peer, and nothing unread lingers."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from durable.material import STORAGE, instance
from scripted import wire
from scripted.peer import ScriptedListener, ScriptedPeer

import aiodimse
from aiodimse import sop_class, testing
from aiodimse.dimse import command
from aiodimse.dimse.messages import CStoreRQ
from aiodimse.pdu import ReleaseRP, ReleaseRQ, pdata_header

HOST = "127.0.0.1"
GET = sop_class.StudyRootQueryRetrieveInformationModelGet
META = {(0x0002, 0x0010): ("UI", "1.2.840.10008.1.2.2"), (0x0002, 0x0003): ("UI", "1.2.3.4")}
EMPTY = aiodimse.EncodedDataset(b"", wire.EXPLICIT_LE)


def connect(port: int, **options: Any) -> Any:
    return aiodimse.connect(HOST, port, called_ae_title="ARCHIVE", **{"contexts": [STORAGE], **options})


# --- one UID, many senders --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [2000, 3 << 20], ids=["one hop", "many hops"])
async def test_one_uid_from_many_associations_at_once(tmp_path: Path, size: int) -> None:
    """The file is always one of those that were sent, whole; whoever looks in between sees no other."""
    server = aiodimse.Server(ae_title="ARCHIVE")
    seen: set[bytes] = set()

    def look() -> None:
        for path in tmp_path.glob("*.dcm"):
            seen.add(whole(path))

    def whole(path: Path) -> bytes:
        from pydicom import dcmread

        pixels = dcmread(path).PixelData
        assert len(pixels) == size
        assert pixels == pixels[:1] * size, "two senders in one file"
        return pixels[:1]

    @server.on_c_store
    async def store(request: Any) -> int:
        await request.save(tmp_path)
        await asyncio.to_thread(look)
        return 0x0000

    async with server.listen(HOST, 0) as listening, AsyncExitStack() as stack:
        users = [await stack.enter_async_context(connect(listening.port)) for _ in range(6)]
        for first in (1, 101):
            stores = [
                user.c_store(instance("1.2.3", size, bytes([first + number]) * size))
                for number, user in enumerate(users)
            ]
            assert {int(response.status) for response in await asyncio.gather(*stores)} == {0x0000}
    assert [path.name for path in tmp_path.iterdir()] == ["1.2.3.dcm"]
    assert whole(tmp_path / "1.2.3.dcm")[0] > 100
    assert seen


# --- what nobody reads ------------------------------------------------------------------------------------------------


async def test_a_handler_that_does_not_read_slows_nobody_down() -> None:
    """Data sets that were never read: their bytes must not count for ever as unread, or reading would stop for good."""
    server = aiodimse.Server(ae_title="ARCHIVE", timeouts=aiodimse.Timeouts(consumer=5))

    @server.on_c_store
    async def store(request: Any) -> int:
        while not request._performed.inbox.is_complete:  # noqa: ASYNC110 - all of it shall be there, unread
            await asyncio.sleep(0)
        return 0xA900

    async with server.listen(HOST, 0) as listening, connect(listening.port) as user:
        dataset = instance("1.2.3", 60_000)
        async with asyncio.timeout(60):
            for _ in range(50):  # 3 MB, where reading pauses at half of one
                assert (await user.c_store(dataset)).status == 0xA900


async def test_what_was_answered_cannot_be_saved_any_more(tmp_path: Path) -> None:
    """A handler that leaves the work to another task and answers: no truncated file may come of it."""
    server = aiodimse.Server(ae_title="ARCHIVE")
    later: list[asyncio.Task[Any]] = []

    @server.on_c_store
    async def store(request: Any) -> int:
        later.append(asyncio.create_task(save(request)))
        return 0x0000

    answered = asyncio.Event()

    async def save(request: Any) -> Any:
        await answered.wait()
        return await request.save(tmp_path)

    async with server.listen(HOST, 0) as listening, connect(listening.port) as user:
        for uid in ("1.2.1", "1.2.2"):
            assert (await user.c_store(instance(uid, 100_000))).status == 0x0000
        answered.set()
        for error in await asyncio.gather(*later, return_exceptions=True):
            assert isinstance(error, RuntimeError)
            assert "answered before it was read" in str(error)
    assert list(tmp_path.iterdir()) == []


async def test_an_instance_of_a_c_get_cut_off_is_not_saved_by_half(tmp_path: Path) -> None:
    """All of it has arrived, half of it is read; then the association is aborted. The rest must not be missing."""
    dataset = wire.dataset({(0x0008, 0x0018): ("UI", "1.2.3"), (0x7FE0, 0x0010): ("OW", bytes(300_000))})
    async with await ScriptedListener.open() as listener:

        async def provide() -> None:
            peer = await listener.accept()
            await peer.accept()
            await peer.read_message()
            context = next(key for key, (uid, _) in peer.association.proposed.items() if uid == STORAGE)
            await peer.request(context, wire.store_rq(str(STORAGE), "1.2.3", message_id=77), dataset)
            await peer.send(wire.abort())

        task = asyncio.create_task(provide())
        ended: list[BaseException] = []
        with contextlib.suppress(aiodimse.AssociationAborted):
            async with (
                connect(listener.port, contexts=[GET], storage=[STORAGE]) as user,
                user.c_get(EMPTY, GET, allow_incomplete=True) as retrieval,
            ):
                async for arriving in retrieval:
                    stream = arriving.stream()
                    await anext(stream)
                    await task
                    await user.wait_closed()
                    try:
                        async for _ in stream:
                            pass
                    except aiodimse.AssociationAborted as error:
                        ended.append(error)
        assert ended, "the stream ended as if all had been there"


# --- group 0002 in a data set -----------------------------------------------------------------------------------------


async def test_a_data_set_that_begins_with_group_0002_makes_no_file(tmp_path: Path) -> None:
    """A data set with File Meta elements is none (PS3.7 6.2, PS3.10 7.1): it would say how the file is to be read.
    Where it is decoded they are dropped."""
    server = aiodimse.Server(ae_title="ARCHIVE")
    raised: list[str] = []

    @server.on_c_store
    async def store(request: Any) -> int:
        try:
            if request.sop_instance_uid.endswith(".1"):
                assert 0x00020010 not in await request.dataset()
            else:
                await request.save(tmp_path)
        except aiodimse.DatasetDecodeError as error:
            raised.append(str(error))
            raise
        return 0x0000

    body = {(0x0008, 0x0016): ("UI", str(STORAGE)), (0x0010, 0x0010): ("PN", "A^B")}
    async with server.listen(HOST, 0) as listening, await ScriptedPeer.connect(HOST, listening.port) as peer:
        await peer.associate([(1, str(STORAGE), [wire.EXPLICIT_LE])], called="ARCHIVE")
        for uid, elements, status in (
            ("1.2.3.1", {**META, **body}, 0x0000),
            ("1.2.3.1", body, 0x0000),
            ("1.2.3.2", {**META, **body}, 0xC210),
            ("1.2.3.2", body, 0x0000),
        ):
            asked = await peer.request(1, wire.store_rq(str(STORAGE), uid), wire.dataset(elements))
            (response,) = await peer.responses(asked)
            assert response.status == status, uid
        await peer.release()
    assert len(raised) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["1.2.3.2.dcm"]


def fragments(message_id: int, data: bytes, context_id: int = 1) -> list[bytes]:
    """A C-STORE request whose data set begins with two fragments of one byte."""
    request = CStoreRQ(
        message_id=message_id, affected_sop_class_uid=str(STORAGE), affected_sop_instance_uid="1.2.3", priority=0
    )
    request.has_data_set = True
    whole = (command.encode(request), data[:1], data[1:2], data[2:])
    return [
        pdata_header(context_id, number == 0, number in (0, 3), len(part)) + part for number, part in enumerate(whole)
    ]


FORGED = wire.dataset({**META, (0x0008, 0x0016): ("UI", str(STORAGE)), (0x0010, 0x0010): ("PN", "A^B")})


@pytest.mark.parametrize("most", [0, 262144])
async def test_file_meta_of_a_peer_in_fragments_of_one_byte(tmp_path: Path, most: int) -> None:
    """Without a maximum length each fragment is a batch of its own, and none of the first two has a group number."""
    network = testing.MemoryNetwork()
    server = aiodimse.Server(
        environment=aiodimse.Environment(network=network), limits=aiodimse.Limits(max_pdu_length=most)
    )

    @server.on_c_store
    async def store(request: Any) -> int:
        await request.save(tmp_path)
        return 0x0000

    async with server.listen("memory", 104):
        peer = await testing.ScriptedPeer.call(network, 104)
        await peer.associate([str(STORAGE)])
        for fragment in fragments(1, FORGED):
            peer.send(fragment)
            await testing.settle()
        _, response, _ = await peer.read_message()
        assert response.status == 0xC210
        peer.abort_transport()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("most", [0, 262144])
async def test_file_meta_of_a_c_get_provider_in_fragments_of_one_byte(tmp_path: Path, most: int) -> None:
    network = testing.MemoryNetwork()
    peers = await testing.ScriptedPeer.listen(network, 104)
    raised: list[str] = []

    async def get() -> None:
        limits = aiodimse.Limits(max_pdu_length=most)
        async with (
            connect(
                104, contexts=[GET], storage=[STORAGE], environment=aiodimse.Environment(network=network), limits=limits
            ) as user,
            user.c_get(EMPTY, GET, allow_incomplete=True) as retrieval,
        ):
            async for arriving in retrieval:
                try:
                    await arriving.save(tmp_path)
                except aiodimse.DatasetDecodeError as error:
                    raised.append(str(error))

    getting = asyncio.create_task(get())
    peer = await peers.get()
    rq = await peer.accept()
    _, request, _ = await peer.read_message()
    (context,) = [c.context_id for c in rq.contexts if c.abstract_syntax == STORAGE]
    for fragment in fragments(77, FORGED, context):
        peer.send(fragment)
        await testing.settle()
    _, response, _ = await peer.read_message()
    assert response.status == 0x0110
    peer.send_message(1, request.response(0xB000))
    assert await peer.expect(ReleaseRQ)
    peer.send(ReleaseRP())
    await getting
    assert len(raised) == 1
    assert list(tmp_path.iterdir()) == []
