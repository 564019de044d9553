"""Every SOP class of qr_sop_classes.csv through user handlers: asked by our own user, and on the wire."""

from __future__ import annotations

import asyncio
import csv
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from interop import samples
from interop.ours import HOST, TITLE, HandlerArchive
from pydicom import Dataset, dcmread
from pydicom.filebase import DicomBytesIO
from scripted import wire
from scripted.peer import ScriptedListener, ScriptedPeer

import aiodimse
from aiodimse import sop_class

TABLE = Path(__file__).parent.parent / "data" / "standard" / "qr_sop_classes.csv"
with TABLE.open(encoding="utf-8", newline="") as file:
    ROWS = list(csv.DictReader(file))

Row = Mapping[str, str]


def rows(command: str) -> Any:
    chosen = [row for row in ROWS if row["command"] == command]
    return pytest.mark.parametrize("row", chosen, ids=lambda row: row["keyword"])


def test_the_table_is_whole() -> None:
    assert (len(ROWS), sum(row["named_in_seeds"] == "yes" for row in ROWS)) == (44, 30)
    assert all(getattr(sop_class, row["keyword"]) == row["uid"] for row in ROWS)


def _identifier() -> Dataset:
    identifier = Dataset()
    identifier.SOPInstanceUID = samples.CT.instance
    return identifier


WIRE_IDENTIFIER = wire.dataset({(0x0008, 0x0018): ("UI", samples.CT.instance)})


@rows("C-FIND")
async def test_find(row: Row) -> None:
    server = aiodimse.Server(ae_title=TITLE)

    @server.on_c_find(row["uid"])
    async def find(request: Any) -> AsyncIterator[Any]:
        assert (request.sop_class_uid, request.identifier.SOPInstanceUID) == (row["uid"], samples.CT.instance)
        yield 0xFF01, request.identifier

    async with server.listen(HOST, 0) as listening:
        async with (
            aiodimse.connect(
                HOST, listening.port, called_ae_title=TITLE, contexts=[getattr(sop_class, row["keyword"])]
            ) as association,
            association.c_find(_identifier(), row["uid"]) as matches,
        ):
            found = [(match.SOPInstanceUID, matches.last_status) async for match in matches]
        assert (found, matches.status) == ([(samples.CT.instance, 0xFF01)], 0x0000)

        async with await ScriptedPeer.connect(HOST, listening.port) as peer:
            await peer.associate([(1, row["uid"], [wire.EXPLICIT_LE])], called=TITLE)
            rq = wire.find_rq(row["uid"], message_id=5)
            pending, final = await peer.responses(await peer.request(1, rq, WIRE_IDENTIFIER))
            assert (pending.status, pending.data, pending.sop_class) == (0xFF01, WIRE_IDENTIFIER, row["uid"])
            assert (final.status, final.data, final.sop_class) == (0x0000, None, row["uid"])
            await peer.release()


@rows("C-GET")
async def test_get(row: Row, tmp_path: Path) -> None:
    server = aiodimse.Server(ae_title=TITLE)

    @server.on_c_get(row["uid"])
    async def get(request: Any) -> AsyncIterator[Any]:
        assert (request.sop_class_uid, request.identifier.SOPInstanceUID) == (row["uid"], samples.CT.instance)
        yield 1
        yield 0xFF00, samples.CT.path

    async with server.listen(HOST, 0) as listening:
        async with (
            aiodimse.connect(
                HOST, listening.port, called_ae_title=TITLE, contexts=[getattr(sop_class, row["keyword"])]
            ) as association,
            association.c_get(_identifier(), row["uid"]) as retrieval,
        ):
            arrived = [(await instance.save(tmp_path)) async for instance in retrieval]
        assert (retrieval.status, retrieval.progress.completed) == (0x0000, 1)
        (path,) = arrived
        _check_arrived(row, samples.data_set_bytes(path))

        async with await ScriptedPeer.connect(HOST, listening.port) as peer:
            contexts = [(1, row["uid"], [wire.EXPLICIT_LE]), (3, wire.CT_IMAGE_STORAGE, [wire.EXPLICIT_LE])]
            ac = await peer.associate(contexts, called=TITLE, roles={wire.CT_IMAGE_STORAGE: (0, 1)})
            assert ac.roles == {wire.CT_IMAGE_STORAGE: (0, 1)}
            rq = wire.get_rq(row["uid"], message_id=5)
            responses = await peer.responses(await peer.request(1, rq, WIRE_IDENTIFIER), store=0x0000)
            assert (responses[-1].status, responses[-1].counters) == (0x0000, (None, 1, 0, 0))
            (stored,) = peer.stored
            _check_arrived(row, stored.data or b"")
            await peer.release()


