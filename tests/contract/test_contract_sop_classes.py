"""Every SOP class of qr_sop_classes.csv and the two of UPS that answer C-FIND, through the rows of the contract; and
the rows with manners of their own (docs/topics/query-retrieve.md)."""

from __future__ import annotations

import copy
import csv
from pathlib import Path
from typing import Any

import pytest
from contract.stage import (
    ALWAYS,
    COUNTERS,
    CT,
    CT_UID,
    DESTINATION,
    ECHO,
    Destination,
    Script,
    Stage,
    check_retrieve,
    failed_list,
    image,
    images,
    make_server,
    match,
    open_destination,
    open_stage,
    patient_ids,
    play,
    register,
    status_dataset,
    unencodable,
)
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.sequence import Sequence
from pydicom.uid import JPEGBaseline8Bit
from scripted import wire
from scripted.peer import Message

import aiodimse
from aiodimse import DIMSEFailure, sop_class

TABLE = Path(__file__).parent.parent / "data" / "standard" / "qr_sop_classes.csv"
with TABLE.open(encoding="utf-8", newline="") as file:
    ROWS = [(row["keyword"], row["uid"], row["command"]) for row in csv.DictReader(file)]
UPS = [
    ("UnifiedProcedureStepPull", "1.2.840.10008.5.1.4.34.6.3", "C-FIND"),
    ("UnifiedProcedureStepWatch", "1.2.840.10008.5.1.4.34.6.2", "C-FIND"),
]
ALL = ROWS + [row for row in UPS if row not in ROWS]
MODEL = 3

# The contract in short: steps; final statuses for C-FIND, C-GET and C-MOVE; how many matches or instances go out.
# ITEMS stands for the two first items, BAD for one that cannot be encoded.
ITEMS, BAD = object(), object()
CONTRACT: dict[str, tuple[list[Any], tuple[int, int, int], int]] = {
    "ends": ([ITEMS], (0x0000, 0x0000, 0x0000), 2),
    "succeeds before its number": ([0x0000], (0x0000, 0xA702, 0xA702), 0),
    "raises at once": ([ValueError()], (0xC311, 0xC411, 0xC511), 0),
    "raises": ([ITEMS, ValueError()], (0xC311, 0xC411, 0xC511), 2),
    "raises DIMSEFailure": ([ITEMS, DIMSEFailure(0xA700)], (0xA700, 0xA700, 0xA700), 2),
    "fails": ([0xA900], (0xA900, 0xA900, 0xA900), 0),
    "warns": ([ITEMS, (0xB123, None)], (0xB123, 0xB123, 0xB123), 2),
    "cancels": ([(0xFE00, None)], (0xFE00, 0xFE00, 0xFE00), 0),
    "a status Dataset without Status": ([(status_dataset(None), None)], (0xC001, 0xC001, 0xC001), 0),
    "an invalid status": ([None], (0xC002, 0xC002, 0xC002), 0),
    "what does not encode": ([BAD], (0xC312, 0xA702, 0xA702), 0),
    "an unknown status": ([0x2345], (0x2345, 0x2345, 0x2345), 0),
}
COLUMN = {"C-FIND": 0, "C-GET": 1, "C-MOVE": 2}


def steps_of(command: str, steps: list[Any]) -> list[Any]:
    items: list[Any] = [match(1), match(2)] if command == "C-FIND" else images(2)
    out: list[Any] = []
    for step in steps:
        if step is ITEMS:
            out += items
        elif step is BAD:
            out.append(unencodable(copy.deepcopy(items[0])))
        else:
            out.append(step)
    if command == "C-FIND":
        return out
    number = 2 if ITEMS in steps else 1
    return [*([DESTINATION] if command == "C-MOVE" else []), number, *out]


async def converse(stage: Stage, script: Script, uid: str, command: str, message_id: int) -> list[Message]:
    request = {
        "C-FIND": wire.find_rq(uid, message_id),
        "C-GET": wire.get_rq(uid, message_id),
        "C-MOVE": wire.move_rq("DEST", uid, message_id),
    }[command]
    data = wire.dataset({(0x0008, 0x0018): ("UI", "1.2.3.1")})
    stage.peer.stored.clear()
    await stage.peer.request(MODEL, request, data)
    return await stage.peer.responses(message_id, store=0x0000)


