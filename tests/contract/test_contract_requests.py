"""Wrong requests are answered (0122, 0124, 0210, 0211, 0212), and what cannot be answered is aborted 2/6 or 2/2
(docs/topics/query-retrieve.md)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from contract.stage import (
    CONTEXTS,
    CT,
    CT_UID,
    ECHO,
    FIND,
    GET,
    IDENTIFIER,
    MOVE,
    PAUSE,
    SERVICES,
    Script,
    Stage,
    image,
    make_server,
    match,
    open_stage,
    register,
    status_dataset,
)
from contract.test_contract_destination import leave
from scripted import wire

import aiodimse
from aiodimse import sop_class

UPS_PUSH, UPS_PULL = str(sop_class.UnifiedProcedureStepPush), str(sop_class.UnifiedProcedureStepPull)
UPS, MR, ANY_MOVE = 11, 13, 15
MR_UID = str(sop_class.MRImageStorage)
N_GET, N_SET, N_ACTION, N_CREATE, N_DELETE, N_EVENT_REPORT = 0x0110, 0x0120, 0x0130, 0x0140, 0x0150, 0x0100
N_REQUEST = {wire.REQUESTED_SOP_CLASS: UPS_PUSH, wire.REQUESTED_INSTANCE: "1.2.3"}
DATA = wire.dataset({(0x0010, 0x0020): ("LO", "1")})
LARGE = wire.dataset({(0x0010, 0x0020): ("LO", "1"), (0x0040, 0xA160): ("UT", b"x" * 200_000)})


def serve_all(handler: Any) -> aiodimse.Server:
    """A server with a handler for each service of the stage, C-STORE for CT alone, and UPS Pull's C-FIND and N-GET."""
    server = make_server()
    for service in SERVICES:
        register(server, service, handler)

    @server.on_c_store(CT_UID)
    async def store(request: Any) -> int:
        return 0x0000

    server.on_c_find(UPS_PULL)(handler)

    @server.on_n_get(UPS_PUSH)
    async def n_get(request: Any) -> Any:
        return match()

    return server


ALL_CONTEXTS = (*CONTEXTS, (UPS, UPS_PULL, [wire.EXPLICIT_LE]))


def rq(command: int, sop: str | None, message_id: int = 5, **more: Any) -> dict[Any, Any]:
    elements: dict[Any, Any] = {wire.COMMAND_FIELD: command, wire.MESSAGE_ID: message_id}
    if sop is not None:
        elements[wire.SOP_CLASS] = sop
    if command != wire.C_ECHO:
        elements[wire.PRIORITY] = 0
    return {**elements, **more.get("elements", {})}


STORE = {wire.INSTANCE: "1.2.3"}
TO = {wire.MOVE_DESTINATION: "DEST"}