@rows("C-MOVE")
async def test_move(row: Row, tmp_path: Path) -> None:
    server = aiodimse.Server(ae_title=TITLE)
    target = HandlerArchive(tmp_path, accept_called=["DEST"])

    async with target.server.listen(HOST, 0) as destination:

        @server.on_c_move(row["uid"])
        async def move(request: Any) -> AsyncIterator[Any]:
            assert (request.sop_class_uid, request.move_destination) == (row["uid"], "DEST")
            yield HOST, destination.port
            yield 1
            yield samples.CT.path

        async with server.listen(HOST, 0) as listening:
            async with (
                aiodimse.connect(
                    HOST,
                    listening.port,
                    ae_title="MOVER",
                    called_ae_title=TITLE,
                    contexts=[getattr(sop_class, row["keyword"])],
                ) as association,
                association.c_move(_identifier(), row["uid"], destination="DEST") as moving,
            ):
                _ = [progress async for progress in moving]
            assert (moving.status, moving.progress.completed) == (0x0000, 1)

            async with await ScriptedPeer.connect(HOST, listening.port) as peer:
                await peer.associate([(1, row["uid"], [wire.EXPLICIT_LE])], called=TITLE, calling="SCRIPTED")
                rq = wire.move_rq("DEST", row["uid"], message_id=5)
                responses = await peer.responses(await peer.request(1, rq, WIRE_IDENTIFIER))
                assert (responses[-1].status, responses[-1].counters) == (0x0000, (None, 1, 0, 0))
                await peer.release()
        originators = [(r.move_originator_ae_title, r.move_originator_message_id) for r in target.requests]
        assert originators[1] == ("SCRIPTED", 5)
        assert originators[0][0] == "MOVER"
    (path,) = target.stored()
    assert samples.data_set_bytes(path) == samples.CT.data


def _check_arrived(row: Row, data: bytes) -> None:
    if row["keyword"] == "CompositeInstanceRetrieveWithoutBulkDataGet":
        arrived = dcmread(DicomBytesIO(b"\0" * 128 + b"DICM" + _META + data))
        assert arrived.SOPInstanceUID == samples.CT.instance
        assert "PixelData" not in arrived
    else:
        assert data == samples.CT.data


_META = wire.dataset({(2, 0): ("UL", bytes((28, 0, 0, 0))), (2, 0x10): ("UI", wire.EXPLICIT_LE)})


async def test_a_move_to_the_scripted_peer(tmp_path: Path) -> None:
    """What the store association of a C-MOVE looks like to one who reads it without aiodimse."""
    async with await ScriptedListener.open() as listener:
        archive = HandlerArchive(tmp_path, [samples.CT.path], {"DEST": listener.port})
        async with (
            archive.server.listen(HOST, 0) as listening,
            await ScriptedPeer.connect(HOST, listening.port) as mover,
        ):
            await mover.associate([(1, wire.STUDY_ROOT_MOVE, [wire.IMPLICIT_LE])], called=TITLE, calling="MOVER")
            identifier = wire.identifier("STUDY", wire.IMPLICIT_LE, study=((0x0020, 0x000D), "UI", samples.CT.study))
            await mover.request(1, wire.move_rq("DEST", message_id=77, priority=1), identifier)
            destination = await listener.accept()
            rq = await destination.accept()
            assert (rq.called, rq.calling) == ("DEST", TITLE)
            offered = [key for key, (uid, _) in rq.proposed.items() if uid == wire.CT_IMAGE_STORAGE]
            store = await destination.read_message()
            assert store.context_id in offered
            assert (store.sop_class, store.instance) == (wire.CT_IMAGE_STORAGE, samples.CT.instance)
            assert (store.number(wire.PRIORITY), store.text(wire.ORIGINATOR_TITLE)) == (1, "MOVER")
            assert (store.number(wire.ORIGINATOR_ID), store.data) == (77, samples.CT.data)
            await destination.respond(store, 0x0000)
            await destination.expect_release()
            responses = await mover.responses(77)
            assert (responses[-1].status, responses[-1].counters) == (0x0000, (None, 1, 0, 0))
            await mover.release()


async def test_leaving_a_server_waits_for_the_release_of_a_store_association(tmp_path: Path) -> None:
    """The mover has its final response and is gone; the destination has not answered the A-RELEASE-RQ yet."""
    async with await ScriptedListener.open() as listener:
        archive = HandlerArchive(tmp_path, [samples.CT.path], {"DEST": listener.port})
        async with archive.server.listen(HOST, 0) as listening:
            async with await ScriptedPeer.connect(HOST, listening.port) as mover:
                await mover.associate([(1, wire.STUDY_ROOT_MOVE, [wire.EXPLICIT_LE])], called=TITLE)
                await mover.request(1, wire.move_rq("DEST", message_id=7), WIRE_IDENTIFIER)
                destination = await listener.accept()
                await destination.accept()
                await destination.respond(await destination.read_message(), 0x0000)
                assert (await mover.responses(7))[-1].status == 0x0000
                await mover.release()
            await destination.expect(wire.A_RELEASE_RQ)
            answer = asyncio.create_task(destination.send(wire.RELEASE_RP))
        assert answer.done()
        assert [task for task in asyncio.all_tasks() if task.get_name().startswith("aiodimse")] == []
        await destination.expect_close()