def contexts_of(uid: str) -> list[wire.Context]:
    return [
        (ECHO, wire.VERIFICATION, [wire.EXPLICIT_LE]),
        (MODEL, uid, [wire.EXPLICIT_LE]),
        (CT, CT_UID, [wire.EXPLICIT_LE]),
    ]


def test_the_tables_are_whole() -> None:
    assert len(ROWS) == 44
    assert {command for _, _, command in ROWS} == {"C-FIND", "C-GET", "C-MOVE"}
    for keyword, uid, command in ALL:
        row = sop_class.lookup(uid)
        assert row is not None
        assert (row.keyword, command in row.commands) == (keyword, True)


@pytest.mark.parametrize(("keyword", "uid", "command"), ALL, ids=[row[0] for row in ALL])
async def test_the_contract_for_every_sop_class(keyword: str, uid: str, command: str) -> None:
    """Row by row on one association, so that each also proves that the one before left nothing behind."""
    handler, server, destination = Script(), make_server(), Destination()
    register(server, command, handler, uid)
    one_match = "RelevantPatient" in keyword
    async with open_destination(destination) as handler.port, open_stage(server, contexts_of(uid)) as stage:
        for message_id, (case, (steps, statuses, sent)) in enumerate(CONTRACT.items(), 1):
            handler.steps = tuple(steps_of(command, steps))
            status = statuses[COLUMN[command]]
            found = await converse(stage, handler, uid, command, message_id)
            if one_match and sent == 2:
                sent, status = 1, 0x0000
            pending, final = found[:-1], found[-1]
            assert final.status == status, case
            assert all((m.sop_class, m.responded_to, m.context_id) == (uid, message_id, MODEL) for m in found), case
            assert set(final) == ALWAYS | self_counters(command, status), case
            if command == "C-FIND":
                assert [m.status for m in pending] == [0xFF00] * sent, case
                assert patient_ids(pending) == ["1", "2"][:sent], case
            else:
                stored = stage.peer.stored if command == "C-GET" else destination.stored
                assert [m.instance for m in stored] == ["1.2.3.1", "1.2.3.2"][:sent], case
                number = 2 if ITEMS in steps else 1
                for n, m in enumerate(pending, 1):
                    assert (m.status, m.counters, m.data) == (0xFF00, (number - n, n, 0, 0), None), case
                remaining = number - sent if status == 0xFE00 else None
                failed = 0 if status == 0xFE00 else number - sent
                assert final.counters == (remaining, sent, failed, 0), case
                assert failed_list(final) == (["1.2.3.1"] if BAD in steps else []), case
                destination.stored.clear()
        await wrong_requests(stage, handler, uid, command)
        await stage.peer.release()


def self_counters(command: str, status: int) -> set[Any]:
    if command == "C-FIND":
        return set()
    return COUNTERS if status == 0xFE00 else COUNTERS - {wire.REMAINING}


async def wrong_requests(stage: Stage, handler: Script, uid: str, command: str) -> None:
    """0212, 0122, an Identifier that does not decode, and C-CANCEL beside the request: the handler is not called."""
    before = len(handler.requests)
    identifier = wire.identifier("IMAGE")
    rq = {
        "C-FIND": wire.find_rq(uid, 50),
        "C-GET": wire.get_rq(uid, 50),
        "C-MOVE": wire.move_rq("DEST", uid, 50),
    }[command]
    undecodable = {"C-FIND": 0xC310, "C-GET": 0xC410, "C-MOVE": 0xC510}[command]
    for elements, data, status in (
        (rq, None, 0x0212),
        ({**rq, wire.SOP_CLASS: "1.2.3"}, identifier, 0x0122),
        (rq, identifier[:-1], undecodable),
        ({**rq, wire.COMMAND_FIELD: wire.C_STORE, wire.INSTANCE: "1.2"}, identifier, 0x0211),
    ):
        await stage.peer.request(MODEL, elements, data)
        (response,) = await stage.peer.responses(50)
        assert (response.status, response.sop_class, response.data) == (status, elements[wire.SOP_CLASS], None)
    await stage.peer.send(wire.message(MODEL, rq, identifier) + wire.message(MODEL, wire.cancel_rq(50)))
    (response,) = await stage.peer.responses(50)
    assert response.status == 0xFE00
    assert len(handler.requests) == before
    await stage.nothing_more()


