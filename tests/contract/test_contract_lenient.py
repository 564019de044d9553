"""What is tolerated of peers, over the wire and in both roles (docs/reference/leniencies.md), and that it is logged."""

from __future__ import annotations

import asyncio
import logging
import struct
from typing import Any

import pytest
from contract.provider import MODELS, Talk, open_talk
from contract.stage import CT_UID, HOST, IDENTIFIER, TITLE, Script, image, make_server, match, open_stage, register
from contract.test_contract_user import consume, serve
from scripted import wire
from scripted.peer import ScriptedPeer

import aiodimse
from aiodimse import sop_class

COMMITMENT = str(sop_class.StorageCommitmentPushModel)
N_EVENT_REPORT, N_GET, N_SET, N_ACTION, N_DELETE = 0x0100, 0x0110, 0x0120, 0x0130, 0x0150


def tolerated(caplog: Any) -> list[str]:
    """The keys of the leniencies that were logged."""
    return [
        record.args[1]
        for record in caplog.records
        if record.levelno == logging.WARNING and record.msg.endswith("tolerated %s: %s")
    ]


# --- A-ASSOCIATE ------------------------------------------------------------------------------------------------------


async def knock(server: aiodimse.Server, rq: bytes) -> tuple[ScriptedPeer, wire.Associate, Any]:
    listening = server.listen(HOST, 0)
    await listening.__aenter__()
    peer = await ScriptedPeer.connect(HOST, listening.port)
    await peer.send(rq)
    return peer, wire.read_associate((await peer.expect(wire.A_ASSOCIATE_AC)).body), listening


@pytest.mark.parametrize("field", ["called", "calling"])
async def test_a_title_with_old_bytes_behind_a_nul_is_that_title(field: str, caplog: Any) -> None:
    server = make_server()
    contexts = [(1, wire.VERIFICATION, [wire.EXPLICIT_LE])]
    rq = bytearray(wire.associate_rq(contexts, called=TITLE, calling="EFILM"))
    at = {"called": 10, "calling": 26}[field]
    title = rq[at : at + 16].rstrip()
    rq[at : at + 16] = (bytes(title) + b"\0PLEASE HIDE ME").ljust(16, b"x")[:16]
    peer, ac, listening = await knock(server, bytes(rq))
    assert ac.accepted == {1: wire.EXPLICIT_LE}
    assert tolerated(caplog) == ["ae-title-after-nul"]
    assert "HIDE" not in caplog.text
    await peer.release()
    await listening.__aexit__(None, None, None)


async def test_one_context_with_a_wrong_uid_is_refused_and_the_others_serve(caplog: Any) -> None:
    server = make_server()
    contexts = [(1, "1.2.XX", [wire.EXPLICIT_LE]), (3, wire.VERIFICATION, [wire.EXPLICIT_LE])]
    rq = wire.associate_rq(contexts, called=TITLE).replace(b"1.2.XX", b"1.2.\xff\xfe")
    peer, ac, listening = await knock(server, rq)
    assert ac.results[1][0] == 3
    assert ac.accepted == {3: wire.EXPLICIT_LE}
    assert tolerated(caplog) == ["context-uid"]
    await peer.request(3, wire.echo_rq(1))
    assert [each.status for each in await peer.responses(1)] == [0x0000]
    await peer.release()
    await listening.__aexit__(None, None, None)


async def test_a_user_tolerates_the_same_of_an_answer(caplog: Any) -> None:
    async with open_talk(answer={"implementation_uid": "1.2." + "3" * 70, "called": "PACS\0OLD BYTES"}) as talk:
        await talk.usable()
        assert talk.association.negotiated.peer_implementation_class_uid is None
    assert tolerated(caplog) == ["ae-title-after-nul", "associate-sub-item"]


# --- roles ------------------------------------------------------------------------------------------------------------


async def test_c_get_of_ours_from_a_provider_without_role_items(caplog: Any) -> None:
    async with open_talk(answer={"roles": {}}) as talk:
        found: list[Any] = []
        operation = talk.begin("C-GET")
        task = asyncio.create_task(consume(operation, found))
        await serve(talk, 2, 0x0000)
        await task
        assert operation.status == 0x0000
        assert [instance.sop_instance_uid for instance in found] == ["1.2.3.1", "1.2.3.2"]
    assert tolerated(caplog) == ["role-item-missing"]


