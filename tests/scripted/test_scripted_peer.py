"""The scripted peer against itself, requestor and acceptor, and its own alphabet against the recorded conversations."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from scripted import wire
from scripted.peer import Aborted, Closed, Rejected, ScriptedListener, ScriptedPeer, ScriptedPeerError, Silence

CAPTURES = sorted((Path(__file__).parent.parent / "data" / "captures").glob("*.dul"))


@pytest.fixture
async def pair() -> AsyncIterator[tuple[ScriptedPeer, ScriptedPeer]]:
    """A requestor and an acceptor, connected, nothing said yet."""
    async with await ScriptedListener.open() as listener:
        requestor = await ScriptedPeer.connect("127.0.0.1", listener.port)
        acceptor = await listener.accept()
        yield requestor, acceptor
        await requestor.close()


@pytest.fixture
async def associated(pair: tuple[ScriptedPeer, ScriptedPeer]) -> tuple[ScriptedPeer, ScriptedPeer]:
    requestor, acceptor = pair
    contexts = [
        (1, wire.VERIFICATION, [wire.IMPLICIT_LE]),
        (3, wire.STUDY_ROOT_GET, [wire.EXPLICIT_LE, wire.IMPLICIT_LE]),
        (5, wire.CT_IMAGE_STORAGE, [wire.EXPLICIT_LE]),
    ]
    await asyncio.gather(requestor.associate(contexts, roles={wire.CT_IMAGE_STORAGE: (0, 1)}), acceptor.accept())
    return requestor, acceptor


async def test_an_association_says_what_was_proposed(pair: tuple[ScriptedPeer, ScriptedPeer]) -> None:
    requestor, acceptor = pair
    ac, rq = await asyncio.gather(
        requestor.associate(
            [(1, wire.VERIFICATION, [wire.IMPLICIT_LE, wire.EXPLICIT_LE]), (3, "1.2.3", [wire.DEFLATED_LE])],
            called="THEM",
            calling="US",
            max_length=0,
            window=(3, 4),
            roles={"1.2.3": (0, 1)},
            extended={"1.2.3": b"\1\0\1"},
            identity=(2, 1, b"user", b"secret"),
        ),
        acceptor.accept([(1, 0, wire.EXPLICIT_LE), (3, 3, "")], max_length=512, identity_response=b""),
    )
    assert (rq.called, rq.calling, rq.protocol_version) == ("THEM", "US", 1)
    assert rq.proposed == {
        1: (wire.VERIFICATION, [wire.IMPLICIT_LE, wire.EXPLICIT_LE]),
        3: ("1.2.3", [wire.DEFLATED_LE]),
    }
    assert (rq.max_length, rq.window, rq.roles) == (0, (3, 4), {"1.2.3": (0, 1)})
    assert (rq.extended, rq.identity) == ({"1.2.3": b"\1\0\1"}, (2, 1, b"user", b"secret"))
    assert ac.accepted == {1: wire.EXPLICIT_LE}
    assert ac.results[3] == (3, "")
    assert (requestor.limit, acceptor.limit, ac.identity_response) == (512, 0, b"")


async def test_an_echo_is_answered(associated: tuple[ScriptedPeer, ScriptedPeer]) -> None:
    requestor, acceptor = associated
    message_id = await requestor.request(1, {wire.SOP_CLASS: wire.VERIFICATION, wire.COMMAND_FIELD: wire.C_ECHO})
    request = await acceptor.read_message()
    assert (request.context_id, request.message_id, request.sop_class) == (1, message_id, wire.VERIFICATION)
    assert request.data is None
    await acceptor.respond(request, 0x0000)
    (response,) = await requestor.responses(message_id)
    assert (response.status, response.responded_to, response.field) == (0, message_id, 0x8030)
    await asyncio.gather(requestor.release(), acceptor.expect_release())


async def test_a_get_with_a_sub_operation_and_counters(associated: tuple[ScriptedPeer, ScriptedPeer]) -> None:
    requestor, acceptor = associated
    data = bytes(100_000)

    async def provider() -> None:
        request = await acceptor.read_message()
        assert request.data == wire.identifier("IMAGE", uid=((0x0008, 0x0018), "UI", "1.2.3"))
        counters = {wire.REMAINING: 1, wire.COMPLETED: 0, wire.FAILED: 0, wire.WARNING: 0}
        await acceptor.respond(request, 0xFF00, counters)
        sub = await acceptor.request(5, wire.store_rq(wire.CT_IMAGE_STORAGE, "1.2.3", 9), data)
        (answer,) = await acceptor.responses(sub)
        assert answer.status == 0xB000
        final = {wire.COMPLETED: 0, wire.FAILED: 0, wire.WARNING: 1, wire.ERROR_COMMENT: "odd"}
        await acceptor.respond(request, 0xB000, final, b"x" * 7)

    async def user() -> None:
        identifier = wire.identifier("IMAGE", uid=((0x0008, 0x0018), "UI", "1.2.3"))
        message_id = await requestor.request(3, wire.get_rq(), identifier)
        pending, final = await requestor.responses(message_id, store=lambda message: 0xB000)
        assert pending.counters == (1, 0, 0, 0)
        assert (final.status, final.counters, final.comment) == (0xB000, (None, 0, 0, 1), "odd")
        assert (pending.data, final.data) == (None, b"x" * 7)
        assert [(m.context_id, m.instance, m.data) for m in requestor.stored] == [(5, "1.2.3", data)]

    await asyncio.gather(provider(), user())


async def test_bytes_one_by_one_and_two_messages_in_one_segment(associated: tuple[ScriptedPeer, ScriptedPeer]) -> None:
    requestor, acceptor = associated
    both = wire.message(3, wire.find_rq(message_id=4), b"") + wire.message(3, wire.cancel_rq(4))
    await requestor.send(both, step=1)
    await requestor.send(both)
    for _ in range(2):
        find, cancel = await acceptor.read_message(), await acceptor.read_message()
        assert (find.message_id, find.data, cancel.field, cancel.responded_to) == (4, b"", wire.C_CANCEL, 4)


async def test_two_pdvs_in_one_pdu_are_two_halves(associated: tuple[ScriptedPeer, ScriptedPeer]) -> None:
    requestor, acceptor = associated
    command = wire.command({**wire.find_rq(), wire.DATA_SET_TYPE: 1})
    await requestor.send(
        wire.p_data(wire.pdv(3, command, command=True, last=True), wire.pdv(3, b"abc", command=False, last=True))
    )
    assert (await acceptor.read_message()).data == b"abc"


async def test_what_went_wrong_has_a_name(pair: tuple[ScriptedPeer, ScriptedPeer]) -> None:
    requestor, acceptor = pair
    with pytest.raises(Silence):
        await requestor.read_pdu(timeout=0.01)
    await acceptor.send(wire.associate_rj(1, 1, 7))
    with pytest.raises(Rejected) as rejected:
        await requestor.associate([(1, wire.VERIFICATION, [wire.IMPLICIT_LE])])
    assert (rejected.value.result, rejected.value.source, rejected.value.reason) == (1, 1, 7)
    await acceptor.send(wire.abort(2, 6))
    with pytest.raises(Aborted) as aborted:
        await requestor.read_message()
    assert (aborted.value.source, aborted.value.reason) == (2, 6)
    await acceptor.send(wire.RELEASE_RQ)
    with pytest.raises(ScriptedPeerError, match="A-RELEASE-RQ where P-DATA-TF"):
        await requestor.read_message()
    await acceptor.send(wire.abort()[:5])
    await acceptor.close()
    with pytest.raises(Closed) as closed:
        await requestor.read_pdu()
    assert closed.value.rest == wire.abort()[:5]
    assert not closed.value.reset


async def test_fin_and_reset_are_told_apart(pair: tuple[ScriptedPeer, ScriptedPeer]) -> None:
    requestor, acceptor = pair
    requestor.shut()
    assert await acceptor.expect_close() < acceptor.timeout
    acceptor.reset()
    with pytest.raises(Closed) as closed:
        await requestor.read_pdu()
    assert closed.value.reset


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: path.stem)
def test_the_alphabet_reads_and_rebuilds_the_captures(capture: Path) -> None:
    """Command sets come back to the same bytes; every association can be read."""
    halves: dict[tuple[str, int], bytes] = {}
    for line in capture.read_text(encoding="ascii").split("\n"):
        if not line.startswith((">", "<")):
            continue
        way, data = line[0], bytes.fromhex(line[2:])
        if data[0] in (wire.A_ASSOCIATE_RQ, wire.A_ASSOCIATE_AC):
            found = wire.read_associate(data[6:])
            assert found.application_context == wire.APPLICATION_CONTEXT
            assert found.proposed or found.results
        elif data[0] == wire.P_DATA_TF:
            for context_id, control, piece in wire.read_pdvs(data[6:]):
                joined = halves.pop((way, control & 1), b"") + piece
                if not control & 2:
                    halves[way, control & 1] = joined
                elif control & 1:
                    elements = wire.read_command(joined)
                    assert wire.command({tag: v for tag, v in elements.items() if tag[1]}) == joined, context_id


def test_a_flat_data_set_in_both_syntaxes() -> None:
    elements = {(0x0008, 0x0018): ("UI", "1.2"), (0x0010, 0x0010): ("PN", "A"), (0x7FE0, 0x0010): ("OW", b"\1\2")}
    for transfer_syntax in (wire.IMPLICIT_LE, wire.EXPLICIT_LE):
        data = wire.dataset(elements, transfer_syntax)
        assert list(wire.read_dataset(data, transfer_syntax).values()) == [b"1.2\0", b"A ", b"\1\2"]
