"""Peers that break the protocol with the canary in their bytes, on both sides; and the command line at -vv."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from privacy.conftest import ID, NAME, PASSWORD, Log, instance, patient, save_as, sings
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from scripted import wire
from scripted.peer import Message, ScriptedListener, ScriptedPeer

import aiodimse
from aiodimse import sop_class
from aiodimse.archive import Archive, provide
from aiodimse.cli.main import main

HOST = "127.0.0.1"
CT, FIND, CREATE, GET, MOVE = 1, 3, 5, 7, 9
CONTEXTS = [
    (CT, wire.CT_IMAGE_STORAGE, [wire.EXPLICIT_LE, wire.DEFLATED_LE]),
    (FIND, wire.STUDY_ROOT_FIND, [wire.EXPLICIT_LE]),
    (CREATE, str(sop_class.ModalityPerformedProcedureStep), [wire.EXPLICIT_LE]),
    (GET, wire.STUDY_ROOT_GET, [wire.EXPLICIT_LE]),
    (MOVE, wire.STUDY_ROOT_MOVE, [wire.EXPLICIT_LE]),
]
BIRD = NAME.encode()
SOUND = wire.dataset({(0x0010, 0x0010): ("PN", NAME), (0x0010, 0x0020): ("LO", ID)})
UNSOUND = {
    "cut": SOUND[:-3],
    "a text": BIRD * 9,
    "an element too long": SOUND + b"\x10\x00\x30\x00DA\xff\x00" + BIRD,
    "a VR that is none": SOUND.replace(b"PN", b"??"),
    "group 2": wire.dataset({(0x0002, 0x0010): ("UI", NAME)}) + SOUND,
    "tags that descend": SOUND + SOUND,
    "a sequence without an end": SOUND
    + b"\x40\x00\x00\x01SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    + SOUND,
    "characters of no set": wire.dataset({(0x0008, 0x0005): ("CS", NAME), (0x0010, 0x0010): ("PN", b"\x1b$B" + BIRD)}),
    "nothing": b"",
}


@pytest.fixture
async def port() -> AsyncIterator[int]:
    server = aiodimse.Server(ae_title="ARCHIVE")

    @server.on_c_store
    async def store(request: Any) -> int:
        dataset = await request.dataset()
        raise ValueError(str(dataset))

    async def yields(request: Any) -> Any:
        for element in request.identifier.iterall():
            raise ValueError(str(element))
        yield 0x0000, None

    async def create(request: Any) -> Any:
        raise ValueError(str(request.dataset))

    for register in (server.on_c_find, server.on_c_get, server.on_c_move):
        register(yields)
    server.on_n_create(create)
    async with server.listen(HOST, 0) as listening:
        yield listening.port


REQUESTS = {
    "C-STORE": (CT, wire.store_rq(wire.CT_IMAGE_STORAGE, "1.2.3")),
    "C-FIND": (FIND, wire.find_rq()),
    "C-GET": (GET, wire.get_rq()),
    "C-MOVE": (MOVE, wire.move_rq("DEST")),
    "N-CREATE": (
        CREATE,
        {
            wire.SOP_CLASS: CONTEXTS[2][1], wire.COMMAND_FIELD: 0x0140, wire.MESSAGE_ID: 1,
            wire.DATA_SET_TYPE: 1, wire.INSTANCE: "1.2.3",
        },
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", UNSOUND)
@pytest.mark.parametrize("service", REQUESTS)
async def test_data_sets(port: int, service: str, name: str, log: Log) -> None:
    context, request = REQUESTS[service]
    async with await ScriptedPeer.connect(HOST, port) as peer:
        await peer.associate(CONTEXTS, called="ARCHIVE")
        *_, final = await peer.responses(await peer.request(context, request, UNSOUND[name]))
        assert final.status != 0xFF00
        await peer.release()
    assert name == "nothing" or log.lines("C-" if service != "N-CREATE" else "N-CREATE", logging.WARNING)


# --- bytes ------------------------------------------------------------------------------------------------------------

STRAY = wire.message(
    FIND,
    {wire.COMMAND_FIELD: wire.C_FIND | wire.RESPONSE, wire.RESPONDED_TO: 9, wire.STATUS: 0xA700, (0, 0x0902): NAME},
)
BAD = {
    "a text": BIRD * 20,
    "HTTP": b"GET /?patient=" + BIRD + b" HTTP/1.1\r\n\r\n",
    "an unknown PDU": wire.pdu(0x0A, BIRD),
    "P-DATA of text": wire.pdu(0x04, BIRD),
    "a long PDV": wire.pdu(0x04, b"\0\0\xff\xff\x01\x03" + BIRD),
    "an unknown context": wire.message(99, wire.find_rq(), SOUND),
    "data first": wire.p_data(wire.pdv(FIND, SOUND, command=False, last=True)),
    "a command of text": wire.p_data(wire.pdv(FIND, BIRD, command=True, last=True)),
    "a command of a data set": wire.p_data(wire.pdv(FIND, SOUND, command=True, last=True)),
    "numbers of text": wire.message(FIND, {**wire.find_rq(), wire.MESSAGE_ID: BIRD}),
    "an unknown command": wire.message(FIND, {**wire.find_rq(), wire.COMMAND_FIELD: 0x0666}, SOUND),
    "a stray response": STRAY,
    "an A-ABORT with more": wire.pdu(0x07, BIRD),
    "an A-RELEASE-RQ with more": wire.pdu(0x05, BIRD),
    "an A-ASSOCIATE-RQ": wire.associate_rq(CONTEXTS),
    "an A-ASSOCIATE-RQ of text": wire.pdu(0x01, BIRD * 20),
    "an A-ASSOCIATE-AC of text": wire.pdu(0x02, BIRD * 20),
    "an A-ASSOCIATE-RJ of text": wire.pdu(0x03, BIRD),
    "items of text": wire.associate_rq(CONTEXTS)[:-4] + BIRD,
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("associated", [False, True])
async def test_bad_bytes_of_a_peer_stay_out_of_the_log(port: int, name: str, associated: bool, log: Log) -> None:
    async with await ScriptedPeer.connect(HOST, port) as peer:
        if associated:
            await peer.associate(CONTEXTS, called="ARCHIVE", calling="MR\t1")
        await peer.send(BAD[name])
        peer.shut()
        await peer.drain()
    for record in log.records:
        assert getattr(record, "calling", None) in (None, "MR\\t1", "SCRIPTED")
    assert log.records


@pytest.mark.parametrize("name", UNSOUND)
async def test_what_our_user_is_sent(name: str, log: Log) -> None:
    """A match, the list of a final response, a sub-operation, and comments."""
    async with await ScriptedListener.open() as listener:
        find, get = CONTEXTS[1][1], CONTEXTS[3][1]
        opening = asyncio.ensure_future(_connect(listener.port, contexts=[find, get], storage=[wire.CT_IMAGE_STORAGE]))
        peer = await listener.accept()
        await peer.accept()
        association = await opening
        with pytest.raises(aiodimse.AiodimseError):
            await asyncio.gather(_find(association, find), _answer(peer, UNSOUND[name]))
        await peer.close()
        association.abort()
        await association.wait_closed()


async def _connect(port: int, **options: Any) -> aiodimse.Association:
    return await aiodimse.connect(HOST, port, **options)


async def _find(association: aiodimse.Association, uid: str) -> None:
    async with association.c_find(patient(), uid) as matches:
        async for match in matches:
            str(match)
    assert matches.response is not None
    matches.response.raise_for_status()


def _dropped(to: Message) -> bytes:
    """A final response, and a second one to the same: the first is taken, the second may be dropped and logged."""
    elements = {wire.COMMAND_FIELD: to.field | wire.RESPONSE, wire.RESPONDED_TO: to.message_id, wire.STATUS: 0xFF00}
    return wire.message(to.context_id, {**elements, (0x0000, 0x0902): NAME})


async def _answer(peer: ScriptedPeer, data: bytes) -> None:
    request = await peer.read_message()
    await peer.send(_dropped(request))
    await peer.respond(request, 0xFF00, data=data or SOUND)
    await peer.respond(request, 0xA700, {(0x0000, 0x0902): NAME})


# --- the command line -------------------------------------------------------------------------------------------------


async def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At -vv, standard error tells of a query, of files sent and fetched; the patient is on standard output alone."""
    folder, fetched = tmp_path / "archive", tmp_path / "fetched"
    folder.mkdir()
    path = tmp_path / "one.dcm"
    one = instance(StudyInstanceUID="1.2", SeriesInstanceUID="1.2.1")
    _save(one, path)
    shutil.copy(path, folder)
    server = aiodimse.Server(ae_title="ANY-SCP")
    provide(server, await Archive.open(folder, index="memory:"), durable=False)
    async with server.listen(HOST, 0) as listening:
        where = [HOST, str(listening.port), "-vv"]
        key = ["-k", "StudyInstanceUID=1.2"]
        for words in (
            ["store", *where, str(path)],
            ["find", *where, *key, "-k", "PatientName=*"],
            ["find", *where, "-k", f"PatientName={NAME}", "-k", "StudyInstanceUID"],
            ["get", *where, *key, "--output", str(fetched)],
            ["get", *where, "-k", f"PatientID={ID}", *key, "--output", str(fetched)],
            ["move", *where, *key, "--destination", "NOBODY"],
        ):
            code = await asyncio.to_thread(main, words)
            said = capsys.readouterr()
            assert code == (words[0] == "move"), said.err
            assert "association with ANY-SCP" in said.err
            assert not sings(said.err)
            assert sings(said.out) is (words[0] == "find")


def _save(dataset: Dataset, path: Path) -> None:
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    save_as(dataset, path, enforce_file_format=True)


def test_secrets_have_no_words() -> None:
    for each in (
        aiodimse.UserIdentityRequest(2, True, PASSWORD, PASSWORD),
        {"identity": aiodimse.UserIdentityRequest(3, True, PASSWORD)},
    ):
        assert not sings(repr(each))
        assert not sings(str(each))