# context, elements, data set: status, offending element, command field of the response (None: as always)
WRONG: dict[str, tuple[int, dict[Any, Any], bytes | None, int, list[Any], int | None]] = {
    # 0122: SOP class not the context's
    "C-FIND of another class": (FIND, rq(wire.C_FIND, wire.STUDY_ROOT_GET), DATA, 0x0122, [], None),
    "C-FIND of a class of another model": (
        FIND,
        rq(wire.C_FIND, str(sop_class.PatientRootQueryRetrieveInformationModelFind)),
        DATA,
        0x0122,
        [],
        None,
    ),
    "C-FIND of no class": (FIND, rq(wire.C_FIND, None), DATA, 0x0122, [], None),
    "C-FIND of an unknown class": (FIND, rq(wire.C_FIND, "1.2.3.4"), DATA, 0x0122, [], None),
    "C-GET of another class": (GET, rq(wire.C_GET, wire.STUDY_ROOT_MOVE), DATA, 0x0122, [], None),
    "C-MOVE of another class": (
        MOVE,
        rq(wire.C_MOVE, wire.STUDY_ROOT_GET, elements=TO),
        DATA,
        0x0122,
        [],
        None,
    ),
    "C-STORE of another class": (CT, rq(wire.C_STORE, MR_UID, elements=STORE), DATA, 0x0122, [], None),
    "C-ECHO of another class": (ECHO, rq(wire.C_ECHO, "1.2.3"), None, 0x0122, [], None),
    "C-ECHO with a data set": (ECHO, rq(wire.C_ECHO, "1.2.3"), DATA, 0x0122, [], None),
    "UPS C-FIND of another class": (UPS, rq(wire.C_FIND, wire.STUDY_ROOT_FIND), DATA, 0x0122, [], None),
    "N-GET of another class": (
        UPS,
        rq(N_GET, None, elements={**N_REQUEST, wire.REQUESTED_SOP_CLASS: "1.2.3"}),
        None,
        0x0118,
        [],
        None,
    ),
    # 0122: not served
    "N-DELETE, for which there is no handler": (UPS, rq(N_SET, None, elements=N_REQUEST), DATA, 0x0122, [], None),
    # 0211: not a command of this SOP class
    "C-STORE in a C-FIND context": (
        FIND,
        rq(wire.C_STORE, wire.STUDY_ROOT_FIND, elements=STORE),
        DATA,
        0x0211,
        [],
        None,
    ),
    "C-GET in a C-FIND context": (FIND, rq(wire.C_GET, wire.STUDY_ROOT_FIND), DATA, 0x0211, [], None),
    "C-MOVE in a C-FIND context": (
        FIND,
        rq(wire.C_MOVE, wire.STUDY_ROOT_FIND, elements=TO),
        DATA,
        0x0211,
        [],
        None,
    ),
    "C-FIND in a C-GET context": (GET, rq(wire.C_FIND, wire.STUDY_ROOT_GET), DATA, 0x0211, [], None),
    "C-FIND in a C-MOVE context": (MOVE, rq(wire.C_FIND, wire.STUDY_ROOT_MOVE), DATA, 0x0211, [], None),
    "C-ECHO in a C-FIND context": (FIND, rq(wire.C_ECHO, wire.STUDY_ROOT_FIND), None, 0x0211, [], None),
    "C-FIND in a C-ECHO context": (ECHO, rq(wire.C_FIND, wire.VERIFICATION), DATA, 0x0211, [], None),
    "C-FIND in a storage context": (CT, rq(wire.C_FIND, CT_UID), DATA, 0x0211, [], None),
    "N-GET in a C-FIND context": (
        FIND,
        rq(N_GET, None, elements={**N_REQUEST, wire.REQUESTED_SOP_CLASS: wire.STUDY_ROOT_FIND}),
        None,
        0x0211,
        [],
        None,
    ),
    "C-MOVE in a UPS context": (UPS, rq(wire.C_MOVE, UPS_PULL, elements=TO), DATA, 0x0211, [], None),
    # 0211: unknown command fields
    "command field 0000": (FIND, rq(0x0000, wire.STUDY_ROOT_FIND), None, 0x0211, [], 0x8000),
    "command field 0002": (FIND, rq(0x0002, wire.STUDY_ROOT_FIND), DATA, 0x0211, [], 0x8002),
    "command field 0022": (GET, rq(0x0022, None), None, 0x0211, [], 0x8022),
    "command field 0160": (UPS, rq(0x0160, UPS_PULL), DATA, 0x0211, [], 0x8160),
    "command field 7FFF": (ECHO, rq(0x7FFF, wire.VERIFICATION), LARGE, 0x0211, [], 0xFFFF),
    # 0212
    "C-FIND without Identifier": (FIND, rq(wire.C_FIND, wire.STUDY_ROOT_FIND), None, 0x0212, [(0, 0x0800)], None),
    "C-GET without Identifier": (GET, rq(wire.C_GET, wire.STUDY_ROOT_GET), None, 0x0212, [(0, 0x0800)], None),
    "C-MOVE without Identifier": (
        MOVE,
        rq(wire.C_MOVE, wire.STUDY_ROOT_MOVE, elements=TO),
        None,
        0x0212,
        [(0, 0x0800)],
        None,
    ),
    "C-STORE without data set": (CT, rq(wire.C_STORE, CT_UID, elements=STORE), None, 0x0212, [(0, 0x0800)], None),
    "C-MOVE without destination": (
        MOVE,
        rq(wire.C_MOVE, wire.STUDY_ROOT_MOVE),
        DATA,
        0x0212,
        [(0, 0x0600)],
        None,
    ),
    "C-MOVE with an empty destination": (
        MOVE,
        rq(wire.C_MOVE, wire.STUDY_ROOT_MOVE, elements={wire.MOVE_DESTINATION: ""}),
        DATA,
        0x0212,
        [(0, 0x0600)],
        None,
    ),
    "C-MOVE with a destination of spaces": (
        MOVE,
        rq(wire.C_MOVE, wire.STUDY_ROOT_MOVE, elements={wire.MOVE_DESTINATION: "    "}),
        LARGE,
        0x0212,
        [(0, 0x0600)],
        None,
    ),
}