async def test_c_get_of_theirs_without_role_items(caplog: Any) -> None:
    server = make_server()
    register(server, "C-GET", Script(2, image(1), image(2)))

    @server.on_c_store(CT_UID)
    async def store(request: Any) -> int:
        return 0x0000

    contexts = [(1, wire.STUDY_ROOT_GET, [wire.EXPLICIT_LE]), (3, CT_UID, [wire.EXPLICIT_LE])]
    async with open_stage(server, contexts, roles={}) as stage:
        await stage.peer.request(1, wire.get_rq(message_id=5), IDENTIFIER)
        found = await stage.peer.responses(5, store=0x0000)
        assert found[-1].status == 0x0000
        assert found[-1].counters == (None, 2, 0, 0)
    assert tolerated(caplog) == ["role-item-missing"]


def event_report(message_id: int) -> dict[Any, Any]:
    return {
        wire.COMMAND_FIELD: N_EVENT_REPORT,
        wire.SOP_CLASS: COMMITMENT,
        wire.INSTANCE: "1.2.840.10008.1.20.1.1",
        wire.MESSAGE_ID: message_id,
        wire.EVENT_TYPE: 1,
    }


async def test_a_notification_from_an_archive_that_proposes_no_role(caplog: Any) -> None:
    server, told = make_server(), []

    @server.on_n_event_report(COMMITMENT)
    async def report(request: Any) -> int:
        told.append(request.message.event_type_id)
        return 0x0000

    async with open_stage(server, [(1, COMMITMENT, [wire.EXPLICIT_LE])], roles={}) as stage:
        await stage.peer.request(1, event_report(7), IDENTIFIER)
        assert [each.status for each in await stage.peer.responses(7)] == [0x0000]
        assert told == [1]
    assert tolerated(caplog) == ["role-item-missing"]


async def test_a_notification_of_ours_to_a_modality_that_answers_no_role(caplog: Any) -> None:
    context = aiodimse.PresentationContext(COMMITMENT, scu=False, scp=True)
    async with open_talk([context], answer={"roles": {}}, storage=None) as talk:
        report = talk.association.n_event_report(COMMITMENT, "1.2.840.10008.1.20.1.1", 1)
        task = asyncio.ensure_future(report)
        request = await talk.peer.read_message()
        assert request.field == N_EVENT_REPORT
        await talk.peer.respond(request, 0x0000)
        assert (await task).status == 0x0000
    assert tolerated(caplog) == ["role-item-missing"]


# --- command sets -----------------------------------------------------------------------------------------------------


def twice(data: bytes, tag: tuple[int, int]) -> bytes:
    """A message whose command set, in one fragment, has this element a second time at its end, with another value."""
    pdvs = wire.read_pdvs(data[6:])
    (context_id, _, elements), *rest = pdvs
    assert not rest
    more = struct.pack("<HHIH", *tag, 2, 99)
    return wire.p_data(wire.pdv(context_id, elements + more, command=True, last=True))


async def test_counters_that_come_twice_in_a_response_count_once(caplog: Any) -> None:
    async with open_talk() as talk:
        move = talk.begin("C-MOVE")
        task = asyncio.create_task(consume(move, progress := []))
        request = await talk.peer.read_message()
        pending = {wire.COMMAND_FIELD: 0x8021, wire.RESPONDED_TO: request.message_id, wire.STATUS: 0xFF00}
        counters: dict[Any, Any] = {wire.REMAINING: 1, wire.COMPLETED: 1, wire.FAILED: 0, wire.WARNING: 0}
        await talk.peer.send(twice(wire.message(request.context_id, {**pending, **counters}), wire.COMPLETED))
        await talk.peer.respond(request, 0x0000)
        await task
        assert [each.completed for each in progress] == [1]
        await talk.usable()
    assert tolerated(caplog) == ["element-twice"]


@pytest.mark.parametrize("service", MODELS)
async def test_a_status_of_four_bytes_in_a_response(service: str, caplog: Any) -> None:
    async with open_talk() as talk:
        operation = talk.begin(service)
        task = asyncio.create_task(consume(operation, []))
        request = await talk.peer.read_message()
        await talk.peer.respond(request, 0, {wire.STATUS: b"\x00\x00\x00\x00"})
        await task
        assert operation.status == 0x0000
        await talk.usable()
    assert tolerated(caplog) == ["more-values"]