# --- no Query/Retrieve Level where the model has none; FRAME level ----------------------------------------------------


@pytest.mark.parametrize(("keyword", "uid", "command"), ALL, ids=[row[0] for row in ALL])
@pytest.mark.parametrize("level", [None, "FRAME", "IMAGE"])
async def test_no_level_is_demanded(keyword: str, uid: str, command: str, level: str | None) -> None:
    """What an Identifier must hold is the handler's matter."""
    handler, server = Script(*([0] if command == "C-GET" else [("127.0.0.1", 1), 0])), make_server()
    if command == "C-FIND":
        handler.steps = ()
    register(server, command, handler, uid)
    rq = {
        "C-FIND": wire.find_rq(uid, 5),
        "C-GET": wire.get_rq(uid, 5),
        "C-MOVE": wire.move_rq("DEST", uid, 5),
    }[command]
    frames = ((0x0008, 0x1161), "UL", b"\1\0\0\0")
    async with open_stage(server, contexts_of(uid)) as stage:
        data = wire.identifier(level, frames=frames) if level == "FRAME" else wire.identifier(level)  # type: ignore[arg-type]
        await stage.peer.request(MODEL, rq, data)
        (final,) = await stage.peer.responses(5)
        assert final.status == 0x0000
        (request,) = handler.requests
        assert request.identifier.get("QueryRetrieveLevel") == level
        if level == "FRAME":
            assert request.identifier.SimpleFrameList == 1


@pytest.mark.parametrize("status", [0xAA00, 0xAA01, 0xAA02, 0xAA03, 0xAA04])
@pytest.mark.parametrize("service", ["C-GET", "C-MOVE"])
async def test_frame_level_statuses(service: str, status: int) -> None:
    """Composite Instance Root Retrieve answers requests for frames with statuses of its own (PS3.4 Y.3.1.3)."""
    uid = str(
        sop_class.CompositeInstanceRootRetrieveGet
        if service == "C-GET"
        else sop_class.CompositeInstanceRootRetrieveMove
    )
    first = [("127.0.0.1", 1)] if service == "C-MOVE" else []
    for step in (status, DIMSEFailure(status)):
        handler, server = Script(*first, 1, step), make_server()
        register(server, service, handler, uid)
        async with open_stage(server, contexts_of(uid)) as stage:
            rq = wire.get_rq(uid, 5) if service == "C-GET" else wire.move_rq("DEST", uid, 5)
            await stage.peer.request(MODEL, rq, wire.identifier("FRAME"))
            (final,) = await stage.peer.responses(5)
            assert (final.status, final.counters) == (status, (None, 0, 1, 0))


# --- Relevant Patient Information Query: one match --------------------------------------------------------------------

RPI = [row[1] for row in ROWS if "RelevantPatient" in row[0]]


@pytest.mark.parametrize("uid", RPI)
@pytest.mark.parametrize("matches", [0, 1, 2, 5])
async def test_relevant_patient_information_has_one_match(uid: str, matches: int) -> None:
    handler, server = Script(*map(match, range(1, matches + 1))), make_server()
    register(server, "C-FIND", handler, uid)
    async with open_stage(server, contexts_of(uid)) as stage:
        found = await converse(stage, handler, uid, "C-FIND", 5)
        assert [m.status for m in found] == [0xFF00] * min(matches, 1) + [0x0000]
        assert patient_ids(found[:-1]) == ["1"][:matches]
        assert handler.closed == [GeneratorExit if matches > 1 else None]
        await stage.nothing_more()


@pytest.mark.parametrize("uid", RPI)
async def test_relevant_patient_information_after_its_match(uid: str) -> None:
    """A status of its own may follow the match."""
    handler, server = Script(match(1), 0xC100), make_server()
    register(server, "C-FIND", handler, uid)
    async with open_stage(server, contexts_of(uid)) as stage:
        assert [m.status for m in await converse(stage, handler, uid, "C-FIND", 5)] == [0xFF00, 0xC100]