@pytest.mark.parametrize("case", WRONG)
async def test_a_wrong_request_is_answered(case: str) -> None:
    context_id, elements, data, status, offending, command_field = WRONG[case]
    handler = Script(match())
    async with open_stage(serve_all(handler), ALL_CONTEXTS, roles={}) as stage:
        await stage.peer.request(context_id, elements, data)
        (response,) = await stage.peer.responses(5)
        assert (response.status, response.offending, response.context_id) == (status, offending, context_id)
        expected = elements[wire.COMMAND_FIELD] | 0x8000 if command_field is None else command_field
        assert (response.field, response.data) == (expected, None)
        assert response.comment, "it says why"
        if wire.SOP_CLASS in elements:
            assert response[wire.SOP_CLASS].rstrip(b"\0").decode() == elements[wire.SOP_CLASS]
        assert handler.requests == []
        await stage.nothing_more()
        await stage.peer.release()


async def test_what_one_server_does_not_serve() -> None:
    """An N-GET handler does not make an N-SET one; a C-FIND handler for one class does not serve another."""
    async with open_stage(serve_all(Script(match())), ALL_CONTEXTS, roles={}) as stage:
        assert set(stage.peer.association.accepted) == {ECHO, FIND, GET, MOVE, CT, UPS}  # type: ignore[union-attr]
        await stage.peer.request(UPS, rq(N_GET, None, elements=N_REQUEST))
        (answer,) = await stage.peer.responses(5)
        assert (answer.status, answer.data, answer.text(wire.SOP_CLASS)) == (0x0000, DATA, UPS_PUSH)


@pytest.mark.parametrize("service", SERVICES)
async def test_a_storage_context_of_the_other_role_takes_no_store(service: str) -> None:
    """Accepted for the sub-operations of a C-GET: there the peer is the provider (PS3.7 D.3.3.4)."""
    async with open_stage(serve_all(Script())) as stage:
        assert stage.peer.association is not None
        assert stage.peer.association.roles == {CT_UID: (0, 1)}
        await stage.peer.request(CT, wire.store_rq(CT_UID, "1.2.3", 5), LARGE)
        (response,) = await stage.peer.responses(5)
        assert (response.status, response.instance) == (0x0122, "1.2.3")
        await stage.nothing_more()


# --- 0210 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("second", ["C-FIND", "C-GET", "C-MOVE", "C-ECHO", "C-STORE"])
@pytest.mark.parametrize("first", SERVICES)
async def test_a_message_id_that_is_open_already(first: str, second: str) -> None:
    """The first operation goes on."""
    handler = Script(PAUSE)
    requests: dict[str, tuple[int, dict[Any, Any], bytes | None]] = {
        **{service: (context, elements, IDENTIFIER) for service, (context, elements) in SERVICES.items()},
        "C-ECHO": (ECHO, wire.echo_rq(7), None),
        "C-STORE": (CT, wire.store_rq(CT_UID, "1.2.3", 7), LARGE),
    }
    async with open_stage(serve_all(handler), roles={}, window=(0, 0)) as stage:
        await stage.ask(first)
        await handler.waiting.wait()
        await stage.peer.request(*requests[second])
        refused = await stage.peer.read_message()
        assert (refused.status, refused.responded_to) == (0x0210, 7)
        assert refused.field == requests[second][1][wire.COMMAND_FIELD] | 0x8000
        assert refused.context_id == requests[second][0]
        assert handler.closed == []
        await stage.nothing_more()
        await stage.peer.cancel(FIND, 7)
        final = await stage.peer.read_message()
        assert (final.status, final.responded_to, final.context_id) == (0xFE00, 7, SERVICES[first][0])
        await stage.ask(first)  # free again