async def test_in_a_request_the_same_ends_the_association() -> None:
    for spoil in (
        lambda rq: twice(wire.message(1, rq), wire.MESSAGE_ID),
        lambda rq: wire.message(1, {**rq, wire.MESSAGE_ID: b"\1\0\0\0"}),
    ):
        async with open_stage(make_server(), [(1, wire.VERIFICATION, [wire.EXPLICIT_LE])], roles={}) as stage:
            await stage.peer.send(spoil(wire.echo_rq(1)))
            assert await stage.peer.expect_abort() == (2, 6)


# --- requests ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", ["C-FIND", "C-STORE"])
async def test_a_priority_that_is_not_defined_is_medium(service: str, caplog: Any) -> None:
    server, seen = make_server(), []

    @server.on_c_find(wire.STUDY_ROOT_FIND)
    async def find(request: Any) -> Any:
        seen.append(request.priority)
        yield match()

    @server.on_c_store(CT_UID)
    async def store(request: Any) -> int:
        seen.append(request.priority)
        await request.dataset()
        return 0x0000

    contexts = [(1, wire.STUDY_ROOT_FIND, [wire.EXPLICIT_LE]), (3, CT_UID, [wire.EXPLICIT_LE])]
    async with open_stage(server, contexts, roles={}) as stage:
        if service == "C-FIND":
            await stage.peer.request(1, wire.find_rq(message_id=5, priority=7), IDENTIFIER)
        else:
            await stage.peer.request(3, wire.store_rq(CT_UID, "1.2.3", 5, priority=0xFFFF), IDENTIFIER)
        assert (await stage.peer.responses(5))[-1].status == 0x0000
        assert seen == [0]
    assert tolerated(caplog) == ["priority"]


async def test_our_user_sends_no_such_priority() -> None:
    async with open_talk() as talk:
        with pytest.raises(aiodimse.LocalProtocolError, match="priority"):
            await talk.association.c_find(image(1), wire.STUDY_ROOT_FIND, priority=7)
        await talk.usable()


@pytest.mark.parametrize("uid", [None, "", b"\0\0", b"  "])
async def test_a_store_without_an_instance_uid_reaches_no_handler(uid: Any) -> None:
    server, called = make_server(), []

    @server.on_c_store(CT_UID)
    async def store(request: Any) -> int:
        called.append(request)
        return 0x0000

    async with open_stage(server, [(3, CT_UID, [wire.EXPLICIT_LE])], roles={}) as stage:
        rq = wire.store_rq(CT_UID, "1.2.3", 5)
        rq[wire.INSTANCE] = uid
        if uid is None:
            del rq[wire.INSTANCE]
        await stage.peer.request(3, rq, IDENTIFIER)
        (response,) = await stage.peer.responses(5)
        assert (response.status, response.offending) == (0x0117, [(0x0000, 0x1000)])
        rq = wire.store_rq("", "1.2.3", 6)
        await stage.peer.request(3, rq, IDENTIFIER)
        (response,) = await stage.peer.responses(6)
        assert response.status == 0x0122
        assert not called


NORMALIZED: dict[str, tuple[str, str, int, bytes | None, Any]] = {
    "N-SET without data set": (
        str(sop_class.ModalityPerformedProcedureStep),
        "on_n_set",
        N_SET,
        None,
        wire.DATA_SET_TYPE,
    ),
    "N-ACTION without type": (COMMITMENT, "on_n_action", N_ACTION, IDENTIFIER, wire.ACTION_TYPE),
    "N-EVENT-REPORT without type": (COMMITMENT, "on_n_event_report", N_EVENT_REPORT, IDENTIFIER, wire.EVENT_TYPE),
}


@pytest.mark.parametrize("case", NORMALIZED)
async def test_a_normalized_request_that_cannot_be_acted_on(case: str) -> None:
    uid, decorator, field, data, offending = NORMALIZED[case]
    server, called = make_server(), []

    async def handler(request: Any) -> int:
        called.append(request)
        return 0x0000

    getattr(server, decorator)(uid)(handler)
    names: dict[Any, Any] = {wire.REQUESTED_SOP_CLASS: uid, wire.REQUESTED_INSTANCE: "1.2.3"}
    if field == N_EVENT_REPORT:
        names = {wire.SOP_CLASS: uid, wire.INSTANCE: "1.2.3"}
    async with open_stage(server, [(1, uid, [wire.EXPLICIT_LE])], roles={}) as stage:
        await stage.peer.request(1, {wire.COMMAND_FIELD: field, wire.MESSAGE_ID: 5, **names}, data)
        (response,) = await stage.peer.responses(5)
        assert (response.status, response.offending) == (0x0212, [offending])
        assert not called