# --- Repository Query -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", [0xB001, (0xB001, None), (0xB001, match()), status_dataset(0xB001)])
async def test_repository_query_ends_with_b001(step: Any) -> None:
    """A Warning says that the operation has completed: nothing follows."""
    uid = str(sop_class.RepositoryQuery)
    handler, server = Script(match(1), match(2), step, match(3), 0x0000), make_server()
    register(server, "C-FIND", handler, uid)
    async with open_stage(server, contexts_of(uid)) as stage:
        found = await converse(stage, handler, uid, "C-FIND", 5)
        assert [m.status for m in found] == [0xFF00, 0xFF00, 0xB001]
        assert found[-1].data is None
        assert len(handler.closed) == 1
        await stage.nothing_more()
        handler.steps = (DIMSEFailure(0xA710, "no such record"),)
        (final,) = await converse(stage, handler, uid, "C-FIND", 6)
        assert (final.status, final.comment) == (0xA710, "no such record")


# --- Composite Instance Retrieve Without Bulk Data --------------------------------------------------------------------

WITHOUT = str(sop_class.CompositeInstanceRetrieveWithoutBulkDataGet)
LEFT_OUT: dict[tuple[int, int], tuple[str, Any]] = {
    (0x0028, 0x7FE0): ("UR", "https://example.org/pixels"),
    (0x0042, 0x0011): ("OB", b"%PDF"),
    (0x5000, 0x3000): ("OW", b"\1\2"),
    (0x500A, 0x200C): ("OW", b"\1\2"),
    (0x5600, 0x0020): ("OF", b"\0\0\0\0"),
    (0x6000, 0x3000): ("OW", b"\1\2"),
    (0x601E, 0x3000): ("OW", b"\1\2"),
    (0x7FE0, 0x0008): ("OF", b"\0\0\0\0"),
    (0x7FE0, 0x0009): ("OD", b"\0" * 8),
    (0x7FE0, 0x0010): ("OW", b"\1\2\3\4"),
}


def bulky(number: int = 1) -> Dataset:
    dataset = image(number)
    for tag, (vr, value) in LEFT_OUT.items():
        dataset.add_new(tag, vr, value)
    icon, waveform, nested = Dataset(), Dataset(), Dataset()
    icon.add_new((0x7FE0, 0x0010), "OW", b"\5\6")
    waveform.add_new((0x5400, 0x1010), "OW", b"\7\x08")
    waveform.NumberOfWaveformChannels = 2
    nested.add_new((0x7FE0, 0x0010), "OW", b"\x09\x0a")
    dataset.IconImageSequence = Sequence([icon])
    dataset.WaveformSequence = Sequence([waveform])
    dataset.ReferencedImageSequence = Sequence([nested])
    return dataset


def without_contexts() -> list[wire.Context]:
    return contexts_of(WITHOUT)


async def test_bulk_data_is_left_out(tmp_path: Path) -> None:
    original = bulky()
    before = original.to_json()
    path = tmp_path / "x.dcm"
    on_disk = bulky(2)
    on_disk.file_meta = FileMetaDataset()
    on_disk.file_meta.TransferSyntaxUID = wire.EXPLICIT_LE  # type: ignore[assignment]
    on_disk.save_as(path, enforce_file_format=True)
    handler, server = Script(2, original, (0xFF00, path)), make_server()
    register(server, "C-GET", handler, WITHOUT)
    async with open_stage(server, without_contexts()) as stage:
        found = await converse(stage, handler, WITHOUT, "C-GET", 5)
        assert (found[-1].status, found[-1].counters) == (0x0000, (None, 2, 0, 0))
        for number, stored in enumerate(stage.peer.stored, 1):
            assert stored.data is not None
            assert stored.instance == f"1.2.3.{number}"
            for value in (b"%PDF", b"\1\2\3\4", b"\7\x08", b"example.org"):
                assert value not in stored.data
            assert b"\5\6" in stored.data, "Icon Image Sequence keeps its pixels"
            assert b"\x09\x0a" in stored.data, "only the top level is meant"
    assert original.to_json() == before, "the handler's object is not changed"


async def test_bulk_data_of_another_retrieve_stays() -> None:
    played = await play("C-GET", Script(1, bulky()))
    check_retrieve(played, "C-GET", 1, 0x0000, (None, 1, 0, 0))
    assert played.stored[0].data is not None
    assert b"%PDF" in played.stored[0].data