async def test_message_ids_are_open_per_direction() -> None:
    """The ID of a C-GET may be that of one of its sub-operations."""
    server, handler = make_server(), Script(1, image(1))
    register(server, "C-GET", handler)
    async with open_stage(server) as stage:
        await stage.peer.request(GET, wire.get_rq(message_id=1), IDENTIFIER)
        store = await stage.peer.read_message()
        assert store.message_id == 1
        await stage.peer.respond(store, 0x0000)
        (final,) = await stage.peer.responses(1)
        assert final.status == 0x0000


# --- 0124 -------------------------------------------------------------------------------------------------------------


def _denies(request: Any) -> bool:
    return False


def _allows(request: Any) -> bool:
    return True


def _nothing(request: Any) -> None:
    return None


def _raises(request: Any) -> bool:
    raise ValueError("patient data")


def _says(request: Any) -> bool:
    raise aiodimse.DIMSEFailure(0xA700, "come back later")


def _cancelled(request: Any) -> bool:
    raise asyncio.CancelledError


def _stops(request: Any) -> bool:
    raise StopAsyncIteration


HOOKS: dict[str, tuple[Any, int | None, str | None]] = {
    "says no": (_denies, 0x0124, None),
    "says nothing": (_nothing, 0x0124, None),
    "says yes": (_allows, None, None),
    "raises": (_raises, 0x0124, None),
    "raises CancelledError": (_cancelled, 0x0124, None),
    "raises StopAsyncIteration": (_stops, 0x0124, None),
    "raises DIMSEFailure": (_says, 0xA700, "come back later"),
}


@pytest.mark.parametrize("service", [*SERVICES, "C-ECHO", "C-STORE", "N-GET"])
@pytest.mark.parametrize("hook", HOOKS)
async def test_the_authorize_hook(service: str, hook: str) -> None:
    answer, status, comment = HOOKS[hook]
    handler = Script(0) if service in ("C-GET",) else Script(("127.0.0.1", 1), 0)
    if service == "C-FIND":
        handler = Script()
    server = serve_all(handler)
    asked: list[Any] = []

    @server.authorize
    async def authorize(request: Any) -> Any:
        asked.append(request)
        return answer(request)

    requests: dict[str, tuple[int, dict[Any, Any], bytes | None]] = {
        **{service: (context, elements, IDENTIFIER) for service, (context, elements) in SERVICES.items()},
        "C-ECHO": (ECHO, wire.echo_rq(7), None),
        "C-STORE": (CT, wire.store_rq(CT_UID, "1.2.3", 7), LARGE),
        "N-GET": (UPS, rq(N_GET, None, 7, elements=N_REQUEST), None),
    }
    async with open_stage(server, ALL_CONTEXTS, roles={}) as stage:
        await stage.peer.request(*requests[service])
        (response,) = await stage.peer.responses(7)
        assert (response.status, response.comment) == (status or 0x0000, comment)
        assert len(asked) == 1
        assert asked[0].association.calling_ae_title == "SCRIPTED"
        if service in SERVICES:
            assert len(handler.requests) == (0 if status else 1)
            assert asked[0].identifier.QueryRetrieveLevel == "STUDY"
        (echo,) = await stage.peer.responses(await stage.peer.request(ECHO, wire.echo_rq(9)))
        assert echo.status == (status or 0x0000)