STEP, PRINTED = str(sop_class.ModalityPerformedProcedureStep), str(sop_class.BasicGrayscaleImageBox)
OF_AN_INSTANCE: dict[str, tuple[str, int, bytes | None]] = {
    "on_n_set": (STEP, N_SET, IDENTIFIER),
    "on_n_get": (str(sop_class.ModalityPerformedProcedureStepRetrieve), N_GET, None),
    "on_n_action": (COMMITMENT, N_ACTION, IDENTIFIER),
    "on_n_delete": (str(sop_class.BasicFilmBox), N_DELETE, None),
    "on_n_event_report": (COMMITMENT, N_EVENT_REPORT, IDENTIFIER),
}


@pytest.mark.parametrize("uid", [None, "", "\0\0"])
@pytest.mark.parametrize("decorator", OF_AN_INSTANCE)
async def test_a_normalized_request_for_no_instance(decorator: str, uid: str | None) -> None:
    """The SOP Instance UID is mandatory (PS3.7 10.1), except for N-CREATE."""
    sop, field, data = OF_AN_INSTANCE[decorator]
    server, called = make_server(), []

    async def handler(request: Any) -> int:
        called.append(request.sop_instance_uid)
        return 0x0000

    getattr(server, decorator)(sop)(handler)
    of_class, of_instance = wire.REQUESTED_SOP_CLASS, wire.REQUESTED_INSTANCE
    if field == N_EVENT_REPORT:
        of_class, of_instance = wire.SOP_CLASS, wire.INSTANCE
    types = {wire.ACTION_TYPE: 1} if field == N_ACTION else {wire.EVENT_TYPE: 1} if field == N_EVENT_REPORT else {}
    async with open_stage(server, [(1, sop, [wire.EXPLICIT_LE])], roles={}) as stage:
        elements: dict[Any, Any] = {wire.COMMAND_FIELD: field, wire.MESSAGE_ID: 5, of_class: sop, **types}
        await stage.peer.request(1, elements if uid is None else {**elements, of_instance: uid}, data)
        (response,) = await stage.peer.responses(5)
        assert (response.status, response.offending) == (0x0117, [of_instance])
        assert called == []
        await stage.peer.request(1, {**elements, of_instance: "1.02.made.by.the.peer"}, data)
        await stage.peer.responses(5)
        assert called == ["1.02.made.by.the.peer"]


async def test_a_normalized_data_set_is_larger_than_an_identifier() -> None:
    """A print image of 2 MB (PS3.4 H.4.3)."""
    uid, sizes = str(sop_class.BasicGrayscaleImageBox), []
    server = make_server()

    @server.on_n_set(uid)
    async def set_image(request: Any) -> int:
        sizes.append(len(request.dataset.PixelData))
        return 0x0000

    meta = str(sop_class.BasicGrayscalePrintManagementMeta)
    async with open_stage(server, [(1, meta, [wire.EXPLICIT_LE])], roles={}) as stage:
        pixels = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OW", 0, 2_000_000) + bytes(2_000_000)
        rq = {
            wire.COMMAND_FIELD: N_SET,
            wire.MESSAGE_ID: 5,
            wire.REQUESTED_SOP_CLASS: uid,
            wire.REQUESTED_INSTANCE: "1.2",
        }
        await stage.peer.request(1, rq, pixels)
        assert [each.status for each in await stage.peer.responses(5)] == [0x0000]
        assert sizes == [2_000_000]


# --- responses after the end ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("service", MODELS)
@pytest.mark.parametrize("further", [0xFE00, 0x0000, 0xC000])
async def test_a_second_final_response_behind_a_cancel_is_dropped(service: str, further: int, caplog: Any) -> None:
    async with open_talk() as talk:
        leaving = asyncio.create_task(leave(talk, service))
        request = await talk.peer.read_message()
        await talk.item(request)
        await talk.expect_cancel(request)
        await talk.peer.respond(request, 0x0000)
        await talk.peer.respond(request, further)
        await leaving
        echo = asyncio.create_task(talk.association.c_echo())
        while (message := await talk.peer.read_message()).field == 0x8001:
            pass  # the answer to the sub-operation of the C-GET
        await talk.peer.respond(message, 0x0000)
        assert (await echo).status == 0x0000
    assert tolerated(caplog) == ["response-after-final"]


async def leave(talk: Talk, service: str) -> None:
    async with talk.begin(service) as operation:
        async for item in operation:
            if isinstance(item, aiodimse.Instance):
                await item.discard()
            break