async def test_a_compressed_instance_without_its_pixels() -> None:
    """Nothing that is left is compressed: it goes in Explicit VR Little Endian, which is all that this peer takes."""
    dataset = image(1)
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    dataset.add_new((0x7FE0, 0x0010), "OB", encapsulate([b"\xff\xd8\xff\xd9"]))
    dataset["PixelData"].is_undefined_length = True
    handler, server = Script(1, dataset), make_server()
    register(server, "C-GET", handler, WITHOUT)
    async with open_stage(server, without_contexts()) as stage:
        found = await converse(stage, handler, WITHOUT, "C-GET", 5)
        assert (found[-1].status, found[-1].counters) == (0x0000, (None, 1, 0, 0))
        assert wire.read_dataset(stage.peer.stored[0].data or b"").keys() == {
            (0x0008, 0x0016),
            (0x0008, 0x0018),
            (0x0010, 0x0020),
        }
    assert dataset.file_meta.TransferSyntaxUID == JPEGBaseline8Bit
    assert "PixelData" in dataset


async def test_one_without_bulk_data_fails_alone() -> None:
    handler, server = Script(3, bulky(1), "/nonexistent.dcm", bulky(3)), make_server()
    register(server, "C-GET", handler, WITHOUT)
    async with open_stage(server, without_contexts()) as stage:
        found = await converse(stage, handler, WITHOUT, "C-GET", 5)
        assert (found[-1].status, found[-1].counters) == (0xB000, (None, 2, 1, 0))


# --- UPS --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("keyword", "uid", "command"), UPS, ids=[row[0] for row in UPS])
async def test_ups_answers_c_find_beside_its_other_services(keyword: str, uid: str, command: str) -> None:
    server, handler = make_server(), Script(match(1))
    register(server, "C-FIND", handler, uid)
    push = str(sop_class.UnifiedProcedureStepPush)

    @server.on_n_get(push)
    async def get(request: Any) -> Any:
        return match(2)

    async with open_stage(server, contexts_of(uid)) as stage:
        found = await converse(stage, handler, uid, "C-FIND", 5)
        assert [m.status for m in found] == [0xFF00, 0x0000]
        elements = {wire.REQUESTED_SOP_CLASS: push, wire.REQUESTED_INSTANCE: "1.2", wire.COMMAND_FIELD: 0x0110}
        await stage.peer.request(MODEL, {**elements, wire.MESSAGE_ID: 6})
        answer = await stage.peer.read_message()
        assert (answer.status, answer.data) == (0x0000, wire.dataset({(0x0010, 0x0020): ("LO", "2")}))


# --- registering without naming SOP classes ---------------------------------------------------------------------------


@pytest.mark.parametrize("service", ["C-FIND", "C-GET", "C-MOVE"])
@pytest.mark.parametrize("form", ["bare", "called", "by name"])
async def test_a_handler_for_every_sop_class_of_its_service(service: str, form: str) -> None:
    server = make_server()
    name = {"C-FIND": "on_c_find", "C-GET": "on_c_get", "C-MOVE": "on_c_move"}[service]
    uids = [uid for _, uid, command in ROWS if command == service]
    handler = Script(*([("127.0.0.1", 1)] if service == "C-MOVE" else []), *([0] if service != "C-FIND" else []))
    decorator = getattr(server, name)
    if form == "bare":

        @decorator
        async def handle(request: Any) -> Any:
            async for step in handler(request):
                yield step
    elif form == "called":
        decorator()(handler)
    else:
        decorator(*uids)(handler)
    contexts = [(2 * n + 1, uid, [wire.EXPLICIT_LE]) for n, uid in enumerate(uids)]
    async with open_stage(server, contexts, roles={}) as stage:
        assert stage.peer.association is not None
        assert set(stage.peer.association.accepted) == {context[0] for context in contexts}
        for context_id, uid, _ in contexts:
            rq = {
                "C-FIND": wire.find_rq(uid, context_id),
                "C-GET": wire.get_rq(uid, context_id),
                "C-MOVE": wire.move_rq("DEST", uid, context_id),
            }[service]
            await stage.peer.request(context_id, rq, wire.identifier("STUDY"))
            (final,) = await stage.peer.responses(context_id)
            assert (final.status, final.sop_class) == (0x0000, uid)


def test_a_handler_for_a_sop_class_that_has_not_this_service() -> None:
    server = make_server()
    with pytest.raises(aiodimse.ProtocolError):
        server.on_c_find(wire.STUDY_ROOT_GET)(Script())