async def test_what_is_undecodable_is_not_authorized() -> None:
    """It is checked first: a hook gets a request with its Identifier."""
    server, asked = serve_all(Script()), []

    @server.authorize
    async def authorize(request: Any) -> bool:
        asked.append(request)
        return True

    async with open_stage(server) as stage:
        (final,) = await stage.peer.responses(await stage.ask("C-FIND", IDENTIFIER[:-1]))
        assert (final.status, asked) == (0xC310, [])


# --- C-STORE ----------------------------------------------------------------------------------------------------------


async def _raise(request: Any) -> Any:
    raise ValueError


async def _dataset(request: Any) -> int:
    await request.dataset()
    return 0x0000


async def _dataset_then_other(request: Any) -> int:
    try:
        await request.dataset()
    except aiodimse.DatasetDecodeError as error:
        raise ValueError from error
    return 0x0000


async def _failure(request: Any) -> Any:
    raise aiodimse.DIMSEFailure(0xA700, "full", offending_elements=(0x00080018,))


def _returns(value: Any) -> Any:
    async def handler(request: Any) -> Any:
        return value

    return handler


def _status(status: int | None) -> Any:
    return status_dataset(status)


STORES: dict[str, tuple[Any, bytes, int]] = {
    "returns Success": (_returns(0x0000), DATA, 0x0000),
    "returns a Warning": (_returns(0xB007), DATA, 0xB007),
    "returns a Failure": (_returns(0xA900), DATA, 0xA900),
    "returns a Status": (_returns(aiodimse.Status(0xA700)), DATA, 0xA700),
    "returns an unknown status": (_returns(0x1234), DATA, 0x1234),
    "returns a Dataset": (_returns(_status(0xB000)), DATA, 0xB000),
    "returns a Dataset without Status": (_returns(_status(None)), DATA, 0xC001),
    "returns None": (_returns(None), DATA, 0xC002),
    "returns a str": (_returns("ok"), DATA, 0xC002),
    "returns a bool": (_returns(True), DATA, 0xC002),
    "returns too large a number": (_returns(0x10000), DATA, 0xC002),
    "returns a tuple": (_returns((0x0000, None)), DATA, 0xC002),
    "raises": (_raise, DATA, 0xC211),
    "raises DIMSEFailure": (_failure, LARGE, 0xA700),
    "reads a data set": (_dataset, DATA, 0x0000),
    "reads a data set that does not decode": (_dataset, DATA[:-1], 0xC210),
    "raises of its own on a data set that does not decode": (_dataset_then_other, DATA[:-1], 0xC211),
    "does not look at the data set": (_returns(0x0000), b"noise", 0x0000),
}


@pytest.mark.parametrize("case", STORES)
async def test_a_c_store_is_answered_as_the_contract_says(case: str) -> None:
    handler, data, status = STORES[case]
    server = make_server()
    server.on_c_store(handler)
    contexts = [(ECHO, wire.VERIFICATION, [wire.EXPLICIT_LE]), (CT, CT_UID, [wire.EXPLICIT_LE])]
    async with open_stage(server, contexts, roles={}) as stage:
        await stage.peer.request(CT, wire.store_rq(CT_UID, "1.2.3", 7), data)
        (response,) = await stage.peer.responses(7)
        assert (response.status, response.instance, response.sop_class) == (status, "1.2.3", CT_UID)
        assert response.data is None
        if status == 0xA700 and case == "raises DIMSEFailure":
            assert (response.comment, response.offending) == ("full", [(0x0008, 0x0018)])
        await stage.nothing_more()


async def test_a_save_that_fails_is_out_of_resources(tmp_path: Any) -> None:
    server = make_server()

    @server.on_c_store
    async def store(request: Any) -> int:
        await request.save(tmp_path / "nowhere")
        return 0x0000

    async with open_stage(server, roles={}) as stage:
        await stage.peer.request(CT, wire.store_rq(CT_UID, "1.2.3", 7), LARGE)
        (response,) = await stage.peer.responses(7)
        assert response.status == 0xA700
        await stage.nothing_more()


# --- what cannot be answered ------------------------------------------------------------------------------------------