@pytest.mark.parametrize("status", [0x0000, 0xFF00])
async def test_a_response_behind_one_that_was_not_cancelled_ends_the_association(status: int) -> None:
    async with open_talk() as talk:
        task = asyncio.create_task(consume(talk.begin("C-FIND"), []))
        request = await serve(talk, 1, 0x0000)
        await talk.peer.respond(request, status)
        assert await talk.peer.expect_abort() == (2, 2)
        await task


# --- responses that name something else -------------------------------------------------------------------------------


async def stored(talk: Talk, more: dict[Any, Any], *, number: int = 1, context: int = 0) -> asyncio.Task[Any]:
    """Have our user store an instance, and answer with Success, saying this of the instance, and in this context."""
    storing = asyncio.create_task(talk.association.c_store(image(number)))
    request = await talk.peer.read_message()
    request.context_id += context
    await talk.peer.respond(request, 0x0000, more)
    return storing


STORE = {"contexts": [aiodimse.PresentationContext(CT_UID), wire.VERIFICATION], "storage": None}
OTHER_INSTANCE = {(0x0000, 0x1000): "9.9.9"}


@pytest.mark.parametrize(
    ("more", "context", "row"),
    [
        ({}, 0, []),
        ({(0x0000, 0x1000): ""}, 0, []),
        (OTHER_INSTANCE, 0, ["response-instance"]),
        ({}, 2, ["response-context"]),
    ],
    ids=["nothing", "no instance", "another instance", "another context"],
)
@pytest.mark.parametrize("strict", [False, True])
async def test_what_a_response_names(
    more: dict[Any, Any], context: int, row: list[str], strict: bool, caplog: Any
) -> None:
    """Both were taken without a word."""
    async with open_talk(strict=strict, **STORE) as talk:
        storing = await stored(talk, more, context=context)
        if strict and row:
            with pytest.raises(aiodimse.AssociationAborted):
                await storing
            assert await talk.peer.expect_abort() == (2, 6)
        else:
            assert (await storing).status == 0x0000
            await talk.usable()
    assert tolerated(caplog) == ([] if strict else row)


async def test_responses_that_are_mixed_up_acknowledge_nothing() -> None:
    """Of two instances, one was stored and one was not, and nobody knows which."""
    async with open_talk(operations_window=(2, 1), answer={"window": (2, 1)}, **STORE) as talk:
        both = [asyncio.create_task(talk.association.c_store(image(number))) for number in (1, 2)]
        first, second = await talk.peer.read_message(), await talk.peer.read_message()
        await talk.peer.respond(first, 0x0000, {(0x0000, 0x1000): second.text((0x0000, 0x1000))})
        assert await talk.peer.expect_abort() == (2, 6)
        for each in await asyncio.gather(*both, return_exceptions=True):
            assert isinstance(each, aiodimse.AssociationAborted)


# --- strict -----------------------------------------------------------------------------------------------------------


async def test_a_strict_server_tolerates_none_of_it(caplog: Any) -> None:
    server = make_server(strict=True)
    register(server, "C-GET", Script(1, image(1)))

    @server.on_c_store(CT_UID)
    async def store(request: Any) -> int:
        return 0x0000

    contexts = [(1, wire.STUDY_ROOT_GET, [wire.EXPLICIT_LE]), (3, CT_UID, [wire.EXPLICIT_LE])]
    async with open_stage(server, contexts, roles={}) as stage:
        await stage.peer.request(1, wire.get_rq(message_id=5), IDENTIFIER)
        assert (await stage.peer.responses(5, store=0x0000))[-1].counters == (None, 0, 1, 0)
        await stage.peer.request(1, wire.get_rq(message_id=6, priority=7), IDENTIFIER)
        (response,) = await stage.peer.responses(6)
        assert (response.status, response.offending) == (0x0212, [wire.PRIORITY])
    assert tolerated(caplog) == []


async def test_a_strict_user_tolerates_none_of_it(caplog: Any) -> None:
    async with open_talk(strict=True) as talk:
        task = asyncio.create_task(consume(talk.begin("C-FIND"), []))
        request = await talk.peer.read_message()
        await talk.peer.respond(request, 0, {wire.STATUS: b"\0\0\0\0"})
        assert await talk.peer.expect_abort() == (2, 6)
        with pytest.raises(aiodimse.AssociationAborted):
            await task
    assert tolerated(caplog) == []