def command_pdv(elements: dict[Any, Any], context_id: int = FIND, **more: Any) -> bytes:
    return wire.pdv(context_id, wire.command(elements, **more), command=True, last=True)


def _without(elements: dict[Any, Any], tag: Any) -> dict[Any, Any]:
    return {key: value for key, value in elements.items() if key != tag}


NO_DATA = {wire.DATA_SET_TYPE: wire.NO_DATA_SET}
ECHO_RQ = {**wire.echo_rq(5), **NO_DATA}
RSP = {wire.RESPONDED_TO: 5, wire.STATUS: 0, **NO_DATA}

UNANSWERABLE: dict[str, tuple[bytes, tuple[int, int]]] = {
    "a command set of noise": (wire.p_data(wire.pdv(FIND, b"\xff" * 20, command=True, last=True)), (2, 6)),
    "an empty command set": (wire.p_data(wire.pdv(FIND, b"", command=True, last=True)), (2, 6)),
    "a command set that is cut": (
        wire.p_data(wire.pdv(ECHO, wire.command(ECHO_RQ)[:-1], command=True, last=True)),
        (2, 6),
    ),
    "no Command Field": (wire.p_data(command_pdv(_without(ECHO_RQ, wire.COMMAND_FIELD), ECHO)), (2, 6)),
    "a Command Field of four bytes": (
        wire.p_data(command_pdv({**ECHO_RQ, wire.COMMAND_FIELD: b"\x30\0\0\0"}, ECHO)),
        (2, 6),
    ),
    "no Message ID": (wire.p_data(command_pdv(_without(ECHO_RQ, wire.MESSAGE_ID), ECHO)), (2, 6)),
    "an empty Message ID": (wire.p_data(command_pdv({**ECHO_RQ, wire.MESSAGE_ID: b""}, ECHO)), (2, 6)),
    "no Command Data Set Type": (wire.p_data(command_pdv(wire.echo_rq(5), ECHO)), (2, 6)),
    "an element twice": (
        wire.p_data(
            wire.pdv(ECHO, wire.command(ECHO_RQ) + wire.command({wire.MESSAGE_ID: 5}), command=True, last=True)
        ),
        (2, 6),
    ),
    "C-CANCEL without the message ID": (
        wire.p_data(command_pdv({wire.COMMAND_FIELD: wire.C_CANCEL, **NO_DATA})),
        (2, 6),
    ),
    "a C-FIND response to nothing": (wire.p_data(command_pdv({**RSP, wire.COMMAND_FIELD: 0x8020})), (2, 2)),
    "a C-STORE response to nothing": (wire.p_data(command_pdv({**RSP, wire.COMMAND_FIELD: 0x8001}, CT)), (2, 2)),
    "a Pending response to nothing": (
        wire.p_data(command_pdv({**RSP, wire.STATUS: 0xFF00, wire.COMMAND_FIELD: 0x8020})),
        (2, 2),
    ),
    "a response of an unknown kind": (wire.p_data(command_pdv({**RSP, wire.COMMAND_FIELD: 0x8022})), (2, 2)),
    "a context that was not accepted": (wire.p_data(command_pdv(ECHO_RQ, 99)), (2, 6)),
    "an even context": (wire.p_data(command_pdv(ECHO_RQ, 2)), (2, 6)),
    "context 0": (wire.p_data(command_pdv(ECHO_RQ, 0)), (2, 6)),
    "a data fragment with no command open": (wire.p_data(wire.pdv(FIND, DATA, command=False, last=True)), (2, 6)),
    "a data fragment after a command without one": (
        wire.p_data(command_pdv(ECHO_RQ, ECHO)) + wire.p_data(wire.pdv(ECHO, DATA, command=False, last=True)),
        (2, 6),
    ),
    "a command where a data set is due": (
        wire.p_data(command_pdv({**wire.find_rq(message_id=5), wire.DATA_SET_TYPE: 1}))
        + wire.p_data(command_pdv(ECHO_RQ)),
        (2, 6),
    ),
    "a fragment of another context within a message": (
        wire.p_data(command_pdv({**wire.find_rq(message_id=5), wire.DATA_SET_TYPE: 1}))
        + wire.p_data(wire.pdv(GET, DATA, command=False, last=True)),
        (2, 6),
    ),
    "a PDV length of 0": (wire.pdu(wire.P_DATA_TF, b"\0\0\0\0"), (2, 6)),
    "a PDV length of 1": (wire.pdu(wire.P_DATA_TF, b"\0\0\0\1\3"), (2, 6)),
    "a PDV past its PDU": (wire.pdu(wire.P_DATA_TF, b"\0\0\0\x20\3\3" + bytes(10)), (2, 6)),
    "a PDV header that is cut": (wire.pdu(wire.P_DATA_TF, b"\0\0"), (2, 6)),
    "a P-DATA-TF without PDV": (wire.pdu(wire.P_DATA_TF, b""), (2, 6)),
    "a P-DATA-TF longer than we take": (b"\4\0" + (1 << 30).to_bytes(4, "big") + bytes(100), (2, 6)),
    "an unknown PDU": (wire.pdu(0x0A), (2, 1)),
    "an A-ASSOCIATE-RQ": (wire.associate_rq(CONTEXTS, called="ARCHIVE"), (2, 2)),
    "an A-ASSOCIATE-AC": (wire.associate_ac([]), (2, 2)),
    "an A-RELEASE-RP": (wire.RELEASE_RP, (2, 2)),
    "an A-RELEASE-RQ of a wrong length": (wire.pdu(wire.A_RELEASE_RQ, b"\0" * 6), (2, 6)),
    "over 64 KiB of a command set": (
        wire.p_data(wire.pdv(FIND, bytes(16000), command=True, last=False)) * 5,
        (2, 6),
    ),
}


@pytest.mark.parametrize("running", [False, True], ids=["idle", "with a handler running"])
@pytest.mark.parametrize("case", UNANSWERABLE)
async def test_what_cannot_be_answered_is_aborted(case: str, running: bool) -> None:
    data, (source, reason) = UNANSWERABLE[case]
    handler = Script(PAUSE)
    async with open_stage(serve_all(handler), window=(0, 0)) as stage:
        if running:
            await stage.ask("C-GET")
            await handler.waiting.wait()
        await stage.peer.send(data + wire.message(ECHO, wire.echo_rq(70)))
        found = [pdu async for pdu in _pdus(stage)]
        assert [(pdu.kind, *pdu.body[2:4]) for pdu in found if pdu.kind != wire.P_DATA_TF] == [
            (wire.A_ABORT, source, reason)
        ]
        assert found[-1].kind == wire.A_ABORT, "nothing follows"
        if running:
            await handler.has_closed.wait()
            assert handler.closed == [asyncio.CancelledError]


@pytest.mark.parametrize("service", SERVICES)
async def test_an_identifier_that_is_announced_and_never_comes_ends_the_association(
    service: str, caplog: pytest.LogCaptureFixture
) -> None:
    """pynetdicom 3.0.4 sends an empty data set so: the request says that one follows, and no fragment of it does."""
    handler = Script(match())
    server = make_server(timeouts=aiodimse.Timeouts(pdu=0.2))
    register(server, service, handler)
    async with open_stage(server) as stage:
        context_id, elements = SERVICES[service]
        await stage.peer.send(wire.p_data(command_pdv({**elements, wire.DATA_SET_TYPE: 1}, context_id)))
        assert [(pdu.kind, *pdu.body[2:4]) async for pdu in _pdus(stage)] == [(wire.A_ABORT, 2, 0)]
        assert handler.requests == []
    assert "aborted the association 2/0: 0 bytes came within 0.2 s in the middle of a message" in caplog.text


async def _pdus(stage: Stage) -> AsyncIterator[Any]:
    for pdu in await stage.peer.drain():
        yield pdu


@pytest.mark.parametrize("service", SERVICES)
async def test_a_response_to_a_finished_sub_operation(service: str) -> None:
    """2/2: to a message ID that was issued, but is finished."""
    server, handler = make_server(), Script(1, image(1), PAUSE)
    register(server, "C-GET", handler)
    async with open_stage(server) as stage:
        await stage.ask("C-GET")
        store = await stage.peer.read_message()
        await stage.peer.respond(store, 0x0000)
        await handler.waiting.wait()
        await stage.peer.respond(store, 0x0000)
        assert await stage.peer.expect_abort() == (2, 2)
        await stage.peer.expect_close()
        assert handler.closed == [asyncio.CancelledError]


async def test_a_response_of_another_kind_to_a_sub_operation() -> None:
    server, handler = make_server(), Script(3, image(1), image(2), image(3))
    register(server, "C-GET", handler)
    async with open_stage(server) as stage:
        await stage.ask("C-GET")
        store = await stage.peer.read_message()
        await stage.peer.respond(store, 0x0000, {wire.COMMAND_FIELD: 0x8020})
        assert await stage.peer.expect_abort() == (2, 2)
        await stage.peer.expect_close()
        await handler.has_closed.wait()
        assert handler.closed == [GeneratorExit]


# --- the peer goes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["A-ABORT", "FIN", "RST", "A-RELEASE-RQ"])
@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("before", [0, 1])
async def test_the_peer_goes_while_the_handler_waits(service: str, how: str, before: int) -> None:
    """It is cancelled at once, its `finally` runs, and nothing more is written (but A-RELEASE-RP)."""
    first: list[Any] = {"C-FIND": [], "C-GET": [2], "C-MOVE": [("127.0.0.1", 1), 2]}[service]
    steps: list[Any] = [*first, *([match() if service == "C-FIND" else image(1)] * before), PAUSE, match()]
    if service == "C-MOVE":
        steps = [*first, PAUSE, image(1)]
    handler = Script(*steps)
    async with open_stage(serve_all(handler)) as stage:
        await stage.ask(service)
        if before and service == "C-GET":
            await stage.peer.respond(await stage.peer.read_message(), 0x0000)
        await handler.waiting.wait()
        if before and service != "C-MOVE":
            assert (await stage.peer.read_message()).status == 0xFF00
        await leave(stage.peer, how)
        await handler.has_closed.wait()
        assert handler.closed == [asyncio.CancelledError]


@pytest.mark.parametrize("how", ["A-ABORT", "FIN", "RST", "A-RELEASE-RQ"])
async def test_the_peer_goes_during_a_sub_operation(how: str) -> None:
    handler = Script(3, image(1), image(2), image(3))
    async with open_stage(serve_all(handler)) as stage:
        await stage.ask("C-GET")
        await stage.peer.read_message()
        await leave(stage.peer, how)
        await handler.has_closed.wait()
        assert handler.closed == [GeneratorExit]
        assert handler.yielded == 3, "it is one instance ahead"


@pytest.mark.parametrize("how", ["A-ABORT", "FIN", "RST", "A-RELEASE-RQ"])
async def test_the_peer_goes_with_requests_waiting(how: str) -> None:
    """Those that wait for a place are never started."""
    handler = Script(PAUSE)
    async with open_stage(serve_all(handler)) as stage:
        for message_id in range(1, 5):
            await stage.peer.request(FIND, wire.find_rq(message_id=message_id), IDENTIFIER)
        await handler.waiting.wait()
        await leave(stage.peer, how)
        await handler.has_closed.wait()
        for _ in range(20):
            await asyncio.sleep(0)
        assert (len(handler.requests), handler.closed) == (1, [asyncio.CancelledError])


@pytest.mark.parametrize("how", ["A-ABORT", "FIN", "RST"])
async def test_the_peer_goes_in_the_middle_of_a_request(how: str) -> None:
    handler = Script()
    async with open_stage(serve_all(handler)) as stage:
        command = wire.p_data(command_pdv({**wire.find_rq(), wire.DATA_SET_TYPE: 1}))
        data = wire.p_data(wire.pdv(FIND, IDENTIFIER, command=False, last=True))
        await stage.peer.send(command if how == "A-ABORT" else command + data[:-5])
        await leave(stage.peer, how)
    assert handler.requests == []
